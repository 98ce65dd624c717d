/* ops.c - opens backends by name, checks arguments, passes calls on to the backend */
#include "kernels/ops.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/ops_check.h"

/* ---- opening --------------------------------------------------------------------- */

struct named {
    const char *name;
    enum status (*open)(const struct ops_options *opt, struct ops *out, struct err *e);
    enum status (*devices)(int *out, struct err *e); /* NULL: works on the host */
};

static const struct named backends[] = {
    {"ref", ref_open, NULL},
    {"cpu", cpu_open, NULL},
    {"cuda", cuda_open, cuda_devices},
};

static const char prefix[] = "check:";

static bool prefixed(const char *name)
{
    return strncmp(name, prefix, sizeof(prefix) - 1) == 0;
}

/* What may follow a name; -1: no kernels are called that. */
static int kernels_find(const char *suffix)
{
    static const char *const names[] = {
        [OPS_PORTABLE] = ":portable", [OPS_SIMPLE] = ":simple"};

    for (int i = OPS_PORTABLE; i <= OPS_SIMPLE; i++) {
        if (strcmp(suffix, names[i]) == 0)
            return i;
    }
    return -1;
}

static enum status plain_find(const char *name, const struct named **out, struct err *e)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        size_t n = strlen(backends[i].name);

        if (strncmp(name, backends[i].name, n) == 0 &&
            (name[n] == '\0' || kernels_find(name + n) >= 0)) {
            *out = &backends[i];
            return ST_OK;
        }
    }
    return err_set(e, ST_USAGE,
                   "unknown backend '%s', known are ref, cpu and cuda, "
                   "check: before and :portable or :simple behind one of them",
                   name);
}

enum status ops_devices(const char *name, int *out, struct err *e)
{
    const struct named *b;

    TRY(plain_find(name + (prefixed(name) ? sizeof(prefix) - 1 : 0), &b, e));
    if (b->devices)
        return b->devices(out, e);
    *out = 0;
    return ST_OK;
}

static enum status plain_open(const char *name, const struct ops_options *opt,
                              struct ops *out, struct err *e)
{
    struct ops_options chosen = *opt;
    const struct named *b;

    TRY(plain_find(name, &b, e));
    if (name[strlen(b->name)] != '\0')
        chosen.kernels = (enum ops_kernels)kernels_find(name + strlen(b->name));
    return b->open(&chosen, out, e);
}

static enum status named_open(const char *name, const struct ops_options *opt,
                              struct ops *out, struct err *e)
{
    struct ops inner;
    enum status st;

    if (!prefixed(name))
        return plain_open(name, opt, out, e);
    TRY(plain_open(name + sizeof(prefix) - 1, opt, &inner, e));
    st = check_open(&inner, out, e);
    if (st != ST_OK)
        inner.backend->close(inner.self);
    return st;
}

enum status ops_open(const char *name, const struct ops_options *opt, struct ops **out,
                     struct err *e)
{
    static const struct ops_options defaults = {.threads = 0};
    struct ops *ops = malloc(sizeof(*ops));
    enum status st;

    if (!ops)
        return err_set(e, ST_RESOURCE, "no memory for backend '%s'", name);
    TRY_GOTO(st, named_open(name, opt ? opt : &defaults, ops, e), err_free);
    ops->watcher = NULL;
    *out = ops;
    return ST_OK;

err_free:
    free(ops);
    return st;
}

void ops_close(struct ops *ops)
{
    if (!ops)
        return;
    ops->backend->close(ops->self);
    free(ops);
}

const struct ops_facts *ops_facts(const struct ops *ops)
{
    return &ops->backend->facts;
}

const char *ops_machine(const struct ops *ops)
{
    return ops->machine;
}

void ops_watch(struct ops *ops, const struct ops_watcher *w)
{
    ops->watcher = w;
}

/* ---- memory and queues ----------------------------------------------------------- */

enum status ops_mem_alloc(struct ops *ops, size_t bytes, void **out, struct err *e)
{
    return ops->backend->mem_alloc(ops->self, bytes, out, e);
}

void ops_mem_free(struct ops *ops, void *p)
{
    if (p)
        ops->backend->mem_free(ops->self, p);
}

enum status ops_pinned_alloc(struct ops *ops, size_t bytes, void **out, struct err *e)
{
    return ops->backend->pinned_alloc(ops->self, bytes, out, e);
}

