/* conv.cuh - what the convolutions on a matrix unit share: tiles, and their results
 *
 * A tile is 16 x 16 pixels of one frame by WIDTH outputs; row r of it is its pixel
 * (r / 16, r mod 16). In the result layout of a product a thread holds, of two rows
 * that are 8 apart, two neighbouring outputs of each 8.
 */
#ifndef KERNELS_CUDA_CONV_CUH
#define KERNELS_CUDA_CONV_CUH

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

enum {
    SIDE = 16,           /* pixels of a tile, each way */
    PIXELS = SIDE * SIDE /* rows of a product */
};

struct conv_view {
    struct tensor x, y, residual;
    const __nv_bfloat16 *weight;
    const float *bias;
    int in[3];  /* frames, rows, columns of x, doubled */
    int out[3]; /* of y */
    int kernel[3], pad[3], stride[3];
    int up; /* 1: x is read doubled */
    int channels, outputs, depth;
    int across, down, wide; /* tiles of a frame, tiles of outputs */
    int64_t tiles;
};

/* Where a tile lies: in y, and which outputs. */
struct place {
    int t, h, w, o;
};

template <int WIDTH>
static __device__ __forceinline__ struct place place_of(const struct conv_view &a,
                                                        int64_t tile)
{
    struct place p;

    p.o = (int)(tile % a.wide) * WIDTH;
    tile /= a.wide;
    p.w = (int)(tile % a.across) * SIDE;
    tile /= a.across;
    p.h = (int)(tile % a.down) * SIDE;
    p.t = (int)(tile / a.down);
    return p;
}

/* ---- results ------------------------------------------------------------------- */

/* Two neighbouring outputs of a pixel as floats, and back. */
static __device__ __forceinline__ float2 pair_load(const struct tensor &t, int64_t at)
{
    if (t.dtype == DT_F32)
        return *(const float2 *)((const float *)t.data + at);
    return __bfloat1622float2(
        *(const __nv_bfloat162 *)((const __nv_bfloat16 *)t.data + at));
}

static __device__ __forceinline__ void pair_store(const struct tensor &t, int64_t at,
                                                  float2 v)
{
    if (t.dtype == DT_F32)
        *(float2 *)((float *)t.data + at) = v;
    else
        *(__nv_bfloat162 *)((__nv_bfloat16 *)t.data + at) = __floats2bfloat162_rn(v.x,
                                                                                  v.y);
}

/* A few outputs: one at a time. */
static __device__ __forceinline__ void few_store(const struct conv_view &a, int64_t to,
                                                 int64_t from, int o, const float *d)
{
    for (int e = 0; e < 2; e++, o++) {
        float v = d[e];

        if (o >= a.outputs)
            break;
        if (a.bias)
            v += a.bias[o];
        if (a.residual.data)
            v += elem_load(a.residual, from + o);
        elem_store(a.y, to + o, v);
    }
}

/* Outputs of one pixel; the thread has two of each 8. Residuals are read some at a
 * time, before what is written: they may lie in one place. */
template <int WIDTH>
static __device__ __forceinline__ void pixel_store(const struct conv_view &a,
                                                   int64_t to, int64_t from, int o,
                                                   int half,
                                                   const float (&d)[WIDTH / 2])
{
    enum { PAIRS = WIDTH / 8, BATCH = PAIRS > 12 ? 6 : PAIRS };

#pragma unroll
    for (int b = 0; b < PAIRS; b += BATCH) {
        float2 old[BATCH];

#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int at = o + 8 * (b + i);

            old[i] = make_float2(0.0f, 0.0f);
            if (a.residual.data && at < a.outputs)
                old[i] = pair_load(a.residual, from + at);
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int at = o + 8 * (b + i);
            float2 v = {d[4 * (b + i) + 2 * half], d[4 * (b + i) + 2 * half + 1]};

            if (at >= a.outputs)
                continue;
            if (a.bias) {
                v.x += a.bias[at];
                v.y += a.bias[at + 1];
            }
            pair_store(a.y, to + at, make_float2(v.x + old[i].x, v.y + old[i].y));
        }
    }
}

