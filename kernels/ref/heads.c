/* heads.c - raw q, k and v rows to heads, and the sum for the mean of k */
#include <math.h>

#include "kernels/ref/ref.h"

enum { VALUE_BLOCK = 128 }; /* tokens that share the scale of a v channel */

/* How a raw q or k row becomes the values that op_heads writes. */
struct source {
    const struct tensor *y;
    const struct tensor *weight;
    const struct rope *rope;
    const struct tensor *mean_acc, *mean_count;
    int head_dim;
    int64_t first_token;
};

/* ---- one value ------------------------------------------------------------------- */

static float normed(const struct source *s, int64_t row, float factor, int64_t col)
{
    float v = ref_value(s->y, row, col);

    return s->weight ? v * factor * ref_load(s->weight, col) : v;
}

/* (cos, sin) of pair `pair` of a head for a token. */
static const float *rope_pair(const struct rope *r, int64_t token, int64_t pair)
{
    const struct tensor *table[3] = {&r->f, &r->h, &r->w};
    int64_t at[3] = {token / (r->grid_h * r->grid_w), token / r->grid_w % r->grid_h,
                     token % r->grid_w};
    int i = 0;

    for (; i < 2 && pair >= table[i]->shape[1]; i++)
        pair -= table[i]->shape[1];
    return (const float *)table[i]->data + at[i] * table[i]->stride[0] +
           pair * table[i]->stride[1];
}

static float turned(const struct source *s, int64_t row, float factor, int64_t col)
{
    int64_t even = col - col % 2;
    const float *cs;
    float a, b;

    if (!s->rope)
        return normed(s, row, factor, col);
    cs = rope_pair(s->rope, s->first_token + row, col % s->head_dim / 2);
    a = normed(s, row, factor, even);
    b = normed(s, row, factor, even + 1);
    return col == even ? a * cs[0] - b * cs[1] : a * cs[1] + b * cs[0];
}

static float head_value(const struct source *s, int64_t row, float factor, int64_t col)
{
    float v = turned(s, row, factor, col);
    double count;

    if (!s->mean_acc)
        return v;
    count = (double)((const int64_t *)s->mean_count->data)[0] * 0x1p24;
    if (count > 0.0)
        v -= (float)((double)((const int64_t *)s->mean_acc->data)[col] / count);
    return v;
}

static float row_factor(const struct source *s, int64_t row, float eps)
{
    return s->weight ? ref_stats(s->y, row, NORM_RMS, eps).factor : 1.0f;
}

/* ---- q and k --------------------------------------------------------------------- */

static void scale_put(const struct tensor *t, int64_t h, int64_t row, float scale)
{
    float *d = t->scales.data + h * t->scales.stride[0];

    if (t->scales.kind == SCALE_GROUP)
        d[row / t->scales.rows * t->scales.stride[1]] = scale;
    else
        d[row] = scale;
}

/* Rows [row, row + n), which share a scale, of head h of a part. */
static void group_write(const struct op_heads *a, const struct source *s,
                        const struct head_part *part, int64_t h, int64_t row, int64_t n)
{
    const struct tensor *t = &part->t;
    int64_t col = (part->head_begin + h) * a->head_dim;
    float top = 0.0f, scale = 1.0f;

    for (int64_t r = row; r < row + n && is_code(t->dtype); r++) {
        float factor = row_factor(s, r, a->eps);

        for (int64_t c = 0; c < a->head_dim; c++)
            top = absmax_of(top, head_value(s, r, factor, col + c));
    }
    if (is_code(t->dtype)) {
        scale = ref_scale(t->dtype, top);
        scale_put(t, h, row, scale);
    }
    for (int64_t r = row; r < row + n; r++) {
        float factor = row_factor(s, r, a->eps);
        int64_t at = h * t->stride[0] + r * t->stride[1];

        for (int64_t c = 0; c < a->head_dim; c++) {
            float v = head_value(s, r, factor, col + c);

            if (is_code(t->dtype))
                ref_code_store(t, at + c, v, scale);
            else
                ref_store(t, at + c, v);
        }
    }
}

