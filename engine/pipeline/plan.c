/* plan.c - memory and work of a job, by arithmetic */
#include <string.h>

#include "dist/wire.h"
#include "engine/pipeline/inside.h"

enum { SHARE_TILES = 256 }; /* of no more tiles the work is added up */

static enum status mesh_of(const struct pipeline *p, bool guided, int ranks,
                           struct mesh *out, struct err *e)
{
    struct mesh_wish wish = p->wish;

    wish.ranks = ranks;
    wish.heads = model_dit(p->model)->heads;
    wish.guidance = guided;
    return mesh_choose(&wish, out, e);
}

enum status geometry_init(struct geometry *g, const struct pipeline *p,
                          const struct job *job, int ranks, struct err *e)
{
    memset(g, 0, sizeof(*g));
    g->guided = job_guided(job);
    TRY(mesh_of(p, g->guided, ranks, &g->mesh, e));
    geometry_rank(g, 0, seqpar_group_planned(&g->mesh, 0));
    TRY(job_segments(job, &g->segments, e));
    g->height = job->size.height / 8;
    g->width = job->size.width / 8;
    g->chained_pixels = job->chain == CHAIN_PIXELS && g->segments.count > 1;
    for (int i = 0; i < g->segments.count; i++) {
        const struct segment *s = &g->segments.segment[i];
        struct matrix_args m = {s->frames, s->frames, (int)job->ar_step, s->prefix,
                                (int)job->causal_block_size};

        g->rows += matrix_rows((int)job->inference_steps, &m);
        if (s->frames > g->longest)
            g->longest = s->frames;
    }
    return ST_OK;
}

void geometry_rank(struct geometry *g, int rank, struct seqpar_group group)
{
    g->rank = rank;
    g->group = group;
    g->leads = rank == 0;
}

void geometry_release(struct geometry *g)
{
    segments_release(&g->segments);
}

struct dit_shape geometry_shape(const struct pipeline *p, const struct geometry *g,
                                const struct job *job, int64_t frames,
                                int64_t text_rows)
{
    struct dit_shape shape = {
        .frames = frames,
        .grid_h = g->height / 2,
        .grid_w = g->width / 2,
        .group = g->group,
        .contexts = 1,
        .context_rows = dit_context_rows(model_dit(p->model), text_rows),
        .fps = (int)job->fps,
    };

    return shape;
}

struct vae_shape vae_shape_of(const struct pipeline *p, const struct job *job)
{
    struct vae_shape shape = {.height = job->size.height,
                              .width = job->size.width,
                              .chunk = p->vae_chunk,
                              .dtype = p->act};

    return shape;
}

struct film_form geometry_film(const struct pipeline *p, const struct geometry *g,
                               const struct job *job)
{
    return (struct film_form){
        .shape = vae_shape_of(p, job),
        .cut = g->cut,
        .chained_pixels = g->chained_pixels,
        .overlap_frames = g->chained_pixels ? (int)job->overlap_history : 0,
        .many = g->segments.count > 1,
        .rank = g->rank,
        .ranks = p->vae_ranks};
}

/* What it takes to decode. */
static enum status film_bytes(struct pipeline *p, const struct geometry *g,
                              const struct job *job, struct run_memory *out,
                              struct err *e)
{
    struct film_form form = geometry_film(p, g, job);
    struct film_memory film;

    TRY(film_plan(model_vae(p->model), p->ops, &form, &film, e));
    out->decode = film.scratch + film.kept;
    out->kept += film.kept;
    out->scratch = bytes_larger(out->scratch, film.scratch);
    out->host += film.host;
    out->workspace = bytes_larger(out->workspace, film.workspace);
    return ST_OK;
}

static enum status dit_bytes(struct pipeline *p, const struct geometry *g,
                             const struct job *job, int64_t text_rows,
                             struct run_memory *out, struct err *e)
{
    struct dit_shape shape = geometry_shape(p, g, job, g->longest, text_rows);
    struct denoise_args a = {
        .size = {model_dit(p->model)->out_channels, g->longest, g->height, g->width},
        .shape = shape};
    struct dit_plan plan;

