/* wide_rows.cu - raw bf16 products to bf16: GELU, and the values of attention
 *
 * What act_kernel in norm.cu and plain_kernel in values.cu do, value by value: nothing
 * of a row is needed but its scale. A thread has eight columns of SOME rows, and their
 * scale and bias in registers; it fetches FLYING rows before it works on the first.
 *
 * GELU is the guess of wide.cuh, which is nearer to the exact value than bf16 can tell
 * in all but one of 200 values, and then the next bf16 is written. Codes are made by
 * another kernel (wide_act.cu), because they are promised to the bit.
 */
#include "kernels/cuda/wide_rows.cuh"

enum { THREADS = 128, SOME = 16, FLYING = 4 };

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
    int col = ((int)blockIdx.y * THREADS + (int)threadIdx.x) * EIGHT;
    int64_t begin = (int64_t)blockIdx.x * SOME;
    int64_t end = min(begin + SOME, (int64_t)a.rows);
    __nv_bfloat16 *out = a.out + col / a.width * a.head_stride + col % a.width;
    struct eight scale, bias;

    if (col >= a.cols)
        return;
    scale = columns_fetch(a.col_scale, col, col + HALF, 1.0f);
    bias = columns_fetch(a.bias, col, col + HALF, -0.0f);
    for (int64_t at = begin; at < end; at += FLYING) {
        uint4 raw[FLYING];
        float by[FLYING];

#pragma unroll
        for (int r = 0; r < FLYING; r++) {
            int64_t row = min(at + r, end - 1);

            raw[r] = *(const uint4 *)(a.y + row * a.stride + col);
            by[r] = a.row_scale ? a.row_scale[row] : 1.0f;
        }
#pragma unroll
        for (int r = 0; r < FLYING; r++) {
            struct eight e = eight_finish(eight_of(raw[r]), by[r], scale, bias);

            if (GELU)
                gelu_guess(e);
            if (at + r < end)
                *(uint4 *)(out + (at + r) * a.out_stride) = eight_bf16(e);
        }
    }
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

static dim3 grid_of(const struct rows_work &w)
{
    return dim3((unsigned)((w.rows + SOME - 1) / SOME),
                (unsigned)((w.cols + THREADS * EIGHT - 1) / (THREADS * EIGHT)));
}

static bool rows_fit(const struct tensor *y)
{
    return y->dtype == DT_BF16 && y->shape[1] % EIGHT == 0 &&
           y->shape[0] < (int64_t)1 << 30 && y->shape[1] < (int64_t)1 << 20 &&
           wide_aligned(y, EIGHT);
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
    rows_kernel<true><<<grid_of(w), THREADS, 0, stream>>>(w);
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
            rows_kernel<false><<<grid_of(w), THREADS, 0, stream>>>(w);
    }
    return cudaGetLastError();
}
