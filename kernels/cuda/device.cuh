/* device.cuh - elements, rows, codes and sums inside kernels
 *
 * The arithmetic is that of kernels/ref, step by step (and the files are compiled
 * without fused multiply-add), so that 8-bit codes are the same: statistics in double,
 * values in fp32, one rounded operation after another.
 */
#ifndef KERNELS_CUDA_DEVICE_CUH
#define KERNELS_CUDA_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/ops.h"

enum {
    BLOCK = 256, /* threads of most kernels */
    WARP = 32,
    NARROW = 512, /* columns of a row that one warp works on, at most */
};

/* ---- elements ------------------------------------------------------------------ */

static __host__ __device__ __forceinline__ bool is_code(enum dtype dt)
{
    return dt == DT_E4M3 || dt == DT_E5M2 || dt == DT_I8;
}

static __device__ __forceinline__ float fp8_load(const void *data, int64_t at,
                                                 __nv_fp8_interpretation_t kind)
{
    __nv_fp8_storage_t code = ((const __nv_fp8_storage_t *)data)[at];

    return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, kind)));
}

/* The stored value as a float; codes without their scale. */
static __device__ __forceinline__ float elem_load(const struct tensor &t, int64_t at)
{
    switch (t.dtype) {
    case DT_F32:
        return ((const float *)t.data)[at];
    case DT_BF16:
        return __bfloat162float(((const __nv_bfloat16 *)t.data)[at]);
    case DT_F16:
        return __half2float(((const __half *)t.data)[at]);
    case DT_E4M3:
        return fp8_load(t.data, at, __NV_E4M3);
    case DT_E5M2:
        return fp8_load(t.data, at, __NV_E5M2);
    default:
        return (float)((const int8_t *)t.data)[at];
    }
}

static __device__ __forceinline__ void elem_store(const struct tensor &t, int64_t at,
                                                  float v)
{
    if (t.dtype == DT_F32)
        ((float *)t.data)[at] = v;
    else
        ((__nv_bfloat16 *)t.data)[at] = __float2bfloat16_rn(v);
}

/* N elements in a row: 1, or 4 that are read and written as one. */
template <int N>
struct pack {
    float v[N];
};

template <int N>
static __device__ __forceinline__ struct pack<N> floats_at(const float *p) {
    struct pack<N> r;

    if constexpr (N == 4)
        *(float4 *)r.v = *(const float4 *)p;
    else
        r.v[0] = *p;
    return r;
}

template <int N>
static __device__ __forceinline__ struct pack<N> elems_load(const struct tensor &t,
                                                            int64_t at) {
    struct pack<N> r;

    if (N == 1) {
        r.v[0] = elem_load(t, at);
    } else if (t.dtype == DT_F32) {
        r = floats_at<N>((const float *)t.data + at);
    } else if (t.dtype == DT_BF16) {
        uint2 two = *(const uint2 *)((const __nv_bfloat16 *)t.data + at);

        r.v[0] = __uint_as_float(two.x << 16);
        r.v[N / 4] = __uint_as_float(two.x & 0xffff0000u);
        r.v[N / 2] = __uint_as_float(two.y << 16);
        r.v[N - 1] = __uint_as_float(two.y & 0xffff0000u);
    } else {
        for (int i = 0; i < N; i++)
            r.v[i] = elem_load(t, at + i);
    }
    return r;
}

template <int N>
static __device__ __forceinline__ void elems_store(const struct tensor &t, int64_t at,
                                                   const struct pack<N> &p)
{
    if (N == 1) {
        elem_store(t, at, p.v[0]);
    } else if (t.dtype == DT_F32) {
        *(float4 *)((float *)t.data + at) = *(const float4 *)p.v;
    } else {
        __nv_bfloat162 two[2] = {__floats2bfloat162_rn(p.v[0], p.v[N / 4]),
                                 __floats2bfloat162_rn(p.v[N / 2], p.v[N - 1])};

        *(uint2 *)((__nv_bfloat16 *)t.data + at) = *(const uint2 *)two;
    }
}

/* Values (row, col and on) of a matrix with everything pending applied. */
template <int N>
static __device__ __forceinline__ struct pack<N> row_values(const struct tensor &t,
                                                            int64_t row, int64_t col) {
    struct pack<N> r = elems_load<N>(t, row *t.stride[0] + col), more;

    if (t.pending.row_scale) {
        float scale = t.pending.row_scale[row];

        for (int i = 0; i < N; i++)
            r.v[i] *= scale;
    }
    if (t.pending.col_scale) {
        more = floats_at<N>(t.pending.col_scale + col);
        for (int i = 0; i < N; i++)
            r.v[i] *= more.v[i];
    }
    if (t.pending.bias) {
        more = floats_at<N>(t.pending.bias + col);
        for (int i = 0; i < N; i++)
            r.v[i] += more.v[i];
    }
    return r;
}

