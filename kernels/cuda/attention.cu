/* attention.cu - plain attention: a block per query and head, tiles of 128 keys
 *
 * Each thread makes the logit of one key of a tile; the block finds the maximum and the
 * sum; then each thread adds up a few channels over the tile. Tiles are counted from
 * the first key of the first part, so cutting the keys elsewhere changes nothing.
 */

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

enum { TILE = 128, CHANNELS = 8 }; /* threads; channels of a thread, at most */

struct attention_view {
    struct tensor q, o;
    float *lse;
    int64_t lse_stride;
    struct attn_keys keys[LAUNCH_PARTS_MAX];
    int n_keys;
    int64_t total; /* keys */
    const float *key_bias, *rel_bias;
    int64_t rel_stride, reach;
    float scale;
    int64_t first; /* position of the first query */
    bool rounded, add;
};

/* The scale of row `row` of head h of q or k. */
static __device__ float row_scale(const struct tensor &t, int64_t h, int64_t row)
{
    const float *d = t.scales.data + h * t.scales.stride[0];

    if (!is_code(t.dtype) || t.scales.kind == SCALE_NONE)
        return 1.0f;
    return t.scales.kind == SCALE_GROUP ? d[row / t.scales.rows * t.scales.stride[1]]
                                        : d[row];
}

static __device__ float code_dot(const struct tensor &q, int64_t q_at,
                                 const struct tensor &k, int64_t k_at)
{
    float sum = 0.0f;

    if (q.dtype == DT_I8) {
        int codes = 0;

        for (int64_t c = 0; c < q.shape[2]; c++)
            codes += (int)((const int8_t *)q.data)[q_at + c] *
                     (int)((const int8_t *)k.data)[k_at + c];
        return (float)codes;
    }
    for (int64_t c = 0; c < q.shape[2]; c++)
        sum += elem_load(q, q_at + c) * elem_load(k, k_at + c);
    return sum;
}

static __device__ float bias_of(const struct attention_view &a, int64_t h,
                                int64_t position, int64_t key)
{
    float bias = a.key_bias ? a.key_bias[key] : 0.0f;
    int64_t away = key - position;

    if (!a.rel_bias)
        return bias;
    away = away < -a.reach ? -a.reach : away > a.reach ? a.reach : away;
    return bias + a.rel_bias[h * a.rel_stride + away + a.reach];
}

static __device__ float logit_of(const struct attention_view &a, int64_t h, int64_t s,
                                 int64_t key)
{
    int64_t at = key;
    int i = 0;
    float v;

    while (at >= a.keys[i].n)
        at -= a.keys[i++].n;
    {
        const struct tensor &k = a.keys[i].k;

        v = code_dot(a.q, h * a.q.stride[0] + s * a.q.stride[1], k,
                     h * k.stride[0] + at * k.stride[1]);
        v *= row_scale(a.q, h, s) * a.scale;
        v *= row_scale(k, h, at);
    }
    return v + bias_of(a, h, a.first + s, key);
}

static __device__ float value_at(const struct tensor &v, int64_t h, int64_t token,
                                 int64_t c)
{
    if (!is_code(v.dtype))
        return elem_load(v, h * v.stride[0] + token * v.stride[1] + c);
    return elem_load(v, h * v.stride[0] + c * v.stride[1] + token) *
           v.scales.data[h * v.scales.stride[0] + c * v.scales.stride[1] +
                         token / v.scales.cols];
}

/* sum over keys [key, key + n) of p * v, channel c */
static __device__ float tile_sum(const struct attention_view &a, int64_t h, int64_t key,
                                 int64_t n, const float *p, int64_t c)
{
    int64_t first = 0;
    float sum = 0.0f;

    for (int i = 0; i < a.n_keys; i++) {
        int64_t from = key > first ? key - first : 0;
        int64_t to = key + n - first < a.keys[i].n ? key + n - first : a.keys[i].n;

        for (int64_t at = from; at < to; at++)
            sum += p[first + at - key] * value_at(a.keys[i].v, h, at, c);
        first += a.keys[i].n;
    }
    return sum;
}

/* Round to e4m3 against a largest value of 448. */
static __device__ float code_round(float p)
{
    __nv_fp8_storage_t code = __nv_cvt_float_to_fp8(p * 448.0f, __NV_SATFINITE,
                                                    __NV_E4M3);

    return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3))) / 448.0f;
}

