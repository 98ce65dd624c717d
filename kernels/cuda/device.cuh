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
    BLOCK = 256,  /* threads of most kernels */
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

/* Value (row, col) of a matrix with everything pending applied. */
static __device__ __forceinline__ float row_value(const struct tensor &t, int64_t row,
                                                  int64_t col)
{
    float v = elem_load(t, row * t.stride[0] + col);

    if (t.pending.row_scale)
        v *= t.pending.row_scale[row];
    if (t.pending.col_scale)
        v *= t.pending.col_scale[col];
    if (t.pending.bias)
        v += t.pending.bias[col];
    return v;
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

/* The team writes one row: value(col) as floats, or as codes with their scale. `cache`
 * has room for the row; value(col) may read what the same thread left at cache[col]. */
template <int TEAM, typename Value>
static __device__ void row_emit(const struct tensor &out, int64_t row, float *cache,
                                Value value)
{
    int64_t cols = out.shape[1];
    int64_t at = row * out.stride[0];
    int lane = threadIdx.x % TEAM;
    float top = 0.0f, scale;

    if (!is_code(out.dtype)) {
        for (int64_t c = lane; c < cols; c += TEAM)
            elem_store(out, at + c, value(c));
        return;
    }
    for (int64_t c = lane; c < cols; c += TEAM) {
        float v = value(c);

        cache[c] = v;
        top = fmaxf(top, fabsf(v));
    }
    top = team_join<max_op, TEAM>(top);
    scale = quant_scale(out.dtype, top);
    for (int64_t c = lane; c < cols; c += TEAM)
        quant_store(out, at + c, cache[c], scale);
    if (lane == 0)
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
    extern __shared__ float caches[];

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
    return cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

/* Launch a kernel of teams: `narrow` with a warp per row, `wide` with a block. */
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

/* act(v), computed in double and rounded once */
static __device__ __forceinline__ float act_value(enum act_kind act, float v)
{
    const double root_2_pi = 0.79788456080286535588; /* sqrt(2 / pi) */
    const double root_half = 0.70710678118654752440;
    double x = (double)v;

    switch (act) {
    case ACT_GELU_TANH:
        return (float)(0.5 * x * (1.0 + tanh(root_2_pi * (x + 0.044715 * x * x * x))));
    case ACT_GELU_ERF:
        return (float)(0.5 * x * (1.0 + erf(x * root_half)));
    case ACT_SILU:
        return (float)(x / (1.0 + exp(-x)));
    default:
        return v;
    }
}

#endif
