/* decode.c - opens the autoencoder, then film and segments as a run has them */
#include "engine/pipeline/decode.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "dist/devices.h"
#include "engine/pipeline/inside.h"
#include "engine/pipeline/latents.h"
#include "engine/pipeline/precision.h"
#include "engine/pipeline/tags.h"
#include "engine/weights/vae_file.h"
#include "kernels/base/clock.h"

static const double gib = 1024.0 * 1024.0 * 1024.0;

struct decoding {
    const struct decode_args *a;
    const struct pipeline_events *events;
    struct ops *ops;
    int rank, ranks; /* this one; that decode together, 1: rank 0 alone */
    struct share share;
    struct component component;
    struct vae_config config;
    struct weights *weights;
    struct vae *vae;
    struct segments segments;
    struct film_form form;
    struct film_memory memory;
    int rounds;
    void *scratch_memory, *kept_memory, *workspace;
    struct arena scratch, kept;
    struct queue *queue;
    float *segment; /* [C, longest, h, w] */
    struct film film;
    struct pipeline_progress at;
};

/* ---- does it fit? ---------------------------------------------------------------- */

static enum status segments_make(struct decoding *d, struct err *e)
{
    const struct latent_size *size = &d->a->size;
    struct job one = *d->a->job;

    if (d->a->whole) {
        one.num_frames = vae_frames(&d->config, size->frames);
        one.overlap_history = 0;
        one.causal_block_size = 1;
    }
    if (job_segments(&one, &d->segments, e) != ST_OK)
        return err_set(e, ST_INPUT, "'%s' has a job that cannot be", d->a->name);
    if (size->frames == d->segments.total && size->height == one.size.height / 8 &&
        size->width == one.size.width / 8)
        return ST_OK;
    return err_set(e, ST_INPUT,
                   "'%s' holds %lld latent frames of %lldx%lld, its job has %d of "
                   "%lldx%lld",
                   d->a->name, (long long)size->frames, (long long)size->width,
                   (long long)size->height, d->segments.total,
                   (long long)(one.size.width / 8), (long long)(one.size.height / 8));
}

static enum status latents_fit(const struct decoding *d, struct err *e)
{
    if (d->a->size.channels == d->config.z_dim)
        return ST_OK;
    return err_set(e, ST_INPUT,
                   "'%s' has %lld latent channels, the VAE '%s' takes %lld", d->a->name,
                   (long long)d->a->size.channels, d->a->vae,
                   (long long)d->config.z_dim);
}

static bool on_host(const struct decoding *d)
{
    return ops_facts(d->ops)->space == MEM_HOST;
}

/* In the memory that the backend works in. */
static size_t sum_of(const struct decoding *d, const struct film_memory *m)
{
    return m->scratch + m->kept + m->workspace + (on_host(d) ? m->host : 0);
}

/* Of the leader's device, or of the ranks on its machine, with one copy of the weights.
 */
static enum status node_need(struct decoding *d, size_t *need, struct err *e)
{
    const struct world_facts *f = world_facts(d->a->world);
    int others = (f->node_size < d->ranks ? f->node_size : d->ranks) - 1;
    struct film_form form = d->form;
    struct film_memory other;

    TRY(film_plan(&d->config, d->ops, &d->form, &d->memory, e));
    *need = sum_of(d, &d->memory) + weights_bytes(d->weights);
    if (others == 0 || !on_host(d))
        return ST_OK;
    form.rank = 1;
    TRY(film_plan(&d->config, d->ops, &form, &other, e));
    *need += (size_t)others * sum_of(d, &other);
    return ST_OK;
}

/* The cut as it was asked for, or what fits. */
static enum status cut_choose(struct decoding *d, size_t left, size_t *need,
                              struct err *e)
{
    struct cut_wish wish;

    TRY(cut_parse(d->a->engine->vae_tile, &wish, e));
    d->form.cut = cut_of(&wish, &d->form.shape, d->ranks);
    for (;;) {
        TRY(node_need(d, need, e));
        if (*need <= left || wish.mode != CUT_AUTO ||
            !cut_smaller(&d->form.shape, &d->form.cut))
            return ST_OK;
    }
}

static void cut_tell(const struct decoding *d, size_t need)
{
    char text[CUT_TEXT_BYTES], line[CUT_TEXT_BYTES + 96], on[32] = "";

    if (cut_count(&d->form.shape, &d->form.cut) == 1 || !d->events->note)
        return;
    cut_print(&d->form.shape, &d->form.cut, text);
    if (d->ranks > 1)
        snprintf(on, sizeof(on), " on %d ranks", d->ranks);
    snprintf(line, sizeof(line), "decoding in %s pixels%s, %.2f GiB", text, on,
             (double)need / gib);
    d->events->note(d->events->ctx, "decode", line);
}

