/* attention_halves.cu - attention over bf16, heads of 128, on Hopper
 *
 * A block has a run of items: an item is a head and 128 of its queries. Two warpgroups
 * take 64 queries each; one thread of a third one has tiles of 128 keys and their
 * values fetched, two of each ahead, and the queries of the item after this one.
 *
 * The tiles of all items of a block are one stream. In a turn a warpgroup puts the
 * product of its queries with the next tile of keys, then that of P with the values of
 * this tile, and lets the other one have its turn; while all four products run it makes
 * P of the next tile, whose logits are there after the first of them:
 *
 *     matrix unit   | 0: QK' PV | 1: QK' PV | 0: QK" PV' | 1: QK" PV' |
 *     warpgroup 0          softmax of QK'   |      softmax of QK"
 *     warpgroup 1                      softmax of QK'    |    ...
 *
 * At the end of an item the next tile is the first of the next item, so results are
 * written while products of the other warpgroup run. With few keys, where an item is
 * only a few tiles, that is what counts; runs are long there.
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
 * first key of every part. Whether this kernel is taken depends on the number of keys
 * alone, of rows that it can fetch and write: with many, attention_hopper.cu is.
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
    GROUP = 128,  /* threads of a warpgroup */
    QUERIES = 64, /* of a warpgroup */
    WORKERS = 2,  /* warpgroups that multiply */
    THREADS = (WORKERS + 1) * GROUP,
    STAGES = 2,         /* tiles of keys, of values, queries of items */
    HALF = 128 * 128,   /* bytes of 128 rows of 64 channels */
    BOX = 2 * HALF,     /* of 128 rows */
    SLOTS = 3 * STAGES, /* k, v, q */
    SHARED = SLOTS * (BOX + 16) + 1024,
    RELEASES = WORKERS * GROUP / WARP, /* of a slot: one per warp */
    TURN = 1,                          /* barriers */
    FETCH_REGS = 24,
    WORK_REGS = 240,
    RUN = 128, /* tiles that a block should have */
    FEW = 1920 /* keys up to which this is taken */
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
    return item % a.tiles * (WORKERS * QUERIES);
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
    uint32_t i = (uint32_t)kind * STAGES + count % STAGES;
    uint32_t full = room + SLOTS * BOX + 16 * i;

    return {room + i * BOX, full, full + 8, count / STAGES & 1};
}

/* ---- fetching: one thread ----------------------------------------------------- */

static __device__ __forceinline__ void box_fetch(uint32_t room, enum slot_kind kind,
                                                 int count, const CUtensorMap *map,
                                                 int row, int h)
{
    struct slot s = slot_of(room, kind, count);

    if (count >= STAGES)
        barrier_wait(s.empty, s.parity ^ 1);
    barrier_expect(s.full, BOX);
    box4_copy(s.at, map, 0, row, 0, h, s.full);
}

/* In the order in which they are used: values of a tile after the keys of the next. */
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
        int at = i / 4 * (HALF / 16) + i % 4 * 2;

        product_bf16(x, a + at, b + at, 1);
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

/* Running maxima (base 2) and this thread's shares of the sums, of its two rows. */
struct tops {
    float m[2], l[2];
};

static __device__ __forceinline__ float quad_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

