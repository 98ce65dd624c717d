/* wide_residual.cu - gate, residual, layer norm and e4m3 codes or bf16, a block's width
 *
 * What residual_kernel in norm.cu does, for an fp32 stream x and raw bf16 products y:
 *
 *     x += gate * y;  out = e4m3(layer_norm(x) * m + a), or in bf16
 *
 * with m and a either weight and bias, or 1 + scale and shift. A block has rows that
 * follow each other, so that tables of frames change seldom; it takes two at a time. A
 * thread has columns 4 t .. 4 t + 3 of each half of a row:
 *
 *     shared memory, of each thread its own        of the block
 *     scale, bias, gate, m, a of its columns       sums and maxima of each warp
 *     x and y of this pair of rows and the next
 *
 * Sums are in double, in another order than in norm.cu: mean and factor can differ from
 * that one's in the last place of a float about once in 2^27 rows.
 */
#include "kernels/cuda/wide.cuh"

enum { ROWS = 2, STAGES = 2, LEAST = 128 /* threads */, MOST = 640 };

enum { SCALE, BIAS, GATE, TIMES, PLUS, VECTORS };

/* Rows of a table, one per frame or one for all; data NULL: not there. */
struct table {
    const float *data;
    int64_t stride; /* 0: one for all */
};

struct residual_work {
    float *x;
    const __nv_bfloat16 *y;
    uint8_t *out;
    float *out_scale;
    int64_t x_stride, y_stride, out_stride;
    int rows, rows_per_block;
    const float *row_scale, *col_scale, *bias, *weight, *plus;
    struct table gate, scale, shift;
    int64_t first_token, tokens_per_frame; /* 0: no frames */
    double per_column;                     /* 1 / columns */
    float eps;
};

/* Rows at + from .. at + to of a pair: those that one frame's tables hold for. */
struct some {
    int at, from, to;
};

static __device__ __forceinline__ bool has_row(const struct some &s, int r)
{
    return r >= s.from && r < s.to;
}

/* ---- what is fetched ----------------------------------------------------------- */

/* One stage: x low and high halves, 16 bytes each, and y, 8 bytes each, per row. */
struct stage {
    float4 *x;
    uint2 *y;
};

static __device__ __forceinline__ struct stage stage_of(char *room, int i)
{
    char *at = room +
               (size_t)i * ROWS * 2 * blockDim.x * (sizeof(float4) + sizeof(uint2));

    return {(float4 *)at + threadIdx.x,
            (uint2 *)(at + ROWS * 2 * blockDim.x * sizeof(float4)) + threadIdx.x};
}

static __device__ __forceinline__ void pair_fetch(const struct residual_work &a,
                                                  const struct stage &to, int row,
                                                  int end)
{
    int half = blockDim.x * HALF, col = threadIdx.x * HALF;

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        bool there = row + r < end;
        const float *x = a.x + (row + r) * a.x_stride + col;
        const __nv_bfloat16 *y = a.y + (row + r) * a.y_stride + col;

        copy16(shared_at(to.x + (2 * r) * blockDim.x), x, there);
        copy16(shared_at(to.x + (2 * r + 1) * blockDim.x), x + half, there);
        copy8(shared_at(to.y + (2 * r) * blockDim.x), y, there);
        copy8(shared_at(to.y + (2 * r + 1) * blockDim.x), y + half, there);
    }
}

static __device__ __forceinline__ struct eight table_fetch(const struct table &t,
                                                           int64_t frame, int low,
                                                           int high, float missing)
{
    return columns_fetch(t.data ? t.data + frame * t.stride : NULL, low, high, missing);
}

