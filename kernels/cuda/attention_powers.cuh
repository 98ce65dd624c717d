/* attention_powers.cuh - from the integer sums of a tile of keys to codes of P
 *
 * A thread has two rows and 64 sums of products of i8 codes, 32 of a row, in the result
 * layout of hopper.cuh; of them it makes e4m3 codes of P = 2^(x - m), 448 at most, and
 * the sum of P. The exponential unit would need as long for that as the matrix unit
 * needs for both products, so powers are made by the others:
 *
 * - Sums start at OFFSET, above the largest that 128 products of codes can come to, so
 *   that none is negative. Their bits, taken as a float, are then a denormal, which
 *   multiply-adds take as fast as any other: sum * scale + c is, as the bits of a
 *   denormal again, the integer t = 1024 (x - m + 15), rounded. What would be negative
 *   has the sign bit, is the least of integers when two are packed in 16 bits each, and
 *   is there the bits of a half: -0.
 * - The half with bits t is 2^e (1 + f) for t / 1024 - 15 = e + f: 2^(x - m), too large
 *   by up to 6 %. The one with bits t + 512 is so elsewhere, and half(t) + 2^-1/2
 *   half(t + 512) is 2.0814 * 2^(x - m) within 1 %, 0.45 % on average; e4m3 rounds by
 *   2.5 %. The factor is in P and in its sum, and drops out.
 * - P is 448 at t = LIMIT. A row's m is set so that the largest t of its first tile is
 *   AIM, where P is 112 and a code has it exactly: a key that outweighs all others is
 *   not rounded. m moves only when a t comes out above LIMIT; then AIM is where the
 *   largest comes again. No t is above LIMIT when a thread's sum of 16 P is 448 or
 *   less, and only when it is more are the t looked at.
 * - What is beyond 16 bits, a jump by more than 2^8 over LIMIT within one tile, is
 * 32767 (a NaN, which no sum hides); then all is done again from the codes in shared
 *   memory, one multiply-add after another.
 *
 * Per row nothing depends on other rows; that a warp looks is decided by all of its
 * rows, what it does to a row by the row alone.
 */
#ifndef KERNELS_CUDA_ATTENTION_POWERS_CUH
#define KERNELS_CUDA_ATTENTION_POWERS_CUH

#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/halves.cuh"
#include "kernels/cuda/hopper.cuh"

enum {
    ONE = 1024, /* of t: a binade */
    OFFSET = 1 << 21,
    LIMIT = 23288,
    AIM = LIMIT - 2 * ONE,
    BEYOND = 32767,
    NEVER = 0x8000,         /* -0: the t of a key that takes no part */
    MOST = 0x5f00,          /* 448 as a half */
    HALF_ON = 0x02000200,   /* half a binade, twice */
    ROOT_HALF = 0x39a839a8, /* 2^-1/2, twice */
};

#define POWER_LIFT 1.05753f /* log2 of the factor in P */

/* A warp's place in a tile, in shared memory; `left`: keys of the tile and on. */
struct tile_view {
    uint32_t query, keys, k_scale;
    int left;
};

/* In this file m of struct rows_state is 1024 (15 - m) as the bits of a float that
 * counts in 2^-149, `scale` is times 1024: rows_open() and rows_close(). */
static __device__ __forceinline__ float bits_float(float v)
{
    return v * 0x1p-100f * 0x1p-49f;
}

static __device__ __forceinline__ float float_bits(float v)
{
    return v * 0x1p100f * 0x1p49f;
}

static __device__ __forceinline__ void rows_open(struct rows_state &st)
{
    st.m[0] = st.m[1] = 0.0f;
    st.scale[0] *= ONE;
    st.scale[1] *= ONE;
}

static __device__ __forceinline__ void rows_close(struct rows_state &st)
{
#pragma unroll
    for (int row = 0; row < 2; row++)
        st.m[row] = 15.0f - float_bits(st.m[row]) * (1.0f / ONE);
}

/* ---- exponents ----------------------------------------------------------------- */

/* volatile: not before the product is waited for */
static __device__ __forceinline__ int bits_fma(int sum, float scale, float c)
{
    int t;

    asm volatile("fma.rn.f32 %0, %1, %2, %3;" : "=r"(t) : "r"(sum), "f"(scale), "f"(c));
    return t;
}

/* Read where it is needed, lest what is made from it is kept in registers. */
static __device__ __forceinline__ int thread_now(void)
{
    int r;

    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(r));
    return r;
}

/* Key i of the thread's four of a row in the b-th 16 keys: element of the result. */
static __device__ __forceinline__ int element(int b, int row, int i)
{
    return i / 2 * 32 + 4 * b + 2 * row + i % 2;
}

/* The key, within the tile, of an element of a thread of four. */
static __device__ __forceinline__ int key_of(int at, int quad)
{
    return at / 4 % 8 * 16 + quad * 4 + at / 32 * 2 + at % 2;
}

