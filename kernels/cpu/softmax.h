/* softmax.h - the running softmax of one row of logits, many lanes wide */
#ifndef KERNELS_CPU_SOFTMAX_H
#define KERNELS_CPU_SOFTMAX_H

#include <stdbool.h>
#include <stdint.h>

/* v[i] = (v[i] * factor) * col[i] + bias[i]; col and bias may be NULL. */
void logits_finish(float *v, int64_t n, float factor, const float *col,
                   const float *bias);

/* One row of n logits: raise *max to their largest, replace them by exp(v - *max), and
 * add their sum to *sum after rescaling it. Returns the factor by which everything that
 * was summed before shrinks. `codes`: the results become 448 times that, rounded to
 * e4m3; the sum is of the unrounded ones. *max starts at -FLT_MAX, so that a row whose
 * keys are all masked gives sum 0. */
float softmax_row(float *v, int64_t n, bool codes, float *max, double *sum);

#endif
