/* run.c - one job from prompt to video
 *
 *     text      prompts to rows (texts.h) or rows from a file; the transformer is
 *               loaded; rows to contexts
 *     segments  noise, prefix, denoise, decode and write, one after another
 *     keep      checkpoints in between (keep.h); a run that goes on from one decodes
 *               the segments before it again
 *     finish    text rows, latents and noise to their files, the video gets its name
 *
 * With several ranks all run this; what only the leader, rank 0, does begins with
 * asking for it (spread.h). A rank that fails returns, and meets the others in their
 * next agreement.
 *
 * Memory is two allocations, planned before anything runs: `scratch`, which the phases
 * use in turn, and `kept`, which holds the contexts and, in a long video chained in
 * latents, the decoder's caches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pipeline/inside.h"
#include "engine/pipeline/latents.h"
#include "engine/pipeline/tags.h"
#include "kernels/base/clock.h"

struct run {
    struct pipeline *p;
    const struct job *job;
    const struct pipeline_events *events;
    struct geometry g;
    struct schedule schedule;
    struct spread spread;
    struct embeds embeds; /* before text_run on the leader alone */
    int64_t text_rows;    /* of the longer prompt */
    struct run_memory memory;
    void *scratch_memory, *kept_memory, *workspace;
    struct arena scratch, kept;
    struct queue *queue;
    struct dit_context *context[BRANCHES];
    struct noise_source noise;
    struct film film;
    struct keep keep;
    struct halt *halt;
    struct limit_times decode_times;
    char mesh[MESH_TEXT_BYTES];
    float *latents; /* [C, total, h, w] of the whole video; on the leader */
    float *segment; /* [C, longest, h, w]; the leader has all of it */
    struct spread_traffic traffic, *ranks; /* so far of this rank; of a row, of all */
    struct pipeline_progress at;
    int rows_done, decoded, to_decode; /* rows, latent frames of all rounds */
    int rounds;
};

static void progress_tell(struct run *r, enum pipeline_stage stage, int step, int steps,
                          double seconds)
{
    r->at.stage = stage;
    r->at.step = step;
    r->at.steps = steps;
    r->at.step_seconds = seconds;
    if (r->events->progress)
        r->events->progress(r->events->ctx, &r->at);
}

static void stage_set(struct run *r, enum halt_stage stage)
{
    halt_stage(r->halt, stage, r->keep.writer);
}

/* ---- text --------------------------------------------------------------------------
 */

/* Text rows from a file, or encoded, now or in a run before. */
static enum status rows_read(struct run *r, struct err *e)
{
    const struct job *job = r->job;

    TRY(texts_get(r->p, job, r->events, &r->embeds, e));
    if (job->resumed)
        return keep_embeds(&r->keep, &r->embeds, e);
    if (job->embeds)
        return embeds_read(job->embeds, model_dit(r->p->model), r->g.guided, &r->embeds,
                           e);
    return ST_OK;
}

/* The plan of every rank needs the number of rows. */
static enum status text_read(struct run *r, struct err *e)
{
    int64_t a, b;

    if (spread_leads(&r->spread))
        TRY(rows_read(r, e));
    a = r->embeds.cond.n;
    b = r->embeds.uncond.n;
    r->text_rows = a > b ? a : b;
    return spread_bytes(&r->spread, &r->text_rows, sizeof(r->text_rows), e);
}

static enum status context_make(struct run *r, const struct embeds_rows *rows,
                                struct dit_context **out, struct err *e)
{
    int64_t dims[2] = {rows->n, r->embeds.width};
    size_t mark = arena_mark(&r->scratch);
    struct tensor device = tensor_cut(&r->scratch, DT_F32, ops_facts(r->p->ops)->space,
                                      2, dims);
    struct tensor host = tensor_make(rows->rows, DT_F32, MEM_HOST, 2, dims);
    enum status st;

    st = ops_copy(r->p->ops, r->queue, &device, &host, e);
    if (st == ST_OK)
        st = dit_context_create(r->p->dit, r->queue, &device, &r->kept, &r->scratch,
                                out, e);
    arena_reset(&r->scratch, mark);
    return st;
}

static enum status text_run(struct run *r, struct err *e)
{
    const struct embeds_rows *rows[BRANCHES] = {&r->embeds.cond, &r->embeds.uncond};
    int branches = r->g.guided ? BRANCHES : 1;

