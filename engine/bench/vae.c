/* vae.c - decoding the whole video, chunk by chunk, to 8-bit frames on the host */
#include "engine/vae/vae.h"

#include <stdlib.h>

#include "engine/bench/inside.h"
#include "kernels/base/rng.h"

struct vae_bench {
    struct bench *b;
    struct weights *weights;
    struct vae *vae;
    struct vae_shape shape;
    struct vae_plan plan;
    struct queue *queue;
    void *memory, *workspace;
    float *latents; /* [z,T,h,w] */
    uint8_t *frames;
    int64_t n; /* latent frames */
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
    int64_t z = b->models.vae.z_dim, h = size->height / 8, w = size->width / 8;
    size_t latents;

    v->shape = (struct vae_shape){.height = size->height,
                                  .width = size->width,
                                  .chunk = b->o->engine.vae_chunk,
                                  .dtype = b->choice->act};
    v->n = b->r->latent_frames;
    latents = (size_t)(z * v->n * h * w);
    TRY(model_make(v, e));
    TRY(vae_plan(&b->models.vae, b->ops, VAE_DECODE, &v->shape, &v->plan, e));
    TRY(bench_room(b, v->plan.arena_bytes, &v->memory, e));
    TRY(bench_room(b, v->plan.workspace_bytes, &v->workspace, e));
    v->latents = malloc(latents * sizeof(*v->latents));
    v->frames = malloc((size_t)(4 * v->shape.chunk * size->height * size->width * 3));
    if (!v->latents || !v->frames)
        return err_set(e, ST_RESOURCE, "out of memory: frames to decode");
    noise_philox((uint64_t)b->o->seed, 1 << 20, 0, latents, v->latents);
    return ops_queue_open(b->ops, v->workspace, v->plan.workspace_bytes, &v->queue, e);
}

static void vae_close(struct vae_bench *v)
{
    struct bench *b = v->b;

    ops_queue_close(b->ops, v->queue);
    free(v->latents);
    free(v->frames);
    bench_release(b, v->memory, v->plan.arena_bytes);
    bench_release(b, v->workspace, v->plan.workspace_bytes);
    vae_destroy(v->vae);
    if (v->weights)
        b->bytes -= weights_bytes(v->weights);
    weights_close(v->weights);
}

static enum status chunks_decode(struct vae_bench *v, struct vae_decode *d,
                                 struct err *e)
{
    const struct option_size *size = &v->b->o->size;
    const int64_t dims[4] = {v->b->models.vae.z_dim, v->n, size->height / 8,
                             size->width / 8};
    struct tensor latents = tensor_make(v->latents, DT_F32, MEM_HOST, 4, dims);

    for (int64_t at = 0; at < v->n; at += v->shape.chunk) {
        int64_t n = v->n - at < v->shape.chunk ? v->n - at : v->shape.chunk;
        struct tensor z = tensor_slice(&latents, 1, at, n);
        struct tensor frames = tensor_make(
            v->frames, DT_U8, MEM_HOST, 4,
            (int64_t[]){vae_decode_frames(d, n), size->height, size->width, 3});

        TRY(vae_decode_step(d, &z, &frames, e));
    }
    return ST_OK;
}

static enum status vae_pass(void *ctx, struct err *e)
{
    struct vae_bench *v = ctx;
    struct vae_decode *d;
    struct arena arena;
    enum status st;

    arena_init(&arena, v->memory, v->plan.arena_bytes);
    TRY(vae_decode_begin(v->vae, &v->shape, v->queue, &arena, &d, e));
    st = chunks_decode(v, d, e);
    vae_decode_end(d);
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

enum status bench_vae(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct vae_bench v = {.b = b};
    enum status st = vae_open(&v, e);

    if (st == ST_OK)
        st = bench_repeat(b, vae_pass, &v, false, &out->seconds, e);
    if (st == ST_OK)
        st = bench_watched(b, vae_pass, &v, false, out, e);
    if (st == ST_OK) {
        out->weight_bytes = weights_bytes(v.weights);
        out->flop = flop_of(&out->watch);
    }
    vae_close(&v);
    return st;
}
