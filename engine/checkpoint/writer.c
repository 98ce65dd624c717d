/* writer.c - three snapshots that change hands between a run and the thread that saves
 *
 *     free --begin--> filled --submit--> newest --thread--> saving --> free
 *
 * The thread reserves the memory of those that are free, one at a time. As it saves or
 * reserves and never does both, one of the three can always be had at once.
 *
 * The newest stays so while it is being saved, until another one is submitted.
 */
#include "engine/checkpoint/writer.h"

#include <pthread.h>
#include <stdlib.h>

#include "kernels/base/clock.h"
#include "kernels/base/thread.h"

enum { NONE = -1 };

struct snapshot {
    struct checkpoint ck;
    bool finished, saved;
    bool bare; /* its memory is to be reserved */
};

struct checkpoint_writer {
    struct checkpoint_store *store;
    checkpoint_finish *finish;
    struct snapshot snapshot[CHECKPOINT_SNAPSHOTS];
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    int filling, newest, saving, reserving; /* or NONE */
    struct checkpoint_room room;
    bool wanted, ending;
    struct checkpoint_news news;
    int failures;    /* in a row */
    struct err last; /* of the latest save, ST_OK when it succeeded */
};

static void outcome_note(struct checkpoint_writer *w, enum status st,
                         const struct checkpoint_saved *saved, const struct err *why,
                         double seconds)
{
    w->news.seconds = seconds;
    w->last = *why;
    w->last.status = st;
    if (st == ST_OK) {
        w->news.saved = true;
        w->news.last = *saved;
        w->failures = 0;
    } else {
        w->news.failed = true;
        w->news.why = *why;
        w->failures++;
    }
    w->snapshot[w->saving].saved = st == ST_OK;
    w->saving = NONE;
    pthread_cond_broadcast(&w->changed);
}

static enum status snapshot_save(struct checkpoint_writer *w, struct snapshot *s,
                                 struct checkpoint_saved *saved, struct err *e)
{
    if (!s->finished && w->finish)
        TRY(w->finish(&s->ck, e));
    s->finished = true;
    return checkpoint_save(w->store, &s->ck, saved, e);
}

/* Under the lock: a free snapshot without its memory, or NONE. */
static int bare_find(const struct checkpoint_writer *w)
{
    for (int i = 0; i < CHECKPOINT_SNAPSHOTS; i++) {
        if (w->snapshot[i].bare && i != w->filling && i != w->newest)
            return i;
    }
    return NONE;
}

/* Under the lock, which is open meanwhile. */
static void bare_reserve(struct checkpoint_writer *w, int i)
{
    const struct checkpoint_room room = w->room;

    w->snapshot[i].bare = false;
    w->reserving = i;
    pthread_mutex_unlock(&w->lock);
    checkpoint_reserve(&w->snapshot[i].ck, &room);
    pthread_mutex_lock(&w->lock);
    w->reserving = NONE;
}

/* Under the lock: wait until a save is wanted or the end has come. */
static void work_wait(struct checkpoint_writer *w)
{
    while (!w->wanted && !w->ending) {
        int bare = bare_find(w);

        if (bare == NONE)
            pthread_cond_wait(&w->changed, &w->lock);
        else
            bare_reserve(w, bare);
    }
}

static void *thread_run(void *ctx)
{
    struct checkpoint_writer *w = ctx;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct checkpoint_saved saved = {0};
        struct err why = ERR_INIT;
        double start;
        enum status st;

        work_wait(w);
        if (!w->wanted)
            break;
        w->wanted = false;
        w->saving = w->newest;
        pthread_mutex_unlock(&w->lock);
        start = clock_seconds();
        st = snapshot_save(w, &w->snapshot[w->saving], &saved, &why);
        pthread_mutex_lock(&w->lock);
        outcome_note(w, st, &saved, &why, clock_seconds() - start);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum status checkpoint_writer_open(struct checkpoint_store *store,
                                   checkpoint_finish *finish,
                                   struct checkpoint_writer **out, struct err *e)
{
    struct checkpoint_writer *w = calloc(1, sizeof(*w));

    if (!w)
        return err_set(e, ST_RESOURCE, "no memory for a writer of checkpoints");
    w->store = store;
    w->finish = finish;
    w->filling = w->newest = w->saving = w->reserving = NONE;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (thread_start_quiet(&w->thread, thread_run, w) != 0) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return err_set(e, ST_RESOURCE, "cannot start a thread to write checkpoints");
    }
    *out = w;
    return ST_OK;
}