/* On rank 0, which chooses the cut. */
static enum status memory_fits(struct decoding *d, struct err *e)
{
    size_t left = ops_mem_left(d->ops), need;

    TRY(cut_choose(d, left, &need, e));
    cut_tell(d, need);
    if (need <= left)
        return ST_OK;
    return err_set(e, ST_RESOURCE,
                   "not enough memory: decoding needs %.2f GiB, %.2f GiB are available",
                   (double)need / gib, (double)left / gib);
}

static enum status cut_share_out(struct decoding *d, struct err *e)
{
    if (d->rank == 0)
        TRY(memory_fits(d, e));
    if (d->ranks > 1) {
        TRY(world_bcast(d->a->world, &d->form.cut, sizeof(d->form.cut), e));
        TRY(film_plan(&d->config, d->ops, &d->form, &d->memory, e));
    }
    d->rounds = cut_rounds(&d->form.shape, &d->form.cut, d->ranks);
    return ST_OK;
}

/* ---- opening --------------------------------------------------------------------- */

static enum status weights_get(struct decoding *d, struct err *e)
{
    struct pipeline_progress at = {
        .stage = STAGE_LOAD, .segments = 1, .step = 1, .steps = 1};
    double start = clock_seconds();

    TRY(weights_load(d->weights, d->ops, e));
    TRY(vae_create(&d->config, d->weights, d->ops, &d->vae, e));
    at.step_seconds = clock_seconds() - start;
    if (d->events->progress)
        d->events->progress(d->events->ctx, &at);
    return ST_OK;
}

/* Ranks that work together share the cores of their machine; one takes them all. */
static enum status backend_open(struct decoding *d, struct err *e)
{
    const struct engine_options *o = d->a->engine;
    struct ops_options opt = {.threads = (int)o->threads, .algorithms = o->algorithms};
    bool hidden;

    if (d->ranks == 1)
        return ops_open(o->backend, &opt, &d->ops, e);
    if (!opt.threads)
        opt.threads = world_facts(d->a->world)->threads;
    return devices_open(d->a->world, o->backend, &opt, &d->ops, &hidden, e);
}

/* Everything that can be refused, from headers. */
static enum status headers_open(struct decoding *d, struct err *e)
{
    const struct engine_options *o = d->a->engine;
    const struct precision_choice *choice = precision_choice(
        (enum precision)o->precision);
    struct weights_policy policy = precision_policy(choice, MODEL_VAE);

    policy.threads = (int)o->threads;
    if (d->ranks > 1) {
        share_init(&d->share, d->a->world);
        policy.share = &d->share.calls;
    }
    TRY(backend_open(d, e));
    TRY(vae_file_open(d->a->vae, &d->component, &d->config, e));
    TRY(latents_fit(d, e));
    TRY(segments_make(d, e));
    TRY(weights_open(&d->component, &policy, &d->weights, e));
    d->form = (struct film_form){
        .shape = {.height = 8 * d->a->size.height,
                  .width = 8 * d->a->size.width,
                  .chunk = o->vae_chunk,
                  .dtype = choice->act},
        .chained_pixels = d->a->job->chain == CHAIN_PIXELS && d->segments.count > 1,
        .overlap_frames = (int)d->a->job->overlap_history,
        .many = d->segments.count > 1,
        .rank = d->rank,
        .ranks = d->ranks,
    };
    return cut_share_out(d, e);
}

static enum status memory_get(struct decoding *d, struct err *e)
{
    const struct latent_size *size = &d->a->size;
    int64_t longest = 1;

    for (int i = 0; i < d->segments.count; i++) {
        if (d->segments.segment[i].frames > longest)
            longest = d->segments.segment[i].frames;
    }
    d->segment = malloc(
        (size_t)(size->channels * longest * size->height * size->width) *
        sizeof(float));
    if (!d->segment)
        return err_set(e, ST_RESOURCE, "out of memory: %lld latent frames",
                       (long long)longest);
    TRY(ops_mem_alloc(d->ops, d->memory.scratch, &d->scratch_memory, e));
    TRY(ops_mem_alloc(d->ops, d->memory.kept, &d->kept_memory, e));
    TRY(ops_mem_alloc(d->ops, d->memory.workspace, &d->workspace, e));
    arena_init(&d->scratch, d->scratch_memory, d->memory.scratch);
    arena_init(&d->kept, d->kept_memory, d->memory.kept);
    return ops_queue_open(d->ops, d->workspace, d->memory.workspace, &d->queue, e);
}

static void step_done(void *ctx, int latents, double seconds)
{
    struct decoding *d = ctx;

    d->at.step += latents;
    d->at.step_seconds = seconds;
    if (d->events->progress)
        d->events->progress(d->events->ctx, &d->at);
}

