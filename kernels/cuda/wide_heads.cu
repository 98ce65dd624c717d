/* wide_heads.cu - q and k rows of heads of 128, and the sum for the mean of k
 *
 * What heads.cu does for any shape, for raw bf16 products of a block's width:
 *
 *     four rows at a time; a thread has columns 8 t .. 8 t + 7 of all of them,
 *     16 threads have a head
 *
 *     shared memory, of each thread its own       of the block
 *     scale, bias, weight, mean of its columns    sums of squares of each warp
 *     raw values of this group of rows,           (cos, sin) of the four tokens
 *     the next and the one after that
 *
 * One barrier per group: behind it every warp adds up the sums of all warps, lane by
 * lane four rows at once. Maxima of four rows go through one tree too: at each of its
 * first two steps a lane gives away half of the rows that it has, so that it ends with
 * the maximum, and works out the scale, of one row.
 *
 * A value is worked out by the same operations as in heads.cu. The squares are added in
 * another order, in double, so a factor can differ from that one's in the last place of
 * a float about once in 2^27 rows; it does not depend on how many rows there are.
 */
#include "kernels/cuda/wide.cuh"

enum {
    WIDTH = 128,
    PAIRS = WIDTH / 2,
    ROWS = 4,
    STAGES = 3,
    LEAST = 128, /* threads */
    MOST = 640,
    TURNS = ROWS * PAIRS / LEAST, /* (cos, sin) that a thread fetches, at most */
};

enum kind { TO_BF16, TO_TOKENS, TO_FOURS, TO_SUMS };

enum { SCALE, BIAS, WEIGHT, MEAN, VECTORS };

/* Row i of `n` is row first + i * every of y. */
struct heads_work {
    const __nv_bfloat16 *y;
    int64_t stride, first_token;
    int n, first, every;
    const float *row_scale, *col_scale, *bias, *weight;
    const int64_t *acc, *count;
    struct rope rope;
    float eps;
    double per_column; /* 1 / columns */
    unsigned long long *sums, *summed;
};

struct parts_view {
    struct head_part part[LAUNCH_PARTS_MAX];
};

/* ---- what is fetched ----------------------------------------------------------- */

static __device__ __forceinline__ int row_of(const struct heads_work &a, int i)
{
    return a.first + min(i, a.n - 1) * a.every;
}

/* This thread's columns of the four rows at `from`, `apart` from each other; zeros for
 * all but `n` of them. */
static __device__ __forceinline__ void group_fetch(const __nv_bfloat16 *from,
                                                   int64_t apart, uint4 *slot, int n)
{
    uint32_t to = shared_at(slot + threadIdx.x);

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        copy16(to + r * blockDim.x * (uint32_t)sizeof(uint4), from + r * apart, r < n);
    copies_commit();
}

/* What belongs to the rows of a group and not to columns. */
struct group_facts {
    float scale[ROWS];
    float2 turn[TURNS];
};

/* (cos, sin) of pair `pair` of a head for a token. */
static __device__ __forceinline__ float2 turn_of(const struct rope &r, uint32_t token,
                                                 int pair)
{
    uint32_t wide = (uint32_t)r.grid_w, high = (uint32_t)r.grid_h;
    uint32_t line = token / wide;
    int f = (int)r.f.shape[1], h = (int)r.h.shape[1];
    const struct tensor &t = pair < f ? r.f : pair < f + h ? r.h : r.w;
    uint32_t at = pair < f ? line / high : pair < f + h ? line % high : token % wide;
    const float *cs = (const float *)t.data + at * t.stride[0] +
                      (pair - (pair < f       ? 0
                               : pair < f + h ? f
                                              : f + h)) *
                          t.stride[1];

    return make_float2(cs[0], cs[1]);
}

