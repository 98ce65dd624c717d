/* values.cu - v rows to heads: as they are, or transposed to e4m3 for attention
 *
 * Transposed: a block takes 128 tokens of one head and 32 channels, a thread a few
 * tokens of one channel; the codes cross through shared memory so that both the rows of
 * y and the channels of the result are touched in order.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

enum { TOKENS = 128, CHANNELS = 32, LANES = 8 };

struct values_view {
    struct tensor y;
    struct head_part part;
    int head_dim;
};

/* ---- as they are --------------------------------------------------------------- */

static __global__ void plain_kernel(struct values_view a)
{
    const struct tensor &t = a.part.t;
    int64_t row = blockIdx.x;
    int64_t cols = (int64_t)a.part.n_heads * a.head_dim;
    int64_t first = (int64_t)a.part.head_begin * a.head_dim;

    for (int64_t c = threadIdx.x; c < cols; c += BLOCK) {
        int64_t at = c / a.head_dim * t.stride[0] + row * t.stride[1] + c % a.head_dim;

        elem_store(t, at, row_value(a.y, row, first + c));
    }
}

/* ---- transposed ---------------------------------------------------------------- */

static __global__ void codes_kernel(struct values_view a)
{
    __shared__ float value[TOKENS][CHANNELS + 1];
    __shared__ float part_top[LANES][CHANNELS];
    const struct tensor &t = a.part.t;
    int lane = threadIdx.x / CHANNELS, channel = threadIdx.x % CHANNELS;
    int64_t rows = a.y.shape[0], begin = (int64_t)blockIdx.x * TOKENS;
    int64_t c = (int64_t)blockIdx.y * CHANNELS + channel, h = blockIdx.z;
    int64_t col = (a.part.head_begin + h) * a.head_dim + c;
    int64_t at = h * t.stride[0] + begin;
    float top = 0.0f, scale;

    for (int r = lane; r < TOKENS; r += LANES) {
        bool there = begin + r < rows && c < a.head_dim;
        float v = there ? row_value(a.y, begin + r, col) : 0.0f;

        value[r][channel] = v;
        top = fmaxf(top, fabsf(v));
    }
    part_top[lane][channel] = top;
    __syncthreads();
    for (int i = 0; i < LANES; i++)
        top = fmaxf(top, part_top[i][channel]);
    scale = quant_scale(t.dtype, top);
    __syncthreads();
    if (lane == 0) {
        part_top[0][channel] = scale;
        if (c < a.head_dim)
            t.scales.data[h * t.scales.stride[0] + c * t.scales.stride[1] +
                          blockIdx.x] = scale;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < TOKENS * CHANNELS; i += BLOCK) {
        int ch = i / TOKENS, r = i % TOKENS;
        int64_t to = (int64_t)blockIdx.y * CHANNELS + ch;

        if (to < a.head_dim)
            quant_store(t, at + to * t.stride[1] + r, value[r][ch], part_top[0][ch]);
    }
}

static void part_put(const struct values_view *v, cudaStream_t stream)
{
    const struct tensor *t = &v->part.t;
    unsigned heads = (unsigned)v->part.n_heads;

    if (!heads)
        return;
    if (!is_code(t->dtype)) {
        if (v->y.shape[0])
            plain_kernel<<<(unsigned)v->y.shape[0], BLOCK, 0, stream>>>(*v);
    } else if (t->shape[2]) {
        dim3 grid((unsigned)(t->shape[2] / TOKENS),
                  (unsigned)((v->head_dim + CHANNELS - 1) / CHANNELS), heads);

        codes_kernel<<<grid, BLOCK, 0, stream>>>(*v);
    }
}

extern "C" cudaError_t values_launch(const struct op_values *a, cudaStream_t stream)
{
    for (int i = 0; i < a->n_parts; i++) {
        struct values_view v = {*a->y, a->parts[i], a->head_dim};

        part_put(&v, stream);
    }
    return cudaGetLastError();
}
