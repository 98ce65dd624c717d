/* attention_codes.cu - attention over 8-bit codes, heads of 128, on Hopper
 *
 * i8 q and k (scales per token of q, per 4 tokens of k), e4m3 values, transposed, with
 * a scale per channel and 128 tokens. A block takes 192 queries of a head: three
 * warpgroups with 64 each work on their own; the first warp of a fourth one has tiles
 * of 128 keys and their values fetched into a ring of stages.
 *
 * A warpgroup has the product of its queries with a tile of keys, turns the integers
 * into exponents (base 2), into probabilities, into codes; has their product with the
 * values; and adds that up. One warpgroup's products run while another works on its
 * exponents. They take turns at the exponential unit, which is as busy as the matrix
 * unit: without turns they end up doing the same thing at the same time. In its turn a
 * warp does nothing but exponentials, one after another: a code that is made right
 * behind its powers waits for them, and the unit with it.
 *
 * Keys of a tile. A thread must find in its logits the four keys in a row of which it
 * has to make an operand of the next product. So of each four keys 4 g + 2 u + s, row
 * 64 u + 2 g + s of the tile has one: two boxes of the tensor map of k, whose axes are
 * channel, key mod 4, key / 4, head.
 *
 * Running maximum. Exponents are x - m; m of a row changes only when one would come
 * out above LIMIT, or in the first tile: then the row's largest becomes
 * LIMIT - HEADROOM, of which a code has the power exactly. That a warp looks is decided
 * by all of its rows, what it does to a row by the row alone. Keys past the last of a
 * part weigh nothing.
 *
 * Codes of P are e4m3, 448 at most. The matrix unit adds up few bits, so each tile has
 * a sum of its own, which is then scaled by the values' scales and added in fp32. The
 * sum that P is divided by is that of the codes: below the 128 channels of a tile of
 * values lies one of ones, and seven of zeros, because the unit takes columns by 8.
 * That saves an addition for each probability. What a code rounds to zero, below about
 * 2^-18 of the largest P, is then missing from the sum as well: with a key that
 * outweighs 5,000 others the result is off by 0.34 % in place of 0.19 (docs/speed.md).
 *
 * Per row nothing depends on other rows; tiles are counted from the first key of every
 * part.
 */
#include "kernels/cuda/attention_store.cuh"
#include "kernels/cuda/boxes.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"

enum {
    DIM = 128,
    KEYS = 128,   /* of a tile */
    QUERIES = 64, /* of a warpgroup */
    WORKERS = 3,  /* warpgroups that multiply */
    THREADS = (WORKERS + 1) * GROUP,
    STAGES = 5,
    TILE = DIM * KEYS,
    QUERY_BYTES = WORKERS * QUERIES * DIM,
    ONES_BYTES = 8 * KEYS, /* channels of ones and zeros, below the values */
    STAGE_BYTES = 2 * TILE + ONES_BYTES,
    /* scales of a stage, by thread of four: 8 of k, 32 of v (in rows of 36 floats, so
     * that the four read from different banks) */
    V_ROW = 36,
    K_SCALES = 4 * 8 * 4,
    EXTRA = K_SCALES + 4 * V_ROW * 4,
    SHARED = QUERY_BYTES + STAGES * (STAGE_BYTES + EXTRA + 16) + 1024,
    ARRIVALS = 1 + WARP, /* at a stage: bytes of boxes, and each lane's copies */
    RELEASES = WORKERS * GROUP / WARP * WARP_ARRIVALS, /* of a stage */
    LOADED = 1, /* barriers: each warpgroup's queries, then the turns */
    TURN = LOADED + WORKERS,
    FETCH_REGS = 24,
    WORK_REGS = 160
};

#define LIMIT 8.807354922057604f /* log2 448 */
#define HEADROOM 1.0f
#define ONES 0x38383838u /* codes of 1 */

/* Keys and values of one part. */
struct part_view {
    CUtensorMap k, v;
    const float *k_scale, *v_scale;
    int64_t k_head, k_group, v_head, v_row;
    int n;
};

