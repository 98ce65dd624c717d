/* attention_mma.cu - attention on the matrix unit of any gpu
 *
 * For architectures that have no kernel of their own. Two kinds with heads of 128, as
 * on Hopper: i8 q and k (scales per token of q, per 4 tokens of k) with transposed e4m3
 * values, and bf16. And bf16 heads of up to 64, which the text encoder has, with biases
 * by distance. A block takes 128 queries of a head, a warp 16 of them; tiles of 64 keys
 * and their values pass through two stages of shared memory.
 *
 * A thread's logits in the result layout of one product must be its probabilities in
 * the operand layout of the next. For bf16 they are; for codes, where a thread holds 4
 * keys in a row, each product of 8 keys takes its keys from other rows (key_row).
 *
 * Codes: where the matrix unit multiplies e4m3 (compute capability 8.9 and later) P is
 * e4m3 against the running maximum, times 448. Before that P and the values are fp16,
 * which holds every e4m3 value. Each tile's sum is scaled by the values' scales and
 * added in fp32.
 *
 * Distances: a tile of keys and a block of queries have 191 of them, and the biases of
 * these arrive with the tile. Narrower heads are filled up with zeros.
 *
 * Per row nothing depends on other rows; tiles are counted from the first key of every
 * part.
 */
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"

enum {
    WIDE = 128, /* channels of a head */
    SLIM = 64,
    KEYS = 64, /* of a tile */
    WARPS = 8,
    QUERIES = 16, /* of a warp */
    THREADS = WARPS * WARP,
    DISTANCES = WARPS * QUERIES + KEYS - 1,
    STAGES = 2
};

/* BYTES: of an element. STAGE: tiles of k and v, scales of v and k, biases of keys and
 * of distances. */
template <bool CODES, int DIM>
struct kind {
    enum {
        BYTES = CODES ? 1 : 2,
        PIECES = DIM * BYTES / 16, /* of a row */
        BY_DISTANCE = !CODES && DIM == SLIM,
        QUERY_BYTES = WARPS * QUERIES * DIM * BYTES,
        TILE = KEYS * DIM * BYTES,
        V_SCALE = 2 * TILE,
        K_SCALE = V_SCALE + DIM * 4,
        BIAS = K_SCALE + KEYS,
        REL_BIAS = BIAS + KEYS * 4,
        STAGE = REL_BIAS + (BY_DISTANCE ? (DISTANCES + 1) * 4 : 0),
        SHARED = QUERY_BYTES + STAGES * STAGE
    };
};

/* ---- shared memory ------------------------------------------------------------- */

/* matrices_load of matrices that lie turned. */
static __device__ __forceinline__ void matrices_load_turned(uint32_t (&m)[4],
                                                            uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 "
                 "{%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at));
}

/* Where 16-byte piece `piece` of row `row` lies, so that the 8 rows that one matrix
 * takes are in different banks. */
template <bool CODES, int DIM>
static __device__ __forceinline__ uint32_t key_at(uint32_t tile, int row, int piece)
{
    int turn = CODES ? (row & 1) | (row >> 1 & 6) : row & 7;

    return tile + (uint32_t)(row * DIM * kind<CODES, DIM>::BYTES + (piece ^ turn) * 16);
}

/* The same of 64 codes of values of one channel. */
static __device__ __forceinline__ uint32_t value_at(uint32_t tile, int row, int piece)
{
    return tile + (uint32_t)(row * KEYS + (piece ^ (row >> 1 & 3)) * 16);
}

/* ---- products ------------------------------------------------------------------ */

static __device__ __forceinline__ void product_i8(int *d, const uint32_t (&a)[4],
                                                  uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#if __CUDA_ARCH__ < 890
/* Two e4m3 values as two of fp16, times 2^-8. */
static __device__ __forceinline__ uint32_t halves_of(uint32_t codes)
{
    uint32_t wide = (codes & 0xffu) | (codes & 0xff00u) << 8;

    return (wide & 0x00800080u) << 8 | (wide & 0x007f007fu) << 7;
}

static __device__ __forceinline__ uint32_t halves_pack(float a, float b)
{
    __half2 v = __floats2half2_rn(a, b);

    return *(uint32_t *)&v;
}
#endif

/* d += P v for 32 keys and 8 channels: P as 4 floats of a row per group of 16 keys,
 * p[group][row half][4], v as codes of the two groups. */
static __device__ __forceinline__ void product_values(float *d,
                                                      const uint32_t (&p)[2][2][2],
                                                      uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 890
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(p[0][0][0]), "r"(p[0][1][0]), "r"(p[1][0][0]), "r"(p[1][1][0]),
                   "r"(b0), "r"(b1));
#else
    uint32_t b[2] = {b0, b1};

#pragma unroll
    for (int g = 0; g < 2; g++)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(p[g][0][0]), "r"(p[g][1][0]), "r"(p[g][0][1]),
                       "r"(p[g][1][1]), "r"(halves_of(b[g])),
                       "r"(halves_of(b[g] >> 16)));
