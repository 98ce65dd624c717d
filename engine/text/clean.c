/* clean.c - repair, unescape and collapse a prompt
 *
 * ftfy works on lines (cut after each LF). It applies its fixes to a line in a fixed
 * order, again and again until none changes anything: "&amp;lt;" needs two rounds, and
 * a full-width "＆lt;" becomes an entity only by its width. Whether entities are
 * decoded is decided once per line and only ever turned off: a "<" means that the text
 * is HTML on purpose, from its line to the end. (html.unescape comes later in any case;
 * the difference shows in upper-case names and in what the other fixes do to the
 * decoded characters.)
 *
 * The order has a consequence worth knowing: C1 controls are read as Windows-1252
 * before line breaks are unified, so U+0085 is an ellipsis here and not a line break.
 */
#include "engine/text/clean.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "engine/text/cp1252.h"
#include "engine/text/html.h"
#include "engine/text/runes.h"

typedef enum status fix(const struct runes *in, struct runes *out, struct err *e);

/* Latin letters that old encodings joined, and what they stand for. */
struct ligature {
    uint32_t rune;
    uint32_t parts[3];
};

static const struct ligature ligatures[] = {
    {0x0132, {'I', 'J'}},      {0x0133, {'i', 'j'}},      {0x0149, {0x02BC, 'n'}},
    {0x01C4, {'D', 0x017D}},   {0x01C5, {'D', 0x017E}},   {0x01C6, {'d', 0x017E}},
    {0x01C7, {'L', 'J'}},      {0x01C8, {'L', 'j'}},      {0x01C9, {'l', 'j'}},
    {0x01CA, {'N', 'J'}},      {0x01CB, {'N', 'j'}},      {0x01CC, {'n', 'j'}},
    {0x01F1, {'D', 'Z'}},      {0x01F2, {'D', 'z'}},      {0x01F3, {'d', 'z'}},
    {0xFB00, {'f', 'f'}},      {0xFB01, {'f', 'i'}},      {0xFB02, {'f', 'l'}},
    {0xFB03, {'f', 'f', 'i'}}, {0xFB04, {'f', 'f', 'l'}}, {0xFB05, {0x017F, 't'}},
    {0xFB06, {'s', 't'}},
};

static enum status push_ligature(uint32_t rune, struct runes *out, struct err *e)
{
    for (size_t i = 0; i < sizeof ligatures / sizeof ligatures[0]; i++) {
        if (ligatures[i].rune != rune)
            continue;
        for (int k = 0; k < 3 && ligatures[i].parts[k]; k++)
            TRY(runes_push(out, ligatures[i].parts[k], e));
        return ST_OK;
    }
    return runes_push(out, rune, e);
}

static enum status fix_c1_and_ligatures(const struct runes *in, struct runes *out,
                                        struct err *e)
{
    for (size_t i = 0; i < in->n; i++) {
        uint32_t c = in->v[i];

        TRY(push_ligature(c >= 0x80 && c <= 0x9F ? cp1252_rune(c) : c, out, e));
    }
    return ST_OK;
}

/* Full-width and half-width forms by their compatibility decomposition. */
static enum status fix_width(const struct runes *in, struct runes *out, struct err *e)
{
    for (size_t i = 0; i < in->n; i++) {
        uint32_t c = in->v[i];
        utf8proc_int32_t parts[8] = {(utf8proc_int32_t)c};
        utf8proc_ssize_t n = 1;

        if (c == 0x3000)
            parts[0] = ' ';
        else if (c >= 0xFF01 && c <= 0xFFEF)
            n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8,
                                        UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, NULL);
        for (utf8proc_ssize_t k = 0; k < n; k++)
            TRY(runes_push(out, (uint32_t)parts[k], e));
    }
    return ST_OK;
}

static uint32_t straight_quote(uint32_t c)
{
    if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B))
        return '\'';
    return c >= 0x201C && c <= 0x201F ? '"' : c;
}

