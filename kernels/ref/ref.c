/* ref.c - the reference backend: memory, queues and the table of its ops */
#include "kernels/ref/ref.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory ---------------------------------------------------------------------- */

static enum status ref_mem_alloc(void *self, size_t bytes, void **out, struct err *e)
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

static void ref_mem_free(void *self, void *p)
{
    (void)self;
    free(p);
}

static enum status ref_copy(void *self, struct queue *q, const struct tensor *dst,
                            const struct tensor *src, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    memcpy(dst->data, src->data, (size_t)tensor_count(src) * dtype_bytes(src->dtype));
    return ST_OK;
}

/* ---- queues and events: everything is done when the call returns ---------------- */

static enum status ref_queue_open(void *self, void *workspace, size_t bytes,
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

static void ref_queue_close(void *self, struct queue *q)
{
    (void)self;
    free(q);
}

static enum status ref_queue_wait(void *self, struct queue *q, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    return ST_OK;
}

static enum status ref_event_open(void *self, struct event **out, struct err *e)
{
    void *p = malloc(1);

    (void)self;
    if (!p)
        return err_set(e, ST_RESOURCE, "no memory for an event");
    *out = p;
    return ST_OK;
}

static void ref_event_close(void *self, struct event *ev)
{
    (void)self;
    free(ev);
}

static enum status ref_event_pass(void *self, struct queue *q, struct event *ev,
                                  struct err *e)
{
    (void)self;
    (void)q;
    (void)ev;
    (void)e;
    return ST_OK;
}

/* ---- the table ------------------------------------------------------------------- */

static void ref_close(void *self)
{
    (void)self;
}

static const struct backend ref_backend = {
    .facts = {.name = "ref",
              .space = MEM_HOST,
              .granule_tokens = 128,
              .operand_dtypes = 1u << DT_F32 | 1u << DT_BF16 | 1u << DT_E4M3 |
                                1u << DT_I8},
    .close = ref_close,
    .mem_alloc = ref_mem_alloc,
    .mem_free = ref_mem_free,
    .queue_open = ref_queue_open,
    .queue_close = ref_queue_close,
    .queue_wait = ref_queue_wait,
    .event_open = ref_event_open,
    .event_close = ref_event_close,
    .event_record = ref_event_pass,
    .event_await = ref_event_pass,
    .copy = ref_copy,
    .linear_workspace = linear_workspace_ref,
    .conv_workspace = conv_workspace_ref,
    .attention_workspace = attention_workspace_ref,
#define REF_FILL(op) .op = op##_ref,
    OPS_LIST(REF_FILL)
#undef REF_FILL
};

enum status ref_open(const struct ops_options *opt, struct ops *out, struct err *e)
{
    (void)opt;
    (void)e;
    out->backend = &ref_backend;
    out->self = NULL;
    return ST_OK;
}