struct codes_view {
    struct part_view part[LAUNCH_PARTS_MAX];
    int n_parts;
    struct rows_view rows;
};

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
    __device__ uint32_t k(int s) const
    {
        return stage + s * STAGE_BYTES;
    }
    __device__ uint32_t v(int s) const
    {
        return k(s) + TILE;
    }
    __device__ uint32_t k_scale(int s) const
    {
        return extra + s * EXTRA;
    }
    __device__ uint32_t v_scale(int s) const
    {
        return k_scale(s) + K_SCALES;
    }
};

static __device__ __forceinline__ float4 shared_float4(uint32_t at)
{
    float4 v;

    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(at));
    return v;
}

static __device__ __forceinline__ void shared_store(uint32_t at, uint32_t v)
{
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(v) : "memory");
}

/* ---- fetching: one warp -------------------------------------------------------- */

static __device__ __forceinline__ void boxes_fetch(const struct room &r, int s,
                                                   const struct part_view &part, int h,
                                                   int at)
{
    uint32_t full = r.full + 8 * s;

    barrier_expect(full, 2 * TILE);
    for (int u = 0; u < 2; u++)
        box4_copy(r.k(s) + u * (TILE / 2), &part.k, 0, 2 * u, at / 4, h, full);
    box3_copy(r.v(s), &part.v, at, 0, h, full);
}

/* Scales of keys past the last are others' that exist: they must not be zero. */
static __device__ __forceinline__ void scales_fetch(const struct room &r, int s,
                                                    const struct part_view &part, int h,
                                                    int at)
{
    int lane = threadIdx.x % WARP, group = at / 4 + lane;
    const float *v = part.v_scale + h * part.v_head + at / KEYS;

#pragma unroll
    for (int i = 0; i < DIM / WARP; i++) {
        int c = lane + WARP * i;

        copy4(r.v_scale(s) + (c / 2 % 4 * V_ROW + c / 8 * 2 + c % 2) * 4,
              v + c * part.v_row, true);
    }
    copy4(r.k_scale(s) + (lane % 4 * 8 + lane / 4) * 4,
          part.k_scale + h * part.k_head +
              (4 * group < part.n ? group : at / 4) * part.k_group,
          true);
}

static __device__ void fetch_all(const struct codes_view &a, const struct room &r,
                                 int h)
{
    int s = 0, turn = 0;

    for (int p = 0; p < a.n_parts; p++) {
        const struct part_view &part = a.part[p];

        for (int at = 0; at < part.n; at += KEYS) {
            if (turn > 0)
                barrier_wait(r.empty + 8 * s, (turn - 1) & 1);
            if (threadIdx.x % WARP == 0)
                boxes_fetch(r, s, part, h, at);
            __syncwarp();
            scales_fetch(r, s, part, h, at);
            copies_arrive(r.full + 8 * s);
            if (++s == STAGES) {
                s = 0;
                turn++;
            }
        }
    }
    copies_commit();
    copies_wait<0>();
}

/* ---- softmax ------------------------------------------------------------------- */

