/* safetensors.c - reads the header of a safetensors file, believing nothing */
#include "engine/weights/safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { METADATA_BYTES = 64 << 10 };

/* 32 MiB of tree is about 25,000 tensors; the largest published file has 1,783. */
static const struct json_limits header_limits = {
    .text_bytes = SAFETENSORS_HEADER_MAX,
    .memory_bytes = 32 << 20,
    .depth = 4,
    .plain_integers = true,
};

static const int64_t dim_max = INT64_C(1) << 48;

/* Checks 1 to 3 and 5 of the format: a length that fits, and '{' first. The caller
 * frees *out. */
static enum status header_read(const struct file *f, char **out, size_t *bytes,
                               struct err *e)
{
    unsigned char len[8];
    uint64_t n = 0;
    char *text;
    enum status st;

    if (f->bytes < 8)
        return err_set(e, ST_INPUT, "'%s': %lld bytes, too short for a header length",
                       f->path, (long long)f->bytes);
    TRY(file_read(f, 0, len, 8, e));
    for (int i = 7; i >= 0; i--)
        n = n << 8 | len[i];
    if (n > SAFETENSORS_HEADER_MAX)
        return err_set(e, ST_INPUT, "'%s': header length %llu, at most %d allowed",
                       f->path, (unsigned long long)n, (int)SAFETENSORS_HEADER_MAX);
    if (n > (uint64_t)f->bytes - 8)
        return err_set(e, ST_INPUT, "'%s': header length %llu in a file of %lld bytes",
                       f->path, (unsigned long long)n, (long long)f->bytes);
    if (n == 0)
        return err_set(e, ST_INPUT, "'%s': header length 0", f->path);
    text = malloc(n);
    if (!text)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", f->path);
    st = file_read(f, 8, text, n, e);
    if (st == ST_OK && text[0] != '{')
        st = err_set(e, ST_INPUT, "'%s': header does not begin with '{'", f->path);
    if (st != ST_OK) {
        free(text);
        return st;
    }
    *out = text;
    *bytes = n;
    return ST_OK;
}

static enum status metadata_check(struct json_value meta, struct err *e)
{
    size_t used = 0;

    if (json_kind(meta) != JSON_OBJECT)
        return json_refuse(meta, e, "is not an object");
    for (struct json_value v = json_first(meta); json_exists(v); v = json_next(v)) {
        const char *text;

        if (json_kind(v) != JSON_STRING)
            return json_refuse(meta, e, "holds '%.60s', which is not a string",
                               json_key(v));
        TRY(json_string(v, &text, e));
        used += strlen(json_key(v)) + strlen(text);
    }
    if (used > METADATA_BYTES)
        return json_refuse(meta, e, "takes %zu bytes, at most %d allowed", used,
                           (int)METADATA_BYTES);
    return ST_OK;
}

static enum status entry_dtype(struct json_value entry, enum dtype *out, struct err *e)
{
    const char *name;

    TRY(json_get_string(entry, "dtype", &name, e));
    if (dtype_from_name(name, out) != 0)
        return json_refuse(json_find(entry, "dtype"), e,
                           "'%.20s' is not one of F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I8 "
                           "U8 I32 I64",
                           name);
    return ST_OK;
}

/* One member of the header; offsets are still relative to the data start. */
static enum status entry_parse(struct json_value entry, struct stored *t, struct err *e)
{
    struct json_value shape, offsets;
    int64_t range[2], elements, bytes;
    int n;

    if (json_kind(entry) != JSON_OBJECT || json_count(entry) != 3)
        return json_refuse(
            entry, e, "must be an object of exactly dtype, shape and data_offsets");
    TRY(entry_dtype(entry, &t->dtype, e));
    TRY(json_get(entry, "shape", JSON_ARRAY, &shape, e));
    TRY(json_ints(shape, 0, dim_max, STORED_RANK_MAX, t->dims, &t->rank, e));
    TRY(json_get(entry, "data_offsets", JSON_ARRAY, &offsets, e));
    TRY(json_ints(offsets, 0, INT64_C(1) << 52, 2, range, &n, e));
    if (n != 2 || range[0] > range[1])
        return json_refuse(offsets, e, "is not a range");
    if (stored_size(t->dtype, t->rank, t->dims, &elements, &bytes) != 0)
        return json_refuse(shape, e, "overflows");
    if (bytes != range[1] - range[0])
        return json_refuse(offsets, e, "spans %lld bytes, the shape needs %lld",
                           (long long)(range[1] - range[0]), (long long)bytes);
    t->offset = range[0];
    t->bytes = bytes;
    return ST_OK;
}

