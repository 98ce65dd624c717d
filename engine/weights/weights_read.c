/* weights_read.c - threads that read the tensors of a store
 *
 * Each takes the next tensor, the largest of a round first, and has it read, summed and
 * put in its place. The first error stops all of them.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/weights/load.h"
#include "kernels/base/thread.h"

int load_threads(const struct weights *w)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int usual = cores > THREADS_USUAL ? THREADS_USUAL : (int)cores;
    int n = w->policy.threads > 0 ? w->policy.threads : usual;

    n = n < THREADS_MAX ? n : THREADS_MAX;
    n = n < w->n ? n : w->n;
    return n > 0 ? n : 1;
}

/* ---- order ----------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;

    if (x->stored->bytes != y->stored->bytes)
        return x->stored->bytes > y->stored->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

void load_order(struct load *l)
{
    for (int first = 0, end; first < l->n; first = end) {
        int k = l->order[first]->round;

        for (end = first; end < l->n && l->order[end]->round == k; end++)
            l->total += l->order[end]->stored->bytes;
        qsort(&l->order[first], (size_t)(end - first), sizeof(struct slot *), by_size);
        l->left[k] = end - first;
    }
}

/* ---- reading --------------------------------------------------------------------- */

static void load_report(struct load *l, int i, enum status st, const struct err *e)
{
    const struct weights_policy *p = &l->w->policy;

    pthread_mutex_lock(&l->lock);
    if (st != ST_OK && (l->failed < 0 || i < l->failed)) {
        l->failed = i;
        l->err = *e;
        l->err.status = st;
        atomic_store(&l->stop, true);
    }
    if (i < l->n) {
        l->done += l->order[i]->stored->bytes;
        l->left[l->order[i]->round]--;
    }
    if (st == ST_OK && p->progress)
        p->progress(p->progress_self, l->done, l->total);
    pthread_cond_broadcast(&l->moved);
    pthread_mutex_unlock(&l->lock);
}

static enum status slot_load(struct reader *r, struct slot *s, struct err *e)
{
    return r->load->stream ? slot_load_stream(r, s, e) : slot_load_host(r, s, e);
}

static void *load_thread(void *self)
{
    struct load *l = self;
    struct reader r = {.load = l, .number = atomic_fetch_add(&l->readers, 1)};
    struct err e = ERR_INIT;
    enum status st = checksum_create(&r.sum, &e);

    if (st != ST_OK)
        load_report(l, l->n, st, &e);
    while (st == ST_OK && !atomic_load(&l->stop)) {
        int i = atomic_fetch_add(&l->next, 1);

        if (i >= l->n)
            break;
        st = slot_load(&r, l->order[i], &e);
        load_report(l, i, st, &e);
    }
    checksum_destroy(r.sum);
    free(r.piece);
    free(r.line);
    return NULL;
}

/* Threads beyond the first are a help, not a need: one that cannot start is left out,
 * and where none does the caller reads. */
void crew_start(struct load *l, struct crew *c)
{
    int n = l->n > 0 ? load_threads(l->w) : 0;

    c->n = 0;
    for (int i = 0; i < n; i++)
        if (thread_start_quiet(&c->thread[c->n], load_thread, l) == 0)
            c->n++;
    if (c->n == 0 && n > 0)
        load_thread(l);
}

enum status crew_wait(struct load *l, int round, struct err *e)
{
    enum status st = ST_OK;

    pthread_mutex_lock(&l->lock);
    while (l->failed < 0 && l->left[round] > 0)
        pthread_cond_wait(&l->moved, &l->lock);
    if (l->failed >= 0)
        st = err_set(e, l->err.status, "%s", l->err.text);
    pthread_mutex_unlock(&l->lock);
    return st;
}

void crew_join(struct crew *c)
{
    for (int i = 0; i < c->n; i++)
        pthread_join(c->thread[i], NULL);
    c->n = 0;
}
