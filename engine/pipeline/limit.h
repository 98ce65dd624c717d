/* limit.h - when to stop so that the last checkpoint is surely written
 *
 * An allocation ends whether a row has ended or not, and rows take seconds to minutes.
 * So a run stops at the first row from which on
 *
 *     now + 1.5 x slowest recent row + 2 x slowest recent checkpoint + reserve > end
 *
 * all measured in this launch. Before anything has been measured only the reserve
 * counts. Times are those of clock_seconds.
 */
#ifndef ENGINE_PIPELINE_LIMIT_H
#define ENGINE_PIPELINE_LIMIT_H

#include "kernels/base/err.h"

enum { LIMITS = 2, LIMIT_RECENT = 5 };

struct limit {
    double end;     /* 0: there is none */
    double reserve; /* seconds that are kept free before it */
    const char *what;
};

/* The latest LIMIT_RECENT of each kind. */
struct limit_times {
    double row[LIMIT_RECENT], save[LIMIT_RECENT];
    int rows, saves; /* measured so far */
};

void limit_row(struct limit_times *t, double seconds);
void limit_save(struct limit_times *t, double seconds);

/* Seconds that another row and its checkpoint may take. */
double limit_need(const struct limit_times *t);

/* The first of LIMITS limits that leaves no time for another row, or NULL. */
const struct limit *limit_reached(const struct limit *limits,
                                  const struct limit_times *t, double now);

/* ST_STOPPED, with the numbers, for row `row` of `rows`. */
enum status limit_stop(const struct limit *limit, const struct limit_times *t,
                       double now, int row, int rows, struct err *e);

#endif
