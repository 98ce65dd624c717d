/* accuracy.c - a pass beside the same pass in a finer precision, block by block
 *
 * Twice: each block of the precision in question on what its own blocks before it have
 * made of the input, and each on the measure's residual stream, which says what one
 * block alone does. In the second pass both begin a block with the same rows, so what
 * they have added is told by the rows behind it.
 */
#include <math.h>
#include <stdlib.h>

#include "engine/bench/stand.h"
#include "engine/compare/sums.h"

enum side { MEASURE, TRIED, SIDES };

/* Rows come in stretches, each in one copy. */
enum { STRETCH = 8 };

struct sample {
    int64_t rows, dim;
    float *before, *behind[SIDES]; /* [rows, dim]; before: of the measure */
};

struct trial {
    struct bench_stand stand[SIDES];
    struct sample sample;
};

/* ---- rows ------------------------------------------------------------------------ */

static enum status sample_make(struct sample *s, const struct tensor *stream,
                               struct err *e)
{
    int64_t rows = stream->shape[0];
    size_t n;

    s->rows = rows < BENCH_SAMPLE_ROWS ? rows : BENCH_SAMPLE_ROWS;
    s->dim = stream->shape[1];
    n = (size_t)(s->rows * s->dim);
    s->before = malloc(n * sizeof(float));
    for (int i = 0; i < SIDES; i++)
        s->behind[i] = malloc(n * sizeof(float));
    if (!s->before || !s->behind[MEASURE] || !s->behind[TRIED])
        return err_set(e, ST_RESOURCE, "out of memory: %lld rows of tokens",
                       (long long)s->rows);
    return ST_OK;
}

static void sample_release(struct sample *s)
{
    free(s->before);
    for (int i = 0; i < SIDES; i++)
        free(s->behind[i]);
}

/* Rows of `from` (device) to the host, evenly from all over it. */
static enum status rows_fetch(struct bench_stand *s, const struct sample *sample,
                              const struct tensor *from, float *to, struct err *e)
{
    for (int64_t at = 0; at < sample->rows; at += STRETCH) {
        int64_t left = sample->rows - at;
        int64_t n = left < STRETCH ? left : STRETCH;
        int64_t first = at * (from->shape[0] - n) / sample->rows;
        struct tensor part = tensor_slice(from, 0, first, n);
        struct tensor host = part;

        host.space = MEM_HOST;
        host.data = to + at * sample->dim;
        TRY(ops_copy(s->b->ops, s->queue, &host, &part, e));
    }
    return ops_queue_wait(s->b->ops, s->queue, e);
}

/* ---- distances ------------------------------------------------------------------- */

static struct bench_distance distance(const float *a, const float *b, size_t n)
{
    struct sums sums = SUMS_INIT;

    sums_floats(&sums, a, b, n);
    return (struct bench_distance){sums_relative_l2(&sums), sums_cosine(&sums)};
}

/* Of the streams behind a block. */
static struct bench_distance behind(const struct sample *s)
{
    return distance(s->behind[MEASURE], s->behind[TRIED], (size_t)(s->rows * s->dim));
}

/* Of what the block has added: leaves that in `behind`. */
static struct bench_distance added(struct sample *s)
{
    for (int i = 0; i < SIDES; i++) {
        for (int64_t k = 0; k < s->rows * s->dim; k++)
            s->behind[i][k] -= s->before[k];
    }
    return behind(s);
}

static enum status velocities_compare(struct trial *t, struct bench_distance *out,
                                      struct err *e)
{
    const struct tensor *v = &t->stand[MEASURE].velocity;
    size_t n = (size_t)tensor_count(v);
    float *host[SIDES] = {malloc(n * sizeof(float)), malloc(n * sizeof(float))};
    enum status st = ST_OK;

    if (!host[MEASURE] || !host[TRIED])
        st = err_set(e, ST_RESOURCE, "out of memory: velocities");
    for (int i = 0; i < SIDES && st == ST_OK; i++) {
        struct bench_stand *s = &t->stand[i];
        struct tensor to = s->velocity;

        to.space = MEM_HOST;
        to.data = host[i];
        st = ops_copy(s->b->ops, s->queue, &to, &s->velocity, e);
        if (st == ST_OK)
            st = ops_queue_wait(s->b->ops, s->queue, e);
    }
    if (st == ST_OK)
        *out = distance(host[MEASURE], host[TRIED], n);
    for (int i = 0; i < SIDES; i++)
        free(host[i]);
    return st;
}

/* ---- passes ---------------------------------------------------------------------- */

static enum status begin(struct bench_stand *s, struct err *e)
{
    struct dit_input in = bench_stand_input(s);

