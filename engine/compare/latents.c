/* latents.c - two latents, from files of their own or out of checkpoints */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint/fields.h"
#include "engine/checkpoint/store.h"
#include "engine/compare/inside.h"
#include "engine/h5/h5.h"

static const int64_t FLOATS_MAX = (int64_t)1 << 30;

struct latents {
    bool is_checkpoint;
    struct checkpoint ck;
    int64_t dims[4];
    const float *data; /* borrowed from the checkpoint, or `owned` */
    float *owned;
};

static bool has_block(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char head[8];
    bool found = fd >= 0 && read(fd, head, sizeof(head)) == (ssize_t)sizeof(head) &&
                 memcmp(head, "FFCKPT01", sizeof(head)) == 0;

    if (fd >= 0)
        close(fd);
    return found;
}

static enum status checkpoint_take(const char *path, struct latents *l,
                                   char what[COMPARE_NOTE_BYTES], struct err *e)
{
    const struct checkpoint_floats *f;

    TRY(checkpoint_read(path, &l->ck, e));
    l->is_checkpoint = true;
    f = l->ck.kind == CHECKPOINT_RUNNING ? &l->ck.x : &l->ck.finished;
    snprintf(what, COMPARE_NOTE_BYTES,
             "checkpoint '%s', row %lld of %lld, segment %lld of %lld",
             checkpoint_kind_name(l->ck.kind), (long long)l->ck.rows_done,
             (long long)l->ck.rows_total, (long long)l->ck.segment + 1,
             (long long)l->ck.segments_total);
    if (!f->dims[0])
        return err_set(e, ST_INPUT,
                       "cannot compare: checkpoint '%s' has no latents yet, its text "
                       "is encoded",
                       path);
    memcpy(l->dims, f->dims, sizeof(l->dims));
    l->data = f->data;
    return ST_OK;
}

static enum status file_take(const char *path, struct latents *l,
                             char what[COMPARE_NOTE_BYTES], struct err *e)
{
    struct h5_array a = {.path = "latents/x",
                         .rank = 4,
                         .dims = {-1, -1, -1, -1},
                         .max_count = FLOATS_MAX};

    TRY(h5_read(path, &a, 1, NULL, 0, e));
    memcpy(l->dims, a.dims, sizeof(l->dims));
    l->owned = malloc((size_t)(a.dims[0] * a.dims[1] * a.dims[2] * a.dims[3]) *
                      sizeof(float));
    if (!l->owned)
        return err_set(e, ST_RESOURCE, "out of memory: latents of '%s'", path);
    l->data = a.data = l->owned;
    snprintf(what, COMPARE_NOTE_BYTES, "latents");
    return h5_read(path, &a, 1, NULL, 0, e);
}

static enum status latents_take(const char *path, struct latents *l,
                                char what[COMPARE_NOTE_BYTES], struct err *e)
{
    return has_block(path) ? checkpoint_take(path, l, what, e)
                           : file_take(path, l, what, e);
}

static void latents_release(struct latents *l)
{
    checkpoint_release(&l->ck);
    free(l->owned);
}

/* The other arrays of two checkpoints that are not the same. */
static void others_compare(const struct latents l[2], struct comparison *c)
{
    const struct checkpoint *a = &l[0].ck, *b = &l[1].ck;
    size_t len = 0;

    if (!l[0].is_checkpoint || !l[1].is_checkpoint)
        return;
    for (int i = 0; i < CHECKPOINT_ARRAYS && len < sizeof(c->others); i++) {
        const struct checkpoint_floats *f = checkpoint_array_at(a, i);

        if (f->data == l[0].data ||
            checkpoint_floats_same(f, checkpoint_array_at(b, i)))
            continue;
        len += (size_t)snprintf(c->others + len, sizeof(c->others) - len, "%s%s",
                                len ? ", " : "", checkpoint_arrays[i].path);
    }
}

static void values_compare(const struct latents l[2], struct comparison *c)
{
    size_t plane = (size_t)(c->dims[2] * c->dims[3]);
    size_t step = (size_t)c->dims[1] * plane;
    struct sums all = SUMS_INIT;

    for (size_t i = 0; i < (size_t)c->dims[0] * (size_t)c->dims[1]; i++)
        sums_floats(&all, l[0].data + i * plane, l[1].data + i * plane, plane);
    comparison_finish(c, &all);
    for (int64_t f = 0; f < c->dims[1]; f++) {
        struct sums frame = SUMS_INIT;

        for (int64_t ch = 0; ch < c->dims[0]; ch++) {
            size_t at = (size_t)ch * step + (size_t)f * plane;

            sums_floats(&frame, l[0].data + at, l[1].data + at, plane);
        }
        comparison_frame(c, f, sums_psnr(&frame, c->range));
    }
}

static enum status shapes_match(const char *a, const char *b, const struct latents l[2],
                                struct err *e)
{
    const int64_t *x = l[0].dims, *y = l[1].dims;

    if (memcmp(x, y, sizeof(l[0].dims)) == 0)
        return ST_OK;
    return err_set(e, ST_INPUT,
                   "cannot compare: '%s' is %lldx%lldx%lldx%lld, '%s' is "
                   "%lldx%lldx%lldx%lld (channels, frames, rows, columns)",
                   a, (long long)x[0], (long long)x[1], (long long)x[2],
                   (long long)x[3], b, (long long)y[0], (long long)y[1],
                   (long long)y[2], (long long)y[3]);
}

enum status latents_compare(const char *a, const char *b, struct comparison *out,
                            struct err *e)
{
    struct latents l[2] = {0};
    enum status st = latents_take(a, &l[0], out->what[0], e);

    if (st == ST_OK)
        st = latents_take(b, &l[1], out->what[1], e);
    if (st == ST_OK)
        st = shapes_match(a, b, l, e);
    if (st == ST_OK) {
        memcpy(out->dims, l[0].dims, sizeof(out->dims));
        others_compare(l, out);
        values_compare(l, out);
    }
    latents_release(&l[0]);
    latents_release(&l[1]);
    return st;
}
