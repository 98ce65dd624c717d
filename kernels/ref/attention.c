/* attention.c - softmax attention, one query at a time, and merging of partial results
 *
 * A query walks over all keys in order, in blocks of BLOCK counted from the first key
 * of the first part, with a running maximum m, sum l and result acc[head_dim], all in
 * double:
 *
 *     m' = max(m, block);  p = exp(logit - m')
 *     l = l exp(m - m') + sum p;  acc = acc exp(m - m') + sum p v;  o = acc / l
 *
 * With 8-bit inputs the p in acc is e4m3(448 p) / 448, the one in l is not rounded.
 * Workspace: acc, and two rows as floats.
 */
#include <math.h>

#include "kernels/ref/ref.h"

enum { BLOCK = 128 };

struct walk {
    const struct op_attention *a;
    int64_t head, position, keys, dim;
    bool rounded; /* P to e4m3 */
    const float *q;
    double *acc;
    double m, l;
    double logit[BLOCK];
};

static int64_t head_dim_of(const struct op_attention *a)
{
    return a->n_queries ? a->queries[0].q.shape[2] : 0;
}

size_t attention_workspace_ref(const void *self, const struct op_attention *a)
{
    (void)self;
    return (size_t)head_dim_of(a) * (sizeof(double) + 2 * sizeof(float));
}

/* ---- reading --------------------------------------------------------------------- */

/* Row `row` of head h of q or k as floats, scale applied. */
static void head_row(const struct tensor *t, int64_t h, int64_t row, float *out)
{
    int64_t at = h * t->stride[0] + row * t->stride[1];
    const float *d = t->scales.data;
    float scale = 1.0f;

    dtype_convert(out, DT_F32, ref_at(t, at), t->dtype, (size_t)t->shape[2]);
    if (!is_code(t->dtype) || t->scales.kind == SCALE_NONE)
        return;
    if (t->scales.kind == SCALE_TENSOR)
        scale = d[0];
    else if (t->scales.kind == SCALE_ROW)
        scale = d[h * t->scales.stride[0] + row];
    else
        scale = d[h * t->scales.stride[0] + row / t->scales.rows * t->scales.stride[1]];
    for (int64_t c = 0; c < t->shape[2]; c++)
        out[c] *= scale;
}

/* The value of a token as floats; 8-bit values lie transposed. */
static void value_row(const struct tensor *v, int64_t h, int64_t token, int64_t dim,
                      float *out)
{
    const struct scales *s = &v->scales;
    const uint8_t *code = v->data;

    if (!is_code(v->dtype)) {
        head_row(v, h, token, out);
        return;
    }
    for (int64_t c = 0; c < dim; c++)
        out[c] = e4m3_to_f32(code[h * v->stride[0] + c * v->stride[1] + token]) *
                 s->data[h * s->stride[0] + c * s->stride[1] + token / s->cols];
}

/* The part that holds key `key`, counted over all parts; *at is its place there. */
static const struct attn_keys *part_of(const struct op_attention *a, int64_t key,
                                       int64_t *at)
{
    int i = 0;

    while (key >= a->keys[i].n)
        key -= a->keys[i++].n;
    *at = key;
    return &a->keys[i];
}

static double bias_of(const struct walk *w, int64_t key)
{
    const struct op_attention *a = w->a;
    double bias = a->key_bias ? (double)ref_load(a->key_bias, key) : 0.0;
    int64_t reach, away = key - w->position;

    if (!a->rel_bias)
        return bias;
    reach = a->rel_bias->shape[1] / 2;
    away = away < -reach ? -reach : away > reach ? reach : away;
    return bias + (double)ref_load(a->rel_bias,
                                   w->head * a->rel_bias->stride[0] + away + reach);
}

/* ---- walking --------------------------------------------------------------------- */

static void block_logits(struct walk *w, int64_t key, int64_t n, float *k_row)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at;
        const struct attn_keys *part = part_of(w->a, key + i, &at);

        head_row(&part->k, w->head, at, k_row);
        w->logit[i] = ref_dot(w->q, k_row, w->dim) * (double)w->a->scale +
                      bias_of(w, key + i);
    }
}

