/* inside.h - what the files of this folder share: the pipeline, a run, its plan
 *
 * Private to engine/pipeline. A pipeline lives for a launch: model, backend, weights. A
 * run lives for a job: memory, text rows, contexts, outputs.
 */
#ifndef ENGINE_PIPELINE_INSIDE_H
#define ENGINE_PIPELINE_INSIDE_H

#include "engine/dit/plan.h"
#include "engine/pipeline/denoise.h"
#include "engine/pipeline/embeds.h"
#include "engine/pipeline/film.h"
#include "engine/pipeline/keep.h"
#include "engine/pipeline/pipeline.h"
#include "engine/pipeline/precision.h"
#include "engine/pipeline/reading.h"
#include "engine/pipeline/spread.h"
#include "engine/pipeline/texts.h"
#include "engine/text/tokenizer.h"
#include "engine/weights/model.h"

enum { DESCRIBE_BYTES = 512 };

struct pipeline {
    struct world *world;
    int plan_ranks;
    struct mesh_wish wish;  /* `mesh` owned */
    struct reading reading; /* of the transformer's weights */
    struct share vae_share; /* of the VAE's, when several ranks decode */
    int reading_threads;    /* 0: all cores, as the other ranks of the machine wait */
    struct ops *ops;
    struct model *model;
    const struct precision_choice *choice;
    const struct dit_precision *precision; /* of it */
    enum dtype act;                        /* of the text encoder and the VAE */
    int64_t vae_chunk;
    struct cut_wish cut;
    int vae_ranks; /* that decode together */
    size_t memory; /* in the backend's space that a plan may take: what was free when
                    * the pipeline was opened, and no more than the launch allows */
    bool limited;  /* the launch said so */
    struct weights *store[MODEL_PARTS];
    bool loaded[MODEL_PARTS]; /* is there now */
    bool summed[MODEL_PARTS]; /* is or was: its checksums are known */
    int load_step;            /* parts that the run at hand has loaded so far */
    struct texts texts;
    struct dit *dit;
    struct vae *vae;
    struct tokenizer *tokenizer;
    char describe[DESCRIBE_BYTES];
    char digest[65];      /* of the weights that are or were loaded, hex */
    char kept_digest[65]; /* without the text encoder's: of a job that brings its rows,
                           * and what a resume needs */
};

/* Load the transformer and, on ranks that decode, the VAE, and build both; what is
 * loaded stays. The text encoder comes before, by texts_get. Collective. */
enum status pipeline_load(struct pipeline *p, const struct pipeline_events *events,
                          struct err *e);

/* Load a part that is not there and say so. The text encoder's are not collective. */
enum status pipeline_part(struct pipeline *p, enum model_part part,
                          const struct pipeline_events *events, struct err *e);

/* ---- plan ------------------------------------------------------------------------ */

/* Sizes of a job in latents. */
struct geometry {
    struct segments segments;
    int64_t height, width; /* latent */
    int64_t longest;       /* latent frames of the longest segment */
    int rows;              /* of all segments together */
    bool guided, chained_pixels;
    struct mesh mesh;
    struct seqpar_group group; /* that this rank shares its branch's tokens with */
    int rank;                  /* this one */
    bool leads;                /* it is rank 0: it encodes and writes too */
    struct cut cut;            /* of the frames */
};

/* The mesh is chosen for `ranks` ranks, of which this is the first until
 * geometry_rank. */
enum status geometry_init(struct geometry *g, const struct pipeline *p,
                          const struct job *job, int ranks, struct err *e);
void geometry_rank(struct geometry *g, int rank, struct seqpar_group group);
void geometry_release(struct geometry *g);

/* Shape of a segment of `frames` latent frames with prompts of at most `text_rows`
 * rows. */
struct dit_shape geometry_shape(const struct pipeline *p, const struct geometry *g,
                                const struct job *job, int64_t frames,
                                int64_t text_rows);

/* Memory of a run, in bytes; `text_rows`: tokens of the longest prompt. */
struct run_memory {
    size_t scratch; /* phases take turns */
    size_t kept;    /* contexts, and the decoder's caches of a long video */
    size_t host;    /* latents, frames, checkpoints and texts, beside the arenas */
    size_t checkpoints, texts;
    size_t workspace;                /* of the queue */
    size_t encode, encode_workspace; /* of the text encoder, before all of these */
    size_t denoise, decode;
};

enum status run_memory_plan(struct pipeline *p, const struct geometry *g,
                            const struct job *job, int64_t text_rows,
                            struct run_memory *out, struct err *e);

/* Memory of a snapshot of the run, with prompts of at most `text_rows` rows. */
struct checkpoint_room run_room(const struct pipeline *p, const struct geometry *g,
                                int64_t text_rows);

/* pipeline_plan and pipeline_plan_rank with this cut. */
enum status pipeline_plan_cut(struct pipeline *p, const struct job *job,
                              const struct cut *cut, struct pipeline_plan *out,
                              struct err *e);
enum status pipeline_plan_rank_cut(struct pipeline *p, const struct job *job, int rank,
                                   const struct cut *cut,
                                   struct pipeline_rank_plan *out, struct err *e);

/* How the frames of a job are cut: as it was told, or whole, or in a strip per rank,
 * where that fits into the memory that was free, else in the largest tiles that do. */
enum status pipeline_cut(struct pipeline *p, const struct job *job, struct cut *out,
                         struct err *e);

struct vae_shape vae_shape_of(const struct pipeline *p, const struct job *job);

/* How many ranks a pass over the frames of `g` keeps busy; what `g.rank` decodes. */
struct film_form geometry_film(const struct pipeline *p, const struct geometry *g,
                               const struct job *job);

#endif
