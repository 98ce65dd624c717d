/* reach.h - where a checkpoint may have files written
 *
 * A checkpoint says all that its launch was told, the names of outputs among it, and
 * may come from a stranger. What it names is written only in or below the folder that
 * the checkpoints' output is in, or the current one, and never under a name that begins
 * with a dot; anything else must be said by the user, as a flag. What belongs to one
 * launch only (`force`, `prompt_file` …) is never taken from it.
 */
#ifndef LAUNCHER_REACH_H
#define LAUNCHER_REACH_H

#include "launcher/settings.h"
#include "launcher/subject.h"

/* ST_INPUT names the key and the path. `d` holds the launch of the checkpoint, as
 * SOURCE_FILE, with the flags over it. Rank 0 asks. */
enum status reach_check(const struct settings_doc *d, const struct subject *s,
                        struct err *e);

#endif