static __device__ __forceinline__ float
row_value(const struct tensor &t, int64_t row, int64_t col)
{
    return row_values<1>(t, row, col).v[0];
}

/* Can all rows be read in fours? Columns are counted elsewhere. */
static inline bool in_fours(const struct tensor *t)
{
    const struct pending *p = &t->pending;

    return !t->data ||
           ((uintptr_t)t->data % 16 == 0 && t->stride[0] % 4 == 0 &&
            (uintptr_t)p->col_scale % 16 == 0 && (uintptr_t)p->bias % 16 == 0);
}

/* ---- codes --------------------------------------------------------------------- */

static __device__ __forceinline__ float quant_scale(enum dtype dt, float absmax)
{
    if (dt == DT_E4M3)
        return fmaxf(absmax / 448.0f, 1.0f / (448.0f * 512.0f));
    return fmaxf(absmax / 127.0f, 1e-7f);
}

static __device__ __forceinline__ void quant_store(const struct tensor &t, int64_t at,
                                                   float v, float scale)
{
    float u = v / scale;

    if (t.dtype == DT_E4M3)
        ((uint8_t *)t.data)[at] = __nv_cvt_float_to_fp8(u, __NV_SATFINITE, __NV_E4M3);
    else
        ((int8_t *)t.data)[at] = (int8_t)fminf(fmaxf(rintf(u), -127.0f), 127.0f);
}

template <int N>
static __device__ __forceinline__ void codes_store(const struct tensor &t, int64_t at,
                                                   const struct pack<N> &p, float scale)
{
    if constexpr (N == 1) {
        quant_store(t, at, p.v[0], scale);
    } else {
        union {
            uint32_t all;
            uint8_t code[N];
        } u;

        for (int i = 0; i < N; i++) {
            float v = p.v[i] / scale;

            u.code[i] = t.dtype == DT_E4M3
                            ? __nv_cvt_float_to_fp8(v, __NV_SATFINITE, __NV_E4M3)
                            : (uint8_t)(int8_t)fminf(fmaxf(rintf(v), -127.0f), 127.0f);
        }
        *(uint32_t *)((uint8_t *)t.data + at) = u.all;
    }
}

/* ---- a team of threads works on one row ---------------------------------------- */

struct add_op {
    template <typename T>
    static __device__ T join(T a, T b)
    {
        return a + b;
    }
};

struct max_op {
    template <typename T>
    static __device__ T join(T a, T b)
    {
        return a > b ? a : b;
    }
};

template <typename Op, typename T>
static __device__ __forceinline__ T warp_join(T v)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

/* Joins the threads' values in a fixed tree; every thread gets the result. TEAM is a
 * warp, or all threads of the block. */
template <typename Op, int TEAM, typename T>
static __device__ T team_join(T v)
{
    __shared__ T room[TEAM / WARP];

    v = warp_join<Op>(v);
    if (TEAM == WARP)
        return v;
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = v;
    __syncthreads();
    v = room[0];
    for (int i = 1; i < TEAM / WARP; i++)
        v = Op::join(v, room[i]);
    return v;
}

/* The team writes one row: values(col) as floats, or as codes with their scale. `cache`
 * has room for the row; values(col) may read what the same thread left at cache[col].
 */
template <int TEAM, int N, typename Values>
static __device__ __forceinline__ void row_emit(const struct tensor &out, int64_t row,
                                                float *cache, Values values)
{
    int cols = (int)out.shape[1], first = threadIdx.x % TEAM * N;
    int64_t at = row * out.stride[0];
    float top = 0.0f, scale;

    if (!is_code(out.dtype)) {
        for (int c = first; c < cols; c += TEAM * N)
            elems_store<N>(out, at + c, values(c));
        return;
    }
    for (int c = first; c < cols; c += TEAM * N) {
        struct pack<N> p = values(c);

        *(struct pack<N> *)(cache + c) = p;
        for (int i = 0; i < N; i++)
            top = fmaxf(top, fabsf(p.v[i]));
    }
    top = team_join<max_op, TEAM>(top);
    scale = quant_scale(out.dtype, top);
    for (int c = first; c < cols; c += TEAM * N)
        codes_store<N>(out, at + c, floats_at<N>(cache + c), scale);
    if (first == 0)
        out.scales.data[row] = scale;
}

