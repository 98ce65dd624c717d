/* watch.h - where the time of a pass goes, op by op
 *
 * A watch waits for the queue after every op, so a pass under it is slower than one
 * without: by a few microseconds per op on a device, and by everything that would have
 * overlapped. Its sums are those of the ops alone.
 *
 *     bench_watch_begin(&w, ops);
 *     … a pass …
 *     bench_watch_end(&w);
 *     w.row[0 .. w.n): one per op and shape, in the order of first use
 *
 * Costs are counted from arguments: floating point operations (a multiply-add is 2) of
 * products, convolutions and attention, and bytes of every tensor read or written,
 * each once.
 */
#ifndef ENGINE_BENCH_WATCH_H
#define ENGINE_BENCH_WATCH_H

#include "kernels/ops.h"

enum { WATCH_ROWS = 256, WATCH_NAME_BYTES = 72 };

enum watch_group {
    WATCH_LINEAR,
    WATCH_CONV,
    WATCH_ATTENTION,
    WATCH_FUSED, /* norms, residuals, activations, scatter, gather, small things */
    WATCH_COPY,
    WATCH_GROUPS
};

/* Of one call. */
struct watch_cost {
    char name[WATCH_NAME_BYTES]; /* "linear 51000x5120x13824 F8_E4M3" */
    enum watch_group group;
    double flop, bytes;
};

struct watch_row {
    struct watch_cost cost;
    int64_t calls;
    double seconds; /* of all calls */
};

struct watch {
    struct ops *ops;
    struct ops_watcher watcher;
    double begun;
    int n;
    struct watch_row row[WATCH_ROWS]; /* the last one takes what finds no room */
};

/* `w` must stay where it is until bench_watch_end. */
void bench_watch_begin(struct watch *w, struct ops *ops);
void bench_watch_end(struct watch *w);

double bench_watch_seconds(const struct watch *w, enum watch_group group);
const char *bench_watch_group_name(enum watch_group group);

/* cost.c: name, group, work and bytes of a call. */
void bench_watch_cost(const char *op, const void *args, struct watch_cost *out);

#endif
