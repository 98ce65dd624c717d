/* values.c - raw v rows -> heads, as floats or as transposed e4m3 blocks
 *
 * Blocks of BLOCK tokens and one head are the items. A transposed block is turned
 * CHANNELS channels at a time in a buffer on the stack.
 */
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/span.h"

enum { BLOCK = 128, CHANNELS = 32, PIECE = 1024 };

struct values_job {
    const struct op_values *a;
    const struct head_part *part;
    int64_t blocks;
};

static void block_copy(const struct values_job *j, int64_t h, int64_t row, int64_t rows)
{
    const struct tensor *t = &j->part->t;
    int64_t dim = j->a->head_dim;
    int64_t col = (j->part->head_begin + h) * dim;
    float v[PIECE];

    for (int64_t r = row; r < row + rows; r++) {
        for (int64_t c = 0; c < dim; c += PIECE) {
            int64_t n = min_i64(PIECE, dim - c);
            int64_t at = h * t->stride[0] + r * t->stride[1] + c;

            span_row(j->a->y, r, col + c, n, v);
            span_store(span_at(t->data, t->dtype, at), t->dtype, n, v);
        }
    }
}

/* Channels [c, c + n) of a block of tokens, zeros past the last row. */
static void block_turn(const struct values_job *j, int64_t h, int64_t row, int64_t rows,
                       int64_t c, int64_t n, float turned[CHANNELS][BLOCK])
{
    int64_t col = (j->part->head_begin + h) * j->a->head_dim + c;
    float v[CHANNELS];

    memset(turned, 0, sizeof(float) * CHANNELS * BLOCK);
    for (int64_t r = 0; r < rows; r++) {
        span_row(j->a->y, row + r, col, n, v);
        for (int64_t i = 0; i < n; i++)
            turned[i][r] = v[i];
    }
}

static void block_quantise(const struct values_job *j, int64_t h, int64_t row,
                           int64_t rows)
{
    const struct tensor *t = &j->part->t;
    int64_t dim = j->a->head_dim;
    float turned[CHANNELS][BLOCK];

    for (int64_t c = 0; c < dim; c += CHANNELS) {
        int64_t n = min_i64(CHANNELS, dim - c);

        block_turn(j, h, row, rows, c, n, turned);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = h * t->stride[0] + (c + i) * t->stride[1] + row;
            float s = span_quant_scale(t->dtype, span_absmax(turned[i], BLOCK, 0.0f));

            t->scales.data[h * t->scales.stride[0] + (c + i) * t->scales.stride[1] +
                           row / BLOCK] = s;
            span_quant(span_at(t->data, t->dtype, at), t->dtype, BLOCK, turned[i], s);
        }
    }
}

static void values_one(const void *ctx, int64_t item)
{
    const struct values_job *j = ctx;
    int64_t s = j->a->y->shape[0];
    int64_t h = item / j->blocks;
    int64_t row = item % j->blocks * BLOCK;
    int64_t rows = row < s ? min_i64(BLOCK, s - row) : 0;

    if (dtype_bytes(j->part->t.dtype) == 1)
        block_quantise(j, h, row, rows);
    else
        block_copy(j, h, row, rows);
}

enum status values_cpu(void *self, struct queue *q, const struct op_values *a,
                       struct err *e)
{
    (void)q;
    (void)e;
    for (int p = 0; p < a->n_parts; p++) {
        const struct head_part *part = &a->parts[p];
        bool codes = dtype_bytes(part->t.dtype) == 1;
        int64_t tokens = codes ? part->t.shape[2] : a->y->shape[0];
        struct values_job j = {a, part, ceil_div(tokens, BLOCK)};

        rows_run(self, part->n_heads * j.blocks, (int64_t)BLOCK * a->head_dim,
                 values_one, &j);
    }
    return ST_OK;
}
