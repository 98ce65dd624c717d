/* film.h - finished segments to frames, and frames to the output, as they come
 *
 * Chained in latents, one decoder runs through the whole video: its caches stay from
 * segment to segment, and the frames are those that decoding everything at the end
 * would give. Chained through pixels, every segment is decoded from fresh caches, its
 * first overlap frames are dropped, and its last ones are kept as floats for the next
 * segment to encode (SkyworkAI/SkyReels-V2 pipelines/diffusion_forcing_pipeline.py).
 *
 * Cut into more tiles than there are ranks to decode them (cut.h), a segment is decoded
 * in rounds, and its frames wait in a file without a name (spool.h) until their last
 * tile is there. A video chained in latents is then decoded as one piece when all
 * segments are there: its caches would have to be kept for all tiles otherwise.
 *
 * With several ranks (crew.h) all make the same calls. Rank 0 has the latents, joins
 * the tiles of all and writes; the others give their tiles. Where a device decodes, the
 * host has nothing to do meanwhile: then (`late`) the frames of a step are gathered and
 * written while the next one is decoded.
 *
 *     TRY(film_open(&f, &args, e));
 *     for each segment
 *         TRY(film_segment(&f, arena, latent, frames, prefix, e));
 *     TRY(film_rest(&f, arena, e));    what has waited for the end
 *     TRY(film_close(&f, e));          the output gets its name
 *     film_abort(&f);                  or: nothing is left of it
 */
#ifndef ENGINE_PIPELINE_FILM_H
#define ENGINE_PIPELINE_FILM_H

#include <signal.h>

#include "engine/dit/patch.h"
#include "engine/media/media.h"
#include "engine/pipeline/crew.h"
#include "engine/pipeline/cut.h"
#include "engine/pipeline/spool.h"

struct film_args {
    struct vae *vae;
    const struct vae_config *config;
    struct queue *queue;
    struct vae_shape shape; /* of whole frames */
    struct cut cut;
    struct world *world; /* of the ranks that decode together; NULL: alone */
    int rank, ranks;     /* this one; that decode, 1 when alone */
    bool late;
    const char *path; /* of rank 0, as `media`, `whole`, `ask` and `step_done`; NULL,
                       * in one round: frames are joined and dropped */
    const struct media_options *media; /* borrowed during film_open */
    bool chained_pixels;
    int overlap_frames; /* kept for the next segment, chained_pixels only */
    bool many;          /* segments: more than one */
    struct arena *kept; /* caches that live through segments, when film_keeps */
    /* Latents of the whole video, which are all there when film_rest is called. */
    const float *whole;
    struct latent_size whole_size;
    /* Before every step: nonzero, and not ST_OK, ends the film. Both may be NULL. */
    const volatile sig_atomic_t *stop;
    enum status (*ask)(void *ctx, struct err *e);
    /* After every step with its latent frames and seconds; may be NULL. */
    void (*step_done)(void *ctx, int latents, double seconds);
    void *ctx;
};

/* A step that is decoded, and whose frames are where they were decoded. */
struct film_step {
    int round;
    int64_t latents, frames; /* 0: there is none */
    double since, until;     /* it was ordered; decoded, when it is handed over late */
};

struct film {
    struct film_args a;
    struct crew crew;
    struct vae_decode *decode; /* while caches live */
    size_t mark;               /* of the arena, where they begin */
    struct media_writer *out;
    float *frames;   /* tiles of one step, f32 [n,h,w,3] each, chained_pixels only */
    uint8_t *pixels; /* the same as u8 */
    uint8_t *joined; /* a frame of all its tiles */
    float *tail;     /* the last overlap_frames */
    size_t *bytes;   /* [world size], of a step's tiles */
    struct spool spool;
    bool spools;
    struct film_step done;
    bool begun;        /* the first frame of the round is through */
    struct walk *walk; /* of rank 0, while latents are decoded */
};

/* What decides the memory of a film. */
struct film_form {
    struct vae_shape shape;
    struct cut cut;
    bool chained_pixels;
    int overlap_frames; /* chained_pixels only */
    bool many;          /* segments: more than one */
    int rank, ranks;    /* as in film_args */
};

struct film_memory {
    size_t scratch, kept; /* arenas: one segment at a time; through all segments */
    size_t host;          /* frames on their way */
    size_t workspace;     /* of the queue */
};

/* Pure. */
enum status film_plan(const struct vae_config *config, const struct ops *ops,
                      const struct film_form *form, struct film_memory *out,
                      struct err *e);

/* Do caches live through all segments? Then they need the arena `kept`. */
bool film_keeps(const struct film_form *form);

/* Not collective. */
enum status film_open(struct film *f, const struct film_args *a, struct err *e);

/* Decode latent [C,frames,h,w] of rank 0 behind its first `prefix` latent frames and
 * write the frames. Chained through pixels the prefix is decoded too, but not written.
 * Collective over args.world. */
enum status film_segment(struct film *f, struct arena *scratch, const float *latent,
                         const struct latent_size *size, int prefix, struct err *e);

/* On rank 0: the kept frames, oldest first, encoded: latent [C,P,h,w] for the next
 * segment. Not collective. */
enum status film_encode_tail(struct film *f, struct arena *scratch, float *latent,
                             struct err *e);

/* The frames of all segments that film_segment has left for now. Collective. */
enum status film_rest(struct film *f, struct arena *scratch, struct err *e);

/* Not collective, both. */
enum status film_close(struct film *f, struct err *e);
void film_abort(struct film *f);

#endif
