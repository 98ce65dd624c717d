/* pool.c - worker threads that sleep on a condition between jobs
 *
 * A job is a function, a context and a count. Workers draw item numbers from one
 * atomic counter; the caller draws too, then waits until every worker that woke up
 * has run out of items. `round` tells a worker that a new job is there.
 */
#include "kernels/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_THREADS_MAX = 512 };

struct pool {
    int threads;
    int started; /* workers that run, threads - 1 at most */
    pthread_mutex_t turn;
    pthread_mutex_t lock;
    pthread_cond_t go, done;
    uint64_t round;
    int busy;
    bool stop;
    pool_fn *fn;
    void *ctx;
    int64_t items;
    _Atomic int64_t next;
    struct pool_worker {
        struct pool *pool;
        int index;
        pthread_t id;
    } workers[];
};

static void items_drain(struct pool *p, int worker)
{
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);

        if (i >= p->items)
            return;
        p->fn(p->ctx, i, worker);
    }
}

static void *worker_main(void *arg)
{
    struct pool_worker *w = arg;
    struct pool *p = w->pool;
    uint64_t seen = 0;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->round == seen && !p->stop)
            pthread_cond_wait(&p->go, &p->lock);
        if (p->stop)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        items_drain(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int cores_allowed(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

enum status pool_create(int threads, struct pool **out, struct err *e)
{
    struct pool *p;

    if (threads <= 0)
        threads = cores_allowed();
    if (threads > POOL_THREADS_MAX)
        threads = POOL_THREADS_MAX;
    p = calloc(1, sizeof(*p) + (size_t)threads * sizeof(p->workers[0]));
    if (!p)
        return err_set(e, ST_RESOURCE, "no memory for %d worker threads", threads);
    p->threads = threads;
    pthread_mutex_init(&p->turn, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->go, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int i = 1; i < threads; i++) {
        struct pool_worker *w = &p->workers[i];
        int rc;

        w->pool = p;
        w->index = i;
        rc = pthread_create(&w->id, NULL, worker_main, w);
        if (rc != 0) {
            pool_destroy(p);
            return err_set(e, ST_RESOURCE, "cannot start worker thread %d of %d: %s", i,
                           threads, strerror(rc));
        }
        p->started++;
    }
    *out = p;
    return ST_OK;
}

void pool_destroy(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->go);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i <= p->started; i++)
        pthread_join(p->workers[i].id, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->go);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->turn);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->threads;
}

void pool_run(struct pool *p, int64_t items, pool_fn *fn, void *ctx)
{
    pthread_mutex_lock(&p->turn);
    p->fn = fn;
    p->ctx = ctx;
    p->items = items;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    if (items > 1 && p->started > 0) {
        pthread_mutex_lock(&p->lock);
        p->busy = p->started;
        p->round++;
        pthread_cond_broadcast(&p->go);
        pthread_mutex_unlock(&p->lock);
        items_drain(p, 0);
        pthread_mutex_lock(&p->lock);
        while (p->busy > 0)
            pthread_cond_wait(&p->done, &p->lock);
        pthread_mutex_unlock(&p->lock);
    } else {
        items_drain(p, 0);
    }
    pthread_mutex_unlock(&p->turn);
}
