/* job.h - what one generation is asked for, and what its launch runs on
 *
 * `struct job` is everything that belongs to one video; `struct engine_options` belongs
 * to the launch and is shared by all its jobs. Both are plain values: the launcher
 * fills them from flags and job files, job_check says what is impossible, the pipeline
 * trusts them. Texts are NUL-terminated UTF-8 and borrowed; NULL means not given.
 */
#ifndef ENGINE_PIPELINE_JOB_H
#define ENGINE_PIPELINE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "dist/world.h"
#include "engine/config.h"
#include "engine/sample/noise.h"
#include "engine/sample/schedule.h"
#include "engine/sample/segments.h"
#include "kernels/base/option.h"

/* How the segments of a long video hang together: the overlap is kept as latents, or
 * decoded, and encoded again (what SkyReels-V2 does). */
enum chain { CHAIN_LATENTS, CHAIN_PIXELS };

/* What the blocks compute in (precision.h), as options name it; PRECISION_AUTO is
 * exact, the nearest thing that the backend has: fp32 on the CPU. */
#define PRECISION_NAMES "auto fp32 bf16 fp8 int8 fp8_fast"
enum precision {
    PRECISION_AUTO,
    PRECISION_FP32,
    PRECISION_BF16,
    PRECISION_FP8,
    PRECISION_INT8,
    PRECISION_FP8_FAST,
};

struct job {
    char *prompt, *negative_prompt;
    struct option_size size;
    int64_t num_frames, fps;
    int64_t inference_steps, seed;
    double guidance_scale, shift;
    int solver; /* enum solver */
    int64_t ar_step, causal_block_size, base_num_frames, overlap_history;
    int64_t addnoise_condition;
    int chain; /* enum chain */
    int rng;   /* enum noise_kind */
    char *noise, *embeds;
    char *output, *save_latents, *save_embeds, *save_noise;
    int64_t crf;
    bool force;
    struct option_every checkpoint_every; /* 0: a row or a minute, the longer one */
    int64_t keep;                         /* generations of checkpoints */
    char *accept_change; /* keys that may differ from the checkpoint's; or NULL */
    bool resumed;        /* go on from a checkpoint, which has the text rows */
    char *checkpoint;    /* this file; NULL: the newest of the output's */
};

/* Which ranks read the transformer's files (engine/pipeline/reading.h). */
enum read_weights { READ_AUTO, READ_EACH, READ_NODE, READ_ONCE };

struct engine_options {
    char *model;
    char *backend;     /* NULL: the best one that is built */
    int precision;     /* enum precision */
    int model_kind;    /* 0: as the model folder says, 1: plain, 2: diffusion forcing */
    int64_t threads;   /* 0: all cores */
    int64_t vae_chunk; /* latent frames decoded at once */
    char *algorithms;  /* file of `bench --tune`, for a GPU; NULL: the program's own */
    char *vae_tile;    /* "auto", "0" or "WxH" (cut.h); NULL: auto */
    char *vae_ranks;   /* that decode: "auto" or a number (crew.h); NULL: auto */
    double memory_limit; /* GiB that a plan may take; 0: what is free */
    bool no_text;        /* every job brings its text rows: no text encoder is needed */
    struct world *world; /* the ranks that work together, borrowed */
    char *mesh;          /* "g2u4r1", any part may be missing; NULL: chosen */
    int64_t plan_ranks;  /* plan for so many ranks; 0: those of the world */
    int64_t guidance_degree, ulysses_degree, ring_degree; /* 0: chosen */

    int read_weights;    /* enum read_weights */
    int convert_weights; /* enum weights_way (engine/weights/weights.h) */
};

/* May outputs that exist be replaced? When forced; and by a resumed run, because the
 * run that it goes on from may have been killed after it had named some of them. */
bool job_replaces(const struct job *job);

/* Are its prompts encoded, or do its text rows come from a file? */
bool job_encodes(const struct job *job);

/* Are there two texts, a prompt and a negative one? */
bool job_guided(const struct job *job);

/* Everything about a job that can be wrong without looking at weights: size, frame
 * counts, segments, lag, step counts. ST_USAGE with what would be possible. */
enum status job_check(const struct job *job, const struct dit_config *dit,
                      struct err *e);

/* The windows of this job (see segments.h); released by the caller. */
enum status job_segments(const struct job *job, struct segments *out, struct err *e);

#endif
