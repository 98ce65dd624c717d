/* quantise.c - rows of stored weights to codes
 *
 * A row is decoded twice, in pieces: for its largest magnitude, and for its codes. The
 * arithmetic is that of kernels/base/weight_code.h. */
#include "kernels/base/weight_code.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/span.h"

static uint32_t row_most(const struct tensor *src, int64_t at)
{
    uint32_t most = WEIGHT_LEAST;
    float v[ROW_CHUNK];

    for (int64_t c = 0; c < src->shape[1]; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, src->shape[1] - c);

        span_load(span_at(src->data, src->dtype, at + c), src->dtype, n, v);
        for (int64_t i = 0; i < n; i++) {
            uint32_t a = weight_magnitude(v[i]);

            most = a > most ? a : most;
        }
    }
    return most;
}

static void codes_make(enum dtype dt, int64_t n, const float *v, float scale,
                       uint8_t *to)
{
    if (dt == DT_E4M3) {
        for (int64_t i = 0; i < n; i++)
            to[i] = weight_code_e4m3(v[i] / scale);
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = weight_code_i8(v[i] / scale);
    }
}

/* Several threads may have found one. */
static void spoilt_note(int64_t *first, int64_t row)
{
    int64_t there = __atomic_load_n(first, __ATOMIC_RELAXED);

    while (row < there &&
           !__atomic_compare_exchange_n(first, &there, row, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        continue;
}

static void quantise_one(const void *ctx, int64_t row)
{
    const struct op_quantise *a = ctx;
    const struct tensor *src = a->src;
    enum dtype dt = a->dst->dtype;
    int64_t cols = src->shape[1], at = row * cols;
    uint32_t most = row_most(src, at);
    bool spoilt = most >= WEIGHT_INFINITE;
    float v[ROW_CHUNK], scale;

    if (spoilt) {
        most = WEIGHT_LEAST;
        spoilt_note(a->spoilt->data, a->first_row + row);
    }
    scale = dt == DT_E4M3 ? weight_scale_e4m3(most) : weight_scale_i8(most);
    for (int64_t c = 0; c < cols; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, cols - c);

        span_load(span_at(src->data, src->dtype, at + c), src->dtype, n, v);
        for (int64_t i = 0; i < n && spoilt; i++)
            v[i] = 0.0f;
        codes_make(dt, n, v, scale, span_at(a->dst->data, dt, at + c));
    }
    a->dst->scales.data[row] = scale;
}

enum status quantise_cpu(void *self, struct queue *q, const struct op_quantise *a,
                         struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->src->shape[0], 4 * a->src->shape[1], quantise_one, a);
    return ST_OK;
}
