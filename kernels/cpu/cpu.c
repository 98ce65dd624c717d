/* cpu.c - the fast CPU backend: its state, memory, queues and table of ops */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/blas.h"

enum { ROW_WORK_MIN = 1 << 14 }; /* elements worth waking a thread for */

/* ---- memory ------------------------------------------------------------------- */

static enum status cpu_mem_alloc(void *self, size_t bytes, void **out, struct err *e)
{
    size_t padded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    void *p;

    (void)self;
    if (padded < bytes)
        return err_set(e, ST_RESOURCE, "cannot allocate %zu bytes", bytes);
    p = aligned_alloc(ARENA_ALIGN, padded ? padded : ARENA_ALIGN);
    if (!p)
        return err_set(e, ST_RESOURCE, "cannot allocate %.1f MiB of host memory",
                       (double)bytes / 1048576.0);
    *out = p;
    return ST_OK;
}

static void cpu_mem_free(void *self, void *p)
{
    (void)self;
    free(p);
}

/* ---- queues and events: everything is done when the call returns -------------- */

static enum status cpu_queue_open(void *self, void *workspace, size_t bytes,
                                  struct queue **out, struct err *e)
{
    struct queue *q = calloc(1, sizeof(*q));

    (void)self;
    if (!q)
        return err_set(e, ST_RESOURCE, "no memory for a queue");
    q->workspace = workspace;
    q->bytes = bytes;
    *out = q;
    return ST_OK;
}

static void cpu_queue_close(void *self, struct queue *q)
{
    (void)self;
    free(q);
}

static enum status cpu_queue_wait(void *self, struct queue *q, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    return ST_OK;
}

static enum status cpu_event_open(void *self, struct event **out, struct err *e)
{
    void *p = malloc(1);

    (void)self;
    if (!p)
        return err_set(e, ST_RESOURCE, "no memory for an event");
    *out = p;
    return ST_OK;
}

static void cpu_event_close(void *self, struct event *ev)
{
    (void)self;
    free(ev);
}

static enum status cpu_event_pass(void *self, struct queue *q, struct event *ev,
                                  struct err *e)
{
    (void)self;
    (void)q;
    (void)ev;
    (void)e;
    return ST_OK;
}

static enum status cpu_copy(void *self, struct queue *q, const struct tensor *dst,
                            const struct tensor *src, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    memcpy(dst->data, src->data, (size_t)tensor_count(src) * dtype_bytes(src->dtype));
    return ST_OK;
}

/* ---- scratch and rows --------------------------------------------------------- */

enum status scratch_check(const struct cpu *cpu, const struct queue *q, size_t bytes,
                          struct err *e)
{
    size_t all = bytes * (size_t)cpu->threads;

    if (all > q->bytes)
        return err_set(e, ST_RESOURCE, "workspace of %zu bytes is too small, need %zu",
                       q->bytes, all);
    return ST_OK;
}

void *scratch_of(const struct queue *q, size_t bytes, int worker)
{
    return q->workspace ? q->workspace + bytes * (size_t)worker : NULL;
}

struct rows_job {
    rows_fn *fn;
    const void *ctx;
    int64_t rows, per_item;
};

static void rows_item(void *ctx, int64_t item, int worker)
{
    const struct rows_job *j = ctx;
    int64_t begin = item * j->per_item;
    int64_t end = min_i64(begin + j->per_item, j->rows);

    (void)worker;
    for (int64_t r = begin; r < end; r++)
        j->fn(j->ctx, r);
}

void rows_run(const struct cpu *cpu, int64_t rows, int64_t row_work, rows_fn *fn,
              const void *ctx)
{
    int64_t per_item = ceil_div(ROW_WORK_MIN, row_work > 0 ? row_work : 1);
    struct rows_job j = {fn, ctx, rows, per_item};

    pool_run(cpu->pool, ceil_div(rows, per_item), rows_item, &j);
}

/* ---- the table ---------------------------------------------------------------- */

static void cpu_close(void *self)
{
    struct cpu *cpu = self;

    pool_destroy(cpu->pool);
    free(cpu);
}

static const struct backend cpu_backend = {
    .facts = {.name = "cpu",
              .space = MEM_HOST,
              .granule_tokens = TILE_ROWS,
              .operand_dtypes = 1u << DT_F32 | 1u << DT_BF16 | 1u << DT_E4M3 |
                                1u << DT_I8},
    .close = cpu_close,
    .mem_alloc = cpu_mem_alloc,
    .mem_free = cpu_mem_free,
    .queue_open = cpu_queue_open,
    .queue_close = cpu_queue_close,
    .queue_wait = cpu_queue_wait,
    .event_open = cpu_event_open,
    .event_close = cpu_event_close,
    .event_record = cpu_event_pass,
    .event_await = cpu_event_pass,
    .copy = cpu_copy,
    .linear_workspace = linear_workspace_cpu,
    .conv_workspace = conv_workspace_cpu,
    .attention_workspace = attention_workspace_cpu,
#define OPS_FILL(op) .op = op##_cpu,
    OPS_LIST(OPS_FILL)
#undef OPS_FILL
};

enum status cpu_open(const struct ops_options *opt, struct ops *out, struct err *e)
{
    struct cpu *cpu = calloc(1, sizeof(*cpu));
    enum status st;

    if (!cpu)
        return err_set(e, ST_RESOURCE, "no memory for the cpu backend");
    TRY_GOTO(st, pool_create(opt ? opt->threads : 0, &cpu->pool, e), err_free);
    cpu->threads = pool_threads(cpu->pool);
    blas_threads(1);
    out->backend = &cpu_backend;
    out->self = cpu;
    return ST_OK;

err_free:
    free(cpu);
    return st;
}
