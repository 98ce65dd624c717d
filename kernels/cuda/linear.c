/* linear.c - matrix products: cuBLASLt where it fits, the plain kernel elsewhere
 *
 * cuBLASLt sees column-major matrices: w [d,k] is a k x d matrix to be transposed, x a
 * k x s matrix, and y comes out as d x s. Both factors have one type: e4m3, i8 (sums
 * are i32), bf16 or f32 without TF32. A float factor of another type is first cast, in
 * the workspace, to the narrower of bf16 and f32 that holds both exactly; a weight that
 * is large then, as many columns of y at a time as fit. Rows must begin at multiples of
 * 16 elements (f32: of 4).
 *
 * The product is raw: unit scales, fp32 sums. Scales and bias are left pending, or
 * applied by a small kernel from sums in the workspace, so there is one rounding in
 * both cases.
 *
 * The algorithm is asked for once per types and [N, K], with a fixed number of rows, no
 * split of K, and used for any number of rows: a row's bytes do not depend on how many
 * rows there are.
 */
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.h"

enum { PLAN_ROWS = 4096 };

static const size_t blas_bytes = (size_t)32 << 20; /* cuBLASLt's own workspace */
static const size_t cast_most = (size_t)64 << 20;  /* of a weight that is cast */

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

static size_t sums_bytes(const struct op_linear *a)
{
    return needs_finish(a) && !sums_in_place(a)
               ? padded((size_t)(a->x->shape[0] * a->w->shape[0]) * sizeof(float))
               : 0;
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
    return blas_bytes + sums_bytes(a) + cast_bytes(a->x, type) +
           weight_bytes(a->w, type);
}

/* ---- cuBLASLt ------------------------------------------------------------------ */

/* The descriptions of one product. */
struct gemm {
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t w, x, y;
};

static cudaDataType_t blas_type(enum dtype dt)
{
    switch (dt) {
    case DT_F32:
        return CUDA_R_32F;
    case DT_BF16:
        return CUDA_R_16BF;
    case DT_I8:
        return CUDA_R_8I;
    case DT_I32:
        return CUDA_R_32I;
    default:
        return CUDA_R_8F_E4M3;
    }
}

static enum status blas_said(cublasStatus_t code, struct err *e)
{
    if (code == CUBLAS_STATUS_SUCCESS)
        return ST_OK;
    return err_set(e, ST_DEVICE, "linear: cuBLASLt: %s", cublasLtGetStatusString(code));
}

static void gemm_release(struct gemm *g)
{
    cublasLtMatrixLayoutDestroy(g->y);
    cublasLtMatrixLayoutDestroy(g->x);
    cublasLtMatrixLayoutDestroy(g->w);
    cublasLtMatmulDescDestroy(g->op);
}

/* Describe a product of `rows` rows into y_type rows `y_stride` apart. */
static enum status gemm_init(struct gemm *g, const struct op_linear *a, int64_t rows,
                             enum dtype y_type, int64_t y_stride, struct err *e)
{
    cublasOperation_t turn = CUBLAS_OP_T;
    uint64_t k = (uint64_t)a->x->shape[1], d = (uint64_t)a->w->shape[0];
    bool whole = a->x->dtype == DT_I8;
    cublasStatus_t st;

    memset(g, 0, sizeof(*g));
    st = cublasLtMatmulDescCreate(&g->op,
                                  whole ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                                  whole ? CUDA_R_32I : CUDA_R_32F);
    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatmulDescSetAttribute(g->op, CUBLASLT_MATMUL_DESC_TRANSA, &turn,
                                            sizeof(turn));
    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatrixLayoutCreate(&g->w, blas_type(a->w->dtype), k, d,
                                        a->w->stride[0]);
    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatrixLayoutCreate(&g->x, blas_type(a->x->dtype), k,
                                        (uint64_t)rows, a->x->stride[0]);
    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatrixLayoutCreate(&g->y, blas_type(y_type), d, (uint64_t)rows,
                                        y_stride);
    if (st != CUBLAS_STATUS_SUCCESS)
        gemm_release(g);
    return blas_said(st, e);
}

/* What an algorithm must not need: a split of K, more than 16-byte alignment. */
static cublasStatus_t preference_fill(cublasLtMatmulPreference_t pref)
{
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    };
    const uint32_t whole = CUBLASLT_REDUCTION_SCHEME_NONE, sixteen = 16;
    cublasStatus_t st = cublasLtMatmulPreferenceSetAttribute(
        pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &blas_bytes,
        sizeof(blas_bytes));

    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatmulPreferenceSetAttribute(
            pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole, sizeof(whole));
    for (int i = 0; i < 4 && st == CUBLAS_STATUS_SUCCESS; i++)
        st = cublasLtMatmulPreferenceSetAttribute(pref, aligned[i], &sixteen,
                                                  sizeof(sixteen));
    return st;
}

