/* linear_f32.cu - fp32 rows times bf16 weights, where cuBLASLt would need fp32 ones
 *
 * The products around the blocks: time embeddings, one row or one per frame against up
 * to 157 million weights, and the head, 64 columns of every token. Weights are read as
 * they are stored, so a row takes as long as their bytes do.
 *
 *     y[r,d] = sum over i = 0 .. 31 of (sum over k of segment i of x[r,k] w[d,k])
 *
 * Both sums go upwards from zero, one rounding a step, and segment i is the K / 32
 * columns from i K / 32 on. A lane of a warp has a segment (few rows), or a thread goes
 * through all of them for 8 x 4 results (many): the bytes are the same, so a row's do
 * not depend on how many there are.
 *
 *     few: warp        OUTS results of up to 4 rows; x in shared memory, each segment
 *                      4 floats longer than it is, so that lanes read different banks
 *     many: block      128 rows by 64 columns, 8 of the depth at a time, turned so that
 *                      a thread reads neighbours, in two buffers
 */
#include "kernels/cuda/wide.cuh"

enum {
    OUTS = 2,    /* of a warp at a time */
    FEW = 16,    /* rows that warps do, at most */
    AT_ONCE = 4, /* of these */
    SPACE = 4,   /* floats between segments */
    HIGH = 128,  /* rows of a tile */
    WIDE = 64,   /* columns */
    PAD = 4,     /* floats that lines of a tile are longer */
    DEEPEST = 13824,
};

struct f32_work {
    float *y;
    const float *x, *bias;
    const __nv_bfloat16 *w;
    int64_t y_stride, x_stride, w_stride;
    int rows, cols, depth;
};

/* ---- few rows ------------------------------------------------------------------ */

/* Where column k of row r is in shared memory. */
static __device__ __forceinline__ int room_at(int segment, int r, int k)
{
    return r * WARP * (segment + SPACE) + k / segment * (segment + SPACE) + k % segment;
}

template <int ROWS>
static __device__ __forceinline__ void rows_put(const struct f32_work &a, float *room,
                                                int first)
{
    int segment = a.depth / WARP;

    for (int r = 0; r < ROWS; r++) {
        const float *x = a.x + min(first + r, a.rows - 1) * a.x_stride;

        for (int k = (int)threadIdx.x * 4; k < a.depth; k += BLOCK * 4)
            *(float4 *)(room + room_at(segment, r, k)) = *(const float4 *)(x + k);
    }
}

/* This lane's segment of OUTS results from `col` on, for all rows. */
template <int ROWS>
static __device__ __forceinline__ void segment_sum(const struct f32_work &a,
                                                   const float *room, int col,
                                                   float (&sum)[OUTS][ROWS])
{
    int segment = a.depth / WARP, lane = threadIdx.x % WARP;
    const float *x = room + room_at(segment, 0, lane * segment);
    const uint4 *w[OUTS];

#pragma unroll
    for (int o = 0; o < OUTS; o++)
        w[o] = (const uint4 *)(a.w + min(col + o, a.cols - 1) * a.w_stride +
                               lane * segment);
#pragma unroll 4
    for (int i = 0; i < segment / EIGHT; i++) {
        struct eight v[OUTS];

#pragma unroll
        for (int o = 0; o < OUTS; o++)
            v[o] = eight_of(w[o][i]);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float4 *at = (const float4 *)(x + r * WARP * (segment + SPACE) +
                                                i * EIGHT);
            const float4 p = at[0], q = at[1];
            const float f[EIGHT] = {p.x, p.y, p.z, p.w, q.x, q.y, q.z, q.w};

#pragma unroll
            for (int k = 0; k < EIGHT; k++) {
#pragma unroll
                for (int o = 0; o < OUTS; o++)
                    sum[o][r] = __fmaf_rn(f[k], v[o].v[k], sum[o][r]);
            }
        }
    }
}

/* The lanes' values from the first lane's on. */
static __device__ __forceinline__ float lanes_sum(float v)
{
    float sum = 0.0f;

#pragma unroll
    for (int i = 0; i < WARP; i++)
        sum += __shfl_sync(0xffffffffu, v, i);
    return sum;
}

