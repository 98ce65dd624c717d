/* source.c - a set of open files and the tensors in them */
#include "engine/weights/source.h"

#include <stdlib.h>
#include <string.h>

#include "engine/weights/pth.h"
#include "engine/weights/safetensors.h"

enum { SHARDS_MAX = 4096, READ_PIECE = 1 << 20 };

struct source {
    char *path;
    struct file *files;
    int n_files;
    struct stored_list list;
};

/* About 44,000 names; the largest published index has 1,783 and takes 0.5 MB. */
static const struct json_limits index_limits = {
    .text_bytes = 4 << 20,
    .memory_bytes = 12 << 20,
    .depth = 4,
};

static struct source *source_create(const char *path, int n_files)
{
    struct source *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->path = strdup(path);
    s->files = calloc((size_t)n_files + 1, sizeof(*s->files));
    if (!s->path || !s->files) {
        source_close(s);
        return NULL;
    }
    return s;
}

void source_close(struct source *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_files; i++)
        file_close(&s->files[i]);
    stored_release(&s->list);
    free(s->files);
    free(s->path);
    free(s);
}

/* ---- one file ------------------------------------------------------------------- */

/* A zip begins with "PK\3\4"; everything else must be safetensors, except that a legacy
 * torch file (a bare pickle) deserves its own words. */
static enum status list_file(const struct file *f, int number, struct stored_list *list,
                             struct err *e)
{
    unsigned char head[4] = {0};

    if (f->bytes >= 4)
        TRY(file_read(f, 0, head, 4, e));
    if (memcmp(head, "PK\3\4", 4) == 0)
        return pth_list(f, number, list, e);
    if (memcmp(head, "\x80\x02\x8a\x0a", 4) == 0)
        return err_set(e, ST_INPUT,
                       "'%s': a torch file of the old format (a bare pickle), which is "
                       "not read; save it again with torch 1.6 or later",
                       f->path);
    return safetensors_list(f, number, list, e);
}

/* Take over *f, closing it on failure. */
static enum status source_adopt(struct file *f, struct source **out, struct err *e)
{
    struct source *s = source_create(f->path, 1);
    enum status st;

    if (!s) {
        st = err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", f->path);
        file_close(f);
        return st;
    }
    s->files[0] = *f;
    s->n_files = 1;
    TRY_GOTO(st, list_file(f, 0, &s->list, e), err_close);
    stored_sort(&s->list);
    *out = s;
    return ST_OK;

err_close:
    source_close(s);
    return st;
}

enum status source_open(const char *path, struct source **out, struct err *e)
{
    struct file f;

    TRY(file_open(path, &f, e));
    return source_adopt(&f, out, e);
}

/* ---- shards --------------------------------------------------------------------- */

/* A name of the index and where it says the tensor is. */
struct mapped {
    const char *tensor, *shard;
    int file;
};

static int mapped_by_shard(const void *a, const void *b)
{
    const struct mapped *x = a, *y = b;

    return strcmp(x->shard, y->shard);
}

static int mapped_by_tensor(const void *a, const void *b)
{
    const struct mapped *x = a, *y = b;

    return strcmp(x->tensor, y->tensor);
}

/* The weight_map as an array sorted by shard; the caller frees *out. */
static enum status index_map(struct json *doc, struct mapped **out, int *n,
                             struct err *e)
{
    struct json_value map, v;
    struct mapped *m;
    size_t count;
    int i = 0;

    if (json_kind(json_root(doc)) != JSON_OBJECT)
        return err_set(e, ST_INPUT, "'%s': not an object with a weight_map",
                       json_name(doc));
    TRY(json_get(json_root(doc), "weight_map", JSON_OBJECT, &map, e));
    count = json_count(map);
    if (count == 0 || count > STORED_COUNT_MAX)
        return json_refuse(map, e, "names %zu tensors, 1 to %d allowed", count,
                           (int)STORED_COUNT_MAX);
    m = malloc(count * sizeof(*m));
    if (!m)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                       json_name(doc));
    for (v = json_first(map); json_exists(v); v = json_next(v), i++) {
        enum status st = json_string(v, &m[i].shard, e);

        if (st == ST_OK && !file_name_plain(m[i].shard))
            st = json_refuse(v, e, "names the file '%.100s', which is not a plain name",
                             m[i].shard);
        if (st != ST_OK) {
            free(m);
            return st;
        }
        m[i].tensor = json_key(v);
    }
    qsort(m, count, sizeof(*m), mapped_by_shard);
    *out = m;
    *n = (int)count;
    return ST_OK;
}

/* Number the shards in the order of their names; returns how many there are. */
static int index_number(struct mapped *m, int n)
{
    int files = 0;

    for (int i = 0; i < n; i++) {
        if (i == 0 || strcmp(m[i].shard, m[i - 1].shard) != 0)
            files++;
        m[i].file = files - 1;
    }
    return files;
}

/* Both directions: map and shards name the same tensors, in the same files. */
static enum status index_compare(const struct source *s, const struct mapped *m, int n,
                                 struct err *e)
{
    const struct stored *t = s->list.items;

