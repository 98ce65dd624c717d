/* quantise_row.h - one row of a weight matrix to 8-bit codes and a scale
 *
 * By the rule of weight_code.h; the codes are those of f32_to_e4m3 and f32_to_i8.
 */
#ifndef KERNELS_BASE_QUANTISE_ROW_H
#define KERNELS_BASE_QUANTISE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False, and nothing useful in the outputs, when the row holds NaN or infinity. */
bool quantise_row_e4m3(const float *row, size_t n, uint8_t *codes, float *scale);
bool quantise_row_i8(const float *row, size_t n, int8_t *codes, float *scale);

#endif
