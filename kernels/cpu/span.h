/* span.h - runs of consecutive elements: decode to f32, encode from f32, quantise
 *
 * Every op reads and writes through these, so a stored type is handled in one place.
 * The conversions give exactly the codes of kernels/base/dtype.h, many at a time.
 * Offsets and counts are elements.
 */
#ifndef KERNELS_CPU_SPAN_H
#define KERNELS_CPU_SPAN_H

#include <stdint.h>

#include "kernels/tensor.h"

/* Address of element `at` of an array of `dt`. */
void *span_at(const void *base, enum dtype dt, int64_t at);

/* Decode n elements of f32, bf16, f16, f64, e4m3, e5m2 or i8 (codes, no scales). */
void span_load(const void *src, enum dtype dt, int64_t n, float *out);

/* Encode to f32, bf16 or f16, rounding to nearest even. */
void span_store(void *dst, enum dtype dt, int64_t n, const float *v);

/* Largest magnitude, at least `floor`. NaN is passed over. */
float span_absmax(const float *v, int64_t n, float floor);

/* The scale of an operand row or group whose largest magnitude is `absmax`, and its
 * codes, v / scale rounded (ops.h gives the rule). dt: e4m3 or i8. */
float span_quant_scale(enum dtype dt, float absmax);
void span_quant(void *dst, enum dtype dt, int64_t n, const float *v, float scale);

/* v[i] *= f */
void span_scale(float *v, int64_t n, float f);

/* Values [col, col + n) of row `row` of a matrix as f32: codes decoded, SCALE_ROW and
 * SCALE_TENSOR scales and everything pending applied, in the order row scale, column
 * scale, bias. */
void span_row(const struct tensor *t, int64_t row, int64_t col, int64_t n, float *out);

#endif
