/* test_denoise.c - whole sampling runs against fp64 references: guided, with diffusion
 * forcing, with lag, with a noised prefix, in segments (tests/golden/README.md) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/pipeline/denoise.h"
#include "engine/weights/safetensors.h"
#include "tests/tolerance.h"
#include "tests/unit/dit_rig.h"

#define DATA FF_GOLDEN_DIR "/e2e/"

enum { ARENA_BYTES = 64 << 20, TEXT_WIDTH = 48 };

/* A model on a backend with memory for any of the runs. */
struct stage {
    struct dit_rig rig;
    struct source *file;
    void *memory, *workspace;
    size_t workspace_bytes;
    struct arena arena;
    struct queue *q;
    struct dit_context *cond, *uncond;
    struct world *world;
    struct spread spread;
};

/* A tensor of the file as floats, allocated; dims (4) are written when given. */
static float *floats_of(struct source *s, const char *name, int64_t *dims)
{
    const struct stored *t;
    struct err e = ERR_INIT;
    float *x;

    if (source_get(s, name, -1, NULL, &t, &e) != ST_OK)
        fail_msg("%s", e.text);
    x = malloc((size_t)stored_elements(t) * sizeof(float));
    assert_non_null(x);
    assert_int_equal(source_read_as(s, t, DT_F32, x, &e), ST_OK);
    for (int i = 0; dims && i < t->rank; i++)
        dims[i] = t->dims[i];
    return x;
}

static struct dit_context *context_of(struct stage *g, const char *name)
{
    int64_t dims[8];
    float *rows = floats_of(g->file, name, dims);
    struct tensor t = tensor_make(rows, DT_F32, MEM_HOST, 2, dims);
    struct dit_context *c;
    struct err e = ERR_INIT;

    if (dit_context_create(g->rig.m, g->q, &t, &g->arena, &g->arena, &c, &e) != ST_OK)
        fail_msg("%s", e.text);
    free(rows);
    return c;
}

static void stage_open(struct stage *g, const char *model, const char *file)
{
    struct dit_rig_options o = {
        .backend = "cpu", .threads = 2, .model = model, .precision = &dit_fp32};
    struct err e = ERR_INIT;

    memset(g, 0, sizeof(*g));
    assert_int_equal(world_open(&g->world, &e), ST_OK);
    rig_open(&g->rig, &o);
    assert_int_equal(
        spread_open(&g->spread, g->world, g->rig.ops, &(struct mesh)MESH_ALONE, &e),
        ST_OK);
    assert_int_equal(safetensors_open(file, &g->file, &e), ST_OK);
    g->workspace_bytes = 256u << 20;
    assert_int_equal(ops_mem_alloc(g->rig.ops, ARENA_BYTES, &g->memory, &e), ST_OK);
    assert_int_equal(ops_mem_alloc(g->rig.ops, g->workspace_bytes, &g->workspace, &e),
                     ST_OK);
    arena_init(&g->arena, g->memory, ARENA_BYTES);
    assert_int_equal(
        ops_queue_open(g->rig.ops, g->workspace, g->workspace_bytes, &g->q, &e), ST_OK);
    g->cond = context_of(g, "cond");
    if (source_find(g->file, "uncond"))
        g->uncond = context_of(g, "uncond");
}

static void stage_close(struct stage *g)
{
    dit_context_destroy(g->cond);
    dit_context_destroy(g->uncond);
    ops_queue_close(g->rig.ops, g->q);
    ops_mem_free(g->rig.ops, g->memory);
    ops_mem_free(g->rig.ops, g->workspace);
    source_close(g->file);
    spread_close(&g->spread);
    world_close(g->world);
    rig_close(&g->rig);
}

struct setting {
    enum solver solver;
    int steps, ar_step, block, prefix, addnoise, fps;
    double shift, guidance;
};

