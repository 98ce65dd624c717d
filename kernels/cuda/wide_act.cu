/* wide_act.cu - GELU of raw bf16 products to e4m3 rows (to bf16: wide_rows.cu)
 *
 * What act_kernel in norm.cu does for ACT_GELU_TANH, which it works out in double: here
 * in fp32, and in double where that could matter.
 *
 * Scale of a row: the greatest |gelu(x)| of a row is that of its greatest x, because
 * gelu rises from 0 on and lies above -0.1701 everywhere; so one value of a row is
 * worked out in double. Only where that one is below 0.28, and gelu of it possibly
 * below 0.1701, are the values searched whose guess is near the greatest.
 *
 * A code depends on the difference between guess and double only where the range of
 * what the value may be holds a point at which codes turn: both ends of the range are
 * made to codes, and where these differ, about once in 15,000 values, the value is
 * worked out in double. So codes and scales are those of norm.cu.
 *
 * A block has a row at a time, a thread columns 8 t .. 8 t + 7 of both halves of it,
 * whose scale and bias stay in its registers. Three things are done at once:
 *
 *     row i + 2   every warp: x to shared memory, the greatest x of the warp
 *     row i + 1   one warp, another for every row: the scale
 *     row i       every warp: gelu, codes
 *
 * and nobody waits for the slowest, but only for the scale of row i, which another warp
 * began one row earlier. In shared memory a thread has x of these rows, and of the next
 * two what was fetched, for itself: only maxima and scales pass between threads.
 */
#include "kernels/cuda/wide_rows.cuh"

enum {
    MOST = 896, /* threads */
    RUNS = 2,   /* parts of a row, each of eight columns a thread */
    RAW = 2,    /* rows that are fetched */
    KEPT = 3,   /* rows whose x is at hand */
    RING = 4,   /* rows whose maxima and scales are */
};

struct act_work {
    const __nv_bfloat16 *x;
    uint8_t *out;
    float *out_scale;
    int x_stride, out_stride, rows, cols;
    const float *row_scale, *col_scale, *bias;
};

/* What a value is multiplied with to get both ends of its range, and the inverse of the
 * scale itself. */
struct ends {
    float low, high, near, rest;
};

/* What passes between threads, row by row. */
struct ring {
    struct ends by[RING];
    float top[RING][WARP];
    uint64_t met[RING];   /* every warp's maximum is there */
    uint64_t ready[RING]; /* the scale is */
};

/* ---- what a thread has of its own ---------------------------------------------- */

struct mine {
    struct eight scale[RUNS], bias[RUNS]; /* zeros where there is no column */
    bool there[RUNS];
    uint4 *raw;   /* [RAW][RUNS] */
    float4 *kept; /* [KEPT][RUNS][2] */
};

static __device__ __forceinline__ void row_fetch(const struct act_work &a,
                                                 const struct mine &m, int slot,
                                                 int row)
{
    uint32_t to = shared_at(m.raw + slot * RUNS * MOST);
    const __nv_bfloat16 *from = a.x + (int64_t)row * a.x_stride + threadIdx.x * EIGHT;

#pragma unroll
    for (int k = 0; k < RUNS; k++)
        copy16(to + k * MOST * (uint32_t)sizeof(uint4), from + k * blockDim.x * EIGHT,
               m.there[k] && row < a.rows);
    copies_commit();
}

static __device__ __forceinline__ struct mine mine_of(const struct act_work &a,
                                                      char *room)
{
    uint4 *raw = (uint4 *)room;
    struct mine m;

#pragma unroll
    for (int k = 0; k < RUNS; k++) {
        int col = (k * blockDim.x + threadIdx.x) * EIGHT;

        m.there[k] = col < a.cols;
        m.scale[k] = m.bias[k] = {};
        if (m.there[k]) {
            m.scale[k] = columns_fetch(a.col_scale, col, col + HALF, 1.0f);
            m.bias[k] = columns_fetch(a.bias, col, col + HALF, -0.0f);
        }
    }
    m.raw = raw + threadIdx.x;
    m.kept = (float4 *)(raw + RAW * RUNS * MOST) + threadIdx.x;
    return m;
}

/* x of row `slot` of those kept. */
static __device__ __forceinline__ float4 *kept_at(float4 *kept, int slot)
{
    return kept + slot * 2 * RUNS * MOST;
}

