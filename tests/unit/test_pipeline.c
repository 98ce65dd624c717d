/* test_pipeline.c - a job from prompt to video against the fp64 reference, in every
 * layout that a model folder may have; and no allocation between the first row and the
 * last
 *
 * Allocations are counted by standing in front of the C library's: our functions count
 * and pass on, for every library of the process and every thread. Those that OpenBLAS
 * makes are left out: on matrices as small as the tiny model's, its kernels for small
 * products (0.3.21, AVX-512) take their packing buffer from malloc in each call.
 * Sanitizers bring their own functions; then nothing is counted. */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/h5/h5.h"
#include "engine/pipeline/pipeline.h"
#include "tests/tolerance.h"
#include "tests/unit/golden_rig.h"

/* ---- the counter ----------------------------------------------------------------- */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 1

static int counting;
static int allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

static int from_blas(void *caller)
{
    Dl_info library;

    return dladdr(caller, &library) && strstr(library.dli_fname, "blas");
}

static void count_one(void *caller)
{
    if (__atomic_load_n(&counting, __ATOMIC_RELAXED) && !from_blas(caller))
        __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t bytes)
{
    count_one(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    count_one(__builtin_return_address(0));
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    count_one(__builtin_return_address(0));
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    count_one(__builtin_return_address(0));
    return __libc_memalign(align, bytes);
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    count_one(__builtin_return_address(0));
    *out = __libc_memalign(align, bytes);
    return *out ? 0 : ENOMEM;
}
#else
#define COUNTS_ALLOCATIONS 0
static int counting;
static int allocations;
#endif

/* ---- the golden cases ------------------------------------------------------------ */

static struct golden_rig rig = {.backend = "cpu", .precision = PRECISION_FP32};

static void models_make(void)
{
    const struct scratch *dir = &rig.dir;

    golden_folder(&rig, "original", "dit/wan_a/original");
    golden_folder(&rig, "forcing", "dit/sky_fps/original");

    golden_copy_all(dir, "diffusers", "model");
    golden_copy_all(dir, "diffusers/scheduler", "model/scheduler");
    golden_copy_all(dir, "diffusers/transformer", "dit/wan_a/transformer");
    golden_copy_all(dir, "diffusers/text_encoder", "umt5/text_encoder");
    golden_copy_all(dir, "diffusers/vae", "vae/vae");
    golden_copy(dir, "diffusers/tokenizer/spiece.model", "tokenizer/spiece.model");

    /* diffusers' names in the original places: shards in the model's own folder */
    golden_copy_all(dir, "renamed", "dit/wan_a/transformer");
    golden_copy(dir, "renamed/Wan2.1_VAE.safetensors", /* the .pth's values as F32 */
                "vae/vae/diffusion_pytorch_model.safetensors");
    golden_text(dir, "renamed");

    /* original names in diffusers' places */
    golden_copy_all(dir, "swapped/transformer", "dit/wan_a/original");
    golden_copy_all(dir, "swapped/text_encoder", "umt5/text_encoder");
    golden_copy_all(dir, "swapped/vae", "vae/vae");
    golden_copy(dir, "swapped/tokenizer/spiece.model", "tokenizer/spiece.model");
}

static void equals_reference(void **state)
{
    struct golden_outcome o;
    double error;
    int byte;

    (void)state;
    golden_run(&rig, "original", &o);
    error = golden_latent_error(&o);
    byte = golden_video_error(&o);
    print_message("latents: relative L2 %.2e; worst colour byte off by %d\n", error,
                  byte);
    assert_true(error <= TOL_SAMPLED_LATENT);
    assert_true(byte <= TOL_YUV444_BYTE + 1); /* 1: truncated to the other side */
    assert_int_equal(strlen(o.digest), 64);
}

/* The digest is that of the bytes stored: the .pth of the autoencoder, fp32 where the
 * others are bf16, gives the same video under another digest. */
static void layouts_and_names_do_not_matter(void **state)
{
    static const char *const models[] = {"original", "renamed", "swapped"};
    static struct golden_outcome first, other;

    (void)state;
    golden_run(&rig, "diffusers", &first);
    for (int i = 0; i < 3; i++) {
        golden_run(&rig, models[i], &other);
        assert_memory_equal(first.latents, other.latents, sizeof(first.latents));
        assert_memory_equal(first.pixels, other.pixels, sizeof(first.pixels));
        if (i > 0)
            assert_string_equal(first.digest, other.digest);
    }
}

/* Two segments with a lag, chained in latents, the shared frames noised. */
static void long_video_equals_reference(void **state)
{
    double error;

    (void)state;
    error = golden_long_error(&rig);
    print_message("long video: relative L2 %.2e\n", error);
    assert_true(error <= TOL_SAMPLED_LATENT);
}

/* ---- allocations ----------------------------------------------------------------- */

/* Count from the end of the first row to the end of the last. */
static void between_rows(void *ctx, const struct pipeline_progress *at)
{
    int *rows = ctx;

    if (at->stage != STAGE_DENOISE)
        return;
    *rows += 1;
    counting = at->step < at->steps;
}

static void count_run(const char *model, struct job *job)
{
    int rows = 0;
    struct pipeline_events events = {.ctx = &rows, .progress = between_rows};
    char video[512];

    snprintf(video, sizeof(video), "%s", scratch_path(&rig.dir, "video.y4m"));
    job->output = video;
    allocations = 0;
    golden_job_run(&rig, model, job, &events);
    print_message("%s: %d allocations in %d rows\n", model, allocations, rows);
    assert_true(rows >= job->inference_steps);
    assert_int_equal(allocations, 0);
}

/* Three snapshots, and an image and a second reading while one is saved: each has four
 * arrays of the solver's state and two texts. A run that goes on holds what it began
 * with, a video of several segments those that are finished. */
static void checkpoints_are_planned(void **state)
{
    struct engine_options o = {
        .backend = (char[]){"cpu"}, .threads = 2, .vae_chunk = 1};
    struct job job = golden_job();
    struct pipeline_plan plain, resumed, many;
    const struct dit_config *dit;
    struct err e = ERR_INIT;
    struct pipeline *p;
    size_t latent, texts;

    (void)state;
    job.num_frames = 17;
    assert_int_equal(world_open(&o.world, &e), ST_OK);
    o.model = (char *)(uintptr_t)scratch_path(&rig.dir, "forcing");
    assert_int_equal(pipeline_open(&o, &p, &e), ST_OK);
    dit = pipeline_dit(p);
    assert_int_equal(pipeline_plan(p, &job, &plain, &e), ST_OK);
    latent = sizeof(float) *
             (size_t)(dit->out_channels * plain.latent_height * plain.latent_width);
    texts = 2 * sizeof(float) * (size_t)(dit->text_len * dit->text_dim);
    assert_int_equal(plain.latent_frames, 5);
    assert_int_equal(plain.checkpoint_bytes, 5 * (4 * 5 * latent + texts) + 5 * latent);
    assert_true(plain.kept_bytes > plain.checkpoint_bytes);
    job.resumed = true;
    assert_int_equal(pipeline_plan(p, &job, &resumed, &e), ST_OK);
    assert_int_equal(resumed.checkpoint_bytes - plain.checkpoint_bytes,
                     4 * 5 * latent + texts);
    job.resumed = false;
    job.num_frames = 29;
    job.base_num_frames = 17;
    job.overlap_history = 5;
    assert_int_equal(pipeline_plan(p, &job, &many, &e), ST_OK);
    assert_int_equal(many.latent_frames, 8);
    assert_int_equal(many.checkpoint_bytes, 5 * ((4 * 5 + 8) * latent + texts));
    pipeline_close(p);
    world_close(o.world);
}

static void sampling_does_not_allocate(void **state)
{
    struct job plain = golden_job(), forcing = golden_job();

    (void)state;
    if (!COUNTS_ALLOCATIONS)
        skip();
    plain.inference_steps = 10;
    count_run("original", &plain);
    forcing.num_frames = 21;
    forcing.fps = 24;
    forcing.ar_step = 2;
    forcing.causal_block_size = 2;
    count_run("forcing", &forcing);
}

/* The prefix of a later segment draws noise in every row. */
static int segment_of_count;

static void between_rows_of_last_segment(void *ctx, const struct pipeline_progress *at)
{
    int *rows = ctx;

    if (at->stage != STAGE_DENOISE || at->segment + 1 < at->segments)
        return;
    *rows += 1;
    segment_of_count = at->segment;
    counting = at->step < at->steps;
}

static void noised_prefix_does_not_allocate(void **state)
{
    int rows = 0;
    struct pipeline_events events = {.ctx = &rows,
                                     .progress = between_rows_of_last_segment};
    struct job job = golden_job();
    char video[512];

    (void)state;
    if (!COUNTS_ALLOCATIONS)
        skip();
    snprintf(video, sizeof(video), "%s", scratch_path(&rig.dir, "video.y4m"));
    job.output = video;
    job.num_frames = 29;
    job.base_num_frames = 17;
    job.overlap_history = 5;
    job.addnoise_condition = 20;
    job.fps = 24;
    for (int rng = 0; rng < 2; rng++) {
        job.rng = rng;
        allocations = 0;
        golden_job_run(&rig, "forcing", &job, &events);
        assert_int_equal(segment_of_count, 1);
        assert_int_equal(allocations, 0);
    }
    assert_true(rows >= 2 * job.inference_steps);
}

static int scratch_make(void **state)
{
    *state = &rig.dir;
    scratch_create(&rig.dir);
    models_make();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_reference),
        cmocka_unit_test(layouts_and_names_do_not_matter),
        cmocka_unit_test(long_video_equals_reference),
        cmocka_unit_test(checkpoints_are_planned),
        cmocka_unit_test(sampling_does_not_allocate),
        cmocka_unit_test(noised_prefix_does_not_allocate),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, scratch_make, scratch_drop);
}