static __device__ __forceinline__ struct group_facts facts_fetch(
    const struct heads_work &a, int g)
{
    struct group_facts f;

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        f.scale[r] = a.row_scale ? a.row_scale[row_of(a, g * ROWS + r)] : 1.0f;
#pragma unroll
    for (int k = 0; k < TURNS; k++) {
        int i = threadIdx.x + k * blockDim.x;

        f.turn[k] = make_float2(1.0f, 0.0f);
        if (a.rope.f.data && i < ROWS * PAIRS)
            f.turn[k] = turn_of(
                a.rope,
                (uint32_t)((int)a.first_token + row_of(a, g * ROWS + i / PAIRS)),
                i % PAIRS);
    }
    return f;
}

/* Where pair `pair` of a row is among its turns: a lane reads pairs 4 l and 4 l + 1,
 * and then the next two, beside its neighbours. */
static __device__ __forceinline__ int turn_at(int pair)
{
    return pair / 2 % 2 * PAIRS + pair / 4 * 4 + pair % 2 * 2;
}

static __device__ __forceinline__ void turns_put(float *turns,
                                                 const struct group_facts &f)
{
#pragma unroll
    for (int k = 0; k < TURNS; k++) {
        int i = threadIdx.x + k * blockDim.x;

        if (i < ROWS * PAIRS)
            *(float2 *)(turns + i / PAIRS * WIDTH + turn_at(i % PAIRS)) = f.turn[k];
    }
}

/* The vectors of this thread's columns. */
static __device__ __forceinline__ void vectors_put(const struct heads_work &a,
                                                   float *vectors)
{
    int col = threadIdx.x * EIGHT, d = blockDim.x * EIGHT;
    struct eight mean = {};

    if (a.acc) {
        double count = (double)a.count[0] * 0x1p24;

        for (int i = 0; i < EIGHT && count > 0.0; i++)
            mean.v[i] = (float)((double)a.acc[col + i] / count);
    }
    columns_store(vectors + SCALE * d,
                  columns_fetch(a.col_scale, col, col + HALF, 1.0f));
    columns_store(vectors + BIAS * d, columns_fetch(a.bias, col, col + HALF, -0.0f));
    columns_store(vectors + WEIGHT * d, columns_fetch(a.weight, col, col + HALF, 1.0f));
    columns_store(vectors + MEAN * d, mean);
}

/* ---- sums ---------------------------------------------------------------------- */

/* Which row a lane ends up with after it gave others away at steps `high` and `low`. */
static __device__ __forceinline__ int row_kept(int lane, int high, int low)
{
    return (lane & high ? 2 : 0) + (lane & low ? 1 : 0);
}

/* The sum of squares of one row over this warp: of row_kept(lane, 16, 8). */
static __device__ __forceinline__ double warp_squares(const struct eight (&v)[ROWS])
{
    int lane = threadIdx.x % WARP;
    double s[ROWS], a, b, c;

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        s[r] = 0.0;
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            s[r] = __fma_rn((double)v[r].v[i], (double)v[r].v[i], s[r]);
    }
    a = __shfl_xor_sync(0xffffffffu, lane & 16 ? s[0] : s[2], 16);
    b = __shfl_xor_sync(0xffffffffu, lane & 16 ? s[1] : s[3], 16);
    a += lane & 16 ? s[2] : s[0];
    b += lane & 16 ? s[3] : s[1];
    c = __shfl_xor_sync(0xffffffffu, lane & 8 ? a : b, 8);
    c += lane & 8 ? b : a;
#pragma unroll
    for (int step = 4; step > 0; step /= 2)
        c += __shfl_xor_sync(0xffffffffu, c, step);
    return c;
}

