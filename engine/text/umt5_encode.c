/* umt5_encode.c - one prompt through the encoder */
#include "engine/text/umt5_inside.h"

/* A pass in flight. */
struct pass {
    const struct umt5 *m;
    struct queue *q;
    struct umt5_buffers b;
    int64_t n;
    struct err *e;
};

static enum status product(const struct pass *p, struct tensor *y,
                           const struct tensor *x, const struct tensor *w)
{
    struct op_linear a = {.y = y, .x = x, .w = w};

    return ops_linear(p->m->ops, p->q, &a, p->e);
}

static struct norm rms(const struct pass *p, const struct tensor *weight)
{
    return (struct norm){.kind = NORM_RMS, .eps = p->m->config.eps, .weight = weight};
}

/* q, k or v of the normalised rows, by heads. */
static enum status project(struct pass *p, const struct tensor *w,
                           const struct tensor *to)
{
    const struct text_config *c = &p->m->config;
    struct head_part part = {0, (int)c->heads, *to};
    struct tensor raw = p->b.raw;
    struct op_heads a = {
        .parts = &part, .n_parts = 1, .y = &raw, .head_dim = (int)c->head_dim};

    TRY(product(p, &raw, &p->b.u, w));
    return ops_heads(p->m->ops, p->q, &a, p->e);
}

static enum status project_values(struct pass *p, const struct tensor *w,
                                  const struct tensor *to)
{
    const struct text_config *c = &p->m->config;
    struct head_part part = {0, (int)c->heads, *to};
    struct tensor raw = p->b.raw;
    struct op_values a = {
        .parts = &part, .n_parts = 1, .y = &raw, .head_dim = (int)c->head_dim};

    TRY(product(p, &raw, &p->b.u, w));
    return ops_values(p->m->ops, p->q, &a, p->e);
}

/* y = o(softmax(q k^T + bias) v) */
static enum status attend(struct pass *p, int64_t layer)
{
    const struct text_config *c = &p->m->config;
    const struct umt5_block *w = &p->m->blocks[layer];
    struct tensor bias = tensor_slice(&p->b.bias, 0, layer * c->heads, c->heads);
    struct tensor mixed = tensor_reshape(&p->b.mixed, 2, p->b.raw.shape);
    struct attn_queries queries = {.q = p->b.q, .o = p->b.mixed};
    struct attn_keys keys = {.k = p->b.k, .v = p->b.v, .n = p->n};
    struct op_attention a = {.queries = &queries,
                             .n_queries = 1,
                             .keys = &keys,
                             .n_keys = 1,
                             .rel_bias = &bias,
                             .scale = 1.0f};

    TRY(project(p, &w->q, &p->b.q));
    TRY(project(p, &w->k, &p->b.k));
    TRY(project_values(p, &w->v, &p->b.v));
    TRY(ops_attention(p->m->ops, p->q, &a, p->e));
    return product(p, &p->b.y, &mixed, &w->o);
}

/* y = fc2(gelu(gate u) * fc1 u) */
static enum status feed(struct pass *p, const struct umt5_block *w)
{
    struct op_act a = {
        .out = &p->b.inner, .x = &p->b.gate, .gated = &p->b.up, .act = ACT_GELU_TANH};

    TRY(product(p, &p->b.gate, &p->b.u, &w->gate));
    TRY(product(p, &p->b.up, &p->b.u, &w->up));
    TRY(ops_act(p->m->ops, p->q, &a, p->e));
    return product(p, &p->b.y, &p->b.inner, &w->down);
}

/* to = RMS(x; weight) */
static enum status normalise(struct pass *p, const struct tensor *weight,
                             struct tensor *to)
{
    struct op_norm a = {.out = to, .x = &p->b.x, .norm = rms(p, weight)};

    return ops_norm(p->m->ops, p->q, &a, p->e);
}

/* x += y, and u = RMS(x; weight) unless weight is NULL. The norm that follows a block
 * belongs to the next one, which is not borrowed yet. */
static enum status add(struct pass *p, const struct tensor *weight)
{
    struct op_residual a = {.x = &p->b.x, .y = &p->b.y};

    if (weight) {
        a.out = &p->b.u;
        a.norm = rms(p, weight);
    }
    return ops_residual(p->m->ops, p->q, &a, p->e);
}

static enum status run_block(struct pass *p, int64_t i)
{
    const struct umt5_block *w = &p->m->blocks[i];

    TRY(normalise(p, &w->norm1, &p->b.u));
    TRY(attend(p, i));
    TRY(add(p, &w->norm2));
    TRY(feed(p, w));
    return add(p, NULL);
}

/* Ids and biases to the backend, rows of the table. */
static enum status begin(struct pass *p, const int32_t *ids)
{
    const struct umt5 *m = p->m;
    struct tensor host_ids = tensor_make1((void *)ids, DT_I32, MEM_HOST, p->n);
    struct tensor bias = tensor_make(m->bias, DT_F32, MEM_HOST, 2, p->b.bias.shape);
    struct op_rows rows = {.out = &p->b.x, .table = &m->table, .ids = &p->b.ids};

    TRY(ops_copy(m->ops, p->q, &p->b.ids, &host_ids, p->e));
    TRY(ops_copy(m->ops, p->q, &p->b.bias, &bias, p->e));
    return ops_rows(m->ops, p->q, &rows, p->e);
}

static enum status check_ids(const struct umt5 *m, const int32_t *ids, int64_t n,
                             struct err *e)
{
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= m->config.vocab)
            return err_set(e, ST_INPUT,
                           "token %d is outside the text encoder's %lld rows: "
                           "tokenizer and weights do not belong together",
                           ids[i], (long long)m->config.vocab);
    }
    return ST_OK;
}

static enum status run(struct pass *p, const int32_t *ids, struct tensor *out)
{
    struct weights *w = p->m->weights;

    TRY(begin(p, ids));
    for (int64_t i = 0; i < p->m->config.layers; i++) {
        enum status st;

        TRY(weights_borrow_block(w, i, p->e));
        st = run_block(p, i);
        weights_return_block(w, i);
        TRY(st);
    }
    TRY(normalise(p, &p->m->norm, out));
    return ops_queue_wait(p->m->ops, p->q, p->e);
}

enum status umt5_encode(const struct umt5 *m, struct queue *q, struct arena *a,
                        const int32_t *ids, int64_t n, const struct tensor *out,
                        struct err *e)
{
    struct pass p = {.m = m, .q = q, .n = n, .e = e};
    size_t mark = arena_mark(a);
    struct tensor to = *out;
    enum status st;

    TRY(check_ids(m, ids, n, e));
    umt5_buffers_cut(&m->config, m->act, ops_facts(m->ops)->space, n, a, &p.b);
    st = run(&p, ids, &to);
    arena_reset(a, mark);
    return st;
}
