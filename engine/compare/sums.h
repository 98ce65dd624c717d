/* sums.h - what two rows of numbers add up to, for any measure of their distance
 *
 *     struct sums s = SUMS_INIT;
 *     sums_floats(&s, a, b, n);      any number of times, in the order of the elements
 *     sums_relative_l2(&s) …
 *
 * Values are compared by their bits: -0 and 0 differ, though their distance is 0.
 */
#ifndef ENGINE_COMPARE_SUMS_H
#define ENGINE_COMPARE_SUMS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct sums {
    double aa, bb, ab, dd; /* of a a, b b, a b, (a - b)(a - b) */
    double low, high;      /* of a */
    double largest;        /* |a - b| */
    int64_t n, differing;
    int64_t first; /* index of the first that differs, -1: none */
    double first_a, first_b;
};

#define SUMS_INIT                                       \
    {                                                   \
        .low = INFINITY, .high = -INFINITY, .first = -1 \
    }

void sums_floats(struct sums *s, const float *a, const float *b, size_t n);
void sums_bytes(struct sums *s, const uint8_t *a, const uint8_t *b, size_t n);

/* Put the sums of the elements that follow behind those of `s`. */
void sums_join(struct sums *s, const struct sums *next);

/* sqrt(dd / aa); 0 when nothing is apart, infinite against zeros. */
double sums_relative_l2(const struct sums *s);

/* ab / sqrt(aa bb); 1 when nothing is apart, 0 when only one of them is all zeros. */
double sums_cosine(const struct sums *s);

/* 10 log10(range^2 n / dd) in dB; infinite when nothing is apart. */
double sums_psnr(const struct sums *s, double range);

#endif