void checkpoint_writer_reserve(struct checkpoint_writer *w,
                               const struct checkpoint_room *room)
{
    pthread_mutex_lock(&w->lock);
    w->room = *room;
    for (int i = 0; i < CHECKPOINT_SNAPSHOTS; i++)
        w->snapshot[i].bare = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

struct checkpoint *checkpoint_writer_begin(struct checkpoint_writer *w)
{
    int i = 0;

    pthread_mutex_lock(&w->lock);
    while (i == w->newest || i == w->saving || i == w->reserving)
        i++;
    w->filling = i;
    pthread_mutex_unlock(&w->lock);
    return &w->snapshot[i].ck;
}

void checkpoint_writer_submit(struct checkpoint_writer *w, bool save)
{
    pthread_mutex_lock(&w->lock);
    w->newest = w->filling;
    w->filling = NONE;
    w->snapshot[w->newest].finished = w->snapshot[w->newest].saved = false;
    w->wanted = w->wanted || save;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* Under the lock. */
static bool is_busy(const struct checkpoint_writer *w)
{
    return w->wanted || w->saving != NONE;
}

bool checkpoint_writer_busy(struct checkpoint_writer *w)
{
    bool busy;

    pthread_mutex_lock(&w->lock);
    busy = is_busy(w);
    pthread_mutex_unlock(&w->lock);
    return busy;
}

/* Under the lock. */
static void news_take(struct checkpoint_writer *w, struct checkpoint_news *news)
{
    static const struct checkpoint_news none;

    *news = w->news;
    w->news = none;
}

enum status checkpoint_writer_poll(struct checkpoint_writer *w,
                                   struct checkpoint_news *news, struct err *e)
{
    enum status st = ST_OK;

    pthread_mutex_lock(&w->lock);
    news_take(w, news);
    if (w->failures >= CHECKPOINT_FAILURES_MAX || w->last.status == ST_DEVICE)
        st = err_set(e, w->last.status, "%s", w->last.text);
    pthread_mutex_unlock(&w->lock);
    return st;
}

enum status checkpoint_writer_wait(struct checkpoint_writer *w,
                                   struct checkpoint_news *news, struct err *e)
{
    enum status st = ST_OK;

    pthread_mutex_lock(&w->lock);
    while (is_busy(w))
        pthread_cond_wait(&w->changed, &w->lock);
    news_take(w, news);
    if (w->last.status != ST_OK)
        st = err_set(e, w->last.status, "%s", w->last.text);
    pthread_mutex_unlock(&w->lock);
    return st;
}

enum status checkpoint_writer_hurry(struct checkpoint_writer *w, int64_t *row,
                                    struct err *e)
{
    enum status st = ST_OK;

    checkpoint_hurry(w->store);
    pthread_mutex_lock(&w->lock);
    if (w->newest != NONE && w->newest != w->saving && !w->snapshot[w->newest].saved)
        w->wanted = true;
    pthread_cond_broadcast(&w->changed);
    while (is_busy(w))
        pthread_cond_wait(&w->changed, &w->lock);
    *row = w->newest == NONE ? -1 : w->snapshot[w->newest].ck.rows_done;
    if (w->last.status != ST_OK)
        st = err_set(e, w->last.status, "%s", w->last.text);
    pthread_mutex_unlock(&w->lock);
    return st;
}

void checkpoint_writer_close(struct checkpoint_writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    for (int i = 0; i < CHECKPOINT_SNAPSHOTS; i++)
        checkpoint_release(&w->snapshot[i].ck);
    free(w);
}
