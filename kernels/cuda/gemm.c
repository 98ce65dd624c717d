/* gemm.c - describes products to cuBLASLt and settles their algorithms */
#include "kernels/cuda/gemm.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PLAN_ROWS = 4096, PROPOSALS = 64, IDS = 256 };

static_assert(sizeof(cublasLtMatmulAlgo_t) == ALGO_WORDS * sizeof(uint64_t),
              "a row of the table has an algorithm's words");

/* ---- descriptions -------------------------------------------------------------- */

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

static bool is_fast(const struct cuda *c, const struct op_linear *a)
{
    return c->fast_sums && a->x->dtype == DT_E4M3;
}

static void gemm_release(struct gemm *g)
{
    cublasLtMatrixLayoutDestroy(g->y);
    cublasLtMatrixLayoutDestroy(g->x);
    cublasLtMatrixLayoutDestroy(g->w);
    cublasLtMatmulDescDestroy(g->op);
}

/* Describe a product of `rows` rows into y_type rows `y_stride` apart. */
static enum status gemm_init(struct gemm *g, const struct cuda *c,
                             const struct op_linear *a, int64_t rows, enum dtype y_type,
                             int64_t y_stride, struct err *e)
{
    const cublasOperation_t turn = CUBLAS_OP_T;
    const int8_t fast = is_fast(c, a);
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
    if (st == CUBLAS_STATUS_SUCCESS && fast)
        st = cublasLtMatmulDescSetAttribute(g->op, CUBLASLT_MATMUL_DESC_FAST_ACCUM,
                                            &fast, sizeof(fast));
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
    const size_t most = GEMM_BYTES;
    const uint32_t whole = CUBLASLT_REDUCTION_SCHEME_NONE, sixteen = 16;
    cublasStatus_t st = cublasLtMatmulPreferenceSetAttribute(
        pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof(most));

    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatmulPreferenceSetAttribute(
            pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole, sizeof(whole));
    for (int i = 0; i < 4 && st == CUBLAS_STATUS_SUCCESS; i++)
        st = cublasLtMatmulPreferenceSetAttribute(pref, aligned[i], &sixteen,
                                                  sizeof(sixteen));
    return st;
}

/* ---- algorithms ------------------------------------------------------------------ */

/* An attribute of an algorithm; -1: the library does not say. */
static long attribute(const cublasLtMatmulAlgo_t *algo,
                      cublasLtMatmulAlgoConfigAttributes_t what, size_t bytes)
{
    uint32_t wide = 0;
    uint16_t narrow = 0;
    size_t written;
    void *to = bytes == sizeof(narrow) ? (void *)&narrow : &wide;

    if (cublasLtMatmulAlgoConfigGetAttribute(algo, what, to, bytes, &written) !=
        CUBLAS_STATUS_SUCCESS)
        return -1;
    return bytes == sizeof(narrow) ? (long)narrow : (long)wide;
}

/* Does one thread block add up all of k? */
static bool is_whole(const cublasLtMatmulAlgo_t *algo)
{
    long split = attribute(algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 4);
    long scheme = attribute(algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 4);

    return split <= 1 && scheme <= CUBLASLT_REDUCTION_SCHEME_NONE;
}

static void about_print(const cublasLtMatmulAlgo_t *algo, char out[LINEAR_ABOUT_BYTES])
{
    snprintf(out, LINEAR_ABOUT_BYTES,
             "id %ld tile %ld stages %ld swizzle %ld custom %ld inner %ld cluster %ld",
             attribute(algo, CUBLASLT_ALGO_CONFIG_ID, 4),
             attribute(algo, CUBLASLT_ALGO_CONFIG_TILE_ID, 4),
             attribute(algo, CUBLASLT_ALGO_CONFIG_STAGES_ID, 4),
             attribute(algo, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4),
             attribute(algo, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, 4),
             attribute(algo, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, 2),
             attribute(algo, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 2));
}

static struct algo_row row_of(const struct cuda *c, const struct op_linear *a,
                              const struct gemm_sums *y)
{
    return (struct algo_row){.arch = c->arch,
                             .version = (int64_t)cublasLtGetVersion(),
                             .x = a->x->dtype,
                             .y = y->type,
                             .n = a->w->shape[0],
                             .k = a->w->shape[1],
                             .fast = is_fast(c, a)};
}

