/* cmd_generate.c - framefleet generate: jobs to videos, weights loaded once */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/pipeline/keep.h"
#include "kernels/base/clock.h"
#include "launcher/command.h"
#include "launcher/deadline.h"
#include "launcher/generate.h"
#include "launcher/interrupt.h"
#include "launcher/outputs.h"
#include "launcher/progress.h"

static void help_print(const struct world *w)
{
    if (world_facts(w)->rank > 0)
        return;
    printf("usage: framefleet generate --model DIR --prompt TEXT [flags]\n");
    settings_help(stdout);
}

static enum status job_print(const struct settings_doc *d, const struct world *w,
                             struct err *e)
{
    struct buf text = BUF_INIT;
    struct json_out out;
    enum status st = ST_OK;

    json_out_init(&out, &text, JSON_INDENTED);
    settings_print(d, true, &out);
    if (text.failed)
        st = err_set(e, ST_RESOURCE, "out of memory: printing a job");
    else if (world_facts(w)->rank == 0)
        printf("%s\n", buf_text(&text));
    buf_release(&text);
    return st;
}

/* Fill in, check and refuse every job before the first one runs. */
static enum status jobs_check(struct jobs *jobs, struct world *w,
                              const struct pipeline *p, struct err *e)
{
    for (int i = 0; i < jobs->n; i++) {
        enum status st;

        if (jobs->doc[i].values.skip)
            continue;
        st = settings_finish(&jobs->doc[i], w, pipeline_dit(p), e);
        if (st == ST_OK)
            st = job_check(&jobs->doc[i].values.job, pipeline_dit(p), e);
        if (st != ST_OK && jobs->n > 1)
            err_prefix(e, "job %d", i + 1);
        TRY(st);
    }
    return ST_OK;
}

/* Are there checkpoints where there must be none, or those of another job? */
static enum status checkpoints_check(const struct settings_doc *d, struct err *e)
{
    struct buf json = BUF_INIT;
    struct json_out out;
    enum status st;

    json_out_init(&out, &json, JSON_COMPACT);
    settings_print(d, false, &out);
    st = keep_check(&d->values.job, buf_text(&json), e);
    buf_release(&json);
    return st;
}

/* What stands in the way of a run that does not stand in the way of printing. */
static enum status run_check(const struct jobs *jobs, const struct world *w,
                             struct pipeline *p, struct err *e)
{
    TRY(outputs_distinct(jobs, e));
    for (int i = 0; i < jobs->n; i++) {
        enum status st;

        if (jobs->doc[i].values.skip)
            continue;
        st = pipeline_check(p, &jobs->doc[i].values.job, e);
        if (st == ST_OK && world_facts(w)->rank == 0)
            st = checkpoints_check(&jobs->doc[i], e);
        if (st != ST_OK && jobs->n > 1)
            err_prefix(e, "job %d", i + 1);
        TRY(st);
    }
    return ST_OK;
}

/* Say how the ranks of a launch are laid out for a job. */
static enum status ranks_note(struct progress *progress, const struct world *w,
                              struct pipeline *p, const struct job *job, struct err *e)
{
    const struct world_facts *f = world_facts(w);
    struct pipeline_plan plan;
    char line[ERR_TEXT_BYTES];

    if (f->size == 1)
        return ST_OK;
    TRY(pipeline_plan(p, job, &plan, e));
    snprintf(line, sizeof(line), "%d ranks on %d %s, mesh %s", f->size, f->nodes,
             f->nodes == 1 ? "host" : "hosts", plan.mesh);
    progress_note(progress, "ranks", line);
    return ST_OK;
}

/* What the jobs of a launch have in common. */
struct launch {
    struct world *world;
    struct progress progress;
    struct interrupt interrupt;
    struct limit limits[LIMITS];
};

/* Says why and ends all ranks, from a thread in the middle of whatever they do. */
static void launch_end(void *ctx, const char *text)
{
    struct launch *l = ctx;
    const struct world_facts *f = world_facts(l->world);

    flockfile(stderr);
    if (f->rank == 0)
        fprintf(stderr, "%sframefleet: %s\n", l->progress.open_line ? "\n" : "", text);
    else
        fprintf(stderr, "framefleet: rank %d on %s: %s\n", f->rank, f->host, text);
    world_abort(l->world, status_exit_code(ST_STOPPED));
}

