/* golden_rig.c - puts tiny models together and runs the golden jobs on them */
#include "tests/unit/golden_rig.h"

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
#include "engine/weights/safetensors.h"
#include "tests/unit/dit_rig.h"

/* ---- folders --------------------------------------------------------------------- */

void golden_copy(const struct scratch *dir, const char *rel, const char *from)
{
    char path[512];

    snprintf(path, sizeof(path), FF_GOLDEN_DIR "/%s", from);
    scratch_copy(dir, rel, path);
}

void golden_copy_all(const struct scratch *dir, const char *rel, const char *from)
{
    char path[512];

    snprintf(path, sizeof(path), FF_GOLDEN_DIR "/%s", from);
    scratch_copy_all(dir, rel, path);
}

void golden_text(const struct scratch *dir, const char *folder)
{
    char rel[128];

    snprintf(rel, sizeof(rel), "%s/models_t5_umt5-xxl-enc-bf16.pth", folder);
    golden_copy(dir, rel, "umt5/models_t5_umt5-xxl-enc-bf16.pth");
    snprintf(rel, sizeof(rel), "%s/google/umt5-xxl/spiece.model", folder);
    golden_copy(dir, rel, "tokenizer/spiece.model");
}

void golden_folder(const struct golden_rig *r, const char *folder, const char *dit)
{
    char rel[128];

    golden_copy_all(&r->dir, folder, dit);
    snprintf(rel, sizeof(rel), "%s/Wan2.1_VAE.pth", folder);
    golden_copy(&r->dir, rel, "vae/Wan2.1_VAE.pth");
    golden_text(&r->dir, folder);
}

/* ---- the case `pipeline` --------------------------------------------------------- */

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
    float *noise = golden_read("pipeline", "noise", DT_F32, GOLDEN_LATENTS);
    struct h5_writer *w;
    struct err e = ERR_INIT;

    assert_int_equal(h5_create(path, true, &w, &e), ST_OK);
    assert_int_equal(h5_put(w, "initial/0", 4, dims, noise, &e), ST_OK);
    assert_int_equal(h5_commit(w, &e), ST_OK);
    free(noise);
}

struct job golden_job(void)
{
    struct job job = {
        .prompt = prompt,
        .negative_prompt = negative_prompt,
        .size = {GOLDEN_WIDTH, GOLDEN_HEIGHT},
        .num_frames = GOLDEN_FRAMES,
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

static void latents_read(const char *path, struct golden_outcome *o)
{
    struct h5_array a = {.path = "latents/x",
                         .rank = 4,
                         .dims = {16, 2, 2, 6},
                         .max_count = GOLDEN_LATENTS,
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

static void video_read(const char *path, struct golden_outcome *o)
{
    uint8_t rest[GOLDEN_HEIGHT * GOLDEN_WIDTH * GOLDEN_RGB];
    struct media_reader *r;
    struct err e = ERR_INIT;
    bool got;

    assert_int_equal(media_read_open(path, &r, &e), ST_OK);
    for (int i = 0; i < GOLDEN_FRAMES; i++) {
        assert_int_equal(media_read_frame(r, o->pixels[i], &got, &e), ST_OK);
        assert_true(got);
    }
    assert_int_equal(media_read_frame(r, rest, &got, &e), ST_OK);
    assert_false(got);
    media_read_close(r);
}

void golden_job_run(const struct golden_rig *r, const char *folder,
                    const struct job *job, const struct pipeline_events *events)
{
    char backend[40];
    struct engine_options o = {
        .backend = backend, .precision = r->precision, .threads = 2, .vae_chunk = 1};
    struct pipeline *p;
    struct err e = ERR_INIT;

    snprintf(backend, sizeof(backend), "%s", r->backend);
    if (world_open(&o.world, &e) != ST_OK)
        fail_msg("%s", e.text);
    o.model = (char *)(uintptr_t)scratch_path(&r->dir, folder);
    if (pipeline_open(&o, &p, &e) != ST_OK ||
        job_check(job, pipeline_dit(p), &e) != ST_OK ||
        pipeline_run(p, job, events, &e) != ST_OK)
        fail_msg("%s: %s", folder, e.text);
    pipeline_close(p);
    world_close(o.world);
}

void golden_run(const struct golden_rig *r, const char *folder,
                struct golden_outcome *o)
{
    struct pipeline_events none = {0};
    struct job job = golden_job();
    char noise[512], latents[512], video[512];

    snprintf(noise, sizeof(noise), "%s", scratch_path(&r->dir, "noise.h5"));
    snprintf(latents, sizeof(latents), "%s", scratch_path(&r->dir, "latents.h5"));
    snprintf(video, sizeof(video), "%s", scratch_path(&r->dir, "video.y4m"));
    noise_write(noise);
    job.noise = noise;
    job.save_latents = latents;
    job.output = video;
    memset(o, 0, sizeof(*o));
    golden_job_run(r, folder, &job, &none);
    latents_read(latents, o);
    video_read(video, o);
}

double golden_latent_error(const struct golden_outcome *o)
{
    double *want = golden_read("pipeline", "latents", DT_F64, GOLDEN_LATENTS);
    double error = rel_l2(o->latents, want, GOLDEN_LATENTS);

    free(want);
    return error;
}

int golden_video_error(const struct golden_outcome *o)
{
    enum { PIXELS = GOLDEN_HEIGHT * GOLDEN_WIDTH };
    int64_t values = (int64_t)GOLDEN_RGB * GOLDEN_FRAMES * PIXELS;
    float *want = golden_read("pipeline", "video", DT_F32, values);
    int worst = 0;

    for (int64_t i = 0; i < values; i++) {
        int64_t pixel = i % PIXELS, frame = i / PIXELS % GOLDEN_FRAMES;
        int64_t channel = i / (PIXELS * GOLDEN_FRAMES);
        int byte = (int)((want[i] * 0.5f + 0.5f) * 255.0f);
        int off = abs(byte - o->pixels[frame][pixel * GOLDEN_RGB + channel]);

        worst = off > worst ? off : worst;
    }
    free(want);
    return worst;
}

/* ---- the case `forcing_long` ----------------------------------------------------- */

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

double golden_long_error(const struct golden_rig *r)
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

    snprintf(noise, sizeof(noise), "%s", scratch_path(&r->dir, "long_noise.h5"));
    snprintf(embeds, sizeof(embeds), "%s", scratch_path(&r->dir, "long_embeds.h5"));
    snprintf(latents, sizeof(latents), "%s", scratch_path(&r->dir, "long.h5"));
    snprintf(video, sizeof(video), "%s", scratch_path(&r->dir, "long.y4m"));
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
    golden_job_run(r, "forcing", &job, &none);
    if (h5_read(latents, &a, 1, NULL, 0, &e) != ST_OK)
        fail_msg("%s", e.text);
    error = rel_l2(got, want, LONG_LATENTS);
    free(want);
    return error;
}