void ops_pinned_free(struct ops *ops, void *p)
{
    if (p)
        ops->backend->pinned_free(ops->self, p);
}

size_t ops_mem_left(const struct ops *ops)
{
    return ops->backend->mem_left(ops->self);
}

enum status ops_queue_open(struct ops *ops, void *workspace, size_t bytes,
                           struct queue **out, struct err *e)
{
    return ops->backend->queue_open(ops->self, workspace, bytes, out, e);
}

void ops_queue_close(struct ops *ops, struct queue *q)
{
    if (q)
        ops->backend->queue_close(ops->self, q);
}

enum status ops_queue_wait(struct ops *ops, struct queue *q, struct err *e)
{
    return ops->backend->queue_wait(ops->self, q, e);
}

enum status ops_event_open(struct ops *ops, struct event **out, struct err *e)
{
    return ops->backend->event_open(ops->self, out, e);
}

void ops_event_close(struct ops *ops, struct event *ev)
{
    if (ev)
        ops->backend->event_close(ops->self, ev);
}

enum status ops_event_record(struct ops *ops, struct queue *q, struct event *ev,
                             struct err *e)
{
    return ops->backend->event_record(ops->self, q, ev, e);
}

enum status ops_event_await(struct ops *ops, struct queue *q, struct event *ev,
                            struct err *e)
{
    return ops->backend->event_await(ops->self, q, ev, e);
}

enum status ops_event_wait(struct ops *ops, struct event *ev, struct err *e)
{
    return ops->backend->event_wait(ops->self, ev, e);
}

enum status ops_copy(struct ops *ops, struct queue *q, const struct tensor *dst,
                     const struct tensor *src, struct err *e)
{
    struct op_copy seen = {dst, src};

    TRY(copy_check(dst, src, e));
    if (tensor_count(src) == 0)
        return ST_OK;
    if (!ops->watcher)
        return ops->backend->copy(ops->self, q, dst, src, e);
    TRY(ops->watcher->begin(ops->watcher->self, q, "copy", &seen, e));
    TRY(ops->backend->copy(ops->self, q, dst, src, e));
    return ops->watcher->end(ops->watcher->self, q, "copy", &seen, e);
}

/* ---- ways of products ------------------------------------------------------------ */

enum status ops_linear_ways(struct ops *ops, const struct op_linear *a,
                            struct linear_way *ways, int most, int *n, struct err *e)
{
    *n = 0;
    if (!ops->backend->linear_ways)
        return ST_OK;
    return ops->backend->linear_ways(ops->self, a, ways, most, n, e);
}

enum status ops_linear_take(struct ops *ops, const struct op_linear *a,
                            const struct linear_way *way, struct err *e)
{
    if (!ops->backend->linear_take)
        return err_set(e, ST_INPUT, "backend '%s' has one way of a product",
                       ops_facts(ops)->name);
    return ops->backend->linear_take(ops->self, a, way, e);
}

/* ---- planning -------------------------------------------------------------------- */

size_t ops_linear_workspace(const struct ops *ops, const struct op_linear *a)
{
    return ops->backend->linear_workspace(ops->self, a);
}

size_t ops_conv_workspace(const struct ops *ops, const struct op_conv *a)
{
    return ops->backend->conv_workspace(ops->self, a);
}

size_t ops_attention_workspace(const struct ops *ops, const struct op_attention *a)
{
    return ops->backend->attention_workspace(ops->self, a);
}

/* ---- the ops --------------------------------------------------------------------- */

#define OPS_CALL(op)                                                                \
    enum status ops_##op(struct ops *ops, struct queue *q, const struct op_##op *a, \
                         struct err *e)                                             \
    {                                                                               \
        const struct ops_watcher *w = ops->watcher;                                 \
                                                                                    \
        TRY(op##_check(&ops->backend->facts, a, e));                                \
        if (!w)                                                                     \
            return ops->backend->op(ops->self, q, a, e);                            \
        TRY(w->begin(w->self, q, #op, a, e));                                       \
        TRY(ops->backend->op(ops->self, q, a, e));                                  \
        return w->end(w->self, q, #op, a, e);                                       \
    }
OPS_LIST(OPS_CALL)
#undef OPS_CALL
