/* checkpoint_rig.h - small checkpoints and a folder for them */
#ifndef TESTS_UNIT_CHECKPOINT_RIG_H
#define TESTS_UNIT_CHECKPOINT_RIG_H

#include "engine/checkpoint/store.h"

/* cmocka's group setup and teardown: a new folder to be in, with an empty store "ck"
 * made by the first rig_store. */
int rig_enter(void **state);
int rig_leave(void **state);

/* A running checkpoint of `scale` times 288 latent values; what it holds is a function
 * of segment and row. */
void rig_fill(struct checkpoint *ck, int64_t segment, int64_t row, int64_t scale);

/* An open, claimed store in the folder `name`, two generations, with a hook. */
struct checkpoint_store *rig_store(const char *name,
                                   const struct checkpoint_hook *hook);

/* Save what rig_fill makes. */
enum status rig_save(struct checkpoint_store *s, int64_t segment, int64_t row,
                     struct err *e);

/* The newest valid checkpoint of the folder `name` must be that row, whole; returns how
 * many were rejected on the way. Row -1: all must be rejected; -2: there is none. */
int rig_expect(const char *name, int64_t segment, int64_t row);

/* Remove a folder and the files in it; names in a folder, temporary ones alone or not.
 */
void rig_remove(const char *name);
int rig_files(const char *name, bool temporary);

/* The bytes of a file; the caller frees them. */
unsigned char *rig_read(const char *path, size_t *bytes);
void rig_write(const char *path, const unsigned char *data, size_t bytes);

/* The same pseudo-random numbers on every machine. */
uint64_t rig_random(uint64_t *state);

#endif
