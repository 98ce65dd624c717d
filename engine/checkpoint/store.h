/* store.h - the folder of checkpoints: one writer, two generations, the newest valid
 * one
 *
 *     checkpoints/
 *         owner                       who may write
 *         stuck                       restarts that failed alike (stuck.h)
 *         ck-0003-0017-i2.h5          segment 3, row 17 done, written by incarnation 2
 *         .ck-0003-0019-i2.h5.tmp     being written; never read
 *
 * No file points at the newest checkpoint and could be stale: names order them by
 * segment, row and incarnation, and the first that proves valid wins.
 *
 *     TRY(checkpoint_store_open("out/checkpoints", &options, &s, e));
 *     TRY(checkpoint_newest(s, say, ctx, &ck, name, &found, e));
 *     TRY(checkpoint_claim(s, e));            from here on we are the writer
 *     TRY(checkpoint_save(s, &ck, &saved, e));
 *     checkpoint_store_close(s);
 *
 * Saving. The file is built in memory, written under a temporary name, read back twice
 * (the bytes, then the values through HDF5) and compared; then it gets its block, is
 * synced, gets its name, and the folder is synced. Only then does the oldest generation
 * go. At every moment there is a valid checkpoint once there was one; a failure leaves
 * everything as it was and no temporary file. A process that dies leaves at most a
 * temporary file, which the next claim removes.
 *
 * Incarnations. Every claim has a higher number than all before. A writer whose owner
 * file has been replaced stops at its next save with ST_DEVICE and touches nothing:
 * after a network cut the old ranks may live beside the new ones.
 *
 * Loading. Block, length and SHA-256 first, then HDF5 in a child process, then the laws
 * of checkpoint.h. What fails is said in one line and the next older one is tried.
 *
 * Files are 0600 and the folder, which is made as needed, 0700: checkpoints hold the
 * prompt. The caller ignores SIGXFSZ.
 */
#ifndef ENGINE_CHECKPOINT_STORE_H
#define ENGINE_CHECKPOINT_STORE_H

#include "engine/checkpoint/checkpoint.h"

enum { CHECKPOINT_NAME_BYTES = 80 };

/* What a hook answers: 0, an errno value that the stage then fails with, or that a
 * write takes only a part of what it is given. */
enum { CHECKPOINT_SHORT = -1 };

/* Stages of a save in their order; `write` comes once per write call. */
#define CHECKPOINT_STAGES                                                      \
    "build", "create", "write", "verify", "block", "fsync", "owner", "rename", \
        "dirsync", "retire"

/* Called before each stage, for tests. */
struct checkpoint_hook {
    int (*at)(void *ctx, const char *stage);
    void *ctx;
};

struct checkpoint_options {
    int keep; /* generations */
    struct checkpoint_hook hook;
};

#define CHECKPOINT_OPTIONS_DEFAULT \
    {                              \
        2,                         \
        {                          \
            NULL, NULL             \
        }                          \
    }

struct checkpoint_store;

/* The folder is made (0700) when `make` is set; ST_USAGE when it cannot be, ST_INPUT
 * when it is not there. */
enum status checkpoint_store_open(const char *folder, bool make,
                                  const struct checkpoint_options *options,
                                  struct checkpoint_store **out, struct err *e);
void checkpoint_store_close(struct checkpoint_store *s);

/* Become the writer: a new incarnation. Temporary files of earlier ones go. */
enum status checkpoint_claim(struct checkpoint_store *s, struct err *e);
int64_t checkpoint_incarnation(const struct checkpoint_store *s); /* 0: not claimed */

/* From now on saves leave out what their reader does again anyway, reading back, and
 * remove no older generation: the process is about to end. Any thread may call. */
void checkpoint_hurry(struct checkpoint_store *s);

/* What a save did, in one line's worth of numbers. */
struct checkpoint_saved {
    char name[CHECKPOINT_NAME_BYTES];
    int64_t segment, row, bytes;
    double build_seconds, write_seconds, verify_seconds, sync_seconds;
    bool tight; /* less than twice the room that it took was left before */
};

/* Save `ck` as a new generation; claimed stores only. ST_RESOURCE: memory or disk, with
 * numbers; ST_DEVICE: another incarnation has taken over. `saved` may be NULL. */
enum status checkpoint_save(struct checkpoint_store *s, const struct checkpoint *ck,
                            struct checkpoint_saved *saved, struct err *e);

/* Read the newest valid checkpoint into the empty *ck and its name into `name`. Every
 * one that is rejected is given to `say` (may be NULL) as one line. *found is false,
 * with ST_OK, when the folder has none at all; ST_INPUT when it has and none is valid.
 */
enum status checkpoint_newest(struct checkpoint_store *s,
                              void (*say)(void *ctx, const char *line), void *ctx,
                              struct checkpoint *ck, char name[CHECKPOINT_NAME_BYTES],
                              bool *found, struct err *e);

/* Every checkpoint of the folder, newest first: its name, its bytes, and what it holds,
 * or NULL and why it is rejected. An answer other than ST_OK ends it. */
enum status checkpoint_each(struct checkpoint_store *s,
                            enum status (*visit)(void *ctx, const char *name,
                                                 int64_t bytes,
                                                 const struct checkpoint *ck,
                                                 const char *why, struct err *e),
                            void *ctx, struct err *e);

/* Has the folder any checkpoint, valid or not? One that cannot be listed is an error:
 * it is not an empty one. */
enum status checkpoint_any(const struct checkpoint_store *s, bool *any, struct err *e);

/* Remove all checkpoints and the owner file; for a run that has ended or starts over.
 */
void checkpoint_clear(struct checkpoint_store *s);

/* Read one file, wherever it lies. */
enum status checkpoint_read(const char *path, struct checkpoint *ck, struct err *e);

/* The length of a checkpoint file, 0 when it is not there. */
int64_t checkpoint_file_bytes(const char *path);

#endif
