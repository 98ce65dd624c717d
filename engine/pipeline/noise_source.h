/* noise_source.h - the noise of a job: drawn, or read from a file, and kept in another
 *
 * Files are those of engine/h5/h5.h: /initial/<segment> [C,N,H,W] and, optionally,
 * /prefix/<segment>/<row> [C,P,H,W]. What a file lacks of the prefix noise is drawn.
 *
 * With several ranks each draws for itself, by element index only what its own tokens
 * need; rank 0 alone reads and writes files, and what it reads all get.
 */
#ifndef ENGINE_PIPELINE_NOISE_SOURCE_H
#define ENGINE_PIPELINE_NOISE_SOURCE_H

#include "dist/shard.h"
#include "dist/world.h"
#include "engine/h5/h5.h"
#include "engine/pipeline/job.h"

struct noise_source {
    struct world *world;
    struct noise draw;
    const char *file;       /* read from here, or NULL */
    struct h5_writer *save; /* write what was used here, or NULL */
};

/* `world` and `job` are borrowed. With save_noise the file is begun; finish or drop it
 * with noise_source_commit or noise_source_abandon. */
enum status noise_source_open(struct noise_source *n, struct world *world,
                              const struct job *job, struct err *e);
enum status noise_source_commit(struct noise_source *n, struct err *e);
void noise_source_abandon(struct noise_source *n);

/* Does the file hold a segment's noise of these dims? Looks at shapes only. */
enum status noise_source_check(const char *file, int segment, const int64_t dims[4],
                               struct err *e);

/* Fill out [C,F,H,W] (dims), at least what `own` (a span of the F * H/2 * W/2 tokens)
 * covers. Collective, both. */
enum status noise_source_initial(struct noise_source *n, int segment,
                                 const int64_t dims[4], struct span own, float *out,
                                 struct err *e);
enum status noise_source_prefix(struct noise_source *n, int segment, int row,
                                const int64_t dims[4], float *out, struct err *e);

#endif
