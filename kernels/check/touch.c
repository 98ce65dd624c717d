/* touch.c - lists the tensors that each op reads, writes or updates */
#include <string.h>

#include "kernels/check/check.h"

static void add(struct touches *ts, const struct tensor *t, const char *name,
                enum touch_kind kind)
{
    if (tensor_count(t) == 0)
        return;
    if (ts->n == TOUCH_MAX) {
        ts->full = true;
        return;
    }
    ts->v[ts->n++] = (struct touch){.t = *t, .name = name, .kind = kind};
}

static void add_vector(struct touches *ts, const float *p, int64_t n, const char *name)
{
    struct tensor t;

    if (!p)
        return;
    t = tensor_make1((float *)p, DT_F32, MEM_HOST, n);
    add(ts, &t, name, TOUCH_READ);
}

/* The scales of t as a tensor [slices, rows, columns]. */
static struct tensor scales_view(const struct tensor *t)
{
    const struct scales *s = &t->scales;
    int64_t slices = t->rank > 2 ? t->shape[0] : 1;
    int64_t rows = t->rank > 1 ? t->shape[t->rank - 2] : 1;
    int64_t cols = t->shape[t->rank - 1];
    struct tensor v;

    switch (s->kind) {
    case SCALE_ROW:
        v = tensor_make3(s->data, DT_F32, MEM_HOST, slices, 1, rows);
        break;
    case SCALE_COLUMN:
        v = tensor_make3(s->data, DT_F32, MEM_HOST, slices, 1, cols);
        break;
    case SCALE_GROUP:
        v = tensor_make3(s->data, DT_F32, MEM_HOST, slices,
                         (rows + s->rows - 1) / s->rows,
                         (cols + s->cols - 1) / s->cols);
        v.stride[1] = s->stride[1];
        break;
    default:
        return tensor_make1(s->data, DT_F32, MEM_HOST, s->kind == SCALE_TENSOR);
    }
    v.stride[0] = s->stride[0];
    return v;
}

static void touch(struct touches *ts, const struct tensor *t, const char *name,
                  enum touch_kind kind)
{
    struct tensor scales;

    if (!t)
        return;
    add(ts, t, name, kind);
    scales = scales_view(t);
    if (scales.data)
        add(ts, &scales, name, kind);
    if (kind != TOUCH_READ || t->rank != 2)
        return;
    add_vector(ts, t->pending.row_scale, t->shape[0], name);
    add_vector(ts, t->pending.col_scale, t->shape[1], name);
    add_vector(ts, t->pending.bias, t->shape[1], name);
}

static void reads(struct touches *ts, const struct tensor *t, const char *name)
{
    touch(ts, t, name, TOUCH_READ);
}

static void writes(struct touches *ts, const struct tensor *t, const char *name)
{
    touch(ts, t, name, TOUCH_WRITE);
}

static void updates(struct touches *ts, const struct tensor *t, const char *name)
{
    touch(ts, t, name, TOUCH_UPDATE);
}

static bool same_data(const struct tensor *a, const struct tensor *b)
{
    return a && b && a->data == b->data;
}

/* ---- one function per op --------------------------------------------------------- */

void touch_linear(const struct op_linear *a, struct touches *ts)
{
    reads(ts, a->x, "x");
    reads(ts, a->w, "w");
    reads(ts, a->bias, "bias");
    writes(ts, a->y, "y");
}

void touch_conv(const struct op_conv *a, struct touches *ts)
{
    reads(ts, a->x, "x");
    reads(ts, a->weight, "weight");
    reads(ts, a->bias, "bias");
    if (same_data(a->y, a->residual)) {
        updates(ts, a->y, "y");
        return;
    }
    reads(ts, a->residual, "residual");
    writes(ts, a->y, "y");
}

static void touch_tables(const struct norm *n, struct touches *ts)
{
    reads(ts, n->weight, "weight");
    reads(ts, n->bias, "bias");
    reads(ts, n->scale, "scale");
    reads(ts, n->shift, "shift");
}

void touch_norm(const struct op_norm *a, struct touches *ts)
{
    reads(ts, a->x, "x");
    touch_tables(&a->norm, ts);
    writes(ts, a->out, "out");
}

void touch_residual(const struct op_residual *a, struct touches *ts)
{
    updates(ts, a->x, "x");
    reads(ts, a->y, "y");
    reads(ts, a->gate, "gate");
    if (!a->out)
        return;
    touch_tables(&a->norm, ts);
    writes(ts, a->out, "out");
}