    TRY(dit_plan(model_dit(p->model), p->precision, &shape, p->ops, &plan, e));
    out->denoise = bytes_larger(plan.forward_bytes + denoise_state_bytes(p->ops, &a),
                                plan.context_scratch_bytes);
    out->kept = plan.context_bytes * (size_t)(g->guided ? 2 / g->mesh.guidance : 1);
    out->workspace = bytes_larger(out->workspace, plan.workspace_bytes);
    return ST_OK;
}

/* Beside the arenas: latents of the video, of a segment and of its rows. */
static size_t host_bytes(const struct pipeline *p, const struct geometry *g)
{
    size_t latent = (size_t)(model_dit(p->model)->out_channels * g->height * g->width) *
                    sizeof(float);

    return (size_t)(g->segments.total + 2 * g->longest) * latent;
}

struct checkpoint_room run_room(const struct pipeline *p, const struct geometry *g,
                                int64_t text_rows)
{
    const struct dit_config *dit = model_dit(p->model);
    size_t latent = (size_t)(dit->out_channels * g->height * g->width);
    size_t text = (size_t)(text_rows * dit->text_dim);
    bool many = g->segments.count > 1;
    struct checkpoint_room room = {.state = (size_t)g->longest * latent,
                                   .cond = text,
                                   .uncond = g->guided ? text : 0,
                                   .finished = many ? (size_t)g->segments.total * latent
                                                    : 0};

    return room;
}

/* Of the leader: snapshots, HDF5's image of the one that is being saved, what is read
 * back of it, and in a run that goes on what it goes on from. A video of one segment is
 * saved as finished once, at its end. */
static size_t checkpoints_bytes(const struct pipeline *p, const struct geometry *g,
                                const struct job *job, int64_t text_rows)
{
    const struct checkpoint_room room = run_room(p, g, text_rows);
    size_t one = 4 * room.state + room.cond + room.uncond + room.finished;
    size_t copies = CHECKPOINT_SNAPSHOTS + 2 + (job->resumed ? 1 : 0);

    return (copies * one + (room.finished ? 0 : room.state)) * sizeof(float);
}

enum status run_memory_plan(struct pipeline *p, const struct geometry *g,
                            const struct job *job, int64_t text_rows,
                            struct run_memory *out, struct err *e)
{
    struct texts_memory text;
    int64_t text_bytes = text_rows * model_dit(p->model)->text_dim *
                         (int64_t)sizeof(float);

    memset(out, 0, sizeof(*out));
    out->host = host_bytes(p, g);
    TRY(dit_bytes(p, g, job, text_rows, out, e));
    if (g->leads && job_encodes(job)) {
        TRY(texts_plan(p, text_rows, &text, e));
        out->encode = text.arena;
        out->encode_workspace = text.workspace;
    }
    /* The rows of a prompt lie beside what is made of them. */
    out->denoise += (size_t)text_bytes + ARENA_ALIGN;
    out->scratch = out->denoise;
    if (g->leads) {
        out->checkpoints = checkpoints_bytes(p, g, job, text_rows);
        out->texts = texts_kept(p);
    }
    out->host += out->checkpoints + out->texts;
    return g->leads || p->vae_ranks > 1 ? film_bytes(p, g, job, out, e) : ST_OK;
}

/* Multiply-adds of the decoder, counted twice each: 431.6 TFLOP for 25 x 68 x 120
 * latent pixels at base width 96 (encoders-vae-formats 4.10), in proportion to pixels
 * and to the square of the width. */
static double decode_flops(const struct vae_config *vae, const struct geometry *g)
{
    double pixels = (double)g->segments.total * (double)(g->height * g->width);
    double width = (double)vae->base_dim / 96.0;

    return 431.6e12 / (25.0 * 68.0 * 120.0) * pixels * width * width;
}

/* Work of the model and its tokens, however many ranks share them. */
static enum status whole_plan(struct pipeline *p, const struct geometry *g,
                              const struct job *job, struct pipeline_plan *out,
                              struct err *e)
{
    const struct dit_config *dit = model_dit(p->model);
    struct dit_shape shape = geometry_shape(p, g, job, g->longest, dit->text_len);
    struct dit_plan plan;

