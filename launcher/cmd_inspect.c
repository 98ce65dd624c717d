/* cmd_inspect.c - framefleet inspect: what a model, a weight file or a checkpoint holds
 *
 *     framefleet inspect Wan2.1-T2V-1.3B                a model folder
 *     framefleet inspect Wan2.1_VAE.pth                 a file of weights
 *     framefleet inspect …/ck-0000-0017-i1.h5           a checkpoint
 *     framefleet inspect video.mp4                      an output with checkpoints, or
 *     framefleet inspect video.mp4.checkpoints          their folder
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/checkpoint/inspect.h"
#include "engine/pipeline/keep.h"
#include "engine/weights/inspect.h"
#include "kernels/base/option.h"
#include "launcher/command.h"
#include "launcher/subject.h"

struct inspect_settings {
    bool json, tensors, help;
};

static const struct option table[] = {
    {"json", NULL, OPT_FLAG, offsetof(struct inspect_settings, json), 0, 0, NULL, NULL,
     "print JSON"},
    {"tensors", NULL, OPT_FLAG, offsetof(struct inspect_settings, tensors), 0, 0, NULL,
     NULL, "list every tensor"},
    {"help", NULL, OPT_FLAG, offsetof(struct inspect_settings, help), 0, 0, NULL, NULL,
     "print this"},
};
enum { N_OPTIONS = sizeof(table) / sizeof(table[0]), PATHS_MAX = 64 };

static bool is_folder(const char *path)
{
    struct stat sb;

    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

/* A checkpoint or a folder of them; *is says whether it is one. */
static enum status checkpoint_show(const char *path, bool json, bool *is,
                                   struct buf *text, struct err *e)
{
    struct subject s;
    char *folder = NULL;
    enum status st;

    TRY(subject_init(&s, NULL, path, e));
    *is = s.kind == SUBJECT_CHECKPOINT;
    st = *is ? checkpoint_inspect(path, json, text, e)
             : keep_folder(s.output, &folder, e);
    if (!*is && st == ST_OK && is_folder(folder)) {
        *is = true;
        st = checkpoint_inspect_folder(folder, json, text, e);
    }
    free(folder);
    subject_release(&s);
    return st;
}

static enum status path_inspect(const char *path, const struct inspect_settings *s,
                                struct err *e)
{
    struct inspect_options options = {.json = s->json, .tensors = s->tensors};
    struct buf text = BUF_INIT;
    bool done = false;
    enum status st = checkpoint_show(path, s->json, &done, &text, e);

    if (st == ST_OK && !done)
        st = inspect_path(path, &options, &text, e);
    if (st == ST_OK && text.failed)
        st = err_set(e, ST_RESOURCE, "out of memory: inspecting '%s'", path);
    if (st == ST_OK)
        fputs(buf_text(&text), stdout);
    buf_release(&text);
    return st;
}

static enum status paths_inspect(struct option_set *set, int argc,
                                 const char *const *argv, struct err *e)
{
    const struct inspect_settings *s = set->settings;
    const char *rest[PATHS_MAX];
    int n;

    TRY(option_parse_few(set, argc, argv, PATHS_MAX, rest, &n, e));
    if (s->help) {
        printf("usage: framefleet inspect PATH [flags]\n");
        option_help(table, N_OPTIONS, stdout);
        return ST_OK;
    }
    if (n == 0)
        return err_set(e, ST_USAGE,
                       "missing path: a model, a weight file or a checkpoint");
    for (int i = 0; i < n; i++)
        TRY(path_inspect(rest[i], s, e));
    return ST_OK;
}

enum status command_inspect(struct world *w, int argc, const char *const *argv,
                            struct err *e)
{
    struct inspect_settings settings = {false, false, false};
    struct option_set set;
    enum status st;

    if (world_facts(w)->rank > 0)
        return ST_OK;
    TRY(option_set_init(&set, table, N_OPTIONS, &settings, e));
    st = paths_inspect(&set, argc, argv, e);
    option_set_release(&set);
    return st;
}
