/* small.c - table rows, time embedding, unpatching, solver steps, pixels, normals */
#include <math.h>
#include <string.h>

#include "kernels/base/rng.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"

/* ---- rows --------------------------------------------------------------------- */

static void rows_one(const void *ctx, int64_t i)
{
    const struct op_rows *a = ctx;
    int64_t id = ((const int32_t *)a->ids->data)[i];
    const struct tensor *t = a->table, *out = a->out;
    int64_t d = t->shape[1];
    float v[ROW_CHUNK];

    for (int64_t c = 0; c < d; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, d - c);

        span_load(span_at(t->data, t->dtype, id * t->stride[0] + c), t->dtype, n, v);
        span_store(span_at(out->data, out->dtype, i * out->stride[0] + c), out->dtype,
                   n, v);
    }
}

enum status rows_cpu(void *self, struct queue *q, const struct op_rows *a,
                     struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->ids->shape[0], a->table->shape[1], rows_one, a);
    return ST_OK;
}

/* ---- sinusoid ----------------------------------------------------------------- */

static void sinusoid_one(const void *ctx, int64_t f)
{
    const struct op_sinusoid *a = ctx;
    double t = ((const float *)a->t->data)[f];
    int64_t half = a->out->shape[1] / 2;
    float *out = (float *)a->out->data + f * a->out->stride[0];

    for (int64_t i = 0; i < half; i++) {
        double w = pow(10000.0, -(double)i / (double)half);

        out[i] = (float)cos(t * w);
        out[half + i] = (float)sin(t * w);
    }
}

enum status sinusoid_cpu(void *self, struct queue *q, const struct op_sinusoid *a,
                         struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->out->shape[0], 64 * a->out->shape[1], sinusoid_one, a);
    return ST_OK;
}

/* ---- unpatch ------------------------------------------------------------------ */

static void unpatch_one(const void *ctx, int64_t row)
{
    const struct op_unpatch *a = ctx;
    int64_t c_all = a->x->shape[1] / 4;
    const float *x = (const float *)a->x->data + row * a->x->stride[0];
    float *out = (float *)a->out->data + row * a->out->stride[0];

    for (int64_t ij = 0; ij < 4; ij++) {
        for (int64_t c = 0; c < c_all; c++)
            out[c * 4 + ij] = x[ij * c_all + c];
    }
}

enum status unpatch_cpu(void *self, struct queue *q, const struct op_unpatch *a,
                        struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->x->shape[0], a->x->shape[1], unpatch_one, a);
    return ST_OK;
}

/* ---- combine ------------------------------------------------------------------ */

FF_CLONES static void add_times(float *restrict v, int64_t n, float coef,
                                const float *restrict x)
{
    for (int64_t i = 0; i < n; i++)
        v[i] += coef * x[i];
}

static void combine_one(const void *ctx, int64_t row)
{
    const struct op_combine *a = ctx;
    int64_t f = rows_frame(a->coef, row, a->first_token, a->tokens_per_frame);
    const float *coef = (const float *)a->coef->data + f * a->coef->stride[0];
    int64_t cols = a->out->shape[1];
    float v[ROW_CHUNK];

    for (int64_t c = 0; c < cols; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, cols - c);

        memset(v, 0, (size_t)n * sizeof(*v));
        for (int i = 0; i < a->n; i++) {
            if (coef[i] != 0.0f)
                add_times(v, n, coef[i],
                          (const float *)a->in[i]->data + row * a->in[i]->stride[0] +
                              c);
        }
        memcpy((float *)a->out->data + row * a->out->stride[0] + c, v,
               (size_t)n * sizeof(*v));
    }
}

enum status combine_cpu(void *self, struct queue *q, const struct op_combine *a,
                        struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->out->shape[0], a->n * a->out->shape[1], combine_one, a);
    return ST_OK;
}

/* ---- pixels ------------------------------------------------------------------- */

FF_CLONES static void to_pixels(uint8_t *restrict out, int64_t n,
                                const float *restrict v)
{
    for (int64_t i = 0; i < n; i++) {
        float u = v[i] / 2.0f + 0.5f;

        u = u > 0.0f ? u : 0.0f;
        u = u < 1.0f ? u : 1.0f;
        out[i] = (uint8_t)(int32_t)(u * 255.0f);
    }
}

static void pixels_one(const void *ctx, int64_t chunk)
{
    const struct op_pixels *a = ctx;
    int64_t at = chunk * ROW_CHUNK;
    int64_t n = min_i64(ROW_CHUNK, tensor_count(a->x) - at);
    float v[ROW_CHUNK];

    span_load(span_at(a->x->data, a->x->dtype, at), a->x->dtype, n, v);
    to_pixels((uint8_t *)a->out->data + at, n, v);
}

enum status pixels_cpu(void *self, struct queue *q, const struct op_pixels *a,
                       struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, ceil_div(tensor_count(a->x), ROW_CHUNK), ROW_CHUNK, pixels_one, a);
    return ST_OK;
}

/* ---- normals ------------------------------------------------------------------ */

static void normal_one(const void *ctx, int64_t chunk)
{
    const struct op_normal *a = ctx;
    int64_t at = chunk * ROW_CHUNK;
    int64_t n = min_i64(ROW_CHUNK, tensor_count(a->out) - at);
    float v[ROW_CHUNK];

    noise_philox(a->seed, a->stream, a->first + (uint64_t)at, (size_t)n, v);
    for (int64_t i = 0; i < n; i++)
        v[i] = a->mean + a->std * v[i];
    span_store(span_at(a->out->data, a->out->dtype, at), a->out->dtype, n, v);
}

enum status normal_cpu(void *self, struct queue *q, const struct op_normal *a,
                       struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, ceil_div(tensor_count(a->out), ROW_CHUNK), 64 * ROW_CHUNK,
             normal_one, a);
    return ST_OK;
}
