/* film.c - decodes in steps, writes what each step gives */
#include "engine/pipeline/film.h"
#include "kernels/base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { FRAMES_PER_LATENT = 4, RGB = 3 };

/* ---- memory ---------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The encoder, which only chains through pixels. */
static enum status encode_plan(const struct vae_config *config, const struct ops *ops,
                               const struct film_form *form, struct vae_plan *out,
                               struct err *e)
{
    struct vae_shape shape = form->shape;

    shape.chunk = 1;
    return vae_plan(config, ops, VAE_ENCODE, &shape, out, e);
}

/* Values of frames: of one, of the largest tile of one. */
static size_t frame_values(const struct vae_shape *shape)
{
    return (size_t)(shape->height * shape->width * RGB);
}

static size_t tile_values(const struct vae_tile *t)
{
    return (size_t)(t->height * t->width * RGB);
}

/* Frames of a step, and floats that hold them or, to encode, whole ones. */
static size_t pixels_bytes(const struct vae_shape *shape, const struct cut *cut)
{
    struct vae_tile first = cut_tile(shape, cut, 0);

    return (size_t)(FRAMES_PER_LATENT * shape->chunk) * tile_values(&first);
}

static size_t floats_of(const struct vae_shape *shape, const struct cut *cut)
{
    size_t encode = FRAMES_PER_LATENT * frame_values(shape);
    size_t decode = pixels_bytes(shape, cut);

    return encode > decode ? encode : decode;
}

enum status film_plan(const struct vae_config *config, const struct ops *ops,
                      const struct film_form *form, struct film_memory *out,
                      struct err *e)
{
    size_t frame = frame_values(&form->shape);
    bool kept = form->many && !form->chained_pixels && !form->cut.height;
    struct vae_plan decode, encode = {0};

    TRY(cut_plan(config, ops, &form->shape, &form->cut, &decode, e));
    if (form->chained_pixels)
        TRY(encode_plan(config, ops, form, &encode, e));
    *out = (struct film_memory){
        .scratch = kept ? 0 : larger(decode.arena_bytes, encode.arena_bytes),
        .kept = kept ? decode.arena_bytes : 0,
        .host = pixels_bytes(&form->shape, &form->cut) + (form->cut.height ? frame : 0),
        .workspace = larger(decode.workspace_bytes, encode.workspace_bytes),
    };
    if (form->chained_pixels)
        out->host += (floats_of(&form->shape, &form->cut) +
                      (size_t)form->overlap_frames * frame) *
                     sizeof(float);
    return ST_OK;
}

/* ---- opening and closing --------------------------------------------------------- */

static void film_free(struct film *f)
{
    vae_decode_end(f->decode);
    spool_close(&f->spool);
    free(f->frames);
    free(f->pixels);
    free(f->joined);
    free(f->tail);
    f->decode = NULL;
    f->frames = NULL;
    f->pixels = NULL;
    f->joined = NULL;
    f->tail = NULL;
}

static enum status buffers_get(struct film *f, struct err *e)
{
    const struct vae_shape *shape = &f->a.shape;
    bool floats = f->a.chained_pixels, tiles = f->a.cut.height > 0;

    f->pixels = malloc(pixels_bytes(shape, &f->a.cut));
    if (tiles)
        f->joined = malloc(frame_values(shape));
    if (floats) {
        f->frames = malloc(floats_of(shape, &f->a.cut) * sizeof(float));
        f->tail = malloc(((size_t)f->a.overlap_frames * frame_values(shape) + 1) *
                         sizeof(float));
    }
    if (!f->pixels || (tiles && !f->joined) || (floats && (!f->frames || !f->tail)))
        return err_set(e, ST_RESOURCE, "out of memory: frames of %lldx%lld",
                       (long long)shape->width, (long long)shape->height);
    return tiles ? spool_open(&f->spool, f->a.path, e) : ST_OK;
}

