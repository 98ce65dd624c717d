/* attention_halves.cu - attention over bf16, heads of 128, on Hopper
 *
 * A block has a run of items: an item is a head and 192 of its queries. Three
 * warpgroups take 64 queries each; one thread of a fourth one has tiles of 128 keys and
 * their values fetched, two of each ahead, and the queries of the item after this one.
 *
 * A warpgroup has nothing of its own in flight beside its softmax: it waits for its
 * logits, makes P, and waits for the product of P with the values. What hides the
 * softmax are the products of the two others, 2,048 cycles per tile. As no logits of a
 * next tile lie beside P, three warpgroups fit the registers.
 *
 * With many keys nobody says whose turn it is. With few, where an item is only a few
 * tiles, the matrix unit is handed round, a product of keys, then of another one's
 * values:
 *
 *     matrix unit   | QK 0 | PV 2 | QK 1 | PV 0 | QK 2 | PV 1 | QK 0 | ...
 *     warpgroup 0          |   softmax   |
 *     warpgroup 1                        |   softmax   |
 *     warpgroup 2                                      |   softmax   |
 *
 * Either way the bytes are the same: it is chosen by the number of tiles for the sake
 * of speed alone. The tiles of all items of a block are one stream: where one warpgroup
 * writes results, the others go on.
 *
 * The maximum that powers are taken against moves only when a row's logits exceed it by
 * more than a factor of 2^8: bf16 and fp32 have as many bits there, and older sums
 * rarely have to be scaled. Every row decides for itself; where one of a warp's moves,
 * the others are multiplied by one.
 *
 * Logits stay as the product left them until the power is taken, with the scale and
 * minus the maximum in one multiply-add; so a bias of a key is divided by the scale.
 *
 * Per row nothing depends on other rows, nor on the block; tiles are counted from the
 * first key of every part.
 */
#include <float.h>

#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_store.cuh"
#include "kernels/cuda/boxes.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"

enum {
    DIM = 128,
    KEYS = 128,   /* of a tile */
    QUERIES = 64, /* of a warpgroup */
    WORKERS = 3,  /* warpgroups that multiply */
    ROWS = WORKERS * QUERIES,
    THREADS = (WORKERS + 1) * GROUP,
    STAGES = 2,             /* tiles of keys, of values, queries of items */
    HALF = KEYS * 128,      /* bytes of 64 channels of a tile, */
    BOX = 2 * HALF,         /* of all of them, */
    ROWS_HALF = ROWS * 128, /* and of an item's queries */
    ROWS_BOX = 2 * ROWS_HALF,
    SLOTS = 3 * STAGES, /* k, v, q */
    BARRIERS = STAGES * (2 * BOX + ROWS_BOX),
    SHARED = BARRIERS + SLOTS * 16 + 1024,
    RELEASES = WORKERS * GROUP / WARP * WARP_ARRIVALS, /* of a slot */
    TURN = 1,                                          /* barriers */
    FETCH_REGS = 32,
    WORK_REGS = 160,
    RUN = 128, /* tiles that a block should have */
    FEW = 15   /* tiles of keys up to which the matrix unit is handed round */
};

/* Keys and values of one part. */
struct part_view {
    CUtensorMap k, v;
    int64_t first; /* keys of the parts before */
    int n;
};

struct halves_view {
    struct part_view part[LAUNCH_PARTS_MAX];
    CUtensorMap q;
    int n_parts;
    int items, run; /* in all, of a block */
    int tiles;      /* items of a head */
    float bias;     /* times a bias of a key: what to add to a raw logit */
    struct rows_view rows;
};

/* ---- a block's stream of tiles ------------------------------------------------ */

struct walk {
    int item, part, at; /* at: first key of the tile, within its part */
};

static __device__ __forceinline__ struct walk walk_begin(const struct halves_view &a)
{
    return {(int)blockIdx.x * a.run, 0, 0};
}

static __device__ __forceinline__ int walk_end(const struct halves_view &a)
{
    return min(a.items, ((int)blockIdx.x + 1) * a.run);
}

/* The first query of an item. */
static __device__ __forceinline__ int item_row(const struct halves_view &a, int item)
{
    return item % a.tiles * ROWS;
}

static __device__ __forceinline__ bool item_begins(const struct walk &w)
{
    return w.at == 0 && w.part == 0;
}

