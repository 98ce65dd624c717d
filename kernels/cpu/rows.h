/* rows.h - writing a row that is computed piece by piece
 *
 * Ops without a workspace never hold more than ROW_CHUNK values of a row. An 8-bit row
 * needs its largest magnitude before its first code: a row longer than ROW_CHUNK is
 * then computed twice, which gives the same values both times.
 */
#ifndef KERNELS_CPU_ROWS_H
#define KERNELS_CPU_ROWS_H

#include <stdint.h>

#include "kernels/ops.h"

enum { ROW_CHUNK = 4096 };

/* Compute values [col, col + n) of a row into v; n <= ROW_CHUNK. */
typedef void rows_values_fn(const void *ctx, int64_t row, int64_t col, int64_t n,
                            float *v);

/* Write row `row` of `out` [rows, cols]: a float tensor, or codes and their scale. */
void rows_emit(const struct tensor *out, int64_t row, rows_values_fn *fn,
               const void *ctx);

/* The frame of a row of a shard: 0 when the table has one row. */
int64_t rows_frame(const struct tensor *table, int64_t row, int64_t first_token,
                   int64_t tokens_per_frame);

/* v[i] = act(v[i]) */
void act_apply(enum act_kind act, float *v, int64_t n);

#endif
