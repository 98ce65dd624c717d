/* elem.c - reading and writing single elements, rows and codes */
#include <math.h>

#include "kernels/ref/ref.h"

void *ref_at(const struct tensor *t, int64_t at)
{
    return (char *)t->data + at * (int64_t)dtype_bytes(t->dtype);
}

float ref_load(const struct tensor *t, int64_t at)
{
    float v;

    if (t->dtype == DT_F32)
        return ((const float *)t->data)[at];
    dtype_convert(&v, DT_F32, ref_at(t, at), t->dtype, 1);
    return v;
}

void ref_store(const struct tensor *t, int64_t at, float v)
{
    dtype_convert(ref_at(t, at), t->dtype, &v, DT_F32, 1);
}

double ref_dot(const float *a, const float *b, int64_t n)
{
    double sum[4] = {0.0, 0.0, 0.0, 0.0};
    int64_t i = 0;

    for (; i + 4 <= n; i += 4) {
        for (int l = 0; l < 4; l++)
            sum[l] += (double)a[i + l] * (double)b[i + l];
    }
    for (; i < n; i++)
        sum[0] += (double)a[i] * (double)b[i];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* ---- rows ------------------------------------------------------------------------ */

float ref_value(const struct tensor *t, int64_t row, int64_t col)
{
    const struct pending *p = &t->pending;
    float v = ref_load(t, row * t->stride[0] + col * t->stride[1]);

    if (t->scales.kind == SCALE_ROW)
        v *= t->scales.data[row];
    if (t->scales.kind == SCALE_TENSOR)
        v *= t->scales.data[0];
    if (p->row_scale)
        v *= p->row_scale[row];
    if (p->col_scale)
        v *= p->col_scale[col];
    if (p->bias)
        v += p->bias[col];
    return v;
}

void ref_emit(const struct tensor *out, int64_t row, value_fn *fn, const void *ctx)
{
    int64_t cols = out->shape[1];
    int64_t at = row * out->stride[0];
    float top = 0.0f, scale;

    if (!is_code(out->dtype)) {
        for (int64_t c = 0; c < cols; c++)
            ref_store(out, at + c * out->stride[1], fn(ctx, row, c));
        return;
    }
    for (int64_t c = 0; c < cols; c++)
        top = absmax_of(top, fn(ctx, row, c));
    scale = ref_scale(out->dtype, top);
    for (int64_t c = 0; c < cols; c++)
        ref_code_store(out, at + c * out->stride[1], fn(ctx, row, c), scale);
    out->scales.data[row] = scale;
}

int64_t ref_frame(const struct tensor *table, int64_t row, int64_t first_token,
                  int64_t tokens_per_frame)
{
    return table->shape[0] == 1 ? 0 : (first_token + row) / tokens_per_frame;
}

/* ---- quantising ------------------------------------------------------------------ */

float ref_scale(enum dtype dt, float absmax)
{
    if (dt == DT_E4M3)
        return fmaxf(absmax / 448.0f, 1.0f / (448.0f * 512.0f));
    return fmaxf(absmax / 127.0f, 1e-7f);
}

void ref_code_store(const struct tensor *t, int64_t at, float v, float scale)
{
    if (t->dtype == DT_E4M3)
        *(uint8_t *)ref_at(t, at) = f32_to_e4m3(v / scale);
    else
        *(int8_t *)ref_at(t, at) = f32_to_i8(v / scale);
}
