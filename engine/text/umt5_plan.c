/* umt5_plan.c - memory and work of one prompt */
#include "engine/text/umt5_inside.h"

void umt5_buffers_cut(const struct text_config *c, enum dtype act, enum mem_space space,
                      int64_t n, struct arena *a, struct umt5_buffers *b)
{
    int64_t rows[2] = {n, c->dim}, inner[2] = {n, c->heads * c->head_dim};
    int64_t wide[2] = {n, c->ffn_dim}, heads[3] = {c->heads, n, c->head_dim};
    int64_t mixed[3] = {n, c->heads, c->head_dim};
    int64_t bias[2] = {c->layers * c->heads, umt5_bias_width(c)};
    size_t mark;

    b->ids = tensor_cut(a, DT_I32, space, 1, &n);
    b->bias = tensor_cut(a, DT_F32, space, 2, bias);
    b->x = tensor_cut(a, DT_F32, space, 2, rows);
    b->y = tensor_cut(a, DT_F32, space, 2, rows);
    b->u = tensor_cut(a, act, space, 2, rows);
    mark = arena_mark(a);
    b->raw = tensor_cut(a, act, space, 2, inner);
    b->q = tensor_cut(a, act, space, 3, heads);
    b->k = tensor_cut(a, act, space, 3, heads);
    b->v = tensor_cut(a, act, space, 3, heads);
    b->mixed = tensor_cut(a, act, space, 3, mixed);
    arena_reset(a, mark);
    b->gate = tensor_cut(a, DT_F32, space, 2, wide);
    b->up = tensor_cut(a, DT_F32, space, 2, wide);
    b->inner = tensor_cut(a, act, space, 2, wide);
}

/* Workspace of y[n,n_out] = x[n,n_in] w^T, whatever float type w is stored in. */
static size_t product_workspace(const struct ops *ops, int64_t n, int64_t n_in,
                                int64_t n_out, enum dtype act, enum dtype result)
{
    const enum dtype stored[] = {DT_F32, DT_BF16, DT_F16};
    enum mem_space space = ops_facts(ops)->space;
    struct tensor x = tensor_make2(NULL, act, space, n, n_in);
    struct tensor y = tensor_make2(NULL, result, space, n, n_out);
    struct tensor w = tensor_make2(NULL, DT_F32, space, n_out, n_in);
    struct op_linear a = {.y = &y, .x = &x, .w = &w};
    size_t bytes = 0;

    for (int i = 0; i < 3; i++) {
        w.dtype = stored[i];
        bytes = bytes_larger(bytes, ops_linear_workspace(ops, &a));
    }
    return bytes;
}

static size_t attention_workspace(const struct ops *ops, const struct text_config *c,
                                  int64_t n, const struct umt5_buffers *b)
{
    struct tensor bias = tensor_slice(&b->bias, 0, 0, c->heads);
    struct attn_queries queries = {.q = b->q, .o = b->mixed};
    struct attn_keys keys = {.k = b->k, .v = b->v, .n = n};
    struct op_attention a = {.queries = &queries,
                             .n_queries = 1,
                             .keys = &keys,
                             .n_keys = 1,
                             .rel_bias = &bias,
                             .scale = 1.0f};

    return ops_attention_workspace(ops, &a);
}

enum status umt5_plan(const struct text_config *config, enum dtype act, int64_t n,
                      const struct ops *ops, struct umt5_plan *out, struct err *e)
{
    int64_t d = config->dim, inner = config->heads * config->head_dim;
    int64_t ffn = config->ffn_dim;
    struct umt5_buffers b;
    struct arena a;
    struct umt5_plan p;

    TRY(umt5_config_check(config, act, ops, e));
    arena_init(&a, NULL, 0);
    umt5_buffers_cut(config, act, ops_facts(ops)->space, n, &a, &b);
    p.arena_bytes = a.peak;
    p.workspace_bytes = attention_workspace(ops, config, n, &b);
    p.workspace_bytes = bytes_larger(p.workspace_bytes,
                                     product_workspace(ops, n, d, inner, act, act));
    p.workspace_bytes = bytes_larger(p.workspace_bytes,
                                     product_workspace(ops, n, inner, d, act, DT_F32));
    p.workspace_bytes = bytes_larger(p.workspace_bytes,
                                     product_workspace(ops, n, d, ffn, act, DT_F32));
    p.workspace_bytes = bytes_larger(p.workspace_bytes,
                                     product_workspace(ops, n, ffn, d, act, DT_F32));
    p.flops = (double)config->layers * (double)n *
              ((double)d * (8.0 * (double)inner + 6.0 * (double)ffn) +
               4.0 * (double)n * (double)inner);
    *out = p;
    return ST_OK;
}