static __device__ __forceinline__ void walk_next(const struct halves_view &a,
                                                 struct walk &w)
{
    w.at += KEYS;
    if (w.at < a.part[w.part].n)
        return;
    w.at = 0;
    if (++w.part == a.n_parts) {
        w.part = 0;
        w.item++;
    }
}

/* ---- shared memory ------------------------------------------------------------ */

enum slot_kind { SLOT_K, SLOT_V, SLOT_Q };

/* A slot of a kind's ring: the `count`th tile (or item) of the block. */
struct slot {
    uint32_t at, full, empty;
    int parity; /* of the round of the ring that it belongs to */
};

static __device__ __forceinline__ struct slot slot_of(uint32_t room,
                                                      enum slot_kind kind, int count)
{
    uint32_t s = count % STAGES, i = (uint32_t)kind * STAGES + s;
    uint32_t at = kind == SLOT_Q ? 2 * STAGES * BOX + s * ROWS_BOX : i * BOX;
    uint32_t full = room + BARRIERS + 16 * i;

    return {room + at, full, full + 8, count / STAGES & 1};
}

/* ---- fetching: one thread ----------------------------------------------------- */

static __device__ __forceinline__ void box_fetch(uint32_t room, enum slot_kind kind,
                                                 int count, const CUtensorMap *map,
                                                 int row, int h)
{
    struct slot s = slot_of(room, kind, count);

    if (count >= STAGES)
        barrier_wait(s.empty, s.parity ^ 1);
    barrier_expect(s.full, kind == SLOT_Q ? ROWS_BOX : BOX);
    box4_copy(s.at, map, 0, row, 0, h, s.full);
}

/* Values of a tile after the keys of the next: there is time until they are used. */
static __device__ void fetch_all(const struct halves_view &a, uint32_t room)
{
    struct walk w = walk_begin(a), before = w;
    int begin = w.item, end = walk_end(a), tile = 0;

    for (; w.item < end; tile++) {
        int h = w.item / a.tiles;

        if (item_begins(w))
            box_fetch(room, SLOT_Q, w.item - begin, &a.q, item_row(a, w.item), h);
        box_fetch(room, SLOT_K, tile, &a.part[w.part].k, w.at, h);
        if (tile > 0)
            box_fetch(room, SLOT_V, tile - 1, &a.part[before.part].v, before.at,
                      before.item / a.tiles);
        before = w;
        walk_next(a, w);
    }
    box_fetch(room, SLOT_V, tile - 1, &a.part[before.part].v, before.at,
              before.item / a.tiles);
}

/* ---- one tile ----------------------------------------------------------------- */

/* Element i of a thread's logits belongs to this key of the tile. */
static __device__ __forceinline__ int key_of(int i)
{
    return i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
}

static __device__ __forceinline__ void logits_put(uint32_t query, uint32_t k,
                                                  float (&x)[64])
{
    uint64_t a = matrix_at(query, 16), b = matrix_at(k, 16);

    product_bf16_first(x, a, b);
#pragma unroll
    for (int i = 1; i < 8; i++) {
        int half = i / 4, at = i % 4 * 2;

        product_bf16(x, a + half * (ROWS_HALF / 16) + at, b + half * (HALF / 16) + at,
                     1);
    }
}

/* o = P v, and what was there before, if it `continues`. */
static __device__ __forceinline__ void values_put(uint32_t v, const uint32_t (&p)[8][4],
                                                  bool continues, float (&o)[64])
{
    uint64_t b = matrix_at(v, HALF);

#pragma unroll
    for (int i = 0; i < 8; i++)
        product_bf16_turned(o, p[i], b + i * (16 * 128 / 16), i > 0 || continues);
}

/* Biases of the tile's keys, in pairs, or only `left` of them. */
template <bool PAIRS>
static __device__ __forceinline__ void biases_add(const float *bias, float factor,
                                                  int left, float (&x)[64])
{
#pragma unroll
    for (int i = 0; i < 64; i += 4) {
        int key = key_of(i);
        float2 b;

        if constexpr (PAIRS)
            b = *(const float2 *)(bias + key);
        else
            b = {bias[min(key, left - 1)], bias[min(key + 1, left - 1)]};
        x[i] = __fmaf_rn(b.x, factor, x[i]);
        x[i + 1] = __fmaf_rn(b.y, factor, x[i + 1]);
        x[i + 2] = __fmaf_rn(b.x, factor, x[i + 2]);
        x[i + 3] = __fmaf_rn(b.y, factor, x[i + 3]);
    }
}

