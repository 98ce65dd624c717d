/* settings.h - all that flags and job files can say, in one table
 *
 * One option table feeds the command line, the keys of JSON job files, --help and
 * --print-job. A value's source is remembered: a flag wins over the file, the file over
 * the model's own default, that over the program's.
 */
#ifndef LAUNCHER_SETTINGS_H
#define LAUNCHER_SETTINGS_H

#include "dist/world.h"
#include "engine/pipeline/job.h"
#include "kernels/base/json.h"

/* What resume does when checkpoints are there and none of them is valid. */
enum on_existing { ON_EXISTING_REFUSE, ON_EXISTING_RESTART };

struct settings {
    struct engine_options engine;
    struct job job;
    char *job_file, *prompt_file, *log_json;
    double max_minutes;    /* of the launch; 0: no limit */
    int64_t width, height; /* as separate keys; both replace job.size */
    int resolution;        /* 0: unset, 1: 480P, 2: 540P, 3: 720P */
    bool enable_cfg;       /* said to be false: guidance 1 */
    int task;
    int64_t text_len;                            /* no effect */
    char *model_cls, *self_attn, *cross_attn[2]; /* no effect */
    bool print_job, json, help;
    bool use_usp, use_cfg_parallel, use_tiling_vae, use_parallel_vae;
    bool or_start;   /* resume: start a job of which nothing is there */
    int on_existing; /* enum on_existing */
    bool skip;       /* not an option: this job of the launch is done already */
};

struct settings_doc {
    struct settings values;
    struct option_set set;
};

/* Program defaults; the caller releases. */
enum status settings_init(struct settings_doc *d, struct err *e);
void settings_release(struct settings_doc *d);

/* Take the members of one JSON object as values of rank SOURCE_FILE. Unknown keys are
 * refused with the closest known one; null and, for what is not built, false are
 * ignored. */
enum status settings_from_json(struct settings_doc *d, struct json_value object,
                               struct err *e);

/* Fill what nobody has set with the model family's own defaults (dit-and-sampling 5.6:
 * size, frames, fps, steps, shift, guidance, negative prompt), fold width, height and
 * resolution into the size, read --prompt_file, on rank 0 for all. Collective. */
enum status settings_finish(struct settings_doc *d, struct world *w,
                            const struct dit_config *dit, struct err *e);

/* The part of settings_finish that needs no model: width, height, resolution into the
 * size, enable_cfg into the guidance scale. */
enum status settings_fold(struct settings_doc *d, struct err *e);

/* Note the ranks of the launch, and what stands for guidance_degree, in the engine's
 * options. */
void settings_ranks(struct settings_doc *d, struct world *w);

/* The whole of what a job is, as one JSON object; with `sources`, every value becomes
 * {"value": …, "source": "flag"}. Paths of outputs are left out without `sources`. */
void settings_print(const struct settings_doc *d, bool sources, struct json_out *out);

/* Of what settings_print prints without sources, that which a job file or flags say. */
void settings_print_said(const struct settings_doc *d, struct json_out *out);

/* What another launch must be told to do the same: the job, paths, mesh, threads. */
void settings_print_launch(const struct settings_doc *d, struct json_out *out);

/* Has a launch that was read back anything that settings_print_launch never prints? */
enum status settings_launch_check(const struct settings_doc *d, struct err *e);

void settings_help(FILE *out);

#endif
