/* attention_hopper.cu - attention over codes on Hopper, with biases or any number of
 * keys
 *
 * Heads of 128: i8 q and k (scales per token of q, per 4 tokens of k) with transposed
 * e4m3 values. What has no biases, and parts of multiples of 4 keys, is for
 * attention_codes.cu. A block takes 128 queries of a head. One warpgroup fetches tiles
 * of 128 keys and their values into a ring of stages; two others, with 64 queries each,
 * multiply. They take turns: one puts the product of a tile with its values and that of
 * its queries with the next tile, and works on its softmax while the other's run.
 *
 * A thread's logits in the result layout of a product must be its probabilities in the
 * operand layout of the next one: as it holds 4 keys in a row there, the keys of each
 * 16 are put in another order (key_row).
 *
 * P is e4m3 against the running maximum, times 448. The matrix unit adds up few bits,
 * so each tile has a sum of its own, which is then scaled by the values' scales and
 * added in fp32.
 *
 * Per row nothing depends on other rows; tiles are counted from the first key of every
 * part.
 */
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"

enum {
    DIM = 128,
    KEYS = 128,   /* of a tile */
    QUERIES = 64, /* of a warpgroup */
    WORKERS = 2,  /* warpgroups that multiply */
    THREADS = (WORKERS + 1) * GROUP,
    STAGES = 4,
    LAG = 2,          /* tiles on their way before one is waited for */
    PIECES = 8,       /* of 16 bytes of a row */
    TILE = 128 * 128, /* bytes of 128 rows */
    QUERY_BYTES = WORKERS * QUERIES * DIM,
    STAGE_BYTES = 2 * TILE,
    /* per stage: scales of k (32) and of v (128), key biases (128) */
    V_SCALE = 512,
    BIAS = 1024,
    EXTRA = BIAS + 512,
    SHARED = QUERY_BYTES + STAGES * (STAGE_BYTES + EXTRA) + 16 * STAGES + 1024
};

/* Probabilities are scaled by 448: base 2. */
#define LIFT 8.807354922057604f

/* The block's shared memory, as addresses. */
struct room {
    uint32_t query, stage, extra, full, empty;

    __device__ room(const char *begin)
    {
        query = (shared_at(begin) + 1023u) & ~1023u;
        stage = query + QUERY_BYTES;
        extra = stage + STAGES * STAGE_BYTES;
        full = extra + STAGES * EXTRA;
        empty = full + 8 * STAGES;
    }
    __device__ uint32_t k_tile(int s) const
    {
        return stage + s * STAGE_BYTES;
    }
    __device__ uint32_t v_tile(int s) const
    {
        return k_tile(s) + TILE;
    }
    __device__ uint32_t k_scale(int s) const
    {
        return extra + s * EXTRA;
    }
    __device__ uint32_t v_scale(int s) const
    {
        return k_scale(s) + V_SCALE;
    }
    __device__ uint32_t bias(int s) const
    {
        return k_scale(s) + BIAS;
    }
};

static __device__ __forceinline__ float2 shared_float2(uint32_t at)
{
    float2 v;

    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(at));
    return v;
}

/* ---- fetching ------------------------------------------------------------------ */

/* The row of the tile that holds a key. */
static __device__ __forceinline__ int key_row(int key)
{
    return (key & ~15) + (key >> 1 & 1) * 8 + (key >> 2 & 3) * 2 + (key & 1);
}

/* Keys [at, at + 128) of a head, those from n on as zeros. A thread takes one 16-byte
 * piece of every STEP-th row, so from one copy to the next both addresses move on by
 * the same amount. */
static __device__ __forceinline__ void keys_fetch(uint32_t tile, const struct tensor &t,
                                                  int64_t h, int64_t at, int64_t n)
{
    enum { STEP = GROUP / PIECES };
    int lane = threadIdx.x % GROUP, row = lane / PIECES, piece = lane % PIECES;
    int64_t stride = t.stride[1];
    const char *from = (const char *)t.data + h * t.stride[0] + (at + row) * stride +
                       piece * 16;
    uint32_t to = tile_at(tile, key_row(row), piece);

    if (n - at >= KEYS) {
#pragma unroll
        for (int i = 0; i < KEYS / STEP; i++)
            copy16(to + i * STEP * 128, from + i * STEP * stride, true);
        return;
    }
    for (int i = 0; i < KEYS / STEP; i++) {
        bool there = at + row + i * STEP < n;

        copy16(to + i * STEP * 128,
               there ? from + i * STEP * stride : from - row * stride, there);
    }
}

