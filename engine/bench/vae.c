/* vae.c - decoding the whole video, chunk by chunk, to 8-bit frames on rank 0's host */
#include "engine/pipeline/film.h"

#include <stdlib.h>

#include "engine/bench/inside.h"
#include "kernels/base/rng.h"

struct vae_bench {
    struct bench *b;
    struct weights *weights;
    struct vae *vae;
    struct film_form form;
    struct film_memory plan;
    struct queue *queue;
    void *memory, *workspace;
    float *latents; /* [z,T,h,w] */
    int64_t n;      /* latent frames */
};

static enum status model_make(struct vae_bench *v, struct err *e)
{
    struct bench *b = v->b;
    struct weights_policy policy = precision_policy(b->choice, MODEL_VAE);
    struct made_up how = {.seed = (uint64_t)b->o->seed, .stored = DT_F32};
    struct expect_list list = EXPECT_LIST_INIT;
    enum status st;

    expect_vae(&list, &b->models.vae);
    st = weights_make_up(&list, "vae", &policy, &how, b->ops, &v->weights, e);
    expect_release(&list);
    TRY(st);
    b->bytes += weights_bytes(v->weights);
    return vae_create(&b->models.vae, v->weights, b->ops, &v->vae, e);
}

static enum status vae_open(struct vae_bench *v, struct err *e)
{
    struct bench *b = v->b;
    const struct option_size *size = &b->o->size;
    const struct cut_wish wish = {.mode = CUT_NEVER};
    int64_t z = b->models.vae.z_dim, h = size->height / 8, w = size->width / 8;
    struct vae_shape *shape = &v->form.shape;
    size_t latents;

    *shape = (struct vae_shape){.height = size->height,
                                .width = size->width,
                                .chunk = b->o->engine.vae_chunk,
                                .dtype = b->choice->act};
    v->form.rank = world_facts(b->world)->rank;
    v->form.ranks = b->vae_ranks;
    v->form.cut = cut_of(&wish, shape, b->vae_ranks);
    v->n = b->r->latent_frames;
    latents = (size_t)(z * v->n * h * w);
    TRY(model_make(v, e));
    TRY(film_plan(&b->models.vae, b->ops, &v->form, &v->plan, e));
    TRY(bench_room(b, v->plan.scratch, &v->memory, e));
    TRY(bench_room(b, v->plan.workspace, &v->workspace, e));
    v->latents = malloc(latents * sizeof(*v->latents));
    if (!v->latents)
        return err_set(e, ST_RESOURCE, "out of memory: latents to decode");
    noise_philox((uint64_t)b->o->seed, 1 << 20, 0, latents, v->latents);
    return ops_queue_open(b->ops, v->workspace, v->plan.workspace, &v->queue, e);
}

static void vae_close(struct vae_bench *v)
{
    struct bench *b = v->b;

    ops_queue_close(b->ops, v->queue);
    free(v->latents);
    bench_release(b, v->memory, v->plan.scratch);
    bench_release(b, v->workspace, v->plan.workspace);
    vae_destroy(v->vae);
    if (v->weights)
        b->bytes -= weights_bytes(v->weights);
    weights_close(v->weights);
}

/* As a run decodes, but nothing is written. */
static enum status vae_pass(void *ctx, struct err *e)
{
    struct vae_bench *v = ctx;
    struct bench *b = v->b;
    struct latent_size size = {b->models.vae.z_dim, v->n, v->form.shape.height / 8,
                               v->form.shape.width / 8};
    struct film_args a = {
        .vae = v->vae,
        .config = &b->models.vae,
        .queue = v->queue,
        .shape = v->form.shape,
        .cut = v->form.cut,
        .world = v->form.ranks > 1 ? b->world : NULL,
        .rank = v->form.rank,
        .ranks = v->form.ranks,
        .late = ops_facts(b->ops)->space != MEM_HOST,
    };
    struct arena arena;
    struct film film;
    enum status st;

    arena_init(&arena, v->memory, v->plan.scratch);
    TRY(film_open(&film, &a, e));
    st = film_segment(&film, &arena, v->latents, &size, 0, e);
    if (st == ST_OK)
        return film_close(&film, e);
    film_abort(&film);
    return st;
}

/* Of convolutions, products and attention, as the watched pass counted them. */
static double flop_of(const struct watch *w)
{
    double sum = 0.0;

    for (int i = 0; i < w->n; i++)
        sum += w->row[i].cost.flop * (double)w->row[i].calls;
    return sum;
}

/* What this rank does of the work of whole frames; rank 0's counts. */
static enum status own_share(const struct vae_bench *v, double *out, struct err *e)
{
    struct vae_shape shape = v->form.shape;
    struct vae_plan whole, own;

    if (v->form.rank > 0)
        return ST_OK;
    TRY(vae_plan(&v->b->models.vae, v->b->ops, VAE_DECODE, &shape, &whole, e));
    shape.tile = cut_tile(&v->form.shape, &v->form.cut, 0);
    TRY(vae_plan(&v->b->models.vae, v->b->ops, VAE_DECODE, &shape, &own, e));
    *out = own.latent_flop / whole.latent_flop;
    return ST_OK;
}

enum status bench_vae(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct vae_bench v = {.b = b};
    bool together = b->vae_ranks > 1;
    enum status st = vae_open(&v, e);
    double share = 1.0;

    if (st == ST_OK)
        st = bench_repeat(b, vae_pass, &v, together, &out->seconds, e);
    if (st == ST_OK)
        st = bench_watched(b, vae_pass, &v, together, out, e);
    if (st == ST_OK)
        st = own_share(&v, &share, e);
    if (st == ST_OK) {
        out->weight_bytes = weights_bytes(v.weights);
        out->flop = flop_of(&out->watch) / share;
    }
    vae_close(&v);
    return st;
}