static __device__ __forceinline__ uint32_t codes_pack(const float (&v)[4])
{
    uint32_t r;

    asm volatile("{\n.reg .b16 lo, hi;\n"
                 "cvt.rn.satfinite.e4m3x2.f32 lo, %2, %1;\n"
                 "cvt.rn.satfinite.e4m3x2.f32 hi, %4, %3;\n"
                 "mov.b32 %0, {lo, hi};\n}"
                 : "=r"(r)
                 : "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]));
    return r;
}

/* Key i of the thread's four of a row in the b-th 16 keys: element of the result. */
static __device__ __forceinline__ int element(int b, int row, int i)
{
    return i / 2 * 32 + 4 * b + 2 * row + i % 2;
}

/* The key, within the tile, of an element. */
static __device__ __forceinline__ int key_of(int at)
{
    return at / 4 % 8 * 16 + threadIdx.x % 4 * 4 + at / 32 * 2 + at % 2;
}

static __device__ __forceinline__ void exponents_make(const struct rows_state &st,
                                                      const float (&k_scale)[8],
                                                      const int (&raw)[64],
                                                      float (&x)[64])
{
    /* volatile: not before the product is waited for, and not one by one later */
#pragma unroll
    for (int i = 0; i < 64; i++)
        asm volatile("cvt.rn.f32.s32 %0, %1;" : "=f"(x[i]) : "r"(raw[i]));
#pragma unroll
    for (int i = 0; i < 64; i++) {
        int b = i / 4 % 8, row = i / 2 % 2;

        x[i] = __fmaf_rn(x[i], st.scale[row] * k_scale[b], -st.m[row]);
    }
}

/* Exponents compare as integers, three at a time: of those above LIMIT, if there are
 * any, the largest is the largest integer. */
static __device__ __forceinline__ bool rows_grew(const float (&x)[64])
{
    int top[2] = {__float_as_int(x[0]), __float_as_int(x[2])};

#pragma unroll
    for (int row = 0; row < 2; row++) {
#pragma unroll
        for (int i = 1; i < 31; i += 2)
            top[row] = __vimax3_s32(top[row],
                                    __float_as_int(x[i / 2 * 4 + 2 * row + i % 2]),
                                    __float_as_int(x[(i + 1) / 2 * 4 + 2 * row]));
    }
    return __vimax3_s32(max(top[0], top[1]), __float_as_int(x[61]),
                        __float_as_int(x[63])) > __float_as_int(LIMIT);
}

/* Keys from n on take no part. */
static __device__ __forceinline__ void exponents_mask(float (&x)[64], int n)
{
#pragma unroll
    for (int i = 0; i < 64; i++)
        x[i] = key_of(i) < n ? x[i] : -INFINITY;
}

/* A new m for the rows that need one; what was added up so far shrinks with it. */
static __device__ __forceinline__ void maxima_move(struct rows_state &st,
                                                   float (&x)[64], bool first)
{
    float shrink[2];

#pragma unroll
    for (int row = 0; row < 2; row++) {
        float top = -INFINITY, by;

#pragma unroll
        for (int i = 0; i < 32; i++)
            top = fmaxf(top, x[i / 2 * 4 + 2 * row + i % 2]);
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        by = first || top > LIMIT ? top - (LIMIT - HEADROOM) : 0.0f;
        st.m[row] += by;
#pragma unroll
        for (int i = 0; i < 32; i++)
            x[i / 2 * 4 + 2 * row + i % 2] -= by;
        shrink[row] = first ? 1.0f : exp2_fast(-by);
        st.l[row] *= shrink[row];
    }
#pragma unroll
    for (int i = 0; i < 64; i++)
        st.o[i] *= shrink[i / 2 % 2];
}

static __device__ __forceinline__ void powers_make(float (&x)[64])
{
#pragma unroll
    for (int b = 0; b < 8; b++) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float &v = x[element(b, i / 4, i % 4)];

            asm volatile("ex2.approx.ftz.f32 %0, %0;" : "+f"(v));
        }
    }
}

/* P's codes. */
static __device__ __forceinline__ void codes_make(const float (&x)[64],
                                                  uint32_t (&p)[4][4])
{
#pragma unroll
    for (int b = 0; b < 8; b++) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            float v[4];

#pragma unroll
            for (int i = 0; i < 4; i++)
                v[i] = x[element(b, row, i)];
            p[b / 2][b % 2 * 2 + row] = codes_pack(v);
        }
    }
}

/* The compiler moves no volatile instruction over this: a way out, which no warp takes,
 * because nothing but queries lies at 0. `at`: of something else. */
static __device__ __forceinline__ void order_keep(uint32_t at)
{
    if (at == 0)
        asm volatile("exit;");
}

/* ---- products ------------------------------------------------------------------ */