static enum status fix_quotes_and_breaks(const struct runes *in, struct runes *out,
                                         struct err *e)
{
    for (size_t i = 0; i < in->n; i++) {
        uint32_t c = straight_quote(in->v[i]);

        if (c == '\r' && i + 1 < in->n && in->v[i + 1] == '\n')
            continue;
        if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85)
            c = '\n';
        TRY(runes_push(out, c, e));
    }
    return ST_OK;
}

static bool is_high(uint32_t c)
{
    return c >= 0xD800 && c <= 0xDBFF;
}

static bool is_low(uint32_t c)
{
    return c >= 0xDC00 && c <= 0xDFFF;
}

static enum status fix_surrogates(const struct runes *in, struct runes *out,
                                  struct err *e)
{
    for (size_t i = 0; i < in->n; i++) {
        uint32_t c = in->v[i];

        if (is_high(c) && i + 1 < in->n && is_low(in->v[i + 1]))
            c = 0x10000 + (c - 0xD800) * 0x400 + (in->v[++i] - 0xDC00);
        else if (is_high(c) || is_low(c))
            c = RUNE_REPLACEMENT;
        TRY(runes_push(out, c, e));
    }
    return ST_OK;
}

static bool is_decimal(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

/* Runes of the terminal escape at v: ESC [ digits and semicolons, a letter; or 0. */
static size_t escape_extent(const uint32_t *v, size_t n)
{
    size_t i = 2;

    if (n < 3 || v[0] != 0x1B || v[1] != '[')
        return 0;
    while (i < n && (v[i] == ';' || is_decimal(v[i])))
        i++;
    if (i == n || v[i] >= 0x80 || (v[i] | 0x20) < 'a' || (v[i] | 0x20) > 'z')
        return 0;
    return i + 1;
}

static enum status fix_escapes(const struct runes *in, struct runes *out, struct err *e)
{
    for (size_t i = 0; i < in->n;) {
        size_t skip = escape_extent(in->v + i, in->n - i);

        if (skip == 0)
            TRY(runes_push(out, in->v[i], e));
        i += skip ? skip : 1;
    }
    return ST_OK;
}

static bool is_control(uint32_t c)
{
    return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
           (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

static enum status fix_controls(const struct runes *in, struct runes *out,
                                struct err *e)
{
    for (size_t i = 0; i < in->n; i++)
        if (!is_control(in->v[i]))
            TRY(runes_push(out, in->v[i], e));
    return ST_OK;
}

/* Normalisation form C. */
static enum status fix_composition(const struct runes *in, struct runes *out,
                                   struct err *e)
{
    utf8proc_uint8_t *composed;
    utf8proc_ssize_t n;
    char *text;
    size_t bytes;
    enum status st;

    TRY(runes_encode(in, &text, &bytes, e));
    n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, &composed,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    free(text);
    if (n < 0)
        return err_set(e, ST_RESOURCE, "cannot compose the prompt's characters: %s",
                       utf8proc_errmsg(n));
    st = runes_decode(out, (const char *)composed, (size_t)n, e);
    free(composed);
    return st;
}

static bool same_runes(const struct runes *a, const struct runes *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->v, b->v, a->n * sizeof *a->v) == 0);
}

static void swap_runes(struct runes *a, struct runes *b)
{
    struct runes t = *a;

    *a = *b;
    *b = t;
}

/* *r = fn(*r), with `spare` as scratch. */
static enum status apply(fix *fn, struct runes *r, struct runes *spare, struct err *e)
{
    spare->n = 0;
    TRY(fn(r, spare, e));
    swap_runes(r, spare);
    return ST_OK;
}

static enum status copy_runes(struct runes *to, const uint32_t *v, size_t n,
                              struct err *e)
{
    to->n = 0;
    for (size_t i = 0; i < n; i++)
        TRY(runes_push(to, v[i], e));
    return ST_OK;
}

/* Runes that passes over lines may look at, together: entities within entities are
 * repaired one level per pass, and 16 000 levels fit into 64 KiB. About a second. */
enum { WORK_MAX = 1 << 24 };

/* Three buffers that the whole cleaning works in, and what is done already. */
struct bench {
    struct runes line, before, spare;
    size_t work;
};

/* Fix b->line until nothing changes. */
static enum status fix_line(struct bench *b, bool entities, struct err *e)
{
    static fix *const fixes[] = {
        fix_c1_and_ligatures, fix_width,    fix_quotes_and_breaks, fix_surrogates,
        fix_escapes,          fix_controls, fix_composition,
    };

    do {
        b->work += b->line.n;
        if (b->work > WORK_MAX)
            return err_set(e, ST_USAGE,
                           "impossible prompt: it is encoded too many times over to be "
                           "repaired");
        TRY(copy_runes(&b->before, b->line.v, b->line.n, e));
        if (entities)
            TRY(apply(html_unescape_careful, &b->line, &b->spare, e));
        for (size_t i = 0; i < sizeof fixes / sizeof fixes[0]; i++)
            TRY(apply(fixes[i], &b->line, &b->spare, e));
    } while (!same_runes(&b->line, &b->before));
    return ST_OK;
}

static bool has_rune(const uint32_t *v, size_t n, uint32_t rune)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] == rune)
            return true;
    return false;
}

