/* settle.c - tries the ways of a product until one is proven */
#include "kernels/settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row, few rows, a ragged number across tiles of 128 and 256. */
static const struct row_cut settle_cuts[] = {{0, 1}, {128, 5}, {640, 133}};

/* Bytes of rows [begin, begin + count) of y, on the host. */
static enum status rows_fetch(struct ops *ops, struct queue *q, const struct tensor *y,
                              const struct row_cut *cut, void *out, struct err *e)
{
    struct tensor from = tensor_slice(y, 0, cut->begin, cut->count);
    struct tensor to = tensor_make2(out, y->dtype, MEM_HOST, cut->count, y->shape[1]);

    from.pending = (struct pending){NULL, NULL, NULL};
    TRY(ops_copy(ops, q, &to, &from, e));
    return ops_queue_wait(ops, q, e);
}

static int64_t values_differ(const char *a, const char *b, int64_t n, size_t bytes)
{
    int64_t differ = 0;

    for (int64_t i = 0; i < n; i++)
        differ += memcmp(a + (size_t)i * bytes, b + (size_t)i * bytes, bytes) != 0;
    return differ;
}

/* One cut: `host` has room for it twice. */
static enum status cut_compare(struct ops *ops, struct queue *q,
                               const struct op_linear *a, const struct tensor *again,
                               const struct row_cut *cut, char *host, int64_t *differ,
                               struct err *e)
{
    int64_t values = cut->count * a->y->shape[1];
    size_t size = dtype_bytes(a->y->dtype);
    char *second = host + (size_t)values * size;
    struct tensor x = tensor_slice(a->x, 0, cut->begin, cut->count);
    struct tensor y = tensor_slice(again, 0, 0, cut->count);
    struct op_linear alone = *a;

    alone.x = &x;
    alone.y = &y;
    TRY(ops_linear(ops, q, &alone, e));
    TRY(rows_fetch(ops, q, a->y, cut, host, e));
    TRY(rows_fetch(ops, q, again, &(struct row_cut){0, cut->count}, second, e));
    *differ += values_differ(host, second, values, size);
    return ST_OK;
}

enum status linear_rows_differ(struct ops *ops, struct queue *q,
                               const struct op_linear *a, const struct tensor *again,
                               const struct row_cut *cuts, int n, int64_t *differ,
                               struct err *e)
{
    int64_t rows = a->x->shape[0], most = 0, found = 0;
    enum status st;
    char *host;

    for (int i = 0; i < n; i++) {
        if (cuts[i].begin + cuts[i].count <= rows && cuts[i].count > most)
            most = cuts[i].count;
    }
    host = malloc(2 * (size_t)(most * a->y->shape[1]) * dtype_bytes(a->y->dtype) + 1);
    if (!host)
        return err_set(e, ST_RESOURCE, "out of memory: rows of a product");
    st = ops_linear(ops, q, a, e);
    for (int i = 0; i < n && st == ST_OK; i++) {
        if (cuts[i].begin + cuts[i].count <= rows)
            st = cut_compare(ops, q, a, again, &cuts[i], host, &found, e);
    }
    free(host);
    TRY(st);
    *differ = found;
    return ST_OK;
}

/* ---- choosing -------------------------------------------------------------------- */

enum { WAYS_TRIED = 8 };

static enum status none_left(const struct op_linear *a, int n, struct err *e)
{
    return err_set(e, ST_DEVICE,
                   "cannot trust the products of the device: with each of %d "
                   "algorithms for %lld x %lld %s rows depend on their number",
                   n, (long long)a->w->shape[0], (long long)a->w->shape[1],
                   dtype_name(a->x->dtype));
}

enum status linear_settle(struct ops *ops, struct queue *q, const struct op_linear *a,
                          const struct tensor *again, char note[SETTLE_NOTE_BYTES],
                          struct err *e)
{
    struct linear_way way[WAYS_TRIED];
    int64_t differ;
    int n;

    note[0] = 0;
    TRY(ops_linear_ways(ops, a, way, WAYS_TRIED, &n, e));
    for (int i = 0; i < n; i++) {
        TRY(ops_linear_take(ops, a, &way[i], e));
        TRY(linear_rows_differ(ops, q, a, again, settle_cuts,
                               sizeof(settle_cuts) / sizeof(settle_cuts[0]), &differ,
                               e));
        if (differ == 0)
            return ST_OK;
        snprintf(note, SETTLE_NOTE_BYTES,
                 "products of %lld x %lld %s: algorithm %d of %d in place of one whose "
                 "rows depend on their number",
                 (long long)a->w->shape[0], (long long)a->w->shape[1],
                 dtype_name(a->x->dtype), i + 2, n);
    }
    return n > 0 ? none_left(a, n, e) : ST_OK;
}
