/* cpu.c - the fast CPU backend: its state, scratch and table of ops */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/blas.h"

enum { ROW_WORK_MIN = 1 << 14 }; /* elements worth waking a thread for */

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
              .busy_tokens = TILE_ROWS,
              .operand_dtypes = 1u << DT_F32 | 1u << DT_BF16 | 1u << DT_E4M3 |
                                1u << DT_I8},
    .close = cpu_close,
    HOST_SLOTS,
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
    blas_name(out->machine, sizeof(out->machine));
    out->backend = &cpu_backend;
    out->self = cpu;
    return ST_OK;

err_free:
    free(cpu);
    return st;
}
