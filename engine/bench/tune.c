/* tune.c - times the ways of a block's products, and keeps the fastest that is proven
 *
 * For each shape of a transformer block, at the number of rows that a pass has: every
 * way that the backend knows (kernels/settle.h) is timed; then, from the fastest on,
 * rows are worked out on their own until none depends on their number: one, few, ragged
 * numbers in the thousands, and the second half of all. The way that passes is taken
 * for what this benchmark runs next, and is a row of the file that --algorithms reads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/inside.h"
#include "kernels/settle.h"

enum { TIMES = 3 }; /* in one pass, so that the wait for it counts little */

struct tuning {
    struct bench *b;
    struct bench_tuned *out;
    int64_t rows, d, k;
    struct queue *q;
    void *memory, *workspace;
    size_t bytes, workspace_bytes;
    struct tensor numbers; /* f32 [more of rows and d, k] */
    struct tensor x, w, y, again;
};

static void tuning_cut(struct tuning *t, struct arena *a)
{
    const struct dit_precision *p = t->b->choice->dit;
    enum mem_space space = ops_facts(t->b->ops)->space;
    int64_t most = t->rows > t->d ? t->rows : t->d;

    t->numbers = tensor_cut(a, DT_F32, space, 2, (int64_t[]){most, t->k});
    t->x = operand_cut(a, p->operand, space, t->rows, t->k);
    t->w = operand_cut(a, p->operand, space, t->d, t->k);
    t->y = tensor_cut(a, p->real, space, 2, (int64_t[]){t->rows, t->d});
    t->again = tensor_cut(a, p->real, space, 2, (int64_t[]){t->rows, t->d});
}

static struct op_linear op_of(struct tuning *t)
{
    return (struct op_linear){.y = &t->y, .x = &t->x, .w = &t->w, .pending = true};
}

static enum status operand_fill(struct tuning *t, struct tensor *to, uint64_t stream,
                                struct err *e)
{
    struct tensor from = tensor_slice(&t->numbers, 0, 0, to->shape[0]);
    struct op_normal normal = {.out = &from, .std = 1.0f, .stream = stream};

    TRY(ops_normal(t->b->ops, t->q, &normal, e));
    return ops_convert(t->b->ops, t->q, &(struct op_convert){to, &from}, e);
}

/* Is there anything to choose from? */
static enum status choice_check(struct tuning *t, struct err *e)
{
    struct op_linear a = op_of(t);
    struct linear_way way;
    int n;

    TRY(ops_linear_ways(t->b->ops, &a, &way, 1, &n, e));
    if (n == 0)
        return err_set(e, ST_USAGE, "backend '%s' has one way to work out a product",
                       ops_facts(t->b->ops)->name);
    return ST_OK;
}

static enum status tuning_open(struct tuning *t, struct err *e)
{
    struct bench *b = t->b;
    struct op_linear a;
    struct arena arena;

    arena_init(&arena, NULL, 0);
    tuning_cut(t, &arena);
    a = op_of(t);
    TRY(choice_check(t, e));
    t->bytes = arena.peak;
    t->workspace_bytes = ops_linear_workspace(b->ops, &a);
    TRY(bench_room(b, t->bytes, &t->memory, e));
    TRY(bench_room(b, t->workspace_bytes, &t->workspace, e));
    TRY(ops_queue_open(b->ops, t->workspace, t->workspace_bytes, &t->q, e));
    arena_init(&arena, t->memory, t->bytes);
    tuning_cut(t, &arena);
    TRY(operand_fill(t, &t->x, 1, e));
    return operand_fill(t, &t->w, 2, e);
}

static void tuning_close(struct tuning *t)
{
    ops_queue_close(t->b->ops, t->q);
    bench_release(t->b, t->memory, t->bytes);
    bench_release(t->b, t->workspace, t->workspace_bytes);
}

/* ---- ways ------------------------------------------------------------------------ */

static enum status pass(void *ctx, struct err *e)
{
    struct tuning *t = ctx;
    struct op_linear a = op_of(t);