static __device__ __forceinline__ void k_scales_load(uint32_t at, int from,
                                                     float (&to)[8])
{
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(to[from]), "=f"(to[from + 1]), "=f"(to[from + 2]),
                   "=f"(to[from + 3])
                 : "r"(at + 4 * from));
}

/* t of four keys that share a scale. */
static __device__ __forceinline__ void four_make(const struct rows_state &st, int row,
                                                 float k_scale, int (&x)[4])
{
    float scale = st.scale[row] * k_scale;
    float c = __fmaf_rn(-__int_as_float(OFFSET), scale, st.m[row]);

#pragma unroll
    for (int i = 0; i < 4; i++)
        x[i] = bits_fma(x[i], scale, c);
}

/* Pairs are t[2 b + row] and, of the other two keys of four, t[2 b + row + 16]. */
static __device__ __forceinline__ void four_pack(const int (&x)[4], int b, int row,
                                                 uint32_t (&t)[32])
{
    t[2 * b + row] = pair_pack(x[0], x[1]);
    t[2 * b + row + 16] = pair_pack(x[2], x[3]);
}

/* k_scale: the first four are there. */
static __device__ __forceinline__ void exponents_make(const struct rows_state &st,
                                                      uint32_t scales_at,
                                                      float (&k_scale)[8],
                                                      const int (&raw)[64],
                                                      uint32_t (&t)[32])
{
#pragma unroll
    for (int b = 0; b < 8; b++) {
        if (b == 2)
            k_scales_load(scales_at, 4, k_scale);
#pragma unroll
        for (int row = 0; row < 2; row++) {
            int x[4];

#pragma unroll
            for (int i = 0; i < 4; i++)
                x[i] = raw[element(b, row, i)];
            four_make(st, row, k_scale[b], x);
            four_pack(x, b, row, t);
        }
    }
}

/* Keys from `left` on take no part. */
static __device__ __forceinline__ void exponents_mask(uint32_t (&t)[32], int left)
{
    int quad = thread_now() % 4;

#pragma unroll
    for (int i = 0; i < 32; i++) {
        if (key_of(2 * i, quad) >= left)
            t[i] = (t[i] & 0xffff0000u) | NEVER;
        if (key_of(2 * i + 1, quad) >= left)
            t[i] = (t[i] & 0xffffu) | (uint32_t)NEVER << 16;
    }
}

/* ---- codes --------------------------------------------------------------------- */

static __device__ __forceinline__ uint32_t power(uint32_t t)
{
    return half2_fma(t + HALF_ON, ROOT_HALF, t);
}

/* P: its codes, and the sums of each row's two halves. */
static __device__ __forceinline__ void codes_make(const uint32_t (&t)[32],
                                                  uint32_t (&p)[4][4],
                                                  uint32_t (&sum)[2])
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        uint32_t some[4];

#pragma unroll
        for (int b = 0; b < 8; b++) {
            uint32_t lo = power(t[2 * b + row]), hi = power(t[2 * b + row + 16]);
            uint32_t both = half2_add(lo, hi);

            p[b / 2][b % 2 * 2 + row] = half4_codes(lo, hi);
            some[b % 4] = b < 4 ? both : half2_add(some[b % 4], both);
        }
        sum[row] = half2_add(half2_add(some[0], some[1]), half2_add(some[2], some[3]));
    }
}

/* ---- rows that need another m -------------------------------------------------- */

/* The largest of a row, of which a thread of four has `top`. */
static __device__ __forceinline__ float row_top(float top)
{
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    return float_bits(fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2)));
}

/* m of each row rises by `by`; what was added up so far shrinks. */
static __device__ __forceinline__ void rows_shrink(struct rows_state &st,
                                                   const float (&by)[2])
{
    float shrink[2];

#pragma unroll
    for (int row = 0; row < 2; row++) {
        st.m[row] -= bits_float(by[row]);
        shrink[row] = exp2_fast(-by[row] * (1.0f / ONE));
        st.l[row] *= shrink[row];
    }
#pragma unroll
    for (int i = 0; i < 64; i++)
        st.o[i] *= shrink[i / 2 % 2];
}

/* m of both rows from the sums of the first tile. */
static __device__ __forceinline__ void rows_first(struct rows_state &st,
                                                  uint32_t scales_at, int left,
                                                  const int (&raw)[64])
{
    float top[2] = {-INFINITY, -INFINITY};
    int quad = threadIdx.x % 4;

#pragma unroll
    for (int i = 0; i < 16; i++) {
        int b = i / 2, row = i % 2, x[4];

#pragma unroll
        for (int j = 0; j < 4; j++)
            x[j] = raw[element(b, row, j)];
        four_make(st, row, shared_float(scales_at + 4 * b), x);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (key_of(element(b, row, j), quad) < left)
                top[row] = fmaxf(top[row], __int_as_float(x[j]));
        }
    }
