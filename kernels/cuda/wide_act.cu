/* wide_act.cu - GELU of raw bf16 products to e4m3 rows (to bf16: wide_rows.cu)
 *
 * What act_kernel in norm.cu does for ACT_GELU_TANH, which it works out in double: here
 * in fp32, with 2^-18 of relative error, and in double where that could matter.
 *
 * A code depends on it only where the range of what the value may be holds a point at
 * which codes turn: both ends of the range are made to codes, and where these differ,
 * about once in 5,000 values, the value is worked out in double. The scale of a row
 * depends on the greatest value alone: those within 2^-15 of the greatest guess, mostly
 * one per row, are worked out in double as well. So codes and scales are those of
 * norm.cu.
 *
 * How the guess is made says wide.cuh.
 *
 * A block has two rows at a time. A thread has columns 8 t .. 8 t + 7 of every part of
 * a row:
 *
 *     shared memory, of each thread its own      of the block
 *     scale and bias of its columns              greatest guesses of each warp,
 *     raw values of these rows and the next      greatest values
 *
 * On an H200 two rows of 13,824 take 11,200 cycles, of which issuing takes 6,500. Two
 * halves of a block with a row and barriers of their own take as long.
 */
#include "kernels/cuda/wide_rows.cuh"

enum { STAGES = 2, MOST = 896 /* threads */ };

struct act_work {
    const __nv_bfloat16 *x;
    uint8_t *out;
    float *out_scale;
    int64_t x_stride, out_stride;
    int rows, cols;
    const float *row_scale, *col_scale, *bias;
};

/* ---- what is fetched ----------------------------------------------------------- */

static __device__ __forceinline__ int run_at(int k)
{
    return (k * blockDim.x + threadIdx.x) * EIGHT;
}

/* Eight of run k of row r of a stage, this thread's. */
template <int RUNS>
static __device__ __forceinline__ uint4 *raw_at(uint4 *stage, int r, int k)
{
    return stage + (r * RUNS + k) * blockDim.x + threadIdx.x;
}

template <int ROWS, int RUNS>
static __device__ __forceinline__ void rows_fetch(const struct act_work &a,
                                                  uint4 *stage, int row)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int k = 0; k < RUNS; k++)
            copy16(shared_at(raw_at<RUNS>(stage, r, k)),
                   a.x + (row + r) * a.x_stride + run_at(k),
                   row + r < a.rows && run_at(k) < a.cols);
    }
    copies_commit();
}

