/* latents.h - what can be decoded: a file of latents, or what a checkpoint holds
 *
 * A file is as --save_latents writes it, or as others do: only /latents/x [C,N,H,W]
 * must be there. What our own files say about themselves comes with it: frames per
 * second, digest of the model, and the job.
 *
 * A checkpoint with all segments finished holds the latents of the whole video. One of
 * a run in the middle gives a preview: the finished segments, and of the running one
 * the newest prediction of the clean latents (m0 of the solver), frame by frame; frames
 * that diffusion forcing has not begun are left as the noise they are.
 */
#ifndef ENGINE_PIPELINE_LATENTS_H
#define ENGINE_PIPELINE_LATENTS_H

#include "engine/checkpoint/checkpoint.h"
#include "engine/dit/patch.h"
#include "kernels/base/err.h"

struct latents {
    struct latent_size size;
    float *x;                /* [C,N,H,W], owned */
    int64_t fps;             /* 0: not said */
    char digest[DIGEST_HEX]; /* of the model, or "" */
    char *job;               /* JSON, or NULL; owned */
};

/* Read a stranger's file (engine/h5/h5.h): what is wrong with it, values that are not
 * finite among it, is ST_INPUT. On ST_OK the caller releases. */
enum status latents_read(const char *path, struct latents *out, struct err *e);
void latents_release(struct latents *l);

/* The finished latents of a checkpoint, its digest and job; takes memory over from *ck.
 * ST_USAGE with the row when it is not finished, unless `preview`. */
enum status latents_take(struct checkpoint *ck, bool preview, struct latents *out,
                         struct err *e);

/* Copy `n` latent frames of every channel between two latents [C, frames, h, w]. */
void latents_copy(const struct latent_size *size, float *to, int64_t to_frames,
                  int64_t to_first, const float *from, int64_t from_frames,
                  int64_t from_first, int64_t n);

#endif
