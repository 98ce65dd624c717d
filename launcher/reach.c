/* reach.c - compares real folders, so that neither ".." nor links lead out */
#include "launcher/reach.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/pipeline/keep.h"

/* Cut the last component of a path off, in place: "a/b" to "a", "b" to ".". */
static void last_cut(char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0)
        path[n++] = '.';
    path[n] = '\0';
}

/* The real name of the folder that `path` is in; false when there is none. */
static bool folder_of(const char *path, char out[PATH_MAX])
{
    size_t bytes = strlen(path) + 1;
    char *copy = malloc(bytes + 1); /* "" becomes "." */
    bool found;

    if (!copy)
        return false;
    memcpy(copy, path, bytes);
    last_cut(copy);
    found = realpath(copy, out) != NULL;
    free(copy);
    return found;
}

/* Where the output of the subject is, or was to be. */
static bool base_of(const struct subject *s, char out[PATH_MAX])
{
    size_t n, m = strlen(KEEP_SUFFIX);

    if (s->kind != SUBJECT_CHECKPOINT)
        return folder_of(s->output, out);
    if (!folder_of(s->path, out))
        return false;
    n = strlen(out);
    if (n > m && strcmp(out + n - m, KEEP_SUFFIX) == 0)
        last_cut(out);
    return true;
}

/* Is `folder` the same as `base` or below it, by components that are not hidden? */
static bool is_within(const char *base, const char *folder)
{
    size_t n = strlen(base);

    if (strcmp(base, folder) == 0)
        return true;
    return n > 1 && strncmp(base, folder, n) == 0 && folder[n] == '/' &&
           !strstr(folder + n, "/.");
}

static bool may_write(const struct subject *s, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char folder[PATH_MAX], base[PATH_MAX], here[PATH_MAX];

    if (!folder_of(path, folder))
        return true; /* there is no such folder: nothing can be written */
    if (name[0] == '.')
        return false;
    return (base_of(s, base) && is_within(base, folder)) ||
           (getcwd(here, sizeof(here)) && is_within(here, folder));
}

static bool is_said(const struct settings_doc *d, const char *name)
{
    return d->set.source[option_find(&d->set, name)] == SOURCE_FILE;
}

enum status reach_check(const struct settings_doc *d, const struct subject *s,
                        struct err *e)
{
    const struct settings *v = &d->values;
    const struct {
        const char *name, *path;
    } outputs[] = {
        {"output", s->kind == SUBJECT_CHECKPOINT ? v->job.output : NULL},
        {"save_latents", v->job.save_latents},
        {"save_embeds", v->job.save_embeds},
        {"save_noise", v->job.save_noise},
        {"log_json", v->log_json},
    };

    TRY(settings_launch_check(d, e));
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        if (outputs[i].path && is_said(d, outputs[i].name) &&
            !may_write(s, outputs[i].path))
            return err_set(e, ST_INPUT,
                           "checkpoint in '%s' would have %s written to '%s', outside "
                           "of its folder and of this one: say it as --%s to allow it",
                           s->path, outputs[i].name, outputs[i].path, outputs[i].name);
    }
    return ST_OK;
}
