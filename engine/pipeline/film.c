/* film.c - orders steps, decodes its own part of them, writes what all of them give */
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

/* Values of frames: of one, of a tile of one. */
static size_t frame_values(const struct vae_shape *shape)
{
    return (size_t)(shape->height * shape->width * RGB);
}

static size_t tile_values(const struct vae_tile *t)
{
    return (size_t)(t->height * t->width * RGB);
}

static bool leads(int rank)
{
    return rank == 0;
}

/* Does the rank ever have a tile? */
static bool decodes(const struct film_form *form)
{
    return form->rank < form->ranks && form->rank < cut_count(&form->shape, &form->cut);
}

static int rounds_of(const struct film_form *form)
{
    return cut_rounds(&form->shape, &form->cut, form->ranks);
}

/* Of the frames of a step: one rank's tile, or on the leader those of all ranks. */
static size_t step_values(const struct film_form *form)
{
    struct vae_tile first = cut_tile(&form->shape, &form->cut, 0);
    size_t one = tile_values(&first), frame = frame_values(&form->shape);
    size_t all = (size_t)form->ranks * one;

    if (!leads(form->rank))
        all = decodes(form) ? one : 0;
    return (size_t)(FRAMES_PER_LATENT * form->shape.chunk) *
           (all < frame ? all : frame);
}

/* Floats that hold them or, to encode, whole frames. */
static size_t floats_of(const struct film_form *form)
{
    size_t encode = FRAMES_PER_LATENT * frame_values(&form->shape);

    return leads(form->rank) ? bytes_larger(encode, step_values(form))
                             : step_values(form);
}

bool film_keeps(const struct film_form *form)
{
    return form->many && !form->chained_pixels && rounds_of(form) == 1 && decodes(form);
}

/* Does the leader put frames together? */
static bool joins(const struct film_form *form)
{
    return leads(form->rank) && cut_count(&form->shape, &form->cut) > 1;
}

static void latent_shape(const struct vae_config *config, const struct film_form *form,
                         int64_t out[4])
{
    out[0] = config->z_dim;
    out[1] = form->shape.chunk;
    out[2] = form->shape.height / 8;
    out[3] = form->shape.width / 8;
}

/* Beside the arenas. */
static size_t host_bytes(const struct vae_config *config, const struct film_form *form)
{
    size_t frame = frame_values(&form->shape), bytes = 0;
    int64_t latents[4];

    latent_shape(config, form, latents);
    if (leads(form->rank) || !form->chained_pixels)
        bytes += step_values(form);
    if (joins(form))
        bytes += frame;
    if (form->ranks > 1)
        bytes += crew_bytes(latents);
    if (form->chained_pixels)
        bytes += floats_of(form) * sizeof(float);
    if (form->chained_pixels && leads(form->rank))
        bytes += (size_t)form->overlap_frames * frame * sizeof(float);
    return bytes;
}

enum status film_plan(const struct vae_config *config, const struct ops *ops,
                      const struct film_form *form, struct film_memory *out,
                      struct err *e)
{
    bool keeps = film_keeps(form);
    struct vae_plan decode = {0}, encode = {0};

    if (decodes(form))
        TRY(cut_plan(config, ops, &form->shape, &form->cut, &decode, e));
    if (form->chained_pixels && leads(form->rank))
        TRY(encode_plan(config, ops, form, &encode, e));
    *out = (struct film_memory){
        .scratch = keeps ? 0 : bytes_larger(decode.arena_bytes, encode.arena_bytes),
        .kept = keeps ? decode.arena_bytes : 0,
        .host = host_bytes(config, form),
        .workspace = bytes_larger(decode.workspace_bytes, encode.workspace_bytes),
    };
    return ST_OK;
}

/* ---- opening and closing --------------------------------------------------------- */

static void film_free(struct film *f)
{
    vae_decode_end(f->decode);
    crew_release(&f->crew);
    if (f->spools)
        spool_close(&f->spool);
    f->spools = false;
    free(f->frames);
    free(f->pixels);
    free(f->joined);
    free(f->tail);
    free(f->bytes);
    f->decode = NULL;
    f->frames = NULL;
    f->pixels = NULL;
    f->joined = NULL;
    f->tail = NULL;
    f->bytes = NULL;
}

