/* target.c - opens the folder of an output and guards its name */
#include "engine/media/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/media/output.h"

enum status output_errno(int code, const char *what, const char *path, struct err *e)
{
    bool full = code == ENOSPC || code == EDQUOT || code == EFBIG || code == ENOMEM ||
                code == EMFILE || code == ENFILE;

    return err_set(e, full ? ST_RESOURCE : ST_USAGE, "cannot %s '%s': %s", what, path,
                   strerror(code));
}

/* Cut `path` into folder and last component, both owned by the caller. */
static enum status path_cut(const char *path, char **folder, char **name, struct err *e)
{
    size_t end = strlen(path);
    size_t cut;

    while (end > 1 && path[end - 1] == '/')
        end--;
    for (cut = end; cut > 0 && path[cut - 1] != '/'; cut--)
        continue;
    *name = strndup(path + cut, end - cut);
    *folder = cut ? strndup(path, cut) : strdup(".");
    if (!*name || !*folder)
        return err_set(e, ST_RESOURCE, "no memory for the name '%s'", path);
    if (!**name || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
        return err_set(e, ST_USAGE, "cannot write to '%s': a name is missing", path);
    return ST_OK;
}

/* Refuse what is in the way. */
static enum status target_guard(const struct target *t, bool folder, struct err *e)
{
    struct stat sb;

    if (fstatat(t->dir, t->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? ST_OK : output_errno(errno, "look at", t->path, e);
    if (folder && !S_ISDIR(sb.st_mode))
        return err_set(e, ST_USAGE,
                       "cannot make the folder '%s': a file of this name "
                       "is there",
                       t->path);
    if (!folder && S_ISDIR(sb.st_mode))
        return err_set(e, ST_USAGE, "cannot write '%s': a folder of this name is there",
                       t->path);
    if (!folder && !t->force)
        return err_set(e, ST_USAGE, "output '%s' exists; --force replaces it", t->path);
    return ST_OK;
}

enum status target_open(struct target *t, const char *path, bool folder, bool force,
                        struct err *e)
{
    char *parent = NULL;
    enum status st;

    *t = (struct target){.dir = -1, .force = force};
    TRY_GOTO(st, path_cut(path, &parent, &t->name, e), out);
    t->path = strdup(path);
    if (!t->path) {
        st = err_set(e, ST_RESOURCE, "no memory for the name '%s'", path);
        goto out;
    }
    t->dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->dir < 0)
        st = output_errno(errno, "open the folder of", path, e);
    else if (faccessat(t->dir, ".", W_OK | X_OK, AT_EACCESS) < 0)
        st = output_errno(errno, "write into the folder of", path, e);
    else
        st = target_guard(t, folder, e);
out:
    free(parent);
    if (st != ST_OK)
        target_close(t);
    return st;
}

void target_close(struct target *t)
{
    if (t->dir >= 0)
        close(t->dir);
    free(t->path);
    free(t->name);
    free(t->temp);
    *t = (struct target){.dir = -1};
}

enum status target_temp(struct target *t, int i, struct err *e)
{
    free(t->temp);
    if (asprintf(&t->temp, "%.200s.%ld-%d.part", t->name, (long)getpid(), i) < 0) {
        t->temp = NULL;
        return err_set(e, ST_RESOURCE, "no memory for the name '%s'", t->path);
    }
    return ST_OK;
}

enum status target_rename(const struct target *t, struct err *e)
{
    int rc;

    if (t->force)
        rc = renameat(t->dir, t->temp, t->dir, t->name);
    else
        rc = renameat2(t->dir, t->temp, t->dir, t->name, RENAME_NOREPLACE);
    /* some network file systems do not know RENAME_NOREPLACE */
    if (rc < 0 && !t->force && (errno == EINVAL || errno == ENOSYS) &&
        faccessat(t->dir, t->name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        rc = renameat(t->dir, t->temp, t->dir, t->name);
    if (rc < 0)
        return output_errno(errno, "name the output", t->path, e);
    if (fsync(t->dir) < 0 && errno != EINVAL)
        return output_errno(errno, "sync the folder of", t->path, e);
    return ST_OK;
}
