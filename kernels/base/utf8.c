/* utf8.c - checks UTF-8 by the table of well-formed sequences (Unicode 3.9, table 3-7)
 */
#include "kernels/base/utf8.h"

struct lead {
    unsigned char first, last; /* range of the leading byte */
    unsigned char bytes;       /* length of the sequence */
    unsigned char second_lo, second_hi;
};

static const struct lead leads[] = {
    {0x00, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf},
    {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf},
    {0xf4, 0xf4, 4, 0x80, 0x8f},
};

size_t utf8_sequence(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;

    for (size_t i = 0; n && i < sizeof(leads) / sizeof(leads[0]); i++) {
        const struct lead *l = &leads[i];

        if (u[0] < l->first || u[0] > l->last)
            continue;
        if (l->bytes > n)
            return 0;
        if (l->bytes > 1 && (u[1] < l->second_lo || u[1] > l->second_hi))
            return 0;
        for (size_t k = 2; k < l->bytes; k++)
            if ((u[k] & 0xc0) != 0x80)
                return 0;
        return l->bytes;
    }
    return 0;
}

size_t utf8_valid_bytes(const char *text, size_t n)
{
    size_t i = 0;

    while (i < n) {
        size_t len = utf8_sequence(text + i, n - i);

        if (!len)
            break;
        i += len;
    }
    return i;
}
