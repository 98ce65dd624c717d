/* embeds.c - text rows to and from HDF5 */
#include "engine/pipeline/embeds.h"

#include <stdlib.h>
#include <string.h>

#include "engine/h5/h5.h"

void embeds_release(struct embeds *m)
{
    free(m->cond.rows);
    free(m->uncond.rows);
    memset(m, 0, sizeof(*m));
}

enum { ROWS_MAX = 1 << 20 }; /* that a file may have before its number is refused */

/* Number of rows of an array of the file; 0: it is not there, and need not be. */
static enum status rows_shape(const char *path, const char *name, bool optional,
                              const struct dit_config *dit, int64_t *n, struct err *e)
{
    struct h5_array a = {.path = name,
                         .rank = 2,
                         .dims = {-1, dit->text_dim},
                         .max_count = ROWS_MAX * dit->text_dim,
                         .optional = optional};

    TRY(h5_read(path, &a, 1, NULL, 0, e));
    if (a.found && a.dims[0] > dit->text_len)
        return err_set(e, ST_INPUT,
                       "cannot use '%s': dataset '%s' has %lld rows, %lld are possible",
                       path, name, (long long)a.dims[0], (long long)dit->text_len);
    *n = a.found ? a.dims[0] : 0;
    return ST_OK;
}

/* Ask for the shape first, then read into memory of that size. */
static enum status rows_read(const char *path, const char *name, bool optional,
                             const struct dit_config *dit, struct embeds_rows *out,
                             struct err *e)
{
    struct h5_array a = {.path = name, .rank = 2};
    int64_t n;

    TRY(rows_shape(path, name, optional, dit, &n, e));
    if (!n)
        return ST_OK;
    a.max_count = n * dit->text_dim;
    a.dims[0] = n;
    a.dims[1] = dit->text_dim;
    a.data = out->rows = malloc((size_t)a.max_count * sizeof(float));
    if (!out->rows)
        return err_set(e, ST_RESOURCE, "out of memory: %lld text rows", (long long)n);
    out->n = n;
    return h5_read(path, &a, 1, NULL, 0, e);
}

enum status embeds_check(const char *path, const struct dit_config *dit, bool guided,
                         struct err *e)
{
    int64_t n;

    TRY(rows_shape(path, "text/cond", false, dit, &n, e));
    return rows_shape(path, "text/uncond", !guided, dit, &n, e);
}

enum status embeds_read(const char *path, const struct dit_config *dit, bool guided,
                        struct embeds *out, struct err *e)
{
    struct embeds m = {.width = dit->text_dim};
    enum status st;

    st = rows_read(path, "text/cond", false, dit, &m.cond, e);
    if (st == ST_OK)
        st = rows_read(path, "text/uncond", !guided, dit, &m.uncond, e);
    if (st != ST_OK) {
        embeds_release(&m);
        return st;
    }
    *out = m;
    return ST_OK;
}

static enum status rows_write(struct h5_writer *w, const char *name,
                              const struct embeds_rows *rows, int64_t width,
                              struct err *e)
{
    if (!rows->rows)
        return ST_OK;
    TRY(h5_put(w, name, 2, (int64_t[]){rows->n, width}, rows->rows, e));
    return h5_put_int(w, name, "length", rows->n, e);
}

enum status embeds_write(const char *path, bool force, const struct embeds *m,
                         struct err *e)
{
    struct h5_writer *w;
    enum status st;

    TRY(h5_create(path, force, &w, e));
    st = rows_write(w, "text/cond", &m->cond, m->width, e);
    if (st == ST_OK)
        st = rows_write(w, "text/uncond", &m->uncond, m->width, e);
    if (st != ST_OK) {
        h5_abandon(w);
        return st;
    }
    return h5_commit(w, e);
}