    TRY(spread_embeds(&r->spread, &r->embeds, e));
    for (int b = 0; b < branches; b++) {
        if (spread_owns(&r->spread, (enum branch)b))
            TRY(context_make(r, rows[b], &r->context[b], e));
    }
    return ST_OK;
}

/* ---- segments -------------------------------------------------------------------- */

static struct latent_size size_of(const struct run *r, int64_t frames)
{
    struct latent_size size = {model_dit(r->p->model)->out_channels, frames,
                               r->g.height, r->g.width};

    return size;
}

static void frames_copy(const struct run *r, float *to, int64_t to_frames,
                        int64_t to_first, const float *from, int64_t from_frames,
                        int64_t from_first, int64_t n)
{
    struct latent_size size = size_of(r, n);

    latents_copy(&size, to, to_frames, to_first, from, from_frames, from_first, n);
}

/* Rows of the timestep matrix of a segment. */
static int segment_rows(const struct run *r, int i)
{
    const struct segment *s = &r->g.segments.segment[i];
    struct matrix_args a = {s->frames, s->frames, (int)r->job->ar_step, s->prefix,
                            (int)r->job->causal_block_size};

    return matrix_rows(r->schedule.n, &a);
}

static int64_t prefix_floats(const struct run *r, const struct segment *s)
{
    return model_dit(r->p->model)->out_channels * s->prefix * r->g.height * r->g.width;
}

/* On the leader: the latents that the segment begins with. */
static enum status prefix_make(struct run *r, const struct segment *s, float *prefix,
                               struct err *e)
{
    if (r->g.chained_pixels)
        return film_encode_tail(&r->film, &r->scratch, prefix, e);
    frames_copy(r, prefix, s->prefix, 0, r->latents, r->g.segments.total, s->first,
                s->prefix);
    return ST_OK;
}

static enum status prefix_put(struct run *r, const struct segment *s, struct err *e)
{
    size_t bytes = (size_t)prefix_floats(r, s) * sizeof(float);
    float *prefix = malloc(bytes + 1);
    enum status st = ST_OK;

    if (!prefix)
        return err_set(e, ST_RESOURCE, "out of memory: %d latent frames", s->prefix);
    if (spread_leads(&r->spread))
        st = prefix_make(r, s, prefix, e);
    if (st == ST_OK)
        st = spread_bytes(&r->spread, prefix, bytes, e);
    if (st == ST_OK)
        frames_copy(r, r->segment, s->frames, 0, prefix, s->prefix, 0, s->prefix);
    free(prefix);
    return st;
}

static enum status initial_draw(struct run *r, int i, struct err *e)
{
    const struct segment *s = &r->g.segments.segment[i];
    int64_t channels = model_dit(r->p->model)->out_channels;
    int64_t tokens = s->frames * (r->g.height / 2) * (r->g.width / 2);

    return noise_source_initial(
        &r->noise, i, (int64_t[]){channels, s->frames, r->g.height, r->g.width},
        seqpar_tokens(&r->g.group, r->p->ops, tokens), r->segment, e);
}

/* The noise of a segment, with its prefix in place, as far as own tokens need it. In
 * the middle of a segment the draw counts, and the latents come from the checkpoint. */
static enum status segment_start(struct run *r, int i, struct err *e)
{
    const struct segment *s = &r->g.segments.segment[i];

    TRY(initial_draw(r, i, e));
    if (keep_continues(&r->keep, i))
        return ST_OK;
    return s->prefix ? prefix_put(r, s, e) : ST_OK;
}

static enum status row_done(void *ctx, double seconds, struct err *e)
{
    struct run *r = ctx;

    if (r->events->traffic)
        TRY(spread_traffic(&r->spread, &r->traffic, r->ranks, e));
    progress_tell(r, STAGE_DENOISE, ++r->rows_done, r->g.rows, seconds);
    if (r->events->traffic)
        r->events->traffic(r->events->ctx, r->ranks, world_facts(r->p->world)->size);
    return ST_OK;
}

/* Does this rank take part in decoding? */
static bool films(const struct run *r)
{
    return r->g.leads || r->p->vae_ranks > 1;
}

/* Is there a reason not to decode the next latent frames? */
static enum status decode_ask(void *ctx, struct err *e)
{
    struct run *r = ctx;
    double now = clock_seconds();
    const struct limit *limit = limit_reached(r->events->limits, &r->decode_times, now);

    if ((!r->events->stop || !*r->events->stop) && !limit)
        return ST_OK;
    stage_set(r, HALT_CLOSING);
    if (!limit)
        return err_set(e, ST_STOPPED, "stopped on request while decoding");
    return err_set(e, ST_STOPPED, "stopped while decoding: %.1f s are left of %s",
                   limit->end > now ? limit->end - now : 0.0, limit->what);
}

