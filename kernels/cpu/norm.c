/* norm.c - norm + modulate -> operand, alone and after a gated residual
 *
 * Statistics are summed in double, then become floats; everything after that is fp32,
 * one operation after another, in the order that ops.h writes down.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"
#include "kernels/cpu/stats.h"

struct norm_row {
    const struct norm *norm;
    const struct tensor *x;
    struct row_stats stats;
    const float *scale, *shift; /* this row's modulation, or NULL */
};

static const float *table_row(const struct tensor *table, const struct norm *n,
                              int64_t row)
{
    int64_t f;

    if (!table)
        return NULL;
    f = rows_frame(table, row, n->first_token, n->tokens_per_frame);
    return (const float *)table->data + f * table->stride[0];
}

FF_CLONES static void affine(float *restrict v, int64_t n, const float *restrict weight,
                             const float *restrict bias)
{
    if (weight) {
        for (int64_t i = 0; i < n; i++)
            v[i] *= weight[i];
    }
    if (bias) {
        for (int64_t i = 0; i < n; i++)
            v[i] += bias[i];
    }
}

FF_CLONES static void modulate(float *restrict v, int64_t n,
                               const float *restrict scale, const float *restrict shift)
{
    if (scale) {
        for (int64_t i = 0; i < n; i++)
            v[i] *= 1.0f + scale[i];
    }
    if (shift) {
        for (int64_t i = 0; i < n; i++)
            v[i] += shift[i];
    }
}

static void norm_values(const void *ctx, int64_t row, int64_t col, int64_t n, float *v)
{
    const struct norm_row *r = ctx;
    const struct norm *norm = r->norm;

    span_row(r->x, row, col, n, v);
    stats_apply(&r->stats, v, n);
    affine(v, n, norm->weight ? (const float *)norm->weight->data + col : NULL,
           norm->bias ? (const float *)norm->bias->data + col : NULL);
    act_apply(norm->act, v, n);
    modulate(v, n, r->scale ? r->scale + col : NULL, r->shift ? r->shift + col : NULL);
}

static void norm_row(const struct tensor *out, const struct tensor *x,
                     const struct norm *norm, int64_t row)
{
    struct norm_row r = {.norm = norm, .x = x};

    r.stats = stats_of_row(x, row, norm->kind, norm->eps);
    r.scale = table_row(norm->scale, norm, row);
    r.shift = table_row(norm->shift, norm, row);
    rows_emit(out, row, norm_values, &r);
}

static void norm_one(const void *ctx, int64_t row)
{
    const struct op_norm *a = ctx;

    norm_row(a->out, a->x, &a->norm, row);
}

enum status norm_cpu(void *self, struct queue *q, const struct op_norm *a,
                     struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->x->shape[0], a->x->shape[1], norm_one, a);
    return ST_OK;
}

/* ---- residual ----------------------------------------------------------------- */

FF_CLONES static void gated_add(float *restrict x, int64_t n, const float *restrict y,
                                const float *restrict gate)
{
    if (gate) {
        for (int64_t i = 0; i < n; i++)
            x[i] += gate[i] * y[i];
    } else {
        for (int64_t i = 0; i < n; i++)
            x[i] += y[i];
    }
}

static void residual_one(const void *ctx, int64_t row)
{
    const struct op_residual *a = ctx;
    const float *gate = table_row(a->gate, &a->norm, row);
    float x[ROW_CHUNK / 2], y[ROW_CHUNK / 2];
    int64_t cols = a->x->shape[1];

    for (int64_t c = 0; c < cols; c += ROW_CHUNK / 2) {
        int64_t n = min_i64(ROW_CHUNK / 2, cols - c);
        void *to = span_at(a->x->data, a->x->dtype, row * a->x->stride[0] + c);

        span_load(to, a->x->dtype, n, x);
        span_row(a->y, row, c, n, y);
        gated_add(x, n, y, gate ? gate + c : NULL);
        span_store(to, a->x->dtype, n, x);
    }
    if (a->out)
        norm_row(a->out, a->x, &a->norm, row);
}

enum status residual_cpu(void *self, struct queue *q, const struct op_residual *a,
                         struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->x->shape[0], 2 * a->x->shape[1], residual_one, a);
    return ST_OK;
}