#endif
}

/* Four probabilities of a row as an operand of product_values. `lift` of the codes, see
 * there: 448 in e4m3; in fp16 the 2^8 that the values lack, and 1. */
static __device__ __forceinline__ void operand_make(uint32_t (&p)[2], float a, float b,
                                                    float c, float d)
{
#if __CUDA_ARCH__ >= 890
    uint32_t lo = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE,
                                           __NV_E4M3);
    uint32_t hi = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE,
                                           __NV_E4M3);

    p[0] = lo | hi << 16;
#else
    p[0] = halves_pack(a, b);
    p[1] = halves_pack(c, d);
#endif
}

/* ---- fetching ------------------------------------------------------------------ */

/* Rows [at, at + count) of a head, zeros from n on. */
template <bool CODES, int DIM>
static __device__ void rows_fetch(uint32_t to, const struct tensor &t, int64_t h,
                                  int64_t at, int count, int64_t n)
{
    enum { BYTES = kind<CODES, DIM>::BYTES, PIECES = kind<CODES, DIM>::PIECES };
    const char *from = (const char *)t.data + h * t.stride[0] * BYTES;

    for (int i = threadIdx.x; i < count * PIECES; i += THREADS) {
        int row = i / PIECES, piece = i % PIECES;
        bool there = at + row < n;

        if (DIM == SLIM)
            there = there && piece * 8 < t.shape[2];
        copy16(key_at<CODES, DIM>(to, row, piece),
               there ? from + (at + row) * t.stride[1] * BYTES + piece * 16 : from,
               there);
    }
}

/* Codes of 64 values of every channel, their scales, and those of k. */
static __device__ void codes_fetch(uint32_t stage, const struct attn_keys &part,
                                   int64_t h, int64_t at)
{
    typedef struct kind<true, WIDE> k;
    const struct scales &ks = part.k.scales, &vs = part.v.scales;
    const char *from = (const char *)part.v.data + h * part.v.stride[0] + at;
    int lane = threadIdx.x;

    for (int i = threadIdx.x; i < WIDE * KEYS / 16; i += THREADS) {
        int row = i / (KEYS / 16), piece = i % (KEYS / 16);

        copy16(value_at(stage + k::TILE, row, piece),
               from + row * part.v.stride[1] + piece * 16, true);
    }
    if (lane < WIDE)
        copy4(stage + k::V_SCALE + lane * 4,
              vs.data + h * vs.stride[0] + lane * vs.stride[1] + at / vs.cols, true);
    if (lane < KEYS / 4) {
        bool there = at + lane * 4 < part.n;

        copy4(stage + k::K_SCALE + lane * 4,
              ks.data + h * ks.stride[0] + (there ? at / 4 + lane : 0) * ks.stride[1],
              there);
    }
}

/* Biases of the distances between a block of queries and a tile of keys: of query i
 * and key j at place j - i + 127. `away`: from the block's first to the tile's. */
static __device__ void distances_fetch(const struct rows_view &a, uint32_t to,
                                       int64_t h, int64_t away)
{
    int64_t at = away + (int)threadIdx.x - (WARPS * QUERIES - 1);

    if (!a.rel_bias || threadIdx.x >= DISTANCES)
        return;
    at = at < -a.reach ? -a.reach : at > a.reach ? a.reach : at;
    copy4(to + threadIdx.x * 4, a.rel_bias + h * a.rel_stride + a.reach + at, true);
}

