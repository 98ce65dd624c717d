/* made_up.h - stores without files: the tensors of a configuration, random
 *
 * For benchmarks of models that are not there. Names, shapes, dtypes and quantising are
 * those of a real store, and so is the memory; the numbers are normals by element index
 * (ops_normal), so the same seed gives the same model on any number of ranks:
 *
 *     matrices, convolutions   standard deviation 1 / sqrt(fan in)
 *     norm weights, gammas     1 + 0.1 n
 *     token embedding          n
 *     biases, modulation, position tables   0.02 n, 0.3 n, 0.5 n
 *
 *     struct expect_list list = EXPECT_LIST_INIT;
 *     expect_dit(&list, &config);
 *     TRY(weights_make_up(&list, "transformer", &policy, &how, ops, &w, e));
 */
#ifndef ENGINE_WEIGHTS_MADE_UP_H
#define ENGINE_WEIGHTS_MADE_UP_H

#include "engine/weights/read_config.h"
#include "engine/weights/weights.h"

struct made_up {
    uint64_t seed;
    enum dtype stored; /* what the files would hold: bf16 or f32 */
    bool share_blocks; /* all blocks are views of block 0's tensors */
    int64_t drawn; /* a file's tensors repeat after so many numbers; 0: they do not */
};

/* Open a store and fill it in the backend's space. On a host without the memory for it
 * ST_RESOURCE, before anything is allocated. `ops` is borrowed until weights_close. */
enum status weights_make_up(const struct expect_list *list, const char *label,
                            const struct weights_policy *policy,
                            const struct made_up *how, struct ops *ops,
                            struct weights **out, struct err *e);

/* Write such tensors to a safetensors file, as `how` would store them. */
enum status made_up_write(const struct expect_list *list, const struct made_up *how,
                          const char *path, struct err *e);

#endif