    shape.group = (struct seqpar_group)SEQPAR_ALONE;
    TRY(dit_plan(dit, p->precision, &shape, p->ops, &plan, e));
    out->tokens = plan.tokens;
    out->forward_flop = plan.linear_flops + plan.self_flops + plan.cross_flops;
    return ST_OK;
}

/* ---- the two times of a run ------------------------------------------------------ */

/* What the text encoder works in, beside its weights. */
static size_t encoder_bytes(const struct run_memory *m)
{
    return m->encode + m->encode_workspace;
}

/* What comes after it. */
static size_t arenas_bytes(const struct run_memory *m)
{
    return m->scratch + m->kept + m->workspace;
}

static size_t part_bytes(const struct pipeline *p, enum model_part part)
{
    return p->store[part] ? weights_bytes(p->store[part]) : 0;
}

/* Weights of the text encoder that live beside all others. */
static size_t staying_bytes(const struct pipeline *p)
{
    return p->texts.stays ? part_bytes(p, MODEL_TEXT) : 0;
}

/* The leader's, in all spaces together. Where the encoder stays, later jobs encode
 * beside the transformer, before their arenas are there. */
static void peak_fill(const struct pipeline *p, const struct job *job,
                      const struct run_memory *m, struct pipeline_plan *out)
{
    size_t text = encoder_bytes(m), rest = arenas_bytes(m);

    out->text_stays = p->texts.stays;
    out->run_bytes = m->host + part_bytes(p, MODEL_DIT) + part_bytes(p, MODEL_VAE) +
                     staying_bytes(p) +
                     (p->texts.stays ? bytes_larger(text, rest) : rest);
    if (job_encodes(job) && !p->texts.stays)
        out->text_bytes = text + m->texts + part_bytes(p, MODEL_TEXT);
    out->peak_bytes = bytes_larger(out->text_bytes, out->run_bytes);
}

static void plan_fill(const struct pipeline *p, const struct geometry *g,
                      const struct job *job, const struct run_memory *memory,
                      struct pipeline_plan *out)
{
    struct vae_shape shape = vae_shape_of(p, job);
    struct vae_tile tile = cut_tile(&shape, &g->cut, 0);

    for (int part = 0; part < MODEL_PARTS; part++)
        out->weight_bytes[part] = part_bytes(p, (enum model_part)part);
    out->ranks = p->plan_ranks;
    mesh_print(&g->mesh, out->mesh);
    out->latent_frames = g->segments.total;
    out->latent_height = g->height;
    out->latent_width = g->width;
    out->segments = g->segments.count;
    out->rows = g->rows;
    out->forwards = g->rows * (g->guided ? 2 : 1);
    out->decode_flop = decode_flops(model_vae(p->model), g);
    out->encode_bytes = memory->encode;
    out->denoise_bytes = memory->denoise;
    out->decode_bytes = memory->decode;
    out->tile_height = tile.height;
    out->tile_width = tile.width;
    out->tiles = cut_count(&shape, &g->cut);
    out->decode_ranks = p->vae_ranks < out->tiles ? p->vae_ranks : out->tiles;
    cut_print(&shape, &g->cut, out->cut);
    out->checkpoint_bytes = memory->checkpoints;
    out->kept_bytes = memory->kept + memory->host;
    out->host_bytes = memory->host;
    peak_fill(p, job, memory, out);
}

enum status pipeline_plan(struct pipeline *p, const struct job *job,
                          struct pipeline_plan *out, struct err *e)
{
    struct vae_shape shape = vae_shape_of(p, job);
    struct cut cut;

    TRY(pipeline_cut(p, job, &cut, e));
    TRY(pipeline_plan_cut(p, job, &cut, out, e));
    if (p->vae_ranks == 1 || out->tiles > SHARE_TILES)
        return ST_OK;
    return cut_share(model_vae(p->model), p->ops, &shape, &cut, p->vae_ranks,
                     &out->decode_share, e);
}

enum status pipeline_plan_cut(struct pipeline *p, const struct job *job,
                              const struct cut *cut, struct pipeline_plan *out,
                              struct err *e)
{
    const struct dit_config *dit = model_dit(p->model);
    struct geometry g;
    struct run_memory memory;
    enum status st;

