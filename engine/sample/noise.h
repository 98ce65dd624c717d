/* noise.h - the noise of a job: where it comes from and which draw is which
 *
 * Draws are numbered by what they are for, not by when they happen, so a resumed run,
 * another number of ranks or a skipped step never shifts them. With Philox the stream
 * number is
 *
 *     purpose << 56 | segment << 32 | row
 *
 * and the element index runs over the whole [C, F, H, W] of the draw. torch-cpu has one
 * state that goes on from draw to draw: initial noise of segment 0, 1, … in order (the
 * prefix noise is Philox there as well: peers draw it from an unseeded generator).
 */
#ifndef ENGINE_SAMPLE_NOISE_H
#define ENGINE_SAMPLE_NOISE_H

#include "kernels/base/err.h"
#include "kernels/base/rng.h"

enum noise_kind { NOISE_PHILOX, NOISE_TORCH_CPU };
enum noise_purpose { NOISE_INITIAL = 1, NOISE_PREFIX = 2 };

struct noise {
    enum noise_kind kind;
    uint64_t seed;
    int next_segment; /* torch-cpu: the segment whose noise comes next */
    struct torch_rng torch;
};

void noise_init(struct noise *z, enum noise_kind kind, uint64_t seed);

/* Initial noise of a segment, `n` elements of [C, F, H, W]. torch-cpu: segments must be
 * asked for in order, and n must be at least 16 (a bug of ours otherwise). */
void noise_initial(struct noise *z, int segment, size_t n, float *out);

/* Elements [first, first + n) of the same draw, for who owns no others; Philox only. */
void noise_initial_part(const struct noise *z, int segment, uint64_t first, size_t n,
                        float *out);

/* Noise for the prefix frames in one row, `n` elements of [C, P, H, W]. */
void noise_prefix(const struct noise *z, int segment, int row, size_t n, float *out);

#endif
