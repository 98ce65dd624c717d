/* target.h - where an output goes: an open folder, a last name, a temporary name
 *
 * Shared by the two kinds of output.h; inside engine/media only. */
#ifndef ENGINE_MEDIA_TARGET_H
#define ENGINE_MEDIA_TARGET_H

#include <stdbool.h>

#include "kernels/base/err.h"

enum { TARGET_TRIES = 100 }; /* temporary names tried before giving up */

struct target {
    int dir;    /* descriptor of the folder that holds the output */
    bool force; /* replace what is there */
    char *path; /* as the user wrote it, for messages */
    char *name; /* last component of path, no slash */
    char *temp; /* temporary name beside it, set by target_temp */
};

/* Open the folder and check that the output may be made there. `folder`: the output
 * itself is to be a folder. */
enum status target_open(struct target *t, const char *path, bool folder, bool force,
                        struct err *e);
void target_close(struct target *t);

/* Put the i-th temporary name into t->temp. */
enum status target_temp(struct target *t, int i, struct err *e);

/* Rename t->temp to t->name and sync the folder. */
enum status target_rename(const struct target *t, struct err *e);

#endif
