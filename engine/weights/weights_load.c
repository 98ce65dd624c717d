/* weights_load.c - fills a store: memory, tensors, views; and its digest
 *
 * Who reads is up to the policy: this rank all of it, one rank of a machine for all
 * that share its memory, or the ranks of a team a part each (weights_team.c). */
#include <stdlib.h>
#include <string.h>

#include "engine/weights/load.h"

/* ---- one rank reads -------------------------------------------------------------- */

static enum status all_read(struct load *l, struct err *e)
{
    struct crew crew;
    enum status st;

    for (int i = 0; i < l->w->n; i++)
        l->order[l->n++] = &l->w->slots[i];
    load_order(l);
    crew_start(l, &crew);
    st = crew_wait(l, 0, e);
    crew_join(&crew);
    if (st == ST_OK && l->stream)
        st = stream_finish(l, e);
    return st;
}

/* ---- a load ---------------------------------------------------------------------- */

/* Does the backend convert? */
static bool streams(const struct weights *w)
{
    if (w->policy.way == WEIGHTS_AUTO)
        return ops_facts(w->ops)->loads;
    return w->policy.way == WEIGHTS_BY_OPS;
}

static enum status queues_open(struct load *l, struct err *e)
{
    l->host = ops_facts(l->w->ops)->space == MEM_HOST;
    if (streams(l->w))
        return stream_open(l, e);
    return l->host ? ST_OK : ops_queue_open(l->w->ops, NULL, 0, &l->queue, e);
}

static enum status load_run(struct load *l, struct err *e)
{
    bool team = l->w->policy.team;

    l->rounds = team ? team_rounds(l->w) : 1;
    l->order = calloc((size_t)l->w->n + 1, sizeof(struct slot *));
    l->left = calloc((size_t)l->rounds, sizeof(*l->left));
    if (!l->order || !l->left)
        return err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    TRY(queues_open(l, e));
    return team ? team_fill(l, e) : all_read(l, e);
}

static enum status store_fill(struct weights *w, struct err *e)
{
    struct load l = {.w = w, .failed = -1};
    enum status st;

    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.moved, NULL);
    st = load_run(&l, e);
    stream_close(&l);
    ops_queue_close(w->ops, l.queue);
    free(l.order);
    free(l.left);
    pthread_cond_destroy(&l.moved);
    pthread_mutex_destroy(&l.lock);
    return st;
}

/* ---- memory ---------------------------------------------------------------------- */

void weights_memory_free(struct weights *w)
{
    if (!w->memory)
        return;
    if (w->shared)
        w->policy.share->close(w->policy.share->self, w->memory);
    else
        ops_mem_free(w->ops, w->memory);
    w->memory = NULL;
}

static enum status memory_get(struct weights *w, bool *reads, struct err *e)
{
    const struct weights_share *share = w->policy.share;
    size_t bytes = w->bytes ? w->bytes : 1;

    *reads = true;
    if (!share || ops_facts(w->ops)->space != MEM_HOST)
        return ops_mem_alloc(w->ops, bytes, &w->memory, e);
    TRY(share->open(share->self, bytes, &w->memory, reads, e));
    w->shared = true;
    return ST_OK;
}

/* Tell the ranks that did not read how it went, and what the checksums are. */
static enum status memory_settle(struct weights *w, enum status st, struct err *e)
{
    const struct weights_share *share = w->policy.share;
    size_t n = (size_t)w->n;
    uint64_t *sums;

    if (!w->shared)
        return st;
    sums = calloc(n + 1, sizeof(*sums));
    if (!sums)
        st = err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    for (size_t i = 0; i < n && sums; i++)
        sums[i] = w->slots[i].checksum;
    st = share->settle(share->self, st, sums, n * sizeof(*sums), e);
    for (size_t i = 0; i < n && sums; i++)
        w->slots[i].checksum = sums[i];
    free(sums);
    return st;
}

/* ---- the whole ------------------------------------------------------------------- */

/* The views get their memory; nothing of the source is used any more. */
void weights_views_settle(struct weights *w)
{
    for (int i = 0; i < w->n; i++) {
        struct slot *s = &w->slots[i];

        s->t.data = (char *)w->memory + s->data_at;
        s->t.space = ops_facts(w->ops)->space;
        if (s->transform == TRANSFORM_QUANTISE) {
            s->t.scales.kind = SCALE_ROW;
            s->t.scales.data = (float *)(void *)((char *)w->memory + s->scales_at);
            s->t.scales.stride[0] = s->t.shape[0];
        }
        s->stored = NULL;
    }
    w->source = NULL;
    w->loaded = true;
}

/* What ranks that fail one by one would leave the others waiting for comes after they
 * have agreed. Memory that an exchange may still write to is left to weights_close. */
static enum status filled(struct weights *w, struct err *e)
{
    const struct weights_team *team = w->policy.team;
    bool reads = true;
    enum status st = memory_get(w, &reads, e);

    if (team)
        st = team->agree(team->self, st, e);
    if (st == ST_OK && (reads || team))
        st = store_fill(w, e);
    return memory_settle(w, st, e);
}

enum status weights_load(struct weights *w, struct ops *ops, struct err *e)
{
    enum status st;

    if (w->dropped)
        return err_set(e, ST_USAGE,
                       "cannot load weights: they were loaded and dropped");
    if (w->loaded)
        return ST_OK;
    w->ops = ops;
    weights_memory_free(w);
    st = filled(w, e);
    if (st != ST_OK && !w->policy.team)
        weights_memory_free(w);
    if (st == ST_OK)
        weights_views_settle(w);
    return st;
}

void weights_drop(struct weights *w)
{
    if (!w->loaded || !w->memory)
        return;
    weights_memory_free(w);
    w->dropped = true;
    for (int i = 0; i < w->n; i++) {
        w->slots[i].t.data = NULL;
        w->slots[i].t.scales.data = NULL;
    }
}

/* ---- digest --------------------------------------------------------------------- */

static int by_label(const void *a, const void *b)
{
    const struct weights *x = *(const struct weights *const *)a;
    const struct weights *y = *(const struct weights *const *)b;

    return strcmp(x->label, y->label);
}

static void slot_digest(struct digest *d, const char *label, const struct slot *s,
                        struct buf *line)
{
    char dims[200];

    line->len = 0;
    buf_addf(line, "%s/%s %s %s %016llx\n", label, s->name, dtype_name(s->stored_dtype),
             stored_shape(s->stored_rank, s->stored_dims, dims, sizeof(dims)),
             (unsigned long long)s->checksum);
    digest_add(d, buf_text(line), line->len);
}

enum status weights_digest(const struct weights *const *stores, int n, char hex[65],
                           struct err *e)
{
    const struct weights **sorted = malloc(((size_t)n + 1) * sizeof(*sorted));
    struct buf line = BUF_INIT;
    struct digest *d;
    enum status st;

    if (!sorted)
        return err_set(e, ST_RESOURCE, "cannot take a digest: out of memory");
    memcpy(sorted, stores, (size_t)n * sizeof(*sorted));
    qsort(sorted, (size_t)n, sizeof(*sorted), by_label);
    TRY_GOTO(st, digest_create(&d, e), err_free);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < sorted[i]->n; k++)
            slot_digest(d, sorted[i]->label, &sorted[i]->slots[k], &line);
    if (line.failed)
        st = err_set(e, ST_RESOURCE, "cannot take a digest: out of memory");
    else
        digest_hex(d, hex);
    digest_destroy(d);
    buf_release(&line);
err_free:
    free(sorted);
    return st;
}