/* Biases, and nothing for keys past the part's last. */
static __device__ __forceinline__ void logits_mend(const struct halves_view &a,
                                                   const struct walk &w, float (&x)[64])
{
    const float *bias = a.rows.key_bias;
    int left = a.part[w.part].n - w.at;

    if (bias) {
        bias += a.part[w.part].first + w.at;
        if (left >= KEYS && (uintptr_t)bias % 8 == 0)
            biases_add<true>(bias, a.bias, left, x);
        else
            biases_add<false>(bias, a.bias, left, x);
    }
    if (left < KEYS) {
#pragma unroll
        for (int i = 0; i < 64; i++)
            x[i] = key_of(i) < left ? x[i] : -INFINITY;
    }
}

static __device__ __forceinline__ float quad_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

/* Running maxima (base 2) of a thread's two rows; returns by how much older sums
 * shrink. */
static __device__ __forceinline__ void maxima_move(float scale, float (&m)[2],
                                                   const float (&x)[64],
                                                   float (&shrink)[2])
{
    const float leap = 8.0f;
    float top[2][2];

#pragma unroll
    for (int i = 0; i < 64; i++) {
        float &to = top[i / 2 % 2][i / 4 % 2];

        to = i < 8 && i % 2 == 0 ? x[i] : fmaxf(to, x[i]);
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float most = quad_max(fmaxf(top[row][0], top[row][1])) * scale;

        most = most > m[row] + leap ? most : m[row];
        shrink[row] = exp2_fast(m[row] - most); /* one, if it stays */
        m[row] = most;
    }
}

/* Raw logits become probabilities; returns this thread's shares of the rows' sums, each
 * in two parts. */
static __device__ __forceinline__ void powers_make(float scale, const float (&m)[2],
                                                   float (&x)[64], float (&sum)[2][2])
{
#pragma unroll
    for (int i = 0; i < 64; i++) {
        int row = i / 2 % 2;

        x[i] = exp2_fast(__fmaf_rn(x[i], scale, -m[row]));
        sum[row][i / 4 % 2] += x[i];
    }
}

static __device__ __forceinline__ void operands_make(const float (&x)[64],
                                                     uint32_t (&p)[8][4])
{
#pragma unroll
    for (int i = 0; i < 32; i++)
        p[i / 4][i % 4] = bf16_pack(x[2 * i], x[2 * i + 1]);
}

/* ---- a warpgroup's rows ------------------------------------------------------- */

static __device__ __forceinline__ void slot_wait(const struct slot &s)
{
    barrier_wait(s.full, s.parity);
}

static __device__ __forceinline__ void rows_clear(struct rows_of<128> &st)
{
    st.m[0] = st.m[1] = -FLT_MAX;
    st.l[0] = st.l[1] = 0.0f;
}

static __device__ __forceinline__ void item_store(const struct halves_view &a, int item,
                                                  int group,
                                                  const struct rows_of<128> &st)
{
    int row = group * QUERIES + threadIdx.x % GROUP / WARP * 16 +
              threadIdx.x % WARP / 4;

    rows_store(a.rows, item / a.tiles, (int64_t)item_row(a, item) + row, st);
}

static __device__ __forceinline__ void sums_shrink(struct rows_of<128> &st,
                                                   const float (&shrink)[2])
{
    bool same = shrink[0] == 1.0f && shrink[1] == 1.0f;

    if (!__any_sync(0xffffffffu, !same))
        return;
#pragma unroll
    for (int i = 0; i < 64; i++)
        st.o[i] *= shrink[i / 2 % 2];
}

static __device__ __forceinline__ void shares_add(struct rows_of<128> &st,
                                                  const float (&shrink)[2],
                                                  const float (&sum)[2][2])
{
#pragma unroll
    for (int row = 0; row < 2; row++)
        st.l[row] = __fmaf_rn(st.l[row], shrink[row], sum[row][0] + sum[row][1]);
}

/* ---- turns at the matrix unit -------------------------------------------------- */

enum product { LOGITS, VALUES };

/* The barrier at which a warpgroup waits until it may put a product. */
static __device__ __forceinline__ int turn_of(enum product kind, int group)
{
    return TURN + kind * WORKERS + group;
}

/* Next is the other product, of the warpgroup before: QK 0, PV 2, QK 1. */
static __device__ __forceinline__ void turn_next(enum product kind, int group)
{
    turn_pass(turn_of(kind == LOGITS ? VALUES : LOGITS, (group + 2) % WORKERS));
}

