/* dtype.h - element types, their sizes and names, and exact scalar conversion
 *
 * Conversions to narrower types round to nearest, ties to even. e4m3 is the "fn"
 * format (no infinity, largest 448) and saturates, as the hardware conversion does;
 * e5m2 saturates too (largest 57344). NaN stays NaN. int8 codes are clamped to
 * -127..127.
 */
#ifndef KERNELS_BASE_DTYPE_H
#define KERNELS_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dtype {
    DT_F32,
    DT_BF16,
    DT_F16,
    DT_F64,
    DT_E4M3,
    DT_E5M2,
    DT_I8,
    DT_U8,
    DT_I32,
    DT_I64,
    DT_COUNT
};

/* Bytes of one element. */
size_t dtype_bytes(enum dtype dt);

/* Name as safetensors writes it: "F32", "BF16", "F8_E4M3" … */
const char *dtype_name(enum dtype dt);

/* Find the type with this safetensors name; returns 0 and sets *out, or -1. */
int dtype_from_name(const char *name, enum dtype *out);

float bf16_to_f32(uint16_t v);
uint16_t f32_to_bf16(float v);
float f16_to_f32(uint16_t v);
uint16_t f32_to_f16(float v);
float e4m3_to_f32(uint8_t v);
uint8_t f32_to_e4m3(float v);
float e5m2_to_f32(uint8_t v);
uint8_t f32_to_e5m2(float v);
int8_t f32_to_i8(float v);

/* Convert `n` consecutive elements between any two element types, through double
 * where a type is wider than float. `dst` and `src` must not overlap. */
void dtype_convert(void *dst, enum dtype dst_type, const void *src, enum dtype src_type,
                   size_t n);

#endif
