/* forward_rig.c - weights, memory and inputs of the transformer on several ranks */
#include "tests/ranks/forward_rig.h"

#include <string.h>

#include "engine/dit/context.h"
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

void forward_rig_open(struct forward_rig *r, const struct forward_case *c,
                      const char *backend)
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
    struct err e = ERR_INIT;

    *r = (struct forward_rig){.c = *c};
    CHECK_OK(ops_open(backend, &(struct ops_options){.threads = 1}, &r->ops, &e));
    CHECK_OK(bench_model_init(&r->model, &config, c->precision, r->ops, &e));
}

void forward_rig_close(struct forward_rig *r)
{
    bench_model_release(&r->model);
    ops_close(r->ops);
}

static void open_memory(struct forward_pass *p)
{
    struct forward_rig *r = p->rig;
    struct err e = ERR_INIT;
    size_t bytes;

    CHECK_OK(
        dit_plan(&r->model.config, r->c.precision, &p->shape, r->ops, &p->plan, &e));
    bytes = p->plan.forward_bytes + p->plan.context_bytes +
            p->plan.context_scratch_bytes + 4 * ARENA_ALIGN;
    CHECK_OK(ops_mem_alloc(r->ops, bytes, &p->memory, &e));
    CHECK_OK(ops_mem_alloc(r->ops, p->plan.workspace_bytes + 1, &p->workspace, &e));
    arena_init(&p->arena, p->memory, bytes);
    CHECK_OK(ops_queue_open(r->ops, p->workspace, p->plan.workspace_bytes, &p->q, &e));
}

static void make_inputs(struct forward_pass *p, int variant)
{
    const struct forward_case *c = &p->rig->c;
    int64_t times = c->per_frame ? c->frames : 1;
    int64_t n = p->tokens.count * RIG_COLUMNS;
    float *t = numbers(0, times, variant + 100);

    for (int64_t i = 0; i < times; i++)
        t[i] = 500.0f + 490.0f * t[i];
    p->latent_rows = numbers((uint64_t)(p->tokens.begin * RIG_COLUMNS), n, variant);
    p->latent = tensor_make2(p->latent_rows, DT_F32, MEM_HOST, p->tokens.count,
                             RIG_COLUMNS);
    p->velocity = tensor_make2(numbers(0, n, 0), DT_F32, MEM_HOST, p->tokens.count,
                               RIG_COLUMNS);
    p->t = tensor_make1(t, DT_F32, MEM_HOST, times);
    p->input = (struct dit_input){
        .latent = {&p->latent}, .n_latent = 1, .t = &p->t, .context = {p->context}};
}

void forward_pass_open(struct forward_pass *p, struct forward_rig *r,
                       const struct seqpar_group *group, int variant)
{
    float *text = numbers(7, TEXT_ROWS * TEXT_DIM, variant + 200);
    struct tensor rows = tensor_make2(text, DT_F32, MEM_HOST, TEXT_ROWS, TEXT_DIM);
    struct err e = ERR_INIT;

    *p = (struct forward_pass){.rig = r};
    p->shape = (struct dit_shape){
        .frames = r->c.frames,
        .grid_h = r->c.grid_h,
        .grid_w = r->c.grid_w,
        .group = *group,
        .contexts = 1,
        .context_rows = dit_context_rows(&r->model.config, TEXT_ROWS),
    };
    open_memory(p);
    CHECK_OK(dit_context_create(r->model.dit, p->q, &rows, &p->arena, &p->arena,
                                &p->context, &e));
    CHECK_OK(
        dit_forward_create(r->model.dit, &p->shape, &p->arena, p->q, &p->forward, &e));
    p->tokens = dit_forward_tokens(p->forward);
    make_inputs(p, variant);
    free(text);
}

void forward_pass_run(struct forward_pass *p)
{
    struct err e = ERR_INIT;

    CHECK_OK(dit_forward_run(p->forward, p->q, &p->input, &p->velocity, &e));
    CHECK_OK(ops_queue_wait(p->rig->ops, p->q, &e));
}

void forward_pass_close(struct forward_pass *p)
{
    dit_forward_destroy(p->forward);
    dit_context_destroy(p->context);
    ops_queue_close(p->rig->ops, p->q);
    ops_mem_free(p->rig->ops, p->workspace);
    ops_mem_free(p->rig->ops, p->memory);
    free(p->latent_rows);
    free(p->velocity.data);
    free(p->t.data);
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
