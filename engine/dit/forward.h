/* forward.h - one velocity prediction in flight, stepped by block and phase
 *
 * A forward pass is state, not a call: it can stop between any two phases of a block,
 * so that two guidance branches interleave and the exchanges of one travel while the
 * other computes:
 *
 *     TRY(dit_forward_begin(a, q, &cond, e));
 *     TRY(dit_forward_begin(b, q, &uncond, e));
 *     while (dit_forward_left(a) > 0) {
 *         TRY(dit_forward_step(a, q, e));
 *         TRY(dit_forward_step(b, q, e));
 *     }
 *     TRY(dit_forward_end(a, q, &velocity_a, e));
 *     TRY(dit_forward_end(b, q, &velocity_b, e));
 *
 * dit_forward_run is the same for one alone. Phases of a block:
 *
 *     put      v, k, q products; each part is scattered as soon as it is there
 *     attend   self attention
 *     close    output product, gate + residual, norm for cross attention
 *     cross    q product, attention to every context, output product, residual, norm
 *     feed     feed-forward, gate + residual, norm for the next block's put
 *
 * Timesteps are a tensor: one value for the whole video, or one per latent frame. The
 * modulation is a table per frame, [F,6,d], never one per token.
 *
 * All memory is cut from the caller's arena when the forward is created; begin, step,
 * end and run allocate nothing and never wait.
 */
#ifndef ENGINE_DIT_FORWARD_H
#define ENGINE_DIT_FORWARD_H

#include "engine/dit/context.h"
#include "engine/dit/dit.h"

enum { DIT_GROUPS_MAX = 3, DIT_CONTEXTS_MAX = 3 };

/* What a forward pass is planned and cut for. */
struct dit_shape {
    int64_t frames, grid_h, grid_w; /* token grid: latent F, H/2, W/2 */
    struct seqpar_group group;      /* ranks that share the tokens */
    int contexts;                   /* cross-attention contexts, 1: text */
    int64_t context_rows;           /* the most rows that any of them has */
    int fps;                        /* of the video; only fps models look at it */
};

struct dit_input {
    /* Own tokens in patch rows (patch.h), f32 [tokens, 4*c_i]: groups of channels that
     * lie side by side and make up in_channels (noise, mask, condition). */
    const struct tensor *latent[DIT_GROUPS_MAX];
    int n_latent;
    const struct tensor *t; /* f32 [1] or [frames], 1000 * sigma */
    const struct dit_context *context[DIT_CONTEXTS_MAX]; /* as many as in the shape */
};

struct dit_forward;

/* Cut the memory of one pass, make the rope tables and what else stays the same. `m`
 * is borrowed for the life of the forward, the queue is waited for. */
enum status dit_forward_create(const struct dit *m, const struct dit_shape *shape,
                               struct arena *a, struct queue *q,
                               struct dit_forward **out, struct err *e);
void dit_forward_destroy(struct dit_forward *fw);

/* The tokens of the grid that this rank works on. */
struct span dit_forward_tokens(const struct dit_forward *fw);

/* Latents and timesteps are read by work that begin puts on the queue; contexts must
 * stay until the end. */
enum status dit_forward_begin(struct dit_forward *fw, struct queue *q,
                              const struct dit_input *in, struct err *e);

/* Phases that are left before the end. */
int64_t dit_forward_left(const struct dit_forward *fw);

/* Put one phase on the queue. */
enum status dit_forward_step(struct dit_forward *fw, struct queue *q, struct err *e);

/* The residual stream f32 [own tokens, d], which phases read and add to: for looking
 * into it between two blocks. */
const struct tensor *dit_forward_stream(const struct dit_forward *fw);

/* Between two blocks: go on from another stream, which is copied. */
enum status dit_forward_set_stream(struct dit_forward *fw, struct queue *q,
                                   const struct tensor *x, struct err *e);

/* Write the velocity of the own tokens in patch rows, f32 [tokens, 4*out_channels]. */
enum status dit_forward_end(struct dit_forward *fw, struct queue *q,
                            struct tensor *velocity, struct err *e);

/* begin, every step, end. */
enum status dit_forward_run(struct dit_forward *fw, struct queue *q,
                            const struct dit_input *in, struct tensor *velocity,
                            struct err *e);

#endif