/* Every row's factor, from the sums of all warps. */
static __device__ __forceinline__ void factors_of(const struct heads_work &a,
                                                  const double (*sums)[WARP],
                                                  float (&factor)[ROWS])
{
    int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    const double *mine = sums[row_kept(lane, 16, 8)];
    double sum = 0.0;
    float f;

#pragma unroll
    for (int i = 0; i < MOST / WARP; i += EIGHT) {
        int w = i + lane % EIGHT;

        sum += w < warps ? mine[w] : 0.0;
    }
#pragma unroll
    for (int step = 4; step > 0; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    f = (float)root_inverse(sum * a.per_column + (double)a.eps);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        factor[r] = __shfl_sync(0xffffffffu, f, r * EIGHT);
}

/* ---- norm, turn, mean ---------------------------------------------------------- */

static __device__ __forceinline__ void values_make(const struct heads_work &a,
                                                   const float *vectors,
                                                   const float *turns,
                                                   const float (&factor)[ROWS],
                                                   struct eight (&v)[ROWS])
{
    int d = blockDim.x * EIGHT;
    const float4 *mine = (const float4 *)turns + threadIdx.x % (WIDTH / EIGHT);
    const struct eight weight = columns_load(vectors + WEIGHT * d);
    const struct eight mean = columns_load(vectors + MEAN * d);

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            v[r].v[i] = v[r].v[i] * factor[r] * weight.v[i];
        if (a.rope.f.data) {
            const float4 low = mine[r * WARP], high = mine[r * WARP + PAIRS / 4];
            const float cs[EIGHT] = {low.x,  low.y,  low.z,  low.w,
                                     high.x, high.y, high.z, high.w};

#pragma unroll
            for (int i = 0; i < EIGHT; i += 2) {
                float x = v[r].v[i], y = v[r].v[i + 1];

                v[r].v[i] = x * cs[i] - y * cs[i + 1];
                v[r].v[i + 1] = x * cs[i + 1] + y * cs[i];
            }
        }
        if (a.acc) {
#pragma unroll
            for (int i = 0; i < EIGHT; i++)
                v[r].v[i] -= mean.v[i];
        }
    }
}

/* ---- where it goes ------------------------------------------------------------- */

/* This thread's columns in the part that has its head, of the rows at hand; data NULL:
 * none has. */
struct place {
    char *data;
    float *scale;
    int64_t row_bytes, scale_step;
};

static __device__ __forceinline__ struct place place_of(const struct parts_view &parts,
                                                        int n_parts, int64_t row)
{
    int head = threadIdx.x * EIGHT / WIDTH, col = threadIdx.x * EIGHT % WIDTH;
    struct place p = {};

    for (int i = 0; i < n_parts; i++) {
        const struct tensor &t = parts.part[i].t;
        int h = head - parts.part[i].head_begin;
        int64_t bytes = is_code(t.dtype) ? 1 : 2;

        if (h < 0 || h >= parts.part[i].n_heads)
            continue;
        p.data = (char *)t.data + (h * t.stride[0] + col) * bytes;
        p.row_bytes = t.stride[1] * bytes;
        p.data += row * p.row_bytes;
        p.scale = t.scales.data + h * t.scales.stride[0];
        p.scale_step = t.scales.kind == SCALE_GROUP ? t.scales.stride[1] : 1;
    }
    return p;
}

static __device__ __forceinline__ void bf16_put(const struct place &to, int n,
                                                const struct eight (&v)[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (to.data && r < n)
            *(uint4 *)(to.data + r * to.row_bytes) = eight_bf16(v[r]);
    }
}

/* One scale for the rows that there are. */
static __device__ __forceinline__ void fours_put(const struct place &to, int row, int n,
                                                 const struct eight (&v)[ROWS])
{
    float top = 0.0f;
    struct inverse by;

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        top = r < n ? fmaxf(top, eight_top(v[r])) : top;
#pragma unroll
    for (int step = EIGHT; step > 0; step /= 2)
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
    by = inverse_of<true>(top);
    if (!to.data)
        return;
    if (threadIdx.x % (WIDTH / EIGHT) == 0)
        to.scale[row / ROWS * to.scale_step] = by.scale;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < n)
            *(uint2 *)(to.data + r * to.row_bytes) = eight_bytes(v[r], by);
    }
}

