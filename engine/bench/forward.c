/* forward.c - one pass of the transformer, and all steps of a video
 *
 * Memory is planned as in a run (engine/pipeline/plan.c): an arena that the pass and
 * the solver's state share, one that keeps the contexts, and the queue's workspace. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/inside.h"
#include "engine/pipeline/denoise.h"
#include "kernels/base/clock.h"
#include "kernels/base/rng.h"

enum { STREAM_TEXT = 1 << 20, STREAM_LATENT, STREAM_NOISE };

enum memory { SCRATCH, KEPT, WORKSPACE, MEMORIES };

struct forward_bench {
    struct bench *b;
    struct mesh mesh;
    struct spread spread;
    struct weights *weights;
    struct dit *dit;
    struct dit_shape shape;
    struct dit_plan plan;
    struct latent_size size;
    void *memory[MEMORIES];
    size_t bytes[MEMORIES];
    struct arena scratch, kept;
    struct queue *queue;
    struct dit_context *context[BRANCHES];
    struct dit_forward *forward;
    struct tensor latent, velocity, t;
};

/* ---- setting up ------------------------------------------------------------------ */

static enum status mesh_open(struct forward_bench *f, struct err *e)
{
    const struct engine_options *engine = &f->b->o->engine;
    struct mesh_wish wish = {.ranks = world_facts(f->b->world)->size,
                             .heads = f->b->models.dit.heads,
                             .guidance = f->b->o->guided,
                             .mesh = engine->mesh,
                             .ulysses_degree = (int)engine->ulysses_degree,
                             .ring_degree = (int)engine->ring_degree,
                             .guidance_degree = (int)engine->guidance_degree};

    TRY(mesh_choose(&wish, &f->mesh, e));
    mesh_print(&f->mesh, f->b->r->mesh);
    f->b->r->forwards_at_once = f->mesh.guidance;
    return spread_open(&f->spread, f->b->world, f->b->ops, &f->mesh, e);
}

static void shape_fill(struct forward_bench *f)
{
    const struct bench_options *o = f->b->o;
    const struct dit_config *dit = &f->b->models.dit;

    f->size = (struct latent_size){dit->out_channels, f->b->r->latent_frames,
                                   o->size.height / 8, o->size.width / 8};
    f->shape = (struct dit_shape){
        .frames = f->size.frames,
        .grid_h = f->size.height / 2,
        .grid_w = f->size.width / 2,
        .group = seqpar_group_of(&f->spread.comms),
        .contexts = 1,
        .context_rows = dit_context_rows(dit, o->text_rows),
    };
    f->b->r->tokens = f->shape.frames * f->shape.grid_h * f->shape.grid_w;
}

static enum status model_make(struct forward_bench *f, struct err *e)
{
    struct bench *b = f->b;
    struct weights_policy policy = precision_policy(b->choice, MODEL_DIT);
    bool exact = b->choice->act == DT_F32;
    struct made_up how = {.seed = (uint64_t)b->o->seed,
                          .stored = exact ? DT_F32 : DT_BF16,
                          .share_blocks = b->o->share_blocks};
    struct expect_list list = EXPECT_LIST_INIT;
    enum status st;

    expect_dit(&list, &b->models.dit);
    st = weights_make_up(&list, "transformer", &policy, &how, b->ops, &f->weights, e);
    expect_release(&list);
    TRY(st);
    b->bytes += weights_bytes(f->weights);
    return dit_create(&b->models.dit, b->choice->dit, f->weights, b->ops, &f->dit, e);
}

static struct denoise_args denoise_args_of(struct forward_bench *f)
{
    return (struct denoise_args){
        .ops = f->b->ops,
        .queue = f->queue,
        .spread = &f->spread,
        .dit = f->dit,
        .context = {f->context[BRANCH_COND], f->context[BRANCH_UNCOND]},
        .size = f->size,
        .shape = f->shape,
        .causal_block_size = 1,
        .guidance = f->b->o->guided ? 6.0 : 1.0,
    };
}