/* ftfy's repair of every line of `in`, appended to `out`. */
static enum status fix_lines(const struct runes *in, struct bench *b, struct runes *out,
                             struct err *e)
{
    bool entities = true;

    for (size_t begin = 0, end; begin < in->n; begin = end) {
        for (end = begin; end < in->n && in->v[end] != '\n'; end++)
            continue;
        if (end < in->n)
            end++;
        if (has_rune(in->v + begin, end - begin, '<'))
            entities = false;
        TRY(copy_runes(&b->line, in->v + begin, end - begin, e));
        TRY(fix_line(b, entities, e));
        for (size_t i = 0; i < b->line.n; i++)
            TRY(runes_push(out, b->line.v[i], e));
    }
    return ST_OK;
}

/* White space at the ends goes, every other run of it becomes one space. */
static enum status collapse_space(const struct runes *in, struct runes *out,
                                  struct err *e)
{
    bool gap = false;

    for (size_t i = 0; i < in->n; i++) {
        if (rune_is_space(in->v[i])) {
            gap = true;
            continue;
        }
        if (gap && out->n > 0)
            TRY(runes_push(out, ' ', e));
        gap = false;
        TRY(runes_push(out, in->v[i], e));
    }
    return ST_OK;
}

static enum status clean_runes(struct runes *r, struct bench *b, struct err *e)
{
    struct runes *fixed = &b->before;
    struct runes whole = RUNES_INIT;
    enum status st;

    TRY_GOTO(st, fix_lines(r, b, &whole, e), release);
    swap_runes(&whole, r);
    TRY_GOTO(st, apply(html_unescape, r, fixed, e), release);
    TRY_GOTO(st, apply(html_unescape, r, fixed, e), release);
    st = apply(collapse_space, r, fixed, e);

release:
    runes_release(&whole);
    return st;
}

enum status text_clean(const char *text, size_t n, char **out, struct err *e)
{
    struct runes r = RUNES_INIT;
    struct bench b = {RUNES_INIT, RUNES_INIT, RUNES_INIT, 0};
    size_t bytes;
    enum status st;

    if (n > PROMPT_MAX_BYTES)
        return err_set(e, ST_USAGE, "prompt too long: %zu bytes, %d at most", n,
                       PROMPT_MAX_BYTES);
    TRY_GOTO(st, runes_decode(&r, text, n, e), release);
    TRY_GOTO(st, clean_runes(&r, &b, e), release);
    st = runes_encode(&r, out, &bytes, e);

release:
    runes_release(&r);
    runes_release(&b.line);
    runes_release(&b.before);
    runes_release(&b.spare);
    return st;
}
