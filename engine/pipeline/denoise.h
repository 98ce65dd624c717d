/* denoise.h - one segment from noise to latents: the loop over the timestep matrix
 *
 * A row of the matrix is one evaluation of the network (two with guidance) and one
 * update of every frame that the row moves. The plain run of a text-to-video model is
 * the matrix whose columns are all equal. Nothing is allocated between the first row
 * and the last; the host waits for the queue once per row.
 *
 * With several ranks every rank steps its own tokens. A row begins with an agreement,
 * where a stop that any rank was asked for becomes everybody's; a failure inside a row
 * tears the world.
 */
#ifndef ENGINE_PIPELINE_DENOISE_H
#define ENGINE_PIPELINE_DENOISE_H

#include <signal.h>

#include "engine/dit/forward.h"
#include "engine/dit/patch.h"
#include "engine/pipeline/keep.h"
#include "engine/pipeline/noise_source.h"
#include "engine/pipeline/spread.h"
#include "engine/pipeline/state.h"

struct denoise_args {
    struct ops *ops;
    struct queue *queue;
    struct spread *spread;
    const struct dit *dit;
    /* Of the branches that this rank evaluates; only the first up to guidance 1. */
    const struct dit_context *context[BRANCHES];
    const struct schedule *schedule;
    struct noise_source *noise;
    int segment;
    struct latent_size size; /* of this segment */
    struct dit_shape shape;  /* the same, as the transformer counts it */
    int prefix;              /* leading latent frames that are given */
    int ar_step, causal_block_size, addnoise;
    double guidance;
    int finished;      /* latent frames of the video before this segment's own */
    struct keep *keep; /* checkpoints and where to go on; NULL: none */
    const volatile sig_atomic_t *stop; /* looked at without `keep` */
    /* Called after every row with the row's seconds; may be NULL. Collective. */
    enum status (*row_done)(void *ctx, double seconds, struct err *e);
    void *ctx;
};

/* Count or cut what a segment needs: forward and state. Used by the plan, and by
 * denoise_segment itself. */
size_t denoise_state_bytes(struct ops *ops, const struct denoise_args *a);

/* latent [C,F,H,W] on the host: noise with the prefix already in place, at least where
 * the own tokens are; on return rank 0 has the sample. Memory comes from `arena`, which
 * is given back. ST_STOPPED when asked to stop. Collective. */
enum status denoise_segment(const struct denoise_args *a, struct arena *arena,
                            float *latent, struct err *e);

#endif
