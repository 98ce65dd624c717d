/* wide_finish.cu - i32 sums of a product to bf16
 *
 * What finish_kernel in linear.cu does, value by value in the same order: the scale of
 * all of w, of the row, of the column, the bias.
 */
#include "kernels/cuda/wide_walk.cuh"

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
    int col = walk_column();
    float all = a.all_scale ? *a.all_scale : 1.0f;

    rows_walk(
        a, col,
        [&](int64_t row) {
            const int4 *from = (const int4 *)(a.sums + row * a.cols + col);

            return eight_sums{from[0], from[1]};
        },
        [=](const struct eight_sums &raw) { return floats_of(raw, all); },
        [](struct eight &) {},
        [&](int64_t row, const uint4 &v) {
            *(uint4 *)(a.y + row * a.stride + col) = v;
        });
}

extern "C" bool linear_wide_fits(const struct tensor *y, const struct tensor *x,
                                 const struct tensor *w, const struct tensor *bias)
{
    return x->dtype == DT_I8 && y->dtype == DT_BF16 && walk_fits(y) &&
           y->stride[0] % EIGHT == 0 && vector_aligned(y) && vector_aligned(bias) &&
           (w->scales.kind != SCALE_ROW || (uintptr_t)w->scales.data % 16 == 0);
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

    sums_kernel<<<walk_grid(a.rows, a.cols), THREADS, 0, stream>>>(a);
    return cudaGetLastError();
}
