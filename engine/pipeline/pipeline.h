/* pipeline.h - from a job to a video: encode text, denoise segment by segment, decode
 *
 *     TRY(pipeline_open(&engine, &p, e));             opens the backend, reads headers
 *     pipeline_expect(p, jobs, n);                    all jobs that are to come
 *     TRY(pipeline_plan(p, jobs[0], &plan, e));       bytes and work, nothing loaded
 *     TRY(pipeline_check(p, jobs[0], e));             refusals, nothing loaded
 *     TRY(pipeline_run(p, jobs[0], &events, e));      loads weights on first use
 *     TRY(pipeline_run(p, jobs[1], &events, e));      weights are there already
 *     pipeline_close(p);
 *
 * The first run encodes the prompts of all jobs that are expected, and gives the text
 * encoder's memory back before it loads transformer and VAE: the peak is the larger of
 * the two (texts.h). Several jobs in one launch give the bytes that separate launches
 * give. Each finished segment is decoded and appended to the output at once. A run that
 * fails or is stopped leaves no output behind.
 *
 * Every rank of the world makes the same calls with the same jobs; rank 0 reads and
 * writes. Same bytes for any number of ranks, unless a ring is asked for.
 */
#ifndef ENGINE_PIPELINE_PIPELINE_H
#define ENGINE_PIPELINE_PIPELINE_H

#include <signal.h>

#include "dist/mesh.h"
#include "engine/pipeline/cut.h"
#include "engine/pipeline/job.h"
#include "engine/pipeline/limit.h"

struct pipeline;
struct spread_traffic; /* spread.h */

enum pipeline_stage {
    STAGE_LOAD,    /* weights */
    STAGE_ENCODE,  /* text */
    STAGE_DENOISE, /* one step of this stage is one row of the timestep matrix */
    STAGE_DECODE,  /* one step is one chunk of latent frames */
};

/* Where a run is. Steps count over all segments of the job. */
struct pipeline_progress {
    enum pipeline_stage stage;
    int segment, segments;
    int step, steps;     /* steps of this stage that are done, and all of them */
    double step_seconds; /* what the last step took */
};

struct pipeline_events {
    void *ctx;
    void (*progress)(void *ctx, const struct pipeline_progress *p); /* may be NULL */
    /* Asked between steps; nonzero ends the run with ST_STOPPED. May be NULL. */
    const volatile sig_atomic_t *stop;
    /* What cannot wait so long (halt.h): an eventfd that is readable when `stop` has
     * been set, and what then says `text` and ends all ranks. NULL: it waits. */
    int stop_fd;
    void (*end)(void *end_ctx, const char *text);
    void *end_ctx;
    struct limit limits[LIMITS]; /* when to stop unasked; rank 0 looks at them */
    const char *job_json;    /* goes into the metadata of the output; may be NULL. It is
                              * also what a checkpoint must have been written for. */
    const char *launch_json; /* kept in checkpoints for `resume`; may be NULL */
    void (*note)(void *ctx, const char *event, const char *text); /* may be NULL */
    /* After every row, what each rank has sent and waited for in it. NULL: it is not
     * collected; on one rank NULL or not, on all. */
    void (*traffic)(void *ctx, const struct spread_traffic *ranks, int n);
};

/* Open the model folder and the backend; no weights yet. */
enum status pipeline_open(const struct engine_options *opt, struct pipeline **out,
                          struct err *e);
void pipeline_close(struct pipeline *p);

/* The transformer's configuration, for the family's defaults, and one line that says
 * what the model is and what will run it. Valid until pipeline_close. */
const struct dit_config *pipeline_dit(const struct pipeline *p);
const char *pipeline_describe(const struct pipeline *p);

/* Say which jobs will be run; the list and its jobs are borrowed until pipeline_close.
 * A launch that says nothing runs one: a later one with other prompts loads the text
 * encoder again, beside the rest, which no plan counts. Not collective. */
void pipeline_expect(struct pipeline *p, const struct job *const *jobs, int n);

/* What a job needs, from headers alone; activations are those of rank 0. */
struct pipeline_plan {
    int ranks;
    char mesh[MESH_TEXT_BYTES];

    int64_t latent_frames, latent_height, latent_width;
    int64_t tokens; /* of the longest segment */
    int segments, rows, forwards;
    double forward_flop, decode_flop; /* one forward; the whole decoding */
    size_t weight_bytes[3];           /* transformer, text encoder, VAE */
    bool text_stays;                  /* the text encoder: texts.h */
    size_t encode_bytes, denoise_bytes, decode_bytes; /* activations of each phase */
    int64_t tile_height, tile_width;                  /* decoded at once, in pixels */
    int tiles;
    char cut[CUT_TEXT_BYTES];
    int decode_ranks;        /* that decode together */
    double decode_share;     /* work of the busiest, of that of whole frames on one; 0:
                              * not worked out */
    size_t checkpoint_bytes; /* snapshots, and what saving one takes */
    size_t kept_bytes;       /* what lives through phases: caches, latents, frames, and
                              * checkpoints */
    size_t host_bytes;       /* of these, what is the host's in any case */
    size_t text_bytes;       /* while text is encoded, before anything else is there;
                              * 0: it comes from a file, or the encoder stays */
    size_t run_bytes;        /* from then on */
    size_t peak_bytes;       /* the larger of the two */
};

enum status pipeline_plan(struct pipeline *p, const struct job *job,
                          struct pipeline_plan *out, struct err *e);

/* What one rank of a launch holds and sends. On the host weights are there once per
 * machine, on a device once per rank. */
struct pipeline_rank_plan {
    int64_t tokens, heads; /* of the longest segment; in attention */
    size_t activation_bytes;
    size_t decode_bytes;   /* of them, that decoding takes; 0: it does not decode */
    size_t weight_bytes;   /* on a device: its own, of the parts of the model it runs,
                            * without a text encoder that is dropped */
    size_t text_bytes;     /* on a device: encoder and activations, before all that */
    size_t exchange_bytes; /* on a device: buffers of the transport, estimated */
    size_t device_bytes;   /* these with text, or weights and activations, whichever
                            * is more; 0 on the host */
    size_t sent_bytes;     /* per row of the timestep matrix, to other ranks */
    int64_t messages;
};

enum status pipeline_plan_rank(struct pipeline *p, const struct job *job, int rank,
                               struct pipeline_rank_plan *out, struct err *e);

/* All that can be said against a job without loading weights: what is impossible
 * (job_check), outputs that are there or cannot be made, input files of other shapes,
 * memory that is not there (ST_RESOURCE with what would fit). Makes no file. */
enum status pipeline_check(struct pipeline *p, const struct job *job, struct err *e);

/* The last of these alone, for a plan: does the job fit into what is free of the
 * device, or into engine_options.memory_limit? On a host without a limit anything does.
 */
enum status pipeline_check_memory(struct pipeline *p, const struct job *job,
                                  struct err *e);

/* Run one checked job (pipeline_check). All ranks return the same. Collective. */
enum status pipeline_run(struct pipeline *p, const struct job *job,
                         const struct pipeline_events *events, struct err *e);

#endif
