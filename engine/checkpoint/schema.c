/* schema.c - walks the tables of fields.h to write and to read
 *
 * Reading takes two passes: shapes and attributes first, then values into memory of
 * just that size.
 */
#include "engine/checkpoint/schema.h"

#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint/block.h"
#include "engine/checkpoint/fields.h"
#include "engine/h5/h5.h"

#define FORMAT "framefleet-checkpoint"

enum { VERSION = 1, KIND_BYTES = 16, FORMAT_BYTES = 32 };

/* ---- writing --------------------------------------------------------------------- */

static enum status arrays_put(struct h5_writer *w, const struct checkpoint *ck,
                              struct err *e)
{
    for (int i = 0; i < CHECKPOINT_ARRAYS; i++) {
        const struct checkpoint_dataset *d = &checkpoint_arrays[i];
        const struct checkpoint_floats *f = checkpoint_array_at(ck, i);

        if (f->dims[0])
            TRY(h5_put(w, d->path, d->rank, f->dims, f->data, e));
    }
    if (ck->cond.dims[0])
        TRY(h5_put_int(w, "text/cond", "length", ck->cond.dims[0], e));
    if (ck->uncond.dims[0])
        TRY(h5_put_int(w, "text/uncond", "length", ck->uncond.dims[0], e));
    if (ck->counter.n)
        TRY(h5_put_ints(w, CHECKPOINT_COUNTER, 1, &ck->counter.n, ck->counter.data, e));
    return ST_OK;
}

static enum status attrs_put(struct h5_writer *w, const struct checkpoint *ck,
                             struct err *e)
{
    static const char *const groups[] = {"job", "segment", "report"};

    for (int i = 0; i < 3; i++)
        TRY(h5_group(w, groups[i], e));
    TRY(h5_put_text(w, "", "format", FORMAT, e));
    TRY(h5_put_int(w, "", "version", VERSION, e));
    TRY(h5_put_text(w, "", "kind", checkpoint_kind_name(ck->kind), e));
    TRY(h5_put_text(w, "job", "config", ck->config, e));
    TRY(h5_put_text(w, "job", "launch", ck->launch, e));
    TRY(h5_put_real(w, "report", "seconds", ck->seconds, e));
    for (int i = 0; i < CHECKPOINT_TEXTS; i++)
        TRY(h5_put_text(w, checkpoint_texts[i].object, checkpoint_texts[i].name,
                        checkpoint_text_at(ck, i), e));
    for (int i = 0; i < CHECKPOINT_INTS; i++)
        TRY(h5_put_int(w, checkpoint_ints[i].object, checkpoint_ints[i].name,
                       *checkpoint_int_at(ck, i), e));
    return ST_OK;
}

enum status schema_build(const struct checkpoint *ck, const char *name, void **image,
                         size_t *bytes, struct err *e)
{
    struct h5_writer *w;
    enum status st;

    TRY(checkpoint_check(ck, e));
    TRY(h5_build(name, BLOCK_BYTES, &w, e));
    st = arrays_put(w, ck, e);
    if (st == ST_OK)
        st = attrs_put(w, ck, e);
    if (st != ST_OK) {
        h5_abandon(w);
        return st;
    }
    return h5_take(w, image, bytes, e);
}

/* ---- reading --------------------------------------------------------------------- */

enum {
    AT_FORMAT,
    AT_VERSION,
    AT_KIND,
    AT_CONFIG,
    AT_LAUNCH,
    AT_SECONDS,
    AT_TEXTS,
    AT_INTS = AT_TEXTS + CHECKPOINT_TEXTS,
    N_ATTRS = AT_INTS + CHECKPOINT_INTS,
    N_ARRAYS = CHECKPOINT_ARRAYS + 1 /* and the counter */
};

/* What is asked of a file, and room for the texts that come back. */
struct wants {
    struct h5_array array[N_ARRAYS];
    struct h5_attr attr[N_ATTRS];
    char format[FORMAT_BYTES], kind[KIND_BYTES];
    char config[CHECKPOINT_CONFIG_MAX + 1], launch[CHECKPOINT_CONFIG_MAX + 1];
};

static struct h5_attr text_attr(const char *object, const char *name, char *text,
                                size_t bytes)
{
    return (struct h5_attr){.object = object,
                            .name = name,
                            .kind = H5_ATTR_TEXT,
                            .text = text,
                            .text_bytes = bytes};
}

