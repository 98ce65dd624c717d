/* plan.c - counts memory with the cutting functions, and work from a list of products
 */
#include "engine/dit/plan.h"

#include <assert.h>

#include "engine/dit/inside.h"

static_assert((int)DIT_STAGES == (int)STAGE_COUNT, "plan and buffers know the stages");

static const char *const stage_names[STAGE_COUNT] = {
    [STAGE_TIME] = "time",   [STAGE_PATCH] = "patch", [STAGE_ATTEND] = "attention",
    [STAGE_CROSS] = "cross", [STAGE_FEED] = "feed",   [STAGE_HEAD] = "head",
};

/* One kind of matrix product, y[rows,n_out] = x[rows,n_in] w^T, done `times` times. */
struct product {
    int64_t times, rows, n_in, n_out;
    enum dtype x, y;
    bool pending;    /* scales and bias are left to the reader of y */
    int64_t at_once; /* rows of one call; 0: all */
};

/* Weights of float products may be stored in any of these. */
static size_t rows_workspace(const struct ops *ops, const struct product *p,
                             int64_t rows)
{
    const enum dtype stored[] = {DT_F32, DT_BF16, DT_F16};
    enum mem_space space = ops_facts(ops)->space;
    struct tensor x = tensor_make2(NULL, p->x, space, rows, p->n_in);
    struct tensor y = tensor_make2(NULL, p->y, space, rows, p->n_out);
    struct tensor w = tensor_make2(NULL, p->x, space, p->n_out, p->n_in);
    struct tensor b = tensor_make1(NULL, DT_F32, space, p->n_out);
    struct op_linear a = {.y = &y, .x = &x, .w = &w, .bias = &b, .pending = p->pending};
    size_t bytes = 0;

    if (dtype_bytes(p->x) == 1) {
        x.scales.kind = SCALE_ROW;
        w.scales.kind = SCALE_ROW;
        return ops_linear_workspace(ops, &a);
    }
    for (int i = 0; i < 3; i++) {
        w.dtype = stored[i];
        bytes = bytes_larger(bytes, ops_linear_workspace(ops, &a));
    }
    return bytes;
}

/* Of calls of `at_once` rows and, where they do not come out even, of the last one. */
static size_t product_workspace(const struct ops *ops, const struct product *p)
{
    int64_t rest = p->at_once ? p->rows % p->at_once : 0;
    size_t bytes = rows_workspace(ops, p, p->at_once ? p->at_once : p->rows);

    return rest ? bytes_larger(bytes, rows_workspace(ops, p, rest)) : bytes;
}

static double product_flops(const struct product *p)
{
    return 2.0 * (double)p->times * (double)p->rows * (double)p->n_in *
           (double)p->n_out;
}

/* Every product of the list: adds to *flops, raises *workspace. */
static void count_products(const struct ops *ops, const struct product *list, int n,
                           double *flops, size_t *workspace)
{
    for (int i = 0; i < n; i++) {
        *flops += product_flops(&list[i]);
        *workspace = bytes_larger(*workspace, product_workspace(ops, &list[i]));
    }
}

static void count_forward(const struct dit_dims *n, const struct ops *ops,
                          struct dit_plan *p)
{
    const struct dit_config *c = n->config;
    int64_t d = c->dim, ffn = c->ffn_dim, s = n->tokens, f = n->frames;
    int64_t in = patch_columns(c->in_channels), out = patch_columns(c->out_channels);
    enum dtype real = n->precision->real, operand = n->precision->operand;
    const struct product list[] = {
        {1, s, in, d, real, DT_F32, false, 0},
        {6 * c->layers, s, d, d, operand, real, true, 0},
        {c->layers, s, d, ffn, operand, real, true, p->feed_rows},
        {c->layers, s, ffn, d, operand, real, true, p->feed_rows},
        {1, s, d, out, DT_F32, DT_F32, false, 0},
        {1, f, c->freq_dim, d, DT_F32, DT_F32, false, 0},
        {1, f, d, d, DT_F32, DT_F32, false, 0},
        {1, f, d, 6 * d, DT_F32, DT_F32, false, 0},
    };
    const struct product fps[] = {
        {0, 1, d, d, DT_F32, DT_F32, false, 0},
        {0, 1, d, 6 * d, DT_F32, DT_F32, false, 0},
        {0, 1, c->freq_dim, d, DT_F32, DT_F32, false, 0},
    };

