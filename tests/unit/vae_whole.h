/* vae_whole.h - the autoencoder on whole clips, in plain double loops, without slots
 *
 * What the chunked algorithm must be equal to: every causal convolution sees the whole
 * clip with two zero frames before it; halving the rate copies frame 0 and convolves
 * (x0, x1, x2, …) with stride 2 behind it; doubling the rate copies frame 0 and
 * interleaves the halves of the convolution of (0, 0, x1, x2, …). */
#ifndef TESTS_UNIT_VAE_WHOLE_H
#define TESTS_UNIT_VAE_WHOLE_H

#include "tests/unit/vae_rig.h"

/* Shapes as in vae_rig.h. */
void whole_decode(const struct rig *r, const float *latents, int64_t T, int64_t h,
                  int64_t w, float *frames);
void whole_encode(const struct rig *r, const float *frames, int64_t T, int64_t h,
                  int64_t w, float *latents);

#endif
