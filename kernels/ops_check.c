/* ops_check.c - shapes, dtypes, spaces and scales that each op accepts */
#include "kernels/ops_check.h"

#include <stdio.h>
#include <string.h>

#define BIT(dt) (1u << (dt))
#define FLOATS (BIT(DT_F32) | BIT(DT_BF16))
#define CODES (BIT(DT_E4M3) | BIT(DT_I8))
#define ANY (-1)

/* The op whose arguments are looked at. */
struct look {
    const struct ops_facts *facts;
    const char *op;
    struct err *e;
};

static bool is_code(enum dtype dt)
{
    return (BIT(dt) & (CODES | BIT(DT_E5M2))) != 0;
}

/* ---- what can be said about one tensor ------------------------------------------- */

static enum status refuse(const struct look *l, const char *name, const char *why)
{
    return err_set(l->e, ST_USAGE, "%s: '%s' %s", l->op, name, why);
}

static void shape_text(char *out, size_t bytes, int rank, const int64_t *shape)
{
    size_t at = 0;

    out[0] = '\0';
    for (int i = 0; i < rank && at < bytes; i++) {
        const char *mark = i ? "," : "";

        if (shape[i] == ANY)
            at += (size_t)snprintf(out + at, bytes - at, "%s*", mark);
        else
            at += (size_t)snprintf(out + at, bytes - at, "%s%lld", mark,
                                   (long long)shape[i]);
    }
}

static enum status shape_want(const struct look *l, const char *name,
                              const struct tensor *t, int rank, const int64_t *shape)
{
    char is[128], must[128];
    bool ok = t->rank == rank;

    for (int i = 0; ok && i < rank; i++)
        ok = shape[i] == ANY || shape[i] == t->shape[i];
    if (ok)
        return ST_OK;
    shape_text(is, sizeof(is), t->rank, t->shape);
    shape_text(must, sizeof(must), rank, shape);
    return err_set(l->e, ST_USAGE, "%s: '%s' has shape [%s], must be [%s]", l->op, name,
                   is, must);
}

static enum status type_want(const struct look *l, const char *name,
                             const struct tensor *t, unsigned mask)
{
    char list[96];
    size_t at = 0;

    if (mask & BIT(t->dtype))
        return ST_OK;
    list[0] = '\0';
    for (int dt = 0; dt < DT_COUNT && at < sizeof(list); dt++) {
        if (mask & BIT(dt))
            at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s",
                                   at ? " or " : "", dtype_name((enum dtype)dt));
    }
    return err_set(l->e, ST_USAGE, "%s: '%s' is %s, must be %s", l->op, name,
                   dtype_name(t->dtype), list);
}

static enum status place_want(const struct look *l, const char *name,
                              const struct tensor *t)
{
    if (t->space != l->facts->space)
        return refuse(l, name, "lies in another memory space than the backend's");
    if (!t->data && tensor_count(t) > 0)
        return refuse(l, name, "has no data");
    return ST_OK;
}

/* Type, place, shape, and a last axis that is dense. */
static enum status want(const struct look *l, const char *name, const struct tensor *t,
                        unsigned mask, int rank, const int64_t *shape)
{
    if (!t)
        return refuse(l, name, "is missing");
    TRY(type_want(l, name, t, mask));
    TRY(shape_want(l, name, t, rank, shape));
    TRY(place_want(l, name, t));
    if (t->shape[rank - 1] > 1 && t->stride[rank - 1] != 1)
        return refuse(l, name, "must be dense on its last axis");
    return ST_OK;
}

static enum status want2(const struct look *l, const char *name, const struct tensor *t,
                         unsigned mask, int64_t rows, int64_t cols)
{
    return want(l, name, t, mask, 2, (int64_t[]){rows, cols});
}

/* As want, or NULL. */
static enum status maybe(const struct look *l, const char *name, const struct tensor *t,
                         unsigned mask, int rank, const int64_t *shape)
{
    return t ? want(l, name, t, mask, rank, shape) : ST_OK;
}

/* An f32 vector of n, or NULL. */
static enum status vector(const struct look *l, const char *name,
                          const struct tensor *t, int64_t n)
{
    return maybe(l, name, t, BIT(DT_F32), 1, &n);
}