/* The tables of the frame of `row`; returns the first row that they do not hold for. */
static __device__ int frame_put(const struct residual_work &a, float *vectors, int row)
{
    int low = threadIdx.x * HALF, high = low + blockDim.x * HALF,
        d = 2 * high - 2 * low;
    int64_t frame = 0, end = a.rows;
    struct eight times, plus;

    if (a.tokens_per_frame) {
        frame = (a.first_token + row) / a.tokens_per_frame;
        end = (frame + 1) * a.tokens_per_frame - a.first_token;
    }
    columns_store(vectors + GATE * d, table_fetch(a.gate, frame, low, high, 1.0f));
    times = columns_fetch(a.weight, low, high, 1.0f);
    plus = columns_fetch(a.plus, low, high, -0.0f);
    if (a.scale.data) {
        times = table_fetch(a.scale, frame, low, high, 0.0f);
        for (int i = 0; i < EIGHT; i++)
            times.v[i] = 1.0f + times.v[i];
    }
    if (a.shift.data)
        plus = table_fetch(a.shift, frame, low, high, -0.0f);
    columns_store(vectors + TIMES * d, times);
    columns_store(vectors + PLUS * d, plus);
    return (int)min(end, (int64_t)a.rows);
}

/* ---- sums ---------------------------------------------------------------------- */

/* Over the block, of both rows; `room` is of this sum alone until the next barrier but
 * one. */
static __device__ __forceinline__ void block_sums(double (&s)[ROWS],
                                                  double (*room)[WARP])
{
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP, high = lane & 16;
    double c = __shfl_xor_sync(0xffffffffu, high ? s[0] : s[1], 16);

    c += high ? s[1] : s[0];
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
        c += __shfl_xor_sync(0xffffffffu, c, step);
    if (lane % 16 == 0)
        room[high ? 1 : 0][threadIdx.x / WARP] = c;
    __syncthreads();
    c = lane % 16 < warps ? room[high ? 1 : 0][lane % 16] : 0.0;
    c += lane % 16 + 16 < warps ? room[high ? 1 : 0][lane % 16 + 16] : 0.0;
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
        c += __shfl_xor_sync(0xffffffffu, c, step);
    s[0] = __shfl_sync(0xffffffffu, c, 0);
    s[1] = __shfl_sync(0xffffffffu, c, 16);
}

/* ---- steps of a pair of rows --------------------------------------------------- */

/* x += gate * y, of the rows that are meant; the other's values mean nothing. */
static __device__ __forceinline__ void pair_add(
    const struct residual_work &a, const float *vectors, const struct some &s,
    const struct stage &from, const float (&row_scale)[ROWS], struct eight (&v)[ROWS])
{
    int d = blockDim.x * EIGHT, b = blockDim.x;
    const struct eight scale = columns_load(vectors + SCALE * d);
    const struct eight bias = columns_load(vectors + BIAS * d);
    const struct eight gate = columns_load(vectors + GATE * d);

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float4 x0 = from.x[2 * r * b], x1 = from.x[(2 * r + 1) * b];
        uint2 y0 = from.y[2 * r * b], y1 = from.y[(2 * r + 1) * b];
        const float old[EIGHT] = {x0.x, x0.y, x0.z, x0.w, x1.x, x1.y, x1.z, x1.w};
        float4 *to = (float4 *)(a.x + (s.at + r) * a.x_stride) + threadIdx.x;

        v[r] = eight_finish(eight_of(make_uint4(y0.x, y0.y, y1.x, y1.y)), row_scale[r],
                            scale, bias);
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            v[r].v[i] = v[r].v[i] * gate.v[i] + old[i];
        if (has_row(s, r)) {
            to[0] = make_float4(v[r].v[0], v[r].v[1], v[r].v[2], v[r].v[3]);
            to[b] = make_float4(v[r].v[4], v[r].v[5], v[r].v[6], v[r].v[7]);
        }
    }
}

static __device__ __forceinline__ void pair_norm(const struct residual_work &a,
                                                 double (*room)[ROWS][WARP],
                                                 struct eight (&v)[ROWS])
{
    double mean[ROWS] = {}, squares[ROWS] = {};

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            mean[r] += (double)v[r].v[i];
    }
    block_sums(mean, room[0]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        mean[r] *= a.per_column;
#pragma unroll
        for (int i = 0; i < EIGHT; i++) {
            double off = (double)v[r].v[i] - mean[r];

            squares[r] = __fma_rn(off, off, squares[r]);
        }
    }
    block_sums(squares, room[1]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float factor = (float)root_inverse(squares[r] * a.per_column + (double)a.eps);
        float middle = (float)mean[r];

#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            v[r].v[i] = (v[r].v[i] - middle) * factor;
    }
}