static struct film_form form_of(const struct film_args *a)
{
    return (struct film_form){.shape = a->shape,
                              .cut = a->cut,
                              .chained_pixels = a->chained_pixels,
                              .overlap_frames = a->overlap_frames,
                              .many = a->many,
                              .rank = a->rank,
                              .ranks = a->ranks};
}

static enum status buffers_get(struct film *f, struct err *e)
{
    const struct film_form form = form_of(&f->a);
    size_t frame = frame_values(&f->a.shape);
    bool floats = form.chained_pixels, pixels = leads(form.rank) || !floats;
    int64_t latents[4];

    latent_shape(f->a.config, &form, latents);
    TRY(crew_init(&f->crew, f->a.world, latents, e));
    if (pixels)
        f->pixels = malloc(step_values(&form) + 1);
    if (joins(&form))
        f->joined = malloc(frame);
    if (floats)
        f->frames = malloc((floats_of(&form) + 1) * sizeof(float));
    if (floats && leads(form.rank))
        f->tail = malloc(((size_t)form.overlap_frames * frame + 1) * sizeof(float));
    f->bytes = calloc(f->a.world ? (size_t)world_facts(f->a.world)->size : 1,
                      sizeof(*f->bytes));
    if ((pixels && !f->pixels) || (joins(&form) && !f->joined) ||
        (floats && !f->frames) || (floats && leads(form.rank) && !f->tail) || !f->bytes)
        return err_set(e, ST_RESOURCE, "out of memory: frames of %lldx%lld",
                       (long long)f->a.shape.width, (long long)f->a.shape.height);
    f->spools = leads(form.rank) && rounds_of(&form) > 1;
    f->spool = (struct spool)SPOOL_INIT;
    return f->spools ? spool_open(&f->spool, f->a.path, e) : ST_OK;
}

enum status film_open(struct film *f, const struct film_args *a, struct err *e)
{
    enum status st = ST_OK;

    memset(f, 0, sizeof(*f));
    f->a = *a;
    if (leads(a->rank) && a->path)
        st = media_open(a->path, a->media, &f->out, e);
    if (st == ST_OK)
        st = buffers_get(f, e);
    if (st != ST_OK)
        film_abort(f);
    return st;
}

enum status film_close(struct film *f, struct err *e)
{
    struct media_writer *out = f->out;

    f->out = NULL;
    film_free(f);
    return out ? media_close(out, e) : ST_OK;
}

void film_abort(struct film *f)
{
    media_abort(f->out);
    f->out = NULL;
    film_free(f);
}

/* ---- frames, on the leader ------------------------------------------------------- */

/* Latents that are decoded, in one round or in several. */
struct walk {
    const struct tensor *latents;
    int64_t first;  /* latent frame to begin with */
    int64_t frame;  /* of the round, that comes next */
    int64_t drop;   /* frames at the beginning that are not written */
    int64_t frames; /* of a round */
};

/* clamp(x / 2 + 0.5, 0, 1) * 255, truncated, as ops_pixels does it. */
static void pixels_from_floats(uint8_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * 0.5f + 0.5f;

        v = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
        out[i] = (uint8_t)(v * 255.0f);
    }
}

/* Tiles of a round are [*begin, end). */
static int round_end(const struct film *f, int round, int *begin)
{
    int n = cut_count(&f->a.shape, &f->a.cut);

    *begin = round * f->a.ranks;
    return *begin + f->a.ranks < n ? *begin + f->a.ranks : n;
}

static struct vae_tile tile_at(const struct film *f, int i)
{
    return cut_tile(&f->a.shape, &f->a.cut, i);
}

/* Where row y of a tile begins in a whole frame. */
static size_t row_at(const struct film *f, const struct vae_tile *t, int64_t y)
{
    return (size_t)(((t->y + y) * f->a.shape.width + t->x) * RGB);
}

