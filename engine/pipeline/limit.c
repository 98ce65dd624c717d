/* limit.c - compares what is left with what a row has taken */
#include "engine/pipeline/limit.h"

#include <stddef.h>

static const double rows_wanted = 1.5, saves_wanted = 2.0;

void limit_row(struct limit_times *t, double seconds)
{
    t->row[t->rows++ % LIMIT_RECENT] = seconds;
}

void limit_save(struct limit_times *t, double seconds)
{
    t->save[t->saves++ % LIMIT_RECENT] = seconds;
}

static double slowest(const double *seconds)
{
    double worst = 0.0;

    for (int i = 0; i < LIMIT_RECENT; i++)
        worst = seconds[i] > worst ? seconds[i] : worst;
    return worst;
}

double limit_need(const struct limit_times *t)
{
    return rows_wanted * slowest(t->row) + saves_wanted * slowest(t->save);
}

const struct limit *limit_reached(const struct limit *limits,
                                  const struct limit_times *t, double now)
{
    for (int i = 0; i < LIMITS; i++) {
        if (limits[i].end > 0.0 &&
            now + limit_need(t) + limits[i].reserve > limits[i].end)
            return &limits[i];
    }
    return NULL;
}

enum status limit_stop(const struct limit *limit, const struct limit_times *t,
                       double now, int row, int rows, struct err *e)
{
    double left = limit->end > now ? limit->end - now : 0.0;

    if (!t->rows)
        return err_set(e, ST_STOPPED,
                       "stopped at row %d of %d, before the first one of this launch: "
                       "%.1f s are left of %s, %.1f s of them in reserve",
                       row, rows, left, limit->what, limit->reserve);
    return err_set(e, ST_STOPPED,
                   "stopped at row %d of %d: %.1f s are left of %s, and a row with its "
                   "checkpoint may take %.1f s, with %.1f s in reserve",
                   row, rows, left, limit->what, limit_need(t), limit->reserve);
}