static enum status film_start(struct decoding *d, struct err *e)
{
    struct tags tags;
    struct film_args a = {
        .vae = d->vae,
        .config = &d->config,
        .queue = d->queue,
        .shape = d->form.shape,
        .cut = d->form.cut,
        .world = d->ranks > 1 ? d->a->world : NULL,
        .rank = d->rank,
        .ranks = d->ranks,
        .late = ops_facts(d->ops)->space != MEM_HOST,
        .path = d->a->job->output,
        .media = &tags.options,
        .chained_pixels = d->form.chained_pixels,
        .overlap_frames = d->form.chained_pixels ? d->form.overlap_frames : 0,
        .many = d->form.many,
        .kept = &d->kept,
        .whole = d->a->x,
        .whole_size = d->a->size,
        .stop = d->events->stop,
        .step_done = step_done,
        .ctx = d,
    };

    tags_fill(&tags, d->a->job, d->a->digest, d->a->job_json);
    return film_open(&d->film, &a, e);
}

/* ---- decoding -------------------------------------------------------------------- */

/* The prefix of a segment chained through pixels: what was decoded, encoded again. */
static enum status prefix_encode(struct decoding *d, const struct segment *s,
                                 struct err *e)
{
    const struct latent_size *size = &d->a->size;
    float *prefix = malloc(
        (size_t)(size->channels * s->prefix * size->height * size->width) *
        sizeof(float));
    enum status st;

    if (!prefix)
        return err_set(e, ST_RESOURCE, "out of memory: %d latent frames", s->prefix);
    st = film_encode_tail(&d->film, &d->scratch, prefix, e);
    if (st == ST_OK)
        latents_copy(size, d->segment, s->frames, 0, prefix, s->prefix, 0, s->prefix);
    free(prefix);
    return st;
}

/* On rank 0: the latents of a segment, into d->segment. */
static enum status segment_take(struct decoding *d, const struct segment *s,
                                struct err *e)
{
    struct latent_size size = d->a->size;

    size.frames = s->frames;
    latents_copy(&size, d->segment, s->frames, 0, d->a->x, d->a->size.frames, s->first,
                 s->frames);
    return s->prefix && d->form.chained_pixels ? prefix_encode(d, s, e) : ST_OK;
}

static enum status segments_decode(struct decoding *d, struct err *e)
{
    struct latent_size size = d->a->size;

    d->at = (struct pipeline_progress){.stage = STAGE_DECODE,
                                       .segments = d->segments.count};
    for (int i = 0; i < d->segments.count; i++) {
        const struct segment *s = &d->segments.segment[i];

        d->at.steps += s->frames - (d->form.chained_pixels ? 0 : s->prefix);
    }
    d->at.steps *= d->rounds;
    for (int i = 0; i < d->segments.count; i++) {
        const struct segment *s = &d->segments.segment[i];

        d->at.segment = i;
        size.frames = s->frames;
        if (d->rank == 0)
            TRY(segment_take(d, s, e));
        TRY(film_segment(&d->film, &d->scratch, d->segment, &size, s->prefix, e));
    }
    return film_rest(&d->film, &d->scratch, e);
}

static enum status output_check(const struct decoding *d, struct err *e)
{
    struct tags tags;

    if (d->rank > 0)
        return ST_OK;
    tags_fill(&tags, d->a->job, d->a->digest, d->a->job_json);
    return media_check(d->a->job->output, &tags.options, e);
}

static enum status decode_all(struct decoding *d, struct err *e)
{
    TRY(headers_open(d, e));
    TRY(output_check(d, e));
    TRY(weights_get(d, e));
    TRY(memory_get(d, e));
    TRY(film_start(d, e));
    TRY(segments_decode(d, e));
    return film_close(&d->film, e);
}

static void decoding_release(struct decoding *d)
{
    film_abort(&d->film);
    if (world_torn(d->a->world))
        return;
    if (d->queue)
        ops_queue_close(d->ops, d->queue);
    if (d->ops) {
        ops_mem_free(d->ops, d->scratch_memory);
        ops_mem_free(d->ops, d->kept_memory);
        ops_mem_free(d->ops, d->workspace);
    }
    vae_destroy(d->vae);
    weights_close(d->weights);
    component_close(&d->component);
    ops_close(d->ops);
    segments_release(&d->segments);
    free(d->segment);
}

enum status decode_run(const struct decode_args *a,
                       const struct pipeline_events *events, struct err *e)
{
    struct decoding d = {.a = a, .events = events, .rank = world_facts(a->world)->rank};
    enum status st = crew_parse(a->engine->vae_ranks, world_facts(a->world)->size,
                                &d.ranks, e);

    if (st == ST_OK && (d.rank == 0 || d.ranks > 1))
        st = decode_all(&d, e);
    if (d.ranks > 1 && !world_torn(a->world))
        st = world_agree(a->world, st, e);

    decoding_release(&d);
    return st;
}
