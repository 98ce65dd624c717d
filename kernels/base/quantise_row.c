/* quantise_row.c - rows of weights to codes: 14 billion weights go through here */
#include "kernels/base/quantise_row.h"

#include "kernels/base/weight_code.h"

/* The largest magnitude, from 1e-5 upwards; false when something is not finite. */
static bool row_most(const float *row, size_t n, uint32_t *out)
{
    uint32_t most = WEIGHT_LEAST;

    for (size_t i = 0; i < n; i++) {
        uint32_t a = weight_magnitude(row[i]);

        most = a > most ? a : most;
    }
    *out = most;
    return most < WEIGHT_INFINITE;
}

bool quantise_row_e4m3(const float *row, size_t n, uint8_t *codes, float *scale)
{
    uint32_t most;
    float s;

    if (!row_most(row, n, &most))
        return false;
    s = weight_scale_e4m3(most);
    for (size_t i = 0; i < n; i++)
        codes[i] = weight_code_e4m3(row[i] / s);
    *scale = s;
    return true;
}

bool quantise_row_i8(const float *row, size_t n, int8_t *codes, float *scale)
{
    uint32_t most;
    float s;

    if (!row_most(row, n, &most))
        return false;
    s = weight_scale_i8(most);
    for (size_t i = 0; i < n; i++)
        codes[i] = (int8_t)weight_code_i8(row[i] / s);
    *scale = s;
    return true;
}
