/* pth.c - lists the tensors of a PyTorch .pth file */
#include "engine/weights/pth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/pickle.h"
#include "engine/weights/pth_zip.h"

enum { TOP_MAX = 256 };

struct pth {
    const struct file *file;
    int number;
    struct zip_list zip;
    char top[TOP_MAX]; /* with the final '/' */
    struct stored_list *list;
};

/* The one "<top>/data.pkl", which names the top folder. */
static enum status top_find(struct pth *p, const struct zip_item **pickle,
                            struct err *e)
{
    static const char file_name[] = "data.pkl";

    *pickle = NULL;
    for (int i = 0; i < p->zip.n; i++) {
        const struct zip_item *it = &p->zip.items[i];
        const char *slash = strchr(it->name, '/');

        if (!slash || strcmp(slash + 1, file_name) != 0)
            continue;
        if (*pickle)
            return err_set(e, ST_INPUT, "'%s': '%s' and '%s': two pickles",
                           p->file->path, (*pickle)->name, it->name);
        if (slash - it->name >= TOP_MAX - 1)
            return err_set(e, ST_INPUT,
                           "'%s': the folder of data.pkl has too long a "
                           "name",
                           p->file->path);
        snprintf(p->top, sizeof(p->top), "%.*s", (int)(slash - it->name + 1), it->name);
        *pickle = it;
    }
    if (!*pickle)
        return err_set(e, ST_INPUT,
                       "'%s': a zip file without data.pkl, so not one of "
                       "torch",
                       p->file->path);
    return ST_OK;
}

static const struct zip_item *entry(const struct pth *p, const char *rest)
{
    char name[TOP_MAX + 64];

    snprintf(name, sizeof(name), "%s%s", p->top, rest);
    return zip_list_find(&p->zip, name);
}

static enum status byteorder_check(const struct pth *p, struct err *e)
{
    const struct zip_item *it = entry(p, "byteorder");
    char text[16] = "";

    if (!it)
        return ST_OK;
    if (it->bytes < (int64_t)sizeof(text))
        TRY(file_read(p->file, it->offset, text, (size_t)it->bytes, e));
    if (strcmp(text, "little") != 0)
        return err_set(e, ST_INPUT, "'%s': byteorder is '%s', must be 'little'",
                       p->file->path, text);
    return ST_OK;
}

/* One tensor of the pickle becomes an entry of the list. */
static enum status tensor_add(void *self, const struct pickle_tensor *t, struct err *e)
{
    struct pth *p = self;
    struct stored s = {.name = (char *)t->name,
                       .dtype = (enum dtype)t->dtype,
                       .rank = t->rank,
                       .file = p->number,
                       .bytes = t->bytes};
    const struct zip_item *it;
    char key[48];

    snprintf(key, sizeof(key), "data/%s", t->storage);
    it = entry(p, key);
    if (!it)
        return err_set(e, ST_INPUT,
                       "'%s': tensor '%s' lies in '%s%s', which is missing",
                       p->file->path, t->name, p->top, key);
    if (it->bytes != t->storage_bytes)
        return err_set(e, ST_INPUT,
                       "'%s': tensor '%s': '%s%s' has %lld bytes, data.pkl says %lld",
                       p->file->path, t->name, p->top, key, (long long)it->bytes,
                       (long long)t->storage_bytes);
    memcpy(s.dims, t->dims, sizeof(s.dims));
    s.offset = it->offset + t->offset_bytes;
    return stored_add(p->list, &s, p->file->path, e);
}

static int by_offset(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int by_name(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* No two tensors on the same bytes, no name twice. Sorts items [from, n). */
static enum status tensors_compare(const struct pth *p, int from, struct err *e)
{
    struct stored *t = p->list->items + from;
    size_t n = (size_t)(p->list->n - from);
    const struct stored *last = NULL;

    if (n == 0)
        return err_set(e, ST_INPUT, "'%s': no tensors in it", p->file->path);
    qsort(t, n, sizeof(*t), by_offset);
    for (size_t i = 0; i < n; i++) {
        if (t[i].bytes == 0)
            continue;
        if (last && t[i].offset < last->offset + last->bytes)
            return err_set(e, ST_INPUT, "'%s': tensors '%s' and '%s' share their bytes",
                           p->file->path, last->name, t[i].name);
        last = &t[i];
    }
    qsort(t, n, sizeof(*t), by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(t[i - 1].name, t[i].name) == 0)
            return err_set(e, ST_INPUT, "'%s': tensor '%s' occurs twice", p->file->path,
                           t[i].name);
    return ST_OK;
}

static enum status pickle_read(struct pth *p, const struct zip_item *it, struct err *e)
{
    enum status st;
    char *text;

    if (it->bytes > PTH_PICKLE_MAX)
        return err_set(e, ST_INPUT, "'%s': data.pkl has %lld bytes, at most %d allowed",
                       p->file->path, (long long)it->bytes, (int)PTH_PICKLE_MAX);
    text = malloc((size_t)it->bytes + 1);
    if (!text)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                       p->file->path);
    st = file_read(p->file, it->offset, text, (size_t)it->bytes, e);
    if (st == ST_OK)
        st = pickle_run(p->file->path, text, (size_t)it->bytes, tensor_add, p, e);
    free(text);
    return st;
}

enum status pth_list(const struct file *f, int file, struct stored_list *list,
                     struct err *e)
{
    struct pth p = {.file = f, .number = file, .list = list};
    const struct zip_item *pickle;
    int from = list->n;
    enum status st;

    TRY(zip_list_read(f, &p.zip, e));
    st = top_find(&p, &pickle, e);
    if (st == ST_OK)
        st = byteorder_check(&p, e);
    if (st == ST_OK)
        st = pickle_read(&p, pickle, e);
    if (st == ST_OK)
        st = tensors_compare(&p, from, e);
    zip_list_release(&p.zip);
    return st;
}
