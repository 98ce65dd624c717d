/* sums.c - sums in double, one row at a time
 *
 * A row's sums are added to the whole's when it ends, so that a video of 10^9 values
 * does not lose its small differences to one large sum.
 */
#include "engine/compare/sums.h"

#include <string.h>

static void value_add(struct sums *row, double a, double b)
{
    double d = a - b;

    row->aa += a * a;
    row->bb += b * b;
    row->ab += a * b;
    row->dd += d * d;
    row->low = fmin(row->low, a);
    row->high = fmax(row->high, a);
    row->largest = fmax(row->largest, fabs(d));
}

static void difference_note(struct sums *row, size_t i, double a, double b)
{
    if (row->first < 0) {
        row->first = (int64_t)i;
        row->first_a = a;
        row->first_b = b;
    }
    row->differing++;
}

void sums_join(struct sums *s, const struct sums *next)
{
    if (s->first < 0 && next->first >= 0) {
        s->first = s->n + next->first;
        s->first_a = next->first_a;
        s->first_b = next->first_b;
    }
    s->differing += next->differing;
    s->aa += next->aa;
    s->bb += next->bb;
    s->ab += next->ab;
    s->dd += next->dd;
    s->low = fmin(s->low, next->low);
    s->high = fmax(s->high, next->high);
    s->largest = fmax(s->largest, next->largest);
    s->n += next->n;
}

void sums_floats(struct sums *s, const float *a, const float *b, size_t n)
{
    struct sums row = SUMS_INIT;

    for (size_t i = 0; i < n; i++) {
        value_add(&row, (double)a[i], (double)b[i]);
        if (memcmp(&a[i], &b[i], sizeof(a[i])) != 0)
            difference_note(&row, i, (double)a[i], (double)b[i]);
    }
    row.n = (int64_t)n;
    sums_join(s, &row);
}

void sums_bytes(struct sums *s, const uint8_t *a, const uint8_t *b, size_t n)
{
    struct sums row = SUMS_INIT;

    for (size_t i = 0; i < n; i++) {
        value_add(&row, a[i], b[i]);
        if (a[i] != b[i])
            difference_note(&row, i, a[i], b[i]);
    }
    row.n = (int64_t)n;
    sums_join(s, &row);
}

double sums_relative_l2(const struct sums *s)
{
    return s->dd == 0 ? 0 : sqrt(s->dd / s->aa);
}

double sums_cosine(const struct sums *s)
{
    if (s->dd == 0)
        return 1;
    return s->aa == 0 || s->bb == 0 ? 0 : s->ab / (sqrt(s->aa) * sqrt(s->bb));
}

double sums_psnr(const struct sums *s, double range)
{
    return s->dd == 0 ? INFINITY : 10.0 * log10(range * range * (double)s->n / s->dd);
}