/* Values: 128 channels by 128 tokens; and their scales, and those of k. */
static __device__ __forceinline__ void values_fetch(const struct room &r, int s,
                                                    const struct attn_keys &part,
                                                    int64_t h, int64_t at)
{
    enum { STEP = GROUP / PIECES };
    const struct tensor &v = part.v;
    const struct scales &ks = part.k.scales, &vs = v.scales;
    int lane = threadIdx.x % GROUP;
    const char *from = (const char *)v.data + h * v.stride[0] +
                       lane / PIECES * v.stride[1] + at + lane % PIECES * 16;
    uint32_t to = tile_at(r.v_tile(s), lane / PIECES, lane % PIECES);

#pragma unroll
    for (int i = 0; i < DIM / STEP; i++)
        copy16(to + i * STEP * 128, from + i * STEP * v.stride[1], true);
    copy4(r.v_scale(s) + lane * 4,
          vs.data + h * vs.stride[0] + lane * vs.stride[1] + at / KEYS, true);
    if (lane < KEYS / 4) {
        bool there = at + lane * 4 < part.n;

        copy4(r.k_scale(s) + lane * 4,
              ks.data + h * ks.stride[0] + (there ? at / 4 + lane : 0) * ks.stride[1],
              there);
    }
}

static __device__ void tile_fetch(const struct rows_view &a, const struct room &r,
                                  int s, const struct attn_keys &part, int64_t h,
                                  int64_t at, int64_t key)
{
    int lane = threadIdx.x % GROUP;

    keys_fetch(r.k_tile(s), part.k, h, at, part.n);
    values_fetch(r, s, part, h, at);
    if (a.key_bias) {
        bool there = at + lane < part.n;

        copy4(r.bias(s) + lane * 4, a.key_bias + key + (there ? lane : 0), there);
    }
}

/* Tiles that were asked for, and those among them that were handed over. */
struct fetched {
    int64_t tiles, handed;
};

/* All but the last LEFT tiles that were asked for are there. */
template <int LEFT>
static __device__ __forceinline__ void tiles_hand_over(const struct room &r,
                                                       struct fetched &f)
{
    copies_wait<LEFT>();
    shared_publish();
    for (; f.handed < f.tiles - LEFT; f.handed++)
        barrier_arrive(r.full + 8 * (f.handed % STAGES));
}

/* A stage to fill. Who has to wait for it first hands over what is on its way. */
static __device__ __forceinline__ int stage_take(const struct room &r,
                                                 struct fetched &f)
{
    int s = f.tiles % STAGES, parity = (f.tiles / STAGES - 1) & 1;

    if (f.tiles >= STAGES && !barrier_passed(r.empty + 8 * s, parity)) {
        tiles_hand_over<0>(r, f);
        barrier_wait(r.empty + 8 * s, parity);
    }
    return s;
}

static __device__ void fetch_all(const struct rows_view &a, const struct room &r,
                                 int64_t h)
{
    struct fetched f = {0, 0};
    int64_t key = 0;

    for (int p = 0; p < a.n_keys; p++) {
        const struct attn_keys &part = a.keys[p];

        for (int64_t at = 0; at < part.n; at += KEYS) {
            int s = stage_take(r, f);

            tile_fetch(a, r, s, part, h, at, key + at);
            copies_commit();
            f.tiles++;
            tiles_hand_over<LAG>(r, f);
        }
        key += part.n;
    }
    tiles_hand_over<0>(r, f);
}

/* ---- one tile ------------------------------------------------------------------ */

static __device__ __forceinline__ uint32_t codes_pack(float a, float b, float c,
                                                      float d)
{
    uint32_t lo = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE,
                                           __NV_E4M3);
    uint32_t hi = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE,
                                           __NV_E4M3);

    return lo | hi << 16;
}

/* The key, within the tile, of element i of the result. */
static __device__ __forceinline__ int key_of(int i, int t)
{
    return i / 8 * 16 + 4 * t + i / 4 % 2 * 2 + i % 2;
}

/* Logits: raw products become x, in units of log2. */
static __device__ __forceinline__ void logits_make(const struct room &r, int s,
                                                   const struct rows_state &st,
                                                   const int (&raw)[64], float (&x)[64])
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: its mantissa holds an integer */
    int t = threadIdx.x % 4;

#pragma unroll
    for (int a = 0; a < 8; a++) {
        float ks = shared_float(r.k_scale(s) + (4 * a + t) * 4);
        float w0 = st.scale[0] * ks, w1 = st.scale[1] * ks;

#pragma unroll
        for (int i = 8 * a; i < 8 * a + 8; i++) {
            float v = __int_as_float(raw[i] + 0x4b400000) - magic;

            x[i] = v * (i % 4 < 2 ? w0 : w1);
        }
    }
}

