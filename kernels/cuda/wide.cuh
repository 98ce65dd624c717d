/* wide.cuh - long bf16 rows to codes: what the kernels for the shapes of a block share
 *
 * Kernels for memory that is read once. A thread owns the same eight columns of every
 * row that its block works on, so scales, biases, weights and tables of columns are
 * fetched once per block, into shared memory that nobody else reads, and so are the
 * rows to come, by copies that run by themselves: neither needs a barrier.
 *
 * Codes are those of device.cuh, which divides every value by its scale. Here the
 * quotient is fma(v, r, v * rest) with r + rest the inverse of the scale to 48 bits.
 * It is rounded once, like a division, but for quotients that lie within 2^-48 of
 * where that rounding turns; none of these is near enough to where a code turns to
 * change it. That was tried for all 2^23 mantissas of a scale, all points where codes
 * of both types turn and the four values nearest to each: the one exception, a scale
 * whose mantissa is all ones, gets its inverse from above. Dividing a maximum by 448
 * or 127 in the same way is exact for all mantissas.
 *
 * Values must be finite; a row with an infinity or a NaN has no codes worth having.
 */
#ifndef KERNELS_CUDA_WIDE_CUH
#define KERNELS_CUDA_WIDE_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared.cuh"

enum { EIGHT = 8 /* columns of a thread */, HALF = 4 };

/* ---- eight values -------------------------------------------------------------- */

struct eight {
    float v[EIGHT];
};

