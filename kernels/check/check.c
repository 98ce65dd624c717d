/* check.c - wraps another backend: poisons outputs, guards inputs and memory */
#include "kernels/check/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct backend table; /* facts are the inner backend's, but for the name */
    char name[32];
    struct ops inner;
    struct guarded *memory; /* everything from mem_alloc */
};

struct queue {
    struct queue *inner; /* without a workspace: events, copies, waiting */
    size_t bytes;        /* of the user's workspace, which stays unused */
};

/* ---- memory ---------------------------------------------------------------------- */

static enum status check_mem_alloc(void *self, size_t bytes, void **out, struct err *e)
{
    struct check *c = self;
    struct guarded *g;

    TRY(guarded_create(bytes, 0xff, &g, e));
    g->next = c->memory;
    c->memory = g;
    *out = g->p;
    return ST_OK;
}

static void check_mem_free(void *self, void *p)
{
    struct check *c = self;
    struct guarded **at = &c->memory;

    while (*at && (*at)->p != p)
        at = &(*at)->next;
    if (*at) {
        struct guarded *g = *at;

        *at = g->next;
        guarded_destroy(g);
    }
}

static size_t check_mem_left(const void *self)
{
    const struct check *c = self;

    return c->inner.backend->mem_left(c->inner.self);
}

static enum status memory_look(const struct check *c, const char *op, struct err *e)
{
    for (const struct guarded *g = c->memory; g; g = g->next) {
        if (!guarded_intact(g))
            return err_set(e, ST_DEVICE,
                           "%s: bytes outside an allocation of %zu bytes were written",
                           op, g->bytes);
    }
    return ST_OK;
}

static enum status check_pinned_alloc(void *self, size_t bytes, void **out,
                                      struct err *e)
{
    return check_mem_alloc(self, bytes, out, e);
}

static void check_pinned_free(void *self, void *p)
{
    check_mem_free(self, p);
}

/* ---- queues and events ---------------------------------------------------------- */

static enum status check_queue_open(void *self, void *workspace, size_t bytes,
                                    struct queue **out, struct err *e)
{
    struct check *c = self;
    struct queue *q = malloc(sizeof(*q));
    enum status st;

    (void)workspace;
    if (!q)
        return err_set(e, ST_RESOURCE, "no memory for a queue");
    q->bytes = bytes;
    TRY_GOTO(st, c->inner.backend->queue_open(c->inner.self, NULL, 0, &q->inner, e),
             err_free);
    *out = q;
    return ST_OK;

err_free:
    free(q);
    return st;
}

static void check_queue_close(void *self, struct queue *q)
{
    struct check *c = self;

    c->inner.backend->queue_close(c->inner.self, q->inner);
    free(q);
}

static enum status check_queue_wait(void *self, struct queue *q, struct err *e)
{
    struct check *c = self;

    TRY(c->inner.backend->queue_wait(c->inner.self, q->inner, e));
    return memory_look(c, "wait", e);
}

static enum status check_event_open(void *self, struct event **out, struct err *e)
{
    struct check *c = self;

    return c->inner.backend->event_open(c->inner.self, out, e);
}

static void check_event_close(void *self, struct event *ev)
{
    struct check *c = self;

    c->inner.backend->event_close(c->inner.self, ev);
}

static enum status check_event_record(void *self, struct queue *q, struct event *ev,
                                      struct err *e)
{
    struct check *c = self;

    return c->inner.backend->event_record(c->inner.self, q->inner, ev, e);
}

static enum status check_event_await(void *self, struct queue *q, struct event *ev,
                                     struct err *e)
{
    struct check *c = self;

    return c->inner.backend->event_await(c->inner.self, q->inner, ev, e);
}

static enum status check_event_wait(void *self, struct event *ev, struct err *e)
{
    struct check *c = self;

    return c->inner.backend->event_wait(c->inner.self, ev, e);
}

static enum status check_copy(void *self, struct queue *q, const struct tensor *dst,
                              const struct tensor *src, struct err *e)
{
    struct check *c = self;

    return c->inner.backend->copy(c->inner.self, q->inner, dst, src, e);
}

/* ---- one watched op ------------------------------------------------------------- */

struct run {
    struct check *check;
    struct touches *ts;
    struct guarded *workspace;
    struct queue *q; /* the inner one */
};

/* `need`: the planned workspace. The inner queue gets exactly that much. */
static enum status run_begin(struct run *r, struct check *c, const struct queue *q,
                             struct touches *ts, size_t need, struct err *e)
{
    *r = (struct run){.check = c, .ts = ts};
    if (need > q->bytes)
        return err_set(e, ST_USAGE,
                       "%s: needs %zu bytes of workspace, the queue has %zu", ts->op,
                       need, q->bytes);
    TRY(guarded_create(need, 0xff, &r->workspace, e));
    return c->inner.backend->queue_open(c->inner.self, need ? r->workspace->p : NULL,
                                        need, &r->q, e);
}

static enum status run_finish(struct run *r, struct err *e)
{
    struct check *c = r->check;

    TRY(c->inner.backend->queue_wait(c->inner.self, r->q, e));
    if (!guarded_intact(r->workspace))
        return err_set(e, ST_DEVICE,
                       "%s: wrote outside its planned workspace of %zu bytes",
                       r->ts->op, r->workspace->bytes);
    TRY(memory_look(c, r->ts->op, e));
    return watch_compare(r->ts, e);
}

static void run_release(struct run *r)
{
    if (r->q)
        r->check->inner.backend->queue_close(r->check->inner.self, r->q);
    guarded_destroy(r->workspace);
    watch_end(r->ts);
}

static size_t linear_need(const struct ops *o, const struct op_linear *a)
{
    return o->backend->linear_workspace(o->self, a);
}

