/* forward_rig.c - weights, memory and inputs of the transformer on several ranks */
#include "tests/ranks/forward_rig.h"

#include <string.h>

#include "engine/dit/context.h"
#include "engine/weights/made_up.h"
#include "tests/ranks/check.h"

enum { TEXT_ROWS = 5, TEXT_DIM = 32 };

int64_t case_tokens(const struct forward_case *c)
{
    return c->frames * c->grid_h * c->grid_w;
}

/* A number in -1 … 1 from its place. */
static float number(uint64_t i, int variant)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u +
                 (uint64_t)variant * 0x632be59bd9b4e019u;

    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 32;
    return (float)(x >> 40) * 0x1p-23f - 1.0f;
}

static float *numbers(uint64_t first, int64_t n, int variant)
{
    float *v = malloc((size_t)(n + 1) * sizeof(*v));

    CHECK(v);
    for (int64_t i = 0; i < n; i++)
        v[i] = number(first + (uint64_t)i, variant);
    return v;
}

static enum weight_quant quant_of(enum dtype operand)
{
    return operand == DT_E4M3 ? QUANT_E4M3 : operand == DT_I8 ? QUANT_I8 : QUANT_NONE;
}

static void make_model(struct forward_rig *r)
{
    const struct dit_precision *p = r->c.precision;
    struct weights_policy policy = {.quant = quant_of(p->operand),
                                    .quantise = dit_quantised};
    struct made_up how = {.seed = 12345,
                          .stored = p->real == DT_F32 ? DT_F32 : DT_BF16};
    struct expect_list list = EXPECT_LIST_INIT;
    struct err e = ERR_INIT;

    expect_dit(&list, &r->config);
    CHECK_OK(
        weights_make_up(&list, "transformer", &policy, &how, r->ops, &r->weights, &e));
    expect_release(&list);
    CHECK_OK(dit_create(&r->config, p, r->weights, r->ops, &r->dit, &e));
}

void forward_rig_open(struct forward_rig *r, const struct forward_case *c,
                      struct ops *ops)
{
    struct dit_config config = {
        .family = FAMILY_WAN,
        .dim = c->heads * c->head_dim,
        .ffn_dim = 2 * c->heads * c->head_dim,
        .heads = c->heads,
        .layers = c->layers,
        .in_channels = RIG_COLUMNS / 4,
        .out_channels = RIG_COLUMNS / 4,
        .freq_dim = 16,
        .text_dim = TEXT_DIM,
        .text_len = 8,
        .eps = 1e-6f,
    };

    *r = (struct forward_rig){.c = *c, .config = config, .ops = ops};
    make_model(r);
}

void forward_rig_close(struct forward_rig *r)
{
    dit_destroy(r->dit);
    weights_close(r->weights);
}

static void open_memory(struct forward_pass *p)
{
    struct forward_rig *r = p->rig;
    struct err e = ERR_INIT;
    size_t bytes;

    CHECK_OK(dit_plan(&r->config, r->c.precision, &p->shape, r->ops, &p->plan, &e));
    bytes = p->plan.forward_bytes + p->plan.context_bytes +
            p->plan.context_scratch_bytes + 4 * ARENA_ALIGN;
    CHECK_OK(ops_mem_alloc(r->ops, bytes, &p->memory, &e));
    CHECK_OK(ops_mem_alloc(r->ops, p->plan.workspace_bytes + 1, &p->workspace, &e));
    arena_init(&p->arena, p->memory, bytes);
    CHECK_OK(ops_queue_open(r->ops, p->workspace, p->plan.workspace_bytes, &p->q, &e));
}

/* [rows, cols] where the backend works, filled from `values`, which are given back. */
static struct tensor placed(struct forward_pass *p, float *values, int64_t rows,
                            int64_t cols)
{
    struct ops *ops = p->rig->ops;
    struct tensor from = tensor_make2(values, DT_F32, MEM_HOST, rows, cols), to;
    struct err e = ERR_INIT;
    void *data;

    CHECK_OK(ops_mem_alloc(ops, (size_t)(rows * cols) * sizeof(float), &data, &e));
    to = tensor_make2(data, DT_F32, ops_facts(ops)->space, rows, cols);
    CHECK_OK(ops_copy(ops, p->q, &to, &from, &e));
    CHECK_OK(ops_queue_wait(ops, p->q, &e));
    free(values);
    return to;
}