/* Raw logits become probabilities; returns by how much older sums shrink. */
static __device__ __forceinline__ void softmax_step(float scale, struct tops &st,
                                                    float (&x)[64], float (&shrink)[2])
{
    const float leap = 8.0f;
    float top[2][2], sum[2][2] = {};

#pragma unroll
    for (int i = 0; i < 64; i++) {
        float &to = top[i / 2 % 2][i / 4 % 2];

        to = i < 8 && i % 2 == 0 ? x[i] : fmaxf(to, x[i]);
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float most = quad_max(fmaxf(top[row][0], top[row][1])) * scale;

        most = most > st.m[row] + leap ? most : st.m[row];
        shrink[row] = exp2_fast(st.m[row] - most); /* one, if it stays */
        st.m[row] = most;
    }
#pragma unroll
    for (int i = 0; i < 64; i++) {
        int row = i / 2 % 2;

        x[i] = exp2_fast(__fmaf_rn(x[i], scale, -st.m[row]));
        sum[row][i / 4 % 2] += x[i];
    }
#pragma unroll
    for (int row = 0; row < 2; row++)
        st.l[row] = __fmaf_rn(st.l[row], shrink[row], sum[row][0] + sum[row][1]);
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

/* The tile's queries and keys are used up: of queries, when it is the item's last. */
static __device__ __forceinline__ void logits_release(const struct halves_view &a,
                                                      uint32_t room, struct walk w,
                                                      int tile, int item)
{
    warp_arrive(slot_of(room, SLOT_K, tile).empty);
    walk_next(a, w);
    if (item_begins(w))
        warp_arrive(slot_of(room, SLOT_Q, item).empty);
}

static __device__ __forceinline__ void tops_clear(struct tops &st)
{
    st = {{-FLT_MAX, -FLT_MAX}, {0.0f, 0.0f}};
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

/* The first tile of all: its P, with nothing else under way. */
static __device__ __forceinline__ void rows_begin(const struct halves_view &a,
                                                  uint32_t room, const struct walk &w,
                                                  int group, struct tops &next,
                                                  uint32_t (&p)[8][4])
{
    struct slot q = slot_of(room, SLOT_Q, 0), k = slot_of(room, SLOT_K, 0);
    float x[64], shrink[2];

    slot_wait(q);
    slot_wait(k);
    products_begin();
    logits_put(q.at + group * (QUERIES * 128), k.at, x);
    products_commit();
    products_wait<0>();
    logits_release(a, room, w, 0, 0);
    logits_mend(a, w, x);
    tops_clear(next);
    softmax_step(a.rows.scale, next, x, shrink);
    operands_make(x, p);
    slot_wait(slot_of(room, SLOT_V, 0));
}

/* Past the last tile the loop multiplies that one's keys again, for nothing. */
static __device__ void attend_all(const struct halves_view &a, uint32_t room, int group)
{
    struct walk w = walk_begin(a), before = w;
    int end = walk_end(a), tile = 0, item = 0;
    struct rows_of<128> st;
    bool begins = true;
    struct tops next;
    uint32_t p[8][4];

    rows_begin(a, room, w, group, next, p);
    if (group == 1)
        turn_pass(TURN);
    for (bool more = true; more; tile++) {
        struct slot q, k, v = slot_of(room, SLOT_V, tile);
        float x[64], shrink[2];
        bool first = begins;

        st.m[0] = next.m[0];
        st.m[1] = next.m[1];
        st.l[0] = next.l[0];
        st.l[1] = next.l[1];
        before = w;
        walk_next(a, w);
        more = w.item < end;
        w = more ? w : before;
        begins = !more || item_begins(w);
        item += more && begins;
        q = slot_of(room, SLOT_Q, item);
        k = slot_of(room, SLOT_K, tile + more);
        if (more && begins)
            slot_wait(q);
        if (more)
            slot_wait(k);
        turn_wait(TURN + group);
        products_begin();
        logits_put(q.at + group * (QUERIES * 128), k.at, x);
        products_commit();
        values_put(v.at, p, !first, st.o);
        products_commit();
        if (group == 0 || more)
            turn_pass(TURN + 1 - group);
        products_wait<1>();
        if (more)
            logits_release(a, room, w, tile + 1, item);
        logits_mend(a, w, x);
        if (begins)
            tops_clear(next);
        softmax_step(a.rows.scale, next, x, shrink);
        /* The next values are waited for here because the compiler moves the wait for
         * this tile's sums up to the last branch: the powers must be before that. */
        if (more)
            slot_wait(slot_of(room, SLOT_V, tile + 1));
        products_wait<0>();
        warp_arrive(v.empty);
        operands_make(x, p);
        if (begins)
            item_store(a, before.item, group, st);
        else
            sums_shrink(st, shrink);
    }
}

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
        attend_all(a, room, group);
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
    return (q->shape[1] + WORKERS * QUERIES - 1) / (WORKERS * QUERIES);
}

extern "C" bool attention_halves_fits(const struct op_attention *a,
                                      const struct launch_limits *l)
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
    return keys > 0 && (keys <= FEW || l->unproven);
}

/* Rows [0, n) of every head, 128 at a time: channels of a half, rows, halves, heads. */
static cudaError_t rows_map_make(map_encode encode, CUtensorMap *m,
                                 const struct tensor *t, int64_t n)
{
    cuuint64_t dims[4] = {DIM / 2, (cuuint64_t)n, 2, (cuuint64_t)t->shape[0]};
    cuuint64_t strides[3] = {2 * (cuuint64_t)t->stride[1], DIM,
                             2 * (cuuint64_t)t->stride[0]};
    cuuint32_t box[4] = {DIM / 2, KEYS, 2, 1};

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
        st = rows_map_make(encode, &p->k, &ks->k, ks->n);
        if (st == cudaSuccess)
            st = rows_map_make(encode, &p->v, &ks->v, ks->n);
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

static cudaError_t queries_launch(map_encode encode, struct halves_view *v,
                                  int64_t tiles, int units, cudaStream_t stream)
{
    const struct tensor *q = &v->rows.q;
    cudaError_t st = shared_allow(halves_kernel, SHARED);

    v->tiles = (int)query_tiles(q);
    v->items = v->tiles * (int)q->shape[0];
    if (st != cudaSuccess || v->items == 0)
        return st;
    v->run = run_of(v->items, tiles, units);
    st = rows_map_make(encode, &v->q, q, q->shape[1]);
    if (st != cudaSuccess)
        return st;
    halves_kernel<<<(v->items + v->run - 1) / v->run, THREADS, SHARED, stream>>>(*v);
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
        st = queries_launch(encode, &v, tiles, l->units, stream);
    }
    return st;
}
