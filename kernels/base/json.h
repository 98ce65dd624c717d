/* json.h - JSON from strangers, and JSON that we write
 *
 * Reading. A text is first walked by a strict checker of our own (json_scan.c), then
 * parsed by cJSON, then its keys are compared. What gets through is:
 *  - at most `text_bytes` long, well-formed UTF-8 without NUL, grammar of RFC 8259 to
 *    the letter, nothing but white space after the value;
 *  - nested at most `depth` deep, no number longer than 60 characters;
 *  - without \u0000 and lone surrogates in strings, so every string is a C string;
 *  - without two equal keys in one object;
 *  - cheap: the checker adds up what cJSON will allocate (a node of 64 bytes for each
 *    value, a copy of each string, with malloc's own overhead) and refuses before the
 *    first allocation when it is more than `memory_bytes`. cJSON's allocation hooks are
 *    global to the process and would race; they are never set. 16 MiB of "[0,0,…" would
 *    take 704 MiB otherwise.
 *
 *     struct json *doc;
 *     TRY(json_read(path, &JSON_LIMITS_CONFIG, &doc, e));
 *     TRY_GOTO(st, json_get_int(json_root(doc), "num_heads", 1, 1024, &heads, e), …);
 *     for (v = json_first(list); json_exists(v); v = json_next(v)) …
 *     json_close(doc);
 *
 * Names are compared case-sensitively. Numbers leave only through getters that check
 * range and, for integers, that the value is one and below 2^53. Errors are ST_INPUT
 * and name file and key: 'config.json': 'num_heads' is "x", must be an integer from 1
 * to 64. Lookup is linear in the number of members: iterate over large objects instead.
 *
 * A `struct json_value` is a small handle, passed by value, valid until json_close.
 */
#ifndef KERNELS_BASE_JSON_H
#define KERNELS_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/buf.h"
#include "kernels/base/err.h"

struct json_limits {
    size_t text_bytes;
    size_t memory_bytes; /* what the parsed tree may take */
    int depth;           /* 1: a bare value or a flat list of them is depth 1 */
    bool plain_integers; /* numbers are digits only: no sign, point or exponent */
};

enum { JSON_DEPTH_MAX = 32 };

/* Job files and configurations, and the largest tree any use may ask for. */
extern const struct json_limits JSON_LIMITS_CONFIG; /* 1 MiB, 32 MiB, depth 32 */
#define JSON_MEMORY_MAX ((size_t)1 << 30)

enum json_kind {
    JSON_ABSENT,
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json; /* a parsed document */

struct json_value {
    const struct json *doc;
    const void *node; /* NULL: absent */
};

/* Parse `bytes` of `text`; `name` is what errors call it (copied). */
enum status json_parse(const char *name, const char *text, size_t bytes,
                       const struct json_limits *limits, struct json **out,
                       struct err *e);

/* Read and parse a file of the user's choice (links are followed). */
enum status json_read(const char *path, const struct json_limits *limits,
                      struct json **out, struct err *e);

/* json_close(NULL) is fine. */
void json_close(struct json *doc);

/* ---- walking --------------------------------------------------------------------- */

struct json_value json_root(const struct json *doc);
const char *json_name(const struct json *doc);
enum json_kind json_kind(struct json_value v);
bool json_exists(struct json_value v);

/* Members of an object or elements of an array, in the order of the text; absent past
 * the last and for other kinds. */
struct json_value json_first(struct json_value v);
struct json_value json_next(struct json_value v);
size_t json_count(struct json_value v);

/* The member's name, or NULL for the root and for elements. */
const char *json_key(struct json_value v);

/* The member with this name, or an absent value. */
struct json_value json_find(struct json_value object, const char *key);

/* ---- values ---------------------------------------------------------------------- */

/* The value itself. Outputs are written only on success. Strings belong to the
 * document. Integers are below 2^53 in magnitude. */
enum status json_int(struct json_value v, int64_t lo, int64_t hi, int64_t *out,
                     struct err *e);
enum status json_double(struct json_value v, double lo, double hi, double *out,
                        struct err *e);
enum status json_string(struct json_value v, const char **out, struct err *e);
enum status json_bool(struct json_value v, bool *out, struct err *e);

/* An array of integers: at most `max`, its length in *n. */
enum status json_ints(struct json_value v, int64_t lo, int64_t hi, int max,
                      int64_t *out, int *n, struct err *e);
/* An array of exactly `n` numbers. */
enum status json_doubles(struct json_value v, double lo, double hi, int n, double *out,
                         struct err *e);

/* A member that must be there. */
enum status json_get(struct json_value object, const char *key, enum json_kind kind,
                     struct json_value *out, struct err *e);
enum status json_get_int(struct json_value object, const char *key, int64_t lo,
                         int64_t hi, int64_t *out, struct err *e);
enum status json_get_double(struct json_value object, const char *key, double lo,
                            double hi, double *out, struct err *e);
enum status json_get_string(struct json_value object, const char *key, const char **out,
                            struct err *e);
enum status json_get_bool(struct json_value object, const char *key, bool *out,
                          struct err *e);

/* A member that may be absent or null: then *out keeps its value. */
enum status json_opt_int(struct json_value object, const char *key, int64_t lo,
                         int64_t hi, int64_t *out, struct err *e);
enum status json_opt_double(struct json_value object, const char *key, double lo,
                            double hi, double *out, struct err *e);
enum status json_opt_string(struct json_value object, const char *key, const char **out,
                            struct err *e);
enum status json_opt_bool(struct json_value object, const char *key, bool *out,
                          struct err *e);

/* Record "'file': 'key' …" as ST_INPUT, for the caller's own rules about a value. */
enum status json_refuse(struct json_value v, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- writing --------------------------------------------------------------------- */

/* A writer that appends to a buffer, in one pass:
 *
 *     struct json_out o;
 *     json_out_init(&o, &buf, JSON_INDENTED);
 *     json_out_object(&o, NULL);
 *     json_out_int(&o, "seed", 42);
 *     json_out_array(&o, "size"); json_out_int(&o, NULL, 544); json_out_end(&o);
 *     json_out_end(&o);
 *
 * `key` is NULL inside arrays and at the top. Strings are escaped; bytes that are not
 * UTF-8 become U+FFFD. Numbers are the shortest text that reads back as the same
 * double; infinities and NaN become null. Errors are those of the buffer. */
enum json_style { JSON_COMPACT, JSON_INDENTED };

struct json_out {
    struct buf *buf;
    enum json_style style;
    int depth;
    bool any[JSON_DEPTH_MAX + 1]; /* does the container have a member already? */
    char close[JSON_DEPTH_MAX + 1];
};

void json_out_init(struct json_out *o, struct buf *buf, enum json_style style);
void json_out_object(struct json_out *o, const char *key);
void json_out_array(struct json_out *o, const char *key);
void json_out_end(struct json_out *o);
void json_out_string(struct json_out *o, const char *key, const char *value);
void json_out_int(struct json_out *o, const char *key, int64_t value);
void json_out_double(struct json_out *o, const char *key, double value);
void json_out_bool(struct json_out *o, const char *key, bool value);
void json_out_null(struct json_out *o, const char *key);
/* Copy a parsed value; with `sorted`, members go by the bytes of their names. */
void json_out_value(struct json_out *o, const char *key, struct json_value v,
                    bool sorted);

/* Canonical form, for digests: sorted members, no spaces, shortest numbers. */
void json_canonical(struct json_value v, struct buf *buf);

#endif
