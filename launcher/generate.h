/* generate.h - runs the jobs of a launch: what generate and resume have in common */
#ifndef LAUNCHER_GENERATE_H
#define LAUNCHER_GENERATE_H

#include "launcher/jobs.h"

/* Check all jobs, then run them (or print them). Collective. */
enum status jobs_generate(struct jobs *jobs, struct world *w, struct err *e);

#endif
