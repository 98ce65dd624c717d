/* decode.h - latents to a video, without the transformer and the text encoder
 *
 * The end of a run alone, on the machine that wrote the latents or on another. Nothing
 * but the autoencoder is loaded. The frames are the bytes that the whole run would have
 * given, with the same backend and precision: the same segments go through the same
 * film (film.h), on as many ranks as `vae_ranks` says.
 */
#ifndef ENGINE_PIPELINE_DECODE_H
#define ENGINE_PIPELINE_DECODE_H

#include "engine/dit/patch.h"
#include "engine/pipeline/pipeline.h"

struct decode_args {
    struct world *world;
    const char *vae;                     /* what vae_file_open takes */
    const struct engine_options *engine; /* backend, precision, threads, vae_… */
    const struct job *job; /* output and its size, crf, fps, tags; segments, chain */
    bool whole;            /* the job's segments do not count: one piece */
    const char *name;      /* what errors call the latents */
    const float *x;        /* [C,N,h,w] of the whole video; on rank 0 */
    struct latent_size size;
    const char *digest, *job_json; /* for the output's tags */
};

/* ST_INPUT: the latents fit neither the autoencoder nor the job. Collective. */
enum status decode_run(const struct decode_args *a,
                       const struct pipeline_events *events, struct err *e);

#endif
