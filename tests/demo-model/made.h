/* made.h - random tensors under the names of a published model, and their files
 *
 * A list of named tensors, filled as they are added. Tensor number i of a list takes
 * its normals from Philox stream `stream + i`, so the same program always makes the
 * same model.
 *
 *     struct made m = {.seed = 1, .stream = 0, .dtype = DT_BF16};
 *     made_normal(&m, "head.head.weight", 0.1f, 2, (int64_t[]){64, 256});
 *     made_const(&m, "head.head.bias", 0.0f, 1, (int64_t[]){64});
 *     ok = made_safetensors(&m, "diffusion_pytorch_model.safetensors", &e) == ST_OK;
 *     made_release(&m);
 *
 * This is a small tool for one purpose: it exits when there is no memory.
 */
#ifndef TESTS_DEMO_MODEL_MADE_H
#define TESTS_DEMO_MODEL_MADE_H

#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/err.h"

enum { MADE_RANK_MAX = 5, MADE_NAME_MAX = 96 };

struct made_tensor {
    char name[MADE_NAME_MAX];
    int rank;
    int64_t dims[MADE_RANK_MAX];
    int64_t count;
    void *data; /* in the list's dtype */
};

struct made {
    uint64_t seed, stream;
    enum dtype dtype;
    struct made_tensor *list;
    int n, cap;
};

/* Add normals with this standard deviation, or one value everywhere. */
void made_normal(struct made *m, const char *name, float std, int rank,
                 const int64_t *dims);
void made_const(struct made *m, const char *name, float value, int rank,
                const int64_t *dims);

/* `<name>.weight` [out, in] that keeps the variance times gain^2, and `<name>.bias`. */
void made_linear(struct made *m, const char *name, int64_t out, int64_t in, float gain);

/* `<name>.weight` [out, in, kernel…] and `<name>.bias`, the kernel of 2 or 3 axes: for
 * each pair of channels one random number, spread over taps that fade towards the rim,
 * and a little noise on each. So what a decoder makes is smooth. */
void made_conv(struct made *m, const char *name, int64_t out, int64_t in, int axes,
               const int64_t *kernel, float gain);

/* A convolution over three frames that hands the present one through and adds a little:
 * output channel i is input channel i modulo `in`, plus gain times something random. So
 * frames made from one another look alike. */
void made_time_conv(struct made *m, const char *name, int64_t out, int64_t in,
                    float gain);

enum status made_safetensors(const struct made *m, const char *path, struct err *e);

/* A PyTorch file as torch.save writes a state dict: a zip of stored entries. */
enum status made_pth(const struct made *m, const char *path, struct err *e);

void made_release(struct made *m);

#endif
