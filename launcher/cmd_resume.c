/* cmd_resume.c - framefleet resume: from what lies on the disk back to the job, and on
 *
 *     framefleet resume video.mp4                       the output
 *     framefleet resume video.mp4.checkpoints           its folder of checkpoints
 *     framefleet resume …/ck-0000-0017-i1.h5            one file
 *     framefleet resume job.json [--or_start]           a job file; --job job.json too
 *
 * A checkpoint holds all that its launch was told, so nothing has to be said again; a
 * job file is the job itself and must be the one that the checkpoints are of. Flags are
 * laid over either: ranks, threads and paths may differ, anything that would change the
 * bytes is refused with its name.
 *
 * What is there decides (keep_look): checkpoints are gone on from; a video without
 * checkpoints is done, which is said without looking at the model, unless the video
 * itself names another job; where nothing is
 * there, --or_start starts the job, and without it that is an error. Checkpoints of
 * which none is valid are an error too, unless --on_existing restart was said. The jobs
 * of one file are one launch: when any of them has been begun, the others may start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pipeline/keep.h"
#include "launcher/command.h"
#include "launcher/finished.h"
#include "launcher/generate.h"
#include "launcher/reach.h"
#include "launcher/subject.h"
#include "launcher/text.h"

struct command_line {
    int argc;
    const char *const *argv;
};

static enum status nothing_refuse(const char *output, struct err *e)
{
    return err_set(e, ST_INPUT,
                   "nothing to go on with: neither '%s' nor a checkpoint in "
                   "'%s" KEEP_SUFFIX "' is there; --or_start starts a job",
                   output, output);
}

/* ---- what becomes of one job ----------------------------------------------------- */

enum fate { FATE_START, FATE_RESUME, FATE_RESTART, FATE_DONE };

/* On rank 0: what lies there decides. */
static enum status fate_of(struct settings_doc *d, int32_t *out, struct err *e)
{
    static const int32_t fates[] = {
        [KEEP_NOTHING] = FATE_START,
        [KEEP_BEGUN] = FATE_RESUME,
        [KEEP_DONE] = FATE_DONE,
    };
    const struct settings *s = &d->values;
    struct checkpoint ck = {0};
    enum keep_outcome outcome;
    enum status st;

    TRY(keep_look(s->job.output, &outcome, e));
    *out = fates[outcome];
    if (outcome != KEEP_BEGUN)
        return outcome == KEEP_DONE ? finished_check(d, e) : ST_OK;
    st = subject_newest(s->job.output, &ck, e);
    checkpoint_release(&ck);
    if (st != ST_INPUT || s->on_existing != ON_EXISTING_RESTART)
        return st;
    fprintf(stderr,
            "starting again, as --on_existing restart says: the damaged files in "
            "'%s" KEEP_SUFFIX "' go with the first new checkpoint\n",
            s->job.output);
    *out = FATE_RESTART;
    return ST_OK;
}

static void fate_take(struct settings *s, int32_t fate)
{
    s->skip = fate == FATE_DONE;
    s->job.resumed = fate == FATE_RESUME;
    s->job.force |= fate == FATE_RESTART;
}

/* On rank 0: the fates of all jobs, and whether they are allowed. */
static enum status fates_find(const struct jobs *jobs, int32_t *fates, struct err *e)
{
    bool begun = false;

    for (int i = 0; i < jobs->n; i++) {
        enum status st = fate_of(&jobs->doc[i], &fates[i], e);

        if (st != ST_OK && jobs->n > 1)
            err_prefix(e, "job %d", i + 1);
        TRY(st);
        begun |= jobs->doc[i].values.or_start || fates[i] != FATE_START;
    }
    return begun ? ST_OK : nothing_refuse(jobs->doc[0].values.job.output, e);
}

static void done_tell(const struct jobs *jobs, const int32_t *fates)
{
    for (int i = 0; i < jobs->n; i++) {
        if (fates[i] == FATE_DONE)
            fprintf(stderr, "already done: '%s'\n", jobs->doc[i].values.job.output);
    }
}

/* Run what is left of the jobs; *left says whether anything is. Collective. */
static enum status fates_share(struct jobs *jobs, struct world *w, bool *left,
                               struct err *e)
{
    int32_t *fates = calloc((size_t)jobs->n, sizeof(*fates));
    enum status st = ST_OK;

    if (!fates)
        return err_set(e, ST_RESOURCE, "out of memory: %d jobs", jobs->n);
    if (world_facts(w)->rank == 0)
        st = fates_find(jobs, fates, e);
    if (st == ST_OK && world_facts(w)->rank == 0)
        done_tell(jobs, fates);
    if (st == ST_OK)
        st = world_bcast(w, fates, (size_t)jobs->n * sizeof(*fates), e);
    *left = false;
    for (int i = 0; i < jobs->n && st == ST_OK; i++) {
        fate_take(&jobs->doc[i].values, fates[i]);
        *left |= fates[i] != FATE_DONE;
    }
    free(fates);
    return st;
}

static enum status jobs_go_on(struct jobs *jobs, struct world *w, struct err *e)
{
    bool left;

    TRY(fates_share(jobs, w, &left, e));
    return left ? jobs_generate(jobs, w, e) : ST_OK;
}

/* ---- from a job file, or flags alone --------------------------------------------- */

static enum status file_resume(const char *path, struct world *w,
                               const struct command_line *line, struct err *e)
{
    struct jobs jobs;
    enum status st;

    TRY(jobs_read_file(&jobs, w, path, line->argc, line->argv, e));
    st = jobs_go_on(&jobs, w, e);
    jobs_release(&jobs);
    return st;
}