    memset(out, 0, sizeof(*out));
    TRY(geometry_init(&g, p, job, p->plan_ranks, e));
    g.cut = *cut;
    st = run_memory_plan(p, &g, job, dit->text_len, &memory, e);
    if (st == ST_OK)
        st = whole_plan(p, &g, job, out, e);
    if (st == ST_OK)
        plan_fill(p, &g, job, &memory, out);
    geometry_release(&g);
    return st;
}

/* ---- ranks ----------------------------------------------------------------------- */

/* What the rank sends in a row: attention of every block of its branches, and the
 * velocity of its own tokens when the other branch is elsewhere. */
static void sent_fill(const struct pipeline *p, const struct geometry *g,
                      const struct dit_shape *shape, struct pipeline_rank_plan *out)
{
    const struct dit_config *dit = model_dit(p->model);
    struct seqpar_layout layout = {
        .group = g->group,
        .tokens = shape->frames * shape->grid_h * shape->grid_w,
        .heads = dit->heads,
        .head_dim = dit->dim / dit->heads,
        .formats = p->precision->attention,
    };
    struct wire w = wire_of(&layout, ops_facts(p->ops)->granule_tokens);
    int64_t passes = dit->layers * (g->guided ? 2 / g->mesh.guidance : 1);

    out->tokens = seqpar_tokens(&g->group, p->ops, layout.tokens).count;
    out->heads = seqpar_heads(&g->group, dit->heads).count;
    out->sent_bytes = (size_t)passes * (w.ulysses_bytes + w.ring_bytes + w.sum_bytes);
    out->messages = passes * (int64_t)w.messages;
    if (g->mesh.guidance > 1 && out->tokens > 0) {
        out->sent_bytes += (size_t)(out->tokens * 4 * dit->out_channels) *
                           sizeof(float);
        out->messages++;
    }
}

static void device_fill(const struct pipeline *p, const struct geometry *g,
                        const struct job *job, const struct run_memory *m,
                        struct pipeline_rank_plan *out)
{
    out->text_bytes = out->weight_bytes = out->exchange_bytes = out->device_bytes = 0;
    if (ops_facts(p->ops)->space == MEM_HOST)
        return;
    out->weight_bytes = part_bytes(p, MODEL_DIT);
    if (g->rank < p->vae_ranks)
        out->weight_bytes += part_bytes(p, MODEL_VAE);
    if (g->leads)
        out->weight_bytes += staying_bytes(p);
    if (g->leads && job_encodes(job) && !p->texts.stays)
        out->text_bytes = part_bytes(p, MODEL_TEXT) + encoder_bytes(m);
    out->exchange_bytes = wire_buffer_bytes(&g->mesh);
    out->device_bytes = out->exchange_bytes +
                        bytes_larger(out->text_bytes,
                                     out->weight_bytes + out->activation_bytes);
}

enum status pipeline_plan_rank(struct pipeline *p, const struct job *job, int rank,
                               struct pipeline_rank_plan *out, struct err *e)
{
    struct cut cut;

    TRY(pipeline_cut(p, job, &cut, e));
    return pipeline_plan_rank_cut(p, job, rank, &cut, out, e);
}

enum status pipeline_plan_rank_cut(struct pipeline *p, const struct job *job, int rank,
                                   const struct cut *cut,
                                   struct pipeline_rank_plan *out, struct err *e)
{
    int64_t text_len = model_dit(p->model)->text_len;
    struct run_memory memory;
    struct dit_shape shape;
    struct geometry g;
    enum status st;

    TRY(geometry_init(&g, p, job, p->plan_ranks, e));
    geometry_rank(&g, rank, seqpar_group_planned(&g.mesh, rank));
    g.cut = *cut;
    st = run_memory_plan(p, &g, job, text_len, &memory, e);
    if (st == ST_OK) {
        shape = geometry_shape(p, &g, job, g.longest, text_len);
        sent_fill(p, &g, &shape, out);
        out->activation_bytes = arenas_bytes(&memory);
        if (p->texts.stays)
            out->activation_bytes = bytes_larger(out->activation_bytes,
                                                 encoder_bytes(&memory));
        device_fill(p, &g, job, &memory, out);
        out->decode_bytes = memory.decode;
    }
    geometry_release(&g);
    return st;
}
