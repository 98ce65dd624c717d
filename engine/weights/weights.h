/* weights.h - the tensors of one component, under canonical names
 *
 * A store reads its tensors from files of a model folder, renames them to the names
 * of the original Wan checkpoints ("blocks.3.self_attn.q.weight",
 * "encoder.downsamples.0.residual.0.gamma", "blocks.0.attn.q.weight" …), converts them
 * while they are read, and lends views. There are no globals; several stores live in
 * one process.
 *
 * Per tensor the pipeline is read -> rename -> quantise -> place:
 *  - a 1-byte load policy applies to the matrices that `quantise` names (the block
 *    linears); they become e4m3 or i8 with SCALE_ROW scales;
 *  - vectors, tables and convolution weights smaller than a matrix (rank 1, modulation,
 *    gamma, bias) become f32;
 *  - every other matrix keeps its stored dtype (f32, bf16, f16; f64 becomes f32) and is
 *    converted per tile by the op that reads it.
 *
 *     TRY(weights_open(&source, &policy, &w, e));      headers only
 *     TRY(weights_load(w, ops, e));                    data
 *     TRY(weights_find(w, "head.head.weight", 2, (int64_t[]){64, 1536}, &t, e));
 *     …
 *     weights_close(w);
 *
 * weights_find checks rank and shape (-1: any) and answers ST_INPUT with the name, the
 * shape that is there and the one that is wanted. Views stay valid until weights_close.
 */
#ifndef ENGINE_WEIGHTS_WEIGHTS_H
#define ENGINE_WEIGHTS_WEIGHTS_H

#include "kernels/ops.h"

enum weight_quant { QUANT_NONE, QUANT_E4M3, QUANT_I8 };

struct weights_policy {
    enum weight_quant quant;
    /* is this canonical name a matrix to quantise? NULL: none */
    bool (*quantise)(const char *name);
};

struct weights;

enum status weights_find(const struct weights *w, const char *name, int rank,
                         const int64_t *shape, struct tensor *out, struct err *e);

/* Is there a tensor of this name? */
bool weights_has(const struct weights *w, const char *name);

/* The model borrows block i before it uses its tensors and gives it back after; a store
 * that keeps everything in memory has nothing to do. Views found before stay valid. */
enum status weights_borrow_block(struct weights *w, int64_t block, struct err *e);
void weights_return_block(struct weights *w, int64_t block);

void weights_close(struct weights *w);

/* A store over tensors that the caller owns, for tests and made-up models: copies the
 * table of names and views, not the data. */
struct weights_entry {
    const char *name;
    struct tensor t;
};
enum status weights_from_entries(const struct weights_entry *entries, int n,
                                 struct weights **out, struct err *e);

#endif