/* `block`: the first query. */
template <bool CODES, int DIM>
static __device__ void tile_fetch(const struct rows_view &a, uint32_t stage,
                                  const struct place &p, int64_t h, int64_t block)
{
    typedef struct kind<CODES, DIM> k;
    const struct attn_keys &part = a.keys[p.part];
    int64_t at = p.at;

    rows_fetch<CODES, DIM>(stage, part.k, h, at, KEYS, part.n);
    if constexpr (CODES)
        codes_fetch(stage, part, h, at);
    else
        rows_fetch<CODES, DIM>(stage + k::TILE, part.v, h, at, KEYS, part.n);
    if (a.key_bias && threadIdx.x < KEYS) {
        bool there = at + threadIdx.x < part.n;

        copy4(stage + k::BIAS + threadIdx.x * 4,
              a.key_bias + p.key + (there ? at + threadIdx.x : 0), there);
    }
    if constexpr (k::BY_DISTANCE)
        distances_fetch(a, stage + k::REL_BIAS, h, p.key + at - a.first - block);
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* ---- one tile ------------------------------------------------------------------ */

/* The row of the tile whose key is column `column` of product j, and the key, within
 * the tile, of element i of a thread's logits. */
template <bool CODES>
static __device__ __forceinline__ int key_row(int j, int column)
{
    return CODES ? j / 2 * 16 + column / 2 * 4 + j % 2 * 2 + column % 2
                 : 8 * j + column;
}

/* Logits of 16 queries with 64 keys, unscaled. */
template <bool CODES, int DIM>
static __device__ __forceinline__ void logits_make(const uint32_t (*q)[4],
                                                   uint32_t tile, float (&x)[32])
{
    int lane = threadIdx.x % WARP;

#pragma unroll
    for (int j = 0; j < 8; j++) {
        int row = key_row<CODES>(j, lane % 8);
        int raw[4] = {};
        uint32_t m[4];

#pragma unroll
        for (int e = 0; e < 4; e++)
            x[4 * j + e] = 0.0f;
#pragma unroll
        for (int i = 0; i < kind<CODES, DIM>::PIECES / 4; i++) {
            matrices_load(m, key_at<CODES, DIM>(tile, row, 4 * i + lane / 8));
            if constexpr (CODES) {
                product_i8(raw, q[2 * i], m[0], m[1]);
                product_i8(raw, q[2 * i + 1], m[2], m[3]);
            } else {
                product_bf16(x + 4 * j, q[2 * i], m[0], m[1]);
                product_bf16(x + 4 * j, q[2 * i + 1], m[2], m[3]);
            }
        }
        if constexpr (CODES) {
#pragma unroll
            for (int e = 0; e < 4; e++)
                x[4 * j + e] = (float)raw[e];
        }
    }
}

/* Biases by distance. A row's key is as far away as the key 8 before is from the row 8
 * before. */
static __device__ __forceinline__ void distances_add(uint32_t biases, float (&x)[32])
{
    const float log2_e = 1.4426950408889634f;
    int lane = threadIdx.x % WARP;
    int row = threadIdx.x / WARP * QUERIES + lane / 4;
    uint32_t at = biases + (2 * (lane % 4) - row + WARPS * QUERIES - 1 - 8) * 4;

#pragma unroll
    for (int i = 0; i < 18; i++) {
        int j = i / 2, e = i % 2;
        float bias = shared_float(at + (8 * j + e) * 4) * log2_e;

        if (j > 0)
            x[4 * (j - 1) + e] += bias;
        if (j < 8)
            x[4 * j + 2 + e] += bias;
    }
}

/* Scales, biases of keys, and nothing for keys from n on. */
template <bool CODES, int DIM>
static __device__ __forceinline__ void logits_scale(const struct rows_of<DIM> &st,
                                                    uint32_t stage, bool biased,
                                                    int64_t n, float (&x)[32])
{
    const float log2_e = 1.4426950408889634f;
    int t = threadIdx.x % 4;

#pragma unroll
    for (int i = 0; i < 32; i++) {
        int key = key_row<CODES>(i / 4, 2 * t + i % 2);
        float w = st.scale[i % 4 / 2];

        if (CODES)
            w *= shared_float(stage + kind<CODES, DIM>::K_SCALE + key / 4 * 4);
        x[i] *= w;
        if (biased)
            x[i] += shared_float(stage + kind<CODES, DIM>::BIAS + key * 4) * log2_e;
        if (key >= n)
            x[i] = -INFINITY;
    }
}

/* x becomes the probabilities, times 2^lift; returns by how much older sums shrink. */
template <int DIM>
static __device__ __forceinline__ void softmax_step(struct rows_of<DIM> &st,
                                                    float (&x)[32], float lift,
                                                    float (&shrink)[2])
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float top = st.m[row], sum = 0.0f, base;

#pragma unroll
        for (int i = 0; i < 16; i++)
            top = fmaxf(top, x[i / 2 * 4 + row * 2 + i % 2]);
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        base = top == -INFINITY ? 0.0f : top;
        shrink[row] = exp2_fast(st.m[row] - base);
        st.m[row] = top;
#pragma unroll
        for (int i = 0; i < 16; i++) {
            int at = i / 2 * 4 + row * 2 + i % 2;

            x[at] = exp2_fast(x[at] - (base - lift));
            sum += x[at];
        }
        st.l[row] = __fmaf_rn(st.l[row], shrink[row], sum);
    }
}

