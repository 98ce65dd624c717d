/* cpu.h - what the files of the fast CPU backend share
 *
 * Work on a queue is done before the call returns. Each op cuts itself into items that
 * the pool's threads draw; an item's bytes depend on its place alone, so results are
 * the same for any number of threads. Matrix products run on tiles of TILE_ROWS rows,
 * counted from row 0 of the tensor (shards begin at multiples of it), always padded to
 * full height, because a BLAS gives other bytes for the same row when the number of
 * rows changes.
 *
 * Scratch memory comes from the queue's workspace, one slice per thread. Ops without a
 * planning call keep to small buffers on the stack.
 */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include "kernels/cpu/pool.h"
#include "kernels/host.h"

enum { TILE_ROWS = 128 };

struct cpu {
    struct pool *pool;
    int threads;
};

#define OPS_PROTO(op)                                                          \
    enum status op##_cpu(void *self, struct queue *q, const struct op_##op *a, \
                         struct err *e);
OPS_LIST(OPS_PROTO)
#undef OPS_PROTO

size_t linear_workspace_cpu(const void *self, const struct op_linear *a);
size_t conv_workspace_cpu(const void *self, const struct op_conv *a);
size_t attention_workspace_cpu(const void *self, const struct op_attention *a);

/* The scratch slice of `worker`; `bytes` is what each thread needs, a multiple of
 * ARENA_ALIGN. ST_RESOURCE when the workspace of the queue is too small for all. */
enum status scratch_check(const struct cpu *cpu, const struct queue *q, size_t bytes,
                          struct err *e);
void *scratch_of(const struct queue *q, size_t bytes, int worker);

/* Run fn over `rows` rows in items of a few rows each, about `row_work` elements of
 * work per row; small jobs stay on the calling thread. */
typedef void rows_fn(const void *ctx, int64_t row);
void rows_run(const struct cpu *cpu, int64_t rows, int64_t row_work, rows_fn *fn,
              const void *ctx);

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