static enum status dense_want(const struct look *l, const char *name,
                              const struct tensor *t)
{
    return tensor_dense(t) ? ST_OK : refuse(l, name, "must be dense");
}

static enum status applied(const struct look *l, const char *name,
                           const struct tensor *t)
{
    if (t->pending.row_scale || t->pending.col_scale || t->pending.bias)
        return refuse(l, name, "has pending scales, which this op does not apply");
    return ST_OK;
}

/* A float tensor [s,d] that is read with nothing left pending on it. */
static enum status rows_in(const struct look *l, const char *name,
                           const struct tensor *t, int64_t s, int64_t d)
{
    TRY(want2(l, name, t, FLOATS, s, d));
    return applied(l, name, t);
}

static enum status codes_scaled(const struct look *l, const char *name,
                                const struct tensor *t)
{
    if (!is_code(t->dtype))
        return ST_OK;
    if (t->scales.kind != SCALE_ROW)
        return refuse(l, name, "must have one scale per row");
    if (!t->scales.data && t->shape[t->rank - 2] > 0)
        return refuse(l, name, "has no memory for its scales");
    return ST_OK;
}

/* [s,d] that an op writes: a float tensor or an operand that the backend runs. */
static enum status rows_out(const struct look *l, const char *name,
                            const struct tensor *t, int64_t s, int64_t d)
{
    TRY(want2(l, name, t, FLOATS | (l->facts->operand_dtypes & CODES), s, d));
    return codes_scaled(l, name, t);
}

/* A table with one row, or with a row for every frame that [first, first + s) meets. */
static enum status frames_want(const struct look *l, const char *name,
                               const struct tensor *t, int64_t s, int64_t d,
                               int64_t first, int64_t per_frame)
{
    if (!t)
        return ST_OK;
    TRY(want2(l, name, t, BIT(DT_F32), ANY, d));
    if (t->shape[0] == 1 || s == 0)
        return ST_OK;
    if (per_frame < 1 || first < 0)
        return refuse(l, name, "has rows per frame, but tokens_per_frame is not set");
    if ((first + s - 1) / per_frame >= t->shape[0])
        return refuse(l, name, "has fewer rows than the tokens have frames");
    return ST_OK;
}

/* ---- products -------------------------------------------------------------------- */

enum status linear_check(const struct ops_facts *facts, const struct op_linear *a,
                         struct err *e)
{
    struct look l = {facts, "linear", e};

    TRY(want2(&l, "x", a->x, facts->operand_dtypes, ANY, ANY));
    TRY(want2(&l, "w", a->w, FLOATS | CODES | BIT(DT_F16) | BIT(DT_E5M2), ANY,
              a->x->shape[1]));
    TRY(want2(&l, "y", a->y, FLOATS, a->x->shape[0], a->w->shape[0]));
    TRY(vector(&l, "bias", a->bias, a->w->shape[0]));
    TRY(codes_scaled(&l, "x", a->x));
    TRY(applied(&l, "x", a->x));
    if (is_code(a->x->dtype) && a->w->dtype != a->x->dtype)
        return err_set(e, ST_USAGE, "linear: 'x' is %s and 'w' is %s, must be equal",
                       dtype_name(a->x->dtype), dtype_name(a->w->dtype));
    if (is_code(a->w->dtype) && a->w->scales.kind != SCALE_NONE &&
        a->w->scales.kind != SCALE_ROW && a->w->scales.kind != SCALE_TENSOR)
        return refuse(&l, "w", "must have row scales, one scale or none");
    return ST_OK;
}

static int64_t conv_extent(const struct op_conv *a, int i)
{
    int64_t n = a->x->shape[i] * (i > 0 ? a->upsample : 1);

    n += a->pad_lo[i] + a->pad_hi[i] - a->weight->shape[i + 1];
    return n < 0 ? 0 : n / a->stride[i] + 1;
}

enum status conv_check(const struct ops_facts *facts, const struct op_conv *a,
                       struct err *e)
{
    struct look l = {facts, "conv", e};
    int64_t y[4];

