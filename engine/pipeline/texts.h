/* texts.h - the text rows of all jobs of a launch, encoded before the rest is loaded
 *
 * The published text encoder is 10.6 GiB, and has nothing to do once the prompts are
 * rows of at most 8 MiB. So the first run of a launch encodes the prompts of all jobs
 * that are expected (pipeline_expect), and gives the encoder's memory back before the
 * transformer's is taken: a rank 0 needs the larger of the two, not their sum.
 *
 *     first run    encoder | rows of all jobs | its memory goes | transformer, VAE …
 *     later runs   rows that are there
 *
 * Prompts of equal tokens, as the negative ones of most launches, are encoded once. A
 * prompt of a later job that cannot be made into tokens is left to that job, which
 * fails for it.
 *
 * Encoding ahead keeps the first video waiting, for 0.2 s a prompt on a GPU and half a
 * minute on a few cores, and what is encoded is lost when the launch is killed. So with
 * more than TEXTS_AHEAD jobs that encode the encoder stays: every job encodes its own
 * prompts, rows go with their job, and plans count the encoder beside everything else.
 *
 * A launch of which nothing is expected encodes what it is asked for, job by job, and
 * loads the encoder again where it must.
 *
 * Everything here is for rank 0 alone; others ask for plans only.
 */
#ifndef ENGINE_PIPELINE_TEXTS_H
#define ENGINE_PIPELINE_TEXTS_H

#include "engine/pipeline/embeds.h"
#include "engine/pipeline/job.h"
#include "engine/text/umt5.h"

enum { TEXTS_AHEAD = 32 };

struct pipeline;
struct pipeline_events;

struct text {
    int32_t *ids;            /* owned */
    struct embeds_rows rows; /* rows NULL: not encoded; n is that of ids */
};

struct texts {
    const struct job *const *jobs; /* expected, borrowed; NULL: none */
    int n_jobs;
    int prompts;                  /* texts of them, equal ones counted once */
    bool stays;                   /* the encoder */
    struct weights_policy policy; /* of its store */
    struct text *list;            /* of unlike tokens */
    int n;
};

/* Take note of the jobs that are expected. */
void texts_expect(struct texts *t, const struct job *const *jobs, int n);
void texts_release(struct texts *t);

/* Memory that encodes prompts of at most n tokens, beside the weights. Pure. */
struct texts_memory {
    size_t arena, workspace;
};
enum status texts_plan(const struct pipeline *p, int64_t n, struct texts_memory *out,
                       struct err *e);

/* The most that rows take on the host while a launch lasts. */
size_t texts_kept(const struct pipeline *p);

/* Encode what is expected and not there yet; into `out` come the rows of `job` if they
 * are encoded (job_encodes), for embeds_release. Once the own rows are there, a stop
 * that is asked for or a time limit ends encoding ahead, and is left for others to see.
 */
enum status texts_get(struct pipeline *p, const struct job *job,
                      const struct pipeline_events *events, struct embeds *out,
                      struct err *e);

#endif
