/* test_pipeline.c - a job from prompt to video against the fp64 reference, in every
 * layout that a model folder may have; and no allocation between the first row and the
 * last
 *
 * The job is the golden case `pipeline` (tests/golden/README.md): prompts go through
 * cleaning, tokenizer and text encoder, noise comes from a file that the test writes,
 * latents and video are read back from the files that the run has made.
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
#include "engine/media/media.h"
#include "engine/pipeline/pipeline.h"
#include "engine/weights/safetensors.h"
#include "tests/scratch.h"
#include "tests/tolerance.h"
#include "tests/unit/dit_rig.h"

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

/* ---- model folders --------------------------------------------------------------- */

static struct scratch dir;

static void part_copy(const char *rel, const char *from)
{
    char path[512];

    snprintf(path, sizeof(path), FF_GOLDEN_DIR "/%s", from);
    scratch_copy_all(&dir, rel, path);
}

static void file_copy(const char *rel, const char *from)
{
    char path[512];

    snprintf(path, sizeof(path), FF_GOLDEN_DIR "/%s", from);
    scratch_copy(&dir, rel, path);
}

static void text_original(const char *folder)
{
    char rel[128];

    snprintf(rel, sizeof(rel), "%s/models_t5_umt5-xxl-enc-bf16.pth", folder);
    file_copy(rel, "umt5/models_t5_umt5-xxl-enc-bf16.pth");
    snprintf(rel, sizeof(rel), "%s/google/umt5-xxl/spiece.model", folder);
    file_copy(rel, "tokenizer/spiece.model");
}

static void models_make(void)
{
    part_copy("original", "dit/wan_a/original");
    file_copy("original/Wan2.1_VAE.pth", "vae/Wan2.1_VAE.pth");
    text_original("original");

    part_copy("diffusers", "model");
    part_copy("diffusers/scheduler", "model/scheduler");
    part_copy("diffusers/transformer", "dit/wan_a/transformer");
    part_copy("diffusers/text_encoder", "umt5/text_encoder");
    part_copy("diffusers/vae", "vae/vae");
    file_copy("diffusers/tokenizer/spiece.model", "tokenizer/spiece.model");

    /* diffusers' names in the original places: shards in the model's own folder */
    part_copy("renamed", "dit/wan_a/transformer");
    file_copy(
        "renamed/Wan2.1_VAE.safetensors", /* the .pth has the same values as F32 */
        "vae/vae/diffusion_pytorch_model.safetensors");
    text_original("renamed");

    /* original names in diffusers' places */
    part_copy("swapped/transformer", "dit/wan_a/original");
    part_copy("swapped/text_encoder", "umt5/text_encoder");
    part_copy("swapped/vae", "vae/vae");
    file_copy("swapped/tokenizer/spiece.model", "tokenizer/spiece.model");

    part_copy("forcing", "dit/sky_fps/original");
    file_copy("forcing/Wan2.1_VAE.pth", "vae/Wan2.1_VAE.pth");
    text_original("forcing");
}

/* ---- the golden case ------------------------------------------------------------- */

enum { FRAMES = 5, HEIGHT = 16, WIDTH = 48, RGB = 3, LATENTS = 16 * 2 * 2 * 6 };

static char prompt[] = "A cat sits on the table.";
static char negative_prompt[] =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，"
    "最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，"
    "画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走";

static void *golden_read(const char *file, const char *name, enum dtype as,
                         int64_t elements)
{
    const struct stored *t;
    struct source *s;
    struct err e = ERR_INIT;
    void *x = calloc((size_t)elements, dtype_bytes(as));

    char path[512];

    snprintf(path, sizeof(path), FF_GOLDEN_DIR "/e2e/%s.safetensors", file);
    assert_int_equal(safetensors_open(path, &s, &e), ST_OK);
    assert_int_equal(source_get(s, name, -1, NULL, &t, &e), ST_OK);
    assert_int_equal(stored_elements(t), elements);
    assert_int_equal(source_read_as(s, t, as, x, &e), ST_OK);
    source_close(s);
    return x;
}

/* The golden noise as --noise reads it. */
static void noise_write(const char *path)
{
    int64_t dims[4] = {16, 2, 2, 6};
    float *noise = golden_read("pipeline", "noise", DT_F32, LATENTS);
    struct h5_writer *w;
    struct err e = ERR_INIT;

    assert_int_equal(h5_create(path, true, &w, &e), ST_OK);
    assert_int_equal(h5_put(w, "initial/0", 4, dims, noise, &e), ST_OK);
    assert_int_equal(h5_commit(w, &e), ST_OK);
    free(noise);
}

static struct job golden_job(void)
{
    struct job job = {
        .prompt = prompt,
        .negative_prompt = negative_prompt,
        .size = {WIDTH, HEIGHT},
        .num_frames = FRAMES,
        .fps = 16,
        .inference_steps = 4,
        .seed = 1,
        .guidance_scale = 4,
        .shift = 3,
        .solver = SOLVER_UNIPC,
        .causal_block_size = 1,
        .base_num_frames = 97,
        .crf = 10,
        .force = true,
    };

