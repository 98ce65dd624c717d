/* host.c - memory and queues without waiting, for backends on the host */
#include "kernels/host.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/base/memory.h"

/* ---- memory ---------------------------------------------------------------------- */

enum status host_mem_alloc(void *self, size_t bytes, void **out, struct err *e)
{
    size_t padded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    void *p = NULL;

    (void)self;
    if (padded >= bytes)
        p = aligned_alloc(ARENA_ALIGN, padded ? padded : ARENA_ALIGN);
    if (!p)
        return err_set(e, ST_RESOURCE, "cannot allocate %.1f MiB of host memory",
                       (double)bytes / 1048576.0);
    *out = p;
    return ST_OK;
}

void host_mem_free(void *self, void *p)
{
    (void)self;
    free(p);
}

/* Whole pages, so that reading into them needs no second copy either. */
enum status host_pinned_alloc(void *self, size_t bytes, void **out, struct err *e)
{
    enum { PAGE = 4096 };
    void *p = NULL;

    (void)self;
    if (bytes <= SIZE_MAX - PAGE)
        p = aligned_alloc(PAGE, bytes / PAGE * PAGE + PAGE);
    if (!p)
        return err_set(e, ST_RESOURCE, "cannot allocate %.1f MiB of host memory",
                       (double)bytes / 1048576.0);
    *out = p;
    return ST_OK;
}

void host_pinned_free(void *self, void *p)
{
    (void)self;
    free(p);
}

size_t host_mem_left(const void *self)
{
    (void)self;
    return memory_available();
}

enum status host_copy(void *self, struct queue *q, const struct tensor *dst,
                      const struct tensor *src, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    memcpy(dst->data, src->data, (size_t)tensor_count(src) * dtype_bytes(src->dtype));
    return ST_OK;
}

/* ---- queues and events: everything is done when the call returns ---------------- */

enum status host_queue_open(void *self, void *workspace, size_t bytes,
                            struct queue **out, struct err *e)
{
    struct queue *q = malloc(sizeof(*q));

    (void)self;
    if (!q)
        return err_set(e, ST_RESOURCE, "no memory for a queue");
    q->workspace = workspace;
    q->bytes = bytes;
    *out = q;
    return ST_OK;
}

void host_queue_close(void *self, struct queue *q)
{
    (void)self;
    free(q);
}

enum status host_queue_wait(void *self, struct queue *q, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    return ST_OK;
}

enum status host_event_open(void *self, struct event **out, struct err *e)
{
    void *p = malloc(1);

    (void)self;
    if (!p)
        return err_set(e, ST_RESOURCE, "no memory for an event");
    *out = p;
    return ST_OK;
}

void host_event_close(void *self, struct event *ev)
{
    (void)self;
    free(ev);
}

enum status host_event_pass(void *self, struct queue *q, struct event *ev,
                            struct err *e)
{
    (void)self;
    (void)q;
    (void)ev;
    (void)e;
    return ST_OK;
}

enum status host_event_wait(void *self, struct event *ev, struct err *e)
{
    (void)self;
    (void)ev;
    (void)e;
    return ST_OK;
}