/* Biases, and nothing for keys from n on. */
static __device__ __forceinline__ void logits_bias(const struct room &r, int s,
                                                   bool biased, int64_t n,
                                                   float (&x)[64])
{
    const float log2_e = 1.4426950408889634f;
    int t = threadIdx.x % 4;

    if (biased) {
#pragma unroll
        for (int i = 0; i < 64; i++)
            x[i] += shared_float(r.bias(s) + key_of(i, t) * 4) * log2_e;
    }
    if (n < KEYS) {
#pragma unroll
        for (int i = 0; i < 64; i++)
            x[i] = key_of(i, t) < n ? x[i] : -INFINITY;
    }
}

/* x becomes the probabilities, times 2^LIFT; returns by how much older sums shrink. */
static __device__ __forceinline__ void softmax_step(struct rows_state &st,
                                                    float (&x)[64], float (&shrink)[2])
{
    float base[2];

#pragma unroll
    for (int row = 0; row < 2; row++) {
        float top = st.m[row], sum = 0.0f;

#pragma unroll
        for (int i = 0; i < 32; i++)
            top = fmaxf(top, x[i / 2 * 4 + row * 2 + i % 2]);
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        base[row] = top == -INFINITY ? 0.0f : top;
        shrink[row] = exp2_fast(st.m[row] - base[row]);
        st.m[row] = top;
        base[row] -= LIFT;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            int at = i / 2 * 4 + row * 2 + i % 2;

            x[at] = exp2_fast(x[at] - base[row]);
            sum += x[at];
        }
        st.l[row] = __fmaf_rn(st.l[row], shrink[row], sum);
    }
}

/* The probabilities as operands of the next product. */
static __device__ __forceinline__ void operands_make(const float (&x)[64],
                                                     uint32_t (&p)[4][4])
{
#pragma unroll
    for (int a = 0; a < 8; a++) {
        p[a / 2][a % 2 * 2] = codes_pack(x[8 * a], x[8 * a + 1], x[8 * a + 4],
                                         x[8 * a + 5]);
        p[a / 2][a % 2 * 2 + 1] = codes_pack(x[8 * a + 2], x[8 * a + 3], x[8 * a + 6],
                                             x[8 * a + 7]);
    }
}

/* o = o * shrink + sum * scales of v */
static __device__ __forceinline__ void codes_add(const struct room &r, int s,
                                                 struct rows_state &st,
                                                 const float (&sum)[64],
                                                 const float (&shrink)[2])
{
    int t = threadIdx.x % 4;

#pragma unroll
    for (int j = 0; j < 16; j++) {
        float2 vs = shared_float2(r.v_scale(s) + (8 * j + 2 * t) * 4);

#pragma unroll
        for (int e = 0; e < 4; e++)
            st.o[4 * j + e] = __fmaf_rn(sum[4 * j + e], e % 2 ? vs.y : vs.x,
                                        st.o[4 * j + e] * shrink[e / 2]);
    }
}

/* Put the product of the queries with a tile of keys. */
static __device__ __forceinline__ void logits_put(const struct room &r, int s,
                                                  uint32_t query, int (&raw)[64])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        product_i8(raw, matrix_at(query + 32 * i, 16),
                   matrix_at(r.k_tile(s) + 32 * i, 16), i > 0);
}

/* Put the product of the probabilities with a tile of values. */
static __device__ __forceinline__ void values_put(const struct room &r, int s,
                                                  const uint32_t (&p)[4][4],
                                                  float (&sum)[64])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        product_e4m3(sum, p[i], matrix_at(r.v_tile(s) + 32 * i, 16), i > 0);
}

/* From raw logits to operands. */
static __device__ __forceinline__ void probabilities_make(
    const struct room &r, int s, bool biased, int64_t n, struct rows_state &st,
    const int (&raw)[64], float (&shrink)[2], uint32_t (&p)[4][4])
{
    float x[64];

    logits_make(r, s, st, raw, x);
    if (biased || n < KEYS)
        logits_bias(r, s, biased, n, x);
    softmax_step(st, x, shrink);
    operands_make(x, p);
}

/* ---- a warpgroup's queries ----------------------------------------------------- */

/* Rows of q to shared memory, zeros past the last. */
static __device__ void queries_load(const struct tensor &q, int64_t h, int64_t first,
                                    uint32_t to, int group)
{
    const char *from = (const char *)q.data + h * q.stride[0];

    for (int i = threadIdx.x % GROUP; i < QUERIES * PIECES; i += GROUP) {
        int row = i / PIECES, piece = i % PIECES;
        bool there = first + row < q.shape[1];

        copy16(tile_at(to, row, piece),
               from + (there ? first + row : 0) * q.stride[1] + piece * 16, there);
    }
    copies_commit();
    copies_wait<0>();
    shared_publish();
    group_wait(1 + group);
}

