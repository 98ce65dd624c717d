/* writer.h - a thread that saves checkpoints while the run goes on
 *
 * Rank 0 fills a snapshot and goes on; the copy into it is all that a row waits for.
 * Snapshots are taken more often than they are saved: the newest is there to be saved
 * at once when the process is told to end in the middle of a row. There are three of
 * them, one that is filled, the newest whole one, and one that is being saved.
 *
 *     TRY(checkpoint_writer_open(store, &finish, &w, e));
 *     checkpoint_writer_reserve(w, &room);
 *     after a row:
 *         ck = checkpoint_writer_begin(w);
 *         … fill …
 *         checkpoint_writer_submit(w, due);
 *         TRY(checkpoint_writer_poll(w, &news, e));
 *     at the end, and before exiting on request:
 *         TRY(checkpoint_writer_wait(w, &news, e));
 *     from another thread, when there is no time for that:
 *         TRY(checkpoint_writer_hurry(w, e));
 *     checkpoint_writer_close(w);
 *
 * A slow disk makes checkpoints rarer and never stops a run: when a save ends, the
 * newest snapshot is saved that has been asked for. One save that fails is news, not an
 * error: the run is worth more than its checkpoint. The third in a row is. Another
 * incarnation's taking over is one at once. The thread takes no signals.
 */
#ifndef ENGINE_CHECKPOINT_WRITER_H
#define ENGINE_CHECKPOINT_WRITER_H

#include "engine/checkpoint/store.h"

enum { CHECKPOINT_FAILURES_MAX = 3, CHECKPOINT_SNAPSHOTS = 3 };

struct checkpoint_writer;

/* What is left to do to a snapshot before it is saved, in the thread: putting arrays
 * into their order takes longer than copying them. NULL: nothing. */
typedef enum status checkpoint_finish(struct checkpoint *ck, struct err *e);

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
                                   checkpoint_finish *finish,
                                   struct checkpoint_writer **out, struct err *e);

/* From now on, whenever nothing else is to be done, the thread gets the memory of
 * snapshots that nobody has in hand, so that filling one for the first time takes no
 * longer than later. */
void checkpoint_writer_reserve(struct checkpoint_writer *w,
                               const struct checkpoint_room *room);

/* A snapshot to fill, with what it held when it was last used; the caller owns it until
 * the submit, which makes it the newest and, with `save`, asks for it to be saved. */
struct checkpoint *checkpoint_writer_begin(struct checkpoint_writer *w);
void checkpoint_writer_submit(struct checkpoint_writer *w, bool save);

/* Is a save running or asked for? */
bool checkpoint_writer_busy(struct checkpoint_writer *w);

/* News so far, and the error of CHECKPOINT_FAILURES_MAX failures in a row or of another
 * run's taking over. poll does not wait; wait does, until nothing is being saved, and
 * then fails with whatever the last save failed with. */
enum status checkpoint_writer_poll(struct checkpoint_writer *w,
                                   struct checkpoint_news *news, struct err *e);
enum status checkpoint_writer_wait(struct checkpoint_writer *w,
                                   struct checkpoint_news *news, struct err *e);

/* Save the newest snapshot unless it is saved, in a hurry (checkpoint_hurry), and wait
 * for it; any thread may call. *row is that of the snapshot, -1 when there is none. */
enum status checkpoint_writer_hurry(struct checkpoint_writer *w, int64_t *row,
                                    struct err *e);

/* Lets a save that is running come to its end. NULL is fine. */
void checkpoint_writer_close(struct checkpoint_writer *w);

#endif
