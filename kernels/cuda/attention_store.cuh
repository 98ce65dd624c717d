/* attention_store.cuh - results of attention to memory, 16 bytes at a time
 *
 * A thread has two neighbours of every 8 channels of its rows (attention_rows.cuh). The
 * four threads of a row exchange them, so that each gets all 8 of every fourth group
 * (bf16), or of two neighbouring groups (codes).
 *
 * Codes are what a division by the scale makes, rounded once, without its price: with
 * r = 1 / scale and q = v r, both rounded, q + r (v - q scale) in two multiply-adds is
 * the rounded quotient (Markstein).
 */
#ifndef KERNELS_CUDA_ATTENTION_STORE_CUH
#define KERNELS_CUDA_ATTENTION_STORE_CUH

#include "kernels/cuda/attention_rows.cuh"

/* w[k] of thread t of four becomes what w[t] was of thread k. */
static __device__ __forceinline__ void quad_turn(uint32_t (&w)[4])
{
    bool one = threadIdx.x & 1, two = threadIdx.x & 2;

#pragma unroll
    for (int k = 0; k < 4; k += 2) {
        uint32_t got = __shfl_xor_sync(0xffffffffu, one ? w[k] : w[k + 1], 1);

        w[k] = one ? got : w[k];
        w[k + 1] = one ? w[k + 1] : got;
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        uint32_t got = __shfl_xor_sync(0xffffffffu, two ? w[k] : w[k + 2], 2);

        w[k] = two ? got : w[k];
        w[k + 2] = two ? w[k + 2] : got;
    }
}

static __device__ __forceinline__ float quotient(float v, float scale, float inverse)
{
    float q = v * inverse;

    return __fmaf_rn(__fmaf_rn(-q, scale, v), inverse, q);
}

static __device__ __forceinline__ uint32_t codes_pair(float a, float b)
{
    return __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E4M3);
}

/* A row of bf16: after the exchange a thread has groups t, t + 4, t + 8 and t + 12. */
static __device__ __forceinline__ void row_store_bf16(const struct tensor &o,
                                                      int64_t at, bool mine, int half,
                                                      float factor,
                                                      const float (&v)[64])
{
    __nv_bfloat16 *to = (__nv_bfloat16 *)o.data + at + threadIdx.x % 4 * 8;

#pragma unroll
    for (int j = 0; j < 16; j += 4) {
        uint32_t w[4];

#pragma unroll
        for (int k = 0; k < 4; k++)
            w[k] = bf16_pack(v[4 * (j + k) + 2 * half] * factor,
                             v[4 * (j + k) + 2 * half + 1] * factor);
        quad_turn(w);
        if (mine)
            *(uint4 *)(to + 8 * j) = make_uint4(w[0], w[1], w[2], w[3]);
    }
}

/* A row of e4m3: after the exchange a thread has groups 2 t and 2 t + 1 of every 8. */
static __device__ __forceinline__ void row_store_codes(const struct tensor &o,
                                                       int64_t at, bool mine, int half,
                                                       float factor, float scale,
                                                       const float (&v)[64])
{
    uint8_t *to = (uint8_t *)o.data + at + threadIdx.x % 4 * 16;
    float inverse = 1.0f / scale;

#pragma unroll
    for (int j = 0; j < 16; j += 8) {
        uint32_t w[4];

#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t two[2];

#pragma unroll
            for (int g = 0; g < 2; g++) {
                int i = 4 * (j + 2 * k + g) + 2 * half;

                two[g] = codes_pair(quotient(v[i] * factor, scale, inverse),
                                    quotient(v[i + 1] * factor, scale, inverse));
            }
            w[k] = two[0] | two[1] << 16;
        }
        quad_turn(w);
        if (mine)
            *(uint4 *)(to + 8 * j) = make_uint4(
                __byte_perm(w[0], w[1], 0x5410), __byte_perm(w[2], w[3], 0x5410),
                __byte_perm(w[0], w[1], 0x7632), __byte_perm(w[2], w[3], 0x7632));
    }
}

static __device__ __forceinline__ void row_store_f32(const struct tensor &o, int64_t at,
                                                     bool mine, bool add, int half,
                                                     float factor, const float (&v)[64])
{
    float2 *to = (float2 *)((float *)o.data + at) + threadIdx.x % 4;

    if (!mine)
        return;
#pragma unroll
    for (int j = 0; j < 16; j++) {
        float a = v[4 * j + 2 * half] * factor, b = v[4 * j + 2 * half + 1] * factor;
        float2 old = add ? to[4 * j] : make_float2(0.0f, 0.0f);

        to[4 * j] = add ? make_float2(old.x + a, old.y + b) : make_float2(a, b);
    }
}

static __device__ __forceinline__ float row_scale(const struct tensor &o, int half,
                                                  float factor, const float (&v)[64])
{
    float top = 0.0f;

#pragma unroll
    for (int i = 0; i < 32; i++)
        top = fmaxf(top, fabsf(v[i / 2 * 4 + half * 2 + i % 2] * factor));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    return quant_scale(o.dtype, top);
}

/* The same as queries_store(), for what rows_store_fit() lets pass. */
static __device__ __forceinline__ void rows_store(const struct rows_view &a, int64_t h,
                                                  int64_t first,
                                                  const struct rows_of<128> &st)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t row = first + 8 * half;
        int64_t at = row * a.o.stride[0] + h * a.o.stride[1];
        float factor = row_finish(a, h, row, half, 0.0f, st);
        bool mine = row < a.q.shape[1];

        if (a.o.dtype == DT_BF16) {
            row_store_bf16(a.o, at, mine, half, factor, st.o);
        } else if (a.o.dtype == DT_F32) {
            row_store_f32(a.o, at, mine, a.add, half, factor, st.o);
        } else {
            float scale = row_scale(a.o, half, factor, st.o);

            if (mine && threadIdx.x % 4 == 0)
                a.o.scales.data[row * a.o.scales.stride[0] + h] = scale;
            row_store_codes(a.o, at, mine, half, factor, scale, st.o);
        }
    }
}

/* Can rows of 128 channels be written 16 bytes at a time? */
static inline bool rows_store_fit(const struct tensor *o)
{
    int64_t bytes = o->dtype == DT_F32 ? 4 : o->dtype == DT_BF16 ? 2 : 1;

    return (o->dtype == DT_F32 || o->dtype == DT_BF16 || o->dtype == DT_E4M3) &&
           (uintptr_t)o->data % 16 == 0 && o->stride[0] * bytes % 16 == 0 &&
           o->stride[1] * bytes % 16 == 0 && o->stride[2] == 1;
}

#endif