/* The row of this thread's team, and the team's part of the block's memory. */
template <int TEAM>
static __device__ __forceinline__ int64_t team_row(void)
{
    return (int64_t)blockIdx.x * (BLOCK / TEAM) + threadIdx.x / TEAM;
}

template <int TEAM>
static __device__ __forceinline__ float *team_cache(int64_t cols)
{
    extern __shared__ __align__(16) float caches[];

    return caches + threadIdx.x / TEAM * cols;
}

template <typename T>
struct same {
    typedef T type;
};

/* Let a kernel have `bytes` of shared memory. */
template <typename Kernel>
static cudaError_t shared_allow(Kernel kernel, size_t bytes)
{
    if (bytes <= (size_t)48 << 10)
        return cudaSuccess;
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)bytes);
}

/* Launch a kernel of teams: a warp per row, or a block. */
template <typename... P>
static cudaError_t teams_launch(void (*narrow)(P...), void (*wide)(P...), int64_t rows,
                                int64_t cols, cudaStream_t stream,
                                typename same<P>::type... args)
{
    int64_t per = cols <= NARROW ? BLOCK / WARP : 1;
    size_t bytes = (size_t)(cols * per) * sizeof(float);
    void (*kernel)(P...) = per > 1 ? narrow : wide;
    cudaError_t st = shared_allow(kernel, bytes);

    if (st != cudaSuccess)
        return st;
    kernel<<<(unsigned)((rows + per - 1) / per), BLOCK, bytes, stream>>>(args...);
    return cudaGetLastError();
}

/* The same for kernel<TEAM, N>; `fours`: N is 4. */
#define TEAMS_LAUNCH(kernel, fours, ...)                                    \
    ((fours) ? teams_launch(kernel<WARP, 4>, kernel<BLOCK, 4>, __VA_ARGS__) \
             : teams_launch(kernel<WARP, 1>, kernel<BLOCK, 1>, __VA_ARGS__))

/* 2^z in double, relative error 3e-13; |z| under 1000. */
static __device__ __forceinline__ double exp2_near(double z)
{
    const double whole = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds */
    double n = z + whole;
    double r = z - (n - whole);
    double p = 7.0549116208011234e-09; /* ln(2)^k / k!, k from 10 down */

    p = __fma_rn(p, r, 1.0178086009239699e-07);
    p = __fma_rn(p, r, 1.3215486790144309e-06);
    p = __fma_rn(p, r, 1.5252733804059841e-05);
    p = __fma_rn(p, r, 1.5403530393381608e-04);
    p = __fma_rn(p, r, 1.3333558146428443e-03);
    p = __fma_rn(p, r, 9.6181291076284768e-03);
    p = __fma_rn(p, r, 5.5504108664821583e-02);
    p = __fma_rn(p, r, 2.4022650695910072e-01);
    p = __fma_rn(p, r, 6.9314718055994531e-01);
    p = __fma_rn(p, r, 1.0);
    return __hiloint2double(__double2hiint(p) + (__double2loint(n) << 20),
                            __double2loint(p));
}

/* x / (1 + e^-y) in double; what a tanh or a sigmoid comes down to. */
static __device__ __forceinline__ double gated_by(double x, double y)
{
    const double log2_e = 1.4426950408889634;
    double z = fmin(fmax(-y * log2_e, -900.0), 900.0);
    double b = 1.0 + exp2_near(z);
    double inverse;

    if (z > 100.0) /* beyond the floats that the first guess is made in */
        return x / b;
    inverse = (double)__frcp_rn((float)b);
    inverse = __fma_rn(inverse, __fma_rn(-b, inverse, 1.0), inverse);
    return x * __fma_rn(inverse, __fma_rn(-b, inverse, 1.0), inverse);
}

/* act(v), computed in double and rounded once */
static __device__ __forceinline__ float act_value(enum act_kind act, float v)
{
    const double root_2_pi = 0.79788456080286535588; /* sqrt(2 / pi) */
    const double root_half = 0.70710678118654752440;
    double x = (double)v;

    switch (act) {
    case ACT_GELU_TANH:
        return (float)gated_by(x, 2.0 * root_2_pi * (x + 0.044715 * x * x * x));
    case ACT_GELU_ERF:
        return (float)(0.5 * x * (1.0 + erf(x * root_half)));
    case ACT_SILU:
        return (float)gated_by(x, x);
    default:
        return v;
    }
}

#endif
