/* gather.c - attention results: back from the ranks to an operand, and merged
 *
 * gather computes a row of [heads * head_dim] values from the parts that cover its
 * heads; merge joins two results over different keys by their log-sum-exp.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"

FF_CLONES static void add_span(float *restrict v, int64_t n, const float *restrict x)
{
    for (int64_t i = 0; i < n; i++)
        v[i] += x[i];
}

/* ---- gather ------------------------------------------------------------------- */

/* Values [col, col + n) of one head of a row. */
static void head_load(const struct head_part *part, int64_t row, int64_t h, int64_t col,
                      int64_t n, float *v)
{
    const struct tensor *t = &part->t;
    int64_t at = row * t->stride[0] + h * t->stride[1] + col;

    span_load(span_at(t->data, t->dtype, at), t->dtype, n, v);
    if (t->scales.kind != SCALE_NONE)
        span_scale(v, n, t->scales.data[row * t->scales.stride[0] + h]);
}

/* What a part holds of columns [col, col + n) of a row: stored in v, or added. */
static void part_values(const struct head_part *part, int64_t row, int64_t col,
                        int64_t n, bool add, float *v)
{
    int64_t dim = part->t.shape[2];
    float x[ROW_CHUNK];

    for (int64_t h = 0; h < part->n_heads; h++) {
        int64_t head = (part->head_begin + h) * dim;
        int64_t from = head > col ? head : col;
        int64_t to = min_i64(head + dim, col + n);

        if (from >= to)
            continue;
        head_load(part, row, h, from - head, to - from, add ? x : v + from - col);
        if (add)
            add_span(v + from - col, to - from, x);
    }
}

static void gather_values(const void *ctx, int64_t row, int64_t col, int64_t n,
                          float *v)
{
    const struct op_gather *a = ctx;

    for (int i = 0; i < a->n_parts; i++)
        part_values(&a->parts[i], row, col, n, false, v);
    for (int i = 0; i < a->n_add; i++)
        part_values(&a->add[i], row, col, n, true, v);
}

static void gather_one(const void *ctx, int64_t row)
{
    const struct op_gather *a = ctx;

    rows_emit(a->out, row, gather_values, a);
}

enum status gather_cpu(void *self, struct queue *q, const struct op_gather *a,
                       struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->out->shape[0], 2 * a->out->shape[1], gather_one, a);
    return ST_OK;
}

/* ---- merge -------------------------------------------------------------------- */

FF_CLONES static void blend(float *restrict o, int64_t n, float keep,
                            const float *restrict part, float take)
{
    for (int64_t i = 0; i < n; i++)
        o[i] = o[i] * keep + part[i] * take;
}

static void merge_one(const void *ctx, int64_t row)
{
    const struct op_attn_merge *a = ctx;
    int64_t heads = a->o->shape[1];

    for (int64_t h = 0; h < heads; h++) {
        float *o = (float *)a->o->data + row * a->o->stride[0] + h * a->o->stride[1];
        const float *part = (const float *)a->o_part->data +
                            row * a->o_part->stride[0] + h * a->o_part->stride[1];
        float *lse = (float *)a->lse->data + h * a->lse->stride[0] + row;
        double x = *lse;
        double y = ((const float *)a->lse_part->data)[h * a->lse_part->stride[0] + row];
        double top = x > y ? x : y;
        double sum;

        if (isinf(top) && top < 0)
            continue;
        sum = exp(x - top) + exp(y - top);
        blend(o, a->o->shape[2], (float)(exp(x - top) / sum), part,
              (float)(exp(y - top) / sum));
        *lse = (float)(top + log(sum));
    }
}

enum status attn_merge_cpu(void *self, struct queue *q, const struct op_attn_merge *a,
                           struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->o->shape[0], a->o->shape[1] * a->o->shape[2], merge_one, a);
    return ST_OK;
}