static void block_add(struct walk *w, int64_t key, int64_t n, float *v_row)
{
    double top = w->m, shrink;

    for (int64_t i = 0; i < n; i++)
        top = fmax(top, w->logit[i]);
    if (isinf(top) && top < 0.0)
        return;
    shrink = exp(w->m - top);
    w->l *= shrink;
    for (int64_t c = 0; c < w->dim; c++)
        w->acc[c] *= shrink;
    w->m = top;
    for (int64_t i = 0; i < n; i++) {
        double p = exp(w->logit[i] - top);
        int64_t at;
        const struct attn_keys *part = part_of(w->a, key + i, &at);

        w->l += p;
        if (w->rounded)
            p = (double)e4m3_to_f32(f32_to_e4m3((float)(448.0 * p))) / 448.0;
        value_row(&part->v, w->head, at, w->dim, v_row);
        for (int64_t c = 0; c < w->dim; c++)
            w->acc[c] += p * (double)v_row[c];
    }
}

static void query_write(const struct walk *w, const struct attn_queries *qs, int64_t s)
{
    const struct tensor *o = &qs->o;
    int64_t at = s * o->stride[0] + w->head * o->stride[1];
    float top = 0.0f, scale = 1.0f;

    for (int64_t c = 0; c < w->dim; c++)
        top = absmax_of(top, w->l > 0.0 ? (float)(w->acc[c] / w->l) : 0.0f);
    if (is_code(o->dtype)) {
        scale = ref_scale(o->dtype, top);
        o->scales.data[s * o->scales.stride[0] + w->head] = scale;
    }
    for (int64_t c = 0; c < w->dim; c++) {
        float v = w->l > 0.0 ? (float)(w->acc[c] / w->l) : 0.0f;

        if (is_code(o->dtype))
            ref_code_store(o, at + c, v, scale);
        else
            ref_store(o, at + c, w->a->add ? ref_load(o, at + c) + v : v);
    }
    if (qs->lse)
        ref_store(qs->lse, w->head * qs->lse->stride[0] + s,
                  w->l > 0.0 ? (float)(w->m + log(w->l)) : -INFINITY);
}

/* Query s of the entry, all keys; rows of q and of k or v follow acc in the workspace.
 */
static void query_run(struct walk *w, const struct attn_queries *qs, int64_t s)
{
    float *q_row = (float *)(w->acc + w->dim);
    float *row = q_row + w->dim;

    head_row(&qs->q, w->head, s, q_row);
    w->q = q_row;
    w->m = -INFINITY;
    w->l = 0.0;
    for (int64_t c = 0; c < w->dim; c++)
        w->acc[c] = 0.0;
    for (int64_t key = 0; key < w->keys; key += BLOCK) {
        int64_t n = w->keys - key < BLOCK ? w->keys - key : BLOCK;

        block_logits(w, key, n, row);
        block_add(w, key, n, row);
    }
    query_write(w, qs, s);
}

enum status attention_ref(void *self, struct queue *q, const struct op_attention *a,
                          struct err *e)
{
    struct walk w = {.a = a, .dim = head_dim_of(a), .acc = (double *)q->workspace};
    int64_t first = 0;

    (void)self;
    (void)e;
    for (int i = 0; i < a->n_keys; i++)
        w.keys += a->keys[i].n;
    for (int i = 0; i < a->n_queries; i++) {
        const struct tensor *t = &a->queries[i].q;

        w.rounded = is_code(t->dtype) || (a->n_keys && is_code(a->keys[0].v.dtype));
        for (int64_t s = 0; s < t->shape[1]; s++) {
            w.position = first + s;
            for (w.head = 0; w.head < t->shape[0]; w.head++)
                query_run(&w, &a->queries[i], s);
        }
        first += t->shape[1];
    }
    return ST_OK;
}

/* ---- merging --------------------------------------------------------------------- */

enum status attn_merge_ref(void *self, struct queue *q, const struct op_attn_merge *a,
                           struct err *e)
{
    const struct tensor *o = a->o, *part = a->o_part;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t h = 0; h < o->shape[1]; h++) {
        for (int64_t s = 0; s < o->shape[0]; s++) {
            int64_t at = h * a->lse->stride[0] + s;
            int64_t o_at = s * o->stride[0] + h * o->stride[1];
            int64_t p_at = s * part->stride[0] + h * part->stride[1];
            double x = (double)ref_load(a->lse, at);
            double y = (double)ref_load(a->lse_part, h * a->lse_part->stride[0] + s);
            double top = fmax(x, y);
            double wx = isinf(top) ? 0.0 : exp(x - top);
            double wy = isinf(top) ? 0.0 : exp(y - top);

            if (isinf(top))
                continue;
            for (int64_t c = 0; c < o->shape[2]; c++) {
                double v = wx * (double)ref_load(o, o_at + c) +
                           wy * (double)ref_load(part, p_at + c);

                ref_store(o, o_at + c, (float)(v / (wx + wy)));
            }
            ref_store(a->lse, at, (float)(top + log(wx + wy)));
        }
    }
    return ST_OK;
}
