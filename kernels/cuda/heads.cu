/* heads.cu - q and k rows: norm + rope - mean, quantise, scatter; and the gather back
 *
 * Scatter: a block takes four tokens (the extent of a scale group of k) for one part,
 * a warp one head of them after another. Gather: a block takes one token.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

enum { TOKENS = 4, WARPS = 4, WARP = 32 };

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

static __device__ float normed(const struct heads_view &a, int64_t row, float factor,
                               int64_t col)
{
    float v = row_value(a.y, row, col);

    return a.weight ? v * factor * a.weight[col] : v;
}

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

static __device__ float head_value(const struct heads_view &a, int64_t row,
                                   float factor, int64_t col)
{
    float v = normed(a, row, factor, col);

    if (a.rope.f.data) {
        const float *cs = rope_pair(a.rope, a.first_token + row, col % a.head_dim / 2);
        bool odd = col % 2;
        float other = normed(a, row, factor, odd ? col - 1 : col + 1);

        v = odd ? other * cs[1] + v * cs[0] : v * cs[0] - other * cs[1];
    }
    if (a.acc) {
        double count = (double)a.count[0] * 0x1p24;

        if (count > 0.0)
            v -= (float)((double)a.acc[col] / count);
    }
    return v;
}

/* 1 / sqrt(mean square + eps) of a row, by one warp. */
static __device__ float warp_factor(const struct heads_view &a, int64_t row, int lane)
{
    double sum = 0.0;

    for (int64_t c = lane; c < a.y.shape[1]; c += WARP) {
        double v = (double)row_value(a.y, row, c);

        sum += v * v;
    }
    for (int step = WARP / 2; step > 0; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return (float)(1.0 / sqrt(sum / (double)a.y.shape[1] + (double)a.eps));
}

static __device__ float warp_max(float v)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

/* A warp writes rows [row, row + n), which share a scale, of head h of a part. */
static __device__ void group_write(const struct heads_view &a,
                                   const struct head_part &part, int64_t h, int64_t row,
                                   int64_t n, const float *factor, int lane)
{
    const struct tensor &t = part.t;
    int64_t col = (part.head_begin + h) * a.head_dim;
    float top = 0.0f, scale = 1.0f;

    if (is_code(t.dtype)) {
        float *slot = t.scales.data + h * t.scales.stride[0];

        for (int64_t r = 0; r < n; r++) {
            for (int64_t c = lane; c < a.head_dim; c += WARP)
                top = fmaxf(top, fabsf(head_value(a, row + r, factor[r], col + c)));
        }
        scale = quant_scale(t.dtype, warp_max(top));
        slot += t.scales.kind == SCALE_GROUP ? row / TOKENS * t.scales.stride[1] : row;
        if (lane == 0)
            *slot = scale;
    }
    for (int64_t r = 0; r < n; r++) {
        int64_t at = h * t.stride[0] + (row + r) * t.stride[1];

        for (int64_t c = lane; c < a.head_dim; c += WARP) {
            float v = head_value(a, row + r, factor[r], col + c);

            if (is_code(t.dtype))
                quant_store(t, at + c, v, scale);
            else
                elem_store(t, at + c, v);
        }
    }
}

static __global__ void heads_kernel(struct heads_view a, struct parts_view parts)
{
    __shared__ float factor[TOKENS];
    const struct head_part &part = parts.part[blockIdx.y];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int64_t row = (int64_t)blockIdx.x * TOKENS;
    int64_t n = a.y.shape[0] - row < TOKENS ? a.y.shape[0] - row : TOKENS;
    int64_t step = part.t.scales.kind == SCALE_GROUP ? n : 1;

    for (int64_t r = warp; r < n; r += WARPS) {
        float f = a.weight ? warp_factor(a, row + r, lane) : 1.0f;

        if (lane == 0)
            factor[r] = f;
    }
    __syncthreads();
    for (int64_t h = warp; h < part.n_heads; h += WARPS) {
        for (int64_t r = 0; r < n; r += step)
            group_write(a, part, h, row + r, step, factor + r, lane);
    }
}

extern "C" cudaError_t heads_launch(const struct op_heads *a, cudaStream_t stream)
{
    struct heads_view v = {};
    unsigned groups = (unsigned)((a->y->shape[0] + TOKENS - 1) / TOKENS);

    v.y = *a->y;
    v.weight = a->weight ? (const float *)a->weight->data : NULL;
    if (a->rope)
        v.rope = *a->rope;
    v.acc = a->mean_acc ? (const int64_t *)a->mean_acc->data : NULL;
    v.count = a->mean_count ? (const int64_t *)a->mean_count->data : NULL;
    v.eps = a->eps;
    v.head_dim = a->head_dim;
    v.first_token = a->first_token;
    for (int begin = 0; begin < a->n_parts; begin += LAUNCH_PARTS_MAX) {
        int n = a->n_parts - begin;
        struct parts_view parts = {};

        n = n < LAUNCH_PARTS_MAX ? n : LAUNCH_PARTS_MAX;
        for (int i = 0; i < n; i++)
            parts.part[i] = a->parts[begin + i];
        heads_kernel<<<dim3(groups, (unsigned)n), WARPS * WARP, 0, stream>>>(v, parts);
    }
    return cudaGetLastError();
}

/* ---- gather -------------------------------------------------------------------- */

static __device__ float part_value(const struct parts_view &parts, int n, int64_t row,
                                   int64_t col)
{
    for (int i = 0; i < n; i++) {
        const struct tensor &t = parts.part[i].t;
        int64_t dim = t.shape[2];
        int64_t h = col / dim - parts.part[i].head_begin;
        float v;

        if (h < 0 || h >= parts.part[i].n_heads)
            continue;
        v = elem_load(t, row * t.stride[0] + h * t.stride[1] + col % dim);
        if (!is_code(t.dtype))
            return v;
        return v * t.scales.data[row * t.scales.stride[0] + h];
    }
    return 0.0f;
}

static __global__ void gather_kernel(struct tensor out, struct parts_view parts,
                                     int n_parts, struct parts_view add, int n_add)
{
    int64_t row = blockIdx.x;

    row_emit(out, row, [&](int64_t c) {
        float v = part_value(parts, n_parts, row, c);

        return n_add ? v + part_value(add, n_add, row, c) : v;
    });
}

extern "C" cudaError_t gather_launch(const struct op_gather *a, cudaStream_t stream)
{
    struct parts_view parts = {}, add = {};

    for (int i = 0; i < a->n_parts; i++)
        parts.part[i] = a->parts[i];
    for (int i = 0; i < a->n_add; i++)
        add.part[i] = a->add[i];
    gather_kernel<<<(unsigned)a->out->shape[0], BLOCK, 0, stream>>>(
        *a->out, parts, a->n_parts, add, a->n_add);
    return cudaGetLastError();
}