enum status film_open(struct film *f, const struct film_args *a, struct err *e)
{
    memset(f, 0, sizeof(*f));
    f->spool = (struct spool)SPOOL_INIT;
    f->a = *a;
    if (media_open(a->path, a->media, &f->out, e) != ST_OK ||
        buffers_get(f, e) != ST_OK) {
        film_abort(f);
        return e->status;
    }
    return ST_OK;
}

enum status film_close(struct film *f, struct err *e)
{
    struct media_writer *out = f->out;

    f->out = NULL;
    film_free(f);
    return media_close(out, e);
}

void film_abort(struct film *f)
{
    media_abort(f->out);
    f->out = NULL;
    film_free(f);
}

/* ---- steps ----------------------------------------------------------------------- */

/* clamp(x / 2 + 0.5, 0, 1) * 255, truncated, as ops_pixels does it. */
static void pixels_from_floats(uint8_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * 0.5f + 0.5f;

        v = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
        out[i] = (uint8_t)(v * 255.0f);
    }
}

/* What a walk over latents does with the frames of a step. */
struct walk {
    const struct tensor *latents;
    int64_t first;        /* latent frame to begin with */
    struct vae_tile tile; /* that is decoded */
    int64_t frame;        /* that comes next */
    enum status (*take)(struct film *f, struct walk *w, int64_t frames, struct err *e);
    int64_t drop;   /* frames at the beginning that are not written */
    int64_t frames; /* of the whole walk */
};

/* Decode `n` latent frames into f->pixels (and f->frames). */
static enum status step_run(struct film *f, struct walk *w,
                            const struct tensor *latents, struct err *e)
{
    int64_t n = latents->shape[1], frames = vae_decode_frames(f->decode, n);
    struct tensor out = tensor_make(
        f->frames ? (void *)f->frames : f->pixels, f->frames ? DT_F32 : DT_U8, MEM_HOST,
        4, (int64_t[]){frames, w->tile.height, w->tile.width, RGB});
    double start = clock_seconds();

    TRY(vae_decode_step(f->decode, latents, &out, e));
    if (f->frames)
        pixels_from_floats(f->pixels, f->frames,
                           (size_t)frames * tile_values(&w->tile));
    TRY(w->take(f, w, frames, e));
    w->frame += frames;
    if (f->a.step_done)
        f->a.step_done(f->a.ctx, (int)n, clock_seconds() - start);
    return ST_OK;
}

static enum status stop_look(const struct film *f, struct err *e)
{
    if (f->a.stop && *f->a.stop)
        return err_set(e, ST_STOPPED, "stopped on request while decoding");
    return f->a.ask ? f->a.ask(f->a.ctx, e) : ST_OK;
}

static enum status steps_run(struct film *f, struct walk *w, struct err *e)
{
    int64_t frames = w->latents->shape[1];

    for (int64_t t = w->first; t < frames; t += f->a.shape.chunk) {
        int64_t n = frames - t < f->a.shape.chunk ? frames - t : f->a.shape.chunk;
        struct tensor part = tensor_slice(w->latents, 1, t, n);

        TRY(stop_look(f, e));
        TRY(step_run(f, w, &part, e));
    }
    return ST_OK;
}

/* ---- whole frames ---------------------------------------------------------------- */

/* Keep frame `at` of the step in the ring of last frames. */
static void tail_keep(struct film *f, int64_t at)
{
    size_t values = frame_values(&f->a.shape);
    int64_t slot;

    if (!f->a.overlap_frames)
        return;
    slot = f->tail_next++ % f->a.overlap_frames;
    memcpy(f->tail + (size_t)slot * values, f->frames + (size_t)at * values,
           values * sizeof(float));
}

static enum status frames_write(struct film *f, struct walk *w, int64_t frames,
                                struct err *e)
{
    for (int64_t i = 0; i < frames; i++) {
        if (f->frames)
            tail_keep(f, i);
        if (w->frame + i >= w->drop)
            TRY(media_frame(f->out, f->pixels + (size_t)i * frame_values(&f->a.shape),
                            e));
    }
    return ST_OK;
}

