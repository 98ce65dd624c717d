/* keep.h - a run's checkpoints: when one is due, what goes in, and where a run goes on
 *
 * Checkpoints lie in "<output>.checkpoints" (engine/checkpoint/store.h) while a run
 * lasts and go when the video has its name. A run that finds checkpoints of another
 * there refuses to start. One is saved when the text is encoded, after every finished
 * segment, when denoising is over, before a run ends early, and in between as
 * --checkpoint_every says, or after the first row that ends a minute after the last.
 *
 * The question is asked before every row, by all ranks: has any rank been told to stop,
 * is time nearly up (limit.h), and does rank 0 want a checkpoint? Rank 0 then gets
 * whole arrays into a snapshot and a thread saves it.
 *
 * A snapshot is taken before nearly every row, so that there is one to save when the
 * process must end in the middle of a row: the next one comes when 200 times what the
 * last one took has passed, so that all of them cost half a percent at most. For a 14B
 * model at 720P that is a snapshot of 114 MB per row.
 *
 * A run that goes on reads the newest checkpoint on rank 0, decodes the finished
 * segments again, and starts at the row that was not done.
 */
#ifndef ENGINE_PIPELINE_KEEP_H
#define ENGINE_PIPELINE_KEEP_H

#include <signal.h>

#include "engine/checkpoint/identity.h"
#include "engine/checkpoint/stuck.h"
#include "engine/checkpoint/writer.h"
#include "engine/dit/patch.h"
#include "engine/pipeline/embeds.h"
#include "engine/pipeline/halt.h"
#include "engine/pipeline/job.h"
#include "engine/pipeline/limit.h"

#define KEEP_SUFFIX ".checkpoints"

struct keep_events {
    void *ctx;
    void (*note)(void *ctx, const char *event, const char *text); /* may be NULL */
    const volatile sig_atomic_t *stop;                            /* may be NULL */
    struct limit limits[LIMITS];
    struct halt *halt;  /* told when the run ends by itself; may be NULL */
    const char *config; /* JSON of all that changes the bytes */
    const char *launch; /* JSON of all that the launch was told */
};

/* Why a run must end, beside the numbers of signals. */
enum { KEEP_TIME = 1000 };

/* What a row begins with: nothing, a snapshot, one that is saved, one that is saved and
 * waited for because the run ends. */
enum keep_what { KEEP_NOTHING_NOW, KEEP_SNAPSHOT, KEEP_SAVE, KEEP_LAST };

struct keep_word {
    int32_t why, what;
};

struct keep {
    struct world *world;
    const struct job *job;
    struct keep_events events;
    bool on;                 /* rank 0: checkpoints are kept */
    char *folder;            /* owned */
    struct keep_word *words; /* [world size] */
    /* where the run goes on: on every rank; (0, 0) for a new one */
    int64_t segment, row;
    int64_t at_segment, at_row; /* that is not done */
    struct stuck stuck;         /* rank 0: how restarts before this one ended */
    bool final;                 /* all segments are finished */
    char from_name[CHECKPOINT_NAME_BYTES];
    struct checkpoint from; /* rank 0; arrays are there until the run is under way */
    /* of rank 0 */
    struct checkpoint_store *store;
    struct checkpoint_writer *writer;
    struct checkpoint_identity identity;
    char *config; /* canonical, owned */
    char whole_digest[DIGEST_HEX];
    /* seconds: of this run, of the last save asked for, of the last snapshot, and what
     * it took */
    double began, last, shot, shot_seconds;
    struct checkpoint_room room; /* of a snapshot */
    int64_t rows_since;
    struct limit_times times;
    const struct limit *limit; /* that ends the run, or NULL */
    double held_seconds;       /* all snapshots so far */
    int snapshots;
    /* what does not change while the run lasts, borrowed */
    const struct embeds *embeds;
    const float *latents; /* [C, total, h, w] */
    struct latent_size whole;
    int segments;
    const char *precision, *backend, *machine, *mesh; /* machine may be NULL */
};

/* "<output>.checkpoints", without slashes between; the caller frees *out. */
enum status keep_folder(const char *output, char **out, struct err *e);