static void decode_done(void *ctx, int latents, double seconds)
{
    struct run *r = ctx;

    limit_row(&r->decode_times, seconds);
    r->decoded += latents;
    progress_tell(r, STAGE_DECODE, r->decoded, r->to_decode, seconds);
}

/* On the leader: a finished segment to the video's latents, and into a checkpoint. */
static enum status segment_keep(struct run *r, int i, struct err *e)
{
    const struct segment *s = &r->g.segments.segment[i];

    frames_copy(r, r->latents, r->g.segments.total, s->first + s->prefix, r->segment,
                s->frames, s->prefix, s->frames - s->prefix);
    return keep_finished(&r->keep, i + 1, s->first + s->frames, segment_rows(r, i), e);
}

/* Decoding has ended: a stop asked for meanwhile waits for the checkpoint. */
static enum status decode_ended(struct run *r, enum status st, struct err *e)
{
    if (st == ST_STOPPED && r->g.leads && keep_wait(&r->keep, e) != ST_OK)
        return e->status;
    return st;
}

/* Latents of a finished segment to frames. */
static enum status segment_finish(struct run *r, int i, struct err *e)
{
    const struct segment *s = &r->g.segments.segment[i];
    struct latent_size size = size_of(r, s->frames);

    if (r->g.leads)
        TRY(segment_keep(r, i, e));
    if (!films(r))
        return ST_OK;
    stage_set(r, HALT_DECODE);
    return decode_ended(
        r, film_segment(&r->film, &r->scratch, r->segment, &size, s->prefix, e), e);
}

static enum status segment_run(struct run *r, int i, struct err *e)
{
    const struct segment *s = &r->g.segments.segment[i];
    struct denoise_args a = {
        .ops = r->p->ops,
        .queue = r->queue,
        .dit = r->p->dit,
        .spread = &r->spread,
        .context = {r->context[BRANCH_COND], r->context[BRANCH_UNCOND]},
        .schedule = &r->schedule,
        .noise = &r->noise,
        .segment = i,
        .size = size_of(r, s->frames),
        .shape = geometry_shape(r->p, &r->g, r->job, s->frames, r->text_rows),
        .prefix = s->prefix,
        .ar_step = (int)r->job->ar_step,
        .causal_block_size = (int)r->job->causal_block_size,
        .addnoise = (int)r->job->addnoise_condition,
        .guidance = r->job->guidance_scale,
        .finished = s->first + s->prefix,
        .keep = &r->keep,
        .row_done = row_done,
        .ctx = r,
    };

    r->at.segment = i;
    r->keep.at_segment = i;
    stage_set(r, HALT_ROWS);
    TRY(segment_start(r, i, e));
    TRY(denoise_segment(&a, &r->scratch, r->segment, e));
    return segment_finish(r, i, e);
}

/* ---- going on from a checkpoint -------------------------------------------------- */

/* The latents of segment i as they were when it had been denoised; on the leader. */
static enum status segment_again(struct run *r, int i, struct err *e)
{
    const struct segment *s = &r->g.segments.segment[i];
    float *prefix;
    enum status st = ST_OK;

    frames_copy(r, r->segment, s->frames, 0, r->latents, r->g.segments.total, s->first,
                s->frames);
    if (!s->prefix || !r->g.chained_pixels)
        return ST_OK;
    prefix = malloc((size_t)prefix_floats(r, s) * sizeof(float));
    if (!prefix)
        return err_set(e, ST_RESOURCE, "out of memory: %d latent frames", s->prefix);
    st = prefix_make(r, s, prefix, e);
    if (st == ST_OK)
        frames_copy(r, r->segment, s->frames, 0, prefix, s->prefix, 0, s->prefix);
    free(prefix);
    return st;
}

/* Noise that was drawn before: generators with a state move on, files get it again. */
static enum status noise_again(struct run *r, int segment, int row, struct err *e)
{
    int64_t channels = model_dit(r->p->model)->out_channels;

    for (int i = 0; i <= segment; i++) {
        const struct segment *s = &r->g.segments.segment[i];
        int64_t dims[4] = {channels, s->prefix, r->g.height, r->g.width};
        int rows = i < segment ? segment_rows(r, i) : row;

        if (i < segment)
            TRY(initial_draw(r, i, e));
        if (!s->prefix || !r->job->addnoise_condition || !r->job->save_noise)
            continue;
        for (int k = 0; k < rows; k++)
            TRY(noise_source_prefix(&r->noise, i, k, dims, r->segment, e));
    }
    return ST_OK;
}

