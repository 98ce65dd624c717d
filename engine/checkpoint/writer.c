/* writer.c - one snapshot that changes hands between a run and the thread that saves it
 *
 *     idle --begin--> (the caller fills) --submit--> full --thread--> idle
 */
#include "engine/checkpoint/writer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "kernels/base/clock.h"

struct checkpoint_writer {
    struct checkpoint_store *store;
    struct checkpoint snapshot; /* the thread's while `full`, else the caller's */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    bool full, ending;
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
    w->full = false;
    pthread_cond_broadcast(&w->changed);
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

        while (!w->full && !w->ending)
            pthread_cond_wait(&w->changed, &w->lock);
        if (!w->full)
            break;
        pthread_mutex_unlock(&w->lock);
        start = clock_seconds();
        st = checkpoint_save(w->store, &w->snapshot, &saved, &why);
        pthread_mutex_lock(&w->lock);
        outcome_note(w, st, &saved, &why, clock_seconds() - start);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* The thread inherits a mask that blocks everything. */
static int thread_start(struct checkpoint_writer *w)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&w->thread, NULL, thread_run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

enum status checkpoint_writer_open(struct checkpoint_store *store,
                                   struct checkpoint_writer **out, struct err *e)
{
    struct checkpoint_writer *w = calloc(1, sizeof(*w));

    if (!w)
        return err_set(e, ST_RESOURCE, "no memory for a writer of checkpoints");
    w->store = store;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (thread_start(w) != 0) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return err_set(e, ST_RESOURCE, "cannot start a thread to write checkpoints");
    }
    *out = w;
    return ST_OK;
}

struct checkpoint *checkpoint_writer_begin(struct checkpoint_writer *w)
{
    bool busy;

    pthread_mutex_lock(&w->lock);
    busy = w->full;
    pthread_mutex_unlock(&w->lock);
    return busy ? NULL : &w->snapshot;
}

void checkpoint_writer_submit(struct checkpoint_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->full = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
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
    while (w->full)
        pthread_cond_wait(&w->changed, &w->lock);
    news_take(w, news);
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
    checkpoint_release(&w->snapshot);
    free(w);
}