/* A tile's operand: the part of matrix_at() that changes; 32 bytes of a row are 2. */
static __device__ __forceinline__ uint32_t operand_at(uint32_t at)
{
    return (uint32_t)matrix_at(at, 16);
}

static __device__ __forceinline__ uint64_t operand(uint32_t at)
{
    return matrix_at(0, 0) | at;
}

static __device__ __forceinline__ void logits_put(const struct room &r, int s,
                                                  uint32_t query, int (&raw)[64])
{
    uint32_t k = operand_at(r.stage) + s * (STAGE_BYTES / 16);

    products_begin();
    product_i8_first(raw, operand(query), operand(k));
#pragma unroll
    for (int i = 1; i < 4; i++)
        product_i8(raw, operand(query + 2 * i), operand(k + 2 * i), 1);
    products_commit();
}

static __device__ __forceinline__ void values_put(const struct room &r, int s,
                                                  const uint32_t (&p)[4][4],
                                                  float (&sum)[68])
{
    uint32_t v = operand_at(r.stage + TILE) + s * (STAGE_BYTES / 16);

    products_begin();
    product_e4m3_136_first(sum, p[0], operand(v));
#pragma unroll
    for (int i = 1; i < 4; i++)
        product_e4m3_136(sum, p[i], operand(v + 2 * i));
    products_commit();
}

static __device__ __forceinline__ void k_scales_load(const struct room &r, int s,
                                                     float (&to)[8])
{
    uint32_t at = r.k_scale(s) + threadIdx.x % 4 * 32;

#pragma unroll
    for (int i = 0; i < 2; i++)
        *(float4 *)(to + 4 * i) = shared_float4(at + 16 * i);
}

/* o += sum * scales of v; l += the column of ones, which the first of four threads has,
 * the others have zeros */
static __device__ __forceinline__ void values_add(const struct room &r, int s,
                                                  const float (&sum)[68],
                                                  struct rows_state &st)
{
    uint32_t at = r.v_scale(s) + threadIdx.x % 4 * (V_ROW * 4);

#pragma unroll
    for (int j = 0; j < 64; j += 8) {
        float4 v = shared_float4(at + 2 * j);
        float *o = st.o + j;

#pragma unroll
        for (int e = 0; e < 4; e++) {
            o[e] = __fmaf_rn(sum[j + e], e % 2 ? v.y : v.x, o[e]);
            o[4 + e] = __fmaf_rn(sum[j + 4 + e], e % 2 ? v.w : v.z, o[4 + e]);
        }
    }
    st.l[0] += sum[64];
    st.l[1] += sum[66];
}

/* ---- a warpgroup's queries ----------------------------------------------------- */

/* Rows of q to shared memory, zeros past the last. */
static __device__ void queries_load(const struct tensor &q, int64_t h, int64_t first,
                                    uint32_t to, int group)
{
    const char *from = (const char *)q.data + h * q.stride[0];

    for (int i = threadIdx.x % GROUP; i < QUERIES * (DIM / 16); i += GROUP) {
        int row = i / 8, piece = i % 8;
        bool there = first + row < q.shape[1];

        copy16(tile_at(to, row, piece),
               from + (there ? first + row : 0) * q.stride[1] + piece * 16, there);
    }
    copies_commit();
    copies_wait<0>();
    shared_publish();
    group_wait(LOADED + group);
}

/* Where a walk over the tiles is. */
struct tile_place {
    int part, left; /* keys of the part that are left; 0: past the last tile */
    int s, turn;    /* stage, how often (mod 2) the ring was gone round */
};

static __device__ __forceinline__ void tile_next(const struct codes_view &a,
                                                 struct tile_place &p)
{
    p.left -= KEYS;
    if (p.left <= 0) {
        p.part++;
        p.left = p.part < a.n_parts ? a.part[p.part].n : 0;
    }
    if (p.left > 0 && ++p.s == STAGES) {
        p.s = 0;
        p.turn ^= 1;
    }
}

