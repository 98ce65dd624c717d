/* stand.c - makes the transformer of a benchmark and all that a pass needs */
#include "engine/bench/stand.h"

#include "kernels/base/clock.h"

enum { STREAM_TEXT = 1 << 20, STREAM_LATENT };

/* ---- setting up ------------------------------------------------------------------ */

static enum status mesh_open(struct bench_stand *s, struct err *e)
{
    const struct engine_options *engine = &s->b->o->engine;
    struct mesh_wish wish = {.ranks = world_facts(s->b->world)->size,
                             .heads = s->b->models.dit.heads,
                             .guidance = s->b->o->guided,
                             .mesh = engine->mesh,
                             .ulysses_degree = (int)engine->ulysses_degree,
                             .ring_degree = (int)engine->ring_degree,
                             .guidance_degree = (int)engine->guidance_degree};

    TRY(mesh_choose(&wish, &s->mesh, e));
    mesh_print(&s->mesh, s->b->r->mesh);
    s->b->r->forwards_at_once = s->mesh.guidance;
    return spread_open(&s->spread, s->b->world, s->b->ops, &s->mesh, e);
}

static void shape_fill(struct bench_stand *s)
{
    const struct bench_options *o = s->b->o;
    const struct dit_config *dit = &s->b->models.dit;

    s->size = (struct latent_size){dit->out_channels, s->b->r->latent_frames,
                                   o->size.height / 8, o->size.width / 8};
    s->shape = (struct dit_shape){
        .frames = s->size.frames,
        .grid_h = s->size.height / 2,
        .grid_w = s->size.width / 2,
        .group = seqpar_group_of(&s->spread.comms),
        .contexts = 1,
        .context_rows = dit_context_rows(dit, o->text_rows),
    };
    s->b->r->tokens = s->shape.frames * s->shape.grid_h * s->shape.grid_w;
}

static enum status settle(struct bench_stand *s, struct err *e)
{
    struct bench_result *r = s->b->r;
    double begun = clock_seconds();
    int proven;

    TRY(dit_settle(s->dit, &proven, r->settle_note, e));
    r->settle_seconds = proven > 0 ? clock_seconds() - begun : 0.0;
    return ST_OK;
}

static enum status model_make(struct bench_stand *s, enum dtype stored, struct err *e)
{
    struct bench *b = s->b;
    struct weights_policy policy = precision_policy(s->choice, MODEL_DIT);
    struct made_up how = {.seed = (uint64_t)b->o->seed,
                          .stored = stored,
                          .share_blocks = b->o->share_blocks};
    struct expect_list list = EXPECT_LIST_INIT;
    enum status st;

    expect_dit(&list, &b->models.dit);
    st = weights_make_up(&list, "transformer", &policy, &how, b->ops, &s->weights, e);
    expect_release(&list);
    TRY(st);
    b->bytes += weights_bytes(s->weights);
    TRY(dit_create(&b->models.dit, s->choice->dit, s->weights, b->ops, &s->dit, e));
    return settle(s, e);
}

struct denoise_args bench_stand_denoising(struct bench_stand *s)
{
    return (struct denoise_args){
        .ops = s->b->ops,
        .queue = s->queue,
        .spread = &s->spread,
        .dit = s->dit,
        .context = {s->context[BRANCH_COND], s->context[BRANCH_UNCOND]},
        .size = s->size,
        .shape = s->shape,
        .causal_block_size = 1,
        .guidance = s->b->o->guided ? 6.0 : 1.0,
    };
}

/* Input, result and timestep of one pass. */
static void io_cut(struct bench_stand *s, struct arena *a)
{
    enum mem_space space = ops_facts(s->b->ops)->space;
    int64_t own = seqpar_tokens(&s->shape.group, s->b->ops, s->b->r->tokens).count;
    const int64_t rows[2] = {own, 4 * s->size.channels};

    s->latent = tensor_cut(a, DT_F32, space, 2, rows);
    s->velocity = tensor_cut(a, DT_F32, space, 2, rows);
    s->t = tensor_cut(a, DT_F32, space, 1, (int64_t[]){1});
}

static enum status memory_get(struct bench_stand *s, struct err *e)
{
    struct bench *b = s->b;
    struct denoise_args a = bench_stand_denoising(s);
    size_t text = (size_t)(b->o->text_rows * b->models.dit.text_dim) * sizeof(float) +
                  ARENA_ALIGN;
    struct arena counting;