    TRY(want(&l, "x", a->x, FLOATS, 4, (int64_t[]){ANY, ANY, ANY, ANY}));
    TRY(want(&l, "weight", a->weight, FLOATS, 5,
             (int64_t[]){ANY, ANY, ANY, ANY, a->x->shape[3]}));
    TRY(dense_want(&l, "weight", a->weight));
    if (a->upsample != 1 && a->upsample != 2)
        return refuse(&l, "upsample", "must be 1 or 2");
    if (a->column < 0)
        return refuse(&l, "column", "must be 0 or more");
    for (int i = 0; i < 3; i++) {
        if (a->stride[i] < 1 || a->pad_lo[i] < 0 || a->pad_hi[i] < 0)
            return refuse(&l, "stride", "must be 1 or more, and pads 0 or more");
        y[i] = conv_extent(a, i);
    }
    y[3] = a->weight->shape[0];
    TRY(want(&l, "y", a->y, FLOATS, 4, y));
    TRY(vector(&l, "bias", a->bias, y[3]));
    return maybe(&l, "residual", a->residual, FLOATS, 4, y);
}

/* ---- norms, residuals, activations ---------------------------------------------- */

static enum status norm_want(const struct look *l, const struct norm *n, int64_t s,
                             int64_t d)
{
    TRY(vector(l, "weight", n->weight, d));
    TRY(vector(l, "bias", n->bias, d));
    TRY(frames_want(l, "scale", n->scale, s, d, n->first_token, n->tokens_per_frame));
    return frames_want(l, "shift", n->shift, s, d, n->first_token, n->tokens_per_frame);
}

enum status norm_check(const struct ops_facts *facts, const struct op_norm *a,
                       struct err *e)
{
    struct look l = {facts, "norm", e};

    TRY(rows_in(&l, "x", a->x, ANY, ANY));
    TRY(norm_want(&l, &a->norm, a->x->shape[0], a->x->shape[1]));
    return rows_out(&l, "out", a->out, a->x->shape[0], a->x->shape[1]);
}

enum status residual_check(const struct ops_facts *facts, const struct op_residual *a,
                           struct err *e)
{
    struct look l = {facts, "residual", e};
    int64_t s, d;

    TRY(rows_in(&l, "x", a->x, ANY, ANY));
    s = a->x->shape[0];
    d = a->x->shape[1];
    TRY(want2(&l, "y", a->y, FLOATS, s, d));
    TRY(frames_want(&l, "gate", a->gate, s, d, a->norm.first_token,
                    a->norm.tokens_per_frame));
    if (!a->out)
        return ST_OK;
    TRY(norm_want(&l, &a->norm, s, d));
    return rows_out(&l, "out", a->out, s, d);
}

enum status act_check(const struct ops_facts *facts, const struct op_act *a,
                      struct err *e)
{
    struct look l = {facts, "act", e};

    TRY(want2(&l, "x", a->x, FLOATS, ANY, ANY));
    if (a->gated)
        TRY(want2(&l, "gated", a->gated, FLOATS, a->x->shape[0], a->x->shape[1]));
    TRY(rows_out(&l, "out", a->out, a->x->shape[0], a->x->shape[1]));
    if (a->out->data == a->x->data && tensor_count(a->x) > 0 &&
        (a->out->dtype != a->x->dtype || applied(&l, "x", a->x) != ST_OK))
        return refuse(&l, "out", "can be 'x' only with its type and nothing pending");
    return ST_OK;
}

/* ---- heads ---------------------------------------------------------------------- */

/* y [s, heads * head_dim]. */
static enum status heads_in(const struct look *l, const struct tensor *y, int head_dim)
{
    TRY(want2(l, "y", y, FLOATS, ANY, ANY));
    if (head_dim < 1 || y->shape[1] % head_dim != 0)
        return refuse(l, "y", "is not a whole number of heads wide");
    return ST_OK;
}

static enum status rope_want(const struct look *l, const struct rope *r, int head_dim)
{
    const struct tensor *table[3];
    int64_t pairs = 0;

    if (!r)
        return ST_OK;
    table[0] = &r->f;
    table[1] = &r->h;
    table[2] = &r->w;
    for (int i = 0; i < 3; i++) {
        TRY(want(l, "rope", table[i], BIT(DT_F32), 3, (int64_t[]){ANY, ANY, 2}));
        if (table[i]->stride[1] != 2 && table[i]->shape[1] > 1)
            return refuse(l, "rope", "must have dense tables");
        pairs += table[i]->shape[1];
    }
    if (pairs * 2 != head_dim)
        return refuse(l, "rope", "has tables for another number of pairs than a head");
    if (r->grid_h < 1 || r->grid_w < 1 || r->h.shape[0] < r->grid_h ||
        r->w.shape[0] < r->grid_w)
        return refuse(l, "rope", "has tables shorter than its grid");
    return ST_OK;
}