template <int ROWS>
static __device__ __forceinline__ void scales_fetch(const struct act_work &a, int row,
                                                    float (&scale)[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        scale[r] = a.row_scale ? a.row_scale[min(row + r, a.rows - 1)] : 1.0f;
}

/* Where scale and bias of run k lie. */
struct columns {
    float *scale, *bias;
};

static __device__ __forceinline__ struct columns columns_of(float *vectors, int k)
{
    float *at = vectors + 2 * k * EIGHT * blockDim.x;

    return {at, at + EIGHT * blockDim.x};
}

template <int RUNS>
static __device__ __forceinline__ void vectors_put(const struct act_work &a,
                                                   float *vectors)
{
    for (int k = 0; k < RUNS; k++) {
        struct columns c = columns_of(vectors, k);
        int at = run_at(k) < a.cols ? run_at(k) : 0;

        columns_store(c.scale, columns_fetch(a.col_scale, at, at + HALF, 1.0f));
        columns_store(c.bias, columns_fetch(a.bias, at, at + HALF, -0.0f));
    }
}

/* ---- the function -------------------------------------------------------------- */

/* Value i of a thread's eight, in double. */
static __device__ __noinline__ float gelu_exact(const uint4 *raw, float row,
                                                const float *scale, const float *bias,
                                                int i)
{
    int at = (i / HALF * blockDim.x + threadIdx.x) * HALF + i % HALF;
    float x = __bfloat162float(((const __nv_bfloat16 *)raw)[i]);

    return act_value(ACT_GELU_TANH, x * row * scale[at] + bias[at]);
}

/* ---- rows to codes ------------------------------------------------------------- */

/* The greatest value among those of eight whose guess is near the greatest. */
static __device__ __forceinline__ void top_settle(const struct eight &e, float cut,
                                                  const uint4 *raw, float row,
                                                  const struct columns &c,
                                                  unsigned *top)
{
    uint32_t near = 0;

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        near |= fabsf(e.v[i]) >= cut ? 1u << i : 0u;
    for (; near; near &= near - 1) {
        float v = gelu_exact(raw, row, c.scale, c.bias, __ffs((int)near) - 1);

        atomicMax(top, __float_as_uint(fabsf(v)));
    }
}

static __device__ __forceinline__ uint2 eight_scaled(const struct eight &e, float by)
{
    uint32_t two[4];

#pragma unroll
    for (int i = 0; i < 4; i++)
        two[i] = e4m3_two(e.v[2 * i] * by, e.v[2 * i + 1] * by);
    return make_uint2(two[0] | two[1] << 16, two[2] | two[3] << 16);
}

/* The codes of a word, four from value `first` on, where the bits of `differ` say so.
 */
static __device__ __forceinline__ uint32_t word_settle(uint32_t word, uint32_t differ,
                                                       int first, const uint4 *raw,
                                                       float row,
                                                       const struct columns &c,
                                                       const struct inverse &by)
{
    while (differ) {
        int i = (__ffs((int)differ) - 1) / 8;
        float v = gelu_exact(raw, row, c.scale, c.bias, first + i);
        uint32_t code = e4m3_two(quotient_signed(v, by), 0.0f) & 0xffu;

        word = (word & ~(0xffu << 8 * i)) | code << 8 * i;
        differ &= ~(0xffu << 8 * i);
    }
    return word;
}

static __device__ __forceinline__ uint2 codes_of(const struct eight &e,
                                                 const uint4 *raw, float row,
                                                 const struct columns &c,
                                                 const struct inverse &by)
{
    const float off = 0x1p-17f;
    uint2 low = eight_scaled(e, by.near * (1.0f - off));
    uint2 high = eight_scaled(e, by.near * (1.0f + off));

    if (low.x == high.x && low.y == high.y)
        return low;
    return make_uint2(word_settle(low.x, low.x ^ high.x, 0, raw, row, c, by),
                      word_settle(low.y, low.y ^ high.y, HALF, raw, row, c, by));
}

/* Guesses for rows, and the greatest of each row among this thread's. */
template <int ROWS, int RUNS>
static __device__ __forceinline__ void rows_guess(uint4 *stage, float *vectors,
                                                  int cols,
                                                  const float (&row_scale)[ROWS],
                                                  struct eight (&v)[ROWS][RUNS],
                                                  float (&top)[ROWS])
{
#pragma unroll
    for (int k = 0; k < RUNS; k++) {
        struct columns c = columns_of(vectors, k);
        const struct eight scale = columns_load(c.scale), bias = columns_load(c.bias);

#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            v[r][k] = eight_finish(eight_of(*raw_at<RUNS>(stage, r, k)), row_scale[r],
                                   scale, bias);
            gelu_guess(v[r][k]);
            if (run_at(k) < cols)
                top[r] = fmaxf(top[r], eight_top(v[r][k]));
        }
    }
}

/* ---- the kernel ---------------------------------------------------------------- */