/* The job of an output of which there is no valid checkpoint. */
static enum status flags_resume(const struct subject *s, struct world *w,
                                const struct command_line *line, struct err *e)
{
    struct settings_doc *d;
    struct jobs jobs;
    enum status st;

    TRY(jobs_read_file(&jobs, w, NULL, line->argc, line->argv, e));
    d = &jobs.doc[0];
    st = option_assign_named(&d->set, "output", s->output, SOURCE_FILE, e);
    if (st == ST_OK)
        st = jobs_go_on(&jobs, w, e);
    jobs_release(&jobs);
    return st;
}

/* ---- from a checkpoint ----------------------------------------------------------- */

/* On rank 0: the launch that wrote the checkpoint, as JSON. */
static enum status launch_read(const struct subject *s, struct buf *text, struct err *e)
{
    struct checkpoint ck = {0};

    TRY(s->kind == SUBJECT_CHECKPOINT ? checkpoint_read(s->path, &ck, e)
                                      : subject_newest(s->output, &ck, e));
    buf_adds(text, ck.launch);
    checkpoint_release(&ck);
    if (text->failed)
        return err_set(e, ST_RESOURCE, "out of memory: the job of a checkpoint");
    return ST_OK;
}

static enum status launch_resume(const struct subject *s, struct world *w,
                                 const struct command_line *line,
                                 const struct buf *text, struct err *e)
{
    struct settings_doc *d;
    struct jobs jobs;
    enum status st = ST_OK;

    TRY(jobs_from_text(&jobs, line->argc, line->argv, "checkpoint", text, e));
    d = &jobs.doc[0];
    d->values.job.resumed = true;
    if (s->kind == SUBJECT_CHECKPOINT)
        d->values.job.checkpoint = (char *)(uintptr_t)s->path;
    else
        st = option_assign_named(&d->set, "output", s->output, SOURCE_FILE, e);
    if (st == ST_OK && world_facts(w)->rank == 0)
        st = reach_check(d, s, e);
    st = world_agree(w, st, e);
    if (st == ST_OK)
        st = jobs_generate(&jobs, w, e);
    jobs_release(&jobs);
    return st;
}

static enum status checkpoint_resume(const struct subject *s, struct world *w,
                                     const struct command_line *line, struct err *e)
{
    struct buf text = BUF_INIT;
    enum status st = ST_OK;

    if (world_facts(w)->rank == 0)
        st = launch_read(s, &text, e);
    if (st == ST_OK)
        st = text_share(w, &text, e);
    if (st == ST_OK)
        st = launch_resume(s, w, line, &text, e);
    buf_release(&text);
    return st;
}

/* ---- the command ----------------------------------------------------------------- */

/* An output: with its checkpoints it tells its job, without them the flags must. */
static enum status output_resume(const struct subject *s, const struct settings *flags,
                                 struct world *w, const struct command_line *line,
                                 struct err *e)
{
    bool restart = flags->on_existing == ON_EXISTING_RESTART && flags->engine.model;
    int32_t outcome = KEEP_NOTHING;

    if (world_facts(w)->rank == 0) {
        enum keep_outcome look;

        TRY(keep_look(s->output, &look, e));
        outcome = look;
    }
    TRY(world_bcast(w, &outcome, sizeof(outcome), e));
    if (outcome == KEEP_BEGUN && !restart)
        return checkpoint_resume(s, w, line, e);
    return flags_resume(s, w, line, e);
}

static enum status subject_resume(const char *path, const struct settings *flags,
                                  struct world *w, const struct command_line *line,
                                  struct err *e)
{
    struct subject s;
    enum status st;

    TRY(subject_init(&s, w, path, e));
    if (s.kind == SUBJECT_JOB)
        st = file_resume(path, w, line, e);
    else if (s.kind == SUBJECT_CHECKPOINT)
        st = checkpoint_resume(&s, w, line, e);
    else
        st = output_resume(&s, flags, w, line, e);
    subject_release(&s);
    return st;
}

static void help_print(const struct world *w)
{
    if (world_facts(w)->rank > 0)
        return;
    printf("usage: framefleet resume OUTPUT|CHECKPOINT|JOB.json [flags]\n\n"
           "Flags are those of generate; what would change the video is refused.\n");
    settings_help(stdout);
}

enum status command_resume(struct world *w, int argc, const char *const *argv,
                           struct err *e)
{
    const char **rest = calloc((size_t)argc + 1, sizeof(*rest));
    struct command_line line = {argc, argv};
    struct settings_doc flags;
    enum status st;
    int n = 0;

    if (!rest)
        return err_set(e, ST_RESOURCE, "out of memory: %d arguments", argc);
    st = settings_init(&flags, e);
    if (st == ST_OK)
        st = option_parse_args(&flags.set, argc, argv, rest, &n, e);
    if (st == ST_OK && flags.values.help)
        help_print(w);
    else if (st == ST_OK && n == 0 && flags.values.job_file)
        st = file_resume(flags.values.job_file, w, &line, e);
    else if (st == ST_OK && (n != 1 || flags.values.job_file))
        st = err_set(e, ST_USAGE,
                     "say what to go on with: framefleet resume OUTPUT, CHECKPOINT or "
                     "JOB.json");
    else if (st == ST_OK)
        st = subject_resume(rest[0], &flags.values, w, &line, e);
    settings_release(&flags);
    free(rest);
    return st;
}