/* One scale for each row: lanes 4 r .. 4 r + 3 of a head work out that of row r. */
static __device__ __forceinline__ void tokens_put(const struct place &to, int row,
                                                  int n, const struct eight (&v)[ROWS])
{
    int lane = threadIdx.x % WARP, mine = row_kept(lane, 8, 4);
    float top[ROWS], a, b, c;
    struct inverse by;

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        top[r] = eight_top(v[r]);
    a = __shfl_xor_sync(0xffffffffu, lane & 8 ? top[0] : top[2], 8);
    b = __shfl_xor_sync(0xffffffffu, lane & 8 ? top[1] : top[3], 8);
    a = fmaxf(a, lane & 8 ? top[2] : top[0]);
    b = fmaxf(b, lane & 8 ? top[3] : top[1]);
    c = __shfl_xor_sync(0xffffffffu, lane & 4 ? a : b, 4);
    c = fmaxf(c, lane & 4 ? b : a);
#pragma unroll
    for (int step = 2; step > 0; step /= 2)
        c = fmaxf(c, __shfl_xor_sync(0xffffffffu, c, step));
    by = inverse_of<true>(c);
    if (to.data && lane % 4 == 0 && mine < n)
        to.scale[(row + mine) * to.scale_step] = by.scale;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int from = (lane & 16) + 4 * r;
        struct inverse of_row = {0.0f, __shfl_sync(0xffffffffu, by.near, from),
                                 __shfl_sync(0xffffffffu, by.rest, from)};

        if (to.data && r < n)
            *(uint2 *)(to.data + r * to.row_bytes) = eight_bytes(v[r], of_row);
    }
}

/* Sums of a thread's columns, value * 2^24 rounded. */
struct sums {
    long long v[EIGHT];
};

static __device__ __forceinline__ void sums_add(struct sums &s, int n,
                                                const struct eight (&v)[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            s.v[i] += r < n ? __float2ll_rn(v[r].v[i] * 0x1p24f) : 0;
    }
}

static __device__ __forceinline__ void sums_put(const struct heads_work &a,
                                                const struct sums &s)
{
    for (int i = 0; i < EIGHT; i++)
        atomicAdd(a.sums + threadIdx.x * EIGHT + i, (unsigned long long)s.v[i]);
    if (blockIdx.x == 0 && threadIdx.x == 0)
        atomicAdd(a.summed, (unsigned long long)a.n);
}

/* ---- the kernel ---------------------------------------------------------------- */