    TRY(dit_plan(&b->models.dit, s->choice->dit, &s->shape, b->ops, &s->plan, e));
    arena_init(&counting, NULL, 0);
    io_cut(s, &counting);
    s->bytes[STAND_SCRATCH] = s->plan.forward_bytes +
                              bytes_larger(counting.peak,
                                           b->o->end_to_end
                                               ? denoise_state_bytes(b->ops, &a)
                                               : 0);
    s->bytes[STAND_SCRATCH] = bytes_larger(s->bytes[STAND_SCRATCH],
                                           s->plan.context_scratch_bytes + text);
    s->bytes[STAND_KEPT] = s->plan.context_bytes * BRANCHES / (size_t)s->mesh.guidance;
    s->bytes[STAND_WORKSPACE] = s->plan.workspace_bytes;
    for (int i = 0; i < STAND_MEMORIES; i++)
        TRY(bench_room(b, s->bytes[i], &s->memory[i], e));
    arena_init(&s->scratch, s->memory[STAND_SCRATCH], s->bytes[STAND_SCRATCH]);
    arena_init(&s->kept, s->memory[STAND_KEPT], s->bytes[STAND_KEPT]);
    return ops_queue_open(b->ops, s->memory[STAND_WORKSPACE], s->bytes[STAND_WORKSPACE],
                          &s->queue, e);
}

static enum status normals(struct bench_stand *s, struct tensor *t, float mean,
                           float std, uint64_t stream, uint64_t first, struct err *e)
{
    struct op_normal a = {t, mean, std, (uint64_t)s->b->o->seed, stream, first};

    return ops_normal(s->b->ops, s->queue, &a, e);
}

static enum status contexts_make(struct bench_stand *s, struct err *e)
{
    const int64_t dims[2] = {s->b->o->text_rows, s->b->models.dit.text_dim};

    for (int i = 0; i < BRANCHES; i++) {
        size_t mark = arena_mark(&s->scratch);
        struct tensor text;

        if (!spread_owns(&s->spread, (enum branch)i))
            continue;
        text = tensor_cut(&s->scratch, DT_F32, ops_facts(s->b->ops)->space, 2, dims);
        TRY(normals(s, &text, 0.0f, 0.2f, STREAM_TEXT + (uint64_t)i, 0, e));
        TRY(dit_context_create(s->dit, s->queue, &text, &s->kept, &s->scratch,
                               &s->context[i], e));
        arena_reset(&s->scratch, mark);
    }
    return ST_OK;
}

static enum status input_make(struct bench_stand *s, struct err *e)
{
    struct span own;

    TRY(dit_forward_create(s->dit, &s->shape, &s->scratch, s->queue, &s->forward, e));
    io_cut(s, &s->scratch);
    own = dit_forward_tokens(s->forward);
    TRY(normals(s, &s->t, 500.0f, 0.0f, STREAM_LATENT, 0, e));
    return normals(s, &s->latent, 0.0f, 1.0f, STREAM_LATENT,
                   (uint64_t)(own.begin * s->latent.shape[1]), e);
}

enum status bench_stand_open(struct bench_stand *s, struct bench *b,
                             const struct precision_choice *choice, enum dtype stored,
                             struct err *e)
{
    s->b = b;
    s->choice = choice;
    TRY(mesh_open(s, e));
    shape_fill(s);
    TRY(model_make(s, stored, e));
    TRY(memory_get(s, e));
    TRY(contexts_make(s, e));
    return input_make(s, e);
}

void bench_stand_close(struct bench_stand *s)
{
    if (world_torn(s->b->world))
        return;
    dit_forward_destroy(s->forward);
    for (int i = 0; i < BRANCHES; i++)
        dit_context_destroy(s->context[i]);
    ops_queue_close(s->b->ops, s->queue);
    for (int i = 0; i < STAND_MEMORIES; i++)
        bench_release(s->b, s->memory[i], s->bytes[i]);
    dit_destroy(s->dit);
    if (s->weights)
        s->b->bytes -= weights_bytes(s->weights);
    weights_close(s->weights);
    spread_close(&s->spread);
}

/* ---- one pass -------------------------------------------------------------------- */

struct dit_input bench_stand_input(const struct bench_stand *s)
{
    int branch = s->mesh.guidance > 1 ? s->spread.comms.place.guidance : BRANCH_COND;

    return (struct dit_input){.latent = {&s->latent},
                              .n_latent = 1,
                              .t = &s->t,
                              .context = {s->context[branch]}};
}

enum status bench_stand_pass(void *stand, struct err *e)
{
    struct bench_stand *s = stand;
    struct dit_input in = bench_stand_input(s);
    enum status st;

    st = dit_forward_run(s->forward, s->queue, &in, &s->velocity, e);
    if (st == ST_OK)
        st = ops_queue_wait(s->b->ops, s->queue, e);
    if (st != ST_OK) {
        world_tear(s->b->world);
        spread_abort(&s->spread);
    }
    return st;
}
