/* test_texts.c - the text encoder comes first, encodes for all jobs of a launch, and
 * its memory is free before the transformer's is taken
 *
 * The backend is the host's with a counter in front: every byte that is gotten and
 * given back is known, and how many there were when something was reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/h5/h5.h"
#include "engine/pipeline/inside.h"
#include "kernels/backend.h"
#include "tests/unit/golden_rig.h"

static struct golden_rig rig = {.backend = "cpu", .precision = PRECISION_FP32};

/* ---- memory that is counted ------------------------------------------------------ */

enum { PIECES_MAX = 64 };

static struct {
    const struct backend *inner;
    struct backend table;
    struct {
        void *p;
        size_t bytes;
    } piece[PIECES_MAX];
    size_t live, peak;
} counted;

static enum status counted_alloc(void *self, size_t bytes, void **out, struct err *e)
{
    TRY(counted.inner->mem_alloc(self, bytes, out, e));
    for (int i = 0; i < PIECES_MAX; i++) {
        if (counted.piece[i].p)
            continue;
        counted.piece[i].p = *out;
        counted.piece[i].bytes = bytes;
        counted.live += bytes;
        counted.peak = counted.live > counted.peak ? counted.live : counted.peak;
        return ST_OK;
    }
    fail_msg("too many allocations");
    return ST_RESOURCE;
}

static void counted_free(void *self, void *p)
{
    for (int i = 0; p && i < PIECES_MAX; i++) {
        if (counted.piece[i].p != p)
            continue;
        counted.live -= counted.piece[i].bytes;
        counted.piece[i].p = NULL;
        break;
    }
    counted.inner->mem_free(self, p);
}

/* ---- launches -------------------------------------------------------------------- */

enum { EVENTS_MAX = 64, JOBS = 40 };

struct launch {
    struct engine_options options;
    struct pipeline *p;
    struct {
        enum pipeline_stage stage;
        int step, steps;
        size_t live;
    } event[EVENTS_MAX];
    int n;
    volatile sig_atomic_t stop;
    int stop_after; /* events; 0: never */
};

static void note(void *ctx, const struct pipeline_progress *at)
{
    struct launch *l = ctx;

    assert_true(l->n < EVENTS_MAX);
    l->event[l->n].stage = at->stage;
    l->event[l->n].step = at->step;
    l->event[l->n].steps = at->steps;
    l->event[l->n++].live = counted.live;
    if (l->n == l->stop_after)
        l->stop = 1;
}

static void launch_open(struct launch *l)
{
    struct err e = ERR_INIT;

    memset(l, 0, sizeof(*l));
    memset(&counted, 0, sizeof(counted));
    l->options = (struct engine_options){.backend = (char[]){"cpu"},
                                         .precision = PRECISION_FP32,
                                         .threads = 2,
                                         .vae_chunk = 1};
    assert_int_equal(world_open(&l->options.world, &e), ST_OK);
    l->options.model = (char *)(uintptr_t)scratch_path(&rig.dir, "original");
    if (pipeline_open(&l->options, &l->p, &e) != ST_OK)
        fail_msg("%s", e.text);
    counted.inner = l->p->ops->backend;
    counted.table = *counted.inner;
    counted.table.mem_alloc = counted_alloc;
    counted.table.mem_free = counted_free;
    l->p->ops->backend = &counted.table;
}

static void launch_close(struct launch *l)
{
    pipeline_close(l->p);
    world_close(l->options.world);
    assert_int_equal(counted.live, 0);
}

static enum status launch_run(struct launch *l, const struct job *job, struct err *e)
{
    struct pipeline_events events = {.ctx = l, .progress = note, .stop = &l->stop};

    l->n = 0;
    return pipeline_run(l->p, job, &events, e);
}

static void runs(struct launch *l, const struct job *job)
{
    struct err e = ERR_INIT;

    if (launch_run(l, job, &e) != ST_OK)
        fail_msg("%s", e.text);
}

static size_t bytes_of(const struct launch *l, enum model_part part)
{
    return weights_bytes(l->p->store[part]);
}

static void assert_event(const struct launch *l, int i, enum pipeline_stage stage,
                         int step, int steps)
{
    assert_true(i < l->n);
    assert_int_equal(l->event[i].stage, stage);
    assert_int_equal(l->event[i].step, step);
    assert_int_equal(l->event[i].steps, steps);
}

/* How many of a stage there were in the last run. */
static int count(const struct launch *l, enum pipeline_stage stage)
{
    int n = 0;

    for (int i = 0; i < l->n; i++)
        n += l->event[i].stage == stage;
    return n;
}

/* Jobs of a launch: unlike prompts, one negative prompt. */
struct jobs {
    struct job job[JOBS];
    const struct job *list[JOBS];
    char prompt[JOBS][64], output[JOBS][512], latents[JOBS][512];
};

