/* wide_finish.cu - i32 sums of a product to bf16
 *
 * What finish_kernel in linear.cu does, value by value in the same order: the scale of
 * all of w, of the row, of the column, the bias. A thread has eight columns of SOME
 * rows, and what belongs to columns in registers; it fetches FLYING rows before it
 * works on the first.
 */
#include "kernels/cuda/wide.cuh"

enum { THREADS = 128, SOME = 16, FLYING = 4 };

struct finish_work {
    const int32_t *sums;
    __nv_bfloat16 *y;
    int64_t stride;
    int rows, cols;
    const float *all_scale, *row_scale, *col_scale, *bias;
};

struct eight_sums {
    int4 low, high;
};

static __device__ __forceinline__ struct eight floats_of(const struct eight_sums &s,
                                                         float all)
{
    struct eight e = {{(float)s.low.x, (float)s.low.y, (float)s.low.z, (float)s.low.w,
                       (float)s.high.x, (float)s.high.y, (float)s.high.z,
                       (float)s.high.w}};

#pragma unroll
    for (int i = 0; i < EIGHT; i++)
        e.v[i] *= all;
    return e;
}

static __global__ void __launch_bounds__(THREADS)
    sums_kernel(const __grid_constant__ struct finish_work a)
{
    int col = ((int)blockIdx.y * THREADS + (int)threadIdx.x) * EIGHT;
    int64_t begin = (int64_t)blockIdx.x * SOME;
    int64_t end = min(begin + SOME, (int64_t)a.rows);
    float all = a.all_scale ? *a.all_scale : 1.0f;
    struct eight scale, bias;

    if (col >= a.cols)
        return;
    scale = columns_fetch(a.col_scale, col, col + HALF, 1.0f);
    bias = columns_fetch(a.bias, col, col + HALF, -0.0f);
    for (int64_t at = begin; at < end; at += FLYING) {
        struct eight_sums raw[FLYING];
        float by[FLYING];

#pragma unroll
        for (int r = 0; r < FLYING; r++) {
            int64_t row = min(at + r, end - 1);
            const int4 *from = (const int4 *)(a.sums + row * a.cols + col);

            raw[r] = {from[0], from[1]};
            by[r] = a.row_scale ? a.row_scale[row] : 1.0f;
        }
#pragma unroll
        for (int r = 0; r < FLYING; r++) {
            struct eight e = eight_finish(floats_of(raw[r], all), by[r], scale, bias);

            if (at + r < end)
                *(uint4 *)(a.y + (at + r) * a.stride + col) = eight_bf16(e);
        }
    }
}

static bool in_fours(const float *p)
{
    return (uintptr_t)p % 16 == 0;
}

extern "C" bool linear_wide_fits(const struct tensor *y, const struct tensor *x,
                                 const struct tensor *w, const struct tensor *bias)
{
    return x->dtype == DT_I8 && y->dtype == DT_BF16 && y->shape[1] % EIGHT == 0 &&
           y->stride[0] % EIGHT == 0 && (uintptr_t)y->data % 16 == 0 &&
           y->shape[0] < (int64_t)1 << 30 && y->shape[1] < (int64_t)1 << 20 &&
           (w->scales.kind != SCALE_ROW || in_fours(w->scales.data)) &&
           (!bias || in_fours((const float *)bias->data));
}

extern "C" cudaError_t linear_wide_launch(const struct tensor *y, const void *sums,
                                          const struct tensor *x,
                                          const struct tensor *w,
                                          const struct tensor *bias,
                                          cudaStream_t stream)
{
    struct finish_work a = {(const int32_t *)sums,
                            (__nv_bfloat16 *)y->data,
                            y->stride[0],
                            (int)y->shape[0],
                            (int)y->shape[1],
                            w->scales.kind == SCALE_TENSOR ? w->scales.data : NULL,
                            x->scales.kind == SCALE_ROW ? x->scales.data : NULL,
                            w->scales.kind == SCALE_ROW ? w->scales.data : NULL,
                            bias ? (const float *)bias->data : NULL};
    dim3 grid((unsigned)((a.rows + SOME - 1) / SOME),
              (unsigned)((a.cols + THREADS * EIGHT - 1) / (THREADS * EIGHT)));

    sums_kernel<<<grid, THREADS, 0, stream>>>(a);
    return cudaGetLastError();
}
