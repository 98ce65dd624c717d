/* stats.c - sums over a row in LANES double accumulators */
#include "kernels/cpu/stats.h"

#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"

FF_CLONES static double sum_values(const float *v, int64_t n)
{
    double lane[LANES] = {0};
    double sum = 0.0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)v[i + l];
    }
    for (; i < n; i++)
        lane[0] += (double)v[i];
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

FF_CLONES static double sum_squares(const float *v, int64_t n, double mean)
{
    double lane[LANES] = {0};
    double sum = 0.0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            double x = (double)v[i + l] - mean;

            lane[l] += x * x;
        }
    }
    for (; i < n; i++)
        lane[0] += ((double)v[i] - mean) * ((double)v[i] - mean);
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* Sum of (x - mean)^2 over the row, or of x when `plain`. */
static double row_total(const struct tensor *x, int64_t row, bool plain, double mean)
{
    float v[ROW_CHUNK];
    int64_t cols = x->shape[1];
    double sum = 0.0;

    for (int64_t c = 0; c < cols; c += ROW_CHUNK) {
        int64_t n = min_i64(ROW_CHUNK, cols - c);

        span_row(x, row, c, n, v);
        sum += plain ? sum_values(v, n) : sum_squares(v, n, mean);
    }
    return sum;
}

struct row_stats stats_of_row(const struct tensor *x, int64_t row, enum norm_kind kind,
                              float eps)
{
    double d = (double)x->shape[1];
    double mean = 0.0, squares, norm;

    if (kind == NORM_LAYER)
        mean = row_total(x, row, true, 0.0) / d;
    squares = row_total(x, row, false, mean);
    if (kind != NORM_L2)
        return (struct row_stats){(float)mean,
                                  (float)(1.0 / sqrt(squares / d + (double)eps))};
    norm = sqrt(squares);
    norm = norm > (double)eps ? norm : (double)eps;
    return (struct row_stats){0.0f, (float)(sqrt(d) / norm)};
}

FF_CLONES static void apply(float *v, int64_t n, float mean, float factor)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = (v[i] - mean) * factor;
}

void stats_apply(const struct row_stats *s, float *v, int64_t n)
{
    apply(v, n, s->mean, s->factor);
}
