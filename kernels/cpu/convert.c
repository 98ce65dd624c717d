/* convert.c - copies between types and strides, and rows to operands */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/span.h"

/* ---- quantising --------------------------------------------------------------- */

static void quant_values(const void *ctx, int64_t row, int64_t col, int64_t n, float *v)
{
    const struct op_convert *a = ctx;

    span_row(a->src, row, col, n, v);
}

static void quant_one(const void *ctx, int64_t row)
{
    const struct op_convert *a = ctx;

    rows_emit(a->dst, row, quant_values, a);
}

/* ---- any strides -------------------------------------------------------------- */

/* Offset of line `line` (all axes but the last, in order). */
static int64_t line_offset(const struct tensor *t, int64_t line)
{
    int64_t at = 0;

    for (int i = t->rank - 2; i >= 0; i--) {
        at += line % t->shape[i] * t->stride[i];
        line /= t->shape[i];
    }
    return at;
}

static void line_read(const struct tensor *t, int64_t at, int64_t step, int64_t n,
                      float *v)
{
    if (step == 1) {
        span_load(span_at(t->data, t->dtype, at), t->dtype, n, v);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        span_load(span_at(t->data, t->dtype, at + i * step), t->dtype, 1, v + i);
}

static void line_write(const struct tensor *t, int64_t at, int64_t step, int64_t n,
                       const float *v)
{
    if (step == 1) {
        span_store(span_at(t->data, t->dtype, at), t->dtype, n, v);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        span_store(span_at(t->data, t->dtype, at + i * step), t->dtype, 1, v + i);
}

static void copy_line(const void *ctx, int64_t line)
{
    const struct op_convert *a = ctx;
    const struct tensor *d = a->dst, *s = a->src;
    int64_t n = d->rank > 0 ? d->shape[d->rank - 1] : 1;
    int64_t d_step = d->rank > 0 ? d->stride[d->rank - 1] : 1;
    int64_t s_step = s->rank > 0 ? s->stride[s->rank - 1] : 1;
    int64_t d_at = line_offset(d, line), s_at = line_offset(s, line);
    float v[ROW_CHUNK];

    for (int64_t i = 0; i < n; i += ROW_CHUNK) {
        int64_t m = min_i64(ROW_CHUNK, n - i);

        line_read(s, s_at + i * s_step, s_step, m, v);
        line_write(d, d_at + i * d_step, d_step, m, v);
    }
}

enum status convert_cpu(void *self, struct queue *q, const struct op_convert *a,
                        struct err *e)
{
    int64_t last = a->dst->rank > 0 ? a->dst->shape[a->dst->rank - 1] : 1;
    int64_t lines = last > 0 ? tensor_count(a->dst) / last : 0;

    (void)q;
    (void)e;
    if (dtype_bytes(a->dst->dtype) == 1)
        rows_run(self, a->dst->shape[0], 2 * last, quant_one, a);
    else
        rows_run(self, lines, last, copy_line, a);
    return ST_OK;
}