template <int KIND>
static __global__ void __launch_bounds__(MOST, 1)
    heads_wide_kernel(const __grid_constant__ struct heads_work a,
                      const __grid_constant__ struct parts_view parts, int n_parts)
{
    extern __shared__ __align__(16) char room[];
    __shared__ double squares[2][ROWS][WARP];
    __shared__ __align__(16) float turns[2][ROWS * WIDTH];
    int d = blockDim.x * EIGHT, lane = threadIdx.x % WARP;
    float *vectors = (float *)room;
    uint4 *stages = (uint4 *)(vectors + VECTORS * d);
    int groups = (a.n + ROWS - 1) / ROWS, step = gridDim.x;
    int64_t apart = a.every * a.stride;
    const __nv_bfloat16 *next = a.y + a.first * a.stride + threadIdx.x * EIGHT +
                                (int64_t)blockIdx.x * ROWS * apart;
    struct place to = place_of(parts, n_parts, (int64_t)blockIdx.x * ROWS);
    struct group_facts facts = facts_fetch(a, blockIdx.x);
    struct sums sums = {};
    int slot = 0, odd = 0;

    vectors_put(a, vectors);
    for (int i = 0; i < STAGES - 1; i++) {
        group_fetch(next, apart, stages + i * ROWS * blockDim.x,
                    a.n - ((int)blockIdx.x + i * step) * ROWS);
        next += step * ROWS * apart;
    }
    for (int g = blockIdx.x; g < groups; g += step) {
        int n = min(a.n - g * ROWS, (int)ROWS);
        const uint4 *raw = stages + slot * ROWS * blockDim.x + threadIdx.x;
        int ahead = slot == 0 ? STAGES - 1 : slot - 1;
        float factor[ROWS] = {1.0f, 1.0f, 1.0f, 1.0f};
        struct eight v[ROWS];

        group_fetch(next, apart, stages + ahead * ROWS * blockDim.x,
                    a.n - (g + (STAGES - 1) * step) * ROWS);
        next += step * ROWS * apart;
        copies_wait<STAGES - 1>();
        {
            const struct eight scale = columns_load(vectors + SCALE * d);
            const struct eight bias = columns_load(vectors + BIAS * d);

#pragma unroll
            for (int r = 0; r < ROWS; r++)
                v[r] = eight_finish(eight_of(raw[r * blockDim.x]), facts.scale[r],
                                    scale, bias);
        }
        if (a.weight) {
            double sum = warp_squares(v);

            if (lane % EIGHT == 0)
                squares[odd][row_kept(lane, 16, 8)][threadIdx.x / WARP] = sum;
        }
        turns_put(turns[odd], facts);
        facts = facts_fetch(a, g + step);
        __syncthreads();
        if (a.weight)
            factors_of(a, squares[odd], factor);
        values_make(a, vectors, turns[odd], factor, v);
        if (KIND == TO_BF16)
            bf16_put(to, n, v);
        else if (KIND == TO_TOKENS)
            tokens_put(to, g * ROWS, n, v);
        else if (KIND == TO_FOURS)
            fours_put(to, g * ROWS, n, v);
        else
            sums_add(sums, n, v);
        to.data += to.data ? step * ROWS * to.row_bytes : 0;
        slot = slot + 1 == STAGES ? 0 : slot + 1;
        odd ^= 1;
    }
    if (KIND == TO_SUMS)
        sums_put(a, sums);
}

/* ---- launching ----------------------------------------------------------------- */

static size_t room_of(int64_t d)
{
    return (size_t)d * (VECTORS * sizeof(float) + STAGES * ROWS * 2);
}

static bool rows_fit(const struct tensor *y, const struct tensor *weight,
                     const struct rope *rope, int head_dim, int64_t first_token,
                     const struct launch_limits *l)
{
    int64_t d = y->shape[1];

    return head_dim == WIDTH && y->dtype == DT_BF16 && wide_aligned(y, EIGHT) &&
           vector_aligned(weight) && d % (WARP * EIGHT) == 0 && d >= LEAST * EIGHT &&
           d <= MOST * EIGHT && room_of(d) + 8192 <= l->shared &&
           first_token + y->shape[0] < (int64_t)1 << 31 &&
           (!rope || (rope->grid_h < (int64_t)1 << 31 && rope->f.shape[1] < PAIRS));
}

/* Which kernel writes such parts; TO_SUMS: none. */
static enum kind kind_of(const struct tensor *t)
{
    if (t->dtype == DT_BF16)
        return TO_BF16;
    if (t->dtype == DT_I8 && t->scales.kind == SCALE_ROW)
        return TO_TOKENS;
    return t->dtype == DT_I8 && t->scales.kind == SCALE_GROUP && t->scales.rows == ROWS
               ? TO_FOURS
               : TO_SUMS;
}