static enum status frames_run(struct film *f, struct arena *scratch, struct walk *w,
                              struct err *e)
{
    bool fresh = f->a.chained_pixels || !f->a.kept;
    size_t mark = arena_mark(scratch);
    enum status st = ST_OK;

    w->take = frames_write;
    if (!f->decode)
        st = vae_decode_begin(f->a.vae, &f->a.shape, f->a.queue,
                              fresh ? scratch : f->a.kept, &f->decode, e);
    if (st == ST_OK)
        st = steps_run(f, w, e);
    if (fresh) {
        vae_decode_end(f->decode);
        f->decode = NULL;
        arena_reset(scratch, mark);
    }
    return st;
}

/* ---- frames in tiles ------------------------------------------------------------- */

/* The part of the last frames that the tile is. */
static void tail_put(struct film *f, const struct walk *w, int64_t frames)
{
    const struct vae_tile *t = &w->tile;
    size_t row = (size_t)(t->width * RGB);

    for (int64_t i = 0; i < frames; i++) {
        int64_t slot = w->frame + i - (w->frames - f->a.overlap_frames);
        const float *from = f->frames + (size_t)i * tile_values(t);
        float *to = f->tail + (size_t)slot * frame_values(&f->a.shape);

        for (int64_t y = 0; slot >= 0 && y < t->height; y++)
            memcpy(to + ((t->y + y) * f->a.shape.width + t->x) * RGB,
                   from + (size_t)y * row, row * sizeof(float));
    }
}

static enum status tile_spool(struct film *f, struct walk *w, int64_t frames,
                              struct err *e)
{
    if (f->frames)
        tail_put(f, w, frames);
    return spool_put(&f->spool, f->pixels, (size_t)frames * tile_values(&w->tile), e);
}

static enum status tile_run(struct film *f, struct arena *scratch, struct walk *w,
                            struct err *e)
{
    struct vae_shape shape = f->a.shape;
    size_t mark = arena_mark(scratch);
    enum status st;

    shape.tile = w->tile;
    w->frame = 0;
    w->take = tile_spool;
    TRY(vae_decode_begin(f->a.vae, &shape, f->a.queue, scratch, &f->decode, e));
    st = steps_run(f, w, e);
    vae_decode_end(f->decode);
    f->decode = NULL;
    arena_reset(scratch, mark);
    return st;
}

/* Read the tile of frame `frame`, whose file begins at `at`, into its place. */
static enum status tile_join(struct film *f, const struct vae_tile *t, int64_t at,
                             int64_t frame, struct err *e)
{
    size_t row = (size_t)(t->width * RGB);

    TRY(spool_get(&f->spool, at + frame * (int64_t)tile_values(t), f->pixels,
                  tile_values(t), e));
    for (int64_t y = 0; y < t->height; y++)
        memcpy(f->joined + ((t->y + y) * f->a.shape.width + t->x) * RGB,
               f->pixels + (size_t)y * row, row);
    return ST_OK;
}

static enum status frames_join(struct film *f, const struct walk *w, struct err *e)
{
    int n = cut_count(&f->a.shape, &f->a.cut);

    for (int64_t frame = w->drop; frame < w->frames; frame++) {
        int64_t at = 0;

        TRY(stop_look(f, e));
        for (int i = 0; i < n; i++) {
            struct vae_tile t = cut_tile(&f->a.shape, &f->a.cut, i);

            TRY(tile_join(f, &t, at, frame, e));
            at += w->frames * (int64_t)tile_values(&t);
        }
        TRY(media_frame(f->out, f->joined, e));
    }
    return ST_OK;
}

