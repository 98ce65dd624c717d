/* forward.c - one pass of the transformer, and all steps of a video */
#include <math.h>
#include <stdlib.h>

#include "engine/bench/stand.h"
#include "kernels/base/clock.h"
#include "kernels/base/rng.h"

enum { STREAM_NOISE = (1 << 20) + 2 };

/* ---- traffic --------------------------------------------------------------------- */

/* What ranks have sent and waited for since the last call, per forward. */
static enum status traffic_note(struct bench_stand *s, struct spread_traffic *last,
                                int forwards, struct err *e)
{
    int ranks = world_facts(s->b->world)->size;
    struct spread_traffic *all = calloc((size_t)ranks, sizeof(*all));
    struct bench_rank *mine = &s->b->r->rank[world_facts(s->b->world)->rank];
    enum status st;

    if (!all)
        return err_set(e, ST_RESOURCE, "out of memory: ranks");
    st = spread_traffic(&s->spread, last, all, e);
    if (st == ST_OK) {
        const struct spread_traffic *t = &all[world_facts(s->b->world)->rank];

        mine->sent_bytes = t->sent_bytes / forwards;
        mine->waited_seconds = t->wait_seconds / forwards;
    }
    free(all);
    return st;
}

/* ---- all steps ------------------------------------------------------------------- */

/* Denoise from noise, as a run does. Gives the pass's memory to the solver. */
static enum status steps_run(struct bench_stand *s, float *latent, struct err *e)
{
    struct denoise_args a = bench_stand_denoising(s);
    struct schedule schedule;
    double begun;

    TRY(schedule_init(&schedule, SOLVER_UNIPC, (int)s->b->o->steps, 8.0, e));
    a.schedule = &schedule;
    dit_forward_destroy(s->forward);
    s->forward = NULL;
    arena_init(&s->scratch, s->memory[STAND_SCRATCH], s->bytes[STAND_SCRATCH]);
    TRY(world_agree(s->b->world, ST_OK, e));
    begun = clock_seconds();
    TRY(denoise_segment(&a, &s->scratch, latent, e));
    s->b->r->denoise_seconds = clock_seconds() - begun;
    return ST_OK;
}

static enum status whole_run(struct bench_stand *s, struct err *e)
{
    size_t n = (size_t)(s->size.channels * s->size.frames * s->size.height *
                        s->size.width);
    float *latent = malloc(n * sizeof(*latent));
    enum status st;

    if (!latent)
        return err_set(e, ST_RESOURCE, "out of memory: %zu latents", n);
    noise_philox((uint64_t)s->b->o->seed, STREAM_NOISE, 0, n, latent);
    st = steps_run(s, latent, e);
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        if (spread_leads(&s->spread) && !isfinite(latent[i]))
            st = err_set(e, ST_DEVICE, "latent %zu of %zu is not finite", i, n);
    }
    free(latent);
    return st;
}

/* ---- the part -------------------------------------------------------------------- */

/* While the pass still has its memory. */
static void device_note(struct bench *b)
{
    size_t left = ops_mem_left(b->ops);

    if (ops_facts(b->ops)->space == MEM_DEVICE && left < b->left)
        b->r->rank[world_facts(b->world)->rank].device_bytes = (int64_t)(b->left -
                                                                         left);
}

static enum status forward_measure(struct bench_stand *s, struct bench_part_result *out,
                                   struct err *e)
{
    struct bench *b = s->b;
    struct spread_traffic last = {0};

    out->weight_bytes = weights_bytes(s->weights);
    out->flop = s->plan.linear_flops + s->plan.self_flops + s->plan.cross_flops;
    TRY(traffic_note(s, &last, 1, e));
    TRY(bench_repeat(b, bench_stand_pass, s, true, &out->seconds, e));
    TRY(traffic_note(s, &last, (int)b->o->repeats + 1, e));
    TRY(bench_watched(b, bench_stand_pass, s, true, out, e));
    device_note(b);
    return b->o->end_to_end ? whole_run(s, e) : ST_OK;
}

enum status bench_forward(struct bench *b, struct bench_part_result *out, struct err *e)
{
    struct bench_stand s = {0};
    enum dtype stored = b->choice->act == DT_F32 ? DT_F32 : DT_BF16;
    enum status st = bench_stand_open(&s, b, b->choice, stored, e);

    if (st == ST_OK)
        st = forward_measure(&s, out, e);
    bench_stand_close(&s);
    return st;
}