/* The first turn of keys is that of warpgroup 0; before that of warpgroup 1 there are
 * no values yet. */
static __device__ __forceinline__ void turns_begin(int group)
{
    if (group == 1)
        turn_next(VALUES, 1);
    if (group == 2) {
        turn_wait(turn_of(VALUES, 2));
        turn_next(VALUES, 2);
    }
}

/* Past the last tile a turn is passed on only where somebody waits for it: warpgroup 2
 * has its keys behind the values of warpgroup 0, its values behind no keys. */
static __device__ __forceinline__ void turns_end(int group)
{
    if (group == 0)
        turn_next(LOGITS, 0);
}

/* ---- all tiles of a block ------------------------------------------------------ */

template <bool TURNS>
static __device__ void attend_all(const struct halves_view &a, uint32_t room, int group)
{
    struct walk w = walk_begin(a);
    int end = walk_end(a), tile = 0, item = 0;
    struct rows_of<128> st;
    bool begins = true;

    if (TURNS)
        turns_begin(group);
    while (w.item < end) {
        struct slot q = slot_of(room, SLOT_Q, item), k = slot_of(room, SLOT_K, tile);
        struct slot v = slot_of(room, SLOT_V, tile);
        float x[64], shrink[2], sum[2][2] = {};
        struct walk here = w;
        bool first = begins;
        uint32_t p[8][4];

        if (first) {
            slot_wait(q);
            rows_clear(st);
        }
        slot_wait(k);
        if (TURNS)
            turn_wait(turn_of(LOGITS, group));
        products_begin();
        logits_put(q.at + group * (QUERIES * 128), k.at, x);
        products_commit();
        if (TURNS)
            turn_next(LOGITS, group);
        walk_next(a, w);
        begins = item_begins(w);
        tile++;
        item += begins;
        products_wait<0>();
        warp_arrive(k.empty);
        if (begins)
            warp_arrive(q.empty);
        logits_mend(a, here, x);
        maxima_move(a.rows.scale, st.m, x, shrink);
        powers_make(a.rows.scale, st.m, x, sum);
        operands_make(x, p);
        if (!first)
            sums_shrink(st, shrink);
        slot_wait(v);
        if (TURNS)
            turn_wait(turn_of(VALUES, group));
        products_begin();
        values_put(v.at, p, !first, st.o);
        products_commit();
        if (TURNS && (w.item < end || group == 0))
            turn_next(VALUES, group);
        shares_add(st, shrink, sum);
        products_wait<0>();
        warp_arrive(v.empty);
        if (begins)
            item_store(a, here.item, group, st);
    }
    if (TURNS)
        turns_end(group);
}

