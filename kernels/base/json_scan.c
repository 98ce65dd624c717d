/* json_scan.c - checks a JSON text without allocating anything
 *
 * One recursive descent over the grammar of RFC 8259, at most 32 deep. cJSON alone
 * would take control characters in strings, "01", "+1", \u0000, invalid UTF-8 and
 * numbers that overflow; here each is refused with the byte where it stands.
 */
#include "kernels/base/json_scan.h"

#include <string.h>

#include "kernels/base/utf8.h"

enum {
    NODE_BYTES = 64 + 16 + 8, /* cJSON node, malloc's header, a slot to sort keys in */
    STRING_OVERHEAD = 32,     /* NUL, malloc's header and rounding */
    NUMBER_CHARS = 60
};

struct scan {
    const char *name, *begin, *p, *end;
    const struct json_limits *limits;
    size_t memory;
    int depth;
    struct err *e;
};

static enum status scan_value(struct scan *s);

static enum status scan_fail(const struct scan *s, const char *what)
{
    return err_set(s->e, ST_INPUT, "cannot parse '%s': %s at byte %zu", s->name, what,
                   (size_t)(s->p - s->begin));
}

static enum status scan_charge(struct scan *s, size_t bytes)
{
    s->memory += bytes;
    if (s->memory <= s->limits->memory_bytes)
        return ST_OK;
    return err_set(s->e, ST_INPUT,
                   "cannot parse '%s': its values need more than %zu bytes of memory",
                   s->name, s->limits->memory_bytes);
}

static void scan_space(struct scan *s)
{
    while (s->p < s->end &&
           (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool scan_take(struct scan *s, char c)
{
    if (s->p >= s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four digits after \u, or -1. */
static int scan_hex4(struct scan *s)
{
    int v = 0;

    if (s->end - s->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(s->p[i]);

        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    s->p += 4;
    return v;
}

static enum status scan_unicode_escape(struct scan *s)
{
    int u = scan_hex4(s);

    if (u < 0)
        return scan_fail(s, "bad \\u escape");
    if (u == 0)
        return scan_fail(s, "NUL in a string");
    if (u >= 0xdc00 && u <= 0xdfff)
        return scan_fail(s, "lone surrogate");
    if (u < 0xd800 || u > 0xdbff)
        return ST_OK;
    if (!scan_take(s, '\\') || !scan_take(s, 'u'))
        return scan_fail(s, "lone surrogate");
    u = scan_hex4(s);
    if (u < 0xdc00 || u > 0xdfff)
        return scan_fail(s, "lone surrogate");
    return ST_OK;
}

/* After the opening quote. */
static enum status scan_string(struct scan *s)
{
    const char *from = s->p;

    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p;

        if (c == '"') {
            s->p++;
            return scan_charge(s, (size_t)(s->p - from) + STRING_OVERHEAD);
        }
        if (c < 0x20)
            return scan_fail(s, "control character in a string");
        s->p++;
        if (c != '\\')
            continue;
        if (s->p < s->end && *s->p && strchr("\"\\/bfnrt", *s->p))
            s->p++;
        else if (scan_take(s, 'u'))
            TRY(scan_unicode_escape(s));
        else
            return scan_fail(s, "unknown escape");
    }
    return scan_fail(s, "string without an end");
}

static size_t scan_digits(struct scan *s)
{
    const char *from = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

static enum status scan_number(struct scan *s)
{
    const char *from = s->p;
    bool plain = !scan_take(s, '-');
    bool zero = s->p < s->end && *s->p == '0';
    size_t digits = scan_digits(s);

    if (digits == 0)
        return scan_fail(s, "expected a value");
    if (zero && digits > 1)
        return scan_fail(s, "number with leading zeros");
    if (scan_take(s, '.')) {
        plain = false;
        if (!scan_digits(s))
            return scan_fail(s, "number without digits after the point");
    }
    if (scan_take(s, 'e') || scan_take(s, 'E')) {
        plain = false;
        if (!scan_take(s, '-'))
            scan_take(s, '+');
        if (!scan_digits(s))
            return scan_fail(s, "number without an exponent");
    }
    if (s->p - from > NUMBER_CHARS)
        return scan_fail(s, "number of more than 60 characters");
    if (s->limits->plain_integers && !plain)
        return scan_fail(s, "number that is not a plain non-negative integer");
    return ST_OK;
}

static enum status scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return scan_fail(s, "expected a value");
    s->p += n;
    return ST_OK;
}

static enum status scan_member(struct scan *s)
{
    if (!scan_take(s, '"'))
        return scan_fail(s, "expected a name in quotes");
    TRY(scan_string(s));
    scan_space(s);
    if (!scan_take(s, ':'))
        return scan_fail(s, "expected ':'");
    return scan_value(s);
}

/* After the opening bracket; both kinds of container. */
static enum status scan_container(struct scan *s, char close)
{
    if (++s->depth > s->limits->depth)
        return scan_fail(s, "nesting too deep");
    scan_space(s);
    if (!scan_take(s, close)) {
        do {
            scan_space(s);
            TRY(close == '}' ? scan_member(s) : scan_value(s));
            scan_space(s);
        } while (scan_take(s, ','));
        if (!scan_take(s, close))
            return scan_fail(s, close == '}' ? "expected ',' or '}'"
                                             : "expected ',' or ']'");
    }
    s->depth--;
    return ST_OK;
}

static enum status scan_value(struct scan *s)
{
    TRY(scan_charge(s, NODE_BYTES));
    scan_space(s);
    if (s->p >= s->end)
        return scan_fail(s, "text ends early");
    switch (*s->p) {
    case '{':
        s->p++;
        return scan_container(s, '}');
    case '[':
        s->p++;
        return scan_container(s, ']');
    case '"':
        s->p++;
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s);
    }
}

enum status json_scan(const char *name, const char *text, size_t bytes,
                      const struct json_limits *limits, size_t *memory, struct err *e)
{
    struct scan s = {name, text, text, text + bytes, limits, 0, 0, e};
    size_t valid;

    if (bytes > limits->text_bytes)
        return err_set(e, ST_INPUT, "cannot parse '%s': %zu bytes, at most %zu allowed",
                       name, bytes, limits->text_bytes);
    valid = utf8_valid_bytes(text, bytes);
    s.p = text + valid;
    if (valid < bytes)
        return scan_fail(&s, "text is not UTF-8");
    s.p = text;
    TRY(scan_value(&s));
    scan_space(&s);
    if (s.p < s.end)
        return scan_fail(&s, "something follows the value");
    *memory = s.memory;
    return ST_OK;
}
