/* pth_zip.c - lists a zip file through libzip
 *
 * libzip checks the structure (zip64, central against local headers, bounds) but does
 * not tell where a payload lies, which we need to check for overlaps and to read large
 * tensors with several threads. So it reads through a source of ours that remembers
 * where it was asked to read: after one byte of an entry is taken, that place is the
 * start of the payload, computed by libzip from the local header. The source also
 * bounds what opening may cost: the directory is read before its entries can be
 * counted, and 6 MiB of it make about 40 MiB of libzip's structures.
 */
#include "engine/weights/pth_zip.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "engine/weights/stored.h"

enum { DIRECTORY_BYTES = 6 << 20, ENTRIES_MAX = STORED_COUNT_MAX + 16 };

struct reader {
    const struct file *file;
    int64_t at;        /* position of the next read */
    int64_t last_read; /* where the last read began */
    int64_t budget;    /* bytes that may still be read, -1: no limit */
    zip_error_t error;
};

static zip_int64_t reader_read(struct reader *r, void *data, zip_uint64_t len)
{
    int64_t left = r->file->bytes - r->at;
    int64_t n = len < (zip_uint64_t)left ? (int64_t)len : left;

    if (r->budget >= 0 && n > r->budget) {
        zip_error_set(&r->error, ZIP_ER_MEMORY, 0);
        return -1;
    }
    if (n > 0 && file_read(r->file, r->at, data, (size_t)n, NULL) != ST_OK) {
        zip_error_set(&r->error, ZIP_ER_READ, 0);
        return -1;
    }
    r->budget -= r->budget >= 0 ? n : 0;
    r->last_read = r->at;
    r->at += n;
    return n;
}

static zip_int64_t reader_seek(struct reader *r, void *data, zip_uint64_t len)
{
    zip_int64_t to = zip_source_seek_compute_offset(
        (zip_uint64_t)r->at, (zip_uint64_t)r->file->bytes, data, len, &r->error);

    if (to < 0)
        return -1;
    r->at = to;
    return 0;
}

