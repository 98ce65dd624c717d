/* writer.h - a thread that saves checkpoints while the run goes on
 *
 * Rank 0 fills a snapshot and goes on; the copy into it is all that a step waits for.
 * While a save is running there is no snapshot to fill: the caller tries again after
 * its next row, so a slow disk makes checkpoints rarer and never stops a run.
 *
 *     TRY(checkpoint_writer_open(store, &w, e));
 *     after a row that is due:
 *         ck = checkpoint_writer_begin(w);         NULL: still busy
 *         if (ck) {
 *             … fill …
 *             checkpoint_writer_submit(w);
 *         }
 *         TRY(checkpoint_writer_poll(w, &news, e));
 *     at the end, and before exiting on request:
 *         TRY(checkpoint_writer_wait(w, &news, e));
 *     checkpoint_writer_close(w);
 *
 * One save that fails is news, not an error: the run is worth more than its checkpoint.
 * The third in a row is. Another incarnation's taking over is one at once. The thread
 * takes no signals.
 */
#ifndef ENGINE_CHECKPOINT_WRITER_H
#define ENGINE_CHECKPOINT_WRITER_H

#include "engine/checkpoint/store.h"

enum { CHECKPOINT_FAILURES_MAX = 3 };

struct checkpoint_writer;

/* What became of saves since the news were last asked for. */
struct checkpoint_news {
    bool saved;                   /* one has succeeded: `last` */
    struct checkpoint_saved last; /* the latest of them */
    bool failed;                  /* one has failed: `why` */
    struct err why;               /* of the latest */
    double seconds;               /* that the latest save took */
};

/* `store` is claimed, borrowed, and used by the thread until the close. */
enum status checkpoint_writer_open(struct checkpoint_store *store,
                                   struct checkpoint_writer **out, struct err *e);

/* The snapshot, with what the last one held; the caller owns it until the submit.
 * NULL while a save is running. */
struct checkpoint *checkpoint_writer_begin(struct checkpoint_writer *w);
void checkpoint_writer_submit(struct checkpoint_writer *w);

/* News so far, and the error of CHECKPOINT_FAILURES_MAX failures in a row or of another
 * run's taking over. poll does not wait; wait does, until nothing is being saved, and
 * then fails with whatever the last save failed with. */
enum status checkpoint_writer_poll(struct checkpoint_writer *w,
                                   struct checkpoint_news *news, struct err *e);
enum status checkpoint_writer_wait(struct checkpoint_writer *w,
                                   struct checkpoint_news *news, struct err *e);

/* Lets a save that is running come to its end. NULL is fine. */
void checkpoint_writer_close(struct checkpoint_writer *w);

#endif