static __device__ __forceinline__ void codes_add(uint32_t stage, const float (&x)[32],
                                                 const float (&shrink)[2],
                                                 struct rows_of<WIDE> &st)
{
    typedef struct kind<true, WIDE> k;
    int lane = threadIdx.x % WARP;
    uint32_t p[2][2][2][2]; /* 32 keys, 16 keys, row, */

#pragma unroll
    for (int g = 0; g < 4; g++)
#pragma unroll
        for (int row = 0; row < 2; row++)
            operand_make(p[g / 2][g % 2][row], x[8 * g + 2 * row],
                         x[8 * g + 2 * row + 1], x[8 * g + 4 + 2 * row],
                         x[8 * g + 4 + 2 * row + 1]);
#pragma unroll
    for (int j = 0; j < WIDE / 8; j++) {
        float sum[4] = {};
        uint32_t m[4];

        matrices_load(m, value_at(stage + k::TILE, 8 * j + lane % 8, lane / 8));
        product_values(sum, p[0], m[0], m[1]);
        product_values(sum, p[1], m[2], m[3]);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float vs = shared_float(stage + k::V_SCALE +
                                    (8 * j + lane % 4 * 2 + e % 2) * 4);

            st.o[4 * j + e] = __fmaf_rn(sum[e], vs, st.o[4 * j + e] * shrink[e / 2]);
        }
    }
}

template <int DIM>
static __device__ __forceinline__ void floats_add(uint32_t stage, const float (&x)[32],
                                                  const float (&shrink)[2],
                                                  struct rows_of<DIM> &st)
{
    typedef struct kind<false, DIM> k;
    int lane = threadIdx.x % WARP;

#pragma unroll
    for (int i = 0; i < DIM / 2; i++)
        st.o[i] *= shrink[i % 4 / 2];
#pragma unroll
    for (int i = 0; i < KEYS / 16; i++) {
        uint32_t p[4], m[4];

#pragma unroll
        for (int e = 0; e < 4; e++)
            p[e] = bf16_pack(x[8 * i + 2 * e], x[8 * i + 2 * e + 1]);
#pragma unroll
        for (int j = 0; j < DIM / 8; j += 2) {
            matrices_load_turned(
                m,
                key_at<false, DIM>(stage + k::TILE, 16 * i + lane % 16, j + lane / 16));
            product_bf16(st.o + 4 * j, p, m[0], m[1]);
            product_bf16(st.o + 4 * j + 4, p, m[2], m[3]);
        }
    }
}

/* What sums are scaled by, base 2: probabilities fill e4m3, or, in fp16, make up for
 * values that are 2^8 too small. */
template <bool CODES>
static __device__ __forceinline__ float lift_of(void)
{
#if __CUDA_ARCH__ >= 890
    return CODES ? 8.807354922057604f : 0.0f;
#else
    return CODES ? 8.0f : 0.0f;
#endif
}

/* ---- a warp's queries ---------------------------------------------------------- */

template <bool CODES, int DIM>
static __device__ __forceinline__ void queries_load(uint32_t (*q)[4], uint32_t query)
{
    int row = threadIdx.x / WARP * QUERIES + threadIdx.x % 16;
    int piece = threadIdx.x % WARP / 16;

#pragma unroll
    for (int i = 0; i < kind<CODES, DIM>::PIECES / 2; i++)
        matrices_load(q[i], key_at<CODES, DIM>(query, row, 2 * i + piece));
}

