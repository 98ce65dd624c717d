/* wide_rows.cu - raw bf16 products to bf16: GELU, and the values of attention
 *
 * What act_kernel in norm.cu and plain_kernel in values.cu do, value by value: nothing
 * of a row is needed but its scale.
 *
 * GELU is the guess of wide.cuh, which is nearer to the exact value than bf16 can tell
 * in all but one of 200 values, and then the next bf16 is written. Codes are made by
 * another kernel (wide_act.cu), because they are promised to the bit.
 */
#include "kernels/cuda/wide_rows.cuh"
#include "kernels/cuda/wide_walk.cuh"

struct rows_work {
    const __nv_bfloat16 *y;
    int64_t stride;
    int rows, cols;
    const float *row_scale, *col_scale, *bias;
    __nv_bfloat16 *out;
    int64_t out_stride, head_stride;
    int width; /* columns of a head */
};

template <bool GELU>
static __global__ void __launch_bounds__(THREADS)
    rows_kernel(const __grid_constant__ struct rows_work a)
{
    int col = walk_column();
    __nv_bfloat16 *out = a.out + col / a.width * a.head_stride + col % a.width;

    rows_walk(
        a, col,
        [&](int64_t row) { return *(const uint4 *)(a.y + row * a.stride + col); },
        [](const uint4 &raw) { return eight_of(raw); },
        [](struct eight &e) {
            if (GELU)
                gelu_guess(e);
        },
        [&](int64_t row, const uint4 &v) { *(uint4 *)(out + row * a.out_stride) = v; });
}

/* Of `cols` columns of y from `first` on. */
static struct rows_work work_of(const struct tensor *y, int64_t first, int64_t cols)
{
    const struct pending *p = &y->pending;
    struct rows_work w = {};

    w.y = (const __nv_bfloat16 *)y->data + first;
    w.stride = y->stride[0];
    w.rows = (int)y->shape[0];
    w.cols = w.width = (int)cols;
    w.row_scale = p->row_scale;
    w.col_scale = p->col_scale ? p->col_scale + first : NULL;
    w.bias = p->bias ? p->bias + first : NULL;
    return w;
}

static bool rows_fit(const struct tensor *y)
{
    return y->dtype == DT_BF16 && walk_fits(y) && wide_aligned(y, EIGHT);
}

/* ---- act ----------------------------------------------------------------------- */

bool act_rows_fits(const struct op_act *a)
{
    return a->act == ACT_GELU_TANH && !a->gated && a->out->dtype == DT_BF16 &&
           rows_fit(a->x) && wide_aligned(a->out, EIGHT);
}

cudaError_t act_rows_launch(const struct op_act *a, cudaStream_t stream)
{
    struct rows_work w = work_of(a->x, 0, a->x->shape[1]);

    w.out = (__nv_bfloat16 *)a->out->data;
    w.out_stride = a->out->stride[0];
    rows_kernel<true><<<walk_grid(w.rows, w.cols), THREADS, 0, stream>>>(w);
    return cudaGetLastError();
}

/* ---- values -------------------------------------------------------------------- */

bool values_rows_fits(const struct op_values *a)
{
    bool fits = rows_fit(a->y) && a->head_dim % EIGHT == 0;

    for (int i = 0; fits && i < a->n_parts; i++) {
        const struct tensor *t = &a->parts[i].t;

        fits = t->dtype == DT_BF16 && (uintptr_t)t->data % 16 == 0 &&
               t->stride[0] % EIGHT == 0 && t->stride[1] % EIGHT == 0;
    }
    return fits;
}

cudaError_t values_rows_launch(const struct op_values *a, cudaStream_t stream)
{
    for (int i = 0; i < a->n_parts; i++) {
        const struct head_part *p = &a->parts[i];
        struct rows_work w = work_of(a->y, (int64_t)p->head_begin * a->head_dim,
                                     (int64_t)p->n_heads * a->head_dim);

        w.out = (__nv_bfloat16 *)p->t.data;
        w.head_stride = p->t.stride[0];
        w.out_stride = p->t.stride[1];
        w.width = a->head_dim;
        if (w.rows && w.cols)
            rows_kernel<false><<<walk_grid(w.rows, w.cols), THREADS, 0, stream>>>(w);
    }
    return cudaGetLastError();
}
