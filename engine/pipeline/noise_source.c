/* noise_source.c - draws, reads and saves noise under the names of the file layout */
#include "engine/pipeline/noise_source.h"

#include <stdio.h>
#include <string.h>

static bool leads(const struct noise_source *n)
{
    return world_facts(n->world)->rank == 0;
}

enum status noise_source_open(struct noise_source *n, struct world *world,
                              const struct job *job, struct err *e)
{
    n->world = world;
    noise_init(&n->draw, (enum noise_kind)job->rng, (uint64_t)job->seed);
    n->file = job->noise;
    n->save = NULL;
    if (!job->save_noise || !leads(n))
        return ST_OK;
    TRY(h5_create(job->save_noise, job_replaces(job), &n->save, e));
    return ST_OK;
}

enum status noise_source_commit(struct noise_source *n, struct err *e)
{
    struct h5_writer *w = n->save;

    n->save = NULL;
    if (!w)
        return ST_OK;
    return h5_commit(w, e);
}

void noise_source_abandon(struct noise_source *n)
{
    h5_abandon(n->save);
    n->save = NULL;
}

static size_t count_of(const int64_t dims[4])
{
    return (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
}

/* Read one array of these dims; *found says whether the file has it. */
static enum status array_read(const char *file, const char *name, bool optional,
                              const int64_t dims[4], float *out, bool *found,
                              struct err *e)
{
    struct h5_array a = {.path = name,
                         .rank = 4,
                         .max_count = (int64_t)count_of(dims),
                         .data = out,
                         .optional = optional};

    memcpy(a.dims, dims, 4 * sizeof(*dims));
    TRY(h5_read(file, &a, 1, NULL, 0, e));
    *found = a.found;
    return ST_OK;
}

enum status noise_source_check(const char *file, int segment, const int64_t dims[4],
                               struct err *e)
{
    char name[H5_NAME_MAX];
    bool found;

    snprintf(name, sizeof(name), "initial/%d", segment);
    return array_read(file, name, false, dims, NULL, &found, e);
}

/* The leader reads, all get it. */
static enum status array_share(struct noise_source *n, const char *name, bool optional,
                               const int64_t dims[4], float *out, bool *found,
                               struct err *e)
{
    if (leads(n))
        TRY(array_read(n->file, name, optional, dims, out, found, e));
    TRY(world_bcast(n->world, found, sizeof(*found), e));
    if (!*found)
        return ST_OK;
    return world_bcast(n->world, out, count_of(dims) * sizeof(*out), e);
}

static enum status keep(struct noise_source *n, const char *name, const int64_t dims[4],
                        const float *data, struct err *e)
{
    if (!n->save)
        return ST_OK;
    return h5_put(n->save, name, 4, dims, data, e);
}

/* Per channel the elements of whole rows of tokens from the first to the last own one:
 * they lie side by side. */
static void own_draw(const struct noise_source *n, int segment, const int64_t dims[4],
                     struct span own, float *out)
{
    int64_t plane = dims[1] * dims[2] * dims[3], row = 2 * dims[3];
    int64_t tokens = dims[3] / 2; /* of a row */
    int64_t first = own.begin / tokens * row;
    int64_t last = (own.begin + own.count + tokens - 1) / tokens * row;

    for (int64_t c = 0; c < dims[0] && own.count > 0; c++)
        noise_initial_part(&n->draw, segment, (uint64_t)(c * plane + first),
                           (size_t)(last - first), out + c * plane + first);
}

enum status noise_source_initial(struct noise_source *n, int segment,
                                 const int64_t dims[4], struct span own, float *out,
                                 struct err *e)
{
    char name[H5_NAME_MAX];
    bool found;

    snprintf(name, sizeof(name), "initial/%d", segment);
    if (n->file)
        TRY(array_share(n, name, false, dims, out, &found, e));
    else if (n->draw.kind != NOISE_PHILOX || n->save)
        noise_initial(&n->draw, segment, count_of(dims), out);
    else
        own_draw(n, segment, dims, own, out);
    return keep(n, name, dims, out, e);
}

enum status noise_source_prefix(struct noise_source *n, int segment, int row,
                                const int64_t dims[4], float *out, struct err *e)
{
    char name[H5_NAME_MAX];
    bool found = false;

    snprintf(name, sizeof(name), "prefix/%d/%d", segment, row);
    if (n->file)
        TRY(array_share(n, name, true, dims, out, &found, e));
    if (!found)
        noise_prefix(&n->draw, segment, row, count_of(dims), out);
    return keep(n, name, dims, out, e);
}