template <bool CODES, int DIM>
static __global__ void __launch_bounds__(THREADS, DIM == SLIM ? 2 : 1)
    mma_kernel(const __grid_constant__ struct rows_view a)
{
    typedef struct kind<CODES, DIM> k;
    extern __shared__ char memory[];
    uint32_t query = shared_at(memory), stages = query + k::QUERY_BYTES;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int64_t block = (int64_t)blockIdx.x * WARPS * QUERIES, h = blockIdx.y;
    int64_t first = block + warp * QUERIES + lane / 4; /* and 8 rows on */
    struct place at = {0, 0, 0}, next = {0, 0, 0};
    uint32_t q[k::PIECES / 2][4];
    struct rows_of<DIM> st;
    bool more = place_next(a, next, 0);

    rows_fetch<CODES, DIM>(query, a.q, h, block, WARPS * QUERIES, a.q.shape[1]);
    if (more)
        tile_fetch<CODES, DIM>(a, stages, next, h, block);
    asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    queries_load<CODES, DIM>(q, query);
    rows_start(a, h, first, CODES, st);
    for (int tile = 0; more; tile++) {
        uint32_t stage = stages + tile % STAGES * k::STAGE;
        float x[32], shrink[2];

        at = next;
        more = place_next(a, next, KEYS);
        if (more)
            tile_fetch<CODES, DIM>(a, stages + (tile + 1) % STAGES * k::STAGE, next, h,
                                   block);
        logits_make<CODES, DIM>(q, stage, x);
        logits_scale<CODES, DIM>(st, stage, a.key_bias != NULL,
                                 a.keys[at.part].n - at.at, x);
        if (k::BY_DISTANCE && a.rel_bias)
            distances_add(stage + k::REL_BIAS, x);
        softmax_step(st, x, lift_of<CODES>(), shrink);
        if constexpr (CODES)
            codes_add(stage, x, shrink, st);
        else
            floats_add(stage, x, shrink, st);
        asm volatile("cp.async.wait_group 0;" ::: "memory");
        __syncthreads();
    }
    queries_store(a, h, first, lift_of<CODES>(), st);
}

/* ---- launching ----------------------------------------------------------------- */

static bool rows_fit(const struct tensor *t)
{
    return t->dtype == DT_BF16 && (uintptr_t)t->data % 16 == 0 &&
           t->stride[0] % 8 == 0 && t->stride[1] % 8 == 0;
}

/* Distances are for narrow heads. */
static bool heads_fit(int64_t dim, bool by_distance)
{
    return dim == WIDE ? !by_distance : dim % 8 == 0 && dim <= SLIM;
}

extern "C" bool attention_mma_fits(const struct op_attention *a)
{
    if (attention_hopper_fits(a))
        return true;
    if (!heads_fit(a->queries[0].q.shape[2], a->rel_bias != NULL))
        return false;
    for (int i = 0; i < a->n_queries; i++) {
        if (!rows_fit(&a->queries[i].q))
            return false;
    }
    for (int i = 0; i < a->n_keys; i++) {
        if (!rows_fit(&a->keys[i].k) || !rows_fit(&a->keys[i].v))
            return false;
    }
    return true;
}

template <bool CODES, int DIM>
static cudaError_t queries_launch(const struct rows_view *v, cudaStream_t stream)
{
    const int64_t per = WARPS * QUERIES;
    dim3 grid((unsigned)((v->q.shape[1] + per - 1) / per), (unsigned)v->q.shape[0]);
    cudaError_t st = shared_allow(mma_kernel<CODES, DIM>, kind<CODES, DIM>::SHARED);

    if (st != cudaSuccess || grid.x == 0 || grid.y == 0)
        return st;
    mma_kernel<CODES, DIM><<<grid, THREADS, kind<CODES, DIM>::SHARED, stream>>>(*v);
    return cudaGetLastError();
}

extern "C" cudaError_t attention_mma_launch(const struct op_attention *a,
                                            cudaStream_t stream)
{
    cudaError_t st = cudaSuccess;
    struct rows_view v;

    rows_view_fill(&v, a);
    for (int i = 0; i < a->n_queries && st == cudaSuccess; i++) {
        rows_view_queries(&v, &a->queries[i]);
        if (v.q.dtype == DT_I8)
            st = queries_launch<true, WIDE>(&v, stream);
        else
            st = v.q.shape[2] > SLIM ? queries_launch<false, WIDE>(&v, stream)
                                     : queries_launch<false, SLIM>(&v, stream);
        v.first += v.q.shape[1];
    }
    return st;
}
