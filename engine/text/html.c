/* html.c - character references by number and by name
 *
 * What a numeric reference means is the HTML standard's "numeric character reference
 * end state": 0, surrogates and numbers past U+10FFFF give U+FFFD, 0x80 to 0x9F are
 * read as Windows-1252. Control characters and noncharacters, which a browser keeps,
 * are dropped: Python's html.unescape does so, and it is what the models saw.
 */
#include "engine/text/html.h"

#include <string.h>

#include "engine/text/cp1252.h"
#include "engine/text/entities.h"

enum { NAME_MAX_RUNES = 32, CAREFUL_MAX_RUNES = 24, DROPPED = 0xFFFFFFFF };

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(uint32_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_alnum(uint32_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint32_t digit_value(uint32_t c)
{
    return is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The rune that a number stands for, or DROPPED. */
static uint32_t number_meaning(uint32_t num)
{
    if (num == 0 || num > 0x10FFFF || (num >= 0xD800 && num <= 0xDFFF))
        return RUNE_REPLACEMENT;
    if (num == 0x0D)
        return num;
    if (num >= 0x80 && num <= 0x9F)
        return cp1252_rune(num);
    if (num < 0x09 || num == 0x0B || (num >= 0x0E && num < 0x20) || num == 0x7F)
        return DROPPED;
    if ((num >= 0xFDD0 && num <= 0xFDEF) || (num & 0xFFFE) == 0xFFFE)
        return DROPPED;
    return num;
}

/* Read "#123;" or "#x1f;" at `v`: the runes it takes (0: it is none) and its meaning.
 */
static size_t number_read(const uint32_t *v, size_t n, uint32_t *meaning)
{
    bool hex = n > 1 && (v[1] | 0x20) == 'x';
    size_t first = hex ? 2 : 1, i = first;
    uint32_t num = 0;

    for (; i < n && (hex ? is_hex(v[i]) : is_digit(v[i])); i++)
        if (num <= 0x10FFFF)
            num = num * (hex ? 16 : 10) + digit_value(v[i]);
    if (i == first)
        return 0;
    *meaning = number_meaning(num);
    return i < n && v[i] == ';' ? i + 1 : i;
}

/* Copy at most `max` runes that can belong to a name to `name`, and a semicolon. */
static size_t name_read(const uint32_t *v, size_t n, size_t max, char *name)
{
    size_t i = 0;

    while (i < n && i < max && v[i] < 0x80 && is_alnum(v[i])) {
        name[i] = (char)v[i];
        i++;
    }
    if (i > 0 && i < n && v[i] == ';')
        name[i++] = ';';
    return i;
}

static enum status push_text(struct runes *out, const char *text, struct err *e)
{
    return runes_decode(out, text, strlen(text), e);
}

/* Decode the reference after the ampersand at v[-1]; *used is 0 if there is none. */
static enum status reference(const uint32_t *v, size_t n, struct runes *out,
                             size_t *used, struct err *e)
{
    char name[NAME_MAX_RUNES + 1];
    uint32_t meaning;

    *used = 0;
    if (n > 0 && v[0] == '#') {
        *used = number_read(v, n, &meaning);
        return *used && meaning != DROPPED ? runes_push(out, meaning, e) : ST_OK;
    }
    for (size_t len = name_read(v, n, NAME_MAX_RUNES, name); len > 1; len--) {
        const struct entity *found = entity_find(name, len);

        if (found && !found->loud) {
            *used = len;
            return push_text(out, found->text, e);
        }
    }
    return ST_OK;
}

enum status html_unescape(const struct runes *in, struct runes *out, struct err *e)
{
    for (size_t i = 0, used; i < in->n; i += 1 + used) {
        used = 0;
        if (in->v[i] == '&')
            TRY(reference(in->v + i + 1, in->n - i - 1, out, &used, e));
        if (!used)
            TRY(runes_push(out, in->v[i], e));
    }
    return ST_OK;
}

/* Runes of the reference after an ampersand that has the careful form, or 0. */
static size_t careful_extent(const uint32_t *v, size_t n)
{
    size_t first = n > 0 && v[0] == '#', i = first;

    while (i < n && is_alnum(v[i]))
        i++;
    if (i == first || i - first > CAREFUL_MAX_RUNES || i == n || v[i] != ';')
        return 0;
    return i + 1;
}

static enum status careful_reference(const uint32_t *v, size_t n, struct runes *out,
                                     size_t *used, struct err *e)
{
    char name[CAREFUL_MAX_RUNES + 1];
    const struct entity *found;
    uint32_t meaning;

    *used = careful_extent(v, n);
    if (*used == 0)
        return ST_OK;
    if (v[0] == '#') {
        if (number_read(v, n, &meaning) != *used || meaning == ';') {
            *used = 0;
            return ST_OK;
        }
        return meaning == DROPPED ? ST_OK : runes_push(out, meaning, e);
    }
    found = entity_find(name, name_read(v, n, CAREFUL_MAX_RUNES, name));
    if (!found) {
        *used = 0;
        return ST_OK;
    }
    return push_text(out, found->text, e);
}

enum status html_unescape_careful(const struct runes *in, struct runes *out,
                                  struct err *e)
{
    for (size_t i = 0, used; i < in->n; i += 1 + used) {
        used = 0;
        if (in->v[i] == '&')
            TRY(careful_reference(in->v + i + 1, in->n - i - 1, out, &used, e));
        if (!used)
            TRY(runes_push(out, in->v[i], e));
    }
    return ST_OK;
}
