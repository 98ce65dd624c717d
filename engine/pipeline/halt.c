/* halt.c - waits for a signal, saves what there is, and gives the run half a second */
#include "engine/pipeline/halt.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "engine/pipeline/leftovers.h"
#include "kernels/base/thread.h"

struct halt {
    struct halt_args a;
    int wake; /* eventfd: the thread shall end */
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    enum halt_stage stage;
    struct checkpoint_writer *writer;
};

static bool is_hard(int sig)
{
    return sig != SIGUSR1 && sig != SIGUSR2;
}

/* Under the lock: until the run ends by itself, or until `deadline`. */
static void run_wait(struct halt *w, const struct timespec *deadline)
{
    int rc = 0;

    while (w->stage != HALT_CLOSING && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&w->changed, &w->lock, deadline);
}

static void end_loading(struct halt *w)
{
    w->a.end(w->a.ctx, w->a.job->resumed
                           ? "stopped on request while loading"
                           : "stopped on request while loading: nothing is saved yet");
}

static void end_decoding(struct halt *w)
{
    leftovers_remove(w->a.job);
    w->a.end(w->a.ctx, "stopped on request while decoding");
}

/* `row`: of the snapshot that was saved, or -1. */
static void end_rows(struct halt *w, int64_t row, enum status st, const struct err *e)
{
    char text[2 * ERR_TEXT_BYTES] = "stopped on request: nothing is saved";

    if (st != ST_OK)
        snprintf(text, sizeof(text), "stopped on request: %s", e->text);
    else if (row >= 0)
        snprintf(text, sizeof(text), "stopped on request at row %lld", (long long)row);
    leftovers_remove(w->a.job);
    w->a.end(w->a.ctx, text);
}

static void deadline_after(struct timespec *t, long ms)
{
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_nsec += ms % 1000 * 1000000;
    t->tv_sec += ms / 1000 + t->tv_nsec / 1000000000;
    t->tv_nsec %= 1000000000;
}

/* On rank 0. */
static void leader_handle(struct halt *w, int sig)
{
    struct checkpoint_writer *writer;
    struct err e = ERR_INIT;
    struct timespec deadline;
    enum status st = ST_OK;
    int64_t row = -1;

    deadline_after(&deadline, HALT_PATIENCE_MS);
    pthread_mutex_lock(&w->lock);
    if (w->stage == HALT_LOAD)
        end_loading(w);
    writer = w->writer;
    if (w->stage == HALT_CLOSING || (w->stage == HALT_ROWS && !is_hard(sig))) {
        pthread_mutex_unlock(&w->lock);
        return;
    }
    pthread_mutex_unlock(&w->lock);
    if (writer)
        st = checkpoint_writer_hurry(writer, &row, &e);
    pthread_mutex_lock(&w->lock);
    run_wait(w, &deadline);
    if (w->stage == HALT_DECODE)
        end_decoding(w);
    if (w->stage == HALT_ROWS)
        end_rows(w, row, st, &e);
    pthread_mutex_unlock(&w->lock);
}

/* On another machine than rank 0: rows are left to the agreement between them. */
static void other_handle(struct halt *w)
{
    struct timespec deadline;

    deadline_after(&deadline, HALT_FAR_MS);
    pthread_mutex_lock(&w->lock);
    if (w->stage != HALT_ROWS)
        run_wait(w, &deadline);
    if (w->stage == HALT_LOAD)
        end_loading(w);
    if (w->stage == HALT_DECODE)
        w->a.end(w->a.ctx, "stopped on request while decoding");
    pthread_mutex_unlock(&w->lock);
}

static void *thread_run(void *ctx)
{
    struct halt *w = ctx;
    struct pollfd ends[] = {{w->a.fd, POLLIN, 0}, {w->wake, POLLIN, 0}};
    uint64_t count;

    for (;;) {
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (ends[1].revents)
            return NULL;
        if (!ends[0].revents || read(w->a.fd, &count, sizeof(count)) < 0)
            continue;
        if (w->a.leads)
            leader_handle(w, *w->a.signal);
        else
            other_handle(w);
    }
}

static void halt_free(struct halt *w)
{
    if (w->wake >= 0)
        close(w->wake);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

enum status halt_open(struct halt **out, const struct halt_args *a, struct err *e)
{
    pthread_condattr_t monotonic;
    struct halt *w;

    *out = NULL;
    if (!a->end)
        return ST_OK;
    w = calloc(1, sizeof(*w));
    if (!w)
        return err_set(e, ST_RESOURCE, "out of memory: a thread for signals");
    w->a = *a;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake < 0 || thread_start_quiet(&w->thread, thread_run, w) != 0) {
        halt_free(w);
        return err_set(e, ST_RESOURCE, "cannot start a thread for signals");
    }
    *out = w;
    return ST_OK;
}

void halt_stage(struct halt *w, enum halt_stage stage, struct checkpoint_writer *writer)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stage = stage;
    w->writer = writer;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void halt_close(struct halt *w)
{
    uint64_t one = 1;

    if (!w)
        return;
    halt_stage(w, HALT_CLOSING, NULL);
    while (write(w->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
    pthread_join(w->thread, NULL);
    halt_free(w);
}
