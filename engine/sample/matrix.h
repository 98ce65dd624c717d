/* matrix.h - the timestep matrix of diffusion forcing
 *
 * One row per network evaluation, one entry per latent frame: the timestep that the
 * network is shown, whether the frame is updated, and which solver step that update is.
 * Frames move in blocks; block b lags `ar_step` solver steps behind block b - 1. The
 * plain, synchronous run is ar_step 0: one row per step, all frames equal.
 *
 * A block counts 0 (not started, shown as 999), 1 … n (about to do solver step j - 1)
 * and n + 1 (finished, shown as 0). SkyworkAI/SkyReels-V2
 * pipelines/diffusion_forcing_pipeline.py, generate_timestep_matrix.
 */
#ifndef ENGINE_SAMPLE_MATRIX_H
#define ENGINE_SAMPLE_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/sample/schedule.h"

struct matrix_args {
    int frames;   /* latent frames N */
    int window;   /* latent frames that move at once, N: all */
    int ar_step;  /* lag of a block behind the one before it, 0: synchronous */
    int finished; /* leading latent frames that are given, cut down to whole blocks */
    int block;    /* latent frames of a block, causal_block_size */
};

struct matrix {
    int rows, frames;
    int16_t *timestep; /* [rows, frames] */
    int16_t *step; /* [rows, frames] solver step of the update, or -1: not updated */
    int *window;   /* [rows, 2] first frame and frame behind the last one */
};

/* Frames that `block` does not divide, a lag beyond the steps without end and the like
 * are ST_USAGE with what would be possible. On ST_OK the caller releases *m. */
enum status matrix_init(struct matrix *m, const struct schedule *s,
                        const struct matrix_args *a, struct err *e);
void matrix_release(struct matrix *m);

/* Rows that matrix_init makes, without making them (same checks not repeated). */
int matrix_rows(int steps, const struct matrix_args *a);

#endif
