/* umt5_bias.c - relative positions to buckets, and the bias rows made of them
 *
 * Half of the buckets are for keys behind the query, half for the others. Of a half,
 * the first half tells single distances apart, the rest grows geometrically up to
 * max_distance; everything beyond falls into the last one:
 *
 *     bucket = (rel > 0 ? half : 0) + (m < exact ? m : min(half - 1, exact + floor(
 *              (half - exact) * ln(m / exact) / ln(max_distance / exact)))),  m = |rel|
 *
 * At 32 buckets and 128 the quotient is a whole number at m = 16, 32 and 64. The
 * logarithms may miss it by their last bit; a nudge of 1e-9, far below the gap to the
 * neighbouring distances, puts them back.
 */
#include <math.h>
#include <stdlib.h>

#include "engine/text/umt5_inside.h"

int64_t umt5_bucket(int64_t rel, int64_t buckets, int64_t max_distance)
{
    int64_t half = buckets / 2, exact = half / 2, m = rel < 0 ? -rel : rel;
    int64_t base = rel > 0 ? half : 0, step;
    double span, way;

    if (m < exact)
        return base + m;
    way = log((double)m / (double)exact);
    span = log((double)max_distance / (double)exact);
    step = exact + (int64_t)floor((double)(half - exact) * way / span + 1e-9);
    return base + (step < half - 1 ? step : half - 1);
}

int64_t umt5_reach(const struct text_config *c)
{
    int64_t m = 0;

    while (umt5_bucket(-m, c->buckets, c->max_distance) < c->buckets / 2 - 1)
        m++;
    return m;
}

int64_t umt5_bias_width(const struct text_config *c)
{
    return 2 * umt5_reach(c) + 1;
}

/* rows[h, reach + rel] = table[bucket(rel), h] */
static void rows_fill(const struct text_config *c, const float *table, float *rows)
{
    int64_t reach = umt5_reach(c), width = 2 * reach + 1;

    for (int64_t rel = -reach; rel <= reach; rel++) {
        const float *of = table +
                          umt5_bucket(rel, c->buckets, c->max_distance) * c->heads;

        for (int64_t h = 0; h < c->heads; h++)
            rows[h * width + reach + rel] = of[h];
    }
}

/* Copy a block's table to the host as f32; `stored` has room for 8 bytes each. */
static enum status table_fetch(const struct umt5 *m, struct queue *q, int64_t i,
                               void *stored, float *table, struct err *e)
{
    const struct tensor *t = &m->blocks[i].table;
    struct tensor host = tensor_make(stored, t->dtype, MEM_HOST, 2, t->shape);
    enum status st;

    TRY(weights_borrow_block(m->weights, i, e));
    st = ops_copy(m->ops, q, &host, t, e);
    if (st == ST_OK)
        st = ops_queue_wait(m->ops, q, e);
    weights_return_block(m->weights, i);
    if (st == ST_OK)
        dtype_convert(table, DT_F32, stored, t->dtype, (size_t)tensor_count(t));
    return st;
}

enum status umt5_bias_read(struct umt5 *m, struct queue *q, struct err *e)
{
    const struct text_config *c = &m->config;
    size_t cells = (size_t)(c->buckets * c->heads);
    size_t layer = (size_t)(c->heads * umt5_bias_width(c));
    void *stored = malloc(cells * 8);
    float *table = malloc(cells * sizeof(*table));
    enum status st = ST_OK;

    m->bias = malloc((size_t)c->layers * layer * sizeof(*m->bias));
    if (!stored || !table || !m->bias)
        st = err_set(e, ST_RESOURCE, "no memory for the text encoder's biases");
    for (int64_t i = 0; i < c->layers && st == ST_OK; i++) {
        st = table_fetch(m, q, i, stored, table, e);
        if (st == ST_OK)
            rows_fill(c, table, m->bias + (size_t)i * layer);
    }
    free(stored);
    free(table);
    return st;
}