/* The pair in bf16. */
static __device__ __forceinline__ void pair_round(const struct residual_work &a,
                                                  const struct some &s,
                                                  const struct eight (&v)[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        uint2 *to = (uint2 *)(a.out + (s.at + r) * a.out_stride * 2) + threadIdx.x;
        uint4 all = eight_bf16(v[r]);

        if (!has_row(s, r))
            continue;
        to[0] = make_uint2(all.x, all.y);
        to[blockDim.x] = make_uint2(all.z, all.w);
    }
}

template <bool CODES>
static __device__ __forceinline__ void pair_emit(const struct residual_work &a,
                                                 const float *vectors,
                                                 const struct some &s,
                                                 float (*room)[WARP],
                                                 struct eight (&v)[ROWS])
{
    int d = blockDim.x * EIGHT;
    const struct eight times = columns_load(vectors + TIMES * d);
    const struct eight plus = columns_load(vectors + PLUS * d);
    float top[ROWS];

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            v[r].v[i] = v[r].v[i] * times.v[i] + plus.v[i];
        top[r] = eight_top(v[r]);
    }
    if (!CODES) {
        pair_round(a, s, v);
        return;
    }
    tops_give<ROWS>(top, room);
    __syncthreads();
    tops_take<ROWS>(top, room);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        struct inverse by = inverse_of<false>(top[r]);
        uint2 code = eight_e4m3(v[r], by);
        uint32_t *to = (uint32_t *)(a.out + (s.at + r) * a.out_stride) + threadIdx.x;

        if (!has_row(s, r))
            continue;
        to[0] = code.x;
        to[blockDim.x] = code.y;
        if (threadIdx.x == 0)
            a.out_scale[s.at + r] = by.scale;
    }
}

/* ---- the kernel ---------------------------------------------------------------- */

