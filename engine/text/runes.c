/* runes.c - UTF-8 to code points and back
 *
 * Decoding follows table 3-7 of the Unicode standard (shortest form, at most U+10FFFF),
 * but lets surrogates through. A byte that begins no valid sequence is replaced alone
 * and decoding goes on with the next byte, which is what a Python program sees of bad
 * bytes on its command line once ftfy has looked at them.
 */
#include "engine/text/runes.h"

#include <stdlib.h>

void runes_release(struct runes *r)
{
    free(r->v);
    *r = (struct runes)RUNES_INIT;
}

static enum status runes_reserve(struct runes *r, size_t cap, struct err *e)
{
    uint32_t *v;

    if (cap <= r->cap)
        return ST_OK;
    if (cap < r->cap * 2)
        cap = r->cap * 2;
    if (cap < 64)
        cap = 64;
    v = realloc(r->v, cap * sizeof *v);
    if (!v)
        return err_set(e, ST_RESOURCE, "no memory for a text of %zu characters", cap);
    r->v = v;
    r->cap = cap;
    return ST_OK;
}

enum status runes_push(struct runes *r, uint32_t rune, struct err *e)
{
    TRY(runes_reserve(r, r->n + 1, e));
    r->v[r->n++] = rune;
    return ST_OK;
}

/* Length of the sequence at `s`, 0 if there is none; the rune goes to *out. */
static size_t utf8_read(const unsigned char *s, size_t n, uint32_t *out)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80   ? 1
                 : s[0] < 0xC0 ? 0
                 : s[0] < 0xE0 ? 2
                 : s[0] < 0xF0 ? 3
                 : s[0] < 0xF8 ? 4
                               : 0;
    uint32_t rune = len == 1 ? s[0] : s[0] & (0xFFu >> (len + 1));

    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        rune = rune << 6 | (s[i] & 0x3F);
    }
    if (rune < least[len] || rune > 0x10FFFF)
        return 0;
    *out = rune;
    return len;
}

enum status runes_decode(struct runes *r, const char *text, size_t n, struct err *e)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0, len;
    uint32_t rune;

    TRY(runes_reserve(r, r->n + n, e));
    while (at < n) {
        len = utf8_read(s + at, n - at, &rune);
        r->v[r->n++] = len ? rune : RUNE_REPLACEMENT;
        at += len ? len : 1;
    }
    return ST_OK;
}

int rune_utf8(uint32_t rune, char out[4])
{
    unsigned char *o = (unsigned char *)out;

    if ((rune >= 0xD800 && rune <= 0xDFFF) || rune > 0x10FFFF)
        rune = RUNE_REPLACEMENT;
    if (rune < 0x80) {
        o[0] = (unsigned char)rune;
        return 1;
    }
    if (rune < 0x800) {
        o[0] = (unsigned char)(0xC0 | rune >> 6);
        o[1] = (unsigned char)(0x80 | (rune & 0x3F));
        return 2;
    }
    if (rune < 0x10000) {
        o[0] = (unsigned char)(0xE0 | rune >> 12);
        o[1] = (unsigned char)(0x80 | (rune >> 6 & 0x3F));
        o[2] = (unsigned char)(0x80 | (rune & 0x3F));
        return 3;
    }
    o[0] = (unsigned char)(0xF0 | rune >> 18);
    o[1] = (unsigned char)(0x80 | (rune >> 12 & 0x3F));
    o[2] = (unsigned char)(0x80 | (rune >> 6 & 0x3F));
    o[3] = (unsigned char)(0x80 | (rune & 0x3F));
    return 4;
}

enum status runes_encode(const struct runes *r, char **out, size_t *bytes,
                         struct err *e)
{
    char *text = malloc(r->n * 4 + 1);
    size_t n = 0;

    if (!text)
        return err_set(e, ST_RESOURCE, "no memory for a text of %zu characters", r->n);
    for (size_t i = 0; i < r->n; i++)
        n += (size_t)rune_utf8(r->v[i], text + n);
    text[n] = '\0';
    *out = text;
    *bytes = n;
    return ST_OK;
}

bool rune_is_space(uint32_t rune)
{
    return (rune >= 0x09 && rune <= 0x0D) || rune == 0x20 || rune == 0x85 ||
           rune == 0xA0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200A) ||
           rune == 0x2028 || rune == 0x2029 || rune == 0x202F || rune == 0x205F ||
           rune == 0x3000;
}
