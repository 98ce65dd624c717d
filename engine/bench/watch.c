/* watch.c - a watcher of ops that adds up their times */
#include "engine/bench/watch.h"

#include <stdio.h>
#include <string.h>

#include "kernels/base/clock.h"

static struct watch_row *row_of(struct watch *w, const struct watch_cost *cost)
{
    struct watch_row *last = &w->row[WATCH_ROWS - 1];

    for (int i = 0; i < w->n; i++) {
        if (strcmp(w->row[i].cost.name, cost->name) == 0)
            return &w->row[i];
    }
    if (w->n == WATCH_ROWS)
        return last;
    w->row[w->n] = (struct watch_row){.cost = *cost};
    w->n++;
    if (w->n == WATCH_ROWS)
        snprintf(last->cost.name, sizeof(last->cost.name), "other ops");
    return &w->row[w->n - 1];
}

static enum status seen_begin(void *self, struct queue *q, const char *op,
                              const void *args, struct err *e)
{
    struct watch *w = self;

    (void)op;
    (void)args;
    TRY(ops_queue_wait(w->ops, q, e));
    w->begun = clock_seconds();
    return ST_OK;
}

static enum status seen_end(void *self, struct queue *q, const char *op,
                            const void *args, struct err *e)
{
    struct watch *w = self;
    struct watch_cost cost;
    struct watch_row *row;

    TRY(ops_queue_wait(w->ops, q, e));
    bench_watch_cost(op, args, &cost);
    row = row_of(w, &cost);
    row->calls++;
    row->seconds += clock_seconds() - w->begun;
    return ST_OK;
}

void bench_watch_begin(struct watch *w, struct ops *ops)
{
    w->ops = ops;
    w->n = 0;
    w->watcher = (struct ops_watcher){w, seen_begin, seen_end};
    ops_watch(ops, &w->watcher);
}

void bench_watch_end(struct watch *w)
{
    ops_watch(w->ops, NULL);
}

double bench_watch_seconds(const struct watch *w, enum watch_group group)
{
    double sum = 0.0;

    for (int i = 0; i < w->n; i++)
        sum += w->row[i].cost.group == group ? w->row[i].seconds : 0.0;
    return sum;
}

const char *bench_watch_group_name(enum watch_group group)
{
    static const char *const names[] = {
        [WATCH_LINEAR] = "linear",       [WATCH_CONV] = "convolution",
        [WATCH_ATTENTION] = "attention", [WATCH_FUSED] = "fused kernels",
        [WATCH_COPY] = "copies",
    };

    return names[group];
}
