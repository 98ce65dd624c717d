/* wide_gather.cu - results of heads of 128 to rows, a warp for each row
 *
 * What gather_kernel in heads.cu does, for bf16 results to e4m3 or bf16 rows, and for
 * e4m3 results with a scale per token and head to e4m3 rows. A lane has 16 bytes of
 * every 512, all of them fetched before the first is worked on: a warp has a whole row
 * in registers and meets no other.
 *
 * The greatest value of a head is its greatest code times its scale, because rounding a
 * product keeps the order: so codes are made to values once, when they are written.
 */
#include "kernels/cuda/wide.cuh"

enum { WIDTH = 128, STEP = WARP * EIGHT, SIXTEEN = 2 * EIGHT, WARPS = 8 };

struct gather_work {
    struct head_part part[LAUNCH_PARTS_MAX];
    int n_parts, rows;
    char *out;
    float *out_scale; /* NULL: rows of bf16 */
    int64_t out_stride;
};

/* The part that has a head, from the one of a head before it on. */
static __device__ __forceinline__ int part_of(const struct gather_work &a, int head,
                                              int i)
{
    while (head >= a.part[i].head_begin + a.part[i].n_heads)
        i++;
    return i;
}

/* The greatest magnitude, from bits: those of a bf16 grow with it. */
static __device__ __forceinline__ uint32_t top_of(uint32_t top, uint32_t two)
{
    return __vmaxu2(top, two & 0x7fff7fffu);
}

/* What pack i of a lane belongs to, and where its bytes are; EACH: values of a pack. */
struct pack_place {
    const char *data;
    const float *scale;
};

template <int EACH>
static __device__ __forceinline__ struct pack_place place_of(
    const struct gather_work &a, int64_t row, int i, int *part)
{
    int lane = threadIdx.x % WARP;
    int head = (i * WARP + lane) / (WIDTH / EACH);
    int col = lane % (WIDTH / EACH) * EACH;

    if (a.n_parts > 1)
        *part = part_of(a, head, *part);

    const struct tensor &t = a.part[*part].t;

    head -= a.part[*part].head_begin;
    return {(const char *)t.data +
                (row * t.stride[0] + head * t.stride[1] + col) * (SIXTEEN / EACH),
            t.scales.data + row * t.scales.stride[0] + head};
}

/* ---- of bf16 ------------------------------------------------------------------- */

template <int PACKS>
static __global__ void __launch_bounds__(WARPS *WARP, 2)
    gather_wide_kernel(const __grid_constant__ struct gather_work a)
{
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP, part = 0;
    uint4 raw[PACKS];
    uint32_t top = 0;
    struct inverse by;

    if (row >= a.rows)
        return;
#pragma unroll
    for (int i = 0; i < PACKS; i++)
        raw[i] = *(const uint4 *)place_of<EIGHT>(a, row, i, &part).data;
    if (!a.out_scale) {
#pragma unroll
        for (int i = 0; i < PACKS; i++)
            ((uint4 *)(a.out + row * a.out_stride * 2))[i * WARP + lane] = raw[i];
        return;
    }
#pragma unroll
    for (int i = 0; i < PACKS; i++)
        top = top_of(top_of(top_of(top_of(top, raw[i].x), raw[i].y), raw[i].z),
                     raw[i].w);
    top = max(top << 16, top & 0xffff0000u);
    by = inverse_of<false>(warp_top(__uint_as_float(top)));
    if (lane == 0)
        a.out_scale[row] = by.scale;
#pragma unroll
    for (int i = 0; i < PACKS; i++)
        ((uint2 *)(a.out + row * a.out_stride))[i * WARP + lane] = eight_e4m3(
            eight_of(raw[i]), by);
}

/* ---- of codes ------------------------------------------------------------------ */

static __device__ __forceinline__ __half2 halves_of(uint32_t two)
{
    return __half2(__nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)two, __NV_E4M3));
}

/* The greatest magnitude of a pack's codes, as they are. */
static __device__ __forceinline__ float codes_top(const uint4 &raw)
{
    const uint32_t word[4] = {raw.x, raw.y, raw.z, raw.w};
    __half2 top = __habs2(halves_of(raw.x & 0xffffu));

#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i)
            top = __hmax2(top, __habs2(halves_of(word[i] & 0xffffu)));
        top = __hmax2(top, __habs2(halves_of(word[i] >> 16)));
    }
    return fmaxf(__low2float(top), __high2float(top));
}

