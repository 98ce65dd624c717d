/* umt5.h - the text encoder: token ids to rows that the transformer attends to
 *
 *     TRY(umt5_create(&config, DT_F32, weights, ops, q, &model, e));
 *     TRY(umt5_plan(&config, DT_F32, n, ops, &plan, e));    before memory is allocated
 *     … a queue with plan.workspace_bytes, an arena of plan.arena_bytes …
 *     TRY(umt5_encode(model, q, &arena, ids, n, &rows, e)); rows f32 [n, dim]
 *     umt5_destroy(model);
 *
 * The encoder half of UMT5 (Chung et al. 2023; encoders-vae-formats 2). With
 * RMS(x; g) = x / sqrt(mean(x^2) + eps) * g:
 *
 *     x = table[ids]
 *     per layer:  u = RMS(x; norm1)
 *                 logits[r, c] = q[r] . k[c] + B[bucket(c - r)]    per head, not scaled
 *                 x = x + o(softmax(logits) v)
 *                 u = RMS(x; norm2)
 *                 x = x + fc2(gelu_tanh(gate u) * fc1 u)
 *     x = RMS(x; norm)
 *
 * Every layer has a bias table B of its own; there are no other biases. The encoder
 * runs on the n rows of the prompt, its end token among them, and on no padding: padded
 * columns have weight zero in the published model and padded rows are dropped, so the
 * result is the same. Whoever needs text_len rows appends zeros.
 *
 * Precision: `act` is the type of the inputs of products and of attention, F32 or BF16.
 * Sums, the residual stream, norms, softmax and GELU are fp32 in both. Weights keep
 * their stored type. fp16 is not offered: the residual stream exceeds its range.
 */
#ifndef ENGINE_TEXT_UMT5_H
#define ENGINE_TEXT_UMT5_H

#include "engine/config.h"
#include "engine/weights/weights.h"
#include "kernels/ops.h"

struct umt5;

struct umt5_plan {
    size_t arena_bytes;     /* one prompt of n tokens */
    size_t workspace_bytes; /* scratch that the queue needs */
    double flops;           /* a multiply-add is 2 */
};

/* Bytes and work of a prompt of n tokens; arithmetic only. `ops` is asked for facts and
 * workspaces. */
enum status umt5_plan(const struct text_config *config, enum dtype act, int64_t n,
                      const struct ops *ops, struct umt5_plan *out, struct err *e);

/* Find and check every tensor, and read the bias tables (through q, waited for).
 * `weights` and `ops` are borrowed for the model's life. A tensor that is missing or
 * misshapen is ST_INPUT; an `act` that the backend does not multiply is ST_USAGE. */
enum status umt5_create(const struct text_config *config, enum dtype act,
                        struct weights *weights, struct ops *ops, struct queue *q,
                        struct umt5 **out, struct err *e);
void umt5_destroy(struct umt5 *m);

/* Encode ids[0 .. n), n >= 1, into `out` (f32 [n, dim], backend's space) and wait for
 * it. The arena is as it was before on return. An id that the table does not have is
 * ST_INPUT: tokenizer and weights do not belong together. */
enum status umt5_encode(const struct umt5 *m, struct queue *q, struct arena *a,
                        const int32_t *ids, int64_t n, const struct tensor *out,
                        struct err *e);

/* The bias row of a key `rel` tokens behind the query (negative: before it), for
 * `buckets` rows that tell distances apart up to `max_distance`. */
int64_t umt5_bucket(int64_t rel, int64_t buckets, int64_t max_distance);

#endif