/* The last token that rows [first, first + s) are turned by. */
static enum status rope_reach(const struct look *l, const struct rope *r, int64_t first,
                              int64_t s)
{
    if (!r || s == 0)
        return ST_OK;
    if (first < 0 || (first + s - 1) / (r->grid_h * r->grid_w) >= r->f.shape[0])
        return refuse(l, "rope", "has fewer frames than the tokens reach");
    return ST_OK;
}

static enum status part_range(const struct look *l, const struct head_part *p,
                              int64_t heads)
{
    if (p->head_begin < 0 || p->n_heads < 0 || p->head_begin + p->n_heads > heads)
        return refuse(l, "parts", "name heads that are not there");
    return ST_OK;
}

static enum status head_part_want(const struct look *l, const struct head_part *p,
                                  int64_t s, int64_t heads, int head_dim)
{
    const struct scales *sc = &p->t.scales;

    TRY(part_range(l, p, heads));
    TRY(want(l, "parts", &p->t, FLOATS | CODES, 3,
             (int64_t[]){p->n_heads, s, head_dim}));
    if (!is_code(p->t.dtype))
        return ST_OK;
    if (!sc->data && tensor_count(&p->t) > 0)
        return refuse(l, "parts", "have no memory for their scales");
    if (sc->kind == SCALE_ROW)
        return ST_OK;
    if (p->t.dtype == DT_I8 && sc->kind == SCALE_GROUP && sc->rows == 4 &&
        sc->cols == head_dim)
        return ST_OK;
    return refuse(l, "parts",
                  "must have a scale per token, or I8 per 4 tokens, and head");
}

static enum status mean_want(const struct look *l, const struct tensor *acc,
                             const struct tensor *count, int64_t d)
{
    if (!acc != !count)
        return refuse(l, "mean_count", "must be there exactly when 'mean_acc' is");
    TRY(maybe(l, "mean_acc", acc, BIT(DT_I64), 1, &d));
    return maybe(l, "mean_count", count, BIT(DT_I64), 1, (int64_t[]){1});
}

enum status key_sum_check(const struct ops_facts *facts, const struct op_key_sum *a,
                          struct err *e)
{
    struct look l = {facts, "key_sum", e};

    TRY(heads_in(&l, a->y, a->head_dim));
    TRY(vector(&l, "weight", a->weight, a->y->shape[1]));
    TRY(rope_want(&l, a->rope, a->head_dim));
    TRY(rope_reach(&l, a->rope, a->first_token, a->y->shape[0]));
    if (!a->acc || !a->count)
        return refuse(&l, "acc", "or 'count' is missing");
    TRY(mean_want(&l, a->acc, a->count, a->y->shape[1]));
    return a->every < 1 ? refuse(&l, "every", "must be 1 or more") : ST_OK;
}

enum status heads_check(const struct ops_facts *facts, const struct op_heads *a,
                        struct err *e)
{
    struct look l = {facts, "heads", e};

    TRY(heads_in(&l, a->y, a->head_dim));
    TRY(vector(&l, "weight", a->weight, a->y->shape[1]));
    TRY(rope_want(&l, a->rope, a->head_dim));
    TRY(rope_reach(&l, a->rope, a->first_token, a->y->shape[0]));
    TRY(mean_want(&l, a->mean_acc, a->mean_count, a->y->shape[1]));
    for (int i = 0; i < a->n_parts; i++)
        TRY(head_part_want(&l, &a->parts[i], a->y->shape[0],
                           a->y->shape[1] / a->head_dim, a->head_dim));
    return ST_OK;
}

