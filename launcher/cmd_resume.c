/* cmd_resume.c - framefleet resume: from a checkpoint back to the job, and on
 *
 *     framefleet resume video.mp4                       the output
 *     framefleet resume video.mp4.checkpoints           its folder of checkpoints
 *     framefleet resume …/ck-0000-0017-i1.h5            one file
 *
 * A checkpoint holds all that its launch was told, so nothing has to be said again.
 * Flags are laid over it: ranks, threads and paths may differ, anything that would
 * change the bytes is refused with its name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint/store.h"
#include "engine/pipeline/keep.h"
#include "launcher/command.h"
#include "launcher/generate.h"
#include "launcher/text.h"

/* What the argument means; by its name alone, so that all ranks agree. */
struct subject {
    char *output; /* owned; NULL when a file is given */
    char *folder; /* owned */
    char *file;   /* borrowed from the arguments */
};

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);

    return n > m && strncmp(text + n - m, end, m) == 0;
}

static enum status subject_init(struct subject *s, const char *x, struct err *e)
{
    const char *base = strrchr(x, '/') ? strrchr(x, '/') + 1 : x;
    size_t n = strlen(x), suffix = strlen(KEEP_SUFFIX);

    memset(s, 0, sizeof(*s));
    if (strncmp(base, "ck-", 3) == 0 && ends_with(x, n, ".h5")) {
        s->file = (char *)(uintptr_t)x;
        return ST_OK;
    }
    while (n > 1 && x[n - 1] == '/')
        n--;
    if (ends_with(x, n, KEEP_SUFFIX))
        n -= suffix;
    s->output = strndup(x, n);
    s->folder = malloc(n + suffix + 1);
    if (!s->output || !s->folder)
        return err_set(e, ST_RESOURCE, "out of memory: a name of %zu bytes", n);
    memcpy(s->folder, x, n);
    memcpy(s->folder + n, KEEP_SUFFIX, suffix + 1);
    return ST_OK;
}

static void subject_release(struct subject *s)
{
    free(s->output);
    free(s->folder);
}

static void reason_add(void *ctx, const char *line)
{
    buf_addf(ctx, "framefleet: %s\n", line);
}

static enum status newest_read(const struct subject *s, struct checkpoint *ck,
                               struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    char name[CHECKPOINT_NAME_BYTES];
    struct buf reasons = BUF_INIT;
    struct checkpoint_store *store;
    bool found = false;
    enum status st;

    TRY(checkpoint_store_open(s->folder, false, &o, &store, e));
    st = checkpoint_newest(store, reason_add, &reasons, ck, name, &found, e);
    if (st == ST_OK && !found)
        st = err_set(e, ST_INPUT, "no checkpoint in '%s'", s->folder);
    if (st != ST_OK)
        fputs(buf_text(&reasons), stderr);
    buf_release(&reasons);
    checkpoint_store_close(store);
    return st;
}

/* On rank 0: the launch that wrote the checkpoint, as JSON. */
static enum status launch_read(const struct subject *s, struct buf *text, struct err *e)
{
    struct checkpoint ck = {0};

    TRY(s->file ? checkpoint_read(s->file, &ck, e) : newest_read(s, &ck, e));
    buf_adds(text, ck.launch);
    checkpoint_release(&ck);
    if (text->failed)
        return err_set(e, ST_RESOURCE, "out of memory: the job of a checkpoint");
    return ST_OK;
}

static enum status job_resume(const struct subject *s, struct world *w, int argc,
                              const char *const *argv, const struct buf *text,
                              struct err *e)
{
    struct settings_doc *d;
    struct jobs jobs;
    enum status st = ST_OK;

    TRY(jobs_from_text(&jobs, argc, argv, "checkpoint", text, e));
    d = &jobs.doc[0];
    if (s->output)
        st = option_assign_named(&d->set, "output", s->output, SOURCE_FILE, e);
    d->values.job.resumed = true;
    d->values.job.checkpoint = s->file;
    if (st == ST_OK)
        st = jobs_generate(&jobs, w, e);
    jobs_release(&jobs);
    return st;
}

static enum status subject_resume(const char *x, struct world *w, int argc,
                                  const char *const *argv, struct err *e)
{
    struct buf text = BUF_INIT;
    struct subject s;
    enum status st = subject_init(&s, x, e);

    if (st == ST_OK && world_facts(w)->rank == 0)
        st = launch_read(&s, &text, e);
    if (st == ST_OK)
        st = text_share(w, &text, e);
    if (st == ST_OK)
        st = job_resume(&s, w, argc, argv, &text, e);
    buf_release(&text);
    subject_release(&s);
    return st;
}

static void help_print(const struct world *w)
{
    if (world_facts(w)->rank > 0)
        return;
    printf("usage: framefleet resume OUTPUT|CHECKPOINT [flags]\n\n"
           "Flags are those of generate; what would change the video is refused.\n");
    settings_help(stdout);
}

enum status command_resume(struct world *w, int argc, const char *const *argv,
                           struct err *e)
{
    const char **rest = calloc((size_t)argc + 1, sizeof(*rest));
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
    else if (st == ST_OK && (n != 1 || flags.values.job_file))
        st = err_set(e, ST_USAGE,
                     "say what to go on with: framefleet resume OUTPUT or CHECKPOINT");
    else if (st == ST_OK)
        st = subject_resume(rest[0], w, argc, argv, e);
    settings_release(&flags);
    free(rest);
    return st;
}