static __device__ __forceinline__ struct eight kept_load(const float4 *from, int k)
{
    float4 a = from[2 * k * MOST], b = from[(2 * k + 1) * MOST];

    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

/* The greatest of eight. */
static __device__ __forceinline__ float eight_most(const struct eight &e)
{
    return fmaxf(fmaxf(fmaxf(e.v[0], e.v[1]), fmaxf(e.v[2], e.v[3])),
                 fmaxf(fmaxf(e.v[4], e.v[5]), fmaxf(e.v[6], e.v[7])));
}

/* ---- row i + 2: x -------------------------------------------------------------- */

static __device__ __forceinline__ void row_take(const struct mine &m, const uint4 *raw,
                                                float4 *to, float row_scale,
                                                struct ring *ring, unsigned i)
{
    float top = 0.0f;

#pragma unroll
    for (int k = 0; k < RUNS; k++) {
        const struct eight e = eight_finish(eight_of(raw[k * MOST]), row_scale,
                                            m.scale[k], m.bias[k]);

        to[2 * k * MOST] = make_float4(e.v[0], e.v[1], e.v[2], e.v[3]);
        to[(2 * k + 1) * MOST] = make_float4(e.v[4], e.v[5], e.v[6], e.v[7]);
        top = fmaxf(top, eight_most(e));
    }
    top = warp_top(top);
    if (threadIdx.x % WARP == 0)
        ring->top[i % RING][threadIdx.x / WARP] = top;
    warp_arrive(shared_at(&ring->met[i % RING]));
}

/* ---- row i + 1: its scale ------------------------------------------------------ */

static __device__ __noinline__ float gelu_exact(float x)
{
    return act_value(ACT_GELU_TANH, x);
}

/* The greatest |gelu| of a row of which nothing is known, by one warp; `kept` is that
 * of thread 0. */
static __device__ __noinline__ float top_search(const float4 *kept)
{
    int lane = threadIdx.x % WARP;
    float guess = 0.0f, top = 0.0f, cut;

#pragma unroll 1
    for (int i = lane; i < (int)blockDim.x; i += WARP) {
        for (int k = 0; k < RUNS; k++) {
            struct eight e = kept_load(kept + i, k);

            gelu_guess(e);
            guess = fmaxf(guess, eight_top(e));
        }
    }
    cut = warp_top(guess) * (1.0f - 0x1p-15f);
#pragma unroll 1
    for (int i = lane; i < (int)blockDim.x; i += WARP) {
        for (int j = 0; j < RUNS * EIGHT; j++) {
            float x = ((const float *)(kept + j / HALF * MOST + i))[j % HALF];
            struct eight e = {{x}};

            gelu_guess(e);
            if (fabsf(e.v[0]) >= cut && e.v[0] != 0.0f)
                top = fmaxf(top, fabsf(gelu_exact(x)));
        }
    }
    return warp_top(top);
}

static __device__ __forceinline__ void row_settle(const struct act_work &a, int row,
                                                  const float4 *kept, struct ring *ring,
                                                  int i)
{
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    float top, off = GELU_OFF;
    struct inverse by;

    barrier_wait(shared_at(&ring->met[i % RING]), i / RING & 1);
    top = warp_top(lane < warps ? ring->top[i % RING][lane] : 0.0f);
    if (top >= 0.28f) {
        top = gelu_exact(top);
    } else {
        top = top_search(kept);
        off = GELU_OFF_SMALL;
    }
    by = inverse_of<false>(top);
    if (lane == 0) {
        a.out_scale[row] = by.scale;
        ring->by[i % RING] = {by.near * (1.0f - off), by.near * (1.0f + off), by.near,
                              by.rest};
    }
    warp_arrive(shared_at(&ring->ready[i % RING]));
}

/* ---- row i: codes -------------------------------------------------------------- */

static __device__ __forceinline__ uint2 eight_scaled(const struct eight &e, float by)
{
    uint32_t two[4];

#pragma unroll
    for (int i = 0; i < 4; i++)
        two[i] = e4m3_two(e.v[2 * i] * by, e.v[2 * i + 1] * by);
    return make_uint2(two[0] | two[1] << 16, two[2] | two[3] << 16);
}

/* The codes of a word, of the four values at `x`, where the bits of `differ` say so. */
static __device__ __forceinline__ uint32_t word_settle(uint32_t word, uint32_t differ,
                                                       const float4 *x,
                                                       const struct inverse &by)
{
    while (differ) {
        int i = (__ffs((int)differ) - 1) / 8;
        float v = gelu_exact(((const float *)x)[i]);
        uint32_t code = e4m3_two(quotient_signed(v, by), 0.0f) & 0xffu;

        word = (word & ~(0xffu << 8 * i)) | code << 8 * i;
        differ &= ~(0xffu << 8 * i);
    }
    return word;
}

static __device__ __forceinline__ void row_codes(const struct mine &m,
                                                 const float4 *kept, uint8_t *to,
                                                 struct ring *ring, unsigned i)
{
    struct ends by;

    barrier_wait(shared_at(&ring->ready[i % RING]), i / RING & 1);
    by = ring->by[i % RING];
#pragma unroll
    for (int k = 0; k < RUNS; k++) {
        struct eight e = kept_load(kept, k);
        uint2 low, high;

        gelu_guess(e);
        low = eight_scaled(e, by.low);
        high = eight_scaled(e, by.high);
        if (low.x != high.x || low.y != high.y) {
            const float4 *x = kept + 2 * k * MOST;
            struct inverse inverse = {0.0f, by.near, by.rest};

            low.x = word_settle(low.x, low.x ^ high.x, x, inverse);
            low.y = word_settle(low.y, low.y ^ high.y, x + MOST, inverse);
        }
        if (m.there[k])
            *(uint2 *)(to + k * blockDim.x * EIGHT) = low;
    }
}

/* ---- the kernel ---------------------------------------------------------------- */

static __global__ void __launch_bounds__(MOST, 1)
    act_wide_kernel(const __grid_constant__ struct act_work a)
{
    extern __shared__ __align__(16) char room[];
    __shared__ __align__(16) struct ring ring;
    const struct mine m = mine_of(a, room);
    int step = gridDim.x, row = blockIdx.x; /* row i of this block */
    int n = (a.rows - row + step - 1) / step;
    int raw = 0, taken = 0, settled = KEPT - 1, coded = KEPT - 2;
    int until = threadIdx.x / WARP + 1; /* this warp settles a scale */
    float row_scale = a.row_scale ? a.row_scale[row] : 1.0f;

    meetings_init(ring.met, ring.ready);
    for (int i = 0; i < RAW; i++)
        row_fetch(a, m, i, row + i * step);
    row -= 2 * step;
    for (int i = -2; i < n; i++) {
        int was = coded;

        if (i + 2 < n) {
            float now = row_scale;

            if (a.row_scale && i + 3 < n)
                row_scale = a.row_scale[row + 3 * step];
            copies_wait<RAW - 1>();
            row_take(m, m.raw + raw * RUNS * MOST, kept_at(m.kept, taken), now, &ring,
                     i + 2);
            row_fetch(a, m, raw, row + (2 + RAW) * step);
            raw = raw + 1 == RAW ? 0 : raw + 1;
        }
        if (--until == 0) {
            until = blockDim.x / WARP;
            if (i + 1 < n && i >= -1)
                row_settle(a, row + step, kept_at(m.kept - threadIdx.x, settled), &ring,
                           i + 1);
        }
        if (i >= 0)
            row_codes(m, kept_at(m.kept, coded),
                      a.out + (int64_t)row * a.out_stride + threadIdx.x * EIGHT, &ring,
                      i);
        row += step;
        coded = settled;
        settled = taken;
        taken = was;
    }
}

/* ---- launching ----------------------------------------------------------------- */

static int threads_of(int64_t cols)
{
    int64_t each = (cols + RUNS * EIGHT - 1) / (RUNS * EIGHT);

    return (int)((each + WARP - 1) / WARP * WARP);
}

static size_t room_of(void)
{
    return (size_t)MOST * RUNS * EIGHT *
           (RAW * sizeof(__nv_bfloat16) + KEPT * sizeof(float));
}

extern "C" bool act_wide_fits(const struct op_act *a, const struct launch_limits *l)
{
    int64_t cols = a->x->shape[1];

    if (act_rows_fits(a))
        return true;
    return a->act == ACT_GELU_TANH && !a->gated && a->x->dtype == DT_BF16 &&
           a->out->dtype == DT_E4M3 && cols % EIGHT == 0 && cols >= 1024 &&
           cols <= RUNS * EIGHT * MOST && room_of() + 1024 <= l->shared &&
           a->x->shape[0] < (int64_t)1 << 30 && a->x->stride[0] < (int64_t)1 << 31 &&
           a->out->stride[0] < (int64_t)1 << 31 && wide_aligned(a->x, EIGHT) &&
           wide_aligned(a->out, EIGHT);
}

extern "C" cudaError_t act_wide_launch(const struct op_act *a,
                                       const struct launch_limits *l,
                                       cudaStream_t stream)
{
    struct act_work w = {(const __nv_bfloat16 *)a->x->data,
                         (uint8_t *)a->out->data,
                         a->out->scales.data,
                         (int)a->x->stride[0],
                         (int)a->out->stride[0],
                         (int)a->x->shape[0],
                         (int)a->x->shape[1],
                         a->x->pending.row_scale,
                         a->x->pending.col_scale,
                         a->x->pending.bias};

    int threads = threads_of(w.cols);
    size_t bytes = room_of();
    unsigned blocks;
    cudaError_t st;

    if (act_rows_fits(a))
        return act_rows_launch(a, stream);
    st = wide_grid(act_wide_kernel, threads, bytes, w.rows, l, &blocks);
    if (st != cudaSuccess)
        return st;
    act_wide_kernel<<<blocks, threads, bytes, stream>>>(w);
    return cudaGetLastError();
}
