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

enum { BLOCK = 256 }; /* threads of a kernel that works on one row */

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

/* ---- a block works together ---------------------------------------------------- */

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

/* Joins the threads' values in a fixed tree; every thread gets the result. The block
 * has THREADS threads, a power of two. */
template <typename Op, int THREADS, typename T>
static __device__ T block_join(T v)
{
    __shared__ T room[THREADS];

    __syncthreads();
    room[threadIdx.x] = v;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half)
            room[threadIdx.x] = Op::join(room[threadIdx.x], room[threadIdx.x + half]);
        __syncthreads();
    }
    return room[0];
}

/* The block writes one row: value(col) as floats, or as codes with their scale. */
template <typename Value>
static __device__ void row_emit(const struct tensor &out, int64_t row, Value value)
{
    int64_t cols = out.shape[1];
    int64_t at = row * out.stride[0];
    float top = 0.0f, scale;

    if (!is_code(out.dtype)) {
        for (int64_t c = threadIdx.x; c < cols; c += BLOCK)
            elem_store(out, at + c, value(c));
        return;
    }
    for (int64_t c = threadIdx.x; c < cols; c += BLOCK)
        top = fmaxf(top, fabsf(value(c)));
    top = block_join<max_op, BLOCK>(top);
    scale = quant_scale(out.dtype, top);
    for (int64_t c = threadIdx.x; c < cols; c += BLOCK)
        quant_store(out, at + c, value(c), scale);
    if (threadIdx.x == 0)
        out.scales.data[row] = scale;
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