template <int ROWS>
static __global__ void __launch_bounds__(BLOCK)
    few_kernel(const __grid_constant__ struct f32_work a, int first)
{
    extern __shared__ __align__(16) float room[];
    int warp = ((int)blockIdx.x * BLOCK + (int)threadIdx.x) / WARP;
    int step = (int)gridDim.x * BLOCK / WARP * OUTS;

    rows_put<ROWS>(a, room, first);
    __syncthreads();
    for (int col = warp * OUTS; col < a.cols; col += step) {
        float sum[OUTS][ROWS] = {};

        segment_sum<ROWS>(a, room, col, sum);
#pragma unroll
        for (int o = 0; o < OUTS; o++) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                float v = lanes_sum(sum[o][r]);

                if (threadIdx.x % WARP == 0 && col + o < a.cols && first + r < a.rows)
                    a.y[(first + r) * a.y_stride + col + o] = a.bias
                                                                  ? v + a.bias[col + o]
                                                                  : v;
            }
        }
    }
}

/* ---- many rows ----------------------------------------------------------------- */

struct tile {
    float x[EIGHT][HIGH + PAD], w[EIGHT][WIDE + PAD];
};

/* What a thread fetches of a tile: 4 columns of a row; of some threads, 8 of a weight.
 */
struct fetched {
    float4 x;
    uint4 w;
};

static __device__ __forceinline__ struct fetched tile_fetch(const struct f32_work &a,
                                                            int64_t row, int col, int k)
{
    int t = threadIdx.x;
    struct fetched f = {};

    row = min(row + t / 2, (int64_t)a.rows - 1);
    f.x = *(const float4 *)(a.x + row * a.x_stride + k + t % 2 * 4);
    if (t < WIDE)
        f.w = *(const uint4 *)(a.w + min(col + t, a.cols - 1) * a.w_stride + k);
    return f;
}

static __device__ __forceinline__ void tile_put(struct tile *to,
                                                const struct fetched &f)
{
    int t = threadIdx.x, k = t % 2 * 4;
    struct eight w = eight_of(f.w);

    to->x[k][t / 2] = f.x.x;
    to->x[k + 1][t / 2] = f.x.y;
    to->x[k + 2][t / 2] = f.x.z;
    to->x[k + 3][t / 2] = f.x.w;
    if (t >= WIDE)
        return;
#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        to->w[i][t] = w.v[i];
}

static __device__ __forceinline__ void tile_add(const struct tile *from, int high,
                                                int wide, float (&sum)[EIGHT][4])
{
#pragma unroll
    for (int k = 0; k < EIGHT; k++) {
        const float4 p = *(const float4 *)&from->x[k][high];
        const float4 q = *(const float4 *)&from->x[k][high + 4];
        const float4 w = *(const float4 *)&from->w[k][wide];
        const float f[EIGHT] = {p.x, p.y, p.z, p.w, q.x, q.y, q.z, q.w};

#pragma unroll
        for (int r = 0; r < EIGHT; r++) {
            sum[r][0] = __fmaf_rn(f[r], w.x, sum[r][0]);
            sum[r][1] = __fmaf_rn(f[r], w.y, sum[r][1]);
            sum[r][2] = __fmaf_rn(f[r], w.z, sum[r][2]);
            sum[r][3] = __fmaf_rn(f[r], w.w, sum[r][3]);
        }
    }
}