/* The library's proposals for the product, best first. */
static enum status proposals(struct cuda *c, const struct gemm *g,
                             cublasLtMatmulHeuristicResult_t *out, int most, int *n,
                             struct err *e)
{
    cublasLtMatmulPreference_t pref;
    cublasStatus_t st;

    *n = 0;
    TRY(blas_said(cublasLtMatmulPreferenceCreate(&pref), e));
    st = preference_fill(pref);
    if (st == CUBLAS_STATUS_SUCCESS)
        st = cublasLtMatmulAlgoGetHeuristic(c->blas, g->op, g->w, g->x, g->y, g->y,
                                            pref, most, out, n);
    cublasLtMatmulPreferenceDestroy(pref);
    return blas_said(st, e);
}

static enum status first_proposal(struct cuda *c, const struct gemm *g,
                                  cublasLtMatmulAlgo_t *out, struct err *e)
{
    cublasLtMatmulHeuristicResult_t found;
    int n;

    TRY(proposals(c, g, &found, 1, &n, e));
    if (n == 0)
        return err_set(e, ST_DEVICE,
                       "linear: cuBLASLt has no algorithm for the product");
    *out = found.algo;
    return ST_OK;
}

/* Has the library an algorithm of this number for these types? */
static bool is_known(struct cuda *c, const cublasLtMatmulAlgo_t *algo,
                     const struct algo_row *row)
{
    bool whole = row->x == DT_I8;
    long id = attribute(algo, CUBLASLT_ALGO_CONFIG_ID, 4);
    int known[IDS], n = 0;

    if (cublasLtMatmulAlgoGetIds(
            c->blas, whole ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
            whole ? CUDA_R_32I : CUDA_R_32F, blas_type(row->x), blas_type(row->x),
            blas_type(row->y), blas_type(row->y), IDS, known,
            &n) != CUBLAS_STATUS_SUCCESS)
        return false;
    for (int i = 0; i < n; i++) {
        if (known[i] == id)
            return true;
    }
    return false;
}

/* The algorithm of a row, if the library says that the product can be worked out by it
 * in the room that there is. */
static enum status row_check(struct cuda *c, const struct gemm *g,
                             const struct algo_row *row, cublasLtMatmulAlgo_t *out,
                             struct err *e)
{
    cublasLtMatmulHeuristicResult_t said;
    cublasLtMatmulAlgo_t algo;

    memcpy(&algo, row->word, sizeof(algo));
    if (!is_known(c, &algo, row) ||
        cublasLtMatmulAlgoCheck(c->blas, g->op, g->w, g->x, g->y, g->y, &algo, &said) !=
            CUBLAS_STATUS_SUCCESS ||
        said.state != CUBLAS_STATUS_SUCCESS || said.workspaceSize > GEMM_BYTES ||
        !is_whole(&algo))
        return err_set(e, ST_INPUT,
                       "linear: cuBLASLt %lld does not take the algorithm of the table "
                       "for %lld x %lld %s",
                       (long long)row->version, (long long)row->n, (long long)row->k,
                       dtype_name(row->x));
    *out = algo;
    return ST_OK;
}

static struct gemm_plan *plan_of(struct cuda *c, const struct op_linear *a,
                                 const struct gemm_sums *y)
{
    for (int i = 0; i < c->n_plans; i++) {
        struct gemm_plan *p = &c->plans[i];

        if (p->x == a->x->dtype && p->y == y->type && p->d == a->w->shape[0] &&
            p->k == a->w->shape[1])
            return p;
    }
    return NULL;
}

static void plan_put(struct cuda *c, const struct op_linear *a,
                     const struct gemm_sums *y, const cublasLtMatmulAlgo_t *algo)
{
    struct gemm_plan *p = plan_of(c, a, y);

    if (!p && c->n_plans < PLANS_MAX)
        p = &c->plans[c->n_plans++];
    if (p)
        *p = (struct gemm_plan){a->x->dtype, y->type, a->w->shape[0], a->w->shape[1],
                                *algo};
}