extern "C" bool heads_wide_fits(const struct op_heads *a, const struct launch_limits *l)
{
    int64_t heads = 0;
    bool fits = a->n_parts > 0 && a->n_parts <= LAUNCH_PARTS_MAX &&
                kind_of(&a->parts[0].t) != TO_SUMS &&
                rows_fit(a->y, a->weight, a->rope, a->head_dim, a->first_token, l);

    for (int i = 0; fits && i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;

        fits = kind_of(t) == kind_of(&a->parts[0].t) && (uintptr_t)t->data % 16 == 0 &&
               t->stride[0] % EIGHT == 0 && t->stride[1] % EIGHT == 0 &&
               t->stride[2] == 1 && a->parts[i].head_begin >= heads;
        heads = a->parts[i].head_begin + a->parts[i].n_heads;
    }
    return fits;
}

extern "C" bool key_sum_wide_fits(const struct op_key_sum *a,
                                  const struct launch_limits *l)
{
    return a->every < (int64_t)1 << 31 &&
           rows_fit(a->y, a->weight, a->rope, a->head_dim, a->first_token, l);
}

static struct heads_work work_of(const struct tensor *y, const struct tensor *weight,
                                 const struct rope *rope, float eps,
                                 int64_t first_token)
{
    struct heads_work v = {};

    v.y = (const __nv_bfloat16 *)y->data;
    v.stride = y->stride[0];
    v.n = (int)y->shape[0];
    v.every = 1;
    v.first_token = first_token;
    v.row_scale = y->pending.row_scale;
    v.col_scale = y->pending.col_scale;
    v.bias = y->pending.bias;
    v.weight = weight ? (const float *)weight->data : NULL;
    if (rope)
        v.rope = *rope;
    v.eps = eps;
    v.per_column = 1.0 / (double)y->shape[1];
    return v;
}

template <int KIND>
static cudaError_t kind_launch(const struct heads_work *v, const struct head_part *part,
                               int n_parts, int64_t d, const struct launch_limits *l,
                               cudaStream_t stream)
{
    struct parts_view parts = {};
    int threads = (int)(d / EIGHT);
    unsigned blocks;
    cudaError_t st = wide_grid(heads_wide_kernel<KIND>, threads, room_of(d),
                               (v->n + ROWS - 1) / ROWS, l, &blocks);

    if (st != cudaSuccess)
        return st;
    for (int i = 0; i < n_parts; i++)
        parts.part[i] = part[i];
    heads_wide_kernel<KIND>
        <<<blocks, threads, room_of(d), stream>>>(*v, parts, n_parts);
    return cudaGetLastError();
}

extern "C" cudaError_t heads_wide_launch(const struct op_heads *a,
                                         const struct launch_limits *l,
                                         cudaStream_t stream)
{
    struct heads_work v = work_of(a->y, a->weight, a->rope, a->eps, a->first_token);
    int64_t d = a->y->shape[1];

    v.acc = a->mean_acc ? (const int64_t *)a->mean_acc->data : NULL;
    v.count = a->mean_count ? (const int64_t *)a->mean_count->data : NULL;
    switch (kind_of(&a->parts[0].t)) {
    case TO_BF16:
        return kind_launch<TO_BF16>(&v, a->parts, a->n_parts, d, l, stream);
    case TO_TOKENS:
        return kind_launch<TO_TOKENS>(&v, a->parts, a->n_parts, d, l, stream);
    default:
        return kind_launch<TO_FOURS>(&v, a->parts, a->n_parts, d, l, stream);
    }
}

extern "C" cudaError_t key_sum_wide_launch(const struct op_key_sum *a,
                                           const struct launch_limits *l,
                                           cudaStream_t stream)
{
    struct heads_work v = work_of(a->y, a->weight, a->rope, a->eps, a->first_token);

    v.first = (int)((a->every - a->first_token % a->every) % a->every);
    v.every = (int)a->every;
    if (a->y->shape[0] <= v.first)
        return cudaSuccess;
    v.n = (int)((a->y->shape[0] - v.first + a->every - 1) / a->every);
    v.sums = (unsigned long long *)a->acc->data;
    v.summed = (unsigned long long *)a->count->data;
    return kind_launch<TO_SUMS>(&v, NULL, 0, a->y->shape[1], l, stream);
}