    return dit_forward_begin(s->forward, s->queue, &in, e);
}

/* All phases of the block at hand, until they are done. */
static enum status block_run(struct bench_stand *s, int64_t layers, struct err *e)
{
    int64_t phases = dit_forward_left(s->forward) / layers;

    for (int64_t i = 0; i < phases; i++)
        TRY(dit_forward_step(s->forward, s->queue, e));
    return ops_queue_wait(s->b->ops, s->queue, e);
}

/* Both run block `i`; the streams behind it are fetched. */
static enum status block_both(struct trial *t, int64_t layers_left, struct err *e)
{
    for (int i = 0; i < SIDES; i++) {
        struct bench_stand *s = &t->stand[i];

        TRY(block_run(s, layers_left, e));
        TRY(rows_fetch(s, &t->sample, dit_forward_stream(s->forward),
                       t->sample.behind[i], e));
    }
    return ST_OK;
}

static enum status end(struct bench_stand *s, struct err *e)
{
    return dit_forward_end(s->forward, s->queue, &s->velocity, e);
}

static enum status pass_so_far(struct trial *t, struct bench_accuracy *out,
                               struct err *e)
{
    for (int i = 0; i < SIDES; i++)
        TRY(begin(&t->stand[i], e));
    for (int64_t k = 0; k < out->layers; k++) {
        TRY(block_both(t, out->layers - k, e));
        out->block[k].so_far = behind(&t->sample);
    }
    for (int i = 0; i < SIDES; i++)
        TRY(end(&t->stand[i], e));
    return velocities_compare(t, &out->velocity, e);
}

static enum status pass_own(struct trial *t, struct bench_accuracy *out, struct err *e)
{
    struct bench_stand *tried = &t->stand[TRIED];
    const struct tensor *stream = dit_forward_stream(t->stand[MEASURE].forward);

    for (int i = 0; i < SIDES; i++)
        TRY(begin(&t->stand[i], e));
    for (int64_t k = 0; k < out->layers; k++) {
        TRY(rows_fetch(&t->stand[MEASURE], &t->sample, stream, t->sample.before, e));
        TRY(dit_forward_set_stream(tried->forward, tried->queue, stream, e));
        TRY(block_both(t, out->layers - k, e));
        out->block[k].own = added(&t->sample);
        if (out->block[k].own.relative_l2 > out->block[out->worst].own.relative_l2)
            out->worst = k;
    }
    for (int i = 0; i < SIDES; i++)
        TRY(end(&t->stand[i], e));
    return ST_OK;
}

/* ---- the part -------------------------------------------------------------------- */

/* What `choice` is measured by. */
static const struct precision_choice *measure_of(const struct precision_choice *choice)
{
    if (choice->dit == &dit_fp32)
        return NULL;
    return precision_choice(choice->dit == &dit_bf16 ? PRECISION_FP32 : PRECISION_BF16);
}

static enum status trial_open(struct trial *t, struct bench *b,
                              const struct precision_choice *measure, struct err *e)
{
    TRY(bench_stand_open(&t->stand[MEASURE], b, measure, DT_BF16, e));
    TRY(bench_stand_open(&t->stand[TRIED], b, b->choice, DT_BF16, e));
    return sample_make(&t->sample, dit_forward_stream(t->stand[TRIED].forward), e);
}

static void trial_close(struct trial *t)
{
    sample_release(&t->sample);
    for (int i = 0; i < SIDES; i++)
        bench_stand_close(&t->stand[i]);
}

enum status bench_accuracy(struct bench *b, struct bench_part_result *out,
                           struct err *e)
{
    const struct precision_choice *measure = measure_of(b->choice);
    struct bench_accuracy *a = &b->r->accuracy;
    struct trial t = {0};
    enum status st;

    if (!measure)
        return err_set(e, ST_USAGE,
                       "the part 'accuracy' needs a precision other than fp32");
    if (world_facts(b->world)->size > 1)
        return err_set(e, ST_USAGE, "the part 'accuracy' runs on one rank, not on %d",
                       world_facts(b->world)->size);
    a->measure = measure->name;
    a->layers = b->models.dit.layers;
    a->block = calloc((size_t)a->layers, sizeof(*a->block));
    if (!a->block)
        return err_set(e, ST_RESOURCE, "out of memory: accuracy of %lld blocks",
                       (long long)a->layers);
    st = trial_open(&t, b, measure, e);
    if (st == ST_OK)
        st = pass_so_far(&t, a, e);
    if (st == ST_OK)
        st = pass_own(&t, a, e);
    out->ran = st == ST_OK;
    out->peak_bytes = b->bytes;
    trial_close(&t);
    return st;
}