/* Segments that were finished, to frames once more. */
static enum status segments_film(struct run *r, int finished, struct err *e)
{
    for (int i = 0; i < finished && films(r); i++) {
        const struct segment *s = &r->g.segments.segment[i];
        struct latent_size size = size_of(r, s->frames);

        if (r->g.leads)
            TRY(segment_again(r, i, e));
        TRY(film_segment(&r->film, &r->scratch, r->segment, &size, s->prefix, e));
    }
    return ST_OK;
}

/* Everything up to the first row that was not done. */
static enum status segments_again(struct run *r, struct err *e)
{
    int segment = (int)r->keep.segment, row = (int)r->keep.row;
    bool all = r->keep.final;
    int finished = all ? r->g.segments.count : segment;
    const struct segment *s;

    if (segment >= r->g.segments.count || row > segment_rows(r, segment))
        return err_set(e, ST_INPUT,
                       "the checkpoint is of segment %d, row %d: this job "
                       "does not have it",
                       segment, row);
    TRY(noise_again(r, segment, row, e));
    if (all)
        TRY(initial_draw(r, segment, e));
    for (int i = 0; i < finished; i++)
        r->rows_done += segment_rows(r, i);
    r->rows_done += all ? 0 : row;
    s = &r->g.segments.segment[segment];
    if (r->g.leads)
        TRY(keep_latents(&r->keep, r->latents, s->first + (all ? s->frames : s->prefix),
                         e));
    return segments_film(r, finished, e);
}

/* ---- all segments ---------------------------------------------------------------- */

static enum status segments_run(struct run *r, struct err *e)
{
    int first = r->keep.final ? r->g.segments.count : (int)r->keep.segment;

    r->at.segments = r->g.segments.count;
    for (int i = 0; i < r->g.segments.count; i++) {
        const struct segment *s = &r->g.segments.segment[i];

        r->to_decode += s->frames - (r->g.chained_pixels ? 0 : s->prefix);
    }
    r->to_decode *= r->rounds;
    if (r->job->resumed)
        TRY(segments_again(r, e));
    for (int i = first; i < r->g.segments.count; i++)
        TRY(segment_run(r, i, e));
    return ST_OK;
}

/* ---- the whole ------------------------------------------------------------------- */

/* The job as attributes job, job_1, job_2 …: one holds H5_TEXT_MAX bytes at most. Cut
 * between characters. */
static enum status job_save(struct h5_writer *w, const char *json, struct err *e)
{
    size_t left = json ? strlen(json) : 0;
    char name[32] = "job";
    enum status st = ST_OK;

    for (int i = 1; left > 0 && st == ST_OK; i++) {
        size_t len = left < H5_TEXT_MAX ? left : H5_TEXT_MAX;
        char *part;

        while (len < left && len > 1 && ((unsigned char)json[len] & 0xc0) == 0x80)
            len--;
        part = strndup(json, len);
        if (!part)
            return err_set(e, ST_RESOURCE, "out of memory: a job of %zu bytes", left);
        st = h5_put_text(w, "", name, part, e);
        free(part);
        json += len;
        left -= len;
        snprintf(name, sizeof(name), "job_%d", i);
    }
    return st;
}

static enum status latents_save(const struct run *r, struct err *e)
{
    int64_t dims[4] = {model_dit(r->p->model)->out_channels, r->g.segments.total,
                       r->g.height, r->g.width};
    struct h5_writer *w;
    enum status st;

    if (!r->job->save_latents)
        return ST_OK;
    TRY(h5_create(r->job->save_latents, job_replaces(r->job), &w, e));
    st = h5_put(w, "latents/x", 4, dims, r->latents, e);
    if (st == ST_OK)
        st = h5_put_int(w, "", "seed", r->job->seed, e);
    if (st == ST_OK)
        st = h5_put_int(w, "", "fps", r->job->fps, e);
    if (st == ST_OK)
        st = h5_put_text(w, "", "model_digest", r->keep.whole_digest, e);
    if (st == ST_OK)
        st = job_save(w, r->events->job_json, e);
    if (st != ST_OK) {
        h5_abandon(w);
        return st;
    }
    return h5_commit(w, e);
}

static enum status embeds_save(const struct run *r, struct err *e)
{
    if (!r->job->save_embeds)
        return ST_OK;
    return embeds_write(r->job->save_embeds, job_replaces(r->job), &r->embeds, e);
}

