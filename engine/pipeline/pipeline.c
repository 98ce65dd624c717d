/* pipeline.c - a launch: opens backend and model, loads weights once */
#include "engine/pipeline/pipeline.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dist/devices.h"
#include "engine/pipeline/inside.h"
#include "kernels/base/clock.h"

/* Plan the three stores from headers; data comes with pipeline_load. */
static enum status stores_open(struct pipeline *p,
                               const struct precision_choice *choice, struct err *e)
{
    for (int part = 0; part < MODEL_PARTS; part++) {
        const struct component *c = model_component(p->model, (enum model_part)part);

        struct weights_policy policy = precision_policy(choice, (enum model_part)part);

        policy.threads = p->reading_threads;
        policy.way = p->reading.way;
        if (part == MODEL_DIT)
            reading_apply(&p->reading, &policy);
        if (part == MODEL_VAE && p->vae_ranks > 1 && p->reading.shares)
            policy.share = &p->vae_share.calls;
        if (part == MODEL_TEXT)
            p->texts.policy = policy;
        if (c)
            TRY(weights_open(c, &policy, &p->store[part], e));
    }
    return ST_OK;
}

/* Ranks of a machine share its cores; a rank that is alone takes all. */
static int threads_of(const struct engine_options *opt)
{
    const struct world_facts *world = world_facts(opt->world);

    if (opt->threads || world->size == 1)
        return (int)opt->threads;
    return world->threads;
}

static void memory_note(struct pipeline *p, double limit_gib)
{
    double limit = limit_gib * 1024.0 * 1024.0 * 1024.0;

    p->memory = ops_mem_left(p->ops);
    p->limited = limit_gib > 0.0;
    if (p->limited && limit < (double)p->memory)
        p->memory = (size_t)limit;
}

static enum status parts_open(struct pipeline *p, const struct engine_options *opt,
                              struct err *e)
{
    const struct precision_choice *choice = precision_choice(
        (enum precision)opt->precision);
    struct model_options model = {.kind = (enum model_kind)opt->model_kind};
    struct ops_options device = {.threads = threads_of(opt),
                                 .algorithms = opt->algorithms,
                                 .fast_sums = choice->fast_sums};
    bool hidden;

    if (opt->no_text)
        model.without = 1u << MODEL_TEXT | 1u << MODEL_TOKENIZER;

    TRY(devices_open(opt->world, opt->backend, &device, &p->ops, &hidden, e));
    reading_init(&p->reading, opt, p->ops);
    TRY(model_open(opt->model, &model, &p->model, e));
    p->choice = choice;
    p->precision = choice->dit;
    p->act = choice->act;
    p->vae_chunk = opt->vae_chunk;
    memory_note(p, opt->memory_limit);
    TRY(cut_parse(opt->vae_tile, &p->cut, e));
    TRY(crew_parse(opt->vae_ranks, p->plan_ranks, &p->vae_ranks, e));
    snprintf(p->describe, sizeof(p->describe), "%s, %s on %s%s",
             model_describe(p->model), choice->name, ops_facts(p->ops)->name,
             hidden ? ", peers hidden: one gpu is visible to each rank" : "");
    return stores_open(p, choice, e);
}

/* What the launch says about its ranks. */
static enum status ranks_note(struct pipeline *p, const struct engine_options *opt,
                              struct err *e)
{
    p->world = opt->world;
    p->plan_ranks = opt->plan_ranks ? (int)opt->plan_ranks
                                    : world_facts(opt->world)->size;
    p->reading_threads = (int)opt->threads;
    share_init(&p->vae_share, opt->world);
    p->wish = (struct mesh_wish){
        .mesh = opt->mesh ? strdup(opt->mesh) : NULL,
        .ulysses_degree = (int)opt->ulysses_degree,
        .ring_degree = (int)opt->ring_degree,
        .guidance_degree = (int)opt->guidance_degree,
    };
    if (opt->mesh && !p->wish.mesh)
        return err_set(e, ST_RESOURCE, "out of memory: pipeline");
    return ST_OK;
}

enum status pipeline_open(const struct engine_options *opt, struct pipeline **out,
                          struct err *e)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    enum status st;

    if (!p)
        return err_set(e, ST_RESOURCE, "out of memory: pipeline");
    st = ranks_note(p, opt, e);
    if (st == ST_OK)
        st = parts_open(p, opt, e);
    if (st != ST_OK) {
        pipeline_close(p);
        return st;
    }
    *out = p;
    return ST_OK;
}

