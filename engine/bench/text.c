/* text.c - encoding one prompt */
#include <stdlib.h>

#include "engine/bench/inside.h"
#include "engine/text/umt5.h"

struct text_bench {
    struct bench *b;
    struct weights *weights;
    struct umt5 *model;
    struct umt5_plan plan;
    struct queue *queue;
    void *memory, *workspace;
    size_t bytes;
    struct arena arena;
    int32_t *ids;
    struct tensor out;
};

static enum status model_make(struct text_bench *t, struct err *e)
{
    struct bench *b = t->b;
    struct weights_policy policy = precision_policy(b->choice, MODEL_TEXT);
    struct made_up how = {.seed = (uint64_t)b->o->seed, .stored = DT_BF16};
    struct expect_list list = EXPECT_LIST_INIT;
    enum status st;

    expect_text(&list, &b->models.text);
    st = weights_make_up(&list, "text encoder", &policy, &how, b->ops, &t->weights, e);
    expect_release(&list);
    TRY(st);
    b->bytes += weights_bytes(t->weights);
    return umt5_create(&b->models.text, b->choice->act, t->weights, b->ops, t->queue,
                       &t->model, e);
}

static enum status text_open(struct text_bench *t, struct err *e)
{
    struct bench *b = t->b;
    const struct text_config *c = &b->models.text;
    int64_t n = b->o->text_rows;
    size_t out = (size_t)(n * c->dim) * sizeof(float) + ARENA_ALIGN;

    TRY(umt5_plan(c, b->choice->act, n, b->ops, &t->plan, e));
    t->bytes = t->plan.arena_bytes + out;
    TRY(bench_room(b, t->bytes, &t->memory, e));
    TRY(bench_room(b, t->plan.workspace_bytes, &t->workspace, e));
    TRY(ops_queue_open(b->ops, t->workspace, t->plan.workspace_bytes, &t->queue, e));
    arena_init(&t->arena, t->memory, t->bytes);
    t->out = tensor_cut(&t->arena, DT_F32, ops_facts(b->ops)->space, 2,
                        (int64_t[]){n, c->dim});
    t->ids = malloc((size_t)n * sizeof(*t->ids));
    if (!t->ids)
        return err_set(e, ST_RESOURCE, "out of memory: %lld tokens", (long long)n);
    for (int64_t i = 0; i < n; i++)
        t->ids[i] = (int32_t)(i * 7919 % c->vocab);
    return model_make(t, e);
}

static void text_close(struct text_bench *t)
{
    struct bench *b = t->b;

    umt5_destroy(t->model);
    ops_queue_close(b->ops, t->queue);
    bench_release(b, t->memory, t->bytes);
    bench_release(b, t->workspace, t->plan.workspace_bytes);
    if (t->weights)
        b->bytes -= weights_bytes(t->weights);
    weights_close(t->weights);
    free(t->ids);
}

static enum status text_pass(void *ctx, struct err *e)
{
    struct text_bench *t = ctx;

    return umt5_encode(t->model, t->queue, &t->arena, t->ids, t->b->o->text_rows,
                       &t->out, e);
}

enum status bench_text(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct text_bench t = {.b = b};
    enum status st = text_open(&t, e);

    if (st == ST_OK)
        st = bench_repeat(b, text_pass, &t, false, &out->seconds, e);
    if (st == ST_OK)
        st = bench_watched(b, text_pass, &t, false, out, e);
    if (st == ST_OK) {
        out->weight_bytes = weights_bytes(t.weights);
        out->flop = t.plan.flops;
    }
    text_close(&t);
    return st;
}
