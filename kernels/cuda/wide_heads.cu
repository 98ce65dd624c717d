/* wide_heads.cu - q and k rows of heads of 128, and the sum for the mean of k
 *
 * What heads.cu does for any shape, for raw bf16 products of a block's width:
 *
 *     four rows at a time; a thread has columns 8 t .. 8 t + 7 of all of them, and
 *     scale, bias, weight and mean of these in registers; 16 threads have a head
 *
 *     shared memory, of each thread its own       of the block
 *     raw values of the group after the next      sums of squares of each warp,
 *     x of this group and of the next             factors of rows,
 *                                                 (cos, sin) of the tokens
 *
 * Three things are done at once: x and squares of group i + 1; its factors and (cos,
 * sin), by one warp, another for every group; norm, turn and codes of group i. So a
 * warp waits only for factors that another one began a group ago, and not for the
 * slowest of the others.
 *
 * Maxima of four rows go through one tree: at each of its first two steps a lane gives
 * away half of the rows that it has, so that it ends with the maximum, and works out
 * the scale, of one row.
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
    LEAST = 128, /* threads that have columns */
    MOST = 640,
    FEW = 192, /* a small model's */
    KEPT = 2,  /* groups whose x is at hand; also of sums and factors */
    TURNS = 4, /* groups whose (cos, sin) are */
};

enum kind { TO_BF16, TO_TOKENS, TO_FOURS, TO_SUMS };

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

/* ---- what a thread has of its own ---------------------------------------------- */

struct mine {
    struct eight scale, bias, weight, mean;
    const __nv_bfloat16 *next; /* rows that are fetched next */
    float row_scale;           /* of row lane % ROWS of the group that is fetched */
    uint4 *raw;                /* [ROWS] */
    float4 *kept;              /* [KEPT][ROWS][2] */
};

/* Which groups a block has: i = 0 .. n - 1, group first + i * step. */
struct groups {
    int first, step, n;
};

static __device__ __forceinline__ int row_of(const struct heads_work &a, int i)
{
    return a.first + min(i, a.n - 1) * a.every;
}

/* Rows of group i that there are, possibly none or more than a group has. */
static __device__ __forceinline__ int rows_left(const struct heads_work &a,
                                                const struct groups &g, int i)
{
    return a.n - (g.first + i * g.step) * ROWS;
}

/* Fetch this thread's columns of group i; zeros for rows that there are not. */
template <int PITCH>
static __device__ __forceinline__ void group_fetch(const struct heads_work &a,
                                                   const struct groups &g,
                                                   struct mine &m, int i)
{
    uint32_t to = shared_at(m.raw);
    int64_t apart = a.every * a.stride;
    int left = rows_left(a, g, i);

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        copy16(to + r * PITCH * (uint32_t)sizeof(uint4), m.next + r * apart, r < left);
    copies_commit();
    m.next += g.step * ROWS * apart;
}

static __device__ __forceinline__ float scale_fetch(const struct heads_work &a,
                                                    const struct groups &g, int i)
{
    int row = (g.first + i * g.step) * ROWS + (int)threadIdx.x % ROWS;

    return a.row_scale ? a.row_scale[row_of(a, row)] : 1.0f;
}

template <int PITCH>
static __device__ __forceinline__ struct mine mine_of(const struct heads_work &a,
                                                      const struct groups &g,
                                                      char *room)
{
    int col = threadIdx.x * EIGHT;
    uint4 *raw = (uint4 *)room;
    struct mine m;

    m.scale = columns_fetch(a.col_scale, col, col + HALF, 1.0f);
    m.bias = columns_fetch(a.bias, col, col + HALF, -0.0f);
    m.weight = columns_fetch(a.weight, col, col + HALF, 1.0f);
    m.mean = {};
    if (a.acc) {
        double count = (double)a.count[0] * 0x1p24;

        for (int i = 0; i < EIGHT && count > 0.0; i++)
            m.mean.v[i] = (float)((double)a.acc[col + i] / count);
    }
    m.next = a.y + (a.first + (int64_t)g.first * ROWS * a.every) * a.stride + col;
    m.raw = raw + threadIdx.x;
    m.kept = (float4 *)(raw + ROWS * PITCH) + threadIdx.x;
    return m;
}

