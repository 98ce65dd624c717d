/* outputs.c - sorts the names of all outputs and looks at neighbours */
#include "launcher/outputs.h"

#include <stdlib.h>
#include <string.h>

enum { KINDS = 4 };

struct output_name {
    const char *path, *option;
    int job;
};

static int by_path(const void *a, const void *b)
{
    const struct output_name *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    return order ? order : x->job - y->job;
}

static int names_of(const struct job *job, int number, struct output_name *out)
{
    const struct output_name all[KINDS] = {
        {job->output, "output", number},
        {job->save_latents, "save_latents", number},
        {job->save_embeds, "save_embeds", number},
        {job->save_noise, "save_noise", number},
    };
    int n = 0;

    for (int i = 0; i < KINDS; i++) {
        if (all[i].path)
            out[n++] = all[i];
    }
    return n;
}

enum status outputs_distinct(const struct jobs *jobs, struct err *e)
{
    struct output_name *names = calloc((size_t)jobs->n * KINDS, sizeof(*names));
    enum status st = ST_OK;
    int n = 0;

    if (!names)
        return err_set(e, ST_RESOURCE, "out of memory: outputs of %d jobs", jobs->n);
    for (int i = 0; i < jobs->n; i++)
        n += names_of(&jobs->doc[i].values.job, i + 1, names + n);
    qsort(names, (size_t)n, sizeof(*names), by_path);
    for (int i = 1; i < n && st == ST_OK; i++) {
        const struct output_name *a = &names[i - 1], *b = &names[i];

        if (strcmp(a->path, b->path) == 0)
            st = err_set(e, ST_USAGE,
                         "impossible output '%s': it is %s of job %d and %s of job %d",
                         a->path, a->option, a->job, b->option, b->job);
    }
    free(names);
    return st;
}
