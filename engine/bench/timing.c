/* timing.c - memory and clock of a part */
#include <stdlib.h>

#include "engine/bench/inside.h"
#include "kernels/base/clock.h"
#include "kernels/base/memory.h"

enum status bench_room(struct bench *b, size_t bytes, void **out, struct err *e)
{
    size_t left = memory_available();

    if (ops_facts(b->ops)->space == MEM_HOST && bytes > left)
        return err_set(e, ST_RESOURCE,
                       "the benchmark needs %.1f GiB, %.1f GiB are free",
                       (double)bytes / (1 << 30), (double)left / (1 << 30));
    TRY(ops_mem_alloc(b->ops, bytes ? bytes : 1, out, e));
    b->bytes += bytes;
    return ST_OK;
}

void bench_release(struct bench *b, void *p, size_t bytes)
{
    if (!p)
        return;
    ops_mem_free(b->ops, p);
    b->bytes -= bytes;
}

/* Ranks that run together begin together; one that fails in the middle has left the
 * others waiting. */
static enum status pass_run(struct bench *b, bench_pass *pass, void *ctx, bool together,
                            double *seconds, struct err *e)
{
    enum status st;
    double begun;

    if (together)
        TRY(world_agree(b->world, ST_OK, e));
    begun = clock_seconds();
    st = pass(ctx, e);
    *seconds = clock_seconds() - begun;
    if (st != ST_OK && together)
        world_tear(b->world);
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of each repeat the time of the slowest rank. */
static enum status slowest_take(struct bench *b, double *seconds, int n, struct err *e)
{
    int ranks = world_facts(b->world)->size;
    double *all = malloc((size_t)(ranks * n) * sizeof(*all));
    enum status st = ST_OK;

    if (!all)
        st = err_set(e, ST_RESOURCE, "out of memory: times of %d ranks", ranks);
    if (st == ST_OK)
        st = world_gather(b->world, seconds, (size_t)n * sizeof(*seconds), all, e);
    for (int i = 0; i < ranks * n && st == ST_OK; i++)
        seconds[i % n] = all[i] > seconds[i % n] ? all[i] : seconds[i % n];
    free(all);
    return st;
}

static void times_fill(struct bench_times *out, double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof(*seconds), by_value);
    out->n = n;
    out->min = seconds[0];
    out->max = seconds[n - 1];
    out->median = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2.0;
}

enum status bench_repeat(struct bench *b, bench_pass *pass, void *ctx, bool together,
                         struct bench_times *out, struct err *e)
{
    double seconds[BENCH_REPEATS_MAX];
    int n = (int)b->o->repeats;

    TRY(pass_run(b, pass, ctx, together, &seconds[0], e));
    for (int i = 0; i < n; i++)
        TRY(pass_run(b, pass, ctx, together, &seconds[i], e));
    if (together)
        TRY(slowest_take(b, seconds, n, e));
    times_fill(out, seconds, n);
    return ST_OK;
}

enum status bench_watched(struct bench *b, bench_pass *pass, void *ctx, bool together,
                          struct bench_part_result *out, struct err *e)
{
    enum status st;
    double seconds;

    bench_watch_begin(&out->watch, b->ops);
    st = pass_run(b, pass, ctx, together, &seconds, e);
    bench_watch_end(&out->watch);
    out->ran = st == ST_OK;
    out->peak_bytes = b->bytes;
    return st;
}
