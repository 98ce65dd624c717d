/* convert.c - copies between types, table rows, time sinusoids, patch order */
#include <math.h>

#include "kernels/base/rng.h"
#include "kernels/ref/ref.h"

static float plain_value(const void *ctx, int64_t row, int64_t col)
{
    return ref_value(ctx, row, col);
}

/* Storage offset of the i-th element in row-major order. */
static int64_t offset_of(const struct tensor *t, int64_t i)
{
    int64_t at = 0;

    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return at;
}

enum status convert_ref(void *self, struct queue *q, const struct op_convert *a,
                        struct err *e)
{
    const struct tensor *dst = a->dst, *src = a->src;
    int64_t n = tensor_count(src);

    (void)self;
    (void)q;
    (void)e;
    if (is_code(dst->dtype)) {
        for (int64_t r = 0; r < src->shape[0]; r++)
            ref_emit(dst, r, plain_value, src);
        return ST_OK;
    }
    for (int64_t i = 0; i < n; i++)
        dtype_convert(ref_at(dst, offset_of(dst, i)), dst->dtype,
                      ref_at(src, offset_of(src, i)), src->dtype, 1);
    return ST_OK;
}

enum status rows_ref(void *self, struct queue *q, const struct op_rows *a,
                     struct err *e)
{
    const struct tensor *out = a->out, *table = a->table;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t i = 0; i < out->shape[0]; i++) {
        int64_t id = ((const int32_t *)a->ids->data)[i];

        for (int64_t c = 0; c < out->shape[1]; c++)
            ref_store(out, i * out->stride[0] + c,
                      ref_load(table, id * table->stride[0] + c));
    }
    return ST_OK;
}

enum status sinusoid_ref(void *self, struct queue *q, const struct op_sinusoid *a,
                         struct err *e)
{
    int64_t half = a->out->shape[1] / 2;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t f = 0; f < a->out->shape[0]; f++) {
        double t = (double)ref_load(a->t, f);
        int64_t at = f * a->out->stride[0];

        for (int64_t i = 0; i < half; i++) {
            double angle = t * pow(10000.0, -(double)i / (double)half);

            ref_store(a->out, at + i, (float)cos(angle));
            ref_store(a->out, at + half + i, (float)sin(angle));
        }
    }
    return ST_OK;
}

enum status unpatch_ref(void *self, struct queue *q, const struct op_unpatch *a,
                        struct err *e)
{
    int64_t channels = a->x->shape[1] / 4;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->x->shape[0]; r++) {
        for (int64_t ij = 0; ij < 4; ij++) {
            for (int64_t c = 0; c < channels; c++)
                ref_store(a->out, r * a->out->stride[0] + c * 4 + ij,
                          ref_load(a->x, r * a->x->stride[0] + ij * channels + c));
        }
    }
    return ST_OK;
}

enum { NORMAL_CHUNK = 256 };

enum status normal_ref(void *self, struct queue *q, const struct op_normal *a,
                       struct err *e)
{
    int64_t n = tensor_count(a->out);
    float v[NORMAL_CHUNK];

    (void)self;
    (void)q;
    (void)e;
    for (int64_t at = 0; at < n; at += NORMAL_CHUNK) {
        int64_t count = n - at < NORMAL_CHUNK ? n - at : NORMAL_CHUNK;

        noise_philox(a->seed, a->stream, a->first + (uint64_t)at, (size_t)count, v);
        for (int64_t i = 0; i < count; i++)
            ref_store(a->out, at + i, a->mean + a->std * v[i]);
    }
    return ST_OK;
}
