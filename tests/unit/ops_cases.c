/* ops_cases.c - what the tests of the ops share */
#include "tests/unit/ops_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/rng.h"
#include "tests/tolerance.h"

/* ---- memory ---------------------------------------------------------------------- */

enum { POOL_MAX = 4096 };

static struct {
    void *p[POOL_MAX];
    int n;
    uint64_t draws;
} pool;

static void *pool_alloc(size_t bytes)
{
    size_t padded = (bytes + ARENA_ALIGN) / ARENA_ALIGN * ARENA_ALIGN;
    void *p = aligned_alloc(ARENA_ALIGN, padded);

    assert_non_null(p);
    assert_true(pool.n < POOL_MAX);
    memset(p, 0, padded);
    pool.p[pool.n++] = p;
    return p;
}

void pool_clear(void)
{
    while (pool.n > 0)
        free(pool.p[--pool.n]);
    pool.draws = 0;
}

/* ---- backends -------------------------------------------------------------------- */

struct ops *backend_open(const char *name)
{
    struct err e = ERR_INIT;
    struct ops *ops = NULL;

    if (ops_open(name, &(struct ops_options){.threads = 3}, &ops, &e) != ST_OK)
        fail_msg("%s", e.text);
    return ops;
}

void each_backend(void (*body)(struct ops *ref, struct ops *test))
{
    static const char *const names[] = {"check:ref", "check:cpu"};
    struct ops *ref = backend_open("ref");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct ops *test = backend_open(names[i]);

        body(ref, test);
        pool_clear();
        ops_close(test);
    }
    ops_close(ref);
}

/* ---- tensors --------------------------------------------------------------------- */

static bool is_code(enum dtype dt)
{
    return dt == DT_E4M3 || dt == DT_E5M2 || dt == DT_I8;
}

static int64_t span_count(const struct tensor *t)
{
    int64_t last = 0;

    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] == 0)
            return 0;
        last += (t->shape[i] - 1) * t->stride[i];
    }
    return last + 1;
}

struct tensor make(enum dtype dt, int rank, const int64_t *shape)
{
    struct tensor t = tensor_make(NULL, dt, MEM_HOST, rank, shape);

    t.data = pool_alloc((size_t)tensor_count(&t) * dtype_bytes(dt));
    if (is_code(dt) && rank == 2)
        scales_rows(&t);
    return t;
}

struct tensor make2(enum dtype dt, int64_t rows, int64_t cols)
{
    return make(dt, 2, SHAPE(rows, cols));
}

struct tensor make_wide(enum dtype dt, int64_t rows, int64_t cols, int64_t stride)
{
    struct tensor t = make2(dt, rows, stride);

    return tensor_slice(&t, 1, 0, cols);
}

/* How many scales lie behind a tensor. */
static int64_t scale_count(const struct tensor *t)
{
    const struct scales *s = &t->scales;
    int64_t slices = t->rank > 2 ? t->shape[0] : 1;
    int64_t rows = t->rank > 1 ? t->shape[t->rank - 2] : 1;

    switch (s->kind) {
    case SCALE_NONE:
        return 0;
    case SCALE_TENSOR:
        return 1;
    case SCALE_ROW:
        return slices > 1 ? (slices - 1) * s->stride[0] + rows : rows;
    case SCALE_COLUMN:
        return t->shape[t->rank - 1];
    case SCALE_GROUP:
        break;
    }
    rows = (rows + s->rows - 1) / s->rows * s->stride[1];
    return slices > 1 ? (slices - 1) * s->stride[0] + rows : rows;
}

void scales_rows(struct tensor *t)
{
    t->scales.kind = SCALE_ROW;
    t->scales.stride[0] = t->shape[t->rank - 2];
    t->scales.data = pool_alloc((size_t)scale_count(t) * sizeof(float));
}