static __device__ __forceinline__ uint32_t two_again(uint32_t two, float scale,
                                                     const struct inverse &by)
{
    float2 v = __half22float2(halves_of(two));

    return e4m3_two(quotient_signed(v.x * scale, by), quotient_signed(v.y * scale, by));
}

static __device__ __forceinline__ uint32_t four_again(uint32_t four, float scale,
                                                      const struct inverse &by)
{
    return two_again(four & 0xffffu, scale, by) | two_again(four >> 16, scale, by)
                                                      << 16;
}

template <int PACKS>
static __global__ void __launch_bounds__(WARPS *WARP, 3)
    gather_codes_kernel(const __grid_constant__ struct gather_work a)
{
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP, part = 0;
    uint4 raw[PACKS];
    float scale[PACKS], top = 0.0f;
    struct inverse by;

    if (row >= a.rows)
        return;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        struct pack_place from = place_of<SIXTEEN>(a, row, i, &part);

        raw[i] = *(const uint4 *)from.data;
        scale[i] = *from.scale;
    }
#pragma unroll
    for (int i = 0; i < PACKS; i++)
        top = fmaxf(top, codes_top(raw[i]) * scale[i]);
    by = inverse_of<false>(warp_top(top));
    if (lane == 0)
        a.out_scale[row] = by.scale;
#pragma unroll
    for (int i = 0; i < PACKS; i++)
        ((uint4 *)(a.out + row * a.out_stride))[i * WARP + lane] = make_uint4(
            four_again(raw[i].x, scale[i], by), four_again(raw[i].y, scale[i], by),
            four_again(raw[i].z, scale[i], by), four_again(raw[i].w, scale[i], by));
}

/* ---- launching ----------------------------------------------------------------- */

/* Results of this type to rows of that one. */
static bool types_fit(enum dtype from, enum dtype to)
{
    if (from == DT_BF16 && to == DT_E4M3)
        return true;
    return from == to && (to == DT_BF16 || to == DT_E4M3);
}

/* Parts in the order of their heads, as they come from an exchange. */
extern "C" bool gather_wide_fits(const struct op_gather *a,
                                 const struct launch_limits *l)
{
    int64_t d = a->out->shape[1], heads = 0;
    bool fits = a->n_add == 0 && a->n_parts <= LAUNCH_PARTS_MAX &&
                wide_aligned(a->out, SIXTEEN) && (d == 20 * STEP || d == 6 * STEP) &&
                a->out->shape[0] < (int64_t)1 << 31;

    (void)l;
    for (int i = 0; fits && i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;

        fits = t->dtype == a->parts[0].t.dtype && t->shape[2] == WIDTH &&
               types_fit(t->dtype, a->out->dtype) && a->parts[i].head_begin == heads &&
               wide_aligned(t, SIXTEEN) && t->stride[1] % SIXTEEN == 0;
        heads += a->parts[i].n_heads;
    }
    return fits && heads * WIDTH == d;
}

extern "C" cudaError_t gather_wide_launch(const struct op_gather *a,
                                          const struct launch_limits *l,
                                          cudaStream_t stream)
{
    struct gather_work w = {};
    unsigned blocks = (unsigned)((a->out->shape[0] + WARPS - 1) / WARPS);
    bool codes = a->parts[0].t.dtype == DT_E4M3, large = a->out->shape[1] == 20 * STEP;

    (void)l;
    for (int i = 0; i < a->n_parts; i++)
        w.part[i] = a->parts[i];
    w.n_parts = a->n_parts;
    w.rows = (int)a->out->shape[0];
    w.out = (char *)a->out->data;
    w.out_scale = a->out->dtype == DT_E4M3 ? a->out->scales.data : NULL;
    w.out_stride = a->out->stride[0];
    if (codes && large)
        gather_codes_kernel<10><<<blocks, WARPS * WARP, 0, stream>>>(w);
    else if (codes)
        gather_codes_kernel<3><<<blocks, WARPS * WARP, 0, stream>>>(w);
    else if (large)
        gather_wide_kernel<20><<<blocks, WARPS * WARP, 0, stream>>>(w);
    else
        gather_wide_kernel<6><<<blocks, WARPS * WARP, 0, stream>>>(w);
    return cudaGetLastError();
}
