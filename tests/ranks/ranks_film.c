/* ranks_film.c - frames decoded by all ranks together are those of rank 0 alone
 *
 *     ranks_film           every cut, both ways of handing over, segments, pixels
 *     ranks_film HOW       a rank that fails in the middle ("told", "asked", "starved";
 *                          one more word: late): all end with one text
 *
 * Latents lie on rank 0 alone, the others are given nothing but sizes. The program as a
 * whole hands frames over at once on the host and late on devices; here both happen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/pipeline/film.h"
#include "engine/pipeline/latents.h"
#include "tests/ranks/check.h"
#include "tests/scratch.h"
#include "tests/unit/vae_rig.h"

enum { HEIGHT = 32, WIDTH = 56, CHANNELS = 4 };
enum { SEGMENTS = 2, LATENTS = 4, PREFIX = 2, TOTAL = 2 * LATENTS - PREFIX };

static const struct vae_config CONFIG = {
    .base_dim = 6,
    .z_dim = CHANNELS,
    .dim_mult = {1, 2, 2, 3},
    .res_blocks = 1,
    .temporal_down = {false, true, true},
    .mean = {0.1f, -0.2f, 0.3f, -0.4f},
    .std = {1.5f, 0.7f, 1.1f, 0.9f},
};

/* One way of making the video. */
struct take {
    struct world *world; /* NULL: alone */
    int rank, ranks;
    const char *tile;
    enum dtype dtype;
    int64_t chunk;
    bool late, pixels, many;
    int fails_at; /* this rank stops before the step of this number; 0: never */
    bool starved; /* it has no room to work in */
    const char *path;
    int steps; /* that rank 0 has written */
    int64_t latents;
};

struct room {
    void *scratch_memory, *kept_memory, *workspace;
    struct arena scratch, kept;
    struct queue *queue;
};

static void step_count(void *ctx, int latents, double seconds)
{
    struct take *t = ctx;

    CHECK(seconds >= 0.0);
    t->steps++;
    t->latents += latents;
}

static volatile sig_atomic_t stop_now;

/* On rank 0. */
static enum status stop_ask(void *ctx, struct err *e)
{
    struct take *t = ctx;

    if (t->fails_at && t->steps + 1 >= t->fails_at)
        return err_set(e, ST_STOPPED, "rank 0 was told to stop");
    return ST_OK;
}

static void room_open(struct room *m, struct ops *ops, const struct film_memory *need)
{
    struct err e = ERR_INIT;

    CHECK_OK(ops_mem_alloc(ops, need->scratch, &m->scratch_memory, &e));
    CHECK_OK(ops_mem_alloc(ops, need->kept, &m->kept_memory, &e));
    CHECK_OK(ops_mem_alloc(ops, need->workspace, &m->workspace, &e));
    arena_init(&m->scratch, m->scratch_memory, need->scratch);
    arena_init(&m->kept, m->kept_memory, need->kept);
    CHECK_OK(ops_queue_open(ops, m->workspace, need->workspace, &m->queue, &e));
}

static void room_close(struct room *m, struct ops *ops)
{
    ops_queue_close(ops, m->queue);
    ops_mem_free(ops, m->scratch_memory);
    ops_mem_free(ops, m->kept_memory);
    ops_mem_free(ops, m->workspace);
}

/* Segments share PREFIX latent frames. */
static enum status segments_film(struct film *f, struct room *m, const float *x,
                                 const struct take *t, struct err *e)
{
    struct latent_size size = {CHANNELS, LATENTS, HEIGHT / 8, WIDTH / 8};
    static float latent[CHANNELS * LATENTS * (HEIGHT / 8) * (WIDTH / 8)];
    static float prefix[CHANNELS * PREFIX * (HEIGHT / 8) * (WIDTH / 8)];
    int n = t->many ? SEGMENTS : 1;

    for (int i = 0; i < n; i++) {
        if (t->rank == 0)
            latents_copy(&size, latent, LATENTS, 0, x, TOTAL, i * (LATENTS - PREFIX),
                         LATENTS);
        if (i > 0 && t->pixels && t->rank == 0) {
            TRY(film_encode_tail(f, &m->scratch, prefix, e));
            latents_copy(&size, latent, LATENTS, 0, prefix, PREFIX, 0, PREFIX);
        }
        TRY(film_segment(f, &m->scratch, t->rank ? NULL : latent, &size,
                         i > 0 ? PREFIX : 0, e));
    }
    return film_rest(f, &m->scratch, e);
}

static enum status take_run(struct take *t, const struct rig *r, const float *x,
                            struct err *e)
{
    struct vae_shape shape = {HEIGHT, WIDTH, t->chunk, t->dtype, {0}};
    struct media_options media = MEDIA_OPTIONS_DEFAULT;
    struct film_form form = {.shape = shape,
                             .chained_pixels = t->pixels,
                             .overlap_frames = t->pixels ? 4 * (PREFIX - 1) + 1 : 0,
                             .many = t->many,
                             .rank = t->rank,
                             .ranks = t->ranks};
    struct film_memory need;
    struct cut_wish wish;
    struct film film;
    struct room m;
    enum status st;