static size_t conv_need(const struct ops *o, const struct op_conv *a)
{
    return o->backend->conv_workspace(o->self, a);
}

static size_t attention_need(const struct ops *o, const struct op_attention *a)
{
    return o->backend->attention_workspace(o->self, a);
}

#define NO_NEED(op)                                                       \
    static size_t op##_need(const struct ops *o, const struct op_##op *a) \
    {                                                                     \
        (void)o;                                                          \
        (void)a;                                                          \
        return 0;                                                         \
    }
NO_NEED(norm)
NO_NEED(residual)
NO_NEED(act)
NO_NEED(key_sum)
NO_NEED(heads)
NO_NEED(values)
NO_NEED(gather)
NO_NEED(attn_merge)
NO_NEED(convert)
NO_NEED(rows)
NO_NEED(sinusoid)
NO_NEED(unpatch)
NO_NEED(combine)
NO_NEED(pixels)
NO_NEED(normal)
NO_NEED(quantise)
#undef NO_NEED

#define WATCHED(which)                                                              \
    static enum status which##_watched(struct check *c, struct queue *q,            \
                                       const struct op_##which *a, int byte_poison, \
                                       struct touches *ts, struct err *e)           \
    {                                                                               \
        struct run r;                                                               \
        enum status st;                                                             \
                                                                                    \
        ts->op = #which;                                                            \
        ts->n = 0;                                                                  \
        touch_##which(a, ts);                                                       \
        TRY_GOTO(st, run_begin(&r, c, q, ts, which##_need(&c->inner, a), e), out);  \
        TRY_GOTO(st, watch_begin(ts, byte_poison, e), out);                         \
        TRY_GOTO(st, c->inner.backend->which(c->inner.self, r.q, a, e), out);       \
        st = run_finish(&r, e);                                                     \
out:                                                                                \
        run_release(&r);                                                            \
        return st;                                                                  \
    }                                                                               \
                                                                                    \
    static enum status check_##which(void *self, struct queue *q,                   \
                                     const struct op_##which *a, struct err *e)     \
    {                                                                               \
        struct touches *ts = calloc(1, sizeof(*ts));                                \
        enum status st;                                                             \
                                                                                    \
        if (!ts)                                                                    \
            return err_set(e, ST_RESOURCE, "no memory to watch an op");             \
        st = which##_watched(self, q, a, 0xa5, ts, e);                              \
        free(ts);                                                                   \
        return st;                                                                  \
    }
OPS_LIST(WATCHED)
#undef WATCHED

/* A byte has no value that means "not written": write twice over different ones. */
static enum status check_pixels_twice(void *self, struct queue *q,
                                      const struct op_pixels *a, struct err *e)
{
    size_t n = (size_t)tensor_count(a->out);
    struct touches *ts = calloc(1, sizeof(*ts));
    char *first = malloc(n + 1);
    enum status st = ST_OK;

    if (!ts || !first)
        st = err_set(e, ST_RESOURCE, "no memory to watch an op");
    else
        st = check_pixels(self, q, a, e);
    if (st == ST_OK) {
        memcpy(first, a->out->data, n);
        st = pixels_watched(self, q, a, 0x5a, ts, e);
    }
    if (st == ST_OK && memcmp(first, a->out->data, n) != 0)
        st = err_set(e, ST_DEVICE, "pixels: 'out' was not written everywhere");
    free(first);
    free(ts);
    return st;
}

/* ---- planning and the table ----------------------------------------------------- */

static size_t check_linear_workspace(const void *self, const struct op_linear *a)
{
    return linear_need(&((const struct check *)self)->inner, a);
}

static size_t check_conv_workspace(const void *self, const struct op_conv *a)
{
    return conv_need(&((const struct check *)self)->inner, a);
}

static size_t check_attention_workspace(const void *self, const struct op_attention *a)
{
    return attention_need(&((const struct check *)self)->inner, a);
}

static void check_close(void *self)
{
    struct check *c = self;

    while (c->memory)
        check_mem_free(c, c->memory->p);
    c->inner.backend->close(c->inner.self);
    free(c);
}

static const struct backend check_table = {
    .close = check_close,
    .mem_alloc = check_mem_alloc,
    .mem_free = check_mem_free,
    .pinned_alloc = check_pinned_alloc,
    .pinned_free = check_pinned_free,
    .mem_left = check_mem_left,
    .queue_open = check_queue_open,
    .queue_close = check_queue_close,
    .queue_wait = check_queue_wait,
    .event_open = check_event_open,
    .event_close = check_event_close,
    .event_record = check_event_record,
    .event_await = check_event_await,
    .event_wait = check_event_wait,
    .copy = check_copy,
    .linear_workspace = check_linear_workspace,
    .conv_workspace = check_conv_workspace,
    .attention_workspace = check_attention_workspace,
#define CHECK_FILL(op) .op = check_##op,
    OPS_LIST(CHECK_FILL)
#undef CHECK_FILL
};

enum status check_open(struct ops *inner, struct ops *out, struct err *e)
{
    struct check *c;

    if (inner->backend->facts.space != MEM_HOST)
        return err_set(e, ST_USAGE,
                       "cannot check backend '%s': its memory is a device's",
                       inner->backend->facts.name);
    c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(e, ST_RESOURCE, "no memory for the checking backend");
    c->inner = *inner;
    c->table = check_table;
    c->table.pixels = check_pixels_twice;
    c->table.facts = inner->backend->facts;
    snprintf(c->name, sizeof(c->name), "check:%s", inner->backend->facts.name);
    c->table.facts.name = c->name;
    out->backend = &c->table;
    out->self = c;
    memcpy(out->machine, inner->machine, sizeof(out->machine));
    return ST_OK;
}