/* e4m3 [n_heads, head_dim, s_pad] with a scale per channel and 128 tokens. */
static enum status values_codes_want(const struct look *l, const char *name,
                                     const struct tensor *t, int64_t heads,
                                     int64_t head_dim, int64_t s)
{
    const struct scales *sc = &t->scales;

    TRY(want(l, name, t, BIT(DT_E4M3), 3, (int64_t[]){heads, head_dim, ANY}));
    if (t->shape[2] % 128 != 0 || t->shape[2] < s)
        return refuse(l, name, "must be padded to a multiple of 128 tokens");
    if (sc->kind != SCALE_GROUP || sc->rows != 1 || sc->cols != 128)
        return refuse(l, name, "must have a scale per channel and 128 tokens");
    if (!sc->data && tensor_count(t) > 0)
        return refuse(l, name, "has no memory for its scales");
    return ST_OK;
}

enum status values_check(const struct ops_facts *facts, const struct op_values *a,
                         struct err *e)
{
    struct look l = {facts, "values", e};
    int64_t s;

    TRY(heads_in(&l, a->y, a->head_dim));
    s = a->y->shape[0];
    for (int i = 0; i < a->n_parts; i++) {
        const struct head_part *p = &a->parts[i];

        TRY(part_range(&l, p, a->y->shape[1] / a->head_dim));
        if (is_code(p->t.dtype))
            TRY(values_codes_want(&l, "parts", &p->t, p->n_heads, a->head_dim, s));
        else
            TRY(want(&l, "parts", &p->t, FLOATS, 3,
                     (int64_t[]){p->n_heads, s, a->head_dim}));
    }
    return ST_OK;
}

/* ---- attention ------------------------------------------------------------------ */

static enum status query_want(const struct look *l, const struct op_attention *a,
                              const struct attn_queries *qs)
{
    const struct tensor *q0 = &a->queries[0].q;
    int64_t heads = q0->shape[0], dim = q0->shape[2];
    int64_t s;

    TRY(want(l, "q", &qs->q, BIT(q0->dtype), 3, (int64_t[]){heads, ANY, dim}));
    s = qs->q.shape[1];
    if (is_code(qs->q.dtype) && s > 0 &&
        ((qs->q.scales.kind != SCALE_ROW && qs->q.scales.kind != SCALE_GROUP) ||
         !qs->q.scales.data))
        return refuse(l, "q", "must have scales per token or group, and head");
    TRY(want(l, "o", &qs->o, FLOATS | BIT(DT_E4M3), 3, (int64_t[]){s, heads, dim}));
    if (is_code(qs->o.dtype) &&
        (qs->o.scales.kind != SCALE_ROW || (!qs->o.scales.data && s > 0)))
        return refuse(l, "o", "must have a scale per token and head");
    if (a->add && qs->o.dtype != DT_F32)
        return refuse(l, "o", "must be F32 to be added to");
    return maybe(l, "lse", qs->lse, BIT(DT_F32), 2, (int64_t[]){heads, s});
}

static enum status keys_want(const struct look *l, const struct op_attention *a,
                             const struct attn_keys *ks)
{
    const struct tensor *q0 = &a->queries[0].q;
    const struct attn_keys *first = &a->keys[0];
    int64_t heads = q0->shape[0], dim = q0->shape[2];

    TRY(want(l, "k", &ks->k, BIT(q0->dtype), 3, (int64_t[]){heads, ANY, dim}));
    if (ks->n < 0 || ks->k.shape[1] < ks->n)
        return refuse(l, "k", "has fewer rows than there are keys");
    if (is_code(ks->k.dtype) && ks->n > 0 &&
        ((ks->k.scales.kind != SCALE_ROW && ks->k.scales.kind != SCALE_GROUP) ||
         !ks->k.scales.data))
        return refuse(l, "k", "must have scales per token or group, and head");
    if (ks->v.dtype != first->v.dtype)
        return refuse(l, "v", "must have one type in all parts");
    if (is_code(ks->v.dtype))
        return values_codes_want(l, "v", &ks->v, heads, dim, ks->n);
    TRY(want(l, "v", &ks->v, FLOATS, 3, (int64_t[]){heads, ANY, dim}));
    return ks->v.shape[1] < ks->n ? refuse(l, "v", "has fewer rows than there are keys")
                                  : ST_OK;
}

enum status attention_check(const struct ops_facts *facts, const struct op_attention *a,
                            struct err *e)
{
    struct look l = {facts, "attention", e};
    int64_t keys = 0;

