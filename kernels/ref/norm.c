/* norm.c - norm + modulate -> operand, alone and after a gated residual */
#include <math.h>

#include "kernels/ref/ref.h"

static double row_sum(const struct tensor *x, int64_t row)
{
    double sum = 0.0;

    for (int64_t c = 0; c < x->shape[1]; c++)
        sum += (double)ref_value(x, row, c);
    return sum;
}

static double row_squares(const struct tensor *x, int64_t row, double mean)
{
    double sum = 0.0;

    for (int64_t c = 0; c < x->shape[1]; c++) {
        double v = (double)ref_value(x, row, c) - mean;

        sum += v * v;
    }
    return sum;
}

struct row_stats ref_stats(const struct tensor *x, int64_t row, enum norm_kind kind,
                           float eps)
{
    double d = (double)x->shape[1];
    double mean = kind == NORM_LAYER ? row_sum(x, row) / d : 0.0;
    double squares = row_squares(x, row, mean);
    double factor = kind == NORM_L2 ? sqrt(d) / fmax(sqrt(squares), (double)eps)
                                    : 1.0 / sqrt(squares / d + (double)eps);

    return (struct row_stats){(float)mean, (float)factor};
}

struct norm_row {
    const struct norm *norm;
    const struct tensor *x;
    struct row_stats stats;
};

static float table_value(const struct tensor *table, const struct norm *n, int64_t row,
                         int64_t col)
{
    int64_t f = ref_frame(table, row, n->first_token, n->tokens_per_frame);

    return ref_load(table, f * table->stride[0] + col);
}

static float norm_value(const void *ctx, int64_t row, int64_t col)
{
    const struct norm_row *r = ctx;
    const struct norm *n = r->norm;
    float v = (ref_value(r->x, row, col) - r->stats.mean) * r->stats.factor;

    if (n->weight)
        v *= ref_load(n->weight, col);
    if (n->bias)
        v += ref_load(n->bias, col);
    v = ref_act(n->act, v);
    if (n->scale)
        v *= 1.0f + table_value(n->scale, n, row, col);
    if (n->shift)
        v += table_value(n->shift, n, row, col);
    return v;
}

static void norm_row(const struct tensor *out, const struct tensor *x,
                     const struct norm *norm, int64_t row)
{
    struct norm_row r = {norm, x, ref_stats(x, row, norm->kind, norm->eps)};

    ref_emit(out, row, norm_value, &r);
}

enum status norm_ref(void *self, struct queue *q, const struct op_norm *a,
                     struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->x->shape[0]; r++)
        norm_row(a->out, a->x, &a->norm, r);
    return ST_OK;
}

static float residual_value(const void *ctx, int64_t row, int64_t col)
{
    const struct op_residual *a = ctx;
    float y = ref_value(a->y, row, col);

    if (a->gate)
        y *= table_value(a->gate, &a->norm, row, col);
    return ref_value(a->x, row, col) + y;
}

enum status residual_ref(void *self, struct queue *q, const struct op_residual *a,
                         struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->x->shape[0]; r++) {
        ref_emit(a->x, r, residual_value, a);
        if (a->out)
            norm_row(a->out, a->x, &a->norm, r);
    }
    return ST_OK;
}