    count_products(ops, list, sizeof(list) / sizeof(list[0]), &p->linear_flops,
                   &p->workspace_bytes);
    /* once per run, and one row where all timesteps are equal: memory only */
    count_products(ops, fps, sizeof(fps) / sizeof(fps[0]), &p->linear_flops,
                   &p->workspace_bytes);
}

static void count_context(const struct dit_dims *n, int64_t rows, const struct ops *ops,
                          struct dit_plan *p)
{
    const struct dit_config *c = n->config;
    enum dtype real = n->precision->real;
    const struct product list[] = {
        {1, rows, c->text_dim, c->dim, real, real, true, 0},
        {1, rows, c->dim, c->dim, real, DT_F32, false, 0},
        {2 * c->layers, rows, c->dim, c->dim, n->precision->operand, real, true, 0},
    };

    count_products(ops, list, sizeof(list) / sizeof(list[0]), &p->context_flops,
                   &p->workspace_bytes);
}

static size_t cross_workspace(const struct dit_dims *n, int64_t rows,
                              const struct ops *ops, const struct dit_buffers *b)
{
    int64_t shape[3] = {n->config->heads, rows, n->config->dim / n->config->heads};
    struct attn_queries queries = {.q = b->q, .o = b->o};
    struct attn_keys keys = {.n = rows};
    struct tensor bias = tensor_make1(NULL, DT_F32, n->space, rows);
    struct op_attention a = {.queries = &queries,
                             .n_queries = 1,
                             .keys = &keys,
                             .n_keys = 1,
                             .key_bias = &bias,
                             .scale = 1.0f};

    keys.k = tensor_make(NULL, n->precision->real, n->space, 3, shape);
    keys.v = keys.k;
    return ops_attention_workspace(ops, &a);
}

static enum status plan_forward(const struct dit_dims *n, const struct dit_shape *shape,
                                struct ops *ops, struct dit_plan *p, struct err *e)
{
    struct seqpar_layout layout = seqpar_layout_of(n->config, n->precision, shape);
    size_t stage[STAGE_COUNT];
    struct dit_buffers b;
    struct seqpar *sp = NULL;
    struct arena a;

    TRY(seqpar_create(&layout, ops, &sp, e));
    arena_init(&a, NULL, 0);
    buffers_cut(n, sp, &a, &b, &p->kept_bytes, stage);
    p->forward_bytes = a.peak;
    p->feed_rows = b.feed_rows;
    for (int i = 0; i < STAGE_COUNT; i++) {
        p->stage[i].name = stage_names[i];
        p->stage[i].bytes = stage[i];
    }
    p->workspace_bytes = bytes_larger(p->workspace_bytes, seqpar_workspace(sp));
    p->workspace_bytes = bytes_larger(p->workspace_bytes,
                                      cross_workspace(n, shape->context_rows, ops, &b));
    seqpar_destroy(sp);
    return ST_OK;
}

static enum status plan_context(const struct dit_dims *n, int64_t rows,
                                struct dit_plan *p, struct err *e)
{
    struct context_scratch scratch;
    struct dit_context *c = NULL;
    struct arena a;

    TRY(context_make(n->config, &c, e));
    arena_init(&a, NULL, 0);
    context_cut(n, rows, &a, c);
    p->context_bytes = a.peak;
    arena_init(&a, NULL, 0);
    context_scratch_cut(n, rows, &a, &scratch);
    p->context_scratch_bytes = a.peak;
    dit_context_destroy(c);
    return ST_OK;
}

enum status dit_plan(const struct dit_config *config,
                     const struct dit_precision *precision,
                     const struct dit_shape *shape, struct ops *ops,
                     struct dit_plan *out, struct err *e)
{
    struct dit_dims n = dims_of(config, precision, shape, ops);
    int64_t all = shape->frames * shape->grid_h * shape->grid_w;
    double queries = (double)seqpar_queries(&shape->group, ops, all).count;
    double own_width = (double)(seqpar_heads(&shape->group, config->heads).count *
                                (config->dim / config->heads));
    double keys = (double)(shape->contexts * shape->context_rows);
    struct dit_plan p = {.tokens = n.tokens};

    TRY(plan_forward(&n, shape, ops, &p, e));
    TRY(plan_context(&n, shape->context_rows, &p, e));
    count_forward(&n, ops, &p);
    count_context(&n, shape->context_rows, ops, &p);
    p.self_flops = 4.0 * (double)config->layers * queries * (double)all * own_width;
    p.cross_flops = 4.0 * (double)config->layers * (double)n.tokens * keys *
                    (double)config->dim;
    *out = p;
    return ST_OK;
}
