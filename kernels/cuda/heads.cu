/* heads.cu - q and k rows: norm + rope - mean, quantise, scatter; and the gather back
 *
 * Scatter: a block reads four tokens (the extent of a scale group of k) into shared
 * memory, and its warps write one head of them after another. Gather: a token per team.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

enum { TOKENS = 4 };

/* ---- scatter ------------------------------------------------------------------- */

struct parts_view {
    struct head_part part[LAUNCH_PARTS_MAX];
};

/* struct op_heads without its parts, tensors by value; data NULL: not there. */
struct heads_view {
    struct tensor y;
    const float *weight;
    struct rope rope;
    const int64_t *acc, *count;
    float eps;
    int head_dim;
    int64_t first_token;
};

/* (cos, sin) of pair `pair` of a head for a token. */
static __device__ const float *rope_pair(const struct rope &r, int64_t token,
                                         int64_t pair)
{
    const struct tensor *t = &r.f;
    int64_t at = token / (r.grid_h * r.grid_w);

    if (pair >= t->shape[1]) {
        pair -= t->shape[1];
        t = &r.h;
        at = token / r.grid_w % r.grid_h;
    }
    if (t == &r.h && pair >= t->shape[1]) {
        pair -= t->shape[1];
        t = &r.w;
        at = token % r.grid_w;
    }
    return (const float *)t->data + at * t->stride[0] + pair * t->stride[1];
}

/* The row to the cache; returns 1 / sqrt(mean square + eps), or 1 without a norm. */
static __device__ float row_read(const struct heads_view &a, int64_t row, float *cache)
{
    double sum = 0.0;

    for (int64_t c = threadIdx.x; c < a.y.shape[1]; c += BLOCK) {
        float v = row_value(a.y, row, c);

        cache[c] = v;
        sum += (double)v * (double)v;
    }
    if (!a.weight)
        return 1.0f;
    sum = team_join<add_op, BLOCK>(sum);
    return (float)(1.0 / sqrt(sum / (double)a.y.shape[1] + (double)a.eps));
}

/* Norm, rotate and take off the mean for pair `pair` of head `head`, in the cache. */
static __device__ void pair_make(const struct heads_view &a, int64_t row, float factor,
                                 int head, int pair, double count, float *cache)
{
    int64_t col = (int64_t)head * a.head_dim + 2 * pair;
    float v0 = cache[col], v1 = cache[col + 1];

    if (a.weight) {
        v0 = v0 * factor * a.weight[col];
        v1 = v1 * factor * a.weight[col + 1];
    }
    if (a.rope.f.data) {
        const float *cs = rope_pair(a.rope, a.first_token + row, pair);
        float turned = v0 * cs[0] - v1 * cs[1];

        v1 = v0 * cs[1] + v1 * cs[0];
        v0 = turned;
    }
    if (count > 0.0) {
        v0 -= (float)((double)a.acc[col] / count);
        v1 -= (float)((double)a.acc[col + 1] / count);
    }
    cache[col] = v0;
    cache[col + 1] = v1;
}

/* A row of y, normed, rotated and without its mean, in the cache. Heads of an odd width
 * have no rotation and are walked one by one. */
static __device__ void row_make(const struct heads_view &a, int64_t row, double count,
                                float *cache)
{
    float factor = row_read(a, row, cache);
    int pairs = a.head_dim / 2;
    int heads = (int)(a.y.shape[1] / a.head_dim);

    __syncthreads();
    if (a.head_dim % 2 == 0) {
        for (int i = threadIdx.x; i < heads * pairs; i += BLOCK)
            pair_make(a, row, factor, i / pairs, i % pairs, count, cache);
        return;
    }
    for (int64_t c = threadIdx.x; c < a.y.shape[1]; c += BLOCK) {
        float v = a.weight ? cache[c] * factor * a.weight[c] : cache[c];

        cache[c] = count > 0.0 ? v - (float)((double)a.acc[c] / count) : v;
    }
}

