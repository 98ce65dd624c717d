/* quantise_row.h - one row of a weight matrix to 8-bit codes and a scale
 *
 * Private to the weight store. The rule is that of quantization-and-attention 1.3.1 and
 * 1.3.2: scale = max(absmax, 1e-5) / 448 or / 127, code = round(w / scale), to nearest,
 * ties to even. The codes are those of f32_to_e4m3 and f32_to_i8.
 */
#ifndef ENGINE_WEIGHTS_QUANTISE_ROW_H
#define ENGINE_WEIGHTS_QUANTISE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False, and nothing useful in the outputs, when the row holds NaN or infinity. */
bool quantise_row_e4m3(const float *row, size_t n, uint8_t *codes, float *scale);
bool quantise_row_i8(const float *row, size_t n, int8_t *codes, float *scale);

#endif
