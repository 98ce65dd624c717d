/* heads.c - raw q and k rows: norm + rope (- mean) -> heads, and the sum for the mean
 *
 * One item is a group of four rows, so that a scale over four tokens and one head is
 * made by one thread. A head is computed in pieces of HEAD_PIECE values; a scale needs
 * the largest magnitude first, so 8-bit parts compute the values twice.
 */
#include "kernels/cpu/heads.h"

#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"
#include "kernels/cpu/stats.h"

enum { HEAD_PIECE = 512, GROUP_ROWS = 4, TURN_PAIRS = 64 };

/* ---- values ------------------------------------------------------------------- */

float head_row_factor(const struct head_source *s, int64_t row)
{
    return s->weight ? stats_of_row(s->y, row, NORM_RMS, s->eps).factor : 1.0f;
}

FF_CLONES static void weigh(float *restrict v, int64_t n, float factor,
                            const float *restrict weight)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = v[i] * factor * weight[i];
}

/* The table row of pair `pair` of a head, and how many pairs it serves from there. */
static const float *rope_line(const struct rope *r, int64_t token, int64_t pair,
                              int64_t *left)
{
    const struct tensor *tables[3] = {&r->f, &r->h, &r->w};
    int64_t at[3] = {token / (r->grid_h * r->grid_w), token / r->grid_w % r->grid_h,
                     token % r->grid_w};

    for (int i = 0; i < 3; i++) {
        const struct tensor *t = tables[i];
        int64_t pairs = t->shape[1];

        if (pair < pairs) {
            *left = pairs - pair;
            return (const float *)t->data + at[i] * t->stride[0] + pair * t->stride[1];
        }
        pair -= pairs;
    }
    *left = 0;
    return NULL;
}

/* Even and odd results in loops of their own: from one loop GCC makes a fused
 * multiply-add with alternating signs, in spite of -ffp-contract=off. */
FF_CLONES static void turn(float *restrict v, int64_t pairs, const float *restrict cs)
{
    float even[TURN_PAIRS], odd[TURN_PAIRS];

    for (int64_t begin = 0; begin < pairs; begin += TURN_PAIRS) {
        int64_t n = min_i64(TURN_PAIRS, pairs - begin);
        const float *p = cs + 2 * begin;
        float *x = v + 2 * begin;

        for (int64_t i = 0; i < n; i++)
            even[i] = x[2 * i] * p[2 * i] - x[2 * i + 1] * p[2 * i + 1];
        for (int64_t i = 0; i < n; i++)
            odd[i] = x[2 * i] * p[2 * i + 1] + x[2 * i + 1] * p[2 * i];
        for (int64_t i = 0; i < n; i++) {
            x[2 * i] = even[i];
            x[2 * i + 1] = odd[i];
        }
    }
}

static void rope_apply(const struct head_source *s, int64_t row, int64_t col, int64_t n,
                       float *v)
{
    int64_t head_pairs = s->head_dim / 2;

    for (int64_t i = 0; i < n / 2;) {
        int64_t pair = (col / 2 + i) % head_pairs;
        int64_t left, run;
        const float *cs = rope_line(s->rope, s->first_token + row, pair, &left);

        if (!cs)
            left = head_pairs - pair;
        run = min_i64(min_i64(left, head_pairs - pair), n / 2 - i);
        if (cs)
            turn(v + 2 * i, run, cs);
        i += run;
    }
}

static void mean_take_off(const struct head_source *s, int64_t col, int64_t n, float *v)
{
    const int64_t *acc = s->mean_acc->data;
    double count = (double)((const int64_t *)s->mean_count->data)[0] * 0x1p24;

    if (count <= 0.0)
        return;
    for (int64_t i = 0; i < n; i++)
        v[i] -= (float)((double)acc[col + i] / count);
}

void head_values(const struct head_source *s, int64_t row, float factor, int64_t col,
                 int64_t n, float *v)
{
    span_row(s->y, row, col, n, v);
    if (s->weight)
        weigh(v, n, factor, (const float *)s->weight->data + col);
    if (s->rope)
        rope_apply(s, row, col, n, v);
    if (s->mean_acc)
        mean_take_off(s, col, n, v);
}

/* ---- scatter ------------------------------------------------------------------ */

struct heads_group {
    const struct head_source *src;
    int64_t row, rows;
    float factor[GROUP_ROWS];
};

static float *scale_slot(const struct tensor *t, int64_t h, int64_t row)
{
    float *d = t->scales.data + h * t->scales.stride[0];

    return t->scales.kind == SCALE_GROUP
               ? d + row / t->scales.rows * t->scales.stride[1]
               : d + row;
}

