/* attention_rows.cuh - what the kernels for a matrix unit share: two rows of a thread
 *
 * Heads of N channels. In the result layout of a product thread t of a warp holds, of
 * rows first = t / 4 and first + 8, elements o[4 j + e] = (row first + 8 (e / 2),
 * channel 8 j + 2 (t mod 4) + e mod 2); the four threads of a row agree by shuffles.
 */
#ifndef KERNELS_CUDA_ATTENTION_ROWS_CUH
#define KERNELS_CUDA_ATTENTION_ROWS_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared.cuh"

/* One part of the queries, and all keys. */
struct rows_view {
    struct tensor q, o;
    float *lse;
    int64_t lse_stride;
    struct attn_keys keys[LAUNCH_PARTS_MAX];
    int n_keys;
    const float *key_bias, *rel_bias;
    int64_t rel_stride, reach; /* of rel_bias: from head to head, and its middle */
    int64_t first;             /* position of the first query */
    float scale;               /* times log2(e) */
    bool add;
};

/* What is the same for all parts of queries. */
static inline void rows_view_fill(struct rows_view *v, const struct op_attention *a)
{
    *v = {};
    v->n_keys = a->n_keys;
    for (int i = 0; i < a->n_keys; i++)
        v->keys[i] = a->keys[i];
    v->key_bias = a->key_bias ? (const float *)a->key_bias->data : NULL;
    v->rel_bias = a->rel_bias ? (const float *)a->rel_bias->data : NULL;
    v->rel_stride = a->rel_bias ? a->rel_bias->stride[0] : 0;
    v->reach = a->rel_bias ? a->rel_bias->shape[1] / 2 : 0;
    v->scale = a->scale * 1.4426950408889634f;
    v->add = a->add;
}

static inline void rows_view_queries(struct rows_view *v, const struct attn_queries *qs)
{
    v->q = qs->q;
    v->o = qs->o;
    v->lse = qs->lse ? (float *)qs->lse->data : NULL;
    v->lse_stride = qs->lse ? qs->lse->stride[0] : 0;
}

/* ---- shared memory ------------------------------------------------------------- */

static __device__ __forceinline__ float shared_float(uint32_t at)
{
    float v;

    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(at));
    return v;
}

/* ---- rows ---------------------------------------------------------------------- */

/* What a thread knows of its two rows, N wide. */
template <int N>
struct rows_of {
    float m[2], l[2]; /* running maximum (base 2), this thread's share of the sum */
    float scale[2];   /* of the logits, times log2(e) */
    float o[N / 2];
};

struct rows_state : rows_of<128> {
};

static __device__ __forceinline__ float exp2_fast(float v)
{
    float r;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}

static __device__ __forceinline__ uint32_t bf16_pack(float a, float b)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(a, b);

    return *(uint32_t *)&v;
}

template <int N>
static __device__ __forceinline__ void rows_start(const struct rows_view &a, int64_t h,
                                                  int64_t first, bool codes,
                                                  struct rows_of<N> &st)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t row = first + 8 * half;

        st.m[half] = -INFINITY;
        st.l[half] = 0.0f;
        st.scale[half] = a.scale;
        if (codes && row < a.q.shape[1])
            st.scale[half] *= a.q.scales.data[h * a.q.scales.stride[0] + row];
    }
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        st.o[i] = 0.0f;
}

/* Heads that are narrower than N have zeros in what is left over. */
template <int N>
static __device__ void row_store(const struct rows_view &a, int64_t h, int64_t row,
                                 int half, float factor, const float (&o)[N / 2])
{
    int64_t at = row * a.o.stride[0] + h * a.o.stride[1];
    bool mine = row < a.q.shape[1];
    float top = 0.0f, scale = 1.0f;
    int t = threadIdx.x % 4;

    if (is_code(a.o.dtype)) {
#pragma unroll
        for (int i = 0; i < N / 4; i++)
            top = fmaxf(top, fabsf(o[i / 2 * 4 + half * 2 + i % 2] * factor));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        scale = quant_scale(a.o.dtype, top);
        if (mine && t == 0)
            a.o.scales.data[row * a.o.scales.stride[0] + h] = scale;
    }
    if (!mine)
        return;
#pragma unroll
    for (int i = 0; i < N / 4; i++) {
        float v = o[i / 2 * 4 + half * 2 + i % 2] * factor;
        int64_t to = at + i / 2 * 8 + 2 * t + i % 2;

        if (N < 128 && i / 2 * 8 >= a.o.shape[2])
            break;
        if (is_code(a.o.dtype))
            quant_store(a.o, to, v, scale);
        else
            elem_store(a.o, to, a.add ? elem_load(a.o, to) + v : v);
    }
}

/* The row's log-sum-exp goes out; what its sums have to be multiplied by. `lift`: what
 * they are scaled by, base 2. */
template <int N>
static __device__ __forceinline__ float row_finish(const struct rows_view &a, int64_t h,
                                                   int64_t row, int half, float lift,
                                                   const struct rows_of<N> &st)
{
    const float ln_2 = 0.6931471805599453f;
    float l = st.l[half];

    l += __shfl_xor_sync(0xffffffffu, l, 1);
    l += __shfl_xor_sync(0xffffffffu, l, 2);
    if (a.lse && row < a.q.shape[1] && threadIdx.x % 4 == 0)
        a.lse[h * a.lse_stride + row] = l > 0.0f ? (st.m[half] + log2f(l) - lift) * ln_2
                                                 : -INFINITY;
    return l > 0.0f ? 1.0f / l : 0.0f;
}

template <int N>
static __device__ void queries_store(const struct rows_view &a, int64_t h,
                                     int64_t first, float lift,
                                     const struct rows_of<N> &st)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t row = first + 8 * half;

        row_store<N>(a, h, row, half, row_finish(a, h, row, half, lift, st), st.o);
    }
}

/* Where a walk over all keys is; `key` counts from the first part's first. */
struct place {
    int part;
    int64_t at, key;
};

/* On to the next tile; false at the end. */
static __device__ __forceinline__ bool place_next(const struct rows_view &a,
                                                  struct place &p, int64_t step)
{
    p.at += step;
    while (p.part < a.n_keys && p.at >= a.keys[p.part].n) {
        p.key += a.keys[p.part++].n;
        p.at = 0;
    }
    return p.part < a.n_keys;
}

#endif