    media.width = WIDTH;
    media.height = HEIGHT;
    media.force = true;
    TRY(cut_parse(t->tile, &wish, e));
    form.cut = cut_of(&wish, &shape, t->ranks);
    TRY(film_plan(&CONFIG, r->ops, &form, &need, e));
    if (t->starved)
        need.workspace = 0;
    room_open(&m, r->ops, &need);
    TRY(film_open(&film,
                  &(struct film_args){
                      .vae = r->vae,
                      .config = &CONFIG,
                      .queue = m.queue,
                      .shape = shape,
                      .cut = form.cut,
                      .world = t->world,
                      .rank = t->rank,
                      .ranks = t->ranks,
                      .late = t->late,
                      .path = t->path,
                      .media = &media,
                      .chained_pixels = form.chained_pixels,
                      .overlap_frames = form.overlap_frames,
                      .many = form.many,
                      .kept = &m.kept,
                      .whole = x,
                      .whole_size = {CHANNELS, TOTAL, HEIGHT / 8, WIDTH / 8},
                      .stop = t->rank > 0 && t->fails_at ? &stop_now : NULL,
                      .ask = t->rank == 0 ? stop_ask : NULL,
                      .step_done = step_count,
                      .ctx = t,
                  },
                  e));
    st = segments_film(&film, &m, x, t, e);
    if (st == ST_OK)
        st = film_close(&film, e);
    else
        film_abort(&film);
    room_close(&m, r->ops);
    return st;
}

/* ---- the same bytes -------------------------------------------------------------- */

static bool files_same(const char *a, const char *b)
{
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    long bytes = 0;
    int c, d;

    CHECK(f && g);
    do {
        c = fgetc(f);
        d = fgetc(g);
        bytes++;
    } while (c == d && c != EOF);
    fclose(f);
    fclose(g);
    return c == d && bytes > HEIGHT * WIDTH;
}

/* What a kind of video is, and the cuts that it is made in. */
static void kind_compare(struct world *w, const struct rig *r, const float *x,
                         const struct scratch *folder, struct take kind)
{
    static const char *const tiles[] = {"auto", "24x32", "32x16"};
    const struct world_facts *f = world_facts(w);
    struct err e = ERR_INIT;
    const char *one = scratch_path(folder, "one.y4m");
    const char *got = scratch_path(folder, "got.y4m");

    if (f->rank == 0) {
        struct take alone = kind;

        alone.path = one;
        alone.ranks = 1;
        alone.tile = "0";
        CHECK_OK(take_run(&alone, r, x, &e));
    }
    for (size_t i = 0; i < sizeof(tiles) / sizeof(tiles[0]); i++) {
        for (int late = 0; late < 2; late++) {
            for (int ranks = f->size; ranks > 0 && ranks > f->size - 2; ranks--) {
                struct take t = kind;

                t.world = ranks > 1 ? w : NULL;
                t.rank = f->rank;
                t.ranks = ranks;
                t.tile = tiles[i];
                t.late = late;
                t.path = got;
                if (ranks == 1 && f->rank > 0)
                    continue;
                CHECK_OK(take_run(&t, r, x, &e));
                if (f->rank > 0)
                    continue;
                CHECK(files_same(one, got));
                CHECK(unlink(got) == 0);
            }
        }
    }
    CHECK_OK(world_agree(w, ST_OK, &e));
}

static void videos_are_the_same(struct world *w, const struct rig *r, const float *x,
                                const struct scratch *folder)
{
    const struct take kinds[] = {
        {.dtype = DT_F32, .chunk = 1},
        {.dtype = DT_BF16, .chunk = 3},
        {.dtype = DT_F32, .chunk = 2, .many = true},
        {.dtype = DT_F32, .chunk = 2, .many = true, .pixels = true},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        kind_compare(w, r, x, folder, kinds[i]);
}

/* ---- failures -------------------------------------------------------------------- */

/* One rank ends in the middle: all hear of it, with its words, and nothing is left. */
static void one_fails(struct world *w, const struct rig *r, const float *x,
                      const struct scratch *folder, const char *how, bool late)
{
    static const struct failure {
        const char *name;
        int rank;
        enum status status;
        const char *text;
    } failures[] = {
        {"told", 0, ST_STOPPED, "rank 0 was told to stop"},
        {"asked", 1, ST_STOPPED, "rank 1 on "},
        {"starved", 1, ST_RESOURCE, "rank 1 on "},
    };
    const struct failure *want = failures;
    const struct world_facts *f = world_facts(w);
    struct take t = {.world = w,
                     .rank = f->rank,
                     .ranks = f->size,
                     .tile = "auto",
                     .dtype = DT_F32,
                     .chunk = 1,
                     .late = late};
    struct err e = ERR_INIT;

    while (strcmp(want->name, how) != 0)
        CHECK(++want < failures + sizeof(failures) / sizeof(failures[0]));
    t.path = scratch_path(folder, "fails.y4m");
    t.fails_at = f->rank == want->rank ? 3 : 0;
    t.starved = f->rank == want->rank && want->status == ST_RESOURCE;
    stop_now = want->status == ST_STOPPED;
    CHECK(world_agree(w, take_run(&t, r, x, &e), &e) == want->status);
    CHECK(strstr(e.text, want->text));
    CHECK(access(t.path, F_OK) != 0);
}

/* ---- all of it ------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    struct scratch folder = {""};
    struct err e = ERR_INIT;
    struct world *w;
    struct rig r;
    float *x;

    CHECK_OK(world_open(&w, &e));
    rig_make(&r, "cpu", &CONFIG);
    x = rig_noise(3, CHANNELS * TOTAL * (HEIGHT / 8) * (WIDTH / 8));
    if (world_facts(w)->rank == 0)
        scratch_create(&folder);
    CHECK_OK(world_bcast(w, &folder, sizeof(folder), &e));
    if (argc == 1)
        videos_are_the_same(w, &r, x, &folder);
    else
        one_fails(w, &r, x, &folder, argv[1], argc > 2);
    if (world_facts(w)->rank == 0)
        scratch_remove(&folder);
    free(x);
    rig_release(&r);
    world_close(w);
    return 0;
}
