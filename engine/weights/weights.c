/* weights.c - a table of named tensors: opening, finding, closing */
#include "engine/weights/weights.h"

#include <stdlib.h>
#include <string.h>

#include "engine/weights/store.h"

struct weights *weights_alloc(int n)
{
    struct weights *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->slots = calloc((size_t)n + 1, sizeof(*w->slots));
    if (!w->slots) {
        free(w);
        return NULL;
    }
    return w;
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    weights_memory_free(w);
    for (int i = 0; i < w->n; i++)
        free(w->slots[i].name);
    free(w->slots);
    free(w);
}

static int slot_order(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static enum status slot_name(struct weights *w, const char *name, struct err *e)
{
    w->slots[w->n].name = strdup(name);
    if (!w->slots[w->n].name)
        return err_set(e, ST_RESOURCE, "cannot hold weights: out of memory");
    w->n++;
    return ST_OK;
}

enum status weights_open(const struct component *c, const struct weights_policy *policy,
                         struct weights **out, struct err *e)
{
    struct weights *w = weights_alloc(c->n);
    enum status st;

    if (!w)
        return err_set(e, ST_RESOURCE, "cannot hold weights: out of memory");
    w->policy = *policy;
    w->label = c->label;
    w->source = c->source;
    for (int i = 0; i < c->n; i++) {
        struct slot *s = &w->slots[i];

        TRY_GOTO(st, slot_name(w, c->list[i].name, e), err_close);
        s->stored = c->list[i].stored;
        s->stored_dtype = s->stored->dtype;
        s->stored_rank = s->stored->rank;
        memcpy(s->stored_dims, s->stored->dims, sizeof(s->stored_dims));
    }
    qsort(w->slots, (size_t)w->n, sizeof(*w->slots), slot_order);
    TRY_GOTO(st, weights_plan(w, e), err_close);
    *out = w;
    return ST_OK;

err_close:
    weights_close(w);
    return st;
}

enum status weights_from_entries(const struct weights_entry *entries, int n,
                                 struct weights **out, struct err *e)
{
    struct weights *w = weights_alloc(n);

    if (!w)
        return err_set(e, ST_RESOURCE, "cannot hold weights: out of memory");
    w->label = "entries";
    for (int i = 0; i < n; i++) {
        enum status st = slot_name(w, entries[i].name, e);

        if (st != ST_OK) {
            weights_close(w);
            return st;
        }
        w->slots[i].t = entries[i].t;
    }
    qsort(w->slots, (size_t)w->n, sizeof(*w->slots), slot_order);
    w->loaded = true;
    *out = w;
    return ST_OK;
}

size_t weights_bytes(const struct weights *w)
{
    return w->bytes;
}

static int slot_compare(const void *key, const void *item)
{
    const struct slot *s = item;

    return strcmp(key, s->name);
}

static const struct slot *slot_find(const struct weights *w, const char *name)
{
    if (!w->n)
        return NULL;
    return bsearch(name, w->slots, (size_t)w->n, sizeof(*w->slots), slot_compare);
}

bool weights_has(const struct weights *w, const char *name)
{
    return slot_find(w, name) != NULL;
}

enum status weights_find(const struct weights *w, const char *name, int rank,
                         const int64_t *shape, struct tensor *out, struct err *e)
{
    const struct slot *s = slot_find(w, name);
    char there[160], wanted[160];
    bool same;

    if (!s)
        return err_set(e, ST_INPUT, "tensor '%s' is missing", name);
    same = rank < 0 || s->t.rank == rank;
    for (int i = 0; same && shape && i < s->t.rank; i++)
        same = shape[i] < 0 || shape[i] == s->t.shape[i];
    if (!same && !shape)
        return err_set(e, ST_INPUT, "tensor '%s' is %s, must have %d axes", name,
                       stored_shape(s->t.rank, s->t.shape, there, sizeof(there)), rank);
    if (!same)
        return err_set(
            e, ST_INPUT, "tensor '%s' is %s, must be %s", name,
            stored_shape(s->t.rank, s->t.shape, there, sizeof(there)),
            stored_shape(rank < 0 ? s->t.rank : rank, shape, wanted, sizeof(wanted)));
    *out = s->t;
    return ST_OK;
}

/* Everything stays in memory, so lending a block needs no work. */
enum status weights_borrow_block(struct weights *w, int64_t block, struct err *e)
{
    (void)w;
    (void)block;
    (void)e;
    return ST_OK;
}

void weights_return_block(struct weights *w, int64_t block)
{
    (void)w;
    (void)block;
}
