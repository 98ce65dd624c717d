/* stats.h - what a norm needs to know about a row, summed in double */
#ifndef KERNELS_CPU_STATS_H
#define KERNELS_CPU_STATS_H

#include "kernels/ops.h"

struct row_stats {
    float mean;   /* taken off first; 0 but for NORM_LAYER */
    float factor; /* then multiplied by this */
};

/* Statistics of row `row` of x, pending included. */
struct row_stats stats_of_row(const struct tensor *x, int64_t row, enum norm_kind kind,
                              float eps);

/* v[i] = (v[i] - mean) * factor */
void stats_apply(const struct row_stats *s, float *v, int64_t n);

#endif
