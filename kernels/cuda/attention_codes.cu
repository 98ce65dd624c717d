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
 * exponents. attention_powers.cuh has what lies between the products.
 *
 * Keys of a tile. A thread must find in its logits the four keys in a row of which it
 * has to make an operand of the next product. So of each four keys 4 g + 2 u + s, row
 * 64 u + 2 g + s of the tile has one: two boxes of the tensor map of k, whose axes are
 * channel, key mod 4, key / 4, head.
 *
 * Codes of P are e4m3, 448 at most. The matrix unit adds up few bits, so each tile has
 * a sum of its own, which is then scaled by the values' scales and added in fp32. The
 * sum that P is divided by is that of P before it was rounded.
 *
 * Per row nothing depends on other rows; tiles are counted from the first key of every
 * part.
 */
#include "kernels/cuda/attention_powers.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"

enum {
    DIM = 128,
    KEYS = 128,   /* of a tile */
    GROUP = 128,  /* threads of a warpgroup */
    QUERIES = 64, /* of a warpgroup */
    WORKERS = 3,  /* warpgroups that multiply */
    THREADS = (WORKERS + 1) * GROUP,
    STAGES = 5,
    TILE = DIM * KEYS,
    QUERY_BYTES = WORKERS * QUERIES * DIM,
    STAGE_BYTES = 2 * TILE,
    /* scales of a stage, by thread of four: 8 of k, 32 of v (in rows of 36 floats, so
     * that the four read from different banks) */
    V_ROW = 36,
    K_SCALES = 4 * 8 * 4,
    EXTRA = K_SCALES + 4 * V_ROW * 4,
    SHARED = QUERY_BYTES + STAGES * (STAGE_BYTES + EXTRA + 16) + 1024,
    ARRIVALS = 1 + WARP, /* at a stage: bytes of boxes, and each lane's copies */
    LOADED = 1,          /* barriers: each warpgroup's queries */
    FETCH_REGS = 24,
    WORK_REGS = 160
};

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

/* Where an operand's tile lies, of those that begin at a multiple of 16 bytes. */
static __device__ __forceinline__ uint32_t operand_address(uint32_t operand)
{
    return (operand & 0x3fffu) << 4;
}

static __device__ __forceinline__ void logits_put(const struct room &r, int s,
                                                  uint32_t query, int (&raw)[64])
{
    uint32_t k = operand_at(r.stage) + s * (STAGE_BYTES / 16);

#pragma unroll
    for (int i = 0; i < 64; i++)
        asm volatile("mov.b32 %0, %1;" : "=r"(raw[i]) : "n"((int)OFFSET));
    products_begin();
#pragma unroll
    for (int i = 0; i < 4; i++)
        product_i8(raw, operand(query + 2 * i), operand(k + 2 * i), 1);
    products_commit();
}

static __device__ __forceinline__ void values_put(const struct room &r, int s,
                                                  const uint32_t (&p)[4][4],
                                                  float (&sum)[64])
{
    uint32_t v = operand_at(r.stage + TILE) + s * (STAGE_BYTES / 16);

    products_begin();
    product_e4m3_first(sum, p[0], operand(v));
#pragma unroll
    for (int i = 1; i < 4; i++)
        product_e4m3(sum, p[i], operand(v + 2 * i), 1);
    products_commit();
}