static __device__ __forceinline__ void scales_fetch(const struct residual_work &a,
                                                    int row, float (&scale)[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        scale[r] = a.row_scale ? a.row_scale[min(row + r, a.rows - 1)] : 1.0f;
}

template <bool CODES>
static __global__ void __launch_bounds__(MOST, 1)
    residual_wide_kernel(const __grid_constant__ struct residual_work a)
{
    extern __shared__ __align__(16) char room[];
    __shared__ double sums[2][ROWS][WARP];
    __shared__ float tops[ROWS][WARP];
    float *vectors = (float *)room, row_scale[ROWS];
    char *stages = (char *)(vectors + VECTORS * EIGHT * blockDim.x);
    int low = threadIdx.x * HALF, high = low + blockDim.x * HALF, d = 2 * (high - low);
    int begin = (int)blockIdx.x * a.rows_per_block, slot = 0, frame_end = 0;
    int end = min(begin + a.rows_per_block, a.rows);

    columns_store(vectors + SCALE * d, columns_fetch(a.col_scale, low, high, 1.0f));
    columns_store(vectors + BIAS * d, columns_fetch(a.bias, low, high, -0.0f));
    for (int i = 0; i < STAGES; i++) {
        pair_fetch(a, stage_of(stages, i), begin + i * ROWS, end);
        copies_commit();
    }
    scales_fetch(a, begin, row_scale);
    for (int at = begin; at < end;) {
        struct some s = {at, 0, 0};
        int n = min(end - at, (int)ROWS);

        copies_wait<STAGES - 1>();
        /* once, but for a pair that has rows of two frames */
        for (; s.from < n; s.from = s.to) {
            struct eight v[ROWS];

            if (at + s.from >= frame_end)
                frame_end = frame_put(a, vectors, at + s.from);
            s.to = min(n, frame_end - at);
            pair_add(a, vectors, s, stage_of(stages, slot), row_scale, v);
            if (s.to == n) {
                pair_fetch(a, stage_of(stages, slot), at + STAGES * ROWS, end);
                copies_commit();
                scales_fetch(a, at + ROWS, row_scale);
            }
            pair_norm(a, sums, v);
            pair_emit<CODES>(a, vectors, s, tops, v);
        }
        at += ROWS;
        slot ^= 1;
    }
}

/* ---- launching ----------------------------------------------------------------- */

static size_t room_of(int64_t d)
{
    return (size_t)d * (VECTORS * sizeof(float) +
                        STAGES * ROWS * (sizeof(float) + sizeof(__nv_bfloat16)));
}

static bool table_fits(const struct tensor *t)
{
    return !t || ((uintptr_t)t->data % 16 == 0 && t->stride[0] % HALF == 0);
}

static bool same_frames(const struct tensor *t, int64_t *frames)
{
    if (!t)
        return true;
    if (*frames == 0)
        *frames = t->shape[0];
    return t->shape[0] == *frames;
}

extern "C" bool residual_wide_fits(const struct op_residual *a,
                                   const struct launch_limits *l)
{
    const struct norm *n = &a->norm;
    int64_t d = a->x->shape[1], frames = 0;

    return a->out && a->x->dtype == DT_F32 && a->y->dtype == DT_BF16 &&
           (a->out->dtype == DT_E4M3 || a->out->dtype == DT_BF16) &&
           n->kind == NORM_LAYER && n->act == ACT_NONE && !(n->weight && n->scale) &&
           !(n->bias && n->shift) && d % (WARP * EIGHT) == 0 && d >= LEAST * EIGHT &&
           d <= MOST * EIGHT && a->x->shape[0] < (int64_t)1 << 31 &&
           room_of(d) + 2048 <= l->shared && wide_aligned(a->x, HALF) &&
           wide_aligned(a->y, HALF) && wide_aligned(a->out, HALF) &&
           vector_aligned(n->weight) && vector_aligned(n->bias) &&
           table_fits(a->gate) && table_fits(n->scale) && table_fits(n->shift) &&
           same_frames(a->gate, &frames) && same_frames(n->scale, &frames) &&
           same_frames(n->shift, &frames);
}

static struct table table_of(const struct tensor *t)
{
    if (!t)
        return {};
    return {(const float *)t->data, t->shape[0] == 1 ? 0 : t->stride[0]};
}

static const float *vector_of(const struct tensor *t)
{
    return t ? (const float *)t->data : NULL;
}

static struct residual_work work_of(const struct op_residual *a)
{
    const struct norm *n = &a->norm;
    struct residual_work w = {};

    w.x = (float *)a->x->data;
    w.y = (const __nv_bfloat16 *)a->y->data;
    w.out = (uint8_t *)a->out->data;
    w.out_scale = a->out->scales.data;
    w.x_stride = a->x->stride[0];
    w.y_stride = a->y->stride[0];
    w.out_stride = a->out->stride[0];
    w.rows = (int)a->x->shape[0];
    w.row_scale = a->y->pending.row_scale;
    w.col_scale = a->y->pending.col_scale;
    w.bias = a->y->pending.bias;
    w.weight = vector_of(n->weight);
    w.plus = vector_of(n->bias);
    w.gate = table_of(a->gate);
    w.scale = table_of(n->scale);
    w.shift = table_of(n->shift);
    w.first_token = n->first_token;
    if (w.gate.stride || w.scale.stride || w.shift.stride)
        w.tokens_per_frame = n->tokens_per_frame;
    w.per_column = 1.0 / (double)a->x->shape[1];
    w.eps = n->eps;
    return w;
}

extern "C" cudaError_t residual_wide_launch(const struct op_residual *a,
                                            const struct launch_limits *l,
                                            cudaStream_t stream)
{
    struct residual_work w = work_of(a);
    int threads = (int)(a->x->shape[1] / EIGHT);
    size_t bytes = room_of(a->x->shape[1]);
    int pairs = (w.rows + ROWS - 1) / ROWS;
    unsigned blocks;
    void (*kernel)(struct residual_work) = a->out->dtype == DT_E4M3
                                               ? residual_wide_kernel<true>
                                               : residual_wide_kernel<false>;
    cudaError_t st = wide_grid(kernel, threads, bytes, pairs, l, &blocks);

    if (st != cudaSuccess)
        return st;
    w.rows_per_block = (pairs + (int)blocks - 1) / (int)blocks * ROWS;
    kernel<<<blocks, threads, bytes, stream>>>(w);
    return cudaGetLastError();
}