/* The algorithm of the product; the table and the library are asked once. */
static enum status algo_find(struct cuda *c, const struct op_linear *a,
                             const struct gemm_sums *y, cublasLtMatmulAlgo_t *algo,
                             struct err *e)
{
    struct algo_row key = row_of(c, a, y);
    const struct algo_row *row = algo_table_find(&c->algos, &key);
    const struct gemm_plan *have = plan_of(c, a, y);
    enum status st;
    struct gemm g;

    if (have) {
        *algo = have->algo;
        return ST_OK;
    }
    TRY(gemm_init(&g, c, a, PLAN_ROWS, y->type, a->w->shape[0], e));
    st = row ? row_check(c, &g, row, algo, e) : first_proposal(c, &g, algo, e);
    gemm_release(&g);
    TRY(st);
    plan_put(c, a, y, algo);
    return ST_OK;
}

/* ---- the product ---------------------------------------------------------------- */

enum status gemm_put(struct cuda *c, struct queue *q, const struct op_linear *a,
                     const struct gemm_sums *y, struct err *e)
{
    const float one = 1.0f, zero = 0.0f;
    const int32_t whole_one = 1, whole_zero = 0;
    bool whole = a->x->dtype == DT_I8;
    cublasLtMatmulAlgo_t algo;
    cublasStatus_t st;
    struct gemm g;

    TRY(algo_find(c, a, y, &algo, e));
    TRY(gemm_init(&g, c, a, a->x->shape[0], y->type, y->stride, e));
    st = cublasLtMatmul(c->blas, g.op, whole ? (const void *)&whole_one : &one,
                        a->w->data, g.w, a->x->data, g.x,
                        whole ? (const void *)&whole_zero : &zero, y->data, g.y,
                        y->data, g.y, &algo, q->workspace, GEMM_BYTES, q->stream);
    gemm_release(&g);
    return blas_said(st, e);
}

/* ---- ways ------------------------------------------------------------------------ */

static void way_print(const struct algo_row *key, const cublasLtMatmulAlgo_t *algo,
                      struct linear_way *out)
{
    struct algo_row row = *key;

    memcpy(row.word, algo, sizeof(row.word));
    algo_row_print(&row, out->text);
    about_print(algo, out->about);
}

enum status gemm_ways(struct cuda *c, const struct op_linear *a,
                      const struct gemm_sums *y, struct linear_way *ways, int most,
                      int *n, struct err *e)
{
    cublasLtMatmulHeuristicResult_t found[PROPOSALS];
    struct algo_row key = row_of(c, a, y);
    cublasLtMatmulAlgo_t first;
    enum status st;
    struct gemm g;
    int count;

    TRY(algo_find(c, a, y, &first, e));
    TRY(gemm_init(&g, c, a, PLAN_ROWS, y->type, a->w->shape[0], e));
    st = proposals(c, &g, found, PROPOSALS, &count, e);
    gemm_release(&g);
    TRY(st);
    *n = 0;
    if (most > 0)
        way_print(&key, &first, &ways[(*n)++]);
    for (int i = 0; i < count && *n < most; i++) {
        const cublasLtMatmulAlgo_t *algo = &found[i].algo;

        if (found[i].state == CUBLAS_STATUS_SUCCESS && is_whole(algo) &&
            memcmp(algo, &first, sizeof(first)) != 0)
            way_print(&key, algo, &ways[(*n)++]);
    }
    return ST_OK;
}

enum status gemm_take(struct cuda *c, const struct op_linear *a,
                      const struct gemm_sums *y, const struct linear_way *way,
                      struct err *e)
{
    struct algo_row key = row_of(c, a, y), row;
    cublasLtMatmulAlgo_t algo;
    enum status st;
    struct gemm g;

    TRY(algo_row_parse(way->text, &row, e));
    if (!algo_row_same(&row, &key))
        return err_set(e, ST_INPUT, "linear: the algorithm is for another product");
    TRY(gemm_init(&g, c, a, PLAN_ROWS, y->type, a->w->shape[0], e));
    st = row_check(c, &g, &row, &algo, e);
    gemm_release(&g);
    TRY(st);
    plan_put(c, a, y, &algo);
    return ST_OK;
}