static enum status entries_parse(const struct file *f, int file, struct json_value root,
                                 struct stored_list *list, struct err *e)
{
    for (struct json_value v = json_first(root); json_exists(v); v = json_next(v)) {
        struct stored t = {.name = (char *)json_key(v), .file = file};

        if (strcmp(t.name, "__metadata__") == 0) {
            TRY(metadata_check(v, e));
            continue;
        }
        if (!t.name[0] || strlen(t.name) > STORED_NAME_BYTES)
            return err_set(e, ST_INPUT,
                           "'%s': a tensor name of %zu bytes, 1 to %d allowed", f->path,
                           strlen(t.name), (int)STORED_NAME_BYTES);
        if (entry_parse(v, &t, e) != ST_OK)
            return err_prefix(e, "tensor '%s'", t.name);
        TRY(stored_add(list, &t, f->path, e));
    }
    return ST_OK;
}

static int offset_order(const void *a, const void *b)
{
    const struct stored *x = *(const struct stored *const *)a;
    const struct stored *y = *(const struct stored *const *)b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Sorted by begin, the ranges tile [0, data) without hole, overlap or rest. */
static enum status layout_check(const struct file *f, const struct stored **sorted,
                                int n, int64_t data, struct err *e)
{
    int64_t at = 0;

    qsort(sorted, (size_t)n, sizeof(*sorted), offset_order);
    for (int i = 0; i < n; i++) {
        const struct stored *t = sorted[i];

        if (t->offset != at)
            return err_set(e, ST_INPUT,
                           "'%s': data_offsets of tensor '%s' begin at %lld, %s at "
                           "%lld",
                           f->path, t->name, (long long)t->offset,
                           t->offset < at ? "overlapping what ends" : "after a hole",
                           (long long)at);
        if (t->bytes > data - at)
            return err_set(
                e, ST_INPUT,
                "'%s': data_offsets of tensor '%s' end at %lld, the data has "
                "%lld bytes",
                f->path, t->name, (long long)(at + t->bytes), (long long)data);
        at += t->bytes;
    }
    if (at != data)
        return err_set(e, ST_INPUT, "'%s': %lld bytes after the last tensor", f->path,
                       (long long)(data - at));
    return ST_OK;
}

/* Check the layout of items [from, n) and make their offsets absolute. */
static enum status layout_settle(const struct file *f, struct stored_list *list,
                                 int from, int64_t data_start, struct err *e)
{
    int n = list->n - from;
    const struct stored **sorted = malloc(((size_t)n + 1) * sizeof(*sorted));
    enum status st;

    if (!sorted)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", f->path);
    for (int i = 0; i < n; i++)
        sorted[i] = &list->items[from + i];
    st = layout_check(f, sorted, n, f->bytes - data_start, e);
    free(sorted);
    for (int i = 0; st == ST_OK && i < n; i++)
        list->items[from + i].offset += data_start;
    return st;
}

enum status safetensors_list(const struct file *f, int file, struct stored_list *list,
                             struct err *e)
{
    int from = list->n;
    struct json *doc;
    char *text;
    size_t bytes;
    enum status st;

    TRY(header_read(f, &text, &bytes, e));
    st = json_parse(f->path, text, bytes, &header_limits, &doc, e);
    free(text);
    if (st != ST_OK)
        return st;
    st = entries_parse(f, file, json_root(doc), list, e);
    json_close(doc);
    if (st != ST_OK)
        return st;
    return layout_settle(f, list, from, 8 + (int64_t)bytes, e);
}

enum status safetensors_open(const char *path, struct source **out, struct err *e)
{
    return source_open(path, out, e);
}
