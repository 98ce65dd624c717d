/* film.c - decodes in steps, writes what each step gives */
#include "engine/pipeline/film.h"
#include "kernels/base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { FRAMES_PER_LATENT = 4, RGB = 3 };

/* ---- memory ---------------------------------------------------------------------- */

/* The encoder, which only chains through pixels. */
static enum status encode_plan(const struct vae_config *config, const struct ops *ops,
                               const struct film_form *form, struct vae_plan *out,
                               struct err *e)
{
    struct vae_shape shape = form->shape;

    shape.chunk = 1;
    return vae_plan(config, ops, VAE_ENCODE, &shape, out, e);
}

enum status film_plan(const struct vae_config *config, const struct ops *ops,
                      const struct film_form *form, struct film_memory *out,
                      struct err *e)
{
    size_t frame = (size_t)(form->shape.height * form->shape.width * RGB);
    size_t step = (size_t)(FRAMES_PER_LATENT * form->shape.chunk) * frame;
    bool kept = form->many && !form->chained_pixels;
    struct vae_plan decode, encode = {0};

    TRY(vae_plan(config, ops, VAE_DECODE, &form->shape, &decode, e));
    if (form->chained_pixels)
        TRY(encode_plan(config, ops, form, &encode, e));
    *out = (struct film_memory){
        .scratch = kept                                      ? 0
                   : decode.arena_bytes > encode.arena_bytes ? decode.arena_bytes
                                                             : encode.arena_bytes,
        .kept = kept ? decode.arena_bytes : 0,
        .host = step,
        .workspace = decode.workspace_bytes > encode.workspace_bytes
                         ? decode.workspace_bytes
                         : encode.workspace_bytes,
    };
    if (form->chained_pixels)
        out->host += (step + (size_t)form->overlap_frames * frame) * sizeof(float);
    return ST_OK;
}

/* ---- opening and closing --------------------------------------------------------- */

static size_t frame_values(const struct film *f)
{
    return (size_t)(f->a.shape.height * f->a.shape.width * RGB);
}

static void film_free(struct film *f)
{
    vae_decode_end(f->decode);
    free(f->frames);
    free(f->pixels);
    free(f->tail);
    f->decode = NULL;
    f->frames = NULL;
    f->pixels = NULL;
    f->tail = NULL;
}

enum status film_open(struct film *f, const struct film_args *a, struct err *e)
{
    size_t step = (size_t)(FRAMES_PER_LATENT * a->shape.chunk);

    memset(f, 0, sizeof(*f));
    f->a = *a;
    f->pixels = malloc(step * frame_values(f));
    if (a->chained_pixels) {
        f->frames = malloc(step * frame_values(f) * sizeof(float));
        f->tail = malloc(((size_t)a->overlap_frames * frame_values(f) + 1) *
                         sizeof(float));
    }
    if (!f->pixels || (a->chained_pixels && (!f->frames || !f->tail))) {
        film_free(f);
        return err_set(e, ST_RESOURCE, "out of memory: frames of %lldx%lld",
                       (long long)a->shape.width, (long long)a->shape.height);
    }
    if (media_open(a->path, a->media, &f->out, e) != ST_OK) {
        film_free(f);
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

/* clamp(x / 2 + 0.5, 0, 1) * 255, truncated, as ops_pixels does it. */
static void pixels_from_floats(uint8_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * 0.5f + 0.5f;

        v = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
        out[i] = (uint8_t)(v * 255.0f);
    }
}

/* Keep frame `at` of the step in the ring of last frames. */
static void tail_keep(struct film *f, int64_t at)
{
    size_t values = frame_values(f);
    int64_t slot;

    if (!f->a.overlap_frames)
        return;
    slot = f->tail_next++ % f->a.overlap_frames;
    memcpy(f->tail + (size_t)slot * values, f->frames + (size_t)at * values,
           values * sizeof(float));
}

/* Decode `n` latent frames; write all but the first *drop frames that they give. */
static enum status step_run(struct film *f, const struct tensor *latents, int64_t n,
                            int64_t *drop, struct err *e)
{
    int64_t frames = vae_decode_frames(f->decode, n);
    enum dtype dt = f->frames ? DT_F32 : DT_U8;
    struct tensor out = tensor_make(
        f->frames ? (void *)f->frames : f->pixels, dt, MEM_HOST, 4,
        (int64_t[]){frames, f->a.shape.height, f->a.shape.width, RGB});
    double start = clock_seconds();

    TRY(vae_decode_step(f->decode, latents, &out, e));
    if (f->frames)
        pixels_from_floats(f->pixels, f->frames, (size_t)frames * frame_values(f));
    for (int64_t i = 0; i < frames; i++) {
        if (f->frames)
            tail_keep(f, i);
        if (*drop > 0)
            (*drop)--;
        else
            TRY(media_frame(f->out, f->pixels + (size_t)i * frame_values(f), e));
    }
    if (f->a.step_done)
        f->a.step_done(f->a.ctx, (int)n, clock_seconds() - start);
    return ST_OK;
}

static enum status steps_run(struct film *f, const struct tensor *latents,
                             int64_t first, int64_t drop, struct err *e)
{
    int64_t frames = latents->shape[1];

    for (int64_t t = first; t < frames; t += f->a.shape.chunk) {
        int64_t n = frames - t < f->a.shape.chunk ? frames - t : f->a.shape.chunk;
        struct tensor part = tensor_slice(latents, 1, t, n);

        if (f->a.stop && *f->a.stop)
            return err_set(e, ST_STOPPED, "stopped on request while decoding");
        TRY(step_run(f, &part, n, &drop, e));
    }
    return ST_OK;
}

enum status film_segment(struct film *f, struct arena *scratch, const float *latent,
                         const struct latent_size *size, int prefix, struct err *e)
{
    bool fresh = f->a.chained_pixels || !f->a.kept;
    struct arena *arena = fresh ? scratch : f->a.kept;
    size_t mark = arena_mark(scratch);
    struct tensor latents = tensor_make(
        (void *)(uintptr_t)latent, DT_F32, MEM_HOST, 4,
        (int64_t[]){size->channels, size->frames, size->height, size->width});
    int64_t drop = f->a.chained_pixels && prefix ? f->a.overlap_frames : 0;
    enum status st = ST_OK;

    if (!f->decode)
        st = vae_decode_begin(f->a.vae, &f->a.shape, f->a.queue, arena, &f->decode, e);
    if (st == ST_OK)
        st = steps_run(f, &latents, f->a.chained_pixels ? 0 : prefix, drop, e);
    if (fresh) {
        vae_decode_end(f->decode);
        f->decode = NULL;
        arena_reset(scratch, mark);
    }
    return st;
}

/* Encode the ring in steps of one latent frame: 1 frame, then 4 at a time. */
static enum status tail_encode_steps(struct film *f, struct vae_encode *enc,
                                     const struct tensor *latents, struct err *e)
{
    struct tensor frames;
    int64_t taken = 0;

    for (int64_t t = 0; t < latents->shape[1]; t++) {
        int64_t n = t ? FRAMES_PER_LATENT : 1;
        struct tensor part = tensor_slice(latents, 1, t, 1);

        for (int64_t i = 0; i < n; i++) {
            int64_t slot = (f->tail_next + taken + i) % f->a.overlap_frames;

            memcpy(f->frames + (size_t)i * frame_values(f),
                   f->tail + (size_t)slot * frame_values(f),
                   frame_values(f) * sizeof(float));
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
