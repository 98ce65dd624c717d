/* stored.c - lists of tensors in files */
#include "engine/weights/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int stored_size(enum dtype dtype, int rank, const int64_t *dims, int64_t *elements,
                int64_t *bytes)
{
    int64_t n = 1, b;

    for (int i = 0; i < rank; i++)
        if (dims[i] < 0 || __builtin_mul_overflow(n, dims[i], &n))
            return -1;
    if (__builtin_mul_overflow(n, (int64_t)dtype_bytes(dtype), &b) || b > INT64_MAX / 2)
        return -1;
    *elements = n;
    *bytes = b;
    return 0;
}

int64_t stored_elements(const struct stored *t)
{
    int64_t n = 1;

    for (int i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}

const char *stored_shape(int rank, const int64_t *dims, char *out, size_t bytes)
{
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i <= rank && used < bytes; i++) {
        int n;

        if (i == rank)
            n = snprintf(out + used, bytes - used, rank ? "]" : "[]");
        else
            n = snprintf(out + used, bytes - used, i ? ", %lld" : "[%lld",
                         (long long)dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return out;
}

enum status stored_add(struct stored_list *list, const struct stored *t,
                       const char *path, struct err *e)
{
    char *name;

    if (list->n == STORED_COUNT_MAX)
        return err_set(e, ST_INPUT, "'%s': more than %d tensors", path,
                       (int)STORED_COUNT_MAX);
    if (list->n == list->cap) {
        int cap = list->cap ? 2 * list->cap : 256;
        struct stored *items = realloc(list->items, (size_t)cap * sizeof(*items));

        if (!items)
            return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", path);
        list->items = items;
        list->cap = cap;
    }
    name = strdup(t->name);
    if (!name)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", path);
    list->items[list->n] = *t;
    list->items[list->n++].name = name;
    return ST_OK;
}

static int name_order(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;

    return strcmp(x->name, y->name);
}

void stored_sort(struct stored_list *list)
{
    if (list->n)
        qsort(list->items, (size_t)list->n, sizeof(*list->items), name_order);
}

static int name_compare(const void *key, const void *item)
{
    const struct stored *t = item;

    return strcmp(key, t->name);
}

const struct stored *stored_find(const struct stored_list *list, const char *name)
{
    if (!list->n)
        return NULL;
    return bsearch(name, list->items, (size_t)list->n, sizeof(*list->items),
                   name_compare);
}

void stored_release(struct stored_list *list)
{
    for (int i = 0; i < list->n; i++)
        free(list->items[i].name);
    free(list->items);
    *list = (struct stored_list)STORED_LIST_INIT;
}