static __device__ void query_write(const struct attention_view &a, int64_t h, int64_t s,
                                   const float *acc, float l)
{
    int64_t at = s * a.o.stride[0] + h * a.o.stride[1];
    int64_t dim = a.o.shape[2];
    float top = 0.0f, scale = 1.0f;

    if (is_code(a.o.dtype)) {
        for (int i = 0; i < CHANNELS; i++)
            top = fmaxf(top, l > 0.0f ? fabsf(acc[i] / l) : 0.0f);
        scale = quant_scale(a.o.dtype, team_join<max_op, TILE>(top));
        if (threadIdx.x == 0)
            a.o.scales.data[s * a.o.scales.stride[0] + h] = scale;
    }
    for (int i = 0; i < CHANNELS; i++) {
        int64_t c = i * TILE + threadIdx.x;
        float v = l > 0.0f ? acc[i] / l : 0.0f;

        if (c >= dim)
            break;
        if (is_code(a.o.dtype))
            quant_store(a.o, at + c, v, scale);
        else
            elem_store(a.o, at + c, a.add ? elem_load(a.o, at + c) + v : v);
    }
}

static __global__ void attention_kernel(struct attention_view a)
{
    __shared__ float p[TILE];
    int64_t s = blockIdx.x, h = blockIdx.y;
    int64_t dim = a.o.shape[2];
    float acc[CHANNELS] = {};
    float m = -INFINITY, l = 0.0f;

    for (int64_t key = 0; key < a.total; key += TILE) {
        int64_t n = a.total - key < TILE ? a.total - key : TILE;
        bool mine = threadIdx.x < n;
        float logit = mine ? logit_of(a, h, s, key + threadIdx.x) : -INFINITY;
        float top = fmaxf(m, team_join<max_op, TILE>(logit));
        float shrink, weight;

        if (top == -INFINITY)
            continue;
        shrink = expf(m - top);
        weight = mine ? expf(logit - top) : 0.0f;
        l = l * shrink + team_join<add_op, TILE>(weight);
        m = top;
        p[threadIdx.x] = a.rounded ? code_round(weight) : weight;
        __syncthreads();
        for (int i = 0; i < CHANNELS && i * TILE + (int)threadIdx.x < dim; i++)
            acc[i] = acc[i] * shrink +
                     tile_sum(a, h, key, n, p, i * TILE + threadIdx.x);
    }
    query_write(a, h, s, acc, l);
    if (a.lse && threadIdx.x == 0)
        a.lse[h * a.lse_stride + s] = l > 0.0f ? m + logf(l) : -INFINITY;
}

/* What is the same for all parts of queries. */
static void view_fill(struct attention_view *v, const struct op_attention *a)
{
    v->n_keys = a->n_keys;
    for (int i = 0; i < a->n_keys; i++) {
        v->keys[i] = a->keys[i];
        v->total += a->keys[i].n;
        v->rounded = v->rounded || is_code(a->keys[i].v.dtype);
    }
    v->key_bias = a->key_bias ? (const float *)a->key_bias->data : NULL;
    v->rel_bias = a->rel_bias ? (const float *)a->rel_bias->data : NULL;
    v->rel_stride = a->rel_bias ? a->rel_bias->stride[0] : 0;
    v->reach = a->rel_bias ? a->rel_bias->shape[1] / 2 : 0;
    v->scale = a->scale;
    v->add = a->add;
    v->rounded = v->rounded || is_code(a->queries[0].q.dtype);
}

extern "C" cudaError_t attention_launch(const struct op_attention *a,
                                        cudaStream_t stream)
{
    struct attention_view v = {};

    view_fill(&v, a);
    for (int i = 0; i < a->n_queries; i++) {
        const struct attn_queries *qs = &a->queries[i];
        dim3 grid((unsigned)qs->q.shape[1], (unsigned)qs->q.shape[0]);

        v.q = qs->q;
        v.o = qs->o;
        v.lse = qs->lse ? (float *)qs->lse->data : NULL;
        v.lse_stride = qs->lse ? qs->lse->stride[0] : 0;
        if (grid.x > 0 && grid.y > 0)
            attention_kernel<<<grid, TILE, 0, stream>>>(v);
        v.first += qs->q.shape[1];
    }
    return cudaGetLastError();
}