void touch_act(const struct op_act *a, struct touches *ts)
{
    reads(ts, a->gated, "gated");
    if (same_data(a->out, a->x)) {
        updates(ts, a->out, "out");
        return;
    }
    reads(ts, a->x, "x");
    writes(ts, a->out, "out");
}

static void touch_rope(const struct rope *r, struct touches *ts)
{
    if (!r)
        return;
    reads(ts, &r->f, "rope");
    reads(ts, &r->h, "rope");
    reads(ts, &r->w, "rope");
}

void touch_key_sum(const struct op_key_sum *a, struct touches *ts)
{
    reads(ts, a->y, "y");
    reads(ts, a->weight, "weight");
    touch_rope(a->rope, ts);
    updates(ts, a->acc, "acc");
    updates(ts, a->count, "count");
}

static void touch_parts(const struct head_part *parts, int n, const char *name,
                        enum touch_kind kind, struct touches *ts)
{
    for (int i = 0; i < n; i++)
        touch(ts, &parts[i].t, name, kind);
}

void touch_heads(const struct op_heads *a, struct touches *ts)
{
    reads(ts, a->y, "y");
    reads(ts, a->weight, "weight");
    touch_rope(a->rope, ts);
    reads(ts, a->mean_acc, "mean_acc");
    reads(ts, a->mean_count, "mean_count");
    touch_parts(a->parts, a->n_parts, "parts", TOUCH_WRITE, ts);
}

void touch_values(const struct op_values *a, struct touches *ts)
{
    reads(ts, a->y, "y");
    touch_parts(a->parts, a->n_parts, "parts", TOUCH_WRITE, ts);
}

void touch_attention(const struct op_attention *a, struct touches *ts)
{
    for (int i = 0; i < a->n_queries; i++) {
        reads(ts, &a->queries[i].q, "q");
        touch(ts, &a->queries[i].o, "o", a->add ? TOUCH_UPDATE : TOUCH_WRITE);
        writes(ts, a->queries[i].lse, "lse");
    }
    for (int i = 0; i < a->n_keys; i++) {
        reads(ts, &a->keys[i].k, "k");
        reads(ts, &a->keys[i].v, "v");
    }
    reads(ts, a->key_bias, "key_bias");
    reads(ts, a->rel_bias, "rel_bias");
}

void touch_gather(const struct op_gather *a, struct touches *ts)
{
    touch_parts(a->parts, a->n_parts, "parts", TOUCH_READ, ts);
    touch_parts(a->add, a->n_add, "add", TOUCH_READ, ts);
    writes(ts, a->out, "out");
}

void touch_attn_merge(const struct op_attn_merge *a, struct touches *ts)
{
    reads(ts, a->o_part, "o_part");
    reads(ts, a->lse_part, "lse_part");
    updates(ts, a->o, "o");
    updates(ts, a->lse, "lse");
}

void touch_convert(const struct op_convert *a, struct touches *ts)
{
    reads(ts, a->src, "src");
    writes(ts, a->dst, "dst");
}

void touch_rows(const struct op_rows *a, struct touches *ts)
{
    reads(ts, a->table, "table");
    reads(ts, a->ids, "ids");
    writes(ts, a->out, "out");
}

void touch_sinusoid(const struct op_sinusoid *a, struct touches *ts)
{
    reads(ts, a->t, "t");
    writes(ts, a->out, "out");
}

void touch_unpatch(const struct op_unpatch *a, struct touches *ts)
{
    reads(ts, a->x, "x");
    writes(ts, a->out, "out");
}

void touch_combine(const struct op_combine *a, struct touches *ts)
{
    bool in_place = false;

    reads(ts, a->coef, "coef");
    for (int i = 0; i < a->n; i++) {
        if (same_data(a->in[i], a->out))
            in_place = true;
        else
            reads(ts, a->in[i], "in");
    }
    touch(ts, a->out, "out", in_place ? TOUCH_UPDATE : TOUCH_WRITE);
}

void touch_pixels(const struct op_pixels *a, struct touches *ts)
{
    reads(ts, a->x, "x");
    writes(ts, a->out, "out");
}

void touch_normal(const struct op_normal *a, struct touches *ts)
{
    writes(ts, a->out, "out");
}

void touch_quantise(const struct op_quantise *a, struct touches *ts)
{
    reads(ts, a->src, "src");
    updates(ts, a->spoilt, "spoilt");
    writes(ts, a->dst, "dst");
}