static void make_inputs(struct forward_pass *p, int variant)
{
    const struct forward_case *c = &p->rig->c;
    int64_t times = c->per_frame ? c->frames : 1;
    int64_t n = p->tokens.count * RIG_COLUMNS;
    float *t = numbers(0, times, variant + 100);

    for (int64_t i = 0; i < times; i++)
        t[i] = 500.0f + 490.0f * t[i];
    p->latent = placed(p,
                       numbers((uint64_t)(p->tokens.begin * RIG_COLUMNS), n, variant),
                       p->tokens.count, RIG_COLUMNS);
    p->have = numbers(0, n, 0);
    p->velocity = placed(p, numbers(0, n, 0), p->tokens.count, RIG_COLUMNS);
    p->t = placed(p, t, 1, times);
    p->t = tensor_reshape(&p->t, 1, &times);
    p->input = (struct dit_input){
        .latent = {&p->latent}, .n_latent = 1, .t = &p->t, .context = {p->context}};
}

void forward_pass_open(struct forward_pass *p, struct forward_rig *r,
                       const struct seqpar_group *group, int variant)
{
    float *text = numbers(7, TEXT_ROWS * TEXT_DIM, variant + 200);
    struct tensor rows;
    struct err e = ERR_INIT;

    *p = (struct forward_pass){.rig = r};
    p->shape = (struct dit_shape){
        .frames = r->c.frames,
        .grid_h = r->c.grid_h,
        .grid_w = r->c.grid_w,
        .group = *group,
        .contexts = 1,
        .context_rows = dit_context_rows(&r->config, TEXT_ROWS),
    };
    open_memory(p);
    rows = placed(p, text, TEXT_ROWS, TEXT_DIM);
    CHECK_OK(
        dit_context_create(r->dit, p->q, &rows, &p->arena, &p->arena, &p->context, &e));
    CHECK_OK(dit_forward_create(r->dit, &p->shape, &p->arena, p->q, &p->forward, &e));
    p->tokens = dit_forward_tokens(p->forward);
    make_inputs(p, variant);
    ops_mem_free(r->ops, rows.data);
}

void forward_pass_fetch(struct forward_pass *p)
{
    struct tensor to = tensor_make2(p->have, DT_F32, MEM_HOST, p->tokens.count,
                                    RIG_COLUMNS);
    struct err e = ERR_INIT;

    CHECK_OK(ops_copy(p->rig->ops, p->q, &to, &p->velocity, &e));
    CHECK_OK(ops_queue_wait(p->rig->ops, p->q, &e));
}

void forward_pass_run(struct forward_pass *p)
{
    struct err e = ERR_INIT;

    CHECK_OK(dit_forward_run(p->forward, p->q, &p->input, &p->velocity, &e));
    forward_pass_fetch(p);
}

void forward_pass_close(struct forward_pass *p)
{
    dit_forward_destroy(p->forward);
    dit_context_destroy(p->context);
    ops_queue_close(p->rig->ops, p->q);
    ops_mem_free(p->rig->ops, p->workspace);
    ops_mem_free(p->rig->ops, p->memory);
    ops_mem_free(p->rig->ops, p->latent.data);
    ops_mem_free(p->rig->ops, p->velocity.data);
    ops_mem_free(p->rig->ops, p->t.data);
    free(p->have);
}

struct seqpar_layout forward_pass_layout(const struct forward_pass *p)
{
    return (struct seqpar_layout){
        .group = p->shape.group,
        .tokens = case_tokens(&p->rig->c),
        .heads = p->rig->c.heads,
        .head_dim = p->rig->c.head_dim,
        .formats = p->rig->c.precision->attention,
    };
}
