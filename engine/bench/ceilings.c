/* ceilings.c - what this machine can do: a large copy, and a large product
 *
 * In the operand type of the precision, with numbers that are not zeros. On a host both
 * are smaller, so that they take as long. */
#include "engine/bench/inside.h"

struct ceiling {
    struct bench *b;
    struct queue *q;
    void *memory, *workspace;
    size_t bytes, workspace_bytes;
    struct tensor x, w, y, from, to;
    int64_t side, copied; /* rows, columns and depth; f32 elements */
};

static void ceiling_cut(struct ceiling *c, struct arena *a)
{
    enum mem_space space = ops_facts(c->b->ops)->space;
    enum dtype operand = c->b->choice->dit->operand;

    c->x = operand_cut(a, operand, space, c->side, c->side);
    c->w = operand_cut(a, operand, space, c->side, c->side);
    c->y = tensor_cut(a, c->b->choice->act, space, 2, (int64_t[]){c->side, c->side});
    c->from = tensor_cut(a, DT_F32, space, 1, &c->copied);
    c->to = tensor_cut(a, DT_F32, space, 1, &c->copied);
}

static enum status operand_fill(struct ceiling *c, struct tensor *t, uint64_t stream,
                                struct err *e)
{
    struct tensor tile = tensor_make2(c->from.data, DT_F32, c->from.space, c->side,
                                      c->side);
    struct op_normal normal = {.out = &tile, .std = 1.0f, .stream = stream};

    TRY(ops_normal(c->b->ops, c->q, &normal, e));
    return ops_convert(c->b->ops, c->q, &(struct op_convert){t, &tile}, e);
}

static enum status ceiling_open(struct ceiling *c, struct err *e)
{
    struct bench *b = c->b;
    bool device = ops_facts(b->ops)->space == MEM_DEVICE;
    struct op_linear a = {.y = &c->y, .x = &c->x, .w = &c->w, .pending = true};
    struct arena arena;

    c->side = device ? 8192 : 512;
    c->copied = device ? (int64_t)256 << 20 : (int64_t)4 << 20;
    arena_init(&arena, NULL, 0);
    ceiling_cut(c, &arena);
    c->bytes = arena.peak;
    c->workspace_bytes = ops_linear_workspace(b->ops, &a);
    TRY(bench_room(b, c->bytes, &c->memory, e));
    TRY(bench_room(b, c->workspace_bytes, &c->workspace, e));
    arena_init(&arena, c->memory, c->bytes);
    ceiling_cut(c, &arena);
    TRY(ops_queue_open(b->ops, c->workspace, c->workspace_bytes, &c->q, e));
    TRY(operand_fill(c, &c->x, 1, e));
    return operand_fill(c, &c->w, 2, e);
}

static void ceiling_close(struct ceiling *c)
{
    ops_queue_close(c->b->ops, c->q);
    bench_release(c->b, c->memory, c->bytes);
    bench_release(c->b, c->workspace, c->workspace_bytes);
}

enum { TIMES = 5 }; /* in one pass, so that the wait for it counts little */

static enum status copy_pass(void *ctx, struct err *e)
{
    struct ceiling *c = ctx;

    for (int i = 0; i < TIMES; i++)
        TRY(ops_copy(c->b->ops, c->q, &c->to, &c->from, e));
    return ops_queue_wait(c->b->ops, c->q, e);
}

static enum status product_pass(void *ctx, struct err *e)
{
    struct ceiling *c = ctx;

    for (int i = 0; i < TIMES; i++) {
        struct tensor y = c->y;
        struct op_linear a = {.y = &y, .x = &c->x, .w = &c->w, .pending = true};

        TRY(ops_linear(c->b->ops, c->q, &a, e));
    }
    return ops_queue_wait(c->b->ops, c->q, e);
}

static enum status ceiling_measure(struct ceiling *c, struct err *e)
{
    struct bench_result *r = c->b->r;
    double side = (double)c->side, bytes = 2.0 * (double)c->copied * sizeof(float);
    struct bench_times t;

    TRY(bench_repeat(c->b, copy_pass, c, true, &t, e));
    r->copy_rate = TIMES * bytes / t.median;
    TRY(bench_repeat(c->b, product_pass, c, true, &t, e));
    r->product_rate = TIMES * 2.0 * side * side * side / t.median;
    return ST_OK;
}

enum status bench_ceilings(struct bench *b, struct err *e)
{
    struct ceiling c = {.b = b};
    enum status st = ceiling_open(&c, e);

    if (st == ST_OK)
        st = ceiling_measure(&c, e);
    ceiling_close(&c);
    return st;
}
