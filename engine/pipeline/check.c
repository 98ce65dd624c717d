/* check.c - everything about a job that can be refused before weights are loaded
 *
 * Impossible settings, outputs that are there already or cannot be made, input files
 * that are not there or have other shapes, and memory. Looks at files, makes none.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pipeline/inside.h"
#include "kernels/base/memory.h"

static const double gib = 1024.0 * 1024.0 * 1024.0;

enum { FIT_BYTES = 160, PARTS_BYTES = 128 };

/* ---- files ----------------------------------------------------------------------- */

/* Would an HDF5 output of this name work? Begun and dropped again. */
static enum status h5_output_check(const char *path, bool force, struct err *e)
{
    struct h5_writer *w;

    if (!path)
        return ST_OK;
    TRY(h5_create(path, force, &w, e));
    h5_abandon(w);
    return ST_OK;
}

static enum status outputs_check(const struct job *job, struct err *e)
{
    struct media_options media = MEDIA_OPTIONS_DEFAULT;

    media.width = (int)job->size.width;
    media.height = (int)job->size.height;
    media.fps_num = (int)job->fps;
    media.crf = (int)job->crf;
    media.force = job_replaces(job);
    TRY(media_check(job->output, &media, e));
    TRY(h5_output_check(job->save_latents, job_replaces(job), e));
    TRY(h5_output_check(job->save_embeds, job_replaces(job), e));
    return h5_output_check(job->save_noise, job_replaces(job), e);
}

static enum status inputs_check(const struct pipeline *p, const struct job *job,
                                const struct geometry *g, struct err *e)
{
    const struct dit_config *dit = model_dit(p->model);

    if (job->embeds && !job->resumed)
        TRY(embeds_check(job->embeds, dit, g->guided, e));
    if (!job->noise)
        return ST_OK;
    for (int i = 0; i < g->segments.count; i++) {
        int64_t dims[4] = {dit->out_channels, g->segments.segment[i].frames, g->height,
                           g->width};

        TRY(noise_source_check(job->noise, i, dims, e));
    }
    return ST_OK;
}

/* ---- memory ---------------------------------------------------------------------- */

static bool on_device(const struct pipeline *p)
{
    return ops_facts(p->ops)->space != MEM_HOST;
}

/* What this machine must hold: on the leader's the leader's plan, on others one copy of
 * the weights that ranks share, and the activations of the ranks beside it, who have
 * none yet while the leader encodes text. Of a device: what this rank has there. */
static enum status peak_with(struct pipeline *p, const struct job *job,
                             const struct cut *cut, size_t *out, struct err *e)
{
    const struct world_facts *world = world_facts(p->world);
    bool leads = world->rank == 0;
    int others = leads ? world->node_size - 1 : world->node_size;
    struct pipeline_rank_plan rank = {0};
    struct pipeline_plan plan;
    size_t shared = 0;

    if (on_device(p)) {
        TRY(pipeline_plan_rank_cut(p, job, world->rank, cut, &rank, e));
        *out = rank.device_bytes;
        return ST_OK;
    }
    TRY(pipeline_plan_cut(p, job, cut, &plan, e));
    if (others > 0)
        TRY(pipeline_plan_rank_cut(p, job, leads ? 1 : world->rank, cut, &rank, e));
    if (!leads)
        shared = plan.weight_bytes[MODEL_DIT] +
                 (p->vae_ranks > 1 ? plan.weight_bytes[MODEL_VAE] : 0);
    *out = (leads ? plan.run_bytes : shared) + (size_t)others * rank.activation_bytes;
    if (leads)
        *out = bytes_larger(*out, plan.text_bytes);
    return ST_OK;
}

enum status pipeline_cut(struct pipeline *p, const struct job *job, struct cut *out,
                         struct err *e)
{
    struct vae_shape shape = vae_shape_of(p, job);
    struct cut cut = cut_of(&p->cut, &shape, p->vae_ranks);
    size_t peak;

    while (p->cut.mode == CUT_AUTO) {
        TRY(peak_with(p, job, &cut, &peak, e));
        if (peak <= p->memory || !cut_smaller(&shape, &cut))
            break;
    }
    *out = cut;
    return ST_OK;
}

static enum status peak_of(struct pipeline *p, const struct job *job, size_t *out,
                           struct err *e)
{
    struct cut cut;

    TRY(pipeline_cut(p, job, &cut, e));
    return peak_with(p, job, &cut, out, e);
}

static bool fits(struct pipeline *p, const struct job *job, int64_t frames,
                 size_t bytes)
{
    struct job other = *job;
    size_t peak;

    other.num_frames = frames;
    return peak_of(p, &other, &peak, NULL) == ST_OK && peak <= bytes;
}

/* The most frames 4k + 1 of this size that fit into `bytes`, or 0. */
static int64_t frames_that_fit(struct pipeline *p, const struct job *job, size_t bytes)
{
    int64_t low = -1, high = (job->num_frames - 1) / 4;

    while (high - low > 1) {
        int64_t k = low + (high - low) / 2;

        if (fits(p, job, 4 * k + 1, bytes))
            low = k;
        else
            high = k;
    }
    return low < 0 ? 0 : 4 * low + 1;
}