void scales_groups(struct tensor *t, int64_t rows, int64_t cols)
{
    struct scales *s = &t->scales;

    s->kind = SCALE_GROUP;
    s->rows = rows;
    s->cols = cols;
    s->stride[1] = (t->shape[t->rank - 1] + cols - 1) / cols;
    s->stride[0] = (t->shape[t->rank - 2] + rows - 1) / rows * s->stride[1];
    s->data = pool_alloc((size_t)scale_count(t) * sizeof(float));
}

float *random_floats(int64_t n)
{
    float *v = pool_alloc((size_t)n * sizeof(float));

    noise_philox(2026, 7, pool.draws, (size_t)n, v);
    pool.draws += (uint64_t)n;
    return v;
}

void fill(const struct tensor *t, float gain)
{
    int64_t n = span_count(t);
    int64_t n_scales = scale_count(t);
    float *v = random_floats(n);
    float *s = random_floats(n_scales);
    float unit = t->dtype == DT_I8 ? 30.0f : is_code(t->dtype) ? 100.0f : gain;

    for (int64_t i = 0; i < n; i++)
        v[i] *= unit;
    dtype_convert(t->data, t->dtype, v, DT_F32, (size_t)n);
    for (int64_t i = 0; i < n_scales; i++)
        t->scales.data[i] = (0.5f + fabsf(s[i])) * gain / unit;
}

struct tensor randoms(enum dtype dt, int rank, const int64_t *shape)
{
    struct tensor t = make(dt, rank, shape);

    fill(&t, 1.0f);
    return t;
}

struct tensor randoms2(enum dtype dt, int64_t rows, int64_t cols)
{
    return randoms(dt, 2, SHAPE(rows, cols));
}

struct tensor twin(const struct tensor *t)
{
    struct tensor c = *t;
    size_t bytes = (size_t)span_count(t) * dtype_bytes(t->dtype);
    size_t scale_bytes = (size_t)scale_count(t) * sizeof(float);

    c.data = pool_alloc(bytes);
    memcpy(c.data, t->data, bytes);
    if (t->scales.data) {
        c.scales.data = pool_alloc(scale_bytes);
        memcpy(c.scales.data, t->scales.data, scale_bytes);
    }
    return c;
}

/* ---- running --------------------------------------------------------------------- */

struct seat {
    struct queue *q;
    void *workspace;
};

static void seat_take(struct ops *o, size_t bytes, struct seat *s)
{
    struct err e = ERR_INIT;

    s->workspace = pool_alloc(bytes);
    if (ops_queue_open(o, s->workspace, bytes, &s->q, &e) != ST_OK)
        fail_msg("%s", e.text);
}

static void seat_leave(struct ops *o, struct seat *s, const char *op, enum status st,
                       struct err *e)
{
    if (st == ST_OK)
        st = ops_queue_wait(o, s->q, e);
    if (st != ST_OK)
        fail_msg("%s on %s: %s", op, ops_facts(o)->name, e->text);
    ops_queue_close(o, s->q);
}

