/* tags.c - a job as metadata */
#include "engine/pipeline/tags.h"

#include <stdio.h>

static const char *given(const char *text)
{
    return text ? text : "";
}

void tags_fill(struct tags *t, const struct job *job, const char *digest,
               const char *job_json)
{
    snprintf(t->seed, sizeof(t->seed), "%lld", (long long)job->seed);
    t->list[0] = (struct media_tag){"title", given(job->prompt)};
    t->list[1] = (struct media_tag){"prompt", given(job->prompt)};
    t->list[2] = (struct media_tag){"seed", t->seed};
    t->list[3] = (struct media_tag){"model_digest", given(digest)};
    t->list[4] = (struct media_tag){"comment", given(job_json)};
    t->options = (struct media_options)MEDIA_OPTIONS_DEFAULT;
    t->options.width = (int)job->size.width;
    t->options.height = (int)job->size.height;
    t->options.fps_num = (int)job->fps;
    t->options.crf = (int)job->crf;
    t->options.force = job_replaces(job);
    t->options.tags = t->list;
    t->options.n_tags = TAGS;
}
