/* patch.h - latents [C,F,H,W] on the host to and from rows of tokens
 *
 * Token l = (f*Hp + h)*Wp + w of the grid [F, Hp, Wp] = [F, H/2, W/2] is one row. Its
 * columns are the 2x2 patch of every channel, channel slowest:
 *
 *     rows[l][(c*2 + i)*2 + j] = latent[c][f][2h + i][2w + j]
 *
 * which is what the patch embedding multiplies. Groups of channels (noise, mask,
 * condition) therefore concatenate as columns. Noise, solver state and velocities have
 * this layout between the steps of a sampler, so a rank needs its own tokens only.
 */
#ifndef ENGINE_DIT_PATCH_H
#define ENGINE_DIT_PATCH_H

#include "dist/shard.h"

struct latent_size {
    int64_t channels, frames, height, width; /* height and width are even */
};

/* The rows of `tokens` (a span of the grid) of a whole latent: [count, 4*channels]. */
void patch_from_latent(float *rows, const float *latent, const struct latent_size *n,
                       struct span tokens);

/* Put such rows back; elements of other tokens are left alone. */
void latent_from_patch(float *latent, const float *rows, const struct latent_size *n,
                       struct span tokens);

#endif