static enum status tiles_run(struct film *f, struct arena *scratch, struct walk *w,
                             struct err *e)
{
    w->frames = vae_frames(f->a.config, w->latents->shape[1]);
    f->tail_next = 0;
    spool_rewind(&f->spool);
    for (int i = 0; i < cut_count(&f->a.shape, &f->a.cut); i++) {
        w->tile = cut_tile(&f->a.shape, &f->a.cut, i);
        TRY(tile_run(f, scratch, w, e));
    }
    return frames_join(f, w, e);
}

/* ---- segments -------------------------------------------------------------------- */

static struct tensor latent_view(const float *latent, const struct latent_size *size)
{
    return tensor_make(
        (void *)(uintptr_t)latent, DT_F32, MEM_HOST, 4,
        (int64_t[]){size->channels, size->frames, size->height, size->width});
}

/* Do segments wait for the end? */
static bool waits(const struct film *f)
{
    return f->a.cut.height && f->a.many && !f->a.chained_pixels;
}

enum status film_segment(struct film *f, struct arena *scratch, const float *latent,
                         const struct latent_size *size, int prefix, struct err *e)
{
    struct tensor latents = latent_view(latent, size);
    struct walk w = {.latents = &latents,
                     .first = f->a.chained_pixels ? 0 : prefix,
                     .tile = cut_tile(&f->a.shape, &(struct cut){0, 0}, 0),
                     .drop = f->a.chained_pixels && prefix ? f->a.overlap_frames : 0};

    if (waits(f))
        return ST_OK;
    return f->a.cut.height ? tiles_run(f, scratch, &w, e)
                           : frames_run(f, scratch, &w, e);
}

enum status film_rest(struct film *f, struct arena *scratch, struct err *e)
{
    struct tensor latents;
    struct walk w = {.latents = &latents};

    if (!waits(f))
        return ST_OK;
    latents = latent_view(f->a.whole, &f->a.whole_size);
    return tiles_run(f, scratch, &w, e);
}

/* ---- the tail, encoded ----------------------------------------------------------- */

/* Encode the ring in steps of one latent frame: 1 frame, then 4 at a time. */
static enum status tail_encode_steps(struct film *f, struct vae_encode *enc,
                                     const struct tensor *latents, struct err *e)
{
    size_t values = frame_values(&f->a.shape);
    struct tensor frames;
    int64_t taken = 0;

    for (int64_t t = 0; t < latents->shape[1]; t++) {
        int64_t n = t ? FRAMES_PER_LATENT : 1;
        struct tensor part = tensor_slice(latents, 1, t, 1);

        for (int64_t i = 0; i < n; i++) {
            int64_t slot = (f->tail_next + taken + i) % f->a.overlap_frames;

            memcpy(f->frames + (size_t)i * values, f->tail + (size_t)slot * values,
                   values * sizeof(float));
        }
        frames = tensor_make(f->frames, DT_F32, MEM_HOST, 4,
                             (int64_t[]){n, f->a.shape.height, f->a.shape.width, RGB});
        TRY(vae_encode_step(enc, &frames, &part, e));
        taken += n;
    }
    return ST_OK;
}

enum status film_encode_tail(struct film *f, struct arena *scratch, float *latent,
                             struct err *e)
{
    int64_t frames = (f->a.overlap_frames - 1) / FRAMES_PER_LATENT + 1;
    struct tensor latents = tensor_make(latent, DT_F32, MEM_HOST, 4,
                                        (int64_t[]){f->a.config->z_dim, frames,
                                                    f->a.shape.height / 8,
                                                    f->a.shape.width / 8});
    struct vae_shape shape = f->a.shape;
    size_t mark = arena_mark(scratch);
    struct vae_encode *enc;
    enum status st;

    shape.chunk = 1;
    TRY(vae_encode_begin(f->a.vae, &shape, f->a.queue, scratch, &enc, e));
    st = tail_encode_steps(f, enc, &latents, e);
    vae_encode_end(enc);
    arena_reset(scratch, mark);
    return st;
}
