/* f32_bits.h - a float and its bits, in host and in device code */
#ifndef KERNELS_BASE_F32_BITS_H
#define KERNELS_BASE_F32_BITS_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define F32_BITS_INLINE static __host__ __device__ __forceinline__
#else
#define F32_BITS_INLINE static inline __attribute__((always_inline))
#endif

F32_BITS_INLINE uint32_t f32_bits(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

F32_BITS_INLINE float f32_of_bits(uint32_t u)
{
    float v;

    memcpy(&v, &u, sizeof(v));
    return v;
}

#endif