static struct denoise_args args_of(struct stage *g, const struct setting *s,
                                   const struct schedule *schedule,
                                   struct noise_source *noise, const int64_t dims[4])
{
    int64_t rows = dit_context_rows(&g->rig.config, g->rig.config.text_len);
    struct denoise_args a = {
        .ops = g->rig.ops,
        .queue = g->q,
        .dit = g->rig.m,
        .spread = &g->spread,
        .context = {g->cond, g->uncond},
        .schedule = schedule,
        .noise = noise,
        .size = {dims[0], dims[1], dims[2], dims[3]},
        .shape = {.frames = dims[1],
                  .grid_h = dims[2] / 2,
                  .grid_w = dims[3] / 2,
                  .group = SEQPAR_ALONE,
                  .contexts = 1,
                  .context_rows = rows,
                  .fps = s->fps},
        .prefix = s->prefix,
        .ar_step = s->ar_step,
        .causal_block_size = s->block,
        .addnoise = s->addnoise,
        .guidance = s->guidance,
    };

    return a;
}

/* Put the first `n` frames of `prefix` [C,P,h,w] into latent [C,F,h,w]. */
static void prefix_put(float *latent, const float *prefix, const int64_t dims[4],
                       int64_t n)
{
    size_t plane = (size_t)(dims[2] * dims[3]);

    for (int64_t c = 0; c < dims[0]; c++)
        memcpy(latent + (size_t)(c * dims[1]) * plane, prefix + (size_t)(c * n) * plane,
               (size_t)n * plane * sizeof(float));
}

/* Run one segment from `latent` in place. */
static void segment_run(struct stage *g, const struct setting *s, int segment,
                        const char *noise_file, const int64_t dims[4], float *latent)
{
    struct job job = {.noise = (char *)(uintptr_t)noise_file};
    struct noise_source noise;
    struct schedule schedule;
    struct denoise_args a;
    struct err e = ERR_INIT;

    assert_int_equal(schedule_init(&schedule, s->solver, s->steps, s->shift, &e),
                     ST_OK);
    assert_int_equal(noise_source_open(&noise, g->world, &job, &e), ST_OK);
    a = args_of(g, s, &schedule, &noise, dims);
    a.segment = segment;
    if (denoise_segment(&a, &g->arena, latent, &e) != ST_OK)
        fail_msg("%s", e.text);
}

static void result_check(struct source *file, const char *name, const float *got,
                         int64_t n)
{
    const struct stored *t;
    struct err e = ERR_INIT;
    double *want = malloc((size_t)n * sizeof(double));
    double error;

    assert_int_equal(source_get(file, name, -1, NULL, &t, &e), ST_OK);
    assert_int_equal(stored_elements(t), n);
    assert_int_equal(source_read_as(file, t, DT_F64, want, &e), ST_OK);
    error = rel_l2(got, want, n);
    print_message("%s: relative L2 %.2e\n", name, error);
    assert_true(error <= TOL_SAMPLED_LATENT);
    free(want);
}

static int64_t count_of(const int64_t dims[4])
{
    return dims[0] * dims[1] * dims[2] * dims[3];
}

static void guided_runs(void **state)
{
    static const struct {
        const char *name;
        enum solver solver;
    } runs[] = {
        {"unipc", SOLVER_UNIPC}, {"dpmpp", SOLVER_DPMPP}, {"euler", SOLVER_EULER}};
    struct stage g;
    int64_t dims[8];

    (void)state;
    stage_open(&g, "wan_a", DATA "guided.safetensors");
    for (int i = 0; i < 3; i++) {
        struct setting s = {.solver = runs[i].solver,
                            .steps = 10,
                            .block = 1,
                            .fps = 16,
                            .shift = 5,
                            .guidance = 5};
        float *latent = floats_of(g.file, "noise", dims);

        segment_run(&g, &s, 0, NULL, dims, latent);
        result_check(g.file, runs[i].name, latent, count_of(dims));
        free(latent);
    }
    stage_close(&g);
}

/* Write the rows of prefix noise of a golden file as the noise file of a job. */
static void prefix_noise_file(struct source *file, const char *name, int segment,
                              const char *path)
{
    int64_t dims[8];
    float *rows = floats_of(file, name, dims);
    size_t one = (size_t)(dims[1] * dims[2] * dims[3] * dims[4]);
    struct h5_writer *w;
    struct err e = ERR_INIT;
    char dataset[64];

    if (h5_create(path, true, &w, &e) != ST_OK)
        fail_msg("%s", e.text);
    for (int64_t row = 0; row < dims[0]; row++) {
        snprintf(dataset, sizeof(dataset), "prefix/%d/%d", segment, (int)row);
        assert_int_equal(h5_put(w, dataset, 4, dims + 1, rows + (size_t)row * one, &e),
                         ST_OK);
    }
    assert_int_equal(h5_commit(w, &e), ST_OK);
    free(rows);
}