static zip_int64_t reader_call(void *state, void *data, zip_uint64_t len,
                               zip_source_cmd_t cmd)
{
    struct reader *r = state;

    switch (cmd) {
    case ZIP_SOURCE_OPEN:
        r->at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return reader_read(r, data, len);
    case ZIP_SOURCE_SEEK:
        return reader_seek(r, data, len);
    case ZIP_SOURCE_TELL:
        return r->at;
    case ZIP_SOURCE_STAT:
        if (len < sizeof(zip_stat_t))
            return -1;
        zip_stat_init(data);
        ((zip_stat_t *)data)->size = (zip_uint64_t)r->file->bytes;
        ((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
        return sizeof(zip_stat_t);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&r->error, data, len);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
            ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
            ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    default:
        zip_error_set(&r->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

static enum status zip_open_file(struct reader *r, zip_t **out, struct err *e)
{
    zip_error_t error;
    zip_source_t *src;
    zip_t *z;

    zip_error_init(&error);
    src = zip_source_function_create(reader_call, r, &error);
    z = src ? zip_open_from_source(src, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    if (!z) {
        if (src)
            zip_source_free(src);
        err_set(e, ST_INPUT, "cannot read '%s' as a zip file: %s", r->file->path,
                r->budget >= 0 && zip_error_code_zip(&error) == ZIP_ER_MEMORY
                    ? "its directory is too large"
                    : zip_error_strerror(&error));
        zip_error_fini(&error);
        return ST_INPUT;
    }
    zip_error_fini(&error);
    *out = z;
    return ST_OK;
}

/* Relative, of plain parts, without "..". */
static bool entry_name_ok(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > STORED_NAME_BYTES || name[0] == '/' || strstr(name, ".."))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == '\\' || name[i] == ':' ||
            name[i] == 0x7f)
            return false;
    return true;
}

static enum status entry_check(const struct file *f, const zip_stat_t *s, struct err *e)
{
    zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                          ZIP_STAT_COMP_METHOD;

    if ((s->valid & needed) != needed)
        return err_set(e, ST_INPUT, "'%s': an entry without name or size", f->path);
    if (!entry_name_ok(s->name))
        return err_set(e, ST_INPUT, "'%s': entry name '%.100s' is not allowed", f->path,
                       s->name);
    if ((s->valid & ZIP_STAT_ENCRYPTION_METHOD) && s->encryption_method != ZIP_EM_NONE)
        return err_set(e, ST_INPUT, "'%s': entry '%s' is encrypted", f->path, s->name);
    if (s->comp_method != ZIP_CM_STORE || s->comp_size != s->size)
        return err_set(e, ST_INPUT, "'%s': entry '%s' is compressed, must be stored",
                       f->path, s->name);
    if (s->size > (zip_uint64_t)f->bytes)
        return err_set(e, ST_INPUT, "'%s': entry '%s' has %llu bytes in a file of %lld",
                       f->path, s->name, (unsigned long long)s->size,
                       (long long)f->bytes);
    return ST_OK;
}

/* Where the payload begins: take one byte and see where it came from. */
static enum status entry_locate(struct reader *r, zip_t *z, zip_uint64_t i,
                                struct zip_item *it, struct err *e)
{
    zip_file_t *in = zip_fopen_index(z, i, ZIP_FL_COMPRESSED);
    char byte;
    bool ok = in && (it->bytes == 0 || zip_fread(in, &byte, 1) == 1);

    if (in)
        zip_fclose(in);
    if (!ok || (it->bytes > 0 && it->bytes > r->file->bytes - r->last_read))
        return err_set(e, ST_INPUT, "'%s': entry '%s' lies outside the file",
                       r->file->path, it->name);
    it->offset = it->bytes ? r->last_read : 0;
    return ST_OK;
}

static enum status entries_read(struct reader *r, zip_t *z, struct zip_list *out,
                                struct err *e)
{
    zip_int64_t n = zip_get_num_entries(z, 0);

    if (n < 1 || n > ENTRIES_MAX)
        return err_set(e, ST_INPUT, "'%s': %lld zip entries, 1 to %d allowed",
                       r->file->path, (long long)n, (int)ENTRIES_MAX);
    out->items = calloc((size_t)n, sizeof(*out->items));
    if (!out->items)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                       r->file->path);
    for (zip_int64_t i = 0; i < n; i++) {
        struct zip_item *it = &out->items[i];
        zip_stat_t s;

        zip_stat_init(&s);
        if (zip_stat_index(z, (zip_uint64_t)i, ZIP_FL_ENC_RAW, &s) != 0)
            return err_set(e, ST_INPUT, "'%s': unreadable zip entry %lld",
                           r->file->path, (long long)i);
        TRY(entry_check(r->file, &s, e));
        it->name = strdup(s.name);
        if (!it->name)
            return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                           r->file->path);
        out->n = (int)i + 1;
        it->bytes = (int64_t)s.size;
        TRY(entry_locate(r, z, (zip_uint64_t)i, it, e));
    }
    return ST_OK;
}

static int item_by_offset(const void *a, const void *b)
{
    const struct zip_item *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int item_by_name(const void *a, const void *b)
{
    const struct zip_item *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* Leaves the items sorted by name. */
static enum status entries_compare(const struct file *f, struct zip_list *z,
                                   struct err *e)
{
    struct zip_item *it = z->items;
    int64_t end = 0;

    qsort(it, (size_t)z->n, sizeof(*it), item_by_offset);
    for (int i = 0; i < z->n; i++) {
        if (it[i].bytes && it[i].offset < end)
            return err_set(e, ST_INPUT, "'%s': entry '%s' overlaps another", f->path,
                           it[i].name);
        if (it[i].bytes)
            end = it[i].offset + it[i].bytes;
    }
    qsort(it, (size_t)z->n, sizeof(*it), item_by_name);
    for (int i = 1; i < z->n; i++)
        if (strcmp(it[i - 1].name, it[i].name) == 0)
            return err_set(e, ST_INPUT, "'%s': entry '%s' occurs twice", f->path,
                           it[i].name);
    return ST_OK;
}

enum status zip_list_read(const struct file *f, struct zip_list *out, struct err *e)
{
    struct reader r = {.file = f, .budget = DIRECTORY_BYTES};
    struct zip_list list = {NULL, 0};
    zip_t *z;
    enum status st;

    zip_error_init(&r.error);
    TRY(zip_open_file(&r, &z, e));
    r.budget = -1;
    st = entries_read(&r, z, &list, e);
    zip_discard(z);
    zip_error_fini(&r.error);
    if (st == ST_OK)
        st = entries_compare(f, &list, e);
    if (st != ST_OK) {
        zip_list_release(&list);
        return st;
    }
    *out = list;
    return ST_OK;
}

static int item_compare(const void *key, const void *item)
{
    const struct zip_item *it = item;

    return strcmp(key, it->name);
}

const struct zip_item *zip_list_find(const struct zip_list *z, const char *name)
{
    if (!z->n)
        return NULL;
    return bsearch(name, z->items, (size_t)z->n, sizeof(*z->items), item_compare);
}

void zip_list_release(struct zip_list *z)
{
    for (int i = 0; i < z->n; i++)
        free(z->items[i].name);
    free(z->items);
    *z = (struct zip_list){NULL, 0};
}
