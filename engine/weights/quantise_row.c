/* quantise_row.c - conversions without branches, so that the compiler makes vectors of
 * them: 14 billion weights go through here
 *
 * e4m3: a normal value keeps the upper three bits of its fraction, rounded by adding
 * half of the last place (less one when that place is even); its exponent is rebased
 * from 127 to 7. A value below 2^-6 is a multiple of 2^-9: adding 2^14, whose last
 * place is 2^-9, lets the addition round. i8: adding 1.5 * 2^23 rounds to an integer,
 * in the low bits.
 */
#include "engine/weights/quantise_row.h"

#include <string.h>

static uint32_t bits_of(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

static float float_of(uint32_t u)
{
    float v;

    memcpy(&v, &u, sizeof(v));
    return v;
}

static uint8_t code_e4m3(float v)
{
    const uint32_t most = 0x43e00000, least_normal = 0x3c800000; /* 448, 2^-6 */
    uint32_t u = bits_of(v), a = u & 0x7fffffff;
    uint32_t normal, tiny;

    a = a > most ? most : a;
    normal = ((a + 0x7ffff + (a >> 20 & 1)) >> 20) - (120 << 3);
    tiny = bits_of(float_of(a < least_normal ? a : 0) + 16384.0f) - 0x46800000;
    return (uint8_t)((u >> 24 & 0x80) | (a < least_normal ? tiny : normal));
}

static int8_t code_i8(float v)
{
    v = v > 127.0f ? 127.0f : v;
    v = v < -127.0f ? -127.0f : v;
    return (int8_t)(bits_of(v + 12582912.0f) & 0xff);
}

/* The largest magnitude, from 1e-5 upwards; false when something is not finite. As
 * integers, magnitudes of floats have the order of their values. */
static bool row_amax(const float *row, size_t n, float *amax)
{
    uint32_t most = bits_of(1e-5f);

    for (size_t i = 0; i < n; i++) {
        uint32_t a = bits_of(row[i]) & 0x7fffffff;

        most = a > most ? a : most;
    }
    *amax = float_of(most);
    return most < 0x7f800000;
}

bool quantise_row_e4m3(const float *row, size_t n, uint8_t *codes, float *scale)
{
    float amax, s;

    if (!row_amax(row, n, &amax))
        return false;
    s = amax / 448.0f;
    for (size_t i = 0; i < n; i++)
        codes[i] = code_e4m3(row[i] / s);
    *scale = s;
    return true;
}

bool quantise_row_i8(const float *row, size_t n, int8_t *codes, float *scale)
{
    float amax, s;

    if (!row_amax(row, n, &amax))
        return false;
    s = amax / 127.0f;
    for (size_t i = 0; i < n; i++)
        codes[i] = code_i8(row[i] / s);
    *scale = s;
    return true;
}
