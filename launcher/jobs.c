/* jobs.c - reads the job file and lays the flags over every job */
#include "launcher/jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/text.h"

enum { JOB_FILE_BYTES_MAX = 64 << 20 };

struct command_line {
    int argc;
    const char *const *argv;
};

void jobs_release(struct jobs *jobs)
{
    for (int i = 0; i < jobs->n; i++)
        settings_release(&jobs->doc[i]);
    free(jobs->doc);
    free(jobs->rest);
    memset(jobs, 0, sizeof(*jobs));
}

/* Add a job: program defaults, the object's members (NULL: none), the flags. */
static enum status job_add(struct jobs *jobs, const struct command_line *line,
                           struct json *object, struct err *e)
{
    struct settings_doc *grown;

    if (jobs->n == JOBS_MAX)
        return err_set(e, ST_USAGE, "impossible job file: more than %d jobs", JOBS_MAX);
    grown = realloc(jobs->doc, (size_t)(jobs->n + 1) * sizeof(*grown));
    if (!grown)
        return err_set(e, ST_RESOURCE, "out of memory: %d jobs", jobs->n + 1);
    jobs->doc = grown;
    TRY(settings_init(&grown[jobs->n], e));
    /* The set points into the array, which may have moved. */
    for (int i = 0; i <= jobs->n; i++)
        grown[i].set.settings = &grown[i].values;
    jobs->n++;
    if (object)
        TRY(settings_from_json(&grown[jobs->n - 1], json_root(object), e));
    return option_parse_args(&grown[jobs->n - 1].set, line->argc, line->argv,
                             jobs->rest, &jobs->n_rest, e);
}

static enum status text_add(struct jobs *jobs, const struct command_line *line,
                            const char *name, const char *text, size_t bytes,
                            struct err *e)
{
    struct json *doc;
    enum status st;

    TRY(json_parse(name, text, bytes, &JSON_LIMITS_CONFIG, &doc, e));
    st = job_add(jobs, line, doc, e);
    json_close(doc);
    return st;
}

/* Are there several jobs, one on a line? Yes, when the first line that is not blank is
 * a whole value and something comes behind it. */
static bool has_lines(const char *text, size_t bytes)
{
    size_t begin = strspn(text, " \t\r\n");
    size_t len = strcspn(text + begin, "\n");
    struct json *doc;

    if (begin + len + strspn(text + begin + len, " \t\r\n") >= bytes)
        return false;
    if (json_parse("", text + begin, len, &JSON_LIMITS_CONFIG, &doc, NULL) != ST_OK)
        return false;
    json_close(doc);
    return true;
}

static enum status lines_add(struct jobs *jobs, const struct command_line *line,
                             const char *path, const char *text, size_t bytes,
                             struct err *e)
{
    const char *end = text + bytes;
    int number = 1;

    for (; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((stop ? stop : end) - text);
        char name[ERR_TEXT_BYTES];

        snprintf(name, sizeof(name), "%s:%d", path, number);
        if (strspn(text, " \t\r") < len)
            TRY(text_add(jobs, line, name, text, len, e));
        text += len + 1;
    }
    return ST_OK;
}

static enum status file_read(const char *path, struct buf *text, struct err *e)
{
    FILE *f = fopen(path, "re");
    char part[65536];
    size_t got;
    bool failed;

    if (!f)
        return err_set(e, ST_INPUT, "cannot open job file '%s': %s", path,
                       strerror(errno));
    while ((got = fread(part, 1, sizeof(part), f)) > 0 &&
           text->len <= JOB_FILE_BYTES_MAX)
        buf_add(text, part, got);
    failed = ferror(f);
    fclose(f);
    if (failed)
        return err_set(e, ST_INPUT, "cannot read job file '%s'", path);
    if (text->len > JOB_FILE_BYTES_MAX)
        return err_set(e, ST_INPUT, "job file '%s' is longer than %d bytes", path,
                       JOB_FILE_BYTES_MAX);
    if (text->failed)
        return err_set(e, ST_RESOURCE, "out of memory: job file '%s'", path);
    return ST_OK;
}

static enum status file_add(struct jobs *jobs, struct world *w,
                            const struct command_line *line, const char *path,
                            struct err *e)
{
    struct buf text = BUF_INIT;
    enum status st = ST_OK;

