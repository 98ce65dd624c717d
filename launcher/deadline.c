/* deadline.c - reads two variables and a flag */
#include "launcher/deadline.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Slurm ends jobs between 3 and 30 s after their time, and some jobs before it when the
 * clocks of its machines differ. */
static const double allocation_reserve = 60.0, minutes_reserve = 1.0;
/* Until the year 9999; later moments are mistakes, such as milliseconds. */
static const long long last_moment = 253402300799;

/* The first variable that is there decides. */
static enum status moment_read(const struct deadline_args *a, double *out,
                               struct err *e)
{
    static const char *const names[] = {"SLURM_JOB_END_TIME", "FRAMEFLEET_JOB_END"};
    const char *name = names[0], *text = a->get(name);
    char *end;
    long long moment;

    if (!text || !*text) {
        name = names[1];
        text = a->get(name);
    }
    *out = 0.0;
    if (!text || !*text)
        return ST_OK;
    errno = 0;
    moment = strtoll(text, &end, 10);
    if (errno || *end || text[0] < '0' || text[0] > '9' || moment > last_moment)
        return err_set(e, ST_USAGE, "impossible %s '%s': seconds since 1970 are wanted",
                       name, text);
    *out = (double)moment;
    return ST_OK;
}

enum status deadline_read(const struct deadline_args *a, struct limit out[LIMITS],
                          struct err *e)
{
    double moment;

    TRY(moment_read(a, &moment, e));
    memset(out, 0, LIMITS * sizeof(*out));
    out[0].what = "the allocation";
    out[0].reserve = allocation_reserve;
    if (moment > 0.0) /* one that is long over must not look like none */
        out[0].end = fmax(a->clock + moment - a->now, 1e-6);
    out[1].what = "--max_minutes";
    out[1].reserve = minutes_reserve;
    if (a->max_minutes > 0.0)
        out[1].end = a->began + 60.0 * a->max_minutes;
    return ST_OK;
}
