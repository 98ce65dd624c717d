/* bench.c - opens a backend, runs the parts that are asked for, adds up the whole */
#include "engine/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "dist/devices.h"
#include "engine/bench/inside.h"
#include "engine/pipeline/crew.h"
#include "engine/sample/segments.h"

const char *bench_part_name(enum bench_part part)
{
    static const char *const names[] = {"forward", "vae", "text", "load", "accuracy"};

    return names[part];
}

/* ---- what cannot be -------------------------------------------------------------- */

static enum status options_check(const struct bench_options *o, struct err *e)
{
    if (o->size.width % 16 || o->size.height % 16 || o->size.width < 16 ||
        o->size.height < 16)
        return err_set(e, ST_USAGE,
                       "impossible size %lldx%lld: both sides must be multiples of 16",
                       (long long)o->size.width, (long long)o->size.height);
    if (o->num_frames < 1 || (o->num_frames - 1) % 4)
        return err_set(e, ST_USAGE,
                       "impossible num_frames %lld: 4k + 1 frames are possible",
                       (long long)o->num_frames);
    if (o->end_to_end && !o->part[BENCH_FORWARD])
        return err_set(e, ST_USAGE, "end_to_end needs the part 'forward'");
    return ST_OK;
}

/* ---- opening --------------------------------------------------------------------- */

static int threads_of(const struct engine_options *engine)
{
    const struct world_facts *world = world_facts(engine->world);

    return engine->threads || world->size == 1 ? (int)engine->threads : world->threads;
}

static void result_describe(struct bench *b)
{
    const struct dit_config *d = &b->models.dit;

    snprintf(b->r->describe, sizeof(b->r->describe),
             "%s shape (%lld blocks of %lld, %lld heads, ffn %lld), %s on %s",
             b->models.name, (long long)d->layers, (long long)d->dim,
             (long long)d->heads, (long long)d->ffn_dim, b->choice->name,
             b->o->engine.backend);
    b->r->ranks = world_facts(b->world)->size;
    b->r->latent_frames = latent_frames((int)b->o->num_frames);
}

static enum status bench_open(struct bench *b, const struct bench_options *o,
                              struct err *e)
{
    struct ops_options device = {.threads = threads_of(&o->engine),
                                 .algorithms = o->engine.algorithms};
    bool hidden;

    TRY(options_check(o, e));
    b->o = o;
    b->world = o->engine.world;
    b->models = bench_models_of((enum bench_shape)o->shape, o->layers);
    b->choice = precision_choice((enum precision)o->engine.precision);
    device.fast_sums = b->choice->fast_sums;
    b->r->rank = calloc((size_t)world_facts(b->world)->size, sizeof(*b->r->rank));
    if (!b->r->rank)
        return err_set(e, ST_RESOURCE, "out of memory: ranks");
    TRY(devices_open(b->world, o->engine.backend, &device, &b->ops, &hidden, e));
    b->left = ops_mem_left(b->ops);
    result_describe(b);
    return ST_OK;
}

/* ---- the whole ------------------------------------------------------------------- */

static double median_of(const struct bench_result *r, enum bench_part part)
{
    return r->part[part].seconds.median;
}

/* Text of every branch, all steps, and the VAE. */
static void whole_add_up(struct bench *b)
{
    struct bench_result *r = b->r;
    double prompts = b->o->guided ? 2.0 : 1.0;
    double rounds = prompts / (double)r->forwards_at_once * (double)b->o->steps;

    if (!r->part[BENCH_FORWARD].ran || !r->part[BENCH_VAE].ran ||
        !r->part[BENCH_TEXT].ran)
        return;
    r->whole = r->denoise_seconds > 0.0 ? BENCH_MEASURED : BENCH_ESTIMATED;
    r->whole_seconds = prompts * median_of(r, BENCH_TEXT) + median_of(r, BENCH_VAE);
    r->whole_seconds += r->whole == BENCH_MEASURED
                            ? r->denoise_seconds
                            : rounds * median_of(r, BENCH_FORWARD);
}

/* Peaks of every rank, over all parts. */
static enum status ranks_gather(struct bench *b, struct err *e)
{
    struct bench_rank mine = b->r->rank[world_facts(b->world)->rank];

    for (int i = 0; i < BENCH_PARTS; i++) {
        int64_t peak = (int64_t)b->r->part[i].peak_bytes;

        mine.peak_bytes = peak > mine.peak_bytes ? peak : mine.peak_bytes;
    }
    return world_gather(b->world, &mine, sizeof(mine), b->r->rank, e);
}

static enum status parts_run(struct bench *b, struct err *e)
{
    static enum status (*const run[])(struct bench *, struct bench_part_result *,
                                      struct err *) = {
        [BENCH_FORWARD] = bench_forward,   [BENCH_VAE] = bench_vae,
        [BENCH_TEXT] = bench_text,         [BENCH_LOAD] = bench_load,
        [BENCH_ACCURACY] = bench_accuracy,
    };
    bool leads = world_facts(b->world)->rank == 0;

    TRY(crew_parse(b->o->engine.vae_ranks, world_facts(b->world)->size, &b->vae_ranks,
                   e));
    if (b->o->tune)
        TRY(bench_tune(b, e));
    if (b->o->ceilings)
        TRY(bench_ceilings(b, e));
    for (int i = 0; i < BENCH_PARTS; i++) {
        bool alone = (i == BENCH_VAE && b->vae_ranks == 1) || i == BENCH_TEXT;

        if (b->o->part[i] && (leads || !alone))
            TRY(run[i](b, &b->r->part[i], e));
    }
    TRY(ranks_gather(b, e));
    whole_add_up(b);
    return ST_OK;
}

enum status bench_run(const struct bench_options *o, struct bench_result **out,
                      struct err *e)
{
    struct bench b = {.r = calloc(1, sizeof(*b.r))};
    enum status st;

    if (!b.r)
        return err_set(e, ST_RESOURCE, "out of memory: results of a benchmark");
    b.r->forwards_at_once = 1;
    st = bench_open(&b, o, e);
    if (st == ST_OK)
        st = parts_run(&b, e);
    ops_close(b.ops);
    if (st != ST_OK)
        bench_destroy(b.r);
    else
        *out = b.r;
    return st;
}

void bench_destroy(struct bench_result *r)
{
    if (!r)
        return;
    free(r->accuracy.block);
    free(r->tuned);
    free(r->rank);
    free(r);
}