    return job;
}

struct outcome {
    float latents[LATENTS];
    char digest[65];
    uint8_t pixels[FRAMES][HEIGHT * WIDTH * RGB];
};

static void latents_read(const char *path, struct outcome *o)
{
    struct h5_array a = {.path = "latents/x",
                         .rank = 4,
                         .dims = {16, 2, 2, 6},
                         .max_count = LATENTS,
                         .data = o->latents};
    struct h5_attr digest = {.object = "",
                             .name = "model_digest",
                             .kind = H5_ATTR_TEXT,
                             .text = o->digest,
                             .text_bytes = sizeof(o->digest)};
    struct err e = ERR_INIT;

    if (h5_read(path, &a, 1, &digest, 1, &e) != ST_OK)
        fail_msg("%s", e.text);
}

static void video_read(const char *path, struct outcome *o)
{
    uint8_t rest[HEIGHT * WIDTH * RGB];
    struct media_reader *r;
    struct err e = ERR_INIT;
    bool got;

    assert_int_equal(media_read_open(path, &r, &e), ST_OK);
    for (int i = 0; i < FRAMES; i++) {
        assert_int_equal(media_read_frame(r, o->pixels[i], &got, &e), ST_OK);
        assert_true(got);
    }
    assert_int_equal(media_read_frame(r, rest, &got, &e), ST_OK);
    assert_false(got);
    media_read_close(r);
}

static void job_run(const char *model, const struct job *job,
                    const struct pipeline_events *events)
{
    struct engine_options o = {
        .backend = (char[]){"cpu"}, .threads = 2, .vae_chunk = 1};
    struct pipeline *p;
    struct err e = ERR_INIT;

    if (world_open(&o.world, &e) != ST_OK)
        fail_msg("%s", e.text);
    o.model = (char *)(uintptr_t)scratch_path(&dir, model);
    if (pipeline_open(&o, &p, &e) != ST_OK ||
        job_check(job, pipeline_dit(p), &e) != ST_OK ||
        pipeline_run(p, job, events, &e) != ST_OK)
        fail_msg("%s: %s", model, e.text);
    pipeline_close(p);
    world_close(o.world);
}

static void golden_run(const char *model, struct outcome *o)
{
    struct pipeline_events none = {0};
    struct job job = golden_job();
    char noise[512], latents[512], video[512];

    snprintf(noise, sizeof(noise), "%s", scratch_path(&dir, "noise.h5"));
    snprintf(latents, sizeof(latents), "%s", scratch_path(&dir, "latents.h5"));
    snprintf(video, sizeof(video), "%s", scratch_path(&dir, "video.y4m"));
    noise_write(noise);
    job.noise = noise;
    job.save_latents = latents;
    job.output = video;
    memset(o, 0, sizeof(*o));
    job_run(model, &job, &none);
    latents_read(latents, o);
    video_read(video, o);
}

static void video_check(const struct outcome *o)
{
    int64_t values = (int64_t)RGB * FRAMES * HEIGHT * WIDTH;
    float *want = golden_read("pipeline", "video", DT_F32, values);
    int worst = 0;

    for (int64_t i = 0; i < values; i++) {
        int64_t pixel = i % (HEIGHT * WIDTH), frame = i / (HEIGHT * WIDTH) % FRAMES;
        int64_t channel = i / (HEIGHT * WIDTH * FRAMES);
        int byte = (int)((want[i] * 0.5f + 0.5f) * 255.0f);
        int off = abs(byte - o->pixels[frame][pixel * RGB + channel]);

        worst = off > worst ? off : worst;
    }
    print_message("largest difference of a colour byte: %d\n", worst);
    assert_true(worst <= TOL_YUV444_BYTE + 1); /* 1: truncated to the other side */
    free(want);
}

static void equals_reference(void **state)
{
    double *want = golden_read("pipeline", "latents", DT_F64, LATENTS);
    struct outcome o;
    double error;

    (void)state;
    golden_run("original", &o);
    error = rel_l2(o.latents, want, LATENTS);
    print_message("latents: relative L2 %.2e\n", error);
    assert_true(error <= TOL_SAMPLED_LATENT);
    video_check(&o);
    assert_int_equal(strlen(o.digest), 64);
    free(want);
}

/* The digest is that of the bytes stored: the .pth of the autoencoder, fp32 where the
 * others are bf16, gives the same video under another digest. */
static void layouts_and_names_do_not_matter(void **state)
{
    static const char *const models[] = {"original", "renamed", "swapped"};
    static struct outcome first, other;

    (void)state;
    golden_run("diffusers", &first);
    for (int i = 0; i < 3; i++) {
        golden_run(models[i], &other);
        assert_memory_equal(first.latents, other.latents, sizeof(first.latents));
        assert_memory_equal(first.pixels, other.pixels, sizeof(first.pixels));
        if (i > 0)
            assert_string_equal(first.digest, other.digest);
    }
}