static __device__ void attend_all(const struct rows_view &a, const struct room &r,
                                  int64_t h, int group)
{
    int64_t first = ((int64_t)blockIdx.x * WORKERS + group) * QUERIES, tile = 0;
    uint32_t query = r.query + group * (QUERIES * DIM);
    const int turn = 1 + WORKERS; /* barriers: groups, then turns */
    struct place at = {0, 0, 0};
    struct rows_state st;
    uint32_t p[4][4];
    float sum[64];
    int raw[64];
    bool more = place_next(a, at, 0);

    queries_load(a.q, h, first, query, group);
    first += threadIdx.x % GROUP / WARP * 16 + threadIdx.x % WARP / 4;
    rows_start(a, h, first, true, st);
    if (more) {
        barrier_wait(r.full, 0);
        products_begin();
        logits_put(r, 0, query, raw);
        products_commit();
        products_wait<0>();
        if (group == 1)
            turn_pass(turn);
    }
    for (; more; tile++) {
        int s = tile % STAGES, next = (tile + 1) % STAGES;
        int64_t n = a.keys[at.part].n - at.at;
        float shrink[2];

        probabilities_make(r, s, a.key_bias != NULL, n, st, raw, shrink, p);
        more = place_next(a, at, KEYS);
        if (more)
            barrier_wait(r.full + 8 * next, (tile + 1) / STAGES & 1);
        turn_wait(turn + group);
        products_begin();
        values_put(r, s, p, sum);
        products_commit();
        logits_put(r, more ? next : s, query, raw); /* the last one for nothing */
        products_commit();
        if (group == 0 || more)
            turn_pass(turn + 1 - group);
        products_wait<1>();
        codes_add(r, s, st, sum, shrink);
        warp_arrive(r.empty + 8 * s);
        products_wait<0>();
    }
    queries_store(a, h, first, LIFT, st);
}

static __global__ void __launch_bounds__(THREADS, 1)
    hopper_kernel(const __grid_constant__ struct rows_view a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ char memory[];
    struct room r(memory);
    int group = threadIdx.x / GROUP;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(r.full + 8 * s, GROUP);
            barrier_init(r.empty + 8 * s, WORKERS * GROUP / WARP * WARP_ARRIVALS);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (group == WORKERS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        fetch_all(a, r, blockIdx.y);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        attend_all(a, r, blockIdx.y, group);
    }
#endif
}

/* ---- launching ----------------------------------------------------------------- */

static bool aligned(const struct tensor *t)
{
    return (uintptr_t)t->data % 16 == 0 && t->stride[0] % 16 == 0 &&
           t->stride[1] % 16 == 0;
}

extern "C" bool attention_hopper_fits(const struct op_attention *a)
{
    if (a->queries[0].q.dtype != DT_I8 || a->queries[0].q.shape[2] != DIM ||
        a->rel_bias)
        return false;
    for (int i = 0; i < a->n_queries; i++) {
        const struct tensor *q = &a->queries[i].q;

        if (!aligned(q) || q->scales.kind != SCALE_ROW)
            return false;
    }
    for (int i = 0; i < a->n_keys; i++) {
        const struct tensor *k = &a->keys[i].k, *v = &a->keys[i].v;

        if (v->dtype != DT_E4M3 || k->scales.kind != SCALE_GROUP ||
            k->scales.rows != 4 || !aligned(k) || !aligned(v))
            return false;
    }
    return true;
}

static cudaError_t queries_launch(const struct rows_view *v, cudaStream_t stream)
{
    const int64_t per = WORKERS * QUERIES;
    dim3 grid((unsigned)((v->q.shape[1] + per - 1) / per), (unsigned)v->q.shape[0]);
    cudaError_t st = shared_allow(hopper_kernel, SHARED);

    if (st != cudaSuccess || grid.x == 0 || grid.y == 0)
        return st;
    hopper_kernel<<<grid, THREADS, SHARED, stream>>>(*v);
    return cudaGetLastError();
}

extern "C" cudaError_t attention_hopper_launch(const struct op_attention *a,
                                               cudaStream_t stream)
{
    cudaError_t st = cudaSuccess;
    struct rows_view v;

    rows_view_fill(&v, a);
    for (int i = 0; i < a->n_queries && st == cudaSuccess; i++) {
        rows_view_queries(&v, &a->queries[i]);
        st = queries_launch(&v, stream);
    }
    return st;
}