/* o += sum * scales of v */
static __device__ __forceinline__ void values_add(const struct room &r, int s,
                                                  const float (&sum)[64],
                                                  float (&o)[64])
{
    uint32_t at = r.v_scale(s) + threadIdx.x % 4 * (V_ROW * 4);

#pragma unroll
    for (int j = 0; j < 64; j += 8) {
        float4 v = shared_float4(at + 2 * j);

#pragma unroll
        for (int e = 0; e < 4; e++) {
            o[j + e] = __fmaf_rn(sum[j + e], e % 2 ? v.y : v.x, o[j + e]);
            o[j + 4 + e] = __fmaf_rn(sum[j + 4 + e], e % 2 ? v.w : v.z, o[j + 4 + e]);
        }
    }
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

/* m of the rows from the first tile, whose product is then made again. */
static __device__ __forceinline__ void rows_begin(const struct room &r,
                                                  struct rows_state &st, uint32_t query,
                                                  int left)
{
    int raw[64];

    rows_open(st);
    barrier_wait(r.full, 0);
    logits_put(r, 0, query, raw);
    products_wait<0>();
    rows_first(st, r.k_scale(0) + threadIdx.x % 4 * 32, left, raw);
}

/* One tile: from the queries' product with its keys to that of P with its values. */
static __device__ __forceinline__ void tile_attend(const struct room &r,
                                                   struct rows_state &st,
                                                   uint32_t query, int s, int left,
                                                   float (&sum)[64])
{
    uint32_t scales = r.k_scale(s) + threadIdx.x % 4 * 32;
    uint32_t t[32], p[4][4], row_sum[2], most;
    float k_scale[8];
    int raw[64];

    k_scales_load(scales, 0, k_scale);
    logits_put(r, s, query, raw);
    products_wait<0>();
    exponents_make(st, scales, k_scale, raw, t);
    codes_make(t, p, row_sum);
    most = pair_max(row_sum[0], row_sum[1], row_sum[1]);
    if (__any_sync(0xffffffffu, max(pair_first(most), pair_second(most)) > MOST) ||
        left < KEYS) {
        struct tile_view v = {operand_address(query), r.k(s),
                              r.k_scale(s) + thread_now() % 4 * 32, left};

        if (rows_look(st, v, KEYS, t))
            codes_make(t, p, row_sum);
    }
    st.l[0] += half2_sum(row_sum[0]);
    st.l[1] += half2_sum(row_sum[1]);
    values_put(r, s, p, sum);
}

static __device__ void attend_all(const struct codes_view &a, const struct room &r,
                                  int h, int group)
{
    int begin = (blockIdx.x * WORKERS + group) * QUERIES;
    uint32_t query = r.query + group * (QUERIES * DIM);
    struct tile_place at = {0, a.n_parts > 0 ? a.part[0].n : 0, 0, 0};
    struct rows_state st;

    queries_load(a.rows.q, h, begin, query, group);
    begin += threadIdx.x % GROUP / WARP * 16 + threadIdx.x % WARP / 4;
    rows_start(a.rows, h, begin, true, st);
    query = operand_at(query);
    if (at.left > 0)
        rows_begin(r, st, query, at.left);
    while (at.left > 0) {
        int s = at.s;
        float sum[64];

        tile_attend(r, st, query, s, at.left, sum);
        tile_next(a, at);
        if (at.left > 0)
            barrier_wait(r.full + 8 * at.s, at.turn);
        products_wait<0>();
        values_add(r, s, sum, st.o);
        __syncwarp();
        if (threadIdx.x % WARP == 0)
            barrier_arrive(r.empty + 8 * s);
    }
    rows_close(st);
    queries_store(a.rows, h, begin, POWER_LIFT, st);
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
            barrier_init(r.empty + 8 * s, WORKERS * GROUP / WARP);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
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

        if (!codes_aligned(q) || q->scales.kind != SCALE_ROW)
            return false;
    }
    for (int i = 0; i < a->n_keys; i++) {
        if (!part_fits(&a->keys[i]))
            return false;
    }
    return true;
}

typedef CUresult (*map_encode)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                               const cuuint64_t *, const cuuint64_t *,
                               const cuuint32_t *, const cuuint32_t *,
                               CUtensorMapInterleave, CUtensorMapSwizzle,
                               CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function: programs without a GPU must start without the driver. */
static cudaError_t map_encode_find(map_encode *to)
{
    cudaDriverEntryPointQueryResult found;
    void *at = NULL;
    cudaError_t st = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &at,
                                                      12000, cudaEnableDefault, &found);

    if (st == cudaSuccess && (found != cudaDriverEntryPointSuccess || !at))
        st = cudaErrorNotSupported;
    *to = (map_encode)at;
    return st;
}

static cudaError_t map_make(map_encode encode, CUtensorMap *m, const void *data,
                            cuuint32_t rank, const cuuint64_t *dims,
                            const cuuint64_t *strides, const cuuint32_t *box)
{
    static const cuuint32_t ones[4] = {1, 1, 1, 1};

    return encode(m, CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, (void *)data, dims, strides,
                  box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS
               ? cudaSuccess
               : cudaErrorInvalidValue;
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
    cudaError_t st = map_make(encode, &p->k, k->data, 4, k_dims, k_strides, k_box);

    if (st == cudaSuccess)
        st = map_make(encode, &p->v, v->data, 3, v_dims, v_strides, v_box);
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