/* A warp writes `n` rows from `row` on, which share a scale, of head h of a part. */
static __device__ void group_write(const struct heads_view &a,
                                   const struct head_part &part, int64_t h, int64_t row,
                                   int64_t n, const float *cache, int lane)
{
    const struct tensor &t = part.t;
    int64_t d = a.y.shape[1];
    const float *from = cache + (part.head_begin + h) * a.head_dim;
    float top = 0.0f, scale = 1.0f;

    if (is_code(t.dtype)) {
        float *slot = t.scales.data + h * t.scales.stride[0];

        for (int64_t r = 0; r < n; r++) {
            for (int c = lane; c < a.head_dim; c += WARP)
                top = fmaxf(top, fabsf(from[r * d + c]));
        }
        scale = quant_scale(t.dtype, warp_join<max_op>(top));
        slot += t.scales.kind == SCALE_GROUP ? row / TOKENS * t.scales.stride[1] : row;
        if (lane == 0)
            *slot = scale;
    }
    for (int64_t r = 0; r < n; r++) {
        int64_t at = h * t.stride[0] + (row + r) * t.stride[1];

        for (int c = lane; c < a.head_dim; c += WARP) {
            if (is_code(t.dtype))
                quant_store(t, at + c, from[r * d + c], scale);
            else
                elem_store(t, at + c, from[r * d + c]);
        }
    }
}

static __global__ void __launch_bounds__(BLOCK)
    heads_kernel(struct heads_view a, struct parts_view parts, int n_parts)
{
    extern __shared__ float cache[];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int64_t row = (int64_t)blockIdx.x * TOKENS, d = a.y.shape[1];
    int64_t n = a.y.shape[0] - row < TOKENS ? a.y.shape[0] - row : TOKENS;
    double count = a.acc ? (double)a.count[0] * 0x1p24 : 0.0;

    for (int64_t r = 0; r < n; r++)
        row_make(a, row + r, count, cache + r * d);
    __syncthreads();
    for (int p = 0; p < n_parts; p++) {
        const struct head_part &part = parts.part[p];
        int64_t step = part.t.scales.kind == SCALE_GROUP ? n : 1;

        for (int64_t h = warp; h < part.n_heads; h += BLOCK / WARP) {
            for (int64_t r = 0; r < n; r += step)
                group_write(a, part, h, row + r, step, cache + r * d, lane);
        }
    }
}

/* ---- scatter, heads of 128 ----------------------------------------------------- */

/* A warp takes every 8th head, a lane 4 columns of it, in registers; a block takes
 * SPAN tokens, ROWS at a time, which share a scale. */
enum { WIDTH = 128, LANE = 4, MINE = 5, SPAN = 16, WARPS = BLOCK / WARP };

/* (cos, sin) of this lane's two pairs. */
static __device__ __forceinline__ float4 lane_turn(const struct heads_view &a,
                                                   int64_t row, int lane)
{
    const float *c0 = rope_pair(a.rope, a.first_token + row, 2 * lane);
    const float *c1 = rope_pair(a.rope, a.first_token + row, 2 * lane + 1);

    return make_float4(c0[0], c0[1], c1[0], c1[1]);
}

/* This thread's heads of a row, as they come. */
static __device__ __forceinline__ void lanes_read(const struct heads_view &a,
                                                  int64_t row, int heads, int warp,
                                                  int lane, struct pack<4> (&v)[MINE])
{
#pragma unroll
    for (int i = 0; i < MINE; i++) {
        int head = warp + i * WARPS;

        if (head < heads)
            v[i] = row_values<4>(a.y, row, head * WIDTH + lane * LANE);
        else
            v[i] = {};
    }
}

static __device__ __forceinline__ float lanes_factor(const struct heads_view &a,
                                                     const struct pack<4> (&v)[MINE])
{
    double sum = 0.0;

#pragma unroll
    for (int i = 0; i < MINE; i++) {
        for (int j = 0; j < LANE; j++)
            sum = __fma_rn((double)v[i].v[j], (double)v[i].v[j], sum);
    }
    sum = team_join<add_op, BLOCK>(sum);
    return (float)(1.0 / sqrt(sum / (double)a.y.shape[1] + (double)a.eps));
}