/* A torn world ends with the process: an exchange that has not ended may still use what
 * would be given back here. */
void pipeline_close(struct pipeline *p)
{
    if (!p || (p->world && world_torn(p->world)))
        return;
    tokenizer_close(p->tokenizer);
    texts_release(&p->texts);
    vae_destroy(p->vae);
    dit_destroy(p->dit);
    for (int part = 0; part < MODEL_PARTS; part++)
        weights_close(p->store[part]);
    model_close(p->model);
    ops_close(p->ops);
    free((char *)(uintptr_t)p->wish.mesh);
    free(p);
}

void pipeline_expect(struct pipeline *p, const struct job *const *jobs, int n)
{
    texts_expect(&p->texts, jobs, n);
}

const struct dit_config *pipeline_dit(const struct pipeline *p)
{
    return model_dit(p->model);
}

const char *pipeline_describe(const struct pipeline *p)
{
    return p->describe;
}

/* ---- loading --------------------------------------------------------------------- */

/* Does this rank work with these weights, all the while? For those that ranks share all
 * come together. */
static bool part_here(const struct pipeline *p, enum model_part part)
{
    int rank = world_facts(p->world)->rank;

    if (part == MODEL_VAE && p->vae_ranks > 1)
        return p->reading.shares || rank < p->vae_ranks;
    return part == MODEL_DIT || (part == MODEL_VAE && rank == 0);
}

static int parts_left(const struct pipeline *p)
{
    int n = 0;

    for (int part = 0; part < MODEL_PARTS; part++)
        n += part_here(p, (enum model_part)part) && !p->loaded[part];
    return n;
}

enum status pipeline_part(struct pipeline *p, enum model_part part,
                          const struct pipeline_events *events, struct err *e)
{
    int left = parts_left(p) + (part == MODEL_TEXT);
    struct pipeline_progress at = {.stage = STAGE_LOAD,
                                   .segments = 1,
                                   .step = p->load_step + 1,
                                   .steps = p->load_step + left};
    double start = clock_seconds();

    TRY(weights_load(p->store[part], p->ops, e));
    p->loaded[part] = p->summed[part] = true;
    p->load_step++;
    at.step_seconds = clock_seconds() - start;
    if (events->progress)
        events->progress(events->ctx, &at);
    return ST_OK;
}

/* Of all that is or was loaded, and of that without the text encoder. */
static enum status digests_take(struct pipeline *p, struct err *e)
{
    const struct weights *stores[MODEL_PARTS], *kept[MODEL_PARTS];
    int n = 0, n_kept = 0;

    for (int part = 0; part < MODEL_PARTS; part++) {
        if (p->summed[part])
            stores[n++] = p->store[part];
        if (p->summed[part] && part != MODEL_TEXT)
            kept[n_kept++] = p->store[part];
    }
    TRY(weights_digest(kept, n_kept, p->kept_digest, e));
    return weights_digest(stores, n, p->digest, e);
}

static enum status dit_make(struct pipeline *p, const struct pipeline_events *events,
                            struct err *e)
{
    char note[SETTLE_NOTE_BYTES];
    int proven;

    TRY(dit_create(model_dit(p->model), p->precision, p->store[MODEL_DIT], p->ops,
                   &p->dit, e));
    TRY(dit_settle(p->dit, &proven, note, e));
    if (note[0] && events->note && world_facts(p->world)->rank == 0)
        events->note(events->ctx, "products", note);
    return ST_OK;
}

enum status pipeline_load(struct pipeline *p, const struct pipeline_events *events,
                          struct err *e)
{
    int size = world_facts(p->world)->size;

    if (p->vae_ranks > size) /* those were planned for */
        p->vae_ranks = size;
    for (int part = 0; part < MODEL_PARTS; part++) {
        if (part_here(p, (enum model_part)part) && !p->loaded[part])
            TRY(pipeline_part(p, (enum model_part)part, events, e));
    }
    p->load_step = 0;
    TRY(digests_take(p, e));
    if (!p->dit)
        TRY(dit_make(p, events, e));
    if (!p->vae && p->loaded[MODEL_VAE])
        TRY(vae_create(model_vae(p->model), p->store[MODEL_VAE], p->ops, &p->vae, e));
    return ST_OK;
}
