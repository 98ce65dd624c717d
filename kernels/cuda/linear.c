/* linear.c - matrix products: cuBLASLt where it fits, kernels of our own elsewhere
 *
 * What cuBLASLt is asked for (gemm.h) is the raw product of two factors of one type:
 * unit scales, fp32 sums (i32 of i8). A float factor of another type is first cast, in
 * the workspace, to the narrower of bf16 and f32 that holds both exactly; a weight that
 * is large then, as many columns of y at a time as fit. Rows must begin at multiples of
 * 16 elements (f32: of 4).
 *
 * Scales and bias are left pending, or applied by a small kernel from sums in the
 * workspace, as many rows of them at a time as fit (rounds.h), so there is one rounding
 * in both cases.
 */
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rounds.h"

static const size_t cast_most = (size_t)64 << 20; /* of a weight that is cast */

/* ---- what goes where ----------------------------------------------------------- */

/* The one type both factors are brought to. */
static enum dtype factor_type(const struct op_linear *a)
{
    enum dtype x = a->x->dtype, w = a->w->dtype;

    if (x == w)
        return x;
    return x == DT_BF16 && (w == DT_E4M3 || w == DT_E5M2) ? DT_BF16 : DT_F32;
}

/* Do all rows begin where the tensor cores' loads need them? */
static bool rows_aligned(const struct tensor *t)
{
    int64_t unit = t->dtype == DT_F32 ? 4 : 16;

    return t->stride[0] % unit == 0 && (uintptr_t)t->data % 16 == 0;
}

/* A factor that is cast needs no alignment. */
static bool factor_fits(const struct tensor *t, enum dtype type)
{
    return t->dtype != type || rows_aligned(t);
}

static bool fits_blas(const struct op_linear *a)
{
    enum dtype type = factor_type(a);
    int64_t unit = type == DT_F32 ? 4 : 16;

    return type != DT_F16 && type != DT_E5M2 && a->x->shape[1] % unit == 0 &&
           a->w->shape[0] % unit == 0 && factor_fits(a->x, type) &&
           factor_fits(a->w, type) && rows_aligned(a->y);
}

/* Is there anything to do after the raw product? A single scale of w is not left
 * pending, i32 sums are never the result, and f32 factors give f32 sums. */
static bool needs_finish(const struct op_linear *a)
{
    if (a->x->dtype == DT_I8 || (factor_type(a) == DT_F32 && a->y->dtype != DT_F32))
        return true;
    if (a->pending)
        return a->w->scales.kind == SCALE_TENSOR;
    return a->bias || a->x->scales.kind != SCALE_NONE ||
           a->w->scales.kind != SCALE_NONE;
}