/* ---- what passes between threads ----------------------------------------------- */

struct ring {
    double squares[KEPT][ROWS][WARP];
    float turns[TURNS][ROWS * WIDTH];
    float factor[KEPT][ROWS];
    uint64_t met[KEPT];   /* every warp's sums are there */
    uint64_t ready[KEPT]; /* the factors are */
};

/* Where pair `pair` of a row is among its turns: a lane reads pairs 4 l and 4 l + 1,
 * and then the next two, beside its neighbours. */
static __device__ __forceinline__ int turn_at(int pair)
{
    return pair / 2 % 2 * PAIRS + pair / 4 * 4 + pair % 2 * 2;
}

/* (cos, sin) of pair `pair` of a head for a token at (f, h, w). */
static __device__ __forceinline__ float2 turn_of(const struct rope &r, int pair, int f,
                                                 int h, int w)
{
    int n_f = (int)r.f.shape[1], n_h = (int)r.h.shape[1];
    const struct tensor &t = pair < n_f ? r.f : pair < n_f + n_h ? r.h : r.w;
    int at = pair < n_f ? f : pair < n_f + n_h ? h : w;
    int first = pair < n_f ? 0 : pair < n_f + n_h ? n_f : n_f + n_h;
    const float *cs = (const float *)t.data + at * t.stride[0] +
                      (pair - first) * t.stride[1];

    return make_float2(cs[0], cs[1]);
}

/* Of the tokens of group i, by one warp. */
static __device__ __forceinline__ void turns_put(const struct heads_work &a,
                                                 const struct groups &g, int i,
                                                 float *turns)
{
    int lane = threadIdx.x % WARP;
    uint32_t wide = (uint32_t)a.rope.grid_w, high = (uint32_t)a.rope.grid_h;
    uint32_t token = (uint32_t)((int)a.first_token +
                                row_of(a, (g.first + i * g.step) * ROWS + lane % ROWS));
    uint32_t line = token / wide, frame = line / high;
    int w = (int)(token - line * wide), h = (int)(line - frame * high);
    float2 cs[ROWS][PAIRS / WARP];

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int at_f = __shfl_sync(0xffffffffu, (int)frame, r);
        int at_h = __shfl_sync(0xffffffffu, h, r);
        int at_w = __shfl_sync(0xffffffffu, w, r);

#pragma unroll
        for (int k = 0; k < PAIRS / WARP; k++)
            cs[r][k] = turn_of(a.rope, k * WARP + lane, at_f, at_h, at_w);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int k = 0; k < PAIRS / WARP; k++)
            *(float2 *)(turns + r * WIDTH + turn_at(k * WARP + lane)) = cs[r][k];
    }
}

/* ---- sums ---------------------------------------------------------------------- */

/* The sum of squares of one row over this warp: of row_kept(lane, 16, 8). */
static __device__ __forceinline__ double warp_squares(const struct eight (&v)[ROWS])
{
    double s[ROWS];

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        s[r] = 0.0;
#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            s[r] = __fma_rn((double)v[r].v[i], (double)v[r].v[i], s[r]);
    }
    return four_sums(s);
}

/* Every row's factor, from the sums of all warps, by one of them. */
static __device__ __forceinline__ void factors_put(const struct heads_work &a,
                                                   const double (*sums)[WARP],
                                                   float *factor)
{
    int lane = threadIdx.x % WARP, row = row_kept(lane, 16, 8);
    double sum = a.weight ? four_sums_again<MOST / WARP>(sums) : 0.0;

    if (lane % EIGHT == 0)
        factor[row] = a.weight ? (float)root_inverse(sum * a.per_column + (double)a.eps)
                               : 1.0f;
}

/* x of group i, and the squares of this warp. */
template <int PITCH>
static __device__ __forceinline__ void group_take(const struct heads_work &a,
                                                  const struct mine &m,
                                                  struct ring *ring, unsigned i)
{
    float4 *to = m.kept + i % KEPT * (2 * ROWS * PITCH);
    int lane = threadIdx.x % WARP;
    struct eight v[ROWS];

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        v[r] = eight_finish(eight_of(m.raw[r * PITCH]),
                            __shfl_sync(0xffffffffu, m.row_scale, r), m.scale, m.bias);
        to[2 * r * PITCH] = make_float4(v[r].v[0], v[r].v[1], v[r].v[2], v[r].v[3]);
        to[(2 * r + 1) * PITCH] = make_float4(v[r].v[4], v[r].v[5], v[r].v[6],
                                              v[r].v[7]);
    }
    if (a.weight) {
        double sum = warp_squares(v);

        if (lane % EIGHT == 0)
            ring->squares[i % KEPT][row_kept(lane, 16, 8)][threadIdx.x / WARP] = sum;
    }
    warp_arrive(shared_at(&ring->met[i % KEPT]));
}

