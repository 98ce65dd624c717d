/* wide_values.cu - v rows of heads of 128, transposed to e4m3 for attention
 *
 * What codes_kernel in values.cu does, for raw bf16 products. A block takes 128 tokens
 * of one head, all of them fetched before the first is worked on; a thread has 8 tokens
 * of 8 channels, so it can put 8 codes of a channel together:
 *
 *     thread 16 g + c: tokens 8 g .. 8 g + 7, channels 8 c .. 8 c + 7
 *
 * Blocks of the heads of the same tokens follow each other, so that rows of y are read
 * as a whole at about the same time.
 *
 * The codes cross through shared memory in pieces of 8 tokens. Piece g of a channel of
 * column c lies at g ^ c: the 16 threads that write the same channel of 16 columns meet
 * all banks once, and so do those that read two neighbouring pieces of a channel.
 */
#include "kernels/cuda/wide_rows.cuh"

enum { TOKENS = 128, WIDTH = 128, COLUMNS = WIDTH / EIGHT, WARPS = BLOCK / WARP };

struct values_work {
    const __nv_bfloat16 *y;
    int64_t stride, rows;
    const float *row_scale, *col_scale, *bias;
    struct head_part part;
};

/* Of a block, in shared memory. */
struct crossing {
    uint2 code[WIDTH][TOKENS / EIGHT];
    float top[WARPS][WIDTH];
    float near[WIDTH], rest[WIDTH];
};

/* Values of this thread's channels for token r of its eight; zeros behind the last. */
static __device__ __forceinline__ struct eight token_values(const uint4 &raw, float row,
                                                            const struct eight &scale,
                                                            const struct eight &bias,
                                                            bool there)
{
    struct eight e = eight_finish(eight_of(raw), row, scale, bias);

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        e.v[i] = there ? e.v[i] : 0.0f;
    return e;
}

/* The greatest of each channel over the block: two tokens' groups of a warp at once. */
static __device__ __forceinline__ void tops_put(const struct eight &top,
                                                struct crossing *x)
{
    int lane = threadIdx.x % WARP, column = threadIdx.x % COLUMNS;
    float4 *to = (float4 *)x->top[threadIdx.x / WARP] + 2 * column;
    float t[EIGHT];

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        t[i] = fmaxf(top.v[i], __shfl_xor_sync(0xffffffffu, top.v[i], 16));
    if (lane < COLUMNS) {
        to[0] = make_float4(t[0], t[1], t[2], t[3]);
        to[1] = make_float4(t[4], t[5], t[6], t[7]);
    }
}

/* A thread per channel. */
static __device__ __forceinline__ void scales_make(const struct values_work &a,
                                                   struct crossing *x, float *scales)
{
    const struct tensor &t = a.part.t;
    int c = threadIdx.x;
    float top = 0.0f;
    struct inverse by;

    if (c >= WIDTH)
        return;
#pragma unroll
    for (int w = 0; w < WARPS; w++)
        top = fmaxf(top, x->top[w][c]);
    by = inverse_of<false>(top);
    scales[c * t.scales.stride[1]] = by.scale;
    x->near[c] = by.near;
    x->rest[c] = by.rest;
}

/* Token by token into words of a channel: codes of tokens r and r + 1. */
static __device__ __forceinline__ void codes_put(const uint4 (&raw)[EIGHT],
                                                 const float (&row)[EIGHT],
                                                 const struct eight &scale,
                                                 const struct eight &bias, int there,
                                                 struct crossing *x)
{
    int column = threadIdx.x % COLUMNS, group = threadIdx.x / COLUMNS;
    uint32_t two[EIGHT][EIGHT / 2];
    struct inverse by[EIGHT];

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        by[i] = {0.0f, x->near[column * EIGHT + i], x->rest[column * EIGHT + i]};
#pragma unroll
    for (int r = 0; r < EIGHT; r += 2) {
        struct eight a = token_values(raw[r], row[r], scale, bias, r < there);
        struct eight b = token_values(raw[r + 1], row[r + 1], scale, bias,
                                      r + 1 < there);

#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            two[i][r / 2] = e4m3_two(quotient_signed(a.v[i], by[i]),
                                     quotient_signed(b.v[i], by[i]));
    }