    for (int i = 0; i + 1 < s->list.n; i++)
        if (strcmp(t[i].name, t[i + 1].name) == 0)
            return err_set(e, ST_INPUT, "'%s': tensor '%s' is in '%s' and in '%s'",
                           s->path, t[i].name, s->files[t[i].file].path,
                           s->files[t[i + 1].file].path);
    for (int i = 0, k = 0; i < n || k < s->list.n; i++, k++) {
        int order = i == n ? 1 : k == s->list.n ? -1 : strcmp(m[i].tensor, t[k].name);

        if (order > 0)
            return err_set(e, ST_INPUT,
                           "'%s': tensor '%s' of '%s' is not in weight_map", s->path,
                           t[k].name, s->files[t[k].file].path);
        if (order < 0 || m[i].file != t[k].file)
            return err_set(e, ST_INPUT, "'%s': weight_map: tensor '%s' is not in '%s'",
                           s->path, m[i].tensor, m[i].shard);
    }
    return ST_OK;
}

static enum status shards_list(struct source *s, const struct folder *dir,
                               const struct mapped *m, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        if (m[i].file != s->n_files)
            continue;
        TRY(file_open_at(dir, m[i].shard, &s->files[s->n_files], e));
        s->n_files++;
        TRY(safetensors_list(&s->files[m[i].file], m[i].file, &s->list, e));
    }
    return ST_OK;
}

static enum status source_open_index(const struct folder *dir, const char *name,
                                     struct source **out, struct err *e)
{
    struct source *s = NULL;
    struct mapped *m = NULL;
    struct json *doc;
    int n = 0, files;
    enum status st;

    TRY(file_json_at(dir, name, &index_limits, &doc, e));
    TRY_GOTO(st, index_map(doc, &m, &n, e), out);
    files = index_number(m, n);
    if (files > SHARDS_MAX) {
        st = err_set(e, ST_INPUT, "'%s': weight_map names %d files, at most %d allowed",
                     json_name(doc), files, (int)SHARDS_MAX);
        goto out;
    }
    s = source_create(json_name(doc), files);
    if (!s) {
        st = err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", json_name(doc));
        goto out;
    }
    TRY_GOTO(st, shards_list(s, dir, m, n, e), out);
    stored_sort(&s->list);
    qsort(m, (size_t)n, sizeof(*m), mapped_by_tensor);
    TRY_GOTO(st, index_compare(s, m, n, e), out);
    *out = s;
    s = NULL;

out:
    source_close(s);
    free(m);
    json_close(doc);
    return st;
}

enum status source_open_at(const struct folder *dir, const char *name,
                           struct source **out, struct err *e)
{
    static const char ending[] = ".index.json";
    size_t n = strlen(name);
    struct file f;

    if (n >= sizeof(ending) && strcmp(name + n - (sizeof(ending) - 1), ending) == 0)
        return source_open_index(dir, name, out, e);
    TRY(file_open_at(dir, name, &f, e));
    return source_adopt(&f, out, e);
}

/* ---- asking --------------------------------------------------------------------- */

const char *source_path(const struct source *s)
{
    return s->path;
}

int source_files(const struct source *s)
{
    return s->n_files;
}

const struct file *source_file(const struct source *s, int i)
{
    return &s->files[i];
}

int source_count(const struct source *s)
{
    return s->list.n;
}

const struct stored *source_at(const struct source *s, int i)
{
    return &s->list.items[i];
}

const struct stored *source_find(const struct source *s, const char *name)
{
    return stored_find(&s->list, name);
}

enum status source_get(const struct source *s, const char *name, int rank,
                       const int64_t *dims, const struct stored **out, struct err *e)
{
    const struct stored *t = source_find(s, name);
    char there[160], wanted[160];
    bool same;

    if (!t)
        return err_set(e, ST_INPUT, "'%s': tensor '%s' is missing", s->path, name);
    same = rank < 0 || t->rank == rank;
    for (int i = 0; same && dims && i < t->rank; i++)
        same = dims[i] < 0 || dims[i] == t->dims[i];
    if (!same && !dims)
        return err_set(e, ST_INPUT, "'%s': tensor '%s' is %s, must have %d axes",
                       s->path, name,
                       stored_shape(t->rank, t->dims, there, sizeof(there)), rank);
    if (!same)
        return err_set(e, ST_INPUT, "'%s': tensor '%s' is %s, must be %s", s->path,
                       name, stored_shape(t->rank, t->dims, there, sizeof(there)),
                       stored_shape(rank, dims, wanted, sizeof(wanted)));
    *out = t;
    return ST_OK;
}

enum status source_read(const struct source *s, const struct stored *t, int64_t begin,
                        void *out, size_t bytes, struct err *e)
{
    if (begin < 0 || begin > t->bytes || bytes > (uint64_t)(t->bytes - begin))
        return err_set(e, ST_INPUT, "'%s': tensor '%s': bytes past its end", s->path,
                       t->name);
    return file_read(&s->files[t->file], t->offset + begin, out, bytes, e);
}

enum status source_read_as(const struct source *s, const struct stored *t,
                           enum dtype as, void *out, struct err *e)
{
    size_t from_bytes = dtype_bytes(t->dtype), to_bytes = dtype_bytes(as);
    enum status st = ST_OK;
    void *piece;

    if (as == t->dtype)
        return source_read(s, t, 0, out, (size_t)t->bytes, e);
    piece = malloc(READ_PIECE);
    if (!piece)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", s->path);
    for (int64_t at = 0; st == ST_OK && at < t->bytes; at += READ_PIECE) {
        size_t bytes = t->bytes - at < READ_PIECE ? (size_t)(t->bytes - at)
                                                  : READ_PIECE;

        st = source_read(s, t, at, piece, bytes, e);
        if (st == ST_OK)
            dtype_convert((char *)out + (size_t)at / from_bytes * to_bytes, as, piece,
                          t->dtype, bytes / from_bytes);
    }
    free(piece);
    return st;
}
