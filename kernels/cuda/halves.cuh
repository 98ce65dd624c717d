/* halves.cuh - two 16-bit numbers in a register: one function per instruction
 *
 * The first of a pair is in the lower half.
 */
#ifndef KERNELS_CUDA_HALVES_CUH
#define KERNELS_CUDA_HALVES_CUH

#include <stdint.h>

/* Integers, cut off at what 16 bits hold. */
static __device__ __forceinline__ uint32_t pair_pack(int first, int second)
{
    uint32_t r;

    asm("cvt.pack.sat.s16.s32 %0, %1, %2;" : "=r"(r) : "r"(second), "r"(first));
    return r;
}

static __device__ __forceinline__ int pair_first(uint32_t v)
{
    return (int16_t)(v & 0xffffu);
}

static __device__ __forceinline__ int pair_second(uint32_t v)
{
    return (int)v >> 16;
}

/* The largest integer of each half. */
static __device__ __forceinline__ uint32_t pair_max(uint32_t a, uint32_t b, uint32_t c)
{
    return __vimax3_s16x2(a, b, c);
}

/* a * b + c of halves; what is below the smallest normal one counts as zero. */
static __device__ __forceinline__ uint32_t half2_fma(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t r;

    asm("fma.rn.ftz.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

static __device__ __forceinline__ uint32_t half2_add(uint32_t a, uint32_t b)
{
    uint32_t r;

    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

/* Both halves of a pair, added up. */
static __device__ __forceinline__ float half2_sum(uint32_t v)
{
    float a, b;

    asm("{\n.reg .b16 lo, hi;\nmov.b32 {lo, hi}, %2;\n"
        "cvt.f32.f16 %0, lo;\ncvt.f32.f16 %1, hi;\n}"
        : "=f"(a), "=f"(b)
        : "r"(v));
    return a + b;
}

/* The e4m3 codes of four halves. */
static __device__ __forceinline__ uint32_t half4_codes(uint32_t a, uint32_t b)
{
    uint32_t r;

    asm("{\n.reg .b16 lo, hi;\n"
        "cvt.rn.satfinite.e4m3x2.f16x2 lo, %1;\n"
        "cvt.rn.satfinite.e4m3x2.f16x2 hi, %2;\n"
        "mov.b32 %0, {lo, hi};\n}"
        : "=r"(r)
        : "r"(a), "r"(b));
    return r;
}

#endif