/* How far a job has come, by what lies on the disk. A video gets its name when it is
 * whole, and its checkpoints go after that: where both are there, the run may have been
 * killed in between, or an older video was to be replaced. */
enum keep_outcome {
    KEEP_NOTHING, /* neither video nor checkpoints */
    KEEP_BEGUN,   /* checkpoints, valid or not */
    KEEP_DONE,    /* the video, and no checkpoints */
};

/* Looks at names alone. Not collective. */
enum status keep_look(const char *output, enum keep_outcome *out, struct err *e);

/* Would keep_open refuse the job for what lies in its folder? Looks, makes nothing. Not
 * collective: rank 0 asks. */
enum status keep_check(const struct job *job, const char *config, struct err *e);

/* Look for checkpoints, refuse those of other jobs, read what the run goes on from.
 * keep_close is fine after a failure. Collective. */
enum status keep_open(struct keep *k, struct world *world, const struct job *job,
                      const struct keep_events *events, struct err *e);
void keep_close(struct keep *k);

/* Rank 0: does the checkpoint belong to the weights of this digest? `whole` has the
 * text encoder's too; outputs name that of the launch that encoded the text. */
enum status keep_model(struct keep *k, const char *digest, const char *whole,
                       struct err *e);

/* Rank 0, before the transformer is loaded: what a snapshot will need, gotten by the
 * writer's thread while the run goes on. */
void keep_room(struct keep *k, const struct checkpoint_room *room);

/* The text rows of the checkpoint, on rank 0. */
enum status keep_embeds(const struct keep *k, struct embeds *out, struct err *e);

/* The finished latent frames of the checkpoint to the whole video's latents, on rank 0;
 * ST_INPUT when they are not those of the segments before it. */
enum status keep_latents(const struct keep *k, float *latents, int64_t finished,
                         struct err *e);

/* Does this run go on in the middle of the segment? */
bool keep_continues(const struct keep *k, int segment);

/* Before row `row`: *why is nonzero when the run must end, *what says what comes first.
 * Collective. */
enum status keep_ask(struct keep *k, int row, enum keep_what *what, int *why,
                     struct err *e);

/* Rank 0, before anything is loaded: ST_STOPPED when there is no time for a row of the
 * `rows` ones of the segment. */
enum status keep_time(const struct keep *k, int rows, struct err *e);

/* The error of a run that ends before row `row` of `rows`. */
enum status keep_stopped(const struct keep *k, int row, int rows, struct err *e);

/* Rank 0: what a row took, with all that came before it. */
void keep_row(struct keep *k, double seconds);

/* Rank 0: the snapshot to fill for row `row` of a segment of `size`, its state arrays
 * sized when row > 0, for rows of tokens (patch.h); then send it off. */
struct keep_place {
    int segment, row, rows, prefix;
    int finished;            /* latent frames of the video that are final */
    struct latent_size size; /* of the segment */
    const struct schedule *schedule;
    const struct matrix *matrix;
};

enum status keep_begin(struct keep *k, const struct keep_place *p,
                       struct checkpoint **out, struct err *e);
enum status keep_end(struct keep *k, double seconds, enum keep_what what,
                     struct err *e);

/* Rank 0: the text rows are there, of a new run; `segment` segments of the video are
 * finished, the last of which had `rows` rows. Both are saved without waiting. */
enum status keep_encoded(struct keep *k, int rows, struct err *e);
enum status keep_finished(struct keep *k, int segment, int finished, int rows,
                          struct err *e);

/* Rank 0: a run that goes on has ended with `st`, for what `e` says. Errors that
 * another restart may run into again are counted (stuck.h), unless it was told to stop;
 * two in a row at the same row, and keep_check refuses the next. */
void keep_failed(struct keep *k, enum status st, const struct err *e);

/* Rank 0: wait until what has been asked for is saved; for a run that ends. */
enum status keep_wait(struct keep *k, struct err *e);

/* Rank 0: nothing is being saved any more; then, when the video has its name,
 * checkpoints go. */
void keep_settle(struct keep *k);
void keep_done(struct keep *k);

#endif