    if (a->n_queries < 1 || a->n_keys < 1)
        return refuse(&l, "queries", "and 'keys' must have a part each");
    TRY(type_want(&l, "q", &a->queries[0].q, FLOATS | CODES));
    for (int i = 0; i < a->n_queries; i++)
        TRY(query_want(&l, a, &a->queries[i]));
    for (int i = 0; i < a->n_keys; i++) {
        TRY(keys_want(&l, a, &a->keys[i]));
        keys += a->keys[i].n;
    }
    TRY(vector(&l, "key_bias", a->key_bias, keys));
    TRY(maybe(&l, "rel_bias", a->rel_bias, BIT(DT_F32), 2,
              (int64_t[]){a->queries[0].q.shape[0], ANY}));
    if (a->rel_bias && a->rel_bias->shape[1] % 2 == 0)
        return refuse(&l, "rel_bias", "must have an odd number of columns");
    return ST_OK;
}

/* Parts [s, n_heads, head_dim] that together are every head once. */
static enum status gather_parts_want(const struct look *l, const char *name,
                                     const struct head_part *parts, int n, int64_t s,
                                     int64_t d)
{
    int64_t covered = 0;

    for (int i = 0; i < n; i++) {
        const struct tensor *t = &parts[i].t;
        int64_t dim = parts[0].t.shape[2];

        TRY(want(l, name, t, FLOATS | BIT(DT_E4M3), 3,
                 (int64_t[]){s, parts[i].n_heads, dim}));
        if (is_code(t->dtype) && (t->scales.kind != SCALE_ROW || !t->scales.data) &&
            tensor_count(t) > 0)
            return refuse(l, name, "must have a scale per token and head");
        TRY(part_range(l, &parts[i], dim > 0 ? d / dim : 0));
        covered += parts[i].n_heads * dim;
    }
    return covered == d ? ST_OK : refuse(l, name, "do not cover every head once");
}

enum status gather_check(const struct ops_facts *facts, const struct op_gather *a,
                         struct err *e)
{
    struct look l = {facts, "gather", e};
    int64_t s, d;

    TRY(rows_out(&l, "out", a->out, ANY, ANY));
    s = a->out->shape[0];
    d = a->out->shape[1];
    TRY(gather_parts_want(&l, "parts", a->parts, a->n_parts, s, d));
    return a->n_add ? gather_parts_want(&l, "add", a->add, a->n_add, s, d) : ST_OK;
}

enum status attn_merge_check(const struct ops_facts *facts,
                             const struct op_attn_merge *a, struct err *e)
{
    struct look l = {facts, "attn_merge", e};
    const int64_t *o;

    TRY(want(&l, "o", a->o, BIT(DT_F32), 3, (int64_t[]){ANY, ANY, ANY}));
    o = a->o->shape;
    TRY(want(&l, "o_part", a->o_part, BIT(DT_F32), 3, o));
    TRY(want2(&l, "lse", a->lse, BIT(DT_F32), o[1], o[0]));
    return want2(&l, "lse_part", a->lse_part, BIT(DT_F32), o[1], o[0]);
}

/* ---- small things --------------------------------------------------------------- */

enum status convert_check(const struct ops_facts *facts, const struct op_convert *a,
                          struct err *e)
{
    struct look l = {facts, "convert", e};
    unsigned from = FLOATS | BIT(DT_F16) | BIT(DT_F64);

    TRY(type_want(&l, "src", a->src, from));
    TRY(applied(&l, "src", a->src));
    if (is_code(a->dst->dtype)) {
        TRY(want2(&l, "src", a->src, from, ANY, ANY));
        return rows_out(&l, "dst", a->dst, a->src->shape[0], a->src->shape[1]);
    }
    TRY(type_want(&l, "dst", a->dst, FLOATS));
    TRY(shape_want(&l, "dst", a->dst, a->src->rank, a->src->shape));
    TRY(place_want(&l, "src", a->src));
    return place_want(&l, "dst", a->dst);
}

enum status rows_check(const struct ops_facts *facts, const struct op_rows *a,
                       struct err *e)
{
    struct look l = {facts, "rows", e};