/* One tile: from the queries' product with its keys to that of P with its values. */
static __device__ __forceinline__ void tile_attend(const struct room &r,
                                                   struct rows_state &st,
                                                   uint32_t query, int group, int s,
                                                   int left, bool &first,
                                                   float (&sum)[68])
{
    float k_scale[8], x[64];
    uint32_t p[4][4];
    int raw[64];
    bool grew;

    k_scales_load(r, s, k_scale);
    logits_put(r, s, query, raw);
    products_wait<0>();
    exponents_make(st, k_scale, raw, x);
    grew = __any_sync(0xffffffffu, rows_grew(x));
    if (grew || first || left < KEYS) {
        if (left < KEYS)
            exponents_mask(x, left);
        maxima_move(st, x, first);
        first = false;
    }
    turn_wait(TURN + group);
    powers_make(x);
    order_keep(r.stage);
    turn_pass(group == WORKERS - 1 ? TURN : TURN + 1 + group);
    order_keep(r.extra);
    codes_make(x, p);
    values_put(r, s, p, sum);
}

static __device__ void attend_all(const struct codes_view &a, const struct room &r,
                                  int h, int group)
{
    int begin = (blockIdx.x * WORKERS + group) * QUERIES;
    uint32_t query = r.query + group * (QUERIES * DIM);
    struct tile_place at = {0, a.n_parts > 0 ? a.part[0].n : 0, 0, 0};
    struct rows_state st;
    bool first = true;

    queries_load(a.rows.q, h, begin, query, group);
    begin += threadIdx.x % GROUP / WARP * 16 + threadIdx.x % WARP / 4;
    rows_start(a.rows, h, begin, true, st);
    st.m[0] = st.m[1] = 0.0f;
    query = operand_at(query);
    if (group == WORKERS - 1)
        turn_pass(TURN);
    if (at.left > 0)
        barrier_wait(r.full, 0);
    while (at.left > 0) {
        int s = at.s;
        float sum[68];

        tile_attend(r, st, query, group, s, at.left, first, sum);
        tile_next(a, at);
        if (at.left > 0)
            barrier_wait(r.full + 8 * at.s, at.turn);
        products_wait<0>();
        values_add(r, s, sum, st);
        warp_arrive(r.empty + 8 * s);
    }
    rows_store(a.rows, h, begin, st);
}

/* A channel of ones below each stage's values, then zeros. */
static __device__ void ones_store(const struct room &r)
{
    for (int i = threadIdx.x; i < STAGES * (ONES_BYTES / 4); i += THREADS) {
        int s = i / (ONES_BYTES / 4), at = i % (ONES_BYTES / 4);

        shared_store(r.v(s) + TILE + 4 * at, at < KEYS / 4 ? ONES : 0u);
    }
    shared_publish();
}

static __global__ void __launch_bounds__(THREADS, 1)
    codes_kernel(const __grid_constant__ struct codes_view a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ char memory[];
    struct room r(memory);
    /* from lane 0, so that the compiler knows it to be the same in all of them */
    int group = __shfl_sync(0xffffffffu, threadIdx.x / GROUP, 0);

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(r.full + 8 * s, ARRIVALS);
            barrier_init(r.empty + 8 * s, RELEASES);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    ones_store(r);
    __syncthreads();
    if (group == WORKERS) {
        registers_give<FETCH_REGS>();
        if (threadIdx.x / WARP == WORKERS * GROUP / WARP)
            fetch_all(a, r, blockIdx.y);
    } else {
        registers_take<WORK_REGS>();
        attend_all(a, r, blockIdx.y, group);
    }
#endif
}

/* ---- launching ----------------------------------------------------------------- */

static bool codes_aligned(const struct tensor *t)
{
    return (uintptr_t)t->data % 16 == 0 && t->stride[0] % 16 == 0 &&
           t->stride[1] % 16 == 0 && t->stride[2] == 1;
}