/* Norm, turn, take off the mean. */
static __device__ __forceinline__ void lanes_make(const struct heads_view &a,
                                                  int64_t row, int heads, int warp,
                                                  int lane, const float *mean,
                                                  struct pack<4> (&v)[MINE])
{
    float factor = a.weight ? lanes_factor(a, v) : 1.0f;
    float4 cs = a.rope.f.data ? lane_turn(a, row, lane)
                              : make_float4(0.0f, 0.0f, 0.0f, 0.0f);

#pragma unroll
    for (int i = 0; i < MINE; i++) {
        int head = warp + i * WARPS, col = head * WIDTH + lane * LANE;
        float *p = v[i].v;
        struct pack<4> more;

        if (head >= heads)
            break;
        if (a.weight) {
            more = floats_at<4>(a.weight + col);
            for (int j = 0; j < LANE; j++)
                p[j] = p[j] * factor * more.v[j];
        }
        if (a.rope.f.data) {
            float x = p[0] * cs.x - p[1] * cs.y, y = p[2] * cs.z - p[3] * cs.w;

            p[1] = p[0] * cs.y + p[1] * cs.x;
            p[3] = p[2] * cs.w + p[3] * cs.z;
            p[0] = x;
            p[2] = y;
        }
        if (a.acc) {
            more = floats_at<4>(mean + col);
            for (int j = 0; j < LANE; j++)
                p[j] -= more.v[j];
        }
    }
}

/* A warp writes `n` rows of a head to the part that has it. */
template <int ROWS>
static __device__ __forceinline__ void lanes_write(const struct parts_view &parts,
                                                   int n_parts, int head, int64_t row,
                                                   int64_t n, int lane,
                                                   struct pack<4> (&v)[ROWS][MINE],
                                                   int mine)
{
    float top = 0.0f, scale = 1.0f;

    for (int r = 0; r < ROWS; r++) {
        for (int j = 0; j < LANE; j++)
            top = r < n ? fmaxf(top, fabsf(v[r][mine].v[j])) : top;
    }
    for (int p = 0; p < n_parts; p++) {
        const struct tensor &t = parts.part[p].t;
        int h = head - parts.part[p].head_begin;
        int64_t at = h * t.stride[0] + row * t.stride[1] + lane * LANE;

        if (h < 0 || h >= parts.part[p].n_heads)
            continue;
        if (is_code(t.dtype)) {
            scale = quant_scale(t.dtype, warp_join<max_op>(top));
            if (lane == 0)
                t.scales.data[h * t.scales.stride[0] +
                              (ROWS > 1 ? row / TOKENS * t.scales.stride[1] : row)] =
                    scale;
        }
        for (int r = 0; r < ROWS; r++) {
            if (r >= n)
                break;
            if (is_code(t.dtype))
                codes_store<4>(t, at + r * t.stride[1], v[r][mine], scale);
            else
                elems_store<4>(t, at + r * t.stride[1], v[r][mine]);
        }
    }
}

template <int ROWS>
static __global__ void __launch_bounds__(BLOCK)
    lanes_kernel(const __grid_constant__ struct heads_view a,
                 const __grid_constant__ struct parts_view parts, int n_parts)
{
    __shared__ __align__(16) float mean[WARPS * MINE * WIDTH];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int heads = (int)(a.y.shape[1] / WIDTH);
    int64_t begin = (int64_t)blockIdx.x * SPAN, rows = a.y.shape[0];
    int64_t end = begin + SPAN < rows ? begin + SPAN : rows;
    double count = a.acc ? (double)a.count[0] * 0x1p24 : 0.0;

    for (int c = threadIdx.x; a.acc && c < a.y.shape[1]; c += BLOCK)
        mean[c] = count > 0.0 ? (float)((double)a.acc[c] / count) : 0.0f;
    __syncthreads();
    for (int64_t row = begin; row < end; row += ROWS) {
        int64_t n = end - row < ROWS ? end - row : ROWS;
        struct pack<4> v[ROWS][MINE];

#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (r < n)
                lanes_read(a, row + r, heads, warp, lane, v[r]);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (r < n)
                lanes_make(a, row + r, heads, warp, lane, mean, v[r]);
        }
#pragma unroll
        for (int i = 0; i < MINE; i++) {
            if (warp + i * WARPS < heads)
                lanes_write<ROWS>(parts, n_parts, warp + i * WARPS, row, n, lane, v, i);
        }
    }
}