/* ---- norm, turn, mean ---------------------------------------------------------- */

template <int PITCH>
static __device__ __forceinline__ void values_norm(const struct mine &m,
                                                   const struct ring *ring, unsigned i,
                                                   struct eight (&v)[ROWS])
{
    const float4 *kept = m.kept + i % KEPT * (2 * ROWS * PITCH);
    float4 four = *(const float4 *)ring->factor[i % KEPT];
    const float factor[ROWS] = {four.x, four.y, four.z, four.w};

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float4 a = kept[2 * r * PITCH], b = kept[(2 * r + 1) * PITCH];
        const float x[EIGHT] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};

#pragma unroll
        for (int j = 0; j < EIGHT; j++)
            v[r].v[j] = x[j] * factor[r] * m.weight.v[j];
    }
}

static __device__ __forceinline__ void values_turn(const struct ring *ring, unsigned i,
                                                   struct eight (&v)[ROWS])
{
    const float4 *turns = (const float4 *)ring->turns[i % TURNS] +
                          threadIdx.x % (WIDTH / EIGHT);

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const float4 low = turns[r * WARP], high = turns[r * WARP + PAIRS / 4];
        const float cs[EIGHT] = {low.x,  low.y,  low.z,  low.w,
                                 high.x, high.y, high.z, high.w};

#pragma unroll
        for (int j = 0; j < EIGHT; j += 2) {
            float x = v[r].v[j], y = v[r].v[j + 1];

            v[r].v[j] = x * cs[j] - y * cs[j + 1];
            v[r].v[j + 1] = x * cs[j + 1] + y * cs[j];
        }
    }
}

static __device__ __forceinline__ void values_less(const struct eight &mean,
                                                   struct eight (&v)[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int j = 0; j < EIGHT; j++)
            v[r].v[j] -= mean.v[j];
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
        uint4 all = eight_bf16(v[r]);

        if (r < n)
            *(uint4 *)(to.data + r * to.row_bytes) = all;
    }
}