static void forcing_check(const char *path, const struct setting *s,
                          const char *noise_file)
{
    struct stage g;
    int64_t dims[8];
    float *latent, *prefix;

    stage_open(&g, "sky_fps", path);
    latent = floats_of(g.file, "noise", dims);
    if (s->prefix) {
        prefix = floats_of(g.file, "prefix", NULL);
        prefix_put(latent, prefix, dims, s->prefix);
        free(prefix);
    }
    if (noise_file)
        prefix_noise_file(g.file, "prefix_noise", 0, noise_file);
    segment_run(&g, s, 0, noise_file, dims, latent);
    result_check(g.file, "latents", latent, count_of(dims));
    free(latent);
    stage_close(&g);
}

static void forcing_in_step_with_a_prefix(void **state)
{
    struct setting s = {
        .steps = 6, .block = 1, .prefix = 1, .fps = 24, .shift = 5, .guidance = 5};

    (void)state;
    forcing_check(DATA "forcing_sync.safetensors", &s, NULL);
}

static void forcing_with_lag_and_noised_prefix(void **state)
{
    struct setting s = {.steps = 6,
                        .ar_step = 2,
                        .block = 2,
                        .prefix = 2,
                        .addnoise = 20,
                        .fps = 16,
                        .shift = 8,
                        .guidance = 5};
    char path[] = "/tmp/ff_denoise_XXXXXX.h5";
    int fd = mkstemps(path, 3);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    forcing_check(DATA "forcing_lagged.safetensors", &s, path);
    unlink(path);
}

static void forcing_without_guidance(void **state)
{
    struct setting s = {
        .steps = 4, .ar_step = 3, .block = 1, .fps = 24, .shift = 8, .guidance = 1};

    (void)state;
    forcing_check(DATA "forcing_free.safetensors", &s, NULL);
}

/* Two segments chained in latents: the second begins with the last two frames. */
static void two_segments(void **state)
{
    struct setting s = {
        .steps = 5, .ar_step = 1, .block = 1, .fps = 24, .shift = 8, .guidance = 3};
    char path[] = "/tmp/ff_denoise_XXXXXX.h5";
    int fd = mkstemps(path, 3);
    int64_t dims[8], next[8], whole[8];
    float *first, *second, *all;
    struct stage g;
    size_t plane;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    stage_open(&g, "sky_fps", DATA "forcing_long.safetensors");
    first = floats_of(g.file, "noise0", dims);
    second = floats_of(g.file, "noise1", next);
    all = floats_of(g.file, "latents", whole);
    plane = (size_t)(dims[2] * dims[3]);
    segment_run(&g, &s, 0, NULL, dims, first);
    for (int64_t c = 0; c < dims[0]; c++)
        memcpy(second + (size_t)(c * next[1]) * plane,
               first + (size_t)(c * dims[1] + dims[1] - 2) * plane,
               2 * plane * sizeof(float));
    prefix_noise_file(g.file, "prefix_noise1", 1, path);
    s.prefix = 2;
    s.addnoise = 20;
    segment_run(&g, &s, 1, path, next, second);
    for (int64_t c = 0; c < whole[0]; c++) {
        memcpy(all + (size_t)(c * whole[1]) * plane,
               first + (size_t)(c * dims[1]) * plane,
               (size_t)dims[1] * plane * sizeof(float));
        memcpy(all + (size_t)(c * whole[1] + dims[1]) * plane,
               second + (size_t)(c * next[1] + 2) * plane,
               (size_t)(next[1] - 2) * plane * sizeof(float));
    }
    result_check(g.file, "latents", all, count_of(whole));
    free(first);
    free(second);
    free(all);
    stage_close(&g);
    unlink(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guided_runs),
        cmocka_unit_test(forcing_in_step_with_a_prefix),
        cmocka_unit_test(forcing_with_lag_and_noised_prefix),
        cmocka_unit_test(forcing_without_guidance),
        cmocka_unit_test(two_segments),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