static bool part_fits(const struct attn_keys *ks)
{
    return ks->v.dtype == DT_E4M3 && ks->k.scales.kind == SCALE_GROUP &&
           ks->k.scales.rows == 4 && codes_aligned(&ks->k) && codes_aligned(&ks->v) &&
           ks->n % 4 == 0 && ks->n <= INT32_MAX - KEYS;
}

extern "C" bool attention_codes_fits(const struct op_attention *a)
{
    if (a->queries[0].q.dtype != DT_I8 || a->queries[0].q.shape[2] != DIM ||
        a->rel_bias || a->key_bias)
        return false;
    for (int i = 0; i < a->n_queries; i++) {
        const struct tensor *q = &a->queries[i].q;

        if (!codes_aligned(q) || q->scales.kind != SCALE_ROW ||
            !rows_store_fit(&a->queries[i].o))
            return false;
    }
    for (int i = 0; i < a->n_keys; i++) {
        if (!part_fits(&a->keys[i]))
            return false;
    }
    return true;
}

static cudaError_t part_view_make(map_encode encode, const struct attn_keys *ks,
                                  struct part_view *p)
{
    const struct tensor *k = &ks->k, *v = &ks->v;
    cuuint64_t heads = k->shape[0];
    cuuint64_t k_dims[4] = {DIM, 4, (cuuint64_t)k->shape[1] / 4, heads};
    cuuint64_t k_strides[3] = {(cuuint64_t)k->stride[1], 4 * (cuuint64_t)k->stride[1],
                               (cuuint64_t)k->stride[0]};
    cuuint32_t k_box[4] = {DIM, 2, KEYS / 4, 1};
    cuuint64_t v_dims[3] = {(cuuint64_t)v->shape[2], DIM, heads};
    cuuint64_t v_strides[2] = {(cuuint64_t)v->stride[1], (cuuint64_t)v->stride[0]};
    cuuint32_t v_box[3] = {KEYS, DIM, 1};
    cudaError_t st = map_make(encode, &p->k, CU_TENSOR_MAP_DATA_TYPE_UINT8, k->data, 4,
                              k_dims, k_strides, k_box);

    if (st == cudaSuccess)
        st = map_make(encode, &p->v, CU_TENSOR_MAP_DATA_TYPE_UINT8, v->data, 3, v_dims,
                      v_strides, v_box);
    p->k_scale = k->scales.data;
    p->k_head = k->scales.stride[0];
    p->k_group = k->scales.stride[1];
    p->v_scale = v->scales.data;
    p->v_head = v->scales.stride[0];
    p->v_row = v->scales.stride[1];
    p->n = (int)ks->n;
    return st;
}

static cudaError_t queries_launch(const struct codes_view *v, cudaStream_t stream)
{
    const int64_t per = WORKERS * QUERIES;
    const struct tensor *q = &v->rows.q;
    dim3 grid((unsigned)((q->shape[1] + per - 1) / per), (unsigned)q->shape[0]);
    cudaError_t st = shared_allow(codes_kernel, SHARED);

    if (st != cudaSuccess || grid.x == 0 || grid.y == 0)
        return st;
    codes_kernel<<<grid, THREADS, SHARED, stream>>>(*v);
    return cudaGetLastError();
}

extern "C" cudaError_t attention_codes_launch(const struct op_attention *a,
                                              cudaStream_t stream)
{
    struct codes_view v = {};
    map_encode encode;
    cudaError_t st = map_encode_find(&encode);

    rows_view_fill(&v.rows, a);
    for (int i = 0; i < a->n_keys && st == cudaSuccess; i++) {
        if (a->keys[i].n > 0 && a->keys[i].k.shape[0] > 0)
            st = part_view_make(encode, &a->keys[i], &v.part[v.n_parts++]);
    }
    for (int i = 0; i < a->n_queries && st == cudaSuccess; i++) {
        rows_view_queries(&v.rows, &a->queries[i]);
        st = queries_launch(&v, stream);
    }
    return st;
}