/* Do all parts and rows suit it? */
static bool lanes_fit(const struct op_heads *a)
{
    if (a->head_dim != WIDTH || a->y->shape[1] > WARPS * MINE * WIDTH ||
        a->n_parts > LAUNCH_PARTS_MAX || !in_fours(a->y) ||
        (a->weight && (uintptr_t)a->weight->data % 16))
        return false;
    for (int i = 0; i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;

        if ((uintptr_t)t->data % 16 || t->stride[0] % 4 || t->stride[1] % 4 ||
            t->scales.kind != a->parts[0].t.scales.kind)
            return false;
    }
    return true;
}

static cudaError_t lanes_launch(const struct heads_view *v, const struct op_heads *a,
                                cudaStream_t stream)
{
    unsigned blocks = (unsigned)((a->y->shape[0] + SPAN - 1) / SPAN);
    struct parts_view parts = {};

    for (int i = 0; i < a->n_parts; i++)
        parts.part[i] = a->parts[i];
    if (a->n_parts && a->parts[0].t.scales.kind == SCALE_GROUP)
        lanes_kernel<TOKENS><<<blocks, BLOCK, 0, stream>>>(*v, parts, a->n_parts);
    else
        lanes_kernel<1><<<blocks, BLOCK, 0, stream>>>(*v, parts, a->n_parts);
    return cudaGetLastError();
}

/* ---- launching ----------------------------------------------------------------- */

static struct heads_view heads_view_of(const struct tensor *y,
                                       const struct tensor *weight,
                                       const struct rope *rope, float eps, int head_dim,
                                       int64_t first_token)
{
    struct heads_view v = {};

    v.y = *y;
    v.weight = weight ? (const float *)weight->data : NULL;
    if (rope)
        v.rope = *rope;
    v.eps = eps;
    v.head_dim = head_dim;
    v.first_token = first_token;
    return v;
}

extern "C" cudaError_t heads_launch(const struct op_heads *a, cudaStream_t stream)
{
    struct heads_view v = heads_view_of(a->y, a->weight, a->rope, a->eps, a->head_dim,
                                        a->first_token);
    unsigned groups = (unsigned)((a->y->shape[0] + TOKENS - 1) / TOKENS);
    size_t bytes = (size_t)(TOKENS * a->y->shape[1]) * sizeof(float);
    cudaError_t st = shared_allow(heads_kernel, bytes);

    v.acc = a->mean_acc ? (const int64_t *)a->mean_acc->data : NULL;
    v.count = a->mean_count ? (const int64_t *)a->mean_count->data : NULL;
    if (lanes_fit(a))
        return lanes_launch(&v, a, stream);
    for (int begin = 0; begin < a->n_parts && st == cudaSuccess;
         begin += LAUNCH_PARTS_MAX) {
        int n = a->n_parts - begin;
        struct parts_view parts = {};

        n = n < LAUNCH_PARTS_MAX ? n : LAUNCH_PARTS_MAX;
        for (int i = 0; i < n; i++)
            parts.part[i] = a->parts[begin + i];
        heads_kernel<<<groups, BLOCK, bytes, stream>>>(v, parts, n);
        st = cudaGetLastError();
    }
    return st;
}

/* ---- the sum for the mean of k ------------------------------------------------- */

/* Tokens that one block adds up before it adds to the result; integers, so the order
 * of blocks does not matter. */
enum { SUM_TOKENS = 32 };

static __global__ void __launch_bounds__(BLOCK)
    key_sum_kernel(struct heads_view a, long long *acc, long long *count,
                   int64_t first_row, int64_t every, int64_t n)
{
    extern __shared__ long long sums[];
    int64_t d = a.y.shape[1], begin = (int64_t)blockIdx.x * SUM_TOKENS;
    int64_t mine = n - begin < SUM_TOKENS ? n - begin : SUM_TOKENS;
    float *cache = (float *)(sums + d);

    for (int64_t c = threadIdx.x; c < d; c += BLOCK)
        sums[c] = 0;
    for (int64_t i = 0; i < mine; i++) {
        row_make(a, first_row + (begin + i) * every, 0.0, cache);
        __syncthreads();
        for (int64_t c = threadIdx.x; c < d; c += BLOCK)
            sums[c] += llrint((double)cache[c] * 0x1p24);
        __syncthreads();
    }
    for (int64_t c = threadIdx.x; c < d; c += BLOCK)
        atomicAdd((unsigned long long *)acc + c, (unsigned long long)sums[c]);
    if (threadIdx.x == 0)
        atomicAdd((unsigned long long *)count, (unsigned long long)mine);
}

