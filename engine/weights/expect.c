/* expect.c - lists what a component must hold, and compares both ways */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/component.h"

void expect_add(struct expect_list *l, int rank, const int64_t *dims, const char *fmt,
                ...)
{
    struct expected *x;
    va_list ap;

    if (l->n == l->cap) {
        int cap = l->cap ? 2 * l->cap : 256;

        x = realloc(l->items, (size_t)cap * sizeof(*x));
        if (!x) {
            l->failed = true;
            return;
        }
        l->items = x;
        l->cap = cap;
    }
    x = &l->items[l->n++];
    x->rank = rank;
    memcpy(x->dims, dims, (size_t)rank * sizeof(*dims));
    va_start(ap, fmt);
    vsnprintf(x->name, sizeof(x->name), fmt, ap);
    va_end(ap);
}

static void row_add(struct expect_list *l, const struct expect_row *row,
                    const int64_t *symbols, int64_t layer)
{
    const char *hash = strchr(row->name, '#');
    int64_t dims[5];

    for (int i = 0; i < row->rank; i++)
        dims[i] = row->dims[i] < 0 ? symbols[-1 - row->dims[i]] : row->dims[i];
    if (!hash)
        expect_add(l, row->rank, dims, "%s", row->name);
    else
        expect_add(l, row->rank, dims, "%.*s%lld%s", (int)(hash - row->name), row->name,
                   (long long)layer, hash + 1);
}

void expect_rows(struct expect_list *l, const struct expect_row *rows, int n,
                 const int64_t *symbols, int64_t layers)
{
    for (int i = 0; i < n; i++) {
        int64_t times = strchr(rows[i].name, '#') ? layers : 1;

        for (int64_t k = 0; k < times && !l->failed; k++)
            row_add(l, &rows[i], symbols, k);
    }
}

void expect_release(struct expect_list *l)
{
    free(l->items);
    *l = (struct expect_list)EXPECT_LIST_INIT;
}

static int expected_order(const void *a, const void *b)
{
    const struct expected *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static enum status shape_check(const struct component *c, const struct expected *x,
                               const struct stored *t, struct err *e)
{
    char there[160], wanted[160];

    if (t->rank == x->rank &&
        memcmp(t->dims, x->dims, (size_t)x->rank * sizeof(*x->dims)) == 0)
        return ST_OK;
    return err_set(e, ST_INPUT, "'%s': tensor '%s' is %s, must be %s",
                   source_path(c->source), t->name,
                   stored_shape(t->rank, t->dims, there, sizeof(there)),
                   stored_shape(x->rank, x->dims, wanted, sizeof(wanted)));
}

/* Both lists are sorted by canonical name: walk them together. */
enum status component_check(const struct component *c, struct expect_list *l,
                            struct err *e)
{
    if (l->failed)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                       source_path(c->source));
    qsort(l->items, (size_t)l->n, sizeof(*l->items), expected_order);
    for (int i = 0, k = 0; i < l->n || k < c->n;) {
        int order = i == l->n   ? 1
                    : k == c->n ? -1
                                : strcmp(l->items[i].name, c->list[k].name);

        if (order < 0)
            return err_set(e, ST_INPUT, "'%s': tensor '%s' of the %s is missing",
                           source_path(c->source), l->items[i].name, c->label);
        if (order > 0)
            return err_set(e, ST_INPUT, "'%s': tensor '%s' does not belong to a %s",
                           source_path(c->source), c->list[k].stored->name, c->label);
        TRY(shape_check(c, &l->items[i++], c->list[k++].stored, e));
    }
    return ST_OK;
}
