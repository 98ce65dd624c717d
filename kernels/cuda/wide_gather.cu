/* wide_gather.cu - bf16 results of heads of 128 to e4m3 rows, a warp for each row
 *
 * What gather_kernel in heads.cu does. A lane has 8 columns of every 256, all of them
 * fetched before the first is worked on: a warp has a whole row in registers and meets
 * no other.
 */
#include "kernels/cuda/wide.cuh"

enum { WIDTH = 128, STEP = WARP * EIGHT, WARPS = 8 };

struct gather_work {
    struct head_part part[LAUNCH_PARTS_MAX];
    int n_parts, rows;
    uint8_t *out;
    float *out_scale;
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
    for (int i = 0; i < PACKS; i++) {
        int head = 2 * i + lane / (WIDTH / EIGHT);

        if (a.n_parts > 1)
            part = part_of(a, head, part);
        raw[i] = *(const uint4 *)((const __nv_bfloat16 *)a.part[part].t.data +
                                  row * a.part[part].t.stride[0] +
                                  (head - a.part[part].head_begin) *
                                      a.part[part].t.stride[1] +
                                  lane * EIGHT % WIDTH);
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
        *(uint2 *)(a.out + row * a.out_stride + i * STEP +
                   lane * EIGHT) = eight_e4m3(eight_of(raw[i]), by);
}

/* Parts in the order of their heads, as they come from an exchange. */
extern "C" bool gather_wide_fits(const struct op_gather *a,
                                 const struct launch_limits *l)
{
    int64_t d = a->out->shape[1], heads = 0;
    bool fits = a->n_add == 0 && a->n_parts <= LAUNCH_PARTS_MAX &&
                a->out->dtype == DT_E4M3 && wide_aligned(a->out, EIGHT) &&
                (d == 20 * STEP || d == 6 * STEP) &&
                a->out->shape[0] < (int64_t)1 << 31;

    (void)l;
    for (int i = 0; fits && i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;

        fits = t->dtype == DT_BF16 && t->shape[2] == WIDTH &&
               a->parts[i].head_begin == heads && wide_aligned(t, EIGHT) &&
               t->stride[1] % EIGHT == 0;
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

    (void)l;
    for (int i = 0; i < a->n_parts; i++)
        w.part[i] = a->parts[i];
    w.n_parts = a->n_parts;
    w.rows = (int)a->out->shape[0];
    w.out = (uint8_t *)a->out->data;
    w.out_scale = a->out->scales.data;
    w.out_stride = a->out->stride[0];
    if (a->out->shape[1] == 20 * STEP)
        gather_wide_kernel<20><<<blocks, WARPS * WARP, 0, stream>>>(w);
    else
        gather_wide_kernel<6><<<blocks, WARPS * WARP, 0, stream>>>(w);
    return cudaGetLastError();
}
