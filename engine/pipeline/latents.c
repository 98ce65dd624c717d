/* latents.c - the shape first, then values into memory of that size; previews */
#include "engine/pipeline/latents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/h5/h5.h"
#include "kernels/base/buf.h"

/* A job is stored in pieces: job, job_1, job_2 … */
enum { PIECES = 8, NAME_BYTES = 32 };
static const int64_t VALUES_MAX = (int64_t)1 << 34;

/* ---- from a file ----------------------------------------------------------------- */

/* The next pieces of the job; *more says whether all were there. */
static enum status pieces_read(const char *path, int first, struct buf *job, bool *more,
                               struct err *e)
{
    char(*text)[H5_TEXT_MAX + 1] = calloc(PIECES, sizeof(*text));
    char name[PIECES][NAME_BYTES] = {"job"};
    struct h5_attr attr[PIECES];
    enum status st;

    if (!text)
        return err_set(e, ST_RESOURCE, "out of memory: the job in '%s'", path);
    for (int i = 0; i < PIECES; i++) {
        if (first + i)
            snprintf(name[i], NAME_BYTES, "job_%d", first + i);
        attr[i] = (struct h5_attr){.object = "",
                                   .name = name[i],
                                   .kind = H5_ATTR_TEXT,
                                   .optional = true,
                                   .text = text[i],
                                   .text_bytes = sizeof(*text)};
    }
    st = h5_read(path, NULL, 0, attr, PIECES, e);
    *more = st == ST_OK;
    for (int i = 0; i < PIECES && *more; i++) {
        *more = attr[i].found;
        if (*more)
            buf_adds(job, text[i]);
    }
    free(text);
    return st;
}

static enum status job_read(const char *path, char **out, struct err *e)
{
    struct buf job = BUF_INIT;
    bool more = true;
    enum status st = ST_OK;

    for (int i = 0; more && st == ST_OK; i += PIECES)
        st = pieces_read(path, i, &job, &more, e);
    if (st == ST_OK && job.failed)
        st = err_set(e, ST_RESOURCE, "out of memory: the job in '%s'", path);
    if (st == ST_OK && job.len) {
        *out = strdup(buf_text(&job));
        if (!*out)
            st = err_set(e, ST_RESOURCE, "out of memory: the job in '%s'", path);
    }
    buf_release(&job);
    return st;
}

static enum status values_read(const char *path, struct latents *l, struct err *e)
{
    struct h5_array x = {.path = "latents/x",
                         .rank = 4,
                         .dims = {-1, -1, -1, -1},
                         .max_count = VALUES_MAX};
    struct h5_attr attr[] = {
        {.object = "", .name = "fps", .kind = H5_ATTR_INT, .optional = true},
        {.object = "",
         .name = "model_digest",
         .kind = H5_ATTR_TEXT,
         .optional = true,
         .text = l->digest,
         .text_bytes = sizeof(l->digest)},
    };
    int64_t count;

    TRY(h5_read(path, &x, 1, attr, 2, e));
    count = x.dims[0] * x.dims[1] * x.dims[2] * x.dims[3];
    l->size = (struct latent_size){x.dims[0], x.dims[1], x.dims[2], x.dims[3]};
    l->fps = attr[0].found ? attr[0].i : 0;
    if (!attr[1].found)
        l->digest[0] = '\0';
    l->x = malloc((size_t)count * sizeof(float));
    if (!l->x)
        return err_set(e, ST_RESOURCE, "out of memory: %lld values of '%s'",
                       (long long)count, path);
    x.data = l->x;
    x.max_count = count;
    return h5_read(path, &x, 1, NULL, 0, e);
}

enum status latents_read(const char *path, struct latents *out, struct err *e)
{
    struct latents l = {.x = NULL};
    enum status st = values_read(path, &l, e);

    if (st == ST_OK)
        st = job_read(path, &l.job, e);
    if (st != ST_OK) {
        latents_release(&l);
        return st;
    }
    *out = l;
    return ST_OK;
}

/* ---- from a checkpoint ----------------------------------------------------------- */

/* Behind the finished frames, those of the running segment. */
static void running_copy(const struct checkpoint *ck, struct latents *l)
{
    int64_t frames = ck->x.dims[1], first = ck->finished.dims[1];

    for (int64_t f = ck->prefix_frames; f < frames; f++) {
        const float *from = ck->counter.data[f] > 0 ? ck->m0.data : ck->x.data;

        latents_copy(&l->size, l->x, l->size.frames, first + f - ck->prefix_frames,
                     from, frames, f, 1);
    }
}

static enum status preview_make(const struct checkpoint *ck, struct latents *l,
                                struct err *e)
{
    const struct checkpoint_floats *done = &ck->finished, *x = &ck->x;
    const int64_t *dims = done->dims[0] ? done->dims : x->dims;
    int64_t more = x->dims[0] ? x->dims[1] - ck->prefix_frames : 0;

    if (!done->dims[0] && !more)
        return err_set(e, ST_USAGE, "nothing to preview: no row is done");
    l->size = (struct latent_size){dims[0], done->dims[1] + more, dims[2], dims[3]};
    l->x = malloc((size_t)(dims[0] * l->size.frames * dims[2] * dims[3]) *
                  sizeof(float));
    if (!l->x)
        return err_set(e, ST_RESOURCE, "out of memory: %lld latent frames",
                       (long long)l->size.frames);
    latents_copy(&l->size, l->x, l->size.frames, 0, done->data, done->dims[1], 0,
                 done->dims[1]);
    if (more)
        running_copy(ck, l);
    return ST_OK;
}

enum status latents_take(struct checkpoint *ck, bool preview, struct latents *out,
                         struct err *e)
{
    struct latents l = {.x = NULL};

    if (ck->kind == CHECKPOINT_FINAL) {
        const int64_t *d = ck->finished.dims;

        l.size = (struct latent_size){d[0], d[1], d[2], d[3]};
        l.x = ck->finished.data;
        ck->finished = (struct checkpoint_floats){.data = NULL};
    } else if (preview) {
        TRY(preview_make(ck, &l, e));
    } else {
        return err_set(e, ST_USAGE,
                       "not finished: row %lld of %lld, segment %lld of %lld; "
                       "framefleet resume goes on, --preview decodes what is there",
                       (long long)ck->rows_done, (long long)ck->rows_total,
                       (long long)ck->segment + 1, (long long)ck->segments_total);
    }
    memcpy(l.digest, ck->whole_digest, sizeof(l.digest));
    l.job = ck->launch;
    ck->launch = NULL;
    *out = l;
    return ST_OK;
}

/* ---- both ------------------------------------------------------------------------ */

void latents_release(struct latents *l)
{
    free(l->x);
    free(l->job);
    memset(l, 0, sizeof(*l));
}

void latents_copy(const struct latent_size *size, float *to, int64_t to_frames,
                  int64_t to_first, const float *from, int64_t from_frames,
                  int64_t from_first, int64_t n)
{
    size_t plane = (size_t)(size->height * size->width);

    for (int64_t c = 0; c < size->channels; c++)
        memcpy(to + (size_t)(c * to_frames + to_first) * plane,
               from + (size_t)(c * from_frames + from_first) * plane,
               (size_t)n * plane * sizeof(float));
}