static __device__ __forceinline__ struct eight eight_of(const uint4 &from)
{
    const uint32_t word[4] = {from.x, from.y, from.z, from.w};
    struct eight r;

#pragma unroll
    for (int i = 0; i < 4; i++) {
        r.v[2 * i] = __uint_as_float(word[i] << 16);
        r.v[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
    }
    return r;
}

static __device__ __forceinline__ uint4 eight_bf16(const struct eight &e)
{
    uint32_t word[4];

#pragma unroll
    for (int i = 0; i < 4; i++) {
        __nv_bfloat162 two = __floats2bfloat162_rn(e.v[2 * i], e.v[2 * i + 1]);

        memcpy(&word[i], &two, sizeof(two));
    }
    return make_uint4(word[0], word[1], word[2], word[3]);
}

/* Values of columns in shared memory: the first four of every thread, then the others,
 * so that neighbours read neighbouring banks. */
static __device__ __forceinline__ struct eight columns_load(const float *at)
{
    const float4 *p = (const float4 *)at + threadIdx.x;
    const float4 a = p[0], b = p[blockDim.x];

    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

static __device__ __forceinline__ void columns_store(float *at, const struct eight &e)
{
    float4 *p = (float4 *)at + threadIdx.x;

    p[0] = make_float4(e.v[0], e.v[1], e.v[2], e.v[3]);
    p[blockDim.x] = make_float4(e.v[4], e.v[5], e.v[6], e.v[7]);
}

/* Four of a vector from `low` on and four from `high` on; `missing` where it is NULL.
 */
static __device__ __forceinline__ struct eight columns_fetch(const float *from, int low,
                                                             int high, float missing)
{
    float4 a = make_float4(missing, missing, missing, missing), b = a;

    if (from) {
        a = *(const float4 *)(from + low);
        b = *(const float4 *)(from + high);
    }
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

/* A raw product with everything pending applied. Where a bias is missing, -0 stands in:
 * adding it changes nothing, not even the sign of a zero. */
static __device__ __forceinline__ struct eight eight_finish(struct eight e, float row,
                                                            const struct eight &scale,
                                                            const struct eight &bias)
{
#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        e.v[i] = e.v[i] * row * scale.v[i] + bias.v[i];
    return e;
}

static __device__ __forceinline__ float eight_top(const struct eight &e)
{
    float top = 0.0f;

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        top = fmaxf(top, fabsf(e.v[i]));
    return top;
}

/* ---- codes --------------------------------------------------------------------- */

struct inverse {
    float scale, near, rest;
};

/* top / 448 or top / 127 with the floors of operands, and what to multiply with. */
template <bool BYTES>
static __device__ __forceinline__ struct inverse inverse_of(float top)
{
    const float high = BYTES ? 0x1.020408p-7f : 0x1.24924ap-9f;
    const float low = BYTES ? 0x1.020408p-35f : -0x1.b6db6ep-34f;
    const float least = BYTES ? 1e-7f : 1.0f / (448.0f * 512.0f);
    float scale = fmaxf(__fmaf_rn(top, high, top * low), least);
    bool ones = (__float_as_uint(scale) & 0x7fffffu) == 0x7fffffu;
    float r = __frcp_rn(scale), off;

    if (ones)
        r = __uint_as_float(__float_as_uint(r) | 1u);
    off = __fmaf_rn(-scale, r, 1.0f);
    if (ones)
        off = __fmaf_rn(off, off, off);
    return {scale, r, r * off};
}

static __device__ __forceinline__ float quotient(float v, const struct inverse &by)
{
    return __fmaf_rn(v, by.near, v * by.rest);
}

/* A zero keeps the sign of the value. */
static __device__ __forceinline__ float quotient_signed(float v,
                                                        const struct inverse &by)
{
    return copysignf(quotient(v, by), v);
}

/* Two e4m3 codes, the first in the low byte. */
static __device__ __forceinline__ uint32_t e4m3_two(float a, float b)
{
    return __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E4M3);
}

static __device__ __forceinline__ uint2 eight_e4m3(const struct eight &e,
                                                   const struct inverse &by)
{
    uint32_t two[4];

#pragma unroll
    for (int i = 0; i < 4; i++)
        two[i] = e4m3_two(quotient_signed(e.v[2 * i], by),
                          quotient_signed(e.v[2 * i + 1], by));
    return make_uint2(two[0] | two[1] << 16, two[2] | two[3] << 16);
}

/* Adding 1.5 * 2^23 rounds to an integer, whose low byte is the code: quotients are at
 * most 127 and a little. */
static __device__ __forceinline__ uint2 eight_bytes(const struct eight &e,
                                                    const struct inverse &by)
{
    uint32_t code[EIGHT], word[2];

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        code[i] = __float_as_uint(quotient(e.v[i], by) + 12582912.0f);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t low = __byte_perm(code[4 * i], code[4 * i + 1], 0x0040);
        uint32_t high = __byte_perm(code[4 * i + 2], code[4 * i + 3], 0x0040);

        word[i] = __byte_perm(low, high, 0x5410);
    }
    return make_uint2(word[0], word[1]);
}

/* ---- sums and maxima ----------------------------------------------------------- */

/* Which of four values a lane ends up with after it gave others away at steps `high`
 * and `low`. */
static __device__ __forceinline__ int row_kept(int lane, int high, int low)
{
    return (lane & high ? 2 : 0) + (lane & low ? 1 : 0);
}

/* The sum of one value over this warp: of row_kept(lane, 16, 8). */
static __device__ __forceinline__ double four_sums(const double (&s)[4])
{
    int lane = threadIdx.x % WARP;
    double a, b, c;

    a = __shfl_xor_sync(0xffffffffu, lane & 16 ? s[0] : s[2], 16);
    b = __shfl_xor_sync(0xffffffffu, lane & 16 ? s[1] : s[3], 16);
    a += lane & 16 ? s[2] : s[0];
    b += lane & 16 ? s[3] : s[1];
    c = __shfl_xor_sync(0xffffffffu, lane & 8 ? a : b, 8);
    c += lane & 8 ? b : a;
#pragma unroll
    for (int step = 4; step > 0; step /= 2)
        c += __shfl_xor_sync(0xffffffffu, c, step);
    return c;
}

/* The same over the sums of all warps, by one warp: `room` has one of each. */
template <int WARPS>
static __device__ __forceinline__ double four_sums_again(const double (*room)[WARP])
{
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    const double *mine = room[row_kept(lane, 16, 8)];
    double sum = 0.0;

#pragma unroll
    for (int i = 0; i < WARPS; i += EIGHT) {
        int w = i + lane % EIGHT;

        sum += w < warps ? mine[w] : 0.0;
    }
#pragma unroll
    for (int step = 4; step > 0; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
}

/* 1 / sqrt(m), as good as doubles are: a step of third order from 22 bits. */
static __device__ __forceinline__ double root_inverse(double m)
{
    double y, e;

    if (!(m > 1e-30 && m < 1e30))
        return 1.0 / sqrt(m);
    y = (double)rsqrtf((float)m);
    e = __fma_rn(-m * y, y, 1.0);
    return __fma_rn(y * e, __fma_rn(0.375, e, 0.5), y);
}

/* The greatest of all lanes; none is negative. */
static __device__ __forceinline__ float warp_top(float v)
{
    return __uint_as_float(__reduce_max_sync(0xffffffffu, __float_as_uint(v)));
}

/* The greatest of all threads with a threadIdx.y, for each of ROWS values; none is
 * negative. They meet at a barrier between the two, and `room` must not be written
 * again before the barrier after that. */
template <int ROWS>
static __device__ __forceinline__ void tops_give(const float (&top)[ROWS],
                                                 float (*room)[WARP])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float t = warp_top(top[r]);

        if (threadIdx.x % WARP == 0)
            room[r][threadIdx.x / WARP] = t;
    }
}

