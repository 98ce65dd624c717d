/* leftovers.h - what runs that were killed have left beside a job's outputs
 *
 * Outputs grow under temporary names and get their own when they are whole. A process
 * that is killed cannot remove them: NAME.PID-N.part of videos and folders of PNG files
 * (engine/media), .NAME.TAG.tmp of HDF5 files (engine/h5). A run that goes on removes
 * those of its own outputs; nobody else writes them, as it owns their checkpoints.
 */
#ifndef ENGINE_PIPELINE_LEFTOVERS_H
#define ENGINE_PIPELINE_LEFTOVERS_H

#include <stdbool.h>

#include "engine/pipeline/job.h"

/* Is `entry` a temporary name of an output that is called `name`? */
bool leftover_of(const char *name, const char *entry);

/* What cannot be removed stays. */
void leftovers_remove(const struct job *job);

#endif