    TRY(want2(&l, "table", a->table, FLOATS | BIT(DT_F16), ANY, ANY));
    TRY(want(&l, "ids", a->ids, BIT(DT_I32), 1, (int64_t[]){ANY}));
    return want2(&l, "out", a->out, FLOATS, a->ids->shape[0], a->table->shape[1]);
}

enum status sinusoid_check(const struct ops_facts *facts, const struct op_sinusoid *a,
                           struct err *e)
{
    struct look l = {facts, "sinusoid", e};

    TRY(want(&l, "t", a->t, BIT(DT_F32), 1, (int64_t[]){ANY}));
    TRY(want2(&l, "out", a->out, BIT(DT_F32), a->t->shape[0], ANY));
    return a->out->shape[1] % 2 ? refuse(&l, "out", "must have an even width") : ST_OK;
}

enum status unpatch_check(const struct ops_facts *facts, const struct op_unpatch *a,
                          struct err *e)
{
    struct look l = {facts, "unpatch", e};

    TRY(want2(&l, "x", a->x, BIT(DT_F32), ANY, ANY));
    if (a->x->shape[1] % 4)
        return refuse(&l, "x", "must have a multiple of 4 columns");
    return want2(&l, "out", a->out, BIT(DT_F32), a->x->shape[0], a->x->shape[1]);
}

enum status combine_check(const struct ops_facts *facts, const struct op_combine *a,
                          struct err *e)
{
    struct look l = {facts, "combine", e};

    if (a->n < 1 || a->n > COMBINE_MAX)
        return refuse(&l, "n", "must be from 1 to 6");
    TRY(want2(&l, "out", a->out, BIT(DT_F32), ANY, ANY));
    for (int i = 0; i < a->n; i++)
        TRY(want2(&l, "in", a->in[i], BIT(DT_F32), a->out->shape[0], a->out->shape[1]));
    if (!a->coef)
        return refuse(&l, "coef", "is missing");
    return frames_want(&l, "coef", a->coef, a->out->shape[0], a->n, a->first_token,
                       a->tokens_per_frame);
}

enum status pixels_check(const struct ops_facts *facts, const struct op_pixels *a,
                         struct err *e)
{
    struct look l = {facts, "pixels", e};

    TRY(type_want(&l, "x", a->x, FLOATS));
    TRY(type_want(&l, "out", a->out, BIT(DT_U8)));
    TRY(shape_want(&l, "out", a->out, a->x->rank, a->x->shape));
    TRY(place_want(&l, "x", a->x));
    TRY(place_want(&l, "out", a->out));
    TRY(dense_want(&l, "x", a->x));
    return dense_want(&l, "out", a->out);
}

enum status normal_check(const struct ops_facts *facts, const struct op_normal *a,
                         struct err *e)
{
    struct look l = {facts, "normal", e};

    TRY(type_want(&l, "out", a->out, FLOATS));
    TRY(place_want(&l, "out", a->out));
    return dense_want(&l, "out", a->out);
}

enum status copy_check(const struct tensor *dst, const struct tensor *src,
                       struct err *e)
{
    if (dst->dtype != src->dtype || tensor_count(dst) != tensor_count(src))
        return err_set(e, ST_USAGE, "copy: type or number of elements differ");
    if (!tensor_dense(dst) || !tensor_dense(src))
        return err_set(e, ST_USAGE, "copy: 'dst' and 'src' must be dense");
    return ST_OK;
}

enum status quantise_check(const struct ops_facts *facts, const struct op_quantise *a,
                           struct err *e)
{
    struct look l = {facts, "quantise", e};

    TRY(want2(&l, "src", a->src, FLOATS | BIT(DT_F16) | BIT(DT_F64), ANY, ANY));
    TRY(applied(&l, "src", a->src));
    TRY(dense_want(&l, "src", a->src));
    TRY(want2(&l, "dst", a->dst, CODES, a->src->shape[0], a->src->shape[1]));
    TRY(dense_want(&l, "dst", a->dst));
    TRY(want(&l, "spoilt", a->spoilt, BIT(DT_I64), 1, (int64_t[]){1}));
    if (a->dst->scales.kind != SCALE_ROW ||
        (!a->dst->scales.data && a->dst->shape[0] > 0))
        return refuse(&l, "dst", "must have SCALE_ROW scales");
    return ST_OK;
}