#define RUN(which, need)                                           \
    void run_##which(struct ops *o, const struct op_##which *a)    \
    {                                                              \
        struct err e = ERR_INIT;                                   \
        struct seat s;                                             \
                                                                   \
        seat_take(o, need, &s);                                    \
        seat_leave(o, &s, #which, ops_##which(o, s.q, a, &e), &e); \
    }
RUN(linear, ops_linear_workspace(o, a))
RUN(conv, ops_conv_workspace(o, a))
RUN(attention, ops_attention_workspace(o, a))
RUN(norm, 0)
RUN(residual, 0)
RUN(act, 0)
RUN(key_sum, 0)
RUN(heads, 0)
RUN(values, 0)
RUN(gather, 0)
RUN(attn_merge, 0)
RUN(convert, 0)
RUN(rows, 0)
RUN(sinusoid, 0)
RUN(unpatch, 0)
RUN(combine, 0)
RUN(pixels, 0)
RUN(normal, 0)
RUN(quantise, 0)
#undef RUN

/* ---- comparing ------------------------------------------------------------------- */

/* Storage offset of element i, and its place on the last two axes and the first. */
static int64_t offset_of(const struct tensor *t, int64_t i, int64_t *slice,
                         int64_t *row, int64_t *col)
{
    int64_t at = 0;
    int64_t place[TENSOR_RANK_MAX] = {0};

    for (int d = t->rank - 1; d >= 0; d--) {
        place[d] = i % t->shape[d];
        at += place[d] * t->stride[d];
        i /= t->shape[d];
    }
    *slice = t->rank > 2 ? place[0] : 0;
    *row = t->rank > 1 ? place[t->rank - 2] : 0;
    *col = place[t->rank - 1];
    return at;
}

static float scale_of(const struct tensor *t, int64_t slice, int64_t row, int64_t col)
{
    const struct scales *s = &t->scales;

    switch (s->kind) {
    case SCALE_NONE:
        break;
    case SCALE_TENSOR:
        return s->data[0];
    case SCALE_ROW:
        return s->data[slice * s->stride[0] + row];
    case SCALE_COLUMN:
        return s->data[slice * s->stride[0] + col];
    case SCALE_GROUP:
        return s
            ->data[slice * s->stride[0] + row / s->rows * s->stride[1] + col / s->cols];
    }
    return 1.0f;
}

static const char *element(const struct tensor *t, int64_t at)
{
    return (const char *)t->data + at * (int64_t)dtype_bytes(t->dtype);
}

double value_of(const struct tensor *t, int64_t i)
{
    int64_t slice, row, col;
    int64_t at = offset_of(t, i, &slice, &row, &col);
    double v;

    dtype_convert(&v, DT_F64, element(t, at), t->dtype, 1);
    return v * (double)scale_of(t, slice, row, col);
}

static double relative(const struct tensor *a, const struct tensor *b, int power)
{
    double off = 0.0, all = 0.0;

    assert_true(tensor_same_shape(a, b));
    for (int64_t i = 0; i < tensor_count(a); i++) {
        double x = value_of(a, i), y = value_of(b, i);

        if (x == y)
            x = y = isinf(y) ? 0.0 : y;
        off += pow(fabs(x - y), power);
        all += pow(fabs(y), power);
    }
    return all > 0.0 ? pow(off / all, 1.0 / power) : off;
}

double relative_l2(const struct tensor *a, const struct tensor *b)
{
    return relative(a, b, 2);
}

double relative_l1(const struct tensor *a, const struct tensor *b)
{
    return relative(a, b, 1);
}

void expect_same(const struct tensor *a, const struct tensor *b, const char *what)
{
    assert_true(tensor_same_shape(a, b));
    for (int64_t i = 0; i < tensor_count(a); i++) {
        int64_t slice, row, col;
        int64_t at = offset_of(a, i, &slice, &row, &col);
        int64_t bt = offset_of(b, i, &slice, &row, &col);

        if (memcmp(element(a, at), element(b, bt), dtype_bytes(a->dtype)) != 0)
            fail_msg("%s: element %lld is %.9g, must be %.9g", what, (long long)i,
                     value_of(a, i), value_of(b, i));
        if (a->scales.data &&
            scale_of(a, slice, row, col) != scale_of(b, slice, row, col))
            fail_msg("%s: scale of element %lld is %.9g, must be %.9g", what,
                     (long long)i, (double)scale_of(a, slice, row, col),
                     (double)scale_of(b, slice, row, col));
    }
}

void expect_close(const struct tensor *a, const struct tensor *b, const char *what)
{
    double tol = a->dtype == DT_BF16 ? TOL_OP_BF16 : TOL_OP_F32;
    double off;

    if (is_code(a->dtype)) {
        expect_same(a, b, what);
        return;
    }
    off = relative_l2(a, b);
    if (!(off <= tol))
        fail_msg("%s: relative L2 %.3g, at most %.3g", what, off, tol);
}
