/* outputs.h - no two outputs of a launch may have one name */
#ifndef LAUNCHER_OUTPUTS_H
#define LAUNCHER_OUTPUTS_H

#include "launcher/jobs.h"

/* ST_USAGE with the names of both when two are spelled the same. */
enum status outputs_distinct(const struct jobs *jobs, struct err *e);

#endif
