/* json_out.c - writes JSON text into a buffer */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/json.h"
#include "kernels/base/utf8.h"

void json_out_init(struct json_out *o, struct buf *buf, enum json_style style)
{
    *o = (struct json_out){.buf = buf, .style = style};
}

static void line_break(struct json_out *o)
{
    if (o->style != JSON_INDENTED)
        return;
    buf_adds(o->buf, "\n");
    for (int i = 0; i < o->depth; i++)
        buf_adds(o->buf, "  ");
}

static void quoted(struct buf *b, const char *text)
{
    size_t n = strlen(text);

    buf_adds(b, "\"");
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = utf8_sequence(text + i, n - i);

        if (c == '"' || c == '\\')
            buf_addf(b, "\\%c", c);
        else if (c == '\n')
            buf_adds(b, "\\n");
        else if (c < 0x20 || c == 0x7f)
            buf_addf(b, "\\u%04x", c);
        else if (!len)
            buf_adds(b, "\xef\xbf\xbd");
        else
            buf_add(b, text + i, len);
        i += len ? len : 1;
    }
    buf_adds(b, "\"");
}

/* Comma, new line and name: what stands before a value. */
static void lead(struct json_out *o, const char *key)
{
    if (o->depth > 0) {
        if (o->any[o->depth])
            buf_adds(o->buf, ",");
        line_break(o);
    }
    o->any[o->depth] = true;
    if (!key)
        return;
    quoted(o->buf, key);
    buf_adds(o->buf, o->style == JSON_INDENTED ? ": " : ":");
}

static void container_open(struct json_out *o, const char *key, char open, char close)
{
    assert(o->depth < JSON_DEPTH_MAX);
    lead(o, key);
    buf_add(o->buf, &open, 1);
    o->depth++;
    o->any[o->depth] = false;
    o->close[o->depth] = close;
}

void json_out_object(struct json_out *o, const char *key)
{
    container_open(o, key, '{', '}');
}

void json_out_array(struct json_out *o, const char *key)
{
    container_open(o, key, '[', ']');
}

void json_out_end(struct json_out *o)
{
    char close = o->close[o->depth];
    bool any = o->any[o->depth];

    assert(o->depth > 0);
    o->depth--;
    if (any)
        line_break(o);
    buf_add(o->buf, &close, 1);
    if (o->depth == 0 && o->style == JSON_INDENTED)
        buf_adds(o->buf, "\n");
}

void json_out_string(struct json_out *o, const char *key, const char *value)
{
    lead(o, key);
    quoted(o->buf, value);
}

void json_out_int(struct json_out *o, const char *key, int64_t value)
{
    lead(o, key);
    buf_addf(o->buf, "%lld", (long long)value);
}

void json_out_double(struct json_out *o, const char *key, double value)
{
    char text[32];

    lead(o, key);
    if (!isfinite(value)) {
        buf_adds(o->buf, "null");
        return;
    }
    if (value == floor(value) && fabs(value) < 1e15) {
        buf_addf(o->buf, "%lld", (long long)value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_adds(o->buf, text);
}

void json_out_bool(struct json_out *o, const char *key, bool value)
{
    lead(o, key);
    buf_adds(o->buf, value ? "true" : "false");
}

void json_out_null(struct json_out *o, const char *key)
{
    lead(o, key);
    buf_adds(o->buf, "null");
}

static int member_order(const void *a, const void *b)
{
    const struct json_value *x = a, *y = b;

    return strcmp(json_key(*x), json_key(*y));
}

static void members_sorted(struct json_out *o, struct json_value object)
{
    size_t n = json_count(object), i = 0;
    struct json_value *m = malloc((n + 1) * sizeof(*m));
    struct json_value v;

    if (!m) {
        o->buf->failed = true;
        return;
    }
    for (v = json_first(object); json_exists(v); v = json_next(v))
        m[i++] = v;
    qsort(m, n, sizeof(*m), member_order);
    for (i = 0; i < n; i++)
        json_out_value(o, json_key(m[i]), m[i], true);
    free(m);
}

static void children(struct json_out *o, struct json_value v, bool sorted)
{
    if (sorted && json_kind(v) == JSON_OBJECT) {
        members_sorted(o, v);
        return;
    }
    for (v = json_first(v); json_exists(v); v = json_next(v))
        json_out_value(o, json_key(v), v, sorted);
}

void json_out_value(struct json_out *o, const char *key, struct json_value v,
                    bool sorted)
{
    const char *text = "";
    double number = 0;
    bool truth = false;

    switch (json_kind(v)) {
    case JSON_OBJECT:
        json_out_object(o, key);
        children(o, v, sorted);
        json_out_end(o);
        break;
    case JSON_ARRAY:
        json_out_array(o, key);
        children(o, v, sorted);
        json_out_end(o);
        break;
    case JSON_STRING:
        (void)json_string(v, &text, NULL);
        json_out_string(o, key, text);
        break;
    case JSON_NUMBER:
        (void)json_double(v, -INFINITY, INFINITY, &number, NULL);
        json_out_double(o, key, number);
        break;
    case JSON_BOOL:
        (void)json_bool(v, &truth, NULL);
        json_out_bool(o, key, truth);
        break;
    default:
        json_out_null(o, key);
    }
}

void json_canonical(struct json_value v, struct buf *buf)
{
    struct json_out o;

    json_out_init(&o, buf, JSON_COMPACT);
    json_out_value(&o, NULL, v, true);
}
