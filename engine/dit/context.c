/* context.c - text embedding, then keys and values of every block */
#include "engine/dit/context.h"

#include <math.h>
#include <stdlib.h>

#include "engine/dit/inside.h"

int64_t dit_context_rows(const struct dit_config *config, int64_t text_rows)
{
    return text_rows < config->text_len ? text_rows + 1 : config->text_len;
}

void context_cut(const struct dit_dims *n, int64_t rows, struct arena *a,
                 struct dit_context *c)
{
    int64_t shape[3] = {n->config->heads, rows, n->config->dim / n->config->heads};

    c->rows = rows;
    c->key_bias = tensor_cut(a, DT_F32, n->space, 1, &rows);
    for (int64_t i = 0; i < n->config->layers; i++) {
        c->k[i] = tensor_cut(a, n->precision->real, n->space, 3, shape);
        c->v[i] = tensor_cut(a, n->precision->real, n->space, 3, shape);
    }
}

void context_scratch_cut(const struct dit_dims *n, int64_t rows, struct arena *a,
                         struct context_scratch *s)
{
    const struct dit_precision *p = n->precision;
    int64_t d = n->config->dim;

    s->text = operand_cut(a, p->real, n->space, rows, n->config->text_dim);
    s->raw = operand_cut(a, p->real, n->space, rows, d);
    s->hidden = operand_cut(a, p->real, n->space, rows, d);
    s->embedded = operand_cut(a, DT_F32, n->space, rows, d);
    s->operand = operand_cut(a, p->operand, n->space, rows, d);
}

/* Zeros of one text row, then the key bias of every row. */
static float *host_constants(const struct dit_config *c, int64_t rows,
                             int64_t text_rows)
{
    float *v = calloc((size_t)(c->text_dim + rows), sizeof(*v));

    if (v && rows > text_rows)
        v[c->text_dim + text_rows] = (float)log((double)(c->text_len - text_rows));
    return v;
}

/* The prompt's rows, then the padding row if there is one. */
static enum status put_text(const struct dit *m, struct queue *q,
                            const struct tensor *text, struct tensor *rows,
                            float *zeros, struct err *e)
{
    int64_t n = text->shape[0];
    struct tensor to = tensor_slice(rows, 0, 0, n);
    struct op_convert a = {.dst = &to, .src = text};
    struct tensor zero = tensor_make2(zeros, rows->dtype, MEM_HOST, 1,
                                      m->config.text_dim);

    if (n > 0)
        TRY(ops_convert(m->ops, q, &a, e));
    if (n == rows->shape[0])
        return ST_OK;
    to = tensor_slice(rows, 0, n, 1);
    return ops_copy(m->ops, q, &to, &zero, e);
}

static enum status embed(const struct dit *m, struct queue *q,
                         struct context_scratch *s, struct err *e)
{
    struct tensor raw = s->raw;
    struct op_convert to_operand = {.dst = &s->operand, .src = &s->embedded};

    TRY(dit_product(m, q, &raw, &s->text, &m->text_in, true, e));
    TRY(dit_act(m, q, &s->hidden, &raw, NULL, ACT_GELU_TANH, e));
    TRY(dit_product(m, q, &s->embedded, &s->hidden, &m->text_out, false, e));
    return ops_convert(m->ops, q, &to_operand, e);
}

static enum status block_keys(struct dit_context *c, const struct dit *m,
                              struct queue *q, const struct context_scratch *s,
                              int64_t i, struct err *e)
{
    const struct dit_attention *cross = &m->blocks[i].cross;
    int head_dim = (int)(m->config.dim / m->config.heads);
    struct head_part k = {0, (int)m->config.heads, c->k[i]};
    struct head_part v = {0, (int)m->config.heads, c->v[i]};
    struct tensor raw = s->raw;
    struct op_heads keys = {.parts = &k,
                            .n_parts = 1,
                            .y = &raw,
                            .weight = &cross->norm_k,
                            .eps = m->config.eps,
                            .head_dim = head_dim};
    struct op_values values = {
        .parts = &v, .n_parts = 1, .y = &raw, .head_dim = head_dim};

    TRY(dit_product(m, q, &raw, &s->operand, &cross->k, true, e));
    TRY(ops_heads(m->ops, q, &keys, e));
    raw = s->raw;
    TRY(dit_product(m, q, &raw, &s->operand, &cross->v, true, e));
    return ops_values(m->ops, q, &values, e);
}

static enum status fill(struct dit_context *c, const struct dit *m, struct queue *q,
                        const struct tensor *text, struct context_scratch *s,
                        float *constants, struct err *e)
{
    struct tensor bias = tensor_make1(constants + m->config.text_dim, DT_F32, MEM_HOST,
                                      c->rows);
    enum status st;

    TRY(ops_copy(m->ops, q, &c->key_bias, &bias, e));
    TRY(put_text(m, q, text, &s->text, constants, e));
    TRY(embed(m, q, s, e));
    for (int64_t i = 0; i < m->config.layers; i++) {
        TRY(weights_borrow_block(m->weights, i, e));
        st = block_keys(c, m, q, s, i, e);
        weights_return_block(m->weights, i);
        if (st != ST_OK)
            return st;
    }
    return ops_queue_wait(m->ops, q, e);
}

enum status context_make(const struct dit_config *config, struct dit_context **out,
                         struct err *e)
{
    size_t n = (size_t)config->layers;
    struct dit_context *c = calloc(1, sizeof(*c));

    if (c) {
        c->k = calloc(n, sizeof(*c->k));
        c->v = calloc(n, sizeof(*c->v));
    }
    if (!c || !c->k || !c->v) {
        dit_context_destroy(c);
        return err_set(e, ST_RESOURCE, "out of host memory for a context");
    }
    *out = c;
    return ST_OK;
}

enum status dit_context_create(const struct dit *m, struct queue *q,
                               const struct tensor *text, struct arena *kept,
                               struct arena *scratch, struct dit_context **out,
                               struct err *e)
{
    struct dit_dims n = {.config = &m->config,
                         .precision = &m->precision,
                         .space = ops_facts(m->ops)->space};
    int64_t text_rows = text->shape[0];
    struct context_scratch s;
    struct dit_context *c = NULL;
    float *constants;
    size_t mark, kept_mark = arena_mark(kept);
    enum status st;

    if (text_rows > m->config.text_len || text->shape[1] != m->config.text_dim)
        return err_set(e, ST_USAGE,
                       "context has %lld rows of %lld, at most %lld rows of %lld fit",
                       (long long)text_rows, (long long)text->shape[1],
                       (long long)m->config.text_len, (long long)m->config.text_dim);
    TRY(context_make(&m->config, &c, e));
    context_cut(&n, dit_context_rows(&m->config, text_rows), kept, c);
    mark = arena_mark(scratch);
    context_scratch_cut(&n, c->rows, scratch, &s);
    constants = host_constants(&m->config, c->rows, text_rows);
    st = constants ? fill(c, m, q, text, &s, constants, e)
                   : err_set(e, ST_RESOURCE, "out of host memory for a context");
    free(constants);
    arena_reset(scratch, mark);
    if (st != ST_OK) {
        arena_reset(kept, kept_mark);
        dit_context_destroy(c);
        return st;
    }
    *out = c;
    return ST_OK;
}

void dit_context_destroy(struct dit_context *c)
{
    if (!c)
        return;
    free(c->k);
    free(c->v);
    free(c);
}
