/* tags.h - what an output says about its job, and how it is written */
#ifndef ENGINE_PIPELINE_TAGS_H
#define ENGINE_PIPELINE_TAGS_H

#include "engine/media/media.h"
#include "engine/pipeline/job.h"

enum { TAGS = 5 };

struct tags {
    struct media_tag list[TAGS];
    char seed[32];
    struct media_options options; /* for media_open; borrows the rest */
};

/* `digest` of the model and `job_json` may be NULL; texts are borrowed. */
void tags_fill(struct tags *t, const struct job *job, const char *digest,
               const char *job_json);

#endif
