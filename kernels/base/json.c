/* json.c - the one place that knows cJSON
 *
 * cJSON is called after json_scan has checked the text, so it only ever sees valid JSON
 * of known cost. It writes a global error position while it parses; nothing reads it.
 */
#include "kernels/base/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/base/json_scan.h"

const struct json_limits JSON_LIMITS_CONFIG = {1 << 20, 32 << 20, JSON_DEPTH_MAX,
                                               false};

static const double INTEGER_END = 9007199254740992.0; /* 2^53 */

struct json {
    cJSON *root;
    char name[];
};

/* ---- parsing -------------------------------------------------------------------- */

static int key_order(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

static enum status refuse_duplicates(const char *name, const cJSON *object,
                                     struct err *e)
{
    size_t n = 0, i = 0;
    const char **keys;
    const cJSON *m;
    enum status st = ST_OK;

    for (m = object->child; m; m = m->next)
        n++;
    if (n < 2)
        return ST_OK;
    keys = malloc(n * sizeof(*keys));
    if (!keys)
        return err_set(e, ST_RESOURCE, "cannot parse '%s': out of memory", name);
    for (m = object->child; m; m = m->next)
        keys[i++] = m->string;
    qsort(keys, n, sizeof(*keys), key_order);
    for (i = 1; i < n && st == ST_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            st = err_set(e, ST_INPUT, "cannot parse '%s': name '%s' occurs twice", name,
                         keys[i]);
    free(keys);
    return st;
}

/* Duplicates and overflowing numbers, anywhere in the tree (at most 32 deep). */
static enum status tree_check(const char *name, const cJSON *node, struct err *e)
{
    if (cJSON_IsObject(node))
        TRY(refuse_duplicates(name, node, e));
    if (cJSON_IsNumber(node) && !isfinite(node->valuedouble))
        return err_set(e, ST_INPUT, "cannot parse '%s': '%s' is a number too large",
                       name, node->string ? node->string : "element");
    for (const cJSON *c = node->child; c; c = c->next)
        TRY(tree_check(name, c, e));
    return ST_OK;
}

enum status json_parse(const char *name, const char *text, size_t bytes,
                       const struct json_limits *limits, struct json **out,
                       struct err *e)
{
    struct json_limits l = *limits;
    size_t memory, name_bytes = strlen(name) + 1;
    struct json *doc;
    enum status st;

    if (l.depth > JSON_DEPTH_MAX)
        l.depth = JSON_DEPTH_MAX;
    if (l.memory_bytes > JSON_MEMORY_MAX)
        l.memory_bytes = JSON_MEMORY_MAX;
    TRY(json_scan(name, text, bytes, &l, &memory, e));
    doc = malloc(sizeof(*doc) + name_bytes);
    if (!doc)
        return err_set(e, ST_RESOURCE, "cannot parse '%s': out of memory", name);
    memcpy(doc->name, name, name_bytes);
    doc->root = cJSON_ParseWithLengthOpts(text, bytes, NULL, 0);
    if (!doc->root) {
        st = err_set(e, ST_RESOURCE, "cannot parse '%s': %zu bytes of memory needed",
                     name, memory);
        goto err_free;
    }
    TRY_GOTO(st, tree_check(name, doc->root, e), err_delete);
    *out = doc;
    return ST_OK;

err_delete:
    cJSON_Delete(doc->root);
err_free:
    free(doc);
    return st;
}

/* Read from `fd` until its end, at most one byte more than `cap`. */
static enum status read_all(int fd, const char *path, size_t cap, struct buf *b,
                            struct err *e)
{
    while (b->len <= cap) {
        size_t want = cap + 1 - b->len < 65536 ? cap + 1 - b->len : 65536;
        ssize_t n;

        if (!buf_reserve(b, want))
            return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", path);
        n = read(fd, b->data + b->len, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ST_INPUT, "cannot read '%s': %s", path, strerror(errno));
        if (n == 0)
            break;
        b->len += (size_t)n;
    }
    return ST_OK;
}

enum status json_read(const char *path, const struct json_limits *limits,
                      struct json **out, struct err *e)
{
    struct buf b = BUF_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum status st;

    if (fd < 0)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    st = read_all(fd, path, limits->text_bytes, &b, e);
    close(fd);
    if (st == ST_OK)
        st = json_parse(path, buf_text(&b), b.len, limits, out, e);
    buf_release(&b);
    return st;
}

void json_close(struct json *doc)
{
    if (!doc)
        return;
    cJSON_Delete(doc->root);
    free(doc);
}

/* ---- walking -------------------------------------------------------------------- */

static const cJSON *node_of(struct json_value v)
{
    return v.node;
}

struct json_value json_root(const struct json *doc)
{
    return (struct json_value){doc, doc->root};
}

const char *json_name(const struct json *doc)
{
    return doc->name;
}

enum json_kind json_kind(struct json_value v)
{
    if (!v.node)
        return JSON_ABSENT;
    switch (node_of(v)->type & 0xff) {
    case cJSON_False:
    case cJSON_True:
        return JSON_BOOL;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

bool json_exists(struct json_value v)
{
    return v.node != NULL;
}

struct json_value json_first(struct json_value v)
{
    return (struct json_value){v.doc, v.node ? node_of(v)->child : NULL};
}

struct json_value json_next(struct json_value v)
{
    return (struct json_value){v.doc, v.node ? node_of(v)->next : NULL};
}

size_t json_count(struct json_value v)
{
    size_t n = 0;

    for (v = json_first(v); json_exists(v); v = json_next(v))
        n++;
    return n;
}

const char *json_key(struct json_value v)
{
    return v.node ? node_of(v)->string : NULL;
}

struct json_value json_find(struct json_value object, const char *key)
{
    struct json_value m = {object.doc, NULL};

    if (json_kind(object) != JSON_OBJECT)
        return m;
    for (m = json_first(object); json_exists(m); m = json_next(m))
        if (strcmp(json_key(m), key) == 0)
            break;
    return m;
}

/* ---- values --------------------------------------------------------------------- */

/* What a message shows of a value. */
static const char *value_text(struct json_value v, char *out, size_t bytes)
{
    static const char *const kinds[] = {
        [JSON_ABSENT] = "absent",      [JSON_NULL] = "null",
        [JSON_BOOL] = "a truth value", [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string",    [JSON_ARRAY] = "a list",
        [JSON_OBJECT] = "an object",
    };

    if (json_kind(v) == JSON_NUMBER)
        snprintf(out, bytes, "%.17g", node_of(v)->valuedouble);
    else if (json_kind(v) == JSON_STRING)
        snprintf(out, bytes, "\"%.40s\"", node_of(v)->valuestring);
    else
        snprintf(out, bytes, "%s", kinds[json_kind(v)]);
    return out;
}

enum status json_refuse(struct json_value v, struct err *e, const char *fmt, ...)
{
    char what[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (!json_key(v))
        return err_set(e, ST_INPUT, "'%s': a value %s", v.doc->name, what);
    return err_set(e, ST_INPUT, "'%s': '%s' %s", v.doc->name, json_key(v), what);
}

static enum status refuse_kind(struct json_value v, const char *wanted, struct err *e)
{
    char text[64];

    return json_refuse(v, e, "is %s, must be %s", value_text(v, text, sizeof(text)),
                       wanted);
}

enum status json_int(struct json_value v, int64_t lo, int64_t hi, int64_t *out,
                     struct err *e)
{
    char wanted[80];
    double d;

    if (json_kind(v) == JSON_NUMBER) {
        d = node_of(v)->valuedouble;
        if (d == floor(d) && fabs(d) < INTEGER_END && (int64_t)d >= lo &&
            (int64_t)d <= hi) {
            *out = (int64_t)d;
            return ST_OK;
        }
    }
    snprintf(wanted, sizeof(wanted), "an integer from %lld to %lld", (long long)lo,
             (long long)hi);
    return refuse_kind(v, wanted, e);
}

enum status json_double(struct json_value v, double lo, double hi, double *out,
                        struct err *e)
{
    char wanted[80];

    if (json_kind(v) == JSON_NUMBER && node_of(v)->valuedouble >= lo &&
        node_of(v)->valuedouble <= hi) {
        *out = node_of(v)->valuedouble;
        return ST_OK;
    }
    snprintf(wanted, sizeof(wanted), "a number from %g to %g", lo, hi);
    return refuse_kind(v, wanted, e);
}

enum status json_string(struct json_value v, const char **out, struct err *e)
{
    if (json_kind(v) != JSON_STRING)
        return refuse_kind(v, "a string", e);
    *out = node_of(v)->valuestring;
    return ST_OK;
}

enum status json_bool(struct json_value v, bool *out, struct err *e)
{
    if (json_kind(v) != JSON_BOOL)
        return refuse_kind(v, "true or false", e);
    *out = cJSON_IsTrue(node_of(v));
    return ST_OK;
}

enum status json_ints(struct json_value v, int64_t lo, int64_t hi, int max,
                      int64_t *out, int *n, struct err *e)
{
    int count = 0;

    if (json_kind(v) != JSON_ARRAY)
        return refuse_kind(v, "a list of integers", e);
    for (struct json_value x = json_first(v); json_exists(x); x = json_next(x)) {
        char text[64];

        if (count == max)
            return json_refuse(v, e, "has more than %d elements", max);
        if (json_int(x, lo, hi, &out[count], NULL) != ST_OK)
            return json_refuse(v, e, "holds %s, must hold integers from %lld to %lld",
                               value_text(x, text, sizeof(text)), (long long)lo,
                               (long long)hi);
        count++;
    }
    *n = count;
    return ST_OK;
}

enum status json_doubles(struct json_value v, double lo, double hi, int n, double *out,
                         struct err *e)
{
    struct json_value x;
    int i = 0;

    if (json_kind(v) != JSON_ARRAY)
        return refuse_kind(v, "a list of numbers", e);
    if (json_count(v) != (size_t)n)
        return json_refuse(v, e, "has %zu elements, must have %d", json_count(v), n);
    for (x = json_first(v); json_exists(x); x = json_next(x), i++) {
        char text[64];

        if (json_double(x, lo, hi, &out[i], NULL) != ST_OK)
            return json_refuse(v, e, "holds %s, must hold numbers from %g to %g",
                               value_text(x, text, sizeof(text)), lo, hi);
    }
    return ST_OK;
}

/* ---- members -------------------------------------------------------------------- */

static enum status member(struct json_value object, const char *key,
                          struct json_value *out, struct err *e)
{
    struct json_value m = json_find(object, key);

    if (!json_exists(m)) {
        if (json_key(object))
            return err_set(e, ST_INPUT, "'%s': '%s' is missing in '%s'",
                           object.doc->name, key, json_key(object));
        return err_set(e, ST_INPUT, "'%s': '%s' is missing", object.doc->name, key);
    }
    *out = m;
    return ST_OK;
}

/* The member, or false when it is absent or null. */
static bool member_given(struct json_value object, const char *key,
                         struct json_value *out)
{
    *out = json_find(object, key);
    return json_kind(*out) > JSON_NULL;
}

enum status json_get(struct json_value object, const char *key, enum json_kind kind,
                     struct json_value *out, struct err *e)
{
    static const char *const wanted[] = {
        [JSON_ABSENT] = "absent",      [JSON_NULL] = "null",
        [JSON_BOOL] = "true or false", [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string",    [JSON_ARRAY] = "a list",
        [JSON_OBJECT] = "an object",
    };
    struct json_value m;

    TRY(member(object, key, &m, e));
    if (json_kind(m) != kind)
        return refuse_kind(m, wanted[kind], e);
    *out = m;
    return ST_OK;
}

enum status json_get_int(struct json_value object, const char *key, int64_t lo,
                         int64_t hi, int64_t *out, struct err *e)
{
    struct json_value m = {NULL, NULL};

    TRY(member(object, key, &m, e));
    return json_int(m, lo, hi, out, e);
}

enum status json_get_double(struct json_value object, const char *key, double lo,
                            double hi, double *out, struct err *e)
{
    struct json_value m = {NULL, NULL};

    TRY(member(object, key, &m, e));
    return json_double(m, lo, hi, out, e);
}

enum status json_get_string(struct json_value object, const char *key, const char **out,
                            struct err *e)
{
    struct json_value m = {NULL, NULL};

    TRY(member(object, key, &m, e));
    return json_string(m, out, e);
}

enum status json_get_bool(struct json_value object, const char *key, bool *out,
                          struct err *e)
{
    struct json_value m = {NULL, NULL};

    TRY(member(object, key, &m, e));
    return json_bool(m, out, e);
}

enum status json_opt_int(struct json_value object, const char *key, int64_t lo,
                         int64_t hi, int64_t *out, struct err *e)
{
    struct json_value m;

    return member_given(object, key, &m) ? json_int(m, lo, hi, out, e) : ST_OK;
}

enum status json_opt_double(struct json_value object, const char *key, double lo,
                            double hi, double *out, struct err *e)
{
    struct json_value m;

    return member_given(object, key, &m) ? json_double(m, lo, hi, out, e) : ST_OK;
}

enum status json_opt_string(struct json_value object, const char *key, const char **out,
                            struct err *e)
{
    struct json_value m;

    return member_given(object, key, &m) ? json_string(m, out, e) : ST_OK;
}

enum status json_opt_bool(struct json_value object, const char *key, bool *out,
                          struct err *e)
{
    struct json_value m;

    return member_given(object, key, &m) ? json_bool(m, out, e) : ST_OK;
}