template <int ROWS, int RUNS>
static __global__ void __launch_bounds__(MOST, 1)
    act_wide_kernel(const __grid_constant__ struct act_work a)
{
    extern __shared__ __align__(16) char room[];
    __shared__ float tops[ROWS][WARP];
    __shared__ unsigned greatest[2][ROWS];
    float *vectors = (float *)room, row_scale[ROWS];
    int odd = 0, size = ROWS * RUNS * (int)blockDim.x;
    uint4 *stages = (uint4 *)(vectors + 2 * RUNS * EIGHT * blockDim.x);
    int step = (int)gridDim.x * ROWS, begin = (int)blockIdx.x * ROWS;

    vectors_put<RUNS>(a, vectors);
    if (threadIdx.x < ROWS)
        greatest[0][threadIdx.x] = 0;
    rows_fetch<ROWS, RUNS>(a, stages, begin);
    scales_fetch<ROWS>(a, begin, row_scale);
    for (int at = begin; at < a.rows; at += step) {
        uint4 *stage = stages + odd * size;
        float top[ROWS] = {}, mine[ROWS], next_scale[ROWS];
        struct eight v[ROWS][RUNS];

        rows_fetch<ROWS, RUNS>(a, stages + (odd ^ 1) * size, at + step);
        scales_fetch<ROWS>(a, at + step, next_scale);
        copies_wait<STAGES - 1>();
        rows_guess<ROWS, RUNS>(stage, vectors, a.cols, row_scale, v, top);
        for (int r = 0; r < ROWS; r++)
            mine[r] = top[r];
        tops_give<ROWS>(top, tops);
        __syncthreads();
        tops_take<ROWS>(top, tops);
        if (threadIdx.x < ROWS)
            greatest[odd ^ 1][threadIdx.x] = 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float cut = top[r] * (1.0f - 0x1p-15f);

            if (mine[r] < cut || mine[r] == 0.0f)
                continue;
#pragma unroll
            for (int k = 0; k < RUNS; k++) {
                if (run_at(k) < a.cols)
                    top_settle(v[r][k], cut, raw_at<RUNS>(stage, r, k), row_scale[r],
                               columns_of(vectors, k), &greatest[odd][r]);
            }
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            struct inverse by = inverse_of<false>(__uint_as_float(greatest[odd][r]));

            if (at + r >= a.rows)
                continue;
            if (threadIdx.x == 0)
                a.out_scale[at + r] = by.scale;
#pragma unroll
            for (int k = 0; k < RUNS; k++) {
                if (run_at(k) < a.cols)
                    *(uint2 *)(a.out + (at + r) * a.out_stride + run_at(k)) = codes_of(
                        v[r][k], raw_at<RUNS>(stage, r, k), row_scale[r],
                        columns_of(vectors, k), by);
            }
        }
        for (int r = 0; r < ROWS; r++)
            row_scale[r] = next_scale[r];
        odd ^= 1;
    }
}

/* ---- launching ----------------------------------------------------------------- */

/* How many threads a block has whose rows have `runs` parts. */
static int threads_of(int64_t cols, int runs)
{
    int64_t each = (cols + runs * EIGHT - 1) / (runs * EIGHT);

    return (int)((each + WARP - 1) / WARP * WARP);
}

/* Shared memory of a block, which has two rows at a time in any case. */
static size_t room_of(int64_t cols, int runs)
{
    return (size_t)threads_of(cols, runs) * runs * EIGHT *
           (2 * sizeof(float) + STAGES * 2 * sizeof(__nv_bfloat16));
}

extern "C" bool act_wide_fits(const struct op_act *a, const struct launch_limits *l)
{
    int64_t cols = a->x->shape[1];

    if (act_rows_fits(a))
        return true;
    return a->act == ACT_GELU_TANH && !a->gated && a->x->dtype == DT_BF16 &&
           a->out->dtype == DT_E4M3 && cols % EIGHT == 0 && cols >= 1024 &&
           cols <= 2 * EIGHT * MOST && room_of(cols, 2) + 1024 <= l->shared &&
           a->x->shape[0] < (int64_t)1 << 30 && wide_aligned(a->x, EIGHT) &&
           wide_aligned(a->out, EIGHT);
}

template <int ROWS, int RUNS>
static cudaError_t act_put(const struct act_work &w, const struct launch_limits *l,
                           cudaStream_t stream)
{
    int threads = threads_of(w.cols, RUNS);
    size_t bytes = room_of(w.cols, RUNS);
    unsigned blocks;
    cudaError_t st = wide_grid(act_wide_kernel<ROWS, RUNS>, threads, bytes,
                               (w.rows + ROWS - 1) / ROWS, l, &blocks);

    if (st != cudaSuccess)
        return st;
    act_wide_kernel<ROWS, RUNS><<<blocks, threads, bytes, stream>>>(w);
    return cudaGetLastError();
}

extern "C" cudaError_t act_wide_launch(const struct op_act *a,
                                       const struct launch_limits *l,
                                       cudaStream_t stream)
{
    struct act_work w = {(const __nv_bfloat16 *)a->x->data,
                         (uint8_t *)a->out->data,
                         a->out->scales.data,
                         a->x->stride[0],
                         a->out->stride[0],
                         (int)a->x->shape[0],
                         (int)a->x->shape[1],
                         a->x->pending.row_scale,
                         a->x->pending.col_scale,
                         a->x->pending.bias};

    if (act_rows_fits(a))
        return act_rows_launch(a, stream);
    return act_put<2, 2>(w, l, stream);
}