static enum status film_start(struct run *r, struct err *e)
{
    struct tags tags;
    struct film_form form = geometry_film(r->p, &r->g, r->job);
    struct film_args a = {
        .vae = r->p->vae,
        .config = model_vae(r->p->model),
        .queue = r->queue,
        .shape = form.shape,
        .cut = form.cut,
        .world = form.ranks > 1 ? r->p->world : NULL,
        .rank = form.rank,
        .ranks = form.ranks,
        .late = ops_facts(r->p->ops)->space != MEM_HOST,
        .path = r->job->output,
        .media = &tags.options,
        .chained_pixels = form.chained_pixels,
        .overlap_frames = form.overlap_frames,
        .many = form.many,
        .kept = &r->kept,
        .whole = r->latents,
        .whole_size = size_of(r, r->g.segments.total),
        .ask = r->g.leads ? decode_ask : NULL,
        .step_done = decode_done,
        .ctx = r,
    };

    tags_fill(&tags, r->job, r->keep.whole_digest, r->events->job_json);
    return film_open(&r->film, &a, e);
}

static void cut_tell(const struct run *r, const struct vae_shape *shape)
{
    char text[CUT_TEXT_BYTES], line[CUT_TEXT_BYTES + 64], on[32] = "";

    if (cut_count(shape, &r->g.cut) == 1 || !r->events->note)
        return;
    cut_print(shape, &r->g.cut, text);
    if (r->p->vae_ranks > 1)
        snprintf(on, sizeof(on), " on %d ranks", r->p->vae_ranks);
    snprintf(line, sizeof(line), "decoding in %s pixels%s", text, on);
    r->events->note(r->events->ctx, "decode", line);
}

/* The leader chooses the cut, and tells those that decode with it. */
static enum status cut_take(struct run *r, struct err *e)
{
    struct vae_shape shape = vae_shape_of(r->p, r->job);

    if (r->g.leads)
        TRY(pipeline_cut(r->p, r->job, &r->g.cut, e));
    if (r->p->vae_ranks > 1)
        TRY(spread_bytes(&r->spread, &r->g.cut, sizeof(r->g.cut), e));
    r->rounds = cut_rounds(&shape, &r->g.cut, r->p->vae_ranks);
    if (r->g.leads)
        cut_tell(r, &shape);
    return ST_OK;
}

static enum status memory_get(struct run *r, struct err *e)
{
    struct ops *ops = r->p->ops;
    const struct dit_config *dit = model_dit(r->p->model);
    size_t plane = (size_t)(dit->out_channels * r->g.height * r->g.width);

    TRY(run_memory_plan(r->p, &r->g, r->job, r->text_rows, &r->memory, e));
    TRY(ops_mem_alloc(ops, r->memory.scratch, &r->scratch_memory, e));
    TRY(ops_mem_alloc(ops, r->memory.kept, &r->kept_memory, e));
    TRY(ops_mem_alloc(ops, r->memory.workspace, &r->workspace, e));
    arena_init(&r->scratch, r->scratch_memory, r->memory.scratch);
    arena_init(&r->kept, r->kept_memory, r->memory.kept);
    r->latents = calloc(r->g.leads ? (size_t)r->g.segments.total * plane : 1,
                        sizeof(float));
    r->segment = calloc((size_t)r->g.longest * plane, sizeof(float));
    r->ranks = calloc((size_t)world_facts(r->p->world)->size, sizeof(*r->ranks));
    if (!r->latents || !r->segment || !r->ranks)
        return err_set(e, ST_RESOURCE, "out of memory: latents of %d frames",
                       r->g.segments.total);
    return ops_queue_open(ops, r->workspace, r->memory.workspace, &r->queue, e);
}

/* Frames that have waited for the end. */
static enum status rest_decode(struct run *r, struct err *e)
{
    if (!films(r))
        return ST_OK;
    return decode_ended(r, film_rest(&r->film, &r->scratch, e), e);
}

static enum status outputs_finish(struct run *r, struct err *e)
{
    TRY(embeds_save(r, e));
    TRY(latents_save(r, e));
    TRY(noise_source_commit(&r->noise, e));
    keep_settle(&r->keep);
    TRY(film_close(&r->film, e));
    keep_done(&r->keep);
    return ST_OK;
}

