/* weight_code.h - the arithmetic that makes 8-bit codes of weights, for hosts and GPUs
 *
 * The rule of quantization-and-attention 1.3.1 and 1.3.2: scale = max(absmax of the
 * row, 1e-5) / 448 or / 127, code = weight / scale, to nearest, ties to even, in fp32.
 * One text for both compilers, and nothing in it but additions, comparisons and
 * integers: whoever quantises, the bytes are the same.
 *
 * There are no branches, so that a compiler makes vectors of it. e4m3: a normal value
 * keeps the upper three bits of its fraction, rounded by adding half of the last place
 * (less one when that place is even); its exponent is rebased from 127 to 7. A value
 * below 2^-6 is a multiple of 2^-9: adding 2^14, whose last place is 2^-9, lets the
 * addition round. i8: adding 1.5 * 2^23 rounds to an integer, in the low bits.
 */
#ifndef KERNELS_BASE_WEIGHT_CODE_H
#define KERNELS_BASE_WEIGHT_CODE_H

#include <stdint.h>

#include "kernels/base/f32_bits.h"

#ifdef __CUDACC__
#define WEIGHT_CODE static __host__ __device__ __forceinline__
#else
#define WEIGHT_CODE static inline
#endif

/* The magnitude as an integer: of floats that are not NaN these have the order of their
 * values, and infinity and NaN are the ones from WEIGHT_INFINITE on. */
enum { WEIGHT_INFINITE = 0x7f800000, WEIGHT_LEAST = 0x3727c5ac /* 1e-5 */ };

WEIGHT_CODE uint32_t weight_magnitude(float v)
{
    return f32_bits(v) & 0x7fffffffu;
}

/* Of a row whose largest magnitude is `most`, from WEIGHT_LEAST upwards. */
WEIGHT_CODE float weight_scale_e4m3(uint32_t most)
{
    return f32_of_bits(most) / 448.0f;
}

WEIGHT_CODE float weight_scale_i8(uint32_t most)
{
    return f32_of_bits(most) / 127.0f;
}

/* `v` is weight / scale. */
WEIGHT_CODE uint8_t weight_code_e4m3(float v)
{
    const uint32_t most = 0x43e00000, least_normal = 0x3c800000; /* 448, 2^-6 */
    uint32_t u = f32_bits(v), a = u & 0x7fffffffu;
    uint32_t normal, tiny;

    a = a > most ? most : a;
    normal = ((a + 0x7ffff + (a >> 20 & 1)) >> 20) - (120 << 3);
    tiny = f32_bits(f32_of_bits(a < least_normal ? a : 0) + 16384.0f) - 0x46800000;
    return (uint8_t)((u >> 24 & 0x80) | (a < least_normal ? tiny : normal));
}

WEIGHT_CODE uint8_t weight_code_i8(float v)
{
    v = v > 127.0f ? 127.0f : v;
    v = v < -127.0f ? -127.0f : v;
    return (uint8_t)(f32_bits(v + 12582912.0f) & 0xff);
}

#endif
