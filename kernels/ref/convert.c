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

/* The rule of weight_code.h from the plain conversions. */
static void quantise_row_ref(const struct op_quantise *a, int64_t row, bool spoilt,
                             float top)
{
    bool e4m3 = a->dst->dtype == DT_E4M3;
    float scale = (!spoilt && top > 1e-5f ? top : 1e-5f) / (e4m3 ? 448.0f : 127.0f);
    int64_t cols = a->dst->shape[1];

    for (int64_t c = 0; c < cols; c++) {
        float v = spoilt ? 0.0f : ref_load(a->src, row * cols + c) / scale;
        uint8_t *to = ref_at(a->dst, row * cols + c);

        *to = e4m3 ? f32_to_e4m3(v) : (uint8_t)f32_to_i8(v);
    }
    a->dst->scales.data[row] = scale;
}

enum status quantise_ref(void *self, struct queue *q, const struct op_quantise *a,
                         struct err *e)
{
    int64_t *first = a->spoilt->data, cols = a->src->shape[1];

    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->src->shape[0]; r++) {
        bool spoilt = false;
        float top = 0.0f;

        for (int64_t c = 0; c < cols; c++) {
            float v = ref_load(a->src, r * cols + c);

            spoilt = spoilt || !isfinite(v);
            top = absmax_of(top, v);
        }
        if (spoilt && a->first_row + r < *first)
            *first = a->first_row + r;
        quantise_row_ref(a, r, spoilt, top);
    }
    return ST_OK;
}