/* What every checkpoint of this run says. */
static enum status keep_start(struct run *r, struct err *e)
{
    struct keep_events events = {.ctx = r->events->ctx,
                                 .note = r->events->note,
                                 .stop = r->events->stop,
                                 .config = r->events->job_json,
                                 .launch = r->events->launch_json};
    struct keep *k = &r->keep;

    memcpy(events.limits, r->events->limits, sizeof(events.limits));
    events.halt = r->halt;
    mesh_print(&r->g.mesh, r->mesh);
    k->mesh = r->mesh;
    k->precision = r->p->choice->kept;
    k->backend = ops_facts(r->p->ops)->name;
    k->machine = ops_machine(r->p->ops);
    k->embeds = &r->embeds;
    k->whole = size_of(r, r->g.segments.total);
    k->segments = r->g.segments.count;
    return keep_open(k, r->p->world, r->job, &events, e);
}

static enum status halt_start(struct run *r, struct err *e)
{
    struct halt_args a = {.signal = r->events->stop,
                          .fd = r->events->stop_fd,
                          .leads = r->g.leads,
                          .job = r->job,
                          .end = r->events->end,
                          .ctx = r->events->end_ctx};

    return halt_open(&r->halt, &a, e);
}

/* Of the segment that the run begins with. */
static int rows_ahead(const struct run *r)
{
    int64_t i = r->keep.segment;

    return segment_rows(r, i < r->g.segments.count ? (int)i : 0);
}

static enum status run_all(struct run *r, struct err *e)
{
    const struct job *job = r->job;
    struct checkpoint_room room;

    TRY(geometry_init(&r->g, r->p, job, world_facts(r->p->world)->size, e));
    TRY(spread_open(&r->spread, r->p->world, r->p->ops, &r->g.mesh, e));
    geometry_rank(&r->g, world_facts(r->p->world)->rank,
                  seqpar_group_of(&r->spread.comms));
    TRY(schedule_init(&r->schedule, (enum solver)job->solver, (int)job->inference_steps,
                      job->shift, e));
    TRY(halt_start(r, e));
    TRY(keep_start(r, e));
    if (r->g.leads)
        TRY(keep_time(&r->keep, rows_ahead(r), e));
    TRY(text_read(r, e));
    room = run_room(r->p, &r->g, r->text_rows);
    if (r->g.leads)
        keep_room(&r->keep, &room);
    team_use(&r->p->reading.team, r->spread.ranks);
    TRY(pipeline_load(r->p, r->events, e));
    TRY(cut_take(r, e));
    TRY(memory_get(r, e));
    r->keep.latents = r->latents;
    if (r->g.leads)
        TRY(keep_model(&r->keep, r->p->kept_digest,
                       job_encodes(job) ? r->p->digest : r->p->kept_digest, e));
    TRY(text_run(r, e));
    if (r->g.leads)
        TRY(keep_encoded(&r->keep, segment_rows(r, 0), e));
    stage_set(r, HALT_DECODE);
    TRY(noise_source_open(&r->noise, r->p->world, job, e));
    if (films(r))
        TRY(film_start(r, e));
    TRY(segments_run(r, e));
    TRY(rest_decode(r, e));
    stage_set(r, HALT_CLOSING);
    return r->g.leads ? outputs_finish(r, e) : ST_OK;
}

/* As in pipeline_close, a torn world gives back what lies outside the process, and no
 * memory. */
static void run_release(struct run *r)
{
    struct ops *ops = r->p->ops;

    halt_close(r->halt);
    keep_close(&r->keep);
    film_abort(&r->film);
    noise_source_abandon(&r->noise);
    if (world_torn(r->p->world))
        return;
    for (int b = 0; b < BRANCHES; b++)
        dit_context_destroy(r->context[b]);
    if (r->queue)
        ops_queue_close(ops, r->queue);
    ops_mem_free(ops, r->scratch_memory);
    ops_mem_free(ops, r->kept_memory);
    ops_mem_free(ops, r->workspace);
    embeds_release(&r->embeds);
    free(r->latents);
    free(r->segment);
    free(r->ranks);
    spread_close(&r->spread);
    geometry_release(&r->g);
}

enum status pipeline_run(struct pipeline *p, const struct job *job,
                         const struct pipeline_events *events, struct err *e)
{
    struct run r = {.p = p, .job = job, .events = events};
    enum status st;

    r.spread.world = p->world;
    st = run_all(&r, e);
    if (!world_torn(p->world))
        st = world_agree(p->world, st, e);
    if (r.g.leads)
        keep_failed(&r.keep, st, e);
    run_release(&r);
    return st;
}