/* ---- a long video ---------------------------------------------------------------- */

enum { LONG_LATENTS = 16 * 8 * 2 * 4, LONG_ROWS = 7 };

static void h5_put_golden(struct h5_writer *w, const char *as, const char *name,
                          int rank, const int64_t *dims)
{
    int64_t elements = 1;
    struct err e = ERR_INIT;
    float *x;

    for (int i = 0; i < rank; i++)
        elements *= dims[i];
    x = golden_read("forcing_long", name, DT_F32, elements);
    assert_int_equal(h5_put(w, as, rank, dims, x, &e), ST_OK);
    free(x);
}

static void long_noise_write(const char *path)
{
    int64_t dims[4] = {16, 5, 2, 4}, prefix[4] = {16, 2, 2, 4}, one = 16 * 2 * 2 * 4;
    float *rows = golden_read("forcing_long", "prefix_noise1", DT_F32, LONG_ROWS * one);
    struct h5_writer *w;
    struct err e = ERR_INIT;
    char name[64];

    assert_int_equal(h5_create(path, true, &w, &e), ST_OK);
    h5_put_golden(w, "initial/0", "noise0", 4, dims);
    h5_put_golden(w, "initial/1", "noise1", 4, dims);
    for (int row = 0; row < LONG_ROWS; row++) {
        snprintf(name, sizeof(name), "prefix/1/%d", row);
        assert_int_equal(h5_put(w, name, 4, prefix, rows + row * one, &e), ST_OK);
    }
    assert_int_equal(h5_commit(w, &e), ST_OK);
    free(rows);
}

static void long_embeds_write(const char *path)
{
    struct h5_writer *w;
    struct err e = ERR_INIT;

    assert_int_equal(h5_create(path, true, &w, &e), ST_OK);
    h5_put_golden(w, "text/cond", "cond", 2, (int64_t[]){6, 48});
    h5_put_golden(w, "text/uncond", "uncond", 2, (int64_t[]){11, 48});
    assert_int_equal(h5_commit(w, &e), ST_OK);
}

/* Two segments with a lag, chained in latents, the shared frames noised. */
static void long_video_equals_reference(void **state)
{
    double *want = golden_read("forcing_long", "latents", DT_F64, LONG_LATENTS), error;
    static float got[LONG_LATENTS];
    struct h5_array a = {.path = "latents/x",
                         .rank = 4,
                         .dims = {16, 8, 2, 4},
                         .max_count = LONG_LATENTS,
                         .data = got};
    char noise[512], embeds[512], latents[512], video[512];
    struct pipeline_events none = {0};
    struct job job = golden_job();
    struct err e = ERR_INIT;

    (void)state;
    snprintf(noise, sizeof(noise), "%s", scratch_path(&dir, "long_noise.h5"));
    snprintf(embeds, sizeof(embeds), "%s", scratch_path(&dir, "long_embeds.h5"));
    snprintf(latents, sizeof(latents), "%s", scratch_path(&dir, "long.h5"));
    snprintf(video, sizeof(video), "%s", scratch_path(&dir, "long.y4m"));
    long_noise_write(noise);
    long_embeds_write(embeds);
    job.noise = noise;
    job.embeds = embeds;
    job.save_latents = latents;
    job.output = video;
    job.size = (struct option_size){32, 16};
    job.num_frames = 29;
    job.base_num_frames = 17;
    job.overlap_history = 5;
    job.addnoise_condition = 20;
    job.ar_step = 1;
    job.fps = 24;
    job.inference_steps = 5;
    job.guidance_scale = 3;
    job.shift = 8;
    job_run("forcing", &job, &none);
    if (h5_read(latents, &a, 1, NULL, 0, &e) != ST_OK)
        fail_msg("%s", e.text);
    error = rel_l2(got, want, LONG_LATENTS);
    print_message("long video: relative L2 %.2e\n", error);
    assert_true(error <= TOL_SAMPLED_LATENT);
    free(want);
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

    snprintf(video, sizeof(video), "%s", scratch_path(&dir, "video.y4m"));
    job->output = video;
    allocations = 0;
    job_run(model, job, &events);
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
    o.model = (char *)(uintptr_t)scratch_path(&dir, "forcing");
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
    snprintf(video, sizeof(video), "%s", scratch_path(&dir, "video.y4m"));
    job.output = video;
    job.num_frames = 29;
    job.base_num_frames = 17;
    job.overlap_history = 5;
    job.addnoise_condition = 20;
    job.fps = 24;
    for (int rng = 0; rng < 2; rng++) {
        job.rng = rng;
        allocations = 0;
        job_run("forcing", &job, &events);
        assert_int_equal(segment_of_count, 1);
        assert_int_equal(allocations, 0);
    }
    assert_true(rows >= 2 * job.inference_steps);
}

static int scratch_make(void **state)
{
    (void)state;
    scratch_create(&dir);
    models_make();
    return 0;
}

static int scratch_drop(void **state)
{
    (void)state;
    scratch_remove(&dir);
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
