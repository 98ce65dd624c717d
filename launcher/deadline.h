/* deadline.h - when a launch must be over: its allocation's end, and --max_minutes
 *
 * Slurm 23.02 and later say when an allocation ends, in SLURM_JOB_END_TIME; where it is
 * not set, scripts ask Slurm and pass the answer on in FRAMEFLEET_JOB_END. Both are
 * seconds since 1970.
 */
#ifndef LAUNCHER_DEADLINE_H
#define LAUNCHER_DEADLINE_H

#include "engine/pipeline/limit.h"

/* The limits of a launch that began at `began` of clock_seconds; `get` is getenv or a
 * fixture, `clock` is now by clock_seconds and `now` the same moment in seconds since
 * 1970. ST_USAGE when a variable holds anything but a moment. */
struct deadline_args {
    const char *(*get)(const char *name);
    double began, clock, now;
    double max_minutes; /* 0: none */
};

enum status deadline_read(const struct deadline_args *a, struct limit out[LIMITS],
                          struct err *e);

#endif