/* Row `row` of a tile; `half`: which of the thread's two. */
template <int WIDTH>
static __device__ __forceinline__ void row_store(const struct conv_view &a,
                                                 const struct place &p, int row, int o,
                                                 int half, const float (&d)[WIDTH / 2])
{
    int h = p.h + row / SIDE, w = p.w + row % SIDE;
    const int64_t *y = a.y.stride, *r = a.residual.stride;

    int64_t to = p.t * y[0] + h * y[1] + w * y[2];
    int64_t from = p.t * r[0] + h * r[1] + w * r[2];

    if (h >= a.out[1] || w >= a.out[2])
        return;
    if constexpr (WIDTH == 8)
        few_store(a, to, from, o, d + 2 * half);
    else
        pixel_store<WIDTH>(a, to, from, o, half, d);
}

/* ---- launching ----------------------------------------------------------------- */

static inline bool strides_fit(const struct tensor *t, int64_t unit)
{
    return t->stride[0] % unit == 0 && t->stride[1] % unit == 0 &&
           t->stride[2] % unit == 0;
}

/* Pairs of outputs can be read and written as one. */
static inline bool pairs_fit(const struct tensor *t)
{
    return (t->dtype == DT_BF16 || t->dtype == DT_F32) && strides_fit(t, 2) &&
           (uintptr_t)t->data % 8 == 0;
}

/* Pictures and weights of this type can be read by `unit` values, results written. */
static inline bool conv_tiles_fit(const struct op_conv *a, enum dtype dt, int64_t unit)
{
    int64_t outputs = a->weight->shape[0];

    if (a->x->dtype != dt || a->weight->dtype != dt || a->x->shape[3] % unit != 0 ||
        !strides_fit(a->x, unit) || (uintptr_t)a->x->data % 16 != 0 ||
        (uintptr_t)a->weight->data % 16 != 0)
        return false;
    if (outputs <= 8)
        return true;
    return outputs % 2 == 0 && pairs_fit(a->y) &&
           (!a->residual || pairs_fit(a->residual));
}

static inline struct conv_view conv_view_of(const struct op_conv *a)
{
    const int64_t *k = a->weight->shape;
    struct conv_view v = {};

    v.x = *a->x;
    v.y = *a->y;
    if (a->residual)
        v.residual = *a->residual;
    v.weight = (const __nv_bfloat16 *)a->weight->data;
    v.bias = a->bias ? (const float *)a->bias->data : NULL;
    v.up = a->upsample == 2;
    for (int i = 0; i < 3; i++) {
        v.in[i] = (int)a->x->shape[i] << (i > 0 ? v.up : 0);
        v.out[i] = (int)a->y->shape[i];
        v.kernel[i] = (int)k[1 + i];
        v.pad[i] = a->pad_lo[i];
        v.stride[i] = a->stride[i];
    }
    v.channels = (int)k[4];
    v.outputs = (int)k[0];
    v.depth = (int)(k[1] * k[2] * k[3] * k[4]);
    v.across = (v.out[2] + SIDE - 1) / SIDE;
    v.down = (v.out[1] + SIDE - 1) / SIDE;
    return v;
}

/* Launch with as many blocks as there are tiles, at most one per multiprocessor. */
template <int WIDTH>
static cudaError_t tiles_launch(void (*kernel)(struct conv_view), int threads,
                                size_t shared, struct conv_view *v, int units,
                                cudaStream_t stream)
{
    cudaError_t st = shared_allow(kernel, shared);

    v->wide = (v->outputs + WIDTH - 1) / WIDTH;
    v->tiles = (int64_t)v->out[0] * v->down * v->across * v->wide;
    if (st != cudaSuccess)
        return st;
    kernel<<<(unsigned)(v->tiles < units ? v->tiles : units), threads, shared,
             stream>>>(*v);
    return cudaGetLastError();
}

#endif