static size_t padded(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

/* Can the sums lie where their results will? A thread reads the one and writes the
 * other. */
static bool sums_in_place(const struct op_linear *a)
{
    return a->y->dtype == DT_F32 && a->x->dtype != DT_I8 &&
           a->y->stride[0] == a->y->shape[1];
}

static bool sums_in_workspace(const struct op_linear *a)
{
    return needs_finish(a) && !sums_in_place(a);
}

static size_t sums_bytes(const struct op_linear *a)
{
    int64_t cols = a->w->shape[0];

    if (!sums_in_workspace(a))
        return 0;
    return padded((size_t)(rounds_room(a->x->shape[0], cols) * cols) * sizeof(float));
}

/* Rows of y that are worked out at once. */
static int64_t rows_at_once(const struct cuda *c, const struct op_linear *a)
{
    if (!sums_in_workspace(a))
        return a->x->shape[0];
    return rounds_rows(a->x->shape[0], a->w->shape[0], c->units);
}

static size_t cast_bytes(const struct tensor *t, enum dtype type)
{
    return t->dtype == type ? 0 : padded((size_t)tensor_count(t) * dtype_bytes(type));
}

/* Columns of y, rows of w, that are worked out at once. */
static int64_t columns_at_once(const struct tensor *w, enum dtype type)
{
    int64_t fit = (int64_t)(cast_most / dtype_bytes(type)) / w->shape[1] / 128 * 128;

    if (w->dtype == type || w->shape[0] <= fit)
        return w->shape[0];
    return fit > 128 ? fit : 128;
}

/* Weights that are cast, one part after another in the same memory. */
static size_t weight_bytes(const struct tensor *w, enum dtype type)
{
    struct tensor part = *w;

    part.shape[0] = columns_at_once(w, type);
    return cast_bytes(&part, type);
}

/* cuBLASLt's own, then the sums, then the factors that are cast. */
size_t linear_workspace_cuda(const void *self, const struct op_linear *a)
{
    enum dtype type = factor_type(a);

    (void)self;
    if (!fits_blas(a))
        return 0;
    return GEMM_BYTES + sums_bytes(a) + cast_bytes(a->x, type) +
           weight_bytes(a->w, type);
}

/* ---- the op -------------------------------------------------------------------- */

static void pending_set(const struct op_linear *a)
{
    bool xs = a->x->scales.kind == SCALE_ROW, ws = a->w->scales.kind == SCALE_ROW;

    a->y->pending = (struct pending){NULL, NULL, NULL};
    if (!a->pending)
        return;
    a->y->pending.row_scale = xs ? a->x->scales.data : NULL;
    a->y->pending.col_scale = ws ? a->w->scales.data : NULL;
    a->y->pending.bias = a->bias ? a->bias->data : NULL;
}

/* The factor in the type of the product; casts it to `room`. */
static enum status factor_cast(struct queue *q, const struct tensor *t, enum dtype type,
                               char *room, struct tensor *out, struct err *e)
{
    *out = *t;
    if (t->dtype == type)
        return ST_OK;
    *out = tensor_make2(room, type, MEM_DEVICE, t->shape[0], t->shape[1]);
    out->scales = t->scales;
    return cuda_said(linear_cast_launch(out, t, q->stream), "linear", e);
}

/* Raw sums of x, which has the type of the product, and of all of w. */
static enum status sums_put(struct cuda *c, struct queue *q, const struct op_linear *a,
                            char *room, const struct gemm_sums *y, struct err *e)
{
    int64_t d = a->w->shape[0], n = columns_at_once(a->w, a->x->dtype);
    struct op_linear one = *a;
    struct tensor w, part;
    struct gemm_sums to = *y;

    for (int64_t i = 0; i < d; i += n) {
        part = tensor_slice(a->w, 0, i, d - i < n ? d - i : n);
        TRY(factor_cast(q, &part, a->x->dtype, room, &w, e));
        one.w = &w;
        to.data = y->data + (size_t)i * dtype_bytes(y->type);
        TRY(gemm_put(c, q, &one, &to, e));
    }
    return ST_OK;
}

/* The op on sums. */
static enum status sums_finish(const struct cuda *c, struct queue *q,
                               const struct op_linear *a, const char *sums,
                               struct err *e)
{
    const struct tensor *bias = a->pending ? NULL : a->bias;
    struct tensor x = *a->x, w = *a->w;

    if (a->pending) {
        x.scales.kind = SCALE_NONE;
        w.scales.kind = w.scales.kind == SCALE_TENSOR ? SCALE_TENSOR : SCALE_NONE;
    }
    if (c->mma && linear_wide_fits(a->y, &x, &w, bias))
        return cuda_said(linear_wide_launch(a->y, sums, &x, &w, bias, q->stream),
                         "linear", e);
    return cuda_said(linear_finish_launch(a->y, sums, &x, &w, bias, q->stream),
                     "linear", e);
}

/* The op on an x that has the type of the product, by sums in `sums` or in place. */
static enum status pieces_run(struct cuda *c, struct queue *q,
                              const struct op_linear *a, char *sums, char *room,
                              struct err *e)
{
    int64_t rows = a->x->shape[0], n = rows_at_once(c, a);
    struct gemm_sums to = {sums, a->x->dtype == DT_I8 ? DT_I32 : DT_F32,
                           a->y->shape[1]};
    struct op_linear one = *a;

    for (int64_t i = 0; i < rows; i += n) {
        int64_t count = rows - i < n ? rows - i : n;
        struct tensor x = tensor_slice(a->x, 0, i, count);
        struct tensor y = tensor_slice(a->y, 0, i, count);

        one.x = &x;
        one.y = &y;
        if (sums_in_place(a))
            to.data = y.data;
        TRY(sums_put(c, q, &one, room, &to, e));
        TRY(sums_finish(c, q, &one, to.data, e));
    }
    return ST_OK;
}

static enum status blas_run(struct cuda *c, struct queue *q, const struct op_linear *a,
                            struct err *e)
{
    size_t bytes = linear_workspace_cuda(c, a);
    char *sums = q->workspace + GEMM_BYTES, *room = sums + sums_bytes(a);
    enum dtype type = factor_type(a);
    struct gemm_sums y = {a->y->data, a->y->dtype, a->y->stride[0]};
    struct op_linear one = *a;
    struct tensor x;

    if (bytes > q->bytes)
        return err_set(e, ST_RESOURCE, "linear: needs %zu bytes of workspace, has %zu",
                       bytes, q->bytes);
    TRY(factor_cast(q, a->x, type, room, &x, e));
    room += cast_bytes(a->x, type);
    one.x = &x;
    return needs_finish(a) ? pieces_run(c, q, &one, sums, room, e)
                           : sums_put(c, q, &one, room, &y, e);
}

/* What cuBLASLt is asked for, or false: nothing, or not for all of w at once. */
static bool product_of(const struct op_linear *a, struct gemm_sums *y)
{
    enum dtype type = factor_type(a);
    bool finish = needs_finish(a);

    *y = (struct gemm_sums){NULL, a->y->dtype, a->y->stride[0]};
    if (finish)
        *y = (struct gemm_sums){NULL, type == DT_I8 ? DT_I32 : DT_F32, a->y->shape[1]};
    return fits_blas(a) && a->x->dtype == type && a->w->dtype == type;
}

enum status linear_ways_cuda(void *self, const struct op_linear *a,
                             struct linear_way *ways, int most, int *n, struct err *e)
{
    struct cuda *c = self;
    struct gemm_sums y;

    *n = 0;
    if (!product_of(a, &y))
        return ST_OK;
    TRY(device_enter(c, "linear", e));
    return gemm_ways(c, a, &y, ways, most, n, e);
}

enum status linear_take_cuda(void *self, const struct op_linear *a,
                             const struct linear_way *way, struct err *e)
{
    struct cuda *c = self;
    struct gemm_sums y;

    if (!product_of(a, &y))
        return err_set(e, ST_INPUT, "linear: no choice of algorithms for the product");
    TRY(device_enter(c, "linear", e));
    return gemm_take(c, a, &y, way, e);
}

enum status linear_cuda(void *self, struct queue *q, const struct op_linear *a,
                        struct err *e)
{
    struct cuda *c = self;

    if (tensor_count(a->y) == 0) {
        pending_set(a);
        return ST_OK;
    }
    TRY(cuda_said(cudaSetDevice(c->device), "linear", e));
    if (c->mma && linear_f32_fits(a, &c->limits))
        TRY(cuda_said(linear_f32_launch(a, &c->limits, q->stream), "linear", e));
    else if (fits_blas(a))
        TRY(blas_run(c, q, a, e));
    else
        TRY(cuda_said(
            linear_plain_launch(a->y, a->x, a->w, a->bias, !a->pending, q->stream),
            "linear", e));
    pending_set(a);
    return ST_OK;
}
