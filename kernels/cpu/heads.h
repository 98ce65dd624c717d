/* heads.h - what the ops around attention share: normed rows and scattered heads */
#ifndef KERNELS_CPU_HEADS_H
#define KERNELS_CPU_HEADS_H

#include "kernels/ops.h"

/* How a raw q or k row becomes the values that op_heads writes. */
struct head_source {
    const struct tensor *y;
    const struct tensor *weight; /* or NULL: no norm */
    const struct rope *rope;     /* or NULL */
    const struct tensor *mean_acc, *mean_count;
    float eps;
    int head_dim;
    int64_t first_token;
};

/* 1 / sqrt(mean of squares + eps) of a row, or 1 when there is no norm. */
float head_row_factor(const struct head_source *s, int64_t row);

/* Values [col, col + n) of a row: pending, norm, rope, mean. col and n are even. */
void head_values(const struct head_source *s, int64_t row, float factor, int64_t col,
                 int64_t n, float *v);

#endif