#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        x->code[column * EIGHT + i][group ^ column] = make_uint2(
            two[i][0] | two[i][1] << 16, two[i][2] | two[i][3] << 16);
}

/* 16 tokens of a channel per thread, 8 threads a channel. */
static __device__ __forceinline__ void codes_write(const struct values_work &a,
                                                   const struct crossing *x, char *to)
{
    int piece = threadIdx.x % (TOKENS / 16);

#pragma unroll
    for (int i = 0; i < WIDTH * TOKENS / 16 / BLOCK; i++) {
        int channel = i * (BLOCK * 16 / TOKENS) + threadIdx.x / (TOKENS / 16);
        int column = channel / EIGHT;
        uint4 code = ((const uint4 *)x->code[channel])[piece ^ column / 2];

        if (column % 2)
            code = make_uint4(code.z, code.w, code.x, code.y);
        *(uint4 *)(to + channel * a.part.t.stride[1] + piece * 16) = code;
    }
}

static __global__ void __launch_bounds__(BLOCK, 3)
    values_wide_kernel(const __grid_constant__ struct values_work a)
{
    __shared__ __align__(16) struct crossing x;
    const struct tensor &t = a.part.t;
    int column = threadIdx.x % COLUMNS, group = threadIdx.x / COLUMNS;
    int64_t h = blockIdx.x, begin = (int64_t)blockIdx.y * TOKENS;
    int64_t first = begin + group * EIGHT;
    int col = (int)(a.part.head_begin + h) * WIDTH + column * EIGHT;
    int there = (int)(a.rows - first < EIGHT ? a.rows - first : EIGHT);
    struct eight top = {}, scale, bias;
    uint4 raw[EIGHT];
    float row[EIGHT];

#pragma unroll
    for (int r = 0; r < EIGHT; r++) {
        raw[r] = make_uint4(0, 0, 0, 0);
        row[r] = 1.0f;
        if (r >= there)
            continue;
        raw[r] = *(const uint4 *)(a.y + (first + r) * a.stride + col);
        if (a.row_scale)
            row[r] = a.row_scale[first + r];
    }
    scale = columns_fetch(a.col_scale, col, col + HALF, 1.0f);
    bias = columns_fetch(a.bias, col, col + HALF, -0.0f);
#pragma unroll
    for (int r = 0; r < EIGHT; r++) {
        struct eight e = token_values(raw[r], row[r], scale, bias, r < there);

#pragma unroll
        for (int i = 0; i < EIGHT; i++)
            top.v[i] = fmaxf(top.v[i], fabsf(e.v[i]));
    }
    tops_put(top, &x);
    __syncthreads();
    scales_make(a, &x, t.scales.data + h * t.scales.stride[0] + blockIdx.y);
    __syncthreads();
    codes_put(raw, row, scale, bias, there, &x);
    __syncthreads();
    codes_write(a, &x, (char *)t.data + h * t.stride[0] + begin);
}

extern "C" bool values_wide_fits(const struct op_values *a,
                                 const struct launch_limits *l)
{
    bool fits = a->head_dim == WIDTH && a->y->dtype == DT_BF16 &&
                wide_aligned(a->y, EIGHT);

    (void)l;
    if (values_rows_fits(a))
        return true;
    for (int i = 0; fits && i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;

        fits = t->dtype == DT_E4M3 && (uintptr_t)t->data % 16 == 0 &&
               t->stride[0] % 16 == 0 && t->stride[1] % 16 == 0 &&
               t->shape[2] / TOKENS < 65536;
    }
    return fits;
}

extern "C" cudaError_t values_wide_launch(const struct op_values *a,
                                          const struct launch_limits *l,
                                          cudaStream_t stream)
{
    (void)l;
    if (values_rows_fits(a))
        return values_rows_launch(a, stream);
    for (int i = 0; i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;
        struct values_work w = {(const __nv_bfloat16 *)a->y->data,
                                a->y->stride[0],
                                a->y->shape[0],
                                a->y->pending.row_scale,
                                a->y->pending.col_scale,
                                a->y->pending.bias,
                                a->parts[i]};
        dim3 grid((unsigned)a->parts[i].n_heads, (unsigned)(t->shape[2] / TOKENS));

        if (grid.x && grid.y)
            values_wide_kernel<<<grid, BLOCK, 0, stream>>>(w);
    }
    return cudaGetLastError();
}