static void attrs_want(struct wants *w, struct checkpoint *ck)
{
    w->attr[AT_FORMAT] = text_attr("", "format", w->format, sizeof(w->format));
    w->attr[AT_VERSION] = (struct h5_attr){
        .object = "", .name = "version", .kind = H5_ATTR_INT};
    w->attr[AT_KIND] = text_attr("", "kind", w->kind, sizeof(w->kind));
    w->attr[AT_CONFIG] = text_attr("job", "config", w->config, sizeof(w->config));
    w->attr[AT_LAUNCH] = text_attr("job", "launch", w->launch, sizeof(w->launch));
    w->attr[AT_SECONDS] = (struct h5_attr){
        .object = "report", .name = "seconds", .kind = H5_ATTR_REAL};
    for (int i = 0; i < CHECKPOINT_TEXTS; i++)
        w->attr[AT_TEXTS + i] = text_attr(
            checkpoint_texts[i].object, checkpoint_texts[i].name,
            checkpoint_text_at(ck, i), checkpoint_texts[i].bytes);
    for (int i = 0; i < CHECKPOINT_INTS; i++)
        w->attr[AT_INTS + i] = (struct h5_attr){.object = checkpoint_ints[i].object,
                                                .name = checkpoint_ints[i].name,
                                                .kind = H5_ATTR_INT};
}

static void shapes_want(struct wants *w, int64_t file_bytes)
{
    for (int i = 0; i < CHECKPOINT_ARRAYS; i++)
        w->array[i] = (struct h5_array){.path = checkpoint_arrays[i].path,
                                        .rank = checkpoint_arrays[i].rank,
                                        .dims = {-1, -1, -1, -1},
                                        .max_count = file_bytes /
                                                     (int64_t)sizeof(float),
                                        .optional = true};
    w->array[CHECKPOINT_ARRAYS] = (struct h5_array){
        .path = CHECKPOINT_COUNTER,
        .rank = 1,
        .dims = {-1},
        .max_count = file_bytes / (int64_t)sizeof(int64_t),
        .integers = true,
        .optional = true};
}

static enum status attrs_take(const struct wants *w, struct checkpoint *ck,
                              struct err *e)
{
    if (strcmp(w->format, FORMAT) != 0)
        return err_set(e, ST_INPUT, "its format is '%s', not '%s'", w->format, FORMAT);
    if (w->attr[AT_VERSION].i != VERSION)
        return err_set(e, ST_INPUT, "it is of version %lld, this program knows %d",
                       (long long)w->attr[AT_VERSION].i, VERSION);
    ck->kind = 0;
    while (ck->kind <= CHECKPOINT_FINAL &&
           strcmp(checkpoint_kind_name(ck->kind), w->kind) != 0)
        ck->kind++;
    ck->seconds = w->attr[AT_SECONDS].f;
    for (int i = 0; i < CHECKPOINT_INTS; i++)
        *checkpoint_int_at(ck, i) = w->attr[AT_INTS + i].i;
    return checkpoint_config(ck, w->config, w->launch, e);
}

/* From shapes that were asked for to memory that the values fit, to be asked for next.
 * Only arrays that are there are kept in the request; returns their number. */
static enum status memory_want(struct wants *w, struct checkpoint *ck, int *n,
                               struct err *e)
{
    struct h5_array *counter = &w->array[CHECKPOINT_ARRAYS];

    *n = 0;
    for (int i = 0; i < CHECKPOINT_ARRAYS; i++) {
        struct checkpoint_floats *f = checkpoint_array_at(ck, i);
        struct h5_array a = w->array[i];

        if (!a.found)
            continue;
        for (int k = a.rank; k < 4; k++)
            a.dims[k] = 1;
        TRY(checkpoint_floats_size(f, a.dims, e));
        a.data = f->data;
        w->array[(*n)++] = a;
    }
    if (!counter->found)
        return ST_OK;
    TRY(checkpoint_ints_size(&ck->counter, counter->dims[0], e));
    counter->ints = ck->counter.data;
    w->array[(*n)++] = *counter;
    return ST_OK;
}

static enum status all_read(int fd, const char *name, int64_t file_bytes,
                            struct wants *w, struct checkpoint *ck, struct err *e)
{
    int n;

    attrs_want(w, ck);
    shapes_want(w, file_bytes);
    TRY(h5_read_fd(fd, name, w->array, N_ARRAYS, w->attr, N_ATTRS, e));
    TRY(attrs_take(w, ck, e));
    TRY(memory_want(w, ck, &n, e));
    TRY(h5_read_fd(fd, name, w->array, n, NULL, 0, e));
    return checkpoint_check(ck, e);
}

enum status schema_read(int fd, const char *name, int64_t file_bytes,
                        struct checkpoint *ck, struct err *e)
{
    struct wants *w = calloc(1, sizeof(*w));
    struct checkpoint got = {0};
    enum status st;

    if (!w)
        return err_set(e, ST_RESOURCE, "no memory to read '%s'", name);
    st = all_read(fd, name, file_bytes, w, &got, e);
    free(w);
    if (st != ST_OK) {
        checkpoint_release(&got);
        return st;
    }
    *ck = got;
    return ST_OK;
}