/* One scale for the rows that there are. */
static __device__ __forceinline__ void fours_put(const struct place &to, int row, int n,
                                                 const struct eight (&v)[ROWS])
{
    int there = to.data ? n : 0;
    float top = 0.0f;
    struct inverse by;

#pragma unroll
    for (int r = 0; r < ROWS; r++)
        top = fmaxf(top, r < n ? eight_top(v[r]) : 0.0f);
#pragma unroll
    for (int step = EIGHT; step > 0; step /= 2)
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
    by = inverse_of<true>(top);
    if (threadIdx.x % (WIDTH / EIGHT) == 0 && to.data)
        to.scale[row / ROWS * to.scale_step] = by.scale;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        uint2 code = eight_bytes(v[r], by);

        if (r < there)
            *(uint2 *)(to.data + r * to.row_bytes) = code;
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
    if (lane % 4 == 0 && mine < n)
        to.scale[(row + mine) * to.scale_step] = by.scale;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int from = (lane & 16) + 4 * r;
        struct inverse of_row = {0.0f, __shfl_sync(0xffffffffu, by.near, from),
                                 __shfl_sync(0xffffffffu, by.rest, from)};

        uint2 code = eight_bytes(v[r], of_row);

        if (r < n)
            *(uint2 *)(to.data + r * to.row_bytes) = code;
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

/* (cos, sin) and factors of group i, by one warp. When it comes here nobody reads those
 * of group i - TURNS any more. */
static __device__ __forceinline__ void group_settle(const struct heads_work &a,
                                                    const struct groups &g,
                                                    struct ring *ring, unsigned i)
{
    if (a.rope.f.data)
        turns_put(a, g, i, ring->turns[i % TURNS]);
    barrier_wait(shared_at(&ring->met[i % KEPT]), i / KEPT & 1);
    factors_put(a, ring->squares[i % KEPT], ring->factor[i % KEPT]);
    warp_arrive(shared_at(&ring->ready[i % KEPT]));
}

/* PITCH: threads, at most. */
template <int KIND, int PITCH>
static __global__ void __launch_bounds__(PITCH, PITCH == MOST ? 1 : 2)
    heads_wide_kernel(const __grid_constant__ struct heads_work a,
                      const __grid_constant__ struct parts_view parts, int n_parts)
{
    extern __shared__ __align__(16) char room[];
    __shared__ __align__(16) struct ring ring;
    int first = blockIdx.x, step = gridDim.x;
    const struct groups g = {first, step,
                             ((a.n + ROWS - 1) / ROWS - first + step - 1) / step};
    struct place to = place_of(parts, n_parts, (int64_t)first * ROWS);
    struct mine m = mine_of<PITCH>(a, g, room);
    struct sums sums = {};
    int until = threadIdx.x / WARP + 1; /* this warp settles a group */

    meetings_init(ring.met, ring.ready);
    group_fetch<PITCH>(a, g, m, 0);
    m.row_scale = scale_fetch(a, g, 0);
    for (int i = -1; i < g.n; i++) {
        unsigned at = i, next = i + 1;
        int left = rows_left(a, g, i), there = to.data ? left : 0;
        struct eight v[ROWS];

        if (i + 1 < g.n) {
            copies_wait<0>();
            group_take<PITCH>(a, m, &ring, next);
            group_fetch<PITCH>(a, g, m, i + 2);
            m.row_scale = scale_fetch(a, g, i + 2);
        }
        if (--until == 0) {
            until = blockDim.x / WARP;
            if (i + 1 < g.n)
                group_settle(a, g, &ring, next);
        }
        if (i < 0)
            continue;
        barrier_wait(shared_at(&ring.ready[at % KEPT]), at / KEPT & 1);
        values_norm<PITCH>(m, &ring, at, v);
        if (a.rope.f.data)
            values_turn(&ring, at, v);
        if (a.acc)
            values_less(m.mean, v);
        if (KIND == TO_BF16)
            bf16_put(to, there, v);
        else if (KIND == TO_TOKENS)
            tokens_put(to, (first + i * step) * ROWS, there, v);
        else if (KIND == TO_FOURS)
            fours_put(to, (first + i * step) * ROWS, left, v);
        else
            sums_add(sums, left, v);
        to.data += to.data ? step * ROWS * to.row_bytes : 0;
    }
    if (KIND == TO_SUMS)
        sums_put(a, sums);
}

/* ---- launching ----------------------------------------------------------------- */

static int pitch_of(int64_t d)
{
    return d <= FEW * EIGHT ? FEW : MOST;
}

static size_t room_of(int64_t d)
{
    return (size_t)pitch_of(d) * ROWS * EIGHT *
           (sizeof(__nv_bfloat16) + KEPT * sizeof(float));
}

static bool rows_fit(const struct tensor *y, const struct tensor *weight,
                     const struct rope *rope, int head_dim, int64_t first_token,
                     const struct launch_limits *l)
{
    int64_t d = y->shape[1];

    return head_dim == WIDTH && y->dtype == DT_BF16 && wide_aligned(y, EIGHT) &&
           vector_aligned(weight) && d % (WARP * EIGHT) == 0 && d >= LEAST * EIGHT &&
           d <= MOST * EIGHT && room_of(d) + sizeof(struct ring) <= l->shared &&
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
    void (*kernel)(struct heads_work, struct parts_view,
                   int) = pitch_of(d) == FEW ? heads_wide_kernel<KIND, FEW>
                                             : heads_wide_kernel<KIND, MOST>;
    struct parts_view parts = {};
    int threads = (int)(d / EIGHT);
    unsigned blocks;
    cudaError_t st = wide_grid(kernel, threads, room_of(d), (v->n + ROWS - 1) / ROWS, l,
                               &blocks);

    if (st != cudaSuccess)
        return st;
    for (int i = 0; i < n_parts; i++)
        parts.part[i] = part[i];
    kernel<<<blocks, threads, room_of(d), stream>>>(*v, parts, n_parts);
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