/* The part of the last frames that the tile is; `from` holds the frames of a step. */
static void tail_put(struct film *f, const struct vae_tile *t, const float *from,
                     int64_t frames)
{
    size_t row = (size_t)(t->width * RGB);

    for (int64_t i = 0; i < frames; i++, from += tile_values(t)) {
        int64_t slot = f->walk->frame + i - (f->walk->frames - f->a.overlap_frames);
        float *to = f->tail + (size_t)(slot > 0 ? slot : 0) * frame_values(&f->a.shape);

        for (int64_t y = 0; slot >= 0 && y < t->height; y++)
            memcpy(to + row_at(f, t, y), from + (size_t)y * row, row * sizeof(float));
    }
}

static void tails_put(struct film *f, const struct film_step *s)
{
    const float *from = f->frames;
    int i, end = round_end(f, s->round, &i);

    for (; i < end; i++) {
        struct vae_tile t = tile_at(f, i);

        tail_put(f, &t, from, s->frames);
        from += (size_t)s->frames * tile_values(&t);
    }
}

/* Put one frame's tile into its place. */
static void tile_join(struct film *f, const struct vae_tile *t, const uint8_t *from)
{
    size_t row = (size_t)(t->width * RGB);

    for (int64_t y = 0; y < t->height; y++)
        memcpy(f->joined + row_at(f, t, y), from + (size_t)y * row, row);
}

/* Frame `at` of the step, whose tiles are all there. */
static const uint8_t *frame_join(struct film *f, int64_t frames, int64_t at)
{
    const uint8_t *from = f->pixels;
    int n = cut_count(&f->a.shape, &f->a.cut);

    if (n == 1)
        return from + (size_t)at * frame_values(&f->a.shape);
    for (int i = 0; i < n; i++) {
        struct vae_tile t = tile_at(f, i);

        tile_join(f, &t, from + (size_t)at * tile_values(&t));
        from += (size_t)frames * tile_values(&t);
    }
    return f->joined;
}

static enum status frames_write(struct film *f, int64_t frames, struct err *e)
{
    const struct walk *w = f->walk;

    for (int64_t i = 0; i < frames; i++) {
        const uint8_t *frame;

        if (w->frame + i < w->drop)
            continue;
        frame = frame_join(f, frames, i);
        if (f->out)
            TRY(media_frame(f->out, frame, e));
    }
    return ST_OK;
}

/* Where the frames of tile i begin in the spool: behind those of all tiles before it.
 */
static int64_t spool_at(const struct film *f, int i)
{
    int64_t values = 0;

    while (i-- > 0) {
        struct vae_tile t = tile_at(f, i);

        values += (int64_t)tile_values(&t);
    }
    return values * f->walk->frames;
}

static enum status tiles_spool(struct film *f, const struct film_step *s, struct err *e)
{
    const uint8_t *from = f->pixels;
    int i, end = round_end(f, s->round, &i);

    for (; i < end; i++) {
        struct vae_tile t = tile_at(f, i);
        size_t bytes = (size_t)s->frames * tile_values(&t);

        TRY(spool_put(&f->spool,
                      spool_at(f, i) + f->walk->frame * (int64_t)tile_values(&t), from,
                      bytes, e));
        from += bytes;
    }
    return ST_OK;
}

static bool in_rounds(const struct film *f)
{
    return cut_rounds(&f->a.shape, &f->a.cut, f->a.ranks) > 1;
}

/* All tiles of the step are here. */
static enum status frames_take(struct film *f, const struct film_step *s, struct err *e)
{
    size_t values = 0;
    int i, end = round_end(f, s->round, &i);

    for (; i < end; i++) {
        struct vae_tile t = tile_at(f, i);

        values += (size_t)s->frames * tile_values(&t);
    }
    if (f->frames) {
        pixels_from_floats(f->pixels, f->frames, values);
        tails_put(f, s);
    }
    TRY(in_rounds(f) ? tiles_spool(f, s, e) : frames_write(f, s->frames, e));
    f->walk->frame += s->frames;
    if (f->a.step_done)
        f->a.step_done(f->a.ctx, (int)s->latents,
                       (f->a.late ? s->until : clock_seconds()) - s->since);
    return ST_OK;
}

/* ---- steps, on every rank -------------------------------------------------------- */

/* The tile of a rank in a round; false: it has none. */
static bool own_tile(const struct film *f, int round, int rank, struct vae_tile *out)
{
    int i = round * f->a.ranks + rank;

    if (rank >= f->a.ranks || i >= cut_count(&f->a.shape, &f->a.cut))
        return false;
    *out = tile_at(f, i);
    return true;
}