static void jobs_make(struct jobs *j, const char *name)
{
    for (int i = 0; i < JOBS; i++) {
        char file[64];

        j->job[i] = golden_job();
        snprintf(j->prompt[i], sizeof(j->prompt[i]), "A cat sits on table %d.", i);
        snprintf(file, sizeof(file), "%s%d.y4m", name, i);
        snprintf(j->output[i], sizeof(j->output[i]), "%s",
                 scratch_path(&rig.dir, file));
        snprintf(file, sizeof(file), "%s%d.h5", name, i);
        snprintf(j->latents[i], sizeof(j->latents[i]), "%s",
                 scratch_path(&rig.dir, file));
        j->job[i].prompt = j->prompt[i];
        j->job[i].output = j->output[i];
        j->job[i].save_latents = j->latents[i];
        j->list[i] = &j->job[i];
    }
}

static void assert_same_file(const char *a, const char *b)
{
    size_t n, m;
    char *x = scratch_read(a, &n), *y = scratch_read(b, &m);

    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void digest_read(const char *path, char out[65])
{
    struct h5_attr a = {.object = "",
                        .name = "model_digest",
                        .kind = H5_ATTR_TEXT,
                        .text = out,
                        .text_bytes = 65};
    struct err e = ERR_INIT;

    if (h5_read(path, NULL, 0, &a, 1, &e) != ST_OK)
        fail_msg("%s", e.text);
}

/* Both outputs of job i are those of a launch of its own. */
static void assert_alone(const struct jobs *together, int i, const struct jobs *alone)
{
    struct launch l;
    char a[65], b[65];

    launch_open(&l);
    runs(&l, alone->list[i]);
    launch_close(&l);
    assert_same_file(together->output[i], alone->output[i]);
    digest_read(together->latents[i], a);
    digest_read(alone->latents[i], b);
    assert_string_equal(a, b);
}

/* ---- tests ----------------------------------------------------------------------- */

static struct jobs together, alone;

/* Nothing of the encoder is left when the next part of the model is there. */
static void the_encoder_goes_before_the_rest_comes(void **state)
{
    struct pipeline_plan plan;
    struct err e = ERR_INIT;
    struct launch l;
    size_t text, dit, vae;

    (void)state;
    jobs_make(&together, "first");
    launch_open(&l);
    assert_int_equal(pipeline_plan(l.p, together.list[0], &plan, &e), ST_OK);
    runs(&l, together.list[0]);
    text = bytes_of(&l, MODEL_TEXT);
    dit = bytes_of(&l, MODEL_DIT);
    vae = bytes_of(&l, MODEL_VAE);
    assert_true(text > 0);
    assert_event(&l, 0, STAGE_LOAD, 1, 3);
    assert_event(&l, 1, STAGE_ENCODE, 1, 2);
    assert_event(&l, 2, STAGE_ENCODE, 2, 2);
    assert_event(&l, 3, STAGE_LOAD, 2, 3);
    assert_event(&l, 4, STAGE_LOAD, 3, 3);
    assert_int_equal(l.event[0].live, text);
    assert_true(l.event[1].live > text);
    assert_true(l.event[1].live <= plan.text_bytes);
    assert_int_equal(l.event[3].live, dit);
    assert_int_equal(l.event[4].live, dit + vae);
    assert_true(counted.peak <= plan.peak_bytes);
    assert_int_equal(counted.live, dit + vae);
    launch_close(&l);
}

/* The first run encodes for all: the same bytes as one by one, and equal prompts once.
 * A job whose rows come from a file has no text encoder in its digest, whoever else
 * encodes. */
static void the_first_run_encodes_for_all(void **state)
{
    char rows[512];
    struct launch l;

    (void)state;
    jobs_make(&together, "many");
    jobs_make(&alone, "one");
    snprintf(rows, sizeof(rows), "%s", scratch_path(&rig.dir, "rows.h5"));
    alone.job[1].save_embeds = rows;
    launch_open(&l);
    runs(&l, alone.list[1]);
    launch_close(&l);
    alone.job[1].save_embeds = NULL;
    alone.job[0].embeds = together.job[0].embeds = rows;

    launch_open(&l);
    pipeline_expect(l.p, together.list, 3);
    runs(&l, together.list[0]);
    assert_event(&l, 0, STAGE_LOAD, 1, 3);
    assert_event(&l, 3, STAGE_ENCODE, 3, 3);
    assert_event(&l, 4, STAGE_LOAD, 2, 3);
    for (int i = 1; i < 3; i++) {
        runs(&l, together.list[i]);
        assert_int_equal(count(&l, STAGE_LOAD) + count(&l, STAGE_ENCODE), 0);
    }
    launch_close(&l);
    for (int i = 0; i < 3; i++)
        assert_alone(&together, i, &alone);
}

/* More jobs than are encoded ahead: the encoder stays and plans say so. */
static void with_many_jobs_the_encoder_stays(void **state)
{
    struct pipeline_plan few, many;
    struct err e = ERR_INIT;
    struct launch l;
    size_t text, dit, vae;

    (void)state;
    jobs_make(&together, "stays");
    jobs_make(&alone, "alone");
    launch_open(&l);
    pipeline_expect(l.p, together.list, TEXTS_AHEAD);
    assert_int_equal(pipeline_plan(l.p, together.list[0], &few, &e), ST_OK);
    pipeline_expect(l.p, together.list, TEXTS_AHEAD + 1);
    assert_int_equal(pipeline_plan(l.p, together.list[0], &many, &e), ST_OK);
    text = bytes_of(&l, MODEL_TEXT);
    dit = bytes_of(&l, MODEL_DIT);
    vae = bytes_of(&l, MODEL_VAE);
    assert_false(few.text_stays);
    assert_true(many.text_stays);
    assert_int_equal(many.text_bytes, 0);
    assert_int_equal(many.peak_bytes, many.run_bytes);
    for (int i = 0; i < 2; i++) {
        runs(&l, together.list[i]);
        assert_int_equal(count(&l, STAGE_LOAD), i ? 0 : 3);
        assert_int_equal(count(&l, STAGE_ENCODE), 2);
        assert_int_equal(counted.live, text + dit + vae);
    }
    assert_true(counted.peak <= many.peak_bytes);
    launch_close(&l);
    for (int i = 0; i < 2; i++)
        assert_alone(&together, i, &alone);
}

/* The rows of all jobs that are to come lie on the host; those of a launch of one job
 * and the one at hand are no more than its own. */
static void plans_count_both_times(void **state)
{
    struct pipeline_plan one, more, given, stays;
    struct err e = ERR_INIT;
    struct launch l;
    size_t row;

    (void)state;
    jobs_make(&together, "plan");
    launch_open(&l);
    row = (size_t)(pipeline_dit(l.p)->text_len * pipeline_dit(l.p)->text_dim) *
          sizeof(float);
    assert_int_equal(pipeline_plan(l.p, together.list[0], &one, &e), ST_OK);
    pipeline_expect(l.p, together.list, 5);
    assert_int_equal(pipeline_plan(l.p, together.list[0], &more, &e), ST_OK);
    assert_int_equal(more.run_bytes - one.run_bytes, 4 * row);
    assert_int_equal(more.text_bytes - one.text_bytes, 4 * row);
    assert_int_equal(one.peak_bytes,
                     one.text_bytes > one.run_bytes ? one.text_bytes : one.run_bytes);
    assert_true(one.text_bytes > bytes_of(&l, MODEL_TEXT));

    pipeline_expect(l.p, NULL, 0);
    together.job[0].embeds = (char[]){"given.h5"};
    assert_int_equal(pipeline_plan(l.p, together.list[0], &given, &e), ST_OK);
    assert_int_equal(given.text_bytes, 0);
    assert_int_equal(given.run_bytes, one.run_bytes);
    together.job[0].embeds = NULL;

    pipeline_expect(l.p, together.list, TEXTS_AHEAD + 1);
    assert_int_equal(pipeline_plan(l.p, together.list[0], &stays, &e), ST_OK);
    assert_true(stays.run_bytes >= one.run_bytes + bytes_of(&l, MODEL_TEXT));
    launch_close(&l);
}

/* Nobody said what was to come: the encoder is loaded again. */
static void what_was_not_expected_is_encoded_too(void **state)
{
    struct launch l;

    (void)state;
    jobs_make(&together, "again");
    jobs_make(&alone, "once");
    launch_open(&l);
    runs(&l, together.list[0]);
    runs(&l, together.list[1]);
    assert_event(&l, 0, STAGE_LOAD, 1, 1);
    assert_event(&l, 1, STAGE_ENCODE, 1, 1); /* the negative prompt is known */
    runs(&l, together.list[1]);
    assert_int_equal(count(&l, STAGE_LOAD) + count(&l, STAGE_ENCODE), 0);
    launch_close(&l);
    for (int i = 0; i < 2; i++)
        assert_alone(&together, i, &alone);
}

/* A run that is to end encodes what it needs itself, for its checkpoint, and no more.
 */
static void a_stop_ends_encoding_ahead(void **state)
{
    struct err e = ERR_INIT;
    struct launch l;

    (void)state;
    jobs_make(&together, "stopped");
    launch_open(&l);
    pipeline_expect(l.p, together.list, 4);
    l.stop_after = 2; /* the own prompt is encoded */
    assert_int_equal(launch_run(&l, together.list[0], &e), ST_STOPPED);
    assert_int_equal(count(&l, STAGE_ENCODE), 2);
    assert_int_equal(count(&l, STAGE_DENOISE), 0);
    assert_event(&l, 2, STAGE_ENCODE, 2, 5);
    launch_close(&l);
}

static int scratch_make(void **state)
{
    *state = &rig.dir;
    scratch_create(&rig.dir);
    golden_folder(&rig, "original", "dit/wan_a/original");
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_encoder_goes_before_the_rest_comes),
        cmocka_unit_test(the_first_run_encodes_for_all),
        cmocka_unit_test(with_many_jobs_the_encoder_stays),
        cmocka_unit_test(plans_count_both_times),
        cmocka_unit_test(what_was_not_expected_is_encoded_too),
        cmocka_unit_test(a_stop_ends_encoding_ahead),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, scratch_make, scratch_drop);
}