/* Rows [i, i + n) of the group share a scale for head h of a part (rows of codes), or
 * are written as floats. */
static void head_write(const struct heads_group *g, const struct head_part *part,
                       int64_t h, int64_t i, int64_t n)
{
    const struct tensor *t = &part->t;
    int dim = g->src->head_dim;
    int64_t col = (part->head_begin + h) * dim;
    bool codes = dtype_bytes(t->dtype) == 1;
    float v[HEAD_PIECE], top = 0.0f, scale = 1.0f;

    for (int pass = codes ? 0 : 1; pass < 2; pass++) {
        for (int64_t r = i; r < i + n; r++) {
            for (int64_t c = 0; c < dim; c += HEAD_PIECE) {
                int64_t m = min_i64(HEAD_PIECE, dim - c);
                int64_t at = h * t->stride[0] + (g->row + r) * t->stride[1] + c;
                void *to = span_at(t->data, t->dtype, at);

                head_values(g->src, g->row + r, g->factor[r], col + c, m, v);
                if (pass == 0)
                    top = span_absmax(v, m, top);
                else if (codes)
                    span_quant(to, t->dtype, m, v, scale);
                else
                    span_store(to, t->dtype, m, v);
            }
        }
        if (pass == 0) {
            scale = span_quant_scale(t->dtype, top);
            *scale_slot(t, h, g->row + i) = scale;
        }
    }
}

struct heads_job {
    const struct op_heads *a;
    struct head_source src;
};

static void heads_group_run(const void *ctx, int64_t group)
{
    const struct heads_job *j = ctx;
    struct heads_group g = {.src = &j->src, .row = group * GROUP_ROWS};

    g.rows = min_i64(GROUP_ROWS, j->src.y->shape[0] - g.row);
    for (int64_t r = 0; r < g.rows; r++)
        g.factor[r] = head_row_factor(g.src, g.row + r);
    for (int p = 0; p < j->a->n_parts; p++) {
        const struct head_part *part = &j->a->parts[p];
        int64_t step = part->t.scales.kind == SCALE_GROUP ? GROUP_ROWS : 1;

        for (int64_t h = 0; h < part->n_heads; h++) {
            for (int64_t i = 0; i < g.rows; i += step)
                head_write(&g, part, h, i, min_i64(step, g.rows - i));
        }
    }
}

enum status heads_cpu(void *self, struct queue *q, const struct op_heads *a,
                      struct err *e)
{
    struct heads_job j = {.a = a};

    (void)q;
    (void)e;
    j.src = (struct head_source){a->y,          a->weight, a->rope,     a->mean_acc,
                                 a->mean_count, a->eps,    a->head_dim, a->first_token};
    rows_run(self, ceil_div(a->y->shape[0], GROUP_ROWS),
             2 * GROUP_ROWS * a->y->shape[1], heads_group_run, &j);
    return ST_OK;
}

/* ---- key sum ------------------------------------------------------------------ */

struct key_sum_job {
    const struct op_key_sum *a;
    struct head_source src;
    int64_t first, n; /* rows first, first + every, …: n of them */
};

/* One item is a strip of columns, summed over all rows: integers, in any order. */
static void key_sum_strip(const void *ctx, int64_t strip)
{
    const struct key_sum_job *j = ctx;
    int64_t *acc = j->a->acc->data;
    int64_t col = strip * HEAD_PIECE;
    int64_t m = min_i64(HEAD_PIECE, j->a->y->shape[1] - col);
    float v[HEAD_PIECE];

    for (int64_t i = 0; i < j->n; i++) {
        int64_t row = j->first + i * j->a->every;

        head_values(&j->src, row, head_row_factor(&j->src, row), col, m, v);
        for (int64_t c = 0; c < m; c++)
            acc[col + c] += llrint((double)v[c] * 0x1p24);
    }
}

enum status key_sum_cpu(void *self, struct queue *q, const struct op_key_sum *a,
                        struct err *e)
{
    struct key_sum_job j = {.a = a};
    int64_t rows = a->y->shape[0];

    (void)q;
    (void)e;
    j.src = (struct head_source){.y = a->y,
                                 .weight = a->weight,
                                 .rope = a->rope,
                                 .eps = a->eps,
                                 .head_dim = a->head_dim,
                                 .first_token = a->first_token};
    j.first = (a->every - a->first_token % a->every) % a->every;
    j.n = rows > j.first ? ceil_div(rows - j.first, a->every) : 0;
    rows_run(self, ceil_div(a->y->shape[1], HEAD_PIECE), j.n * a->y->shape[1],
             key_sum_strip, &j);
    ((int64_t *)a->count->data)[0] += j.n;
    return ST_OK;
}
