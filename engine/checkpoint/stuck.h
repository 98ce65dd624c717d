/* stuck.h - a run that ends with the same error at the same row again and again
 *
 *     checkpoints/stuck           {"segment":0,"row":17,"code":5,"restarts":2,"reason":
 *                                  "..."}
 *
 * Whoever restarts a run that fails learns nothing from the exit code alone: the next
 * attempt may get further. The file counts the restarts in a row that did not. It is
 * replaced whole, 0600, by the owner of the folder alone; it goes when a checkpoint of
 * a later row is saved, and with the checkpoints. What it says is a stranger's word:
 * anything that we would not write counts as no file.
 */
#ifndef ENGINE_CHECKPOINT_STUCK_H
#define ENGINE_CHECKPOINT_STUCK_H

#include "engine/checkpoint/store.h"

#define STUCK_FILE "stuck"

enum { STUCK_REASON_BYTES = 200, STUCK_RESTARTS_MAX = 2 };

struct stuck {
    int64_t segment, row;            /* that was not done */
    int64_t code;                    /* exit code */
    int64_t restarts;                /* in a row; 0: there is no file */
    char reason[STUCK_REASON_BYTES]; /* of the last one, printable ASCII */
};

/* What the file of an open store says. */
void stuck_read(const struct checkpoint_store *s, struct stuck *out);

/* A restart of a claimed store has ended there; `reason` may hold anything. Counts on
 * when the file says the same segment, row and code. Another run's having taken over is
 * an error, and nothing is written. */
enum status stuck_add(const struct checkpoint_store *s, int64_t segment, int64_t row,
                      int64_t code, const char *reason, struct err *e);

void stuck_remove(const struct checkpoint_store *s);

#endif