#pragma unroll
    for (int row = 0; row < 2; row++)
        st.m[row] = bits_float((float)AIM - row_top(top[row]));
}

/* The largest t of a thread, of one row or (step 1) of both. */
static __device__ __forceinline__ int pairs_top(const uint32_t (&t)[32], int first,
                                                int step)
{
    uint32_t top = t[first];

#pragma unroll
    for (int i = first + step; i < 32; i += 2 * step)
        top = pair_max(top, t[i], t[i + step < 32 ? i + step : i]);
    return max(pair_first(top), pair_second(top));
}

/* From what is there: no t is beyond 16 bits. */
static __device__ __forceinline__ void rows_shift(struct rows_state &st,
                                                  uint32_t (&t)[32])
{
    float by[2];
    int down[2];

#pragma unroll
    for (int row = 0; row < 2; row++) {
        int top = pairs_top(t, row, 2);

        top = max(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = max(top, __shfl_xor_sync(0xffffffffu, top, 2));
        down[row] = top > LIMIT ? top - AIM : 0;
        by[row] = (float)down[row];
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
        int a = pair_first(t[i]) - down[i % 2], b = pair_second(t[i]) - down[i % 2];

        t[i] = pair_pack(a < 0 ? -NEVER : a, b < 0 ? -NEVER : b);
    }
    rows_shrink(st, by);
}

/* d += a b^T, 16 rows by 8, 32 bytes of each; by one warp. */
static __device__ __forceinline__ void warp_product_i8(int (&d)[4], const int (&a)[4],
                                                       const int (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The sums of the b-th 16 keys once more: one warp alone cannot ask for the product of
 * a warpgroup. d: of rows 8 b and on of the tile of keys, and of those 64 further. */
static __device__ __forceinline__ void sums_again(const struct tile_view &v, int b,
                                                  int (&d)[2][4])
{
    int thread = thread_now(), first = thread % 128 / WARP * 16 + thread % WARP / 4;
    int other = 8 * b + thread % WARP / 4, at = thread % 4 * 4;

#pragma unroll
    for (int i = 0; i < 8; i++)
        d[i / 4][i % 4] = OFFSET;
#pragma unroll 1
    for (int piece = 0; piece < 8; piece += 2) {
        int q[4];

#pragma unroll
        for (int i = 0; i < 4; i++)
            q[i] = shared_int(tile_at(v.query, first + i % 2 * 8, piece + i / 2) + at);
#pragma unroll
        for (int far = 0; far < 2; far++) {
            int k[2];

#pragma unroll
            for (int i = 0; i < 2; i++)
                k[i] = shared_int(tile_at(v.keys, other + 64 * far, piece + i) + at);
            warp_product_i8(d[far], q, k);
        }
    }
}

/* The b-th 16 keys' exponents, unpacked. */
static __device__ __forceinline__ void exponents_again(const struct rows_state &st,
                                                       const struct tile_view &v, int b,
                                                       int (&x)[2][4])
{
    float k_scale = shared_float(v.k_scale + 4 * b);
    int d[2][4];

    sums_again(v, b, d);
#pragma unroll
    for (int row = 0; row < 2; row++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            x[row][i] = d[i / 2][2 * row + i % 2];
        four_make(st, row, k_scale, x[row]);
    }
}

/* From the codes: a t was beyond 16 bits. */
static __device__ __forceinline__ void rows_again(struct rows_state &st,
                                                  const struct tile_view &v,
                                                  uint32_t (&t)[32])
{
    float top[2] = {-INFINITY, -INFINITY}, by[2];
    int x[2][4], quad = thread_now() % 4;

#pragma unroll
    for (int b = 0; b < 8; b++) {
        exponents_again(st, v, b, x);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (key_of(element(b, i / 4, i % 4), quad) < v.left)
                top[i / 4] = fmaxf(top[i / 4], __int_as_float(x[i / 4][i % 4]));
        }
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float most = row_top(top[row]);

        by[row] = most > (float)LIMIT ? most - (float)AIM : 0.0f;
    }
    rows_shrink(st, by);
#pragma unroll
    for (int b = 0; b < 8; b++) {
        exponents_again(st, v, b, x);
        four_pack(x[0], b, 0, t);
        four_pack(x[1], b, 1, t);
    }
    exponents_mask(t, v.left);
}

/* True if t is another now. */
static __device__ __forceinline__ bool rows_look(struct rows_state &st,
                                                 const struct tile_view &v, int keys,
                                                 uint32_t (&t)[32])
{
    bool masked = v.left < keys;
    int top;

    if (masked)
        exponents_mask(t, v.left);
    top = pairs_top(t, 0, 1);
    if (!__any_sync(0xffffffffu, top > LIMIT))
        return masked;
    if (__any_sync(0xffffffffu, top == BEYOND))
        rows_again(st, v, t);
    else
        rows_shift(st, t);
    return true;
}

#endif