static __global__ void __launch_bounds__(BLOCK, 2)
    many_kernel(const __grid_constant__ struct f32_work a)
{
    __shared__ __align__(16) struct tile tile[2];
    int64_t row = (int64_t)blockIdx.x * HIGH;
    int col = (int)blockIdx.y * WIDE, odd = 0;
    int high = threadIdx.x / 16 * EIGHT, wide = threadIdx.x % 16 * 4;
    int segment = a.depth / WARP;
    float all[EIGHT][4] = {}, sum[EIGHT][4] = {};

    tile_put(&tile[0], tile_fetch(a, row, col, 0));
    for (int k = 0, end = segment; k < a.depth; k += EIGHT, odd ^= 1) {
        struct fetched next;
        bool more = k + EIGHT < a.depth;

        __syncthreads();
        if (more)
            next = tile_fetch(a, row, col, k + EIGHT);
        tile_add(&tile[odd], high, wide, sum);
        if (more)
            tile_put(&tile[odd ^ 1], next);
        if (k + EIGHT < end)
            continue;
        end += segment;
#pragma unroll
        for (int i = 0; i < EIGHT * 4; i++) {
            all[i / 4][i % 4] += sum[i / 4][i % 4];
            sum[i / 4][i % 4] = 0.0f;
        }
    }
#pragma unroll
    for (int i = 0; i < EIGHT * 4; i++) {
        int64_t r = row + high + i / 4;
        int c = col + wide + i % 4;

        if (r < a.rows && c < a.cols)
            a.y[r * a.y_stride + c] = a.bias ? all[i / 4][i % 4] + a.bias[c]
                                             : all[i / 4][i % 4];
    }
}

/* ---- launching ----------------------------------------------------------------- */

static bool in_units(const struct tensor *t, int unit)
{
    return (uintptr_t)t->data % 16 == 0 && t->stride[0] % unit == 0;
}

static size_t room_of(int64_t depth, int rows)
{
    return (size_t)rows * (size_t)(depth + WARP * SPACE) * sizeof(float);
}

extern "C" bool linear_f32_fits(const struct op_linear *a,
                                const struct launch_limits *l)
{
    int64_t depth = a->x->shape[1];

    return a->x->dtype == DT_F32 && a->w->dtype == DT_BF16 && a->y->dtype == DT_F32 &&
           a->x->scales.kind == SCALE_NONE && a->w->scales.kind == SCALE_NONE &&
           depth % (WARP * EIGHT) == 0 && depth <= DEEPEST &&
           room_of(depth, AT_ONCE) <= l->shared && a->y->shape[0] < (int64_t)1 << 30 &&
           a->y->shape[1] < (int64_t)1 << 20 && in_units(a->x, 4) &&
           in_units(a->w, EIGHT);
}

template <int ROWS>
static cudaError_t few_put(const struct f32_work &w, int first,
                           const struct launch_limits *l, cudaStream_t stream)
{
    size_t bytes = room_of(w.depth, ROWS);
    int pairs = (w.cols + OUTS - 1) / OUTS, per = BLOCK / WARP;
    int blocks = (pairs + per - 1) / per, most = 4 * l->units;
    cudaError_t st = shared_allow(few_kernel<ROWS>, bytes);

    if (st != cudaSuccess)
        return st;
    few_kernel<ROWS>
        <<<(unsigned)(blocks < most ? blocks : most), BLOCK, bytes, stream>>>(w, first);
    return cudaGetLastError();
}

extern "C" cudaError_t linear_f32_launch(const struct op_linear *a,
                                         const struct launch_limits *l,
                                         cudaStream_t stream)
{
    struct f32_work w = {(float *)a->y->data,
                         (const float *)a->x->data,
                         a->bias && !a->pending ? (const float *)a->bias->data : NULL,
                         (const __nv_bfloat16 *)a->w->data,
                         a->y->stride[0],
                         a->x->stride[0],
                         a->w->stride[0],
                         (int)a->y->shape[0],
                         (int)a->y->shape[1],
                         (int)a->x->shape[1]};
    cudaError_t st = cudaSuccess;

    if (w.rows > FEW) {
        dim3 grid((unsigned)((w.rows + HIGH - 1) / HIGH),
                  (unsigned)((w.cols + WIDE - 1) / WIDE));

        many_kernel<<<grid, BLOCK, 0, stream>>>(w);
        return cudaGetLastError();
    }
    for (int i = 0; i < w.rows && st == cudaSuccess; i += AT_ONCE)
        st = w.rows - i == 1 ? few_put<1>(w, i, l, stream)
                             : few_put<AT_ONCE>(w, i, l, stream);
    return st;
}