enum status heads_ref(void *self, struct queue *q, const struct op_heads *a,
                      struct err *e)
{
    struct source s = {a->y,          a->weight,   a->rope,       a->mean_acc,
                       a->mean_count, a->head_dim, a->first_token};
    int64_t rows = a->y->shape[0];

    (void)self;
    (void)q;
    (void)e;
    for (int p = 0; p < a->n_parts; p++) {
        const struct head_part *part = &a->parts[p];
        bool grouped = part->t.scales.kind == SCALE_GROUP;
        int64_t step = grouped ? part->t.scales.rows : 1;

        for (int64_t r = 0; r < rows; r += step) {
            int64_t n = rows - r < step ? rows - r : step;

            for (int64_t h = 0; h < part->n_heads; h++)
                group_write(a, &s, part, h, r, n);
        }
    }
    return ST_OK;
}

enum status key_sum_ref(void *self, struct queue *q, const struct op_key_sum *a,
                        struct err *e)
{
    struct source s = {.y = a->y,
                       .weight = a->weight,
                       .rope = a->rope,
                       .head_dim = a->head_dim,
                       .first_token = a->first_token};
    int64_t *acc = a->acc->data;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->y->shape[0]; r++) {
        float factor;

        if ((a->first_token + r) % a->every != 0)
            continue;
        factor = row_factor(&s, r, a->eps);
        for (int64_t c = 0; c < a->y->shape[1]; c++)
            acc[c] += llrint((double)head_value(&s, r, factor, c) * 0x1p24);
        ((int64_t *)a->count->data)[0]++;
    }
    return ST_OK;
}

/* ---- v --------------------------------------------------------------------------- */

static void values_plain(const struct op_values *a, const struct head_part *part,
                         int64_t h)
{
    const struct tensor *t = &part->t;
    int64_t col = (part->head_begin + h) * a->head_dim;

    for (int64_t r = 0; r < a->y->shape[0]; r++) {
        for (int64_t c = 0; c < a->head_dim; c++)
            ref_store(t, h * t->stride[0] + r * t->stride[1] + c,
                      ref_value(a->y, r, col + c));
    }
}

/* One channel of one block of tokens, transposed; zeros past the last token. */
static void values_block(const struct op_values *a, const struct head_part *part,
                         int64_t h, int64_t c, int64_t block)
{
    const struct tensor *t = &part->t;
    int64_t col = (part->head_begin + h) * a->head_dim + c;
    int64_t begin = block * VALUE_BLOCK;
    int64_t at = h * t->stride[0] + c * t->stride[1];
    float top = 0.0f, scale;

    for (int64_t r = begin; r < begin + VALUE_BLOCK && r < a->y->shape[0]; r++)
        top = absmax_of(top, ref_value(a->y, r, col));
    scale = ref_scale(t->dtype, top);
    t->scales.data[h * t->scales.stride[0] + c * t->scales.stride[1] + block] = scale;
    for (int64_t r = begin; r < begin + VALUE_BLOCK; r++)
        ref_code_store(t, at + r, r < a->y->shape[0] ? ref_value(a->y, r, col) : 0.0f,
                       scale);
}

enum status values_ref(void *self, struct queue *q, const struct op_values *a,
                       struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    for (int p = 0; p < a->n_parts; p++) {
        const struct head_part *part = &a->parts[p];

        for (int64_t h = 0; h < part->n_heads; h++) {
            if (!is_code(part->t.dtype)) {
                values_plain(a, part, h);
                continue;
            }
            for (int64_t c = 0; c < a->head_dim; c++) {
                for (int64_t b = 0; b < part->t.shape[2] / VALUE_BLOCK; b++)
                    values_block(a, part, h, c, b);
            }
        }
    }
    return ST_OK;
}