/* What encoding text alone takes here, when nothing else is loaded. */
static size_t text_of(struct pipeline *p, const struct job *job)
{
    int self = world_facts(p->world)->rank;
    struct pipeline_rank_plan rank;
    struct pipeline_plan plan;

    if (on_device(p))
        return pipeline_plan_rank(p, job, self, &rank, NULL) == ST_OK
                   ? rank.text_bytes + rank.exchange_bytes
                   : 0;
    return self == 0 && pipeline_plan(p, job, &plan, NULL) == ST_OK ? plan.text_bytes
                                                                    : 0;
}

/* "17 frames of 960x544 would fit" */
static void would_fit(struct pipeline *p, const struct job *job, size_t left,
                      char out[FIT_BYTES])
{
    long long frames = frames_that_fit(p, job, left);
    long long width = job->size.width, height = job->size.height;
    size_t text = text_of(p, job);
    int n;

    if (text > left)
        n = snprintf(out, FIT_BYTES,
                     "the text encoder takes %.2f GiB by itself, --embeds does without",
                     (double)text / gib);
    else if (frames)
        n = snprintf(out, FIT_BYTES, "%lld frames of %lldx%lld would fit", frames,
                     width, height);
    else
        n = snprintf(out, FIT_BYTES, "not even one frame of %lldx%lld would fit", width,
                     height);
    if (p->texts.stays)
        snprintf(out + n, (size_t)(FIT_BYTES - n),
                 "; launches of at most %d jobs do not keep the text encoder",
                 TEXTS_AHEAD);
}

static enum status host_check(struct pipeline *p, const struct job *job, size_t left,
                              struct err *e)
{
    char fit[FIT_BYTES];
    size_t peak;

    TRY(peak_of(p, job, &peak, e));
    if (peak <= left)
        return ST_OK;
    would_fit(p, job, left, fit);
    return err_set(e, ST_RESOURCE,
                   "not enough memory: the job needs %.2f GiB, %.2f GiB are available; "
                   "%s",
                   (double)peak / gib, (double)left / gib, fit);
}

/* What a rank needs its device for when it needs the most of it. */
static void device_parts(const struct pipeline_rank_plan *rank, char out[PARTS_BYTES])
{
    double exchange = (double)rank->exchange_bytes / gib;

    if (rank->text_bytes > rank->weight_bytes + rank->activation_bytes)
        snprintf(out, PARTS_BYTES,
                 "the text encoder and its activations %.2f, exchanges %.2f",
                 (double)rank->text_bytes / gib, exchange);
    else
        snprintf(out, PARTS_BYTES, "weights %.2f, activations %.2f, exchanges %.2f",
                 (double)rank->weight_bytes / gib, (double)rank->activation_bytes / gib,
                 exchange);
}

/* Memory of the rank's own device, against what was free before anything was put
 * there. */
static enum status device_check(struct pipeline *p, const struct job *job,
                                struct err *e)
{
    int self = world_facts(p->world)->rank;
    struct pipeline_rank_plan rank;
    char fit[FIT_BYTES], parts[PARTS_BYTES];

    TRY(pipeline_plan_rank(p, job, self, &rank, e));
    if (rank.device_bytes <= p->memory)
        return ST_OK;
    would_fit(p, job, p->memory, fit);
    device_parts(&rank, parts);
    return err_set(e, ST_RESOURCE,
                   "not enough memory: rank %d needs %.2f GiB of its gpu (%s), %.2f "
                   "GiB are available; %s",
                   self, (double)rank.device_bytes / gib, parts,
                   (double)p->memory / gib, fit);
}

/* What a run with a device leaves on the host of the rank that reads and writes. */
static enum status beside_check(struct pipeline *p, const struct job *job,
                                struct err *e)
{
    size_t left = memory_available();
    struct pipeline_plan plan;

    TRY(pipeline_plan(p, job, &plan, e));
    if (plan.host_bytes <= left)
        return ST_OK;
    return err_set(e, ST_RESOURCE,
                   "not enough memory: the job needs %.2f GiB of the host, %.2f GiB "
                   "are available",
                   (double)plan.host_bytes / gib, (double)left / gib);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static enum status memory_check(struct pipeline *p, const struct job *job,
                                struct err *e)
{
    const struct world_facts *world = world_facts(p->world);
    size_t limit = p->limited ? p->memory : SIZE_MAX;

    if (on_device(p)) {
        TRY(device_check(p, job, e));
        return world->rank == 0 ? beside_check(p, job, e) : ST_OK;
    }
    if (world->node_rank != 0)
        return ST_OK;
    return host_check(p, job, smaller(memory_available(), limit), e);
}

enum status pipeline_check_memory(struct pipeline *p, const struct job *job,
                                  struct err *e)
{
    if (on_device(p))
        return device_check(p, job, e);
    return p->limited ? host_check(p, job, p->memory, e) : ST_OK;
}

/* What the rank that reads and writes must be able to do. */
static enum status leader_check(struct pipeline *p, const struct job *job,
                                const struct geometry *g, struct err *e)
{
    TRY(outputs_check(job, e));
    return inputs_check(p, job, g, e);
}

enum status pipeline_check(struct pipeline *p, const struct job *job, struct err *e)
{
    struct geometry g;
    enum status st;

    TRY(job_check(job, model_dit(p->model), e));
    TRY(geometry_init(&g, p, job, world_facts(p->world)->size, e));
    st = ST_OK;
    if (world_facts(p->world)->rank == 0)
        st = leader_check(p, job, &g, e);
    if (st == ST_OK)
        st = memory_check(p, job, e);
    geometry_release(&g);
    return st;
}
