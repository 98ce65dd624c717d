/* dtype.c - element type table and bit-exact scalar conversions */
#include "kernels/base/dtype.h"

#include <math.h>
#include <string.h>

#include "kernels/base/f32_bits.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[DT_COUNT] = {
    [DT_F32] = {"F32", 4}, [DT_BF16] = {"BF16", 2},    [DT_F16] = {"F16", 2},
    [DT_F64] = {"F64", 8}, [DT_E4M3] = {"F8_E4M3", 1}, [DT_E5M2] = {"F8_E5M2", 1},
    [DT_I8] = {"I8", 1},   [DT_U8] = {"U8", 1},        [DT_I32] = {"I32", 4},
    [DT_I64] = {"I64", 8},
};

size_t dtype_bytes(enum dtype dt)
{
    return dtypes[dt].bytes;
}

const char *dtype_name(enum dtype dt)
{
    return dtypes[dt].name;
}

int dtype_from_name(const char *name, enum dtype *out)
{
    for (int i = 0; i < DT_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = (enum dtype)i;
            return 0;
        }
    }
    return -1;
}

float bf16_to_f32(uint16_t v)
{
    return f32_of_bits((uint32_t)v << 16);
}

uint16_t f32_to_bf16(float v)
{
    uint32_t u = f32_bits(v);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* Decode a small float with `mant` fraction bits and exponent bias `bias`; the
 * caller has dealt with infinities and NaN. */
static float small_decode(uint32_t v, int exp_bits, int mant, int bias)
{
    uint32_t sign = (v >> (exp_bits + mant)) & 1u;
    uint32_t e = (v >> mant) & ((1u << exp_bits) - 1u);
    uint32_t m = v & ((1u << mant) - 1u);
    uint32_t unit = (uint32_t)(128 - bias - mant) << 23; /* 2^(1 - bias - mant) */
    float mag = e ? f32_of_bits(((e + 127u - (uint32_t)bias) << 23) |
                                (m << (23 - mant)))
                  : (float)m * f32_of_bits(unit);

    return sign ? -mag : mag;
}

/* Code of the magnitude `a` (finite, >= 0) rounded to nearest even; the result may
 * run past the largest finite code, which the caller clamps. */
static uint32_t small_encode(float a, int mant, int bias)
{
    int e;
    float scaled;

    if (a == 0.0f)
        return 0;
    (void)frexpf(a, &e);
    e -= 1;
    if (e < 1 - bias)
        e = 1 - bias;
    scaled = rintf(ldexpf(a, mant - e));
    return (uint32_t)((e + bias - 1) << mant) + (uint32_t)scaled;
}

float f16_to_f32(uint16_t v)
{
    if ((v & 0x7c00u) == 0x7c00u) {
        float mag = (v & 0x3ffu) ? NAN : INFINITY;

        return (v & 0x8000u) ? -mag : mag;
    }
    return small_decode(v, 5, 10, 15);
}

uint16_t f32_to_f16(float v)
{
    uint16_t sign = (uint16_t)((f32_bits(v) >> 16) & 0x8000u);
    float a = fabsf(v);
    uint32_t code;

    if (isnan(v))
        return (uint16_t)(sign | 0x7e00u);
    if (isinf(v))
        return (uint16_t)(sign | 0x7c00u);
    code = a > 65536.0f ? 0x7c00u : small_encode(a, 10, 15);
    return (uint16_t)(sign | (code > 0x7c00u ? 0x7c00u : code));
}

float e4m3_to_f32(uint8_t v)
{
    if ((v & 0x7fu) == 0x7fu)
        return NAN;
    return small_decode(v, 4, 3, 7);
}

uint8_t f32_to_e4m3(float v)
{
    uint8_t sign = (uint8_t)((f32_bits(v) >> 24) & 0x80u);
    float a = fabsf(v);
    uint32_t code;

    if (isnan(v))
        return (uint8_t)(sign | 0x7fu);
    code = a >= 448.0f ? 0x7eu : small_encode(a, 3, 7);
    return (uint8_t)(sign | code);
}

float e5m2_to_f32(uint8_t v)
{
    if ((v & 0x7cu) == 0x7cu) {
        float mag = (v & 3u) ? NAN : INFINITY;

        return (v & 0x80u) ? -mag : mag;
    }
    return small_decode(v, 5, 2, 15);
}

uint8_t f32_to_e5m2(float v)
{
    uint8_t sign = (uint8_t)((f32_bits(v) >> 24) & 0x80u);
    float a = fabsf(v);
    uint32_t code;

    if (isnan(v))
        return (uint8_t)(sign | 0x7fu);
    code = a >= 57344.0f ? 0x7bu : small_encode(a, 2, 15);
    return (uint8_t)(sign | code);
}

int8_t f32_to_i8(float v)
{
    float r = rintf(v);

    if (!(r > -127.0f))
        return -127;
    return r > 127.0f ? 127 : (int8_t)r;
}

static double element_load(const void *p, enum dtype dt, size_t i)
{
    switch (dt) {
    case DT_F32:
        return ((const float *)p)[i];
    case DT_BF16:
        return bf16_to_f32(((const uint16_t *)p)[i]);
    case DT_F16:
        return f16_to_f32(((const uint16_t *)p)[i]);
    case DT_F64:
        return ((const double *)p)[i];
    case DT_E4M3:
        return e4m3_to_f32(((const uint8_t *)p)[i]);
    case DT_E5M2:
        return e5m2_to_f32(((const uint8_t *)p)[i]);
    case DT_I8:
        return ((const int8_t *)p)[i];
    case DT_U8:
        return ((const uint8_t *)p)[i];
    case DT_I32:
        return ((const int32_t *)p)[i];
    default:
        return (double)((const int64_t *)p)[i];
    }
}

static void element_store(void *p, enum dtype dt, size_t i, double v)
{
    switch (dt) {
    case DT_F32:
        ((float *)p)[i] = (float)v;
        break;
    case DT_BF16:
        ((uint16_t *)p)[i] = f32_to_bf16((float)v);
        break;
    case DT_F16:
        ((uint16_t *)p)[i] = f32_to_f16((float)v);
        break;
    case DT_F64:
        ((double *)p)[i] = v;
        break;
    case DT_E4M3:
        ((uint8_t *)p)[i] = f32_to_e4m3((float)v);
        break;
    case DT_E5M2:
        ((uint8_t *)p)[i] = f32_to_e5m2((float)v);
        break;
    case DT_I8:
        ((int8_t *)p)[i] = f32_to_i8((float)v);
        break;
    case DT_U8:
        ((uint8_t *)p)[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : rint(v));
        break;
    case DT_I32:
        ((int32_t *)p)[i] = (int32_t)v;
        break;
    default:
        ((int64_t *)p)[i] = (int64_t)v;
        break;
    }
}

void dtype_convert(void *dst, enum dtype dst_type, const void *src, enum dtype src_type,
                   size_t n)
{
    if (dst_type == src_type) {
        memcpy(dst, src, n * dtype_bytes(src_type));
        return;
    }
    if (src_type == DT_BF16 && dst_type == DT_F32) {
        for (size_t i = 0; i < n; i++)
            ((float *)dst)[i] = bf16_to_f32(((const uint16_t *)src)[i]);
        return;
    }
    for (size_t i = 0; i < n; i++)
        element_store(dst, dst_type, i, element_load(src, src_type, i));
}