    for (int i = 0; i < TIMES; i++)
        TRY(ops_linear(t->b->ops, t->q, &a, e));
    return ops_queue_wait(t->b->ops, t->q, e);
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const struct bench_way *)a)->seconds;
    double y = ((const struct bench_way *)b)->seconds;

    return (x > y) - (x < y);
}

static enum status ways_time(struct tuning *t, struct err *e)
{
    struct linear_way way[BENCH_WAYS_MAX];
    struct bench_tuned *out = t->out;
    struct op_linear a = op_of(t);
    struct bench_times times;

    TRY(ops_linear_ways(t->b->ops, &a, way, BENCH_WAYS_MAX, &out->n, e));
    for (int i = 0; i < out->n; i++) {
        TRY(ops_linear_take(t->b->ops, &a, &way[i], e));
        TRY(bench_repeat(t->b, pass, t, false, &times, e));
        out->way[i] = (struct bench_way){way[i], times.median / TIMES, i == 0, -1};
    }
    qsort(out->way, (size_t)out->n, sizeof(out->way[0]), by_seconds);
    return ST_OK;
}

/* From the fastest on, until one passes. */
static enum status ways_prove(struct tuning *t, struct err *e)
{
    int64_t half = t->rows / 2 / 128 * 128;
    const struct row_cut cuts[] = {{0, 1},      {128, 5},     {256, 640},
                                   {384, 1000}, {1280, 3000}, {half, t->rows - half}};
    struct op_linear a = op_of(t);

    t->out->taken = -1;
    for (int i = 0; i < t->out->n && t->out->taken < 0; i++) {
        struct bench_way *w = &t->out->way[i];

        TRY(ops_linear_take(t->b->ops, &a, &w->way, e));
        TRY(linear_rows_differ(t->b->ops, t->q, &a, &t->again, cuts,
                               sizeof(cuts) / sizeof(cuts[0]), &w->differ, e));
        if (w->differ == 0)
            t->out->taken = i;
    }
    if (t->out->taken >= 0)
        return ST_OK;
    return err_set(e, ST_DEVICE,
                   "no algorithm for %lld x %lld has rows that do not depend on their "
                   "number",
                   (long long)t->d, (long long)t->k);
}

static enum status product_tune(struct bench *b, int64_t rows, int64_t d, int64_t k,
                                struct bench_tuned *out, struct err *e)
{
    struct tuning t = {.b = b, .out = out, .rows = rows, .d = d, .k = k};
    enum status st;

    *out = (struct bench_tuned){.rows = rows, .d = d, .k = k, .taken = -1};
    st = tuning_open(&t, e);
    if (st == ST_OK)
        st = ways_time(&t, e);
    if (st == ST_OK)
        st = ways_prove(&t, e);
    tuning_close(&t);
    return st;
}

enum status bench_tune(struct bench *b, struct err *e)
{
    const struct dit_config *c = &b->models.dit;
    struct dit_shape shape = {.frames = b->r->latent_frames,
                              .grid_h = b->o->size.height / 16,
                              .grid_w = b->o->size.width / 16,
                              .group = SEQPAR_ALONE,
                              .contexts = 1,
                              .context_rows = b->o->text_rows};
    struct dit_plan plan;

    if (world_facts(b->world)->size > 1)
        return err_set(e, ST_USAGE, "tune runs on one rank, not on %d",
                       world_facts(b->world)->size);
    TRY(dit_plan(c, b->choice->dit, &shape, b->ops, &plan, e));
    b->r->tuned = calloc(BENCH_TUNED, sizeof(*b->r->tuned));
    if (!b->r->tuned)
        return err_set(e, ST_RESOURCE, "out of memory: algorithms");
    TRY(product_tune(b, plan.tokens, c->dim, c->dim, &b->r->tuned[0], e));
    TRY(product_tune(b, plan.feed_rows, c->ffn_dim, c->dim, &b->r->tuned[1], e));
    return product_tune(b, plan.feed_rows, c->dim, c->ffn_dim, &b->r->tuned[2], e);
}