/* Hand over the step that is decoded, if any. */
static enum status step_hand(struct film *f, struct err *e)
{
    struct film_step s = f->done;
    size_t value = f->frames ? sizeof(float) : 1;
    int n = f->a.world ? world_facts(f->a.world)->size : 1;
    struct vae_tile t;

    if (!s.frames)
        return ST_OK;
    f->done.frames = 0;
    for (int r = 0; r < n; r++)
        f->bytes[r] = own_tile(f, s.round, r, &t)
                          ? (size_t)s.frames * tile_values(&t) * value
                          : 0;
    TRY(crew_gather(&f->crew, f->frames ? (void *)f->frames : f->pixels, f->bytes, e));
    return leads(f->a.rank) ? frames_take(f, &s, e) : ST_OK;
}

static bool keeps(const struct film *f)
{
    const struct film_form form = form_of(&f->a);

    return film_keeps(&form);
}

static enum status clip_begin(struct film *f, struct arena *scratch,
                              const struct vae_tile *tile, struct err *e)
{
    struct vae_shape shape = f->a.shape;

    shape.tile = *tile;
    f->mark = arena_mark(scratch);
    return vae_decode_begin(f->a.vae, &shape, f->a.queue,
                            keeps(f) ? f->a.kept : scratch, &f->decode, e);
}

static void clip_end(struct film *f, struct arena *scratch)
{
    if (!f->decode)
        return;
    vae_decode_end(f->decode);
    f->decode = NULL;
    arena_reset(scratch, f->mark);
}

static enum status own_begin(struct film *f, struct arena *scratch,
                             const struct crew_order *o, struct err *e)
{
    struct tensor out;
    struct vae_tile t;

    if (!own_tile(f, o->round, f->a.rank, &t))
        return ST_OK;
    if (!f->decode)
        TRY(clip_begin(f, scratch, &t, e));
    out = tensor_make(f->frames ? (void *)f->frames : f->pixels,
                      f->frames ? DT_F32 : DT_U8, MEM_HOST, 4,
                      (int64_t[]){vae_decode_frames(f->decode, o->latents.shape[1]),
                                  t.height, t.width, RGB});
    return vae_decode_step_begin(f->decode, &o->latents, &out, e);
}

/* Frames that the next step of the round gives, on ranks without a tile too. */
static int64_t frames_next(const struct film *f, int64_t latents)
{
    return f->begun ? vae_frames(f->a.config, latents + 1) - 1
                    : vae_frames(f->a.config, latents);
}

static enum status first_of(enum status a, enum status b)
{
    return a == ST_OK ? b : a;
}

/* A rank that fails still hands over what is due, for which others wait; they learn of
 * it with the next order. And what a device has begun must end before anything is given
 * back. */
static enum status step_run(struct film *f, struct arena *scratch,
                            const struct crew_order *o, struct err *e)
{
    int64_t n = o->latents.shape[1];
    struct film_step s = {o->round, n, frames_next(f, n), clock_seconds(), 0.0};
    enum status st = own_begin(f, scratch, o, e);
    bool under_way = st == ST_OK && f->decode;
    struct err later = ERR_INIT;

    if (f->a.late)
        st = first_of(st, step_hand(f, st == ST_OK ? e : &later));
    if (under_way)
        st = first_of(st, vae_decode_step_end(f->decode, st == ST_OK ? e : &later));
    f->begun = true;
    f->done = s;
    if (!f->a.late)
        return first_of(st, step_hand(f, st == ST_OK ? e : &later));
    f->done.until = clock_seconds();
    return st;
}

static enum status order_obey(struct film *f, struct arena *scratch,
                              const struct crew_order *o, struct err *e)
{
    if (o->deed == CREW_STEP)
        return step_run(f, scratch, o, e);
    TRY(step_hand(f, e));
    if (o->deed == CREW_CLOSE) {
        clip_end(f, scratch);
        f->begun = false;
    }
    return ST_OK;
}

static enum status stop_look(const struct film *f, struct err *e)
{
    if (f->a.stop && *f->a.stop)
        return err_set(e, ST_STOPPED, "stopped on request while decoding");
    return f->a.ask ? f->a.ask(f->a.ctx, e) : ST_OK;
}