static enum status job_run(struct launch *l, struct pipeline *p,
                           const struct settings_doc *d, struct err *e)
{
    struct buf json = BUF_INIT, launch = BUF_INIT;
    struct json_out out;
    bool ends = world_facts(l->world)->rank == 0 || l->interrupt.far;
    struct pipeline_events events = {.ctx = &l->progress,
                                     .progress = progress_step,
                                     .note = progress_event,
                                     .stop = l->interrupt.signal,
                                     .stop_fd = l->interrupt.fd,
                                     .end = ends ? launch_end : NULL,
                                     .end_ctx = l,
                                     .traffic = d->values.log_json ? progress_traffic
                                                                   : NULL};
    double start = clock_seconds();
    char line[ERR_TEXT_BYTES];
    enum status st;

    memcpy(events.limits, l->limits, sizeof(events.limits));
    json_out_init(&out, &json, JSON_COMPACT);
    settings_print(d, false, &out);
    json_out_init(&out, &launch, JSON_COMPACT);
    settings_print_launch(d, &out);
    events.job_json = buf_text(&json);
    events.launch_json = buf_text(&launch);
    st = pipeline_run(p, &d->values.job, &events, e);
    buf_release(&json);
    buf_release(&launch);
    if (st == ST_OK) {
        snprintf(line, sizeof(line), "wrote %s in %.1f s", d->values.job.output,
                 clock_seconds() - start);
        progress_note(&l->progress, "done", line);
    }
    return st;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* When the launch, which began at `began`, must be over. Rank 0 decides. */
static enum status limits_read(const struct jobs *jobs, const struct world *w,
                               double began, struct limit limits[LIMITS], struct err *e)
{
    struct deadline_args a = {.get = environment,
                              .began = began,
                              .clock = clock_seconds(),
                              .max_minutes = jobs->doc[0].values.max_minutes};
    struct timespec now;

    memset(limits, 0, LIMITS * sizeof(*limits));
    if (world_facts(w)->rank > 0)
        return ST_OK;
    clock_gettime(CLOCK_REALTIME, &now);
    a.now = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    return deadline_read(&a, limits, e);
}

static enum status jobs_run(struct jobs *jobs, struct launch *l, struct pipeline *p,
                            struct err *e)
{
    enum status st;

    TRY(run_check(jobs, l->world, p, e));
    TRY(progress_open(&l->progress, world_facts(l->world)->rank == 0,
                      jobs->doc[0].values.log_json, e));
    progress_note(&l->progress, "model", pipeline_describe(p));
    st = ST_OK;
    for (int i = 0; i < jobs->n && st == ST_OK; i++) {
        if (jobs->doc[i].values.skip)
            continue;
        st = ranks_note(&l->progress, l->world, p, &jobs->doc[i].values.job, e);
        if (st == ST_OK)
            st = job_run(l, p, &jobs->doc[i], e);
        if (st != ST_OK && jobs->n > 1)
            err_prefix(e, "job %d", i + 1);
    }
    progress_close(&l->progress);
    return st;
}

enum status jobs_generate(struct jobs *jobs, struct world *w, struct err *e)
{
    struct settings *first = &jobs->doc[0].values;
    struct launch launch = {.world = w};
    const struct job **list;
    struct pipeline *p;
    enum status st;
    int n;

    settings_ranks(&jobs->doc[0], w);
    if (!first->engine.model)
        return err_set(e, ST_USAGE, "missing model: give --model DIR");
    TRY(limits_read(jobs, w, clock_seconds(), launch.limits, e));
    TRY(interrupt_watch_all(w, &launch.interrupt, e));
    TRY(jobs_list(jobs, &list, &n, e));
    first->engine.no_text = true;
    for (int i = 0; i < n; i++)
        first->engine.no_text = first->engine.no_text && !job_encodes(list[i]);
    TRY_GOTO(st, pipeline_open(&first->engine, &p, e), err_free);
    st = jobs_check(jobs, w, p, e);
    pipeline_expect(p, list, n);
    if (st == ST_OK && first->print_job) {
        for (int i = 0; i < jobs->n && st == ST_OK; i++)
            st = jobs->doc[i].values.skip ? ST_OK : job_print(&jobs->doc[i], w, e);
    } else if (st == ST_OK) {
        st = jobs_run(jobs, &launch, p, e);
    }
    pipeline_close(p);
err_free:
    free(list);
    return st;
}

/* Flags that mean nothing here are not passed over. */
static enum status flags_check(const struct jobs *jobs, struct err *e)
{
    static const char *const names[] = {"or_start", "on_existing", "accept_change"};
    const struct option_set *set = &jobs->doc[0].set;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (set->source[option_find(set, names[i])] == SOURCE_FLAG)
            return err_set(e, ST_USAGE, "'%s' is a flag of framefleet resume",
                           names[i]);
    }
    return ST_OK;
}

enum status command_generate(struct world *w, int argc, const char *const *argv,
                             struct err *e)
{
    struct jobs jobs;
    enum status st;

    TRY(jobs_read(&jobs, w, argc, argv, e));
    if (jobs.doc[0].values.help) {
        help_print(w);
        st = ST_OK;
    } else if (jobs.n_rest > 0) {
        st = err_set(e, ST_USAGE, "unexpected argument '%s': flags start with --",
                     jobs.rest[0]);
    } else {
        st = flags_check(&jobs, e);
        if (st == ST_OK)
            st = jobs_generate(&jobs, w, e);
    }
    jobs_release(&jobs);
    return st;
}