    if (world_facts(w)->rank == 0)
        st = file_read(path, &text, e);
    if (st == ST_OK)
        st = text_share(w, &text, e);
    if (st == ST_OK && has_lines(buf_text(&text), text.len))
        st = lines_add(jobs, line, path, buf_text(&text), text.len, e);
    else if (st == ST_OK)
        st = text_add(jobs, line, path, buf_text(&text), text.len, e);
    buf_release(&text);
    return st;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static enum status launch_check(const struct jobs *jobs, struct err *e)
{
    const struct engine_options *first = &jobs->doc[0].values.engine;

    for (int i = 1; i < jobs->n; i++) {
        const struct engine_options *o = &jobs->doc[i].values.engine;

        if (!same_text(o->model, first->model) ||
            !same_text(o->backend, first->backend) ||
            o->precision != first->precision || o->threads != first->threads ||
            !same_text(o->mesh, first->mesh) ||
            o->guidance_degree != first->guidance_degree ||
            o->ulysses_degree != first->ulysses_degree ||
            o->ring_degree != first->ring_degree ||
            o->read_weights != first->read_weights ||
            o->convert_weights != first->convert_weights ||
            o->model_kind != first->model_kind || o->vae_chunk != first->vae_chunk ||
            !same_text(o->vae_tile, first->vae_tile) ||
            !same_text(o->vae_ranks, first->vae_ranks))
            return err_set(
                e, ST_USAGE,
                "impossible job %d: model, model_kind, backend, precision, "
                "threads, mesh, read_weights, convert_weights, vae_chunk, vae_tile and "
                "vae_ranks must be the same in all jobs of a launch",
                i + 1);
    }
    return ST_OK;
}

static enum status jobs_init(struct jobs *jobs, int argc, struct err *e)
{
    memset(jobs, 0, sizeof(*jobs));
    jobs->rest = calloc((size_t)argc + 1, sizeof(*jobs->rest));
    if (!jobs->rest)
        return err_set(e, ST_RESOURCE, "out of memory: %d arguments", argc);
    return ST_OK;
}

enum status jobs_list(const struct jobs *jobs, const struct job ***out, int *n,
                      struct err *e)
{
    const struct job **list = calloc((size_t)jobs->n + 1, sizeof(*list));

    if (!list)
        return err_set(e, ST_RESOURCE, "out of memory: %d jobs", jobs->n);
    *n = 0;
    for (int i = 0; i < jobs->n; i++) {
        if (!jobs->doc[i].values.skip)
            list[(*n)++] = &jobs->doc[i].values.job;
    }
    *out = list;
    return ST_OK;
}

enum status jobs_from_text(struct jobs *jobs, int argc, const char *const *argv,
                           const char *name, const struct buf *text, struct err *e)
{
    struct command_line line = {argc, argv};
    enum status st;

    TRY(jobs_init(jobs, argc, e));
    st = text_add(jobs, &line, name, buf_text(text), text->len, e);
    if (st != ST_OK)
        jobs_release(jobs);
    return st;
}

enum status jobs_read_file(struct jobs *jobs, struct world *w, const char *path,
                           int argc, const char *const *argv, struct err *e)
{
    struct command_line line = {argc, argv};
    enum status st;

    TRY(jobs_init(jobs, argc, e));
    st = path ? file_add(jobs, w, &line, path, e) : job_add(jobs, &line, NULL, e);
    if (st == ST_OK)
        st = launch_check(jobs, e);
    if (st != ST_OK)
        jobs_release(jobs);
    return st;
}

/* The flags alone, for what they say about the launch. */
static enum status flags_read(struct settings_doc *flags, int argc,
                              const char *const *argv, struct err *e)
{
    const char **rest = calloc((size_t)argc + 1, sizeof(*rest));
    enum status st;
    int n = 0;

    memset(flags, 0, sizeof(*flags));
    if (!rest)
        return err_set(e, ST_RESOURCE, "out of memory: %d arguments", argc);
    st = settings_init(flags, e);
    if (st == ST_OK)
        st = option_parse_args(&flags->set, argc, argv, rest, &n, e);
    free(rest);
    return st;
}

enum status jobs_read(struct jobs *jobs, struct world *w, int argc,
                      const char *const *argv, struct err *e)
{
    struct settings_doc flags;
    enum status st = flags_read(&flags, argc, argv, e);

    memset(jobs, 0, sizeof(*jobs));
    if (st == ST_OK)
        st = jobs_read_file(jobs, w, flags.values.job_file, argc, argv, e);
    settings_release(&flags);
    return st;
}
