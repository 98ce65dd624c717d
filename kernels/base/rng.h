/* rng.h - Gaussian noise: by element index (Philox), and as PyTorch's CPU generator
 *
 * Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11)
 * is a function of key and counter, so the noise of an element depends on the seed, the
 * stream and the element's index alone: any rank draws just what it owns.
 *
 *     key     = the 64-bit seed
 *     counter = (index / 4 low, index / 4 high, stream low, stream high)
 *
 * Four words give four normals by Box-Muller in double: words (0,1) make elements 0 and
 * 1 of the group of four, (2,3) make 2 and 3; u = (word + 0.5) / 2^32,
 * radius = sqrt(-2 ln u0), angle = 2 pi u1, values radius*cos, radius*sin.
 *
 * The torch-cpu generator makes the draws of torch.randn(n, generator=…) with
 * torch.Generator("cpu").manual_seed(seed) for fp32, within 3 units in the last place
 * (builds with AVX2 use polynomial logarithms and sines); pytorch:
 * aten/src/ATen/core/MT19937RNGEngine.h, native/cpu/DistributionTemplates.h.
 */
#ifndef KERNELS_BASE_RNG_H
#define KERNELS_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* The four words of Philox 4x32-10 for this key and counter. */
void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Normals of elements [first, first + n) of stream `stream`. */
void noise_philox(uint64_t seed, uint64_t stream, uint64_t first, size_t n, float *out);

/* Mersenne twister, as PyTorch seeds and reads it. */
struct torch_rng {
    uint32_t word[624];
    int next; /* index of the next word, 624: make new ones */
};

void torch_rng_seed(struct torch_rng *g, uint64_t seed);

/* Fill a contiguous fp32 tensor of n >= 16 elements. */
void torch_rng_normal(struct torch_rng *g, size_t n, float *out);

#endif
