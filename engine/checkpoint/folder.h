/* folder.h - private to the store: names of checkpoint files, and who owns the folder
 */
#ifndef ENGINE_CHECKPOINT_FOLDER_H
#define ENGINE_CHECKPOINT_FOLDER_H

#include <stdatomic.h>

#include "engine/checkpoint/store.h"

/* One checkpoint file by its name. */
struct generation {
    int64_t segment, row, incarnation;
};

struct generations {
    struct generation *g; /* owned */
    int n;
};

/* OWNER_BYTES is enough for either of the folder's small files. */
enum { GOOD_MAX = 64, OWNER_BYTES = 1024 };

struct checkpoint_store {
    char *path; /* as the user wrote it, for messages */
    int fd;     /* of the folder */
    int keep;
    struct checkpoint_hook hook;
    int64_t incarnation;
    atomic_bool hurry;                /* the process is about to end */
    char owner[OWNER_BYTES];          /* what the owner file says while it is us */
    struct generation good[GOOD_MAX]; /* known to be valid, oldest first */
    int n_good;
};

void generation_name(const struct generation *g, char out[CHECKPOINT_NAME_BYTES]);
bool generation_parse(const char *name, struct generation *out);

/* Below, equal or above zero: `a` is older than, the same as, newer than `b`. */
int generation_compare(const struct generation *a, const struct generation *b);

/* All checkpoints of the folder, newest first; released by the caller. */
enum status generations_list(const struct checkpoint_store *s, struct generations *out,
                             struct err *e);
void generations_release(struct generations *g);

/* Remember as valid; the same one twice counts once. */
void generation_good(struct checkpoint_store *s, const struct generation *g);

/* Remove what `keep` newer valid ones of this store make dispensable. */
enum status generations_retire(struct checkpoint_store *s, struct err *e);

/* A small file of the folder, "" when it is not there or a link; what does not fit is
 * cut. And put one in its place, whole or not at all, synced, 0600. */
enum status folder_get(const struct checkpoint_store *s, const char *name,
                       char out[OWNER_BYTES], struct err *e);
enum status folder_put(const struct checkpoint_store *s, const char *name,
                       const char *text, struct err *e);

/* Is the owner file still ours? */
enum status owner_check(const struct checkpoint_store *s, struct err *e);

/* Sync the folder; one whose file system cannot is fine. */
bool folder_sync(const struct checkpoint_store *s);

#endif
