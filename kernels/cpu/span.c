/* span.c - conversions written without branches, so that they run many lanes wide
 *
 * The small formats are decoded and encoded with integer arithmetic on the bits of a
 * float: an e4m3 normal is its code shifted into place plus a new exponent bias; a
 * value below the smallest normal is rounded by adding the power of two whose last
 * bit is the smallest subnormal.
 */
#include "kernels/cpu/span.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/base/f32_bits.h"
#include "kernels/cpu/simd.h"

void *span_at(const void *base, enum dtype dt, int64_t at)
{
    return (char *)base + at * (int64_t)dtype_bytes(dt);
}

/* ---- decoding ----------------------------------------------------------------- */

FF_CLONES static void load_bf16(const uint16_t *restrict s, int64_t n,
                                float *restrict o)
{
    for (int64_t i = 0; i < n; i++)
        o[i] = f32_of_bits((uint32_t)s[i] << 16);
}

FF_CLONES static void load_f16(const uint16_t *restrict s, int64_t n, float *restrict o)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t m = s[i] & 0x7fffu;
        uint32_t sign = (uint32_t)(s[i] & 0x8000u) << 16;
        float sub = (float)(int32_t)m * 0x1p-24f;
        uint32_t bits = (m << 13) + (112u << 23);

        bits = m < 0x0400u ? f32_bits(sub) : bits;
        bits = m >= 0x7c00u ? bits + (112u << 23) : bits;
        bits = m > 0x7c00u ? 0x7fc00000u : bits;
        o[i] = f32_of_bits(bits | sign);
    }
}

FF_CLONES static void load_e4m3(const uint8_t *restrict s, int64_t n, float *restrict o)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t m = s[i] & 0x7fu;
        uint32_t sign = (uint32_t)(s[i] & 0x80u) << 24;
        float sub = (float)(int32_t)m * 0x1p-9f;
        uint32_t bits = (m << 20) + (120u << 23);

        bits = m < 8 ? f32_bits(sub) : bits;
        bits = m == 0x7fu ? 0x7fc00000u : bits;
        o[i] = f32_of_bits(bits | sign);
    }
}

FF_CLONES static void load_i8(const int8_t *restrict s, int64_t n, float *restrict o)
{
    for (int64_t i = 0; i < n; i++)
        o[i] = (float)s[i];
}

void span_load(const void *src, enum dtype dt, int64_t n, float *out)
{
    switch (dt) {
    case DT_F32:
        memcpy(out, src, (size_t)n * sizeof(*out));
        break;
    case DT_BF16:
        load_bf16(src, n, out);
        break;
    case DT_F16:
        load_f16(src, n, out);
        break;
    case DT_E4M3:
        load_e4m3(src, n, out);
        break;
    case DT_I8:
        load_i8(src, n, out);
        break;
    default:
        dtype_convert(out, DT_F32, src, dt, (size_t)n);
        break;
    }
}

/* ---- encoding ----------------------------------------------------------------- */

FF_CLONES static void store_bf16(uint16_t *restrict d, int64_t n,
                                 const float *restrict v)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = f32_bits(v[i]);
        uint32_t r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;

        r = (u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : r;
        d[i] = (uint16_t)r;
    }
}

void span_store(void *dst, enum dtype dt, int64_t n, const float *v)
{
    if (dt == DT_F32)
        memcpy(dst, v, (size_t)n * sizeof(*v));
    else if (dt == DT_BF16)
        store_bf16(dst, n, v);
    else
        dtype_convert(dst, dt, v, DT_F32, (size_t)n);
}

/* ---- quantising --------------------------------------------------------------- */

FF_CLONES float span_absmax(const float *v, int64_t n, float floor)
{
    uint32_t lane[LANES];
    uint32_t top = f32_bits(floor);
    int64_t i = 0;

    for (int l = 0; l < LANES; l++)
        lane[l] = top;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            uint32_t u = f32_bits(v[i + l]) & 0x7fffffffu;

            u = u > 0x7f800000u ? 0 : u;
            lane[l] = u > lane[l] ? u : lane[l];
        }
    }
    for (; i < n; i++) {
        uint32_t u = f32_bits(v[i]) & 0x7fffffffu;

        u = u > 0x7f800000u ? 0 : u;
        lane[0] = u > lane[0] ? u : lane[0];
    }
    for (int l = 0; l < LANES; l++)
        top = lane[l] > top ? lane[l] : top;
    return f32_of_bits(top);
}

float span_quant_scale(enum dtype dt, float absmax)
{
    float s;

    if (dt == DT_E4M3) {
        s = absmax / 448.0f;
        return s > 1.0f / (448.0f * 512.0f) ? s : 1.0f / (448.0f * 512.0f);
    }
    s = absmax / 127.0f;
    return s > 1e-7f ? s : 1e-7f;
}

FF_CLONES static void codes_e4m3(uint8_t *restrict d, int64_t n,
                                 const float *restrict v, float scale)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = f32_bits(v[i] / scale);
        uint32_t a = u & 0x7fffffffu;
        uint32_t sub = f32_bits(f32_of_bits(a) + 0x1p14f) -
                       (uint32_t)((127 + 14) << 23);
        uint32_t code = ((a + 0x7ffffu + ((a >> 20) & 1u)) >> 20) - (120u << 3);

        code = a < ((127u - 6u) << 23) ? sub : code;
        code = a >= 0x43e00000u ? 0x7eu : code;
        code = a > 0x7f800000u ? 0x7fu : code;
        d[i] = (uint8_t)(code | (u >> 24 & 0x80u));
    }
}

FF_CLONES static void codes_i8(int8_t *restrict d, int64_t n, const float *restrict v,
                               float scale)
{
    for (int64_t i = 0; i < n; i++) {
        float r = rintf(v[i] / scale);

        r = r > -127.0f ? r : -127.0f;
        r = r < 127.0f ? r : 127.0f;
        d[i] = (int8_t)(int32_t)r;
    }
}

void span_quant(void *dst, enum dtype dt, int64_t n, const float *v, float scale)
{
    if (dt == DT_E4M3)
        codes_e4m3(dst, n, v, scale);
    else
        codes_i8(dst, n, v, scale);
}

FF_CLONES void span_scale(float *v, int64_t n, float f)
{
    for (int64_t i = 0; i < n; i++)
        v[i] *= f;
}

/* ---- rows with scales and pending --------------------------------------------- */

FF_CLONES static void mul_columns(float *restrict v, int64_t n, const float *restrict f)
{
    for (int64_t i = 0; i < n; i++)
        v[i] *= f[i];
}

FF_CLONES static void add_columns(float *restrict v, int64_t n, const float *restrict f)
{
    for (int64_t i = 0; i < n; i++)
        v[i] += f[i];
}

void span_row(const struct tensor *t, int64_t row, int64_t col, int64_t n, float *out)
{
    const struct pending *p = &t->pending;

    span_load(span_at(t->data, t->dtype, row * t->stride[0] + col), t->dtype, n, out);
    if (t->scales.kind == SCALE_ROW)
        span_scale(out, n, t->scales.data[row]);
    else if (t->scales.kind == SCALE_TENSOR)
        span_scale(out, n, t->scales.data[0]);
    if (p->row_scale)
        span_scale(out, n, p->row_scale[row]);
    if (p->col_scale)
        mul_columns(out, n, p->col_scale + col);
    if (p->bias)
        add_columns(out, n, p->bias + col);
}
