/* finished.h - is the video that is there the one that a job asks for?
 *
 * An .mp4 carries its job (engine/media/media.h, the tag "comment"); nothing is read
 * from a .y4m or from PNG files, and what other programs made says nothing. What a job
 * file or flags say is compared, defaults are not: those of a model would need the
 * model.
 */
#ifndef LAUNCHER_FINISHED_H
#define LAUNCHER_FINISHED_H

#include "launcher/settings.h"

/* ST_INPUT names the keys that differ. A video that says nothing is fine. */
enum status finished_check(struct settings_doc *d, struct err *e);

#endif