template <bool TURNS>
static __global__ void __launch_bounds__(THREADS, 1)
    halves_kernel(const __grid_constant__ struct halves_view a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ char memory[];
    uint32_t room = (shared_at(memory) + 1023u) & ~1023u;
    /* from lane 0, so that the compiler knows it to be the same in all of them */
    int group = __shfl_sync(0xffffffffu, threadIdx.x / GROUP, 0);

    if (threadIdx.x == 0) {
        for (int i = 0; i < SLOTS; i++) {
            struct slot s = slot_of(room, (enum slot_kind)(i / STAGES), i % STAGES);

            barrier_init(s.full, 1);
            barrier_init(s.empty, RELEASES);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (group == WORKERS) {
        registers_give<FETCH_REGS>();
        if (threadIdx.x == WORKERS * GROUP)
            fetch_all(a, room);
        __syncwarp();
    } else {
        registers_take<WORK_REGS>();
        attend_all<TURNS>(a, room, group);
    }
#endif
}

/* ---- launching ---------------------------------------------------------------- */

/* Rows that the copy engine can fetch. */
static bool rows_fit(const struct tensor *t)
{
    return t->dtype == DT_BF16 && (uintptr_t)t->data % 16 == 0 &&
           t->stride[0] % 8 == 0 && t->stride[1] % 8 == 0 && t->stride[2] == 1 &&
           t->shape[1] <= INT32_MAX - KEYS;
}

static int64_t query_tiles(const struct tensor *q)
{
    return (q->shape[1] + ROWS - 1) / ROWS;
}

extern "C" bool attention_halves_fits(const struct op_attention *a)
{
    int64_t keys = 0;

    if (a->queries[0].q.shape[2] != DIM || a->rel_bias || !(a->scale > 0.0f))
        return false;
    for (int i = 0; i < a->n_queries; i++) {
        const struct attn_queries *qs = &a->queries[i];

        if (!rows_fit(&qs->q) || !rows_store_fit(&qs->o) ||
            query_tiles(&qs->q) * qs->q.shape[0] > INT32_MAX / 2)
            return false;
    }
    for (int i = 0; i < a->n_keys; i++) {
        if (!rows_fit(&a->keys[i].k) || !rows_fit(&a->keys[i].v))
            return false;
        keys += a->keys[i].n;
    }
    return keys > 0;
}

/* Rows [0, n) of every head, `rows` at a time: channels of a half, rows, halves, heads.
 */
static cudaError_t rows_map_make(map_encode encode, CUtensorMap *m,
                                 const struct tensor *t, int64_t n, cuuint32_t rows)
{
    cuuint64_t dims[4] = {DIM / 2, (cuuint64_t)n, 2, (cuuint64_t)t->shape[0]};
    cuuint64_t strides[3] = {2 * (cuuint64_t)t->stride[1], DIM,
                             2 * (cuuint64_t)t->stride[0]};
    cuuint32_t box[4] = {DIM / 2, rows, 2, 1};

    return map_make(encode, m, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, t->data, 4, dims,
                    strides, box);
}

static cudaError_t parts_make(map_encode encode, const struct op_attention *a,
                              struct halves_view *v)
{
    cudaError_t st = cudaSuccess;
    int64_t first = 0;

    for (int i = 0; i < a->n_keys && st == cudaSuccess; i++) {
        const struct attn_keys *ks = &a->keys[i];
        struct part_view *p = &v->part[v->n_parts];

        if (ks->n == 0)
            continue;
        v->n_parts++;
        p->first = first;
        p->n = (int)ks->n;
        first += ks->n;
        st = rows_map_make(encode, &p->k, &ks->k, ks->n, KEYS);
        if (st == cudaSuccess)
            st = rows_map_make(encode, &p->v, &ks->v, ks->n, KEYS);
    }
    return st;
}

static int64_t key_tiles(const struct op_attention *a)
{
    int64_t tiles = 0;

    for (int i = 0; i < a->n_keys; i++)
        tiles += (a->keys[i].n + KEYS - 1) / KEYS;
    return tiles;
}

/* Items of a block: blocks of RUN tiles, were they all to end at once. */
static int run_of(int64_t items, int64_t tiles, int64_t units)
{
    int64_t rounds = (items * tiles + units * RUN - 1) / (units * RUN);
    int64_t blocks = rounds * units;

    return (int)((items + blocks - 1) / blocks);
}

template <bool TURNS>
static cudaError_t queries_launch(map_encode encode, struct halves_view *v,
                                  int64_t tiles, int units, cudaStream_t stream)
{
    const struct tensor *q = &v->rows.q;
    cudaError_t st = shared_allow(halves_kernel<TURNS>, SHARED);

    v->tiles = (int)query_tiles(q);
    v->items = v->tiles * (int)q->shape[0];
    if (st != cudaSuccess || v->items == 0)
        return st;
    v->run = run_of(v->items, tiles, units);
    st = rows_map_make(encode, &v->q, q, q->shape[1], ROWS);
    if (st != cudaSuccess)
        return st;
    halves_kernel<TURNS>
        <<<(v->items + v->run - 1) / v->run, THREADS, SHARED, stream>>>(*v);
    return cudaGetLastError();
}

extern "C" cudaError_t attention_halves_launch(const struct op_attention *a,
                                               const struct launch_limits *l,
                                               cudaStream_t stream)
{
    int64_t tiles = key_tiles(a);
    struct halves_view v = {};
    map_encode encode;
    cudaError_t st;

    if (a->queries[0].q.shape[0] == 0)
        return cudaSuccess;
    st = map_encode_find(&encode);
    rows_view_fill(&v.rows, a);
    v.bias = 1.0f / a->scale;
    if (st == cudaSuccess)
        st = parts_make(encode, a, &v);
    for (int i = 0; i < a->n_queries && st == cudaSuccess; i++) {
        rows_view_queries(&v.rows, &a->queries[i]);
        st = tiles <= FEW ? queries_launch<true>(encode, &v, tiles, l->units, stream)
                          : queries_launch<false>(encode, &v, tiles, l->units, stream);
    }
    return st;
}
