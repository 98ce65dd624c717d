/* softmax.c - exponential, maximum and sum in fixed lanes
 *
 * exp: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial of degree 6 for e^r (its
 * remainder is below 2^-26), and n added to the exponent bits.
 */
#include "kernels/cpu/softmax.h"

#include <float.h>

#include "kernels/base/f32_bits.h"
#include "kernels/cpu/simd.h"

#define EXP_LOWEST (-87.0f)

FF_INLINE float exp_lane(float x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float c = x > EXP_LOWEST ? x : EXP_LOWEST;
    float t = c * 1.44269504f + round;
    float n = t - round;
    float r = (c - n * 0.693145751953125f) - n * 1.42860677e-6f;
    float p = 1.0f / 720.0f;

    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = (p * r) * r + r;
    p = p + 1.0f;
    p = f32_of_bits(f32_bits(p) + ((f32_bits(t) - f32_bits(round)) << 23));
    return x < EXP_LOWEST ? 0.0f : p;
}

/* A value in 0 … 448 rounded to the nearest e4m3. */
FF_INLINE float e4m3_round(float v)
{
    uint32_t u = f32_bits(v);
    float normal = f32_of_bits((u + 0x7ffffu + ((u >> 20) & 1u)) & 0xfff00000u);
    float sub = (v + 0x1p14f) - 0x1p14f;

    return v < 0x1p-6f ? sub : normal;
}

FF_CLONES void logits_finish(float *v, int64_t n, float factor, const float *col,
                             const float *bias)
{
    for (int64_t i = 0; i < n; i++)
        v[i] *= factor;
    if (col) {
        for (int64_t i = 0; i < n; i++)
            v[i] *= col[i];
    }
    if (bias) {
        for (int64_t i = 0; i < n; i++)
            v[i] += bias[i];
    }
}

FF_CLONES static float row_max(const float *v, int64_t n, float start)
{
    float lane[LANES];
    int64_t i = 0;

    for (int l = 0; l < LANES; l++)
        lane[l] = start;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++)
            lane[l] = v[i + l] > lane[l] ? v[i + l] : lane[l];
    }
    for (; i < n; i++)
        lane[0] = v[i] > lane[0] ? v[i] : lane[0];
    for (int l = 1; l < LANES; l++)
        lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
    return lane[0];
}

FF_CLONES static void row_exp(float *v, int64_t n, float max)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = exp_lane(v[i] - max);
}

FF_CLONES static double row_sum(const float *v, int64_t n)
{
    float lane[LANES] = {0};
    double sum = 0.0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++)
            lane[l] += v[i + l];
    }
    for (; i < n; i++)
        lane[0] += v[i];
    for (int l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return sum;
}

FF_CLONES static void row_round(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = e4m3_round(v[i] * 448.0f);
}

float softmax_row(float *v, int64_t n, bool codes, float *max, double *sum)
{
    float top = row_max(v, n, *max);
    float shrink = exp_lane(*max - top);

    row_exp(v, n, top);
    *sum = *sum * (double)shrink + row_sum(v, n);
    *max = top;
    if (codes)
        row_round(v, n);
    return shrink;
}