template <int ROWS>
static __device__ __forceinline__ void tops_take(float (&top)[ROWS],
                                                 const float (*room)[WARP])
{
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        top[r] = warp_top(lane < warps ? room[r][lane] : 0.0f);
}

/* ---- GELU ---------------------------------------------------------------------- */

/*     gelu(x) = x / (1 + 2^z),  z = x (c0 + c1 x^2)
 *
 * How far the guess can be off, in 2^-23 of the value: 16.0 for z, as tried for every
 * float x with |z| <= 24; 4 for the exponential and the reciprocal, which are said to
 * be within 2 and 1 of what rounding gives; a half for the sum and for the product; and
 * 2.5 for what it is compared with, five roundings of values, scales and quotients.
 * These are 23.5, GELU_OFF is 24. For negative x beyond, 2^-24 |x| gives the e4m3 code
 * of -0 where the greatest of a row is at least 0.17. GELU_OFF_SMALL bounds it down to
 * |z| = 30.5, where it is 25.2; beyond, the code is that of -0 at any scale. Where 2^z
 * is no float the guess is -0.
 */
#define GELU_OFF 0x1.8p-19f
#define GELU_OFF_SMALL 0x1p-17f

static __device__ __forceinline__ float exp2_guess(float z)
{
    float r;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(z));
    return r;
}

static __device__ __forceinline__ float inverse_guess(float v)
{
    float r;

    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}

/* 1 + 2^z. */
static __device__ __forceinline__ float below(float x)
{
    const float c0 = -2.30220820f; /* -sqrt(8 / pi) log2(e) */
    const float c1 = -0.10294324f; /* c0 * 0.044715 */

    return 1.0f + exp2_guess(x * __fmaf_rn(c1, x * x, c0));
}

static __device__ __forceinline__ void gelu_guess(struct eight &e)
{
#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        e.v[i] *= inverse_guess(below(e.v[i]));
}

/* ---- barriers between the warps of a block -------------------------------------- */

/* `met`: every warp was there; `ready`: one warp was, that worked on what they left. */
template <int N>
static __device__ __forceinline__ void meetings_init(uint64_t (&met)[N],
                                                     uint64_t (&ready)[N])
{
    if (threadIdx.x == 0) {
        for (int i = 0; i < N; i++) {
            barrier_init(shared_at(&met[i]), blockDim.x / WARP * WARP_ARRIVALS);
            barrier_init(shared_at(&ready[i]), WARP_ARRIVALS);
        }
    }
    __syncthreads();
}

/* ---- launching ----------------------------------------------------------------- */

/* Rows of `size` bytes an element whose every `unit`-th one can be read at 16 bytes. */
static inline bool wide_aligned(const struct tensor *t, int unit)
{
    return (uintptr_t)t->data % 16 == 0 && t->stride[t->rank - 1] == 1 &&
           t->stride[0] % unit == 0 && (uintptr_t)t->pending.col_scale % 16 == 0 &&
           (uintptr_t)t->pending.bias % 16 == 0;
}

static inline bool vector_aligned(const struct tensor *t)
{
    return !t || (uintptr_t)t->data % 16 == 0;
}

/* Blocks that work at the same time, at most one per piece of work. */
template <typename Kernel>
static cudaError_t wide_grid(Kernel kernel, int threads, size_t bytes, int64_t pieces,
                             const struct launch_limits *l, unsigned *out)
{
    cudaError_t st = shared_allow(kernel, bytes);
    int per = 0;

    if (st == cudaSuccess)
        st = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per, kernel, threads,
                                                           bytes);
    if (st != cudaSuccess)
        return st;
    if (per == 0)
        return cudaErrorInvalidConfiguration;
    *out = (unsigned)(pieces < (int64_t)per * l->units ? pieces
                                                       : (int64_t)per * l->units);
    return cudaSuccess;
}

#endif