/* Input, result and timestep of one pass. */
static void io_cut(struct forward_bench *f, struct arena *a)
{
    enum mem_space space = ops_facts(f->b->ops)->space;
    int64_t own = seqpar_tokens(&f->shape.group, f->b->ops, f->b->r->tokens).count;
    const int64_t rows[2] = {own, 4 * f->size.channels};

    f->latent = tensor_cut(a, DT_F32, space, 2, rows);
    f->velocity = tensor_cut(a, DT_F32, space, 2, rows);
    f->t = tensor_cut(a, DT_F32, space, 1, (int64_t[]){1});
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static enum status memory_get(struct forward_bench *f, struct err *e)
{
    struct bench *b = f->b;
    struct denoise_args a = denoise_args_of(f);
    size_t text = (size_t)(b->o->text_rows * b->models.dit.text_dim) * sizeof(float) +
                  ARENA_ALIGN;
    struct arena counting;

    TRY(dit_plan(&b->models.dit, b->choice->dit, &f->shape, b->ops, &f->plan, e));
    arena_init(&counting, NULL, 0);
    io_cut(f, &counting);
    f->bytes[SCRATCH] = f->plan.forward_bytes +
                        larger(counting.peak,
                               b->o->end_to_end ? denoise_state_bytes(b->ops, &a) : 0);
    f->bytes[SCRATCH] = larger(f->bytes[SCRATCH], f->plan.context_scratch_bytes + text);
    f->bytes[KEPT] = f->plan.context_bytes * BRANCHES / (size_t)f->mesh.guidance;
    f->bytes[WORKSPACE] = f->plan.workspace_bytes;
    for (int i = 0; i < MEMORIES; i++)
        TRY(bench_room(b, f->bytes[i], &f->memory[i], e));
    arena_init(&f->scratch, f->memory[SCRATCH], f->bytes[SCRATCH]);
    arena_init(&f->kept, f->memory[KEPT], f->bytes[KEPT]);
    return ops_queue_open(b->ops, f->memory[WORKSPACE], f->bytes[WORKSPACE], &f->queue,
                          e);
}

static enum status normals(struct forward_bench *f, struct tensor *t, float mean,
                           float std, uint64_t stream, uint64_t first, struct err *e)
{
    struct op_normal a = {t, mean, std, (uint64_t)f->b->o->seed, stream, first};

    return ops_normal(f->b->ops, f->queue, &a, e);
}

static enum status contexts_make(struct forward_bench *f, struct err *e)
{
    const int64_t dims[2] = {f->b->o->text_rows, f->b->models.dit.text_dim};

    for (int i = 0; i < BRANCHES; i++) {
        size_t mark = arena_mark(&f->scratch);
        struct tensor text;

        if (!spread_owns(&f->spread, (enum branch)i))
            continue;
        text = tensor_cut(&f->scratch, DT_F32, ops_facts(f->b->ops)->space, 2, dims);
        TRY(normals(f, &text, 0.0f, 0.2f, STREAM_TEXT + (uint64_t)i, 0, e));
        TRY(dit_context_create(f->dit, f->queue, &text, &f->kept, &f->scratch,
                               &f->context[i], e));
        arena_reset(&f->scratch, mark);
    }
    return ST_OK;
}

static enum status input_make(struct forward_bench *f, struct err *e)
{
    struct span own;

    TRY(dit_forward_create(f->dit, &f->shape, &f->scratch, f->queue, &f->forward, e));
    io_cut(f, &f->scratch);
    own = dit_forward_tokens(f->forward);
    TRY(normals(f, &f->t, 500.0f, 0.0f, STREAM_LATENT, 0, e));
    return normals(f, &f->latent, 0.0f, 1.0f, STREAM_LATENT,
                   (uint64_t)(own.begin * f->latent.shape[1]), e);
}

static enum status forward_open(struct forward_bench *f, struct err *e)
{
    TRY(mesh_open(f, e));
    shape_fill(f);
    TRY(model_make(f, e));
    TRY(memory_get(f, e));
    TRY(contexts_make(f, e));
    return input_make(f, e);
}

/* A torn world gives back no memory that a lost exchange may still use. */
static void forward_close(struct forward_bench *f)
{
    if (world_torn(f->b->world))
        return;
    dit_forward_destroy(f->forward);
    for (int i = 0; i < BRANCHES; i++)
        dit_context_destroy(f->context[i]);
    ops_queue_close(f->b->ops, f->queue);
    for (int i = 0; i < MEMORIES; i++)
        bench_release(f->b, f->memory[i], f->bytes[i]);
    dit_destroy(f->dit);
    if (f->weights)
        f->b->bytes -= weights_bytes(f->weights);
    weights_close(f->weights);
    spread_close(&f->spread);
}

/* ---- one pass -------------------------------------------------------------------- */

/* A rank that fails in a pass cannot meet the others, which wait for it in an exchange.
 */
static enum status forward_pass(void *ctx, struct err *e)
{
    struct forward_bench *f = ctx;
    int branch = f->mesh.guidance > 1 ? f->spread.comms.place.guidance : BRANCH_COND;
    struct dit_input in = {.latent = {&f->latent},
                           .n_latent = 1,
                           .t = &f->t,
                           .context = {f->context[branch]}};
    enum status st;

    st = dit_forward_run(f->forward, f->queue, &in, &f->velocity, e);
    if (st == ST_OK)
        st = ops_queue_wait(f->b->ops, f->queue, e);
    if (st != ST_OK) {
        world_tear(f->b->world);
        spread_abort(&f->spread);
    }
    return st;
}

/* What ranks have sent and waited for since the last call, per forward. */
static enum status traffic_note(struct forward_bench *f, struct spread_traffic *last,
                                int forwards, struct err *e)
{
    int ranks = world_facts(f->b->world)->size;
    struct spread_traffic *all = calloc((size_t)ranks, sizeof(*all));
    struct bench_rank *mine = &f->b->r->rank[world_facts(f->b->world)->rank];
    enum status st;

    if (!all)
        return err_set(e, ST_RESOURCE, "out of memory: ranks");
    st = spread_traffic(&f->spread, last, all, e);
    if (st == ST_OK) {
        const struct spread_traffic *t = &all[world_facts(f->b->world)->rank];

        mine->sent_bytes = t->sent_bytes / forwards;
        mine->waited_seconds = t->wait_seconds / forwards;
    }
    free(all);
    return st;
}

/* ---- all steps ------------------------------------------------------------------- */

/* Denoise from noise, as a run does. Gives the pass's memory to the solver. */
static enum status steps_run(struct forward_bench *f, float *latent, struct err *e)
{
    struct denoise_args a = denoise_args_of(f);
    struct schedule schedule;
    double begun;

    TRY(schedule_init(&schedule, SOLVER_UNIPC, (int)f->b->o->steps, 8.0, e));
    a.schedule = &schedule;
    dit_forward_destroy(f->forward);
    f->forward = NULL;
    arena_init(&f->scratch, f->memory[SCRATCH], f->bytes[SCRATCH]);
    TRY(world_agree(f->b->world, ST_OK, e));
    begun = clock_seconds();
    TRY(denoise_segment(&a, &f->scratch, latent, e));
    f->b->r->denoise_seconds = clock_seconds() - begun;
    return ST_OK;
}

static enum status whole_run(struct forward_bench *f, struct err *e)
{
    size_t n = (size_t)(f->size.channels * f->size.frames * f->size.height *
                        f->size.width);
    float *latent = malloc(n * sizeof(*latent));
    enum status st;

    if (!latent)
        return err_set(e, ST_RESOURCE, "out of memory: %zu latents", n);
    noise_philox((uint64_t)f->b->o->seed, STREAM_NOISE, 0, n, latent);
    st = steps_run(f, latent, e);
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        if (spread_leads(&f->spread) && !isfinite(latent[i]))
            st = err_set(e, ST_DEVICE, "latent %zu of %zu is not finite", i, n);
    }
    free(latent);
    return st;
}

/* ---- the part -------------------------------------------------------------------- */

static enum status forward_measure(struct forward_bench *f,
                                   struct bench_part_result *out, struct err *e)
{
    struct bench *b = f->b;
    struct spread_traffic last = {0};

    out->weight_bytes = weights_bytes(f->weights);
    out->flop = f->plan.linear_flops + f->plan.self_flops + f->plan.cross_flops;
    TRY(traffic_note(f, &last, 1, e));
    TRY(bench_repeat(b, forward_pass, f, true, &out->seconds, e));
    TRY(traffic_note(f, &last, (int)b->o->repeats + 1, e));
    TRY(bench_watched(b, forward_pass, f, true, out, e));
    return b->o->end_to_end ? whole_run(f, e) : ST_OK;
}

enum status bench_forward(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct forward_bench f = {.b = b};
    enum status st = forward_open(&f, e);

    if (st == ST_OK)
        st = forward_measure(&f, out, e);
    forward_close(&f);
    return st;
}