/* ---- who says what --------------------------------------------------------------- */

static enum status order_give(struct film *f, struct arena *scratch,
                              const struct crew_order *o, struct err *e)
{
    TRY(crew_say(&f->crew, o, e));
    return order_obey(f, scratch, o, e);
}

static enum status orders_follow(struct film *f, struct arena *scratch, struct err *e)
{
    struct crew_order o;

    do {
        TRY(stop_look(f, e));
        TRY(crew_hear(&f->crew, &o, e));
        TRY(order_obey(f, scratch, &o, e));
    } while (o.deed != CREW_LEAVE);
    return ST_OK;
}

static enum status round_run(struct film *f, struct arena *scratch, int round,
                             struct err *e)
{
    struct crew_order o = {CREW_STEP, round, {0}};
    struct walk *w = f->walk;
    int64_t end = w->latents->shape[1];

    w->frame = 0;
    for (int64_t t = w->first; t < end; t += f->a.shape.chunk) {
        int64_t n = end - t < f->a.shape.chunk ? end - t : f->a.shape.chunk;

        TRY(stop_look(f, e));
        o.latents = tensor_slice(w->latents, 1, t, n);
        TRY(order_give(f, scratch, &o, e));
    }
    o.deed = CREW_CLOSE;
    return keeps(f) ? ST_OK : order_give(f, scratch, &o, e);
}

/* Frames of all rounds, from the spool. */
static enum status spool_write(struct film *f, struct err *e)
{
    int n = cut_count(&f->a.shape, &f->a.cut);

    for (int64_t frame = f->walk->drop; frame < f->walk->frames; frame++) {
        TRY(stop_look(f, e));
        for (int i = 0; i < n; i++) {
            struct vae_tile t = tile_at(f, i);
            int64_t bytes = (int64_t)tile_values(&t);

            TRY(spool_get(&f->spool, spool_at(f, i) + frame * bytes, f->pixels,
                          (size_t)bytes, e));
            tile_join(f, &t, f->pixels);
        }
        TRY(media_frame(f->out, f->joined, e));
    }
    return ST_OK;
}

static enum status rounds_run(struct film *f, struct arena *scratch, struct err *e)
{
    struct crew_order leave = {CREW_LEAVE, 0, {0}};
    int rounds = cut_rounds(&f->a.shape, &f->a.cut, f->a.ranks);

    f->walk->frames = vae_frames(f->a.config, f->walk->latents->shape[1]);
    for (int i = 0; i < rounds; i++)
        TRY(round_run(f, scratch, i, e));
    TRY(order_give(f, scratch, &leave, e));
    return rounds > 1 ? spool_write(f, e) : ST_OK;
}

static enum status walk_run(struct film *f, struct arena *scratch, struct walk *w,
                            struct err *e)
{
    enum status st;

    if (!leads(f->a.rank))
        return orders_follow(f, scratch, e);
    f->walk = w;
    st = rounds_run(f, scratch, e);
    f->walk = NULL;
    return st;
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
    return in_rounds(f) && f->a.many && !f->a.chained_pixels;
}

enum status film_segment(struct film *f, struct arena *scratch, const float *latent,
                         const struct latent_size *size, int prefix, struct err *e)
{
    struct tensor latents = latent_view(latent, size);
    struct walk w = {.latents = &latents,
                     .first = f->a.chained_pixels ? 0 : prefix,
                     .drop = f->a.chained_pixels && prefix ? f->a.overlap_frames : 0};

    return waits(f) ? ST_OK : walk_run(f, scratch, &w, e);
}

enum status film_rest(struct film *f, struct arena *scratch, struct err *e)
{
    struct tensor latents = latent_view(f->a.whole, &f->a.whole_size);
    struct walk w = {.latents = &latents};

    return waits(f) ? walk_run(f, scratch, &w, e) : ST_OK;
}

/* ---- the tail, encoded ----------------------------------------------------------- */

/* Encode the tail in steps of one latent frame: 1 frame, then 4 at a time. */
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
            memcpy(f->frames + (size_t)i * values,
                   f->tail + (size_t)(taken + i) * values, values * sizeof(float));
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
