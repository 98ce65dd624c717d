/* state.h - a segment's latents between steps: rows of tokens and the solver's history
 *
 * Latents stay in token layout (engine/dit/patch.h), own tokens only, from the noise to
 * the end of the segment; nothing is gathered between steps. Every latent frame may
 * stand at its own solver step, so each update is a sum with one set of coefficients
 * per frame:
 *
 *     input  = x, or the noised copy of prefix frames
 *     v      = (1 - g) v_uncond + g v_cond
 *     m      = x - sigma v
 *     x_last = corr . {x_last, m0, m1, m, x}          (engine/sample/solver.h)
 *     x      = pred . {x_last, m, m0, x, v}
 *     m1     = m0 where the frame is updated,  m0 = m likewise
 *
 * The tables of a row are filled on the host and travel in one copy:
 *
 *     frame f:  t [F] | input [F,2] | m [F,2] | corr [F,5] | pred [F,5] | keep [F,2]
 *     and the two guidance weights
 */
#ifndef ENGINE_PIPELINE_STATE_H
#define ENGINE_PIPELINE_STATE_H

#include "dist/shard.h"
#include "engine/sample/matrix.h"
#include "engine/sample/solver.h"
#include "kernels/ops.h"

struct state_shape {
    int frames;               /* latent frames of the segment */
    int64_t tokens_per_frame; /* of the whole grid */
    int64_t columns;          /* 4 * channels */
    struct span tokens;       /* own tokens */
};

struct state {
    struct ops *ops;
    struct state_shape shape;
    struct tensor x, x_last, m, m0, m1; /* f32 [tokens, columns] */
    struct tensor v_cond, v_uncond, v, input, noise;
    struct tensor tables; /* f32, all tables of a row */
    float *host_tables;   /* the same on the host, owned */
};

/* Cut the tensors of a state; counts when the arena does. */
void state_cut(struct state *s, struct ops *ops, const struct state_shape *shape,
               struct arena *a);

/* Host memory beside the arena. state_release(s) after a failure is fine. */
enum status state_init(struct state *s, struct err *e);
void state_release(struct state *s);

/* One row: what the network is shown. */
struct state_row {
    const struct schedule *schedule;
    const struct matrix *matrix;
    int row;
    int prefix;   /* leading latent frames that are given */
    int addnoise; /* their noise level, 0: shown clean */
    double guidance;
};

/* Fill and send the tables of a row, then make the input. `t` is set to the timesteps,
 * f32 [frames]. With addnoise, s->noise must hold noise in the prefix's rows. */
enum status state_prepare(struct state *s, struct queue *q, const struct state_row *r,
                          struct tensor *t, struct err *e);

/* After v_cond (and v_uncond, when guidance is above 1) are there: move every frame
 * that the row updates. */
enum status state_update(struct state *s, struct queue *q, const struct state_row *r,
                         struct err *e);

#endif
