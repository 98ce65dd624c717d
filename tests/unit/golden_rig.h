/* golden_rig.h - complete tiny models, and the golden jobs that run on them
 *
 * The models are pieces of tests/golden/data put into one folder
 * (tests/golden/README.md, "A complete model folder"). The jobs are its cases
 * `pipeline` and `forcing_long`: prompts go through cleaning, tokenizer and text
 * encoder (or rows come from a file), noise comes from a file that the rig writes,
 * latents and video are read back from the files that the run has made. Failures
 * assert.
 *
 *     struct golden_rig rig = {.backend = "cpu", .precision = PRECISION_FP32};
 *     scratch_create(&rig.dir);
 *     golden_folder(&rig, "original", "dit/wan_a/original");
 *     golden_run(&rig, "original", &o);
 *     … golden_latent_error(&o) …
 *     scratch_remove(&rig.dir);
 */
#ifndef TESTS_UNIT_GOLDEN_RIG_H
#define TESTS_UNIT_GOLDEN_RIG_H

#include "engine/pipeline/pipeline.h"
#include "tests/scratch.h"

struct golden_rig {
    struct scratch dir; /* of model folders and results */
    const char *backend;
    enum precision precision;
};

/* ---- folders --------------------------------------------------------------------- */

/* Copy a file, or all files of a folder, of tests/golden/data. */
void golden_copy(const struct scratch *dir, const char *rel, const char *from);
void golden_copy_all(const struct scratch *dir, const char *rel, const char *from);

/* Text encoder and tokenizer in the original layout. */
void golden_text(const struct scratch *dir, const char *folder);

/* A complete model in the original layout around the transformer in `dit`. */
void golden_folder(const struct golden_rig *r, const char *folder, const char *dit);

/* ---- jobs ------------------------------------------------------------------------ */

enum {
    GOLDEN_FRAMES = 5,
    GOLDEN_HEIGHT = 16,
    GOLDEN_WIDTH = 48,
    GOLDEN_RGB = 3,
    GOLDEN_LATENTS = 16 * 2 * 2 * 6
};

struct golden_outcome {
    float latents[GOLDEN_LATENTS];
    char digest[65];
    uint8_t pixels[GOLDEN_FRAMES][GOLDEN_HEIGHT * GOLDEN_WIDTH * GOLDEN_RGB];
};

/* The case `pipeline` but its noise and outputs. */
struct job golden_job(void);

void golden_job_run(const struct golden_rig *r, const char *folder,
                    const struct job *job, const struct pipeline_events *events);

/* The case `pipeline` on a model around wan_a. */
void golden_run(const struct golden_rig *r, const char *folder,
                struct golden_outcome *o);

/* Relative L2 from the reference's latents; the largest difference of a colour byte
 * from its video. */
double golden_latent_error(const struct golden_outcome *o);
int golden_video_error(const struct golden_outcome *o);

/* The case `forcing_long` on the model in the folder `forcing`, around sky_fps;
 * relative L2 of its latents. */
double golden_long_error(const struct golden_rig *r);

#endif