static enum status algo_ask(struct cuda *c, const struct gemm *g,
                            cublasLtMatmulAlgo_t *algo, struct err *e)
{
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t found;
    cublasStatus_t st;
    int n = 0;

    TRY(blas_said(cublasLtMatmulPreferenceCreate(&pref), e));
    st = preference_fill(pref);
    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatmulAlgoGetHeuristic(c->blas, g->op, g->w, g->x, g->y, g->y,
                                            pref, 1, &found, &n);
    cublasLtMatmulPreferenceDestroy(pref);
    TRY(blas_said(st, e));
    if (n == 0)
        return err_set(e, ST_DEVICE,
                       "linear: cuBLASLt has no algorithm for the product");
    *algo = found.algo;
    return ST_OK;
}

/* The algorithm for these types and [N, K]; asked for once. */
static enum status algo_find(struct cuda *c, const struct op_linear *a, enum dtype y,
                             cublasLtMatmulAlgo_t *algo, struct err *e)
{
    struct gemm_plan p = {.x = a->x->dtype, .y = y};
    struct gemm g;
    enum status st;

    p.d = a->w->shape[0];
    p.k = a->x->shape[1];
    for (int i = 0; i < c->n_plans; i++) {
        const struct gemm_plan *have = &c->plans[i];

        if (have->x == p.x && have->y == p.y && have->d == p.d && have->k == p.k) {
            *algo = have->algo;
            return ST_OK;
        }
    }
    TRY(gemm_init(&g, a, PLAN_ROWS, y, p.d, e));
    st = algo_ask(c, &g, &p.algo, e);
    gemm_release(&g);
    TRY(st);
    if (c->n_plans < PLANS_MAX)
        c->plans[c->n_plans++] = p;
    *algo = p.algo;
    return ST_OK;
}

/* Where sums go. */
struct target {
    char *data;
    enum dtype type;
    int64_t stride;
};

static enum status gemm_put(struct cuda *c, struct queue *q, const struct op_linear *a,
                            const struct target *y, struct err *e)
{
    const float one = 1.0f, zero = 0.0f;
    const int32_t whole_one = 1, whole_zero = 0;
    bool whole = a->x->dtype == DT_I8;
    cublasLtMatmulAlgo_t algo;
    cublasStatus_t st;
    struct gemm g;

    TRY(algo_find(c, a, y->type, &algo, e));
    TRY(gemm_init(&g, a, a->x->shape[0], y->type, y->stride, e));
    st = cublasLtMatmul(c->blas, g.op, whole ? (const void *)&whole_one : &one,
                        a->w->data, g.w, a->x->data, g.x,
                        whole ? (const void *)&whole_zero : &zero, y->data, g.y,
                        y->data, g.y, &algo, q->workspace, blas_bytes, q->stream);
    gemm_release(&g);
    return blas_said(st, e);
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
                            char *room, const struct target *y, struct err *e)
{
    int64_t d = a->w->shape[0], n = columns_at_once(a->w, a->x->dtype);
    struct op_linear one = *a;
    struct tensor w, part;
    struct target to = *y;

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
static enum status sums_finish(struct queue *q, const struct op_linear *a,
                               const char *sums, struct err *e)
{
    struct tensor x = *a->x, w = *a->w;

    if (a->pending) {
        x.scales.kind = SCALE_NONE;
        w.scales.kind = w.scales.kind == SCALE_TENSOR ? SCALE_TENSOR : SCALE_NONE;
    }
    return cuda_said(linear_finish_launch(a->y, sums, &x, &w,
                                          a->pending ? NULL : a->bias, q->stream),
                     "linear", e);
}

static enum status blas_run(struct cuda *c, struct queue *q, const struct op_linear *a,
                            struct err *e)
{
    size_t bytes = linear_workspace_cuda(c, a);
    char *sums = q->workspace + blas_bytes, *room = sums + sums_bytes(a);
    enum dtype type = factor_type(a);
    struct target y = {a->y->data, a->y->dtype, a->y->stride[0]};
    struct op_linear one = *a;
    struct tensor x;

    if (bytes > q->bytes)
        return err_set(e, ST_RESOURCE, "linear: needs %zu bytes of workspace, has %zu",
                       bytes, q->bytes);
    TRY(factor_cast(q, a->x, type, room, &x, e));
    room += cast_bytes(a->x, type);
    one.x = &x;
    if (!needs_finish(a))
        return sums_put(c, q, &one, room, &y, e);
    if (!sums_in_place(a))
        y.data = sums;
    y.type = type == DT_I8 ? DT_I32 : DT_F32;
    y.stride = a->y->shape[1];
    TRY(sums_put(c, q, &one, room, &y, e));
    return sums_finish(q, &one, y.data, e);
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
    if (fits_blas(a))
        TRY(blas_run(c, q, a, e));
    else
        TRY(cuda_said(
            linear_plain_launch(a->y, a->x, a->w, a->bias, !a->pending, q->stream),
            "linear", e));
    pending_set(a);
    return ST_OK;
}