extern "C" cudaError_t key_sum_launch(const struct op_key_sum *a, cudaStream_t stream)
{
    struct heads_view v = heads_view_of(a->y, a->weight, a->rope, a->eps, a->head_dim,
                                        a->first_token);
    int64_t first = (a->every - a->first_token % a->every) % a->every;
    int64_t n = (a->y->shape[0] - first + a->every - 1) / a->every;
    size_t bytes = (size_t)a->y->shape[1] * (sizeof(long long) + sizeof(float));
    cudaError_t st = shared_allow(key_sum_kernel, bytes);

    if (st != cudaSuccess || a->y->shape[0] <= first)
        return st;
    key_sum_kernel<<<(unsigned)((n + SUM_TOKENS - 1) / SUM_TOKENS), BLOCK, bytes,
                     stream>>>(v, (long long *)a->acc->data,
                               (long long *)a->count->data, first, a->every, n);
    return cudaGetLastError();
}

/* ---- gather -------------------------------------------------------------------- */

/* N values of a row, all of one head. */
template <int N>
static __device__ __forceinline__ struct pack<N> part_values(
    const struct parts_view &parts, int n, int64_t row, int col, int dim) {
    int head = col / dim;
    struct pack<N> p = {
    };

    for (int i = 0; i < n; i++) {
        const struct tensor &t = parts.part[i].t;
        int h = head - parts.part[i].head_begin;

        if (h < 0 || h >= parts.part[i].n_heads)
            continue;
        p = elems_load<N>(t, row * t.stride[0] + h * t.stride[1] + col - head * dim);
        if (is_code(t.dtype)) {
            float scale = t.scales.data[row * t.scales.stride[0] + h];

            for (int j = 0; j < N; j++)
                p.v[j] *= scale;
        }
    }
    return p;
}

template <int TEAM, int N>
static __global__ void __launch_bounds__(BLOCK)
    gather_kernel(struct tensor out, const __grid_constant__ struct parts_view parts,
                  int n_parts, const __grid_constant__ struct parts_view add, int n_add)
{
    int64_t row = team_row<TEAM>();
    float *cache = team_cache<TEAM>(out.shape[1]);
    int dim = (int)parts.part[0].t.shape[2];

    if (row >= out.shape[0])
        return;
    row_emit<TEAM, N>(out, row, cache, [&](int c) {
        struct pack<N> p = part_values<N>(parts, n_parts, row, c, dim), more;

        if (n_add) {
            more = part_values<N>(add, n_add, row, c, dim);
            for (int i = 0; i < N; i++)
                p.v[i] += more.v[i];
        }
        return p;
    });
}

static bool parts_in_fours(const struct head_part *parts, int n)
{
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &parts[i].t;

        if ((uintptr_t)t->data % 16 || t->stride[0] % 4 || t->stride[1] % 4 ||
            t->shape[2] % 4)
            return false;
    }
    return true;
}

extern "C" cudaError_t gather_launch(const struct op_gather *a, cudaStream_t stream)
{
    struct parts_view parts = {}, add = {};
    bool fours = in_fours(a->out) && parts_in_fours(a->parts, a->n_parts) &&
                 parts_in_fours(a->add, a->n_add);

    for (int i = 0; i < a->n_parts; i++)
        parts.part[i] = a->parts[i];
    for (int i = 0; i < a->n_add; i++)
        add.part[i] = a->add[i];
    return TEAMS_LAUNCH(gather_kernel, fours, a->out->shape[0], a->out->shape[1],
                        stream, *a->out, parts, a->n_parts, add, a->n_add);
}
