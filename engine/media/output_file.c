/* output_file.c - one file that is complete or absent
 *
 * Where the file system can, the file has no name at all until it is complete, so that
 * a process that is killed leaves nothing; elsewhere it is called NAME.PID.part.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/media/output.h"
#include "engine/media/target.h"

struct output {
    struct target target;
    int fd;
    bool nameless; /* no name yet */
};

enum status output_check(const char *path, bool force, struct err *e)
{
    struct target t;

    TRY(target_open(&t, path, false, force, e));
    target_close(&t);
    return ST_OK;
}

/* A file without a name, which can get one later; false where there are none. */
static bool nameless_create(struct output *o)
{
    if (access("/proc/self/fd", X_OK) < 0)
        return false;
    o->fd = openat(o->target.dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    return o->fd >= 0;
}

/* Give it its temporary name. */
static enum status nameless_link(struct output *o, struct err *e)
{
    struct target *t = &o->target;
    char self[64];

    snprintf(self, sizeof(self), "/proc/self/fd/%d", o->fd);
    for (int i = 0; i < TARGET_TRIES; i++) {
        TRY(target_temp(t, i, e));
        if (linkat(AT_FDCWD, self, t->dir, t->temp, AT_SYMLINK_FOLLOW) == 0)
            return ST_OK;
        if (errno != EEXIST)
            break;
    }
    return output_errno(errno, "name", t->path, e);
}

static enum status temp_create(struct output *o, struct err *e)
{
    struct target *t = &o->target;

    o->nameless = nameless_create(o);
    if (o->nameless)
        return ST_OK;
    for (int i = 0; i < TARGET_TRIES; i++) {
        TRY(target_temp(t, i, e));
        o->fd = openat(t->dir, t->temp,
                       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (o->fd >= 0)
            return ST_OK;
        if (errno != EEXIST)
            break;
    }
    return output_errno(errno, "create", t->path, e);
}

enum status output_open(const char *path, bool force, struct output **out,
                        struct err *e)
{
    struct output *o = calloc(1, sizeof(*o));
    enum status st;

    if (!o)
        return err_set(e, ST_RESOURCE, "no memory for the output '%s'", path);
    o->fd = -1;
    TRY_GOTO(st, target_open(&o->target, path, false, force, e), err_free);
    TRY_GOTO(st, temp_create(o, e), err_close);
    *out = o;
    return ST_OK;

err_close:
    target_close(&o->target);
err_free:
    free(o);
    return st;
}

enum status output_write(struct output *o, const void *data, size_t bytes,
                         struct err *e)
{
    const char *p = data;

    while (bytes > 0) {
        ssize_t n = write(o->fd, p, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return output_errno(errno, "write", o->target.path, e);
        p += n;
        bytes -= (size_t)n;
    }
    return ST_OK;
}

int output_fd(const struct output *o)
{
    return o->fd;
}

const char *output_path(const struct output *o)
{
    return o->target.path;
}

enum status output_commit(struct output *o, struct err *e)
{
    int fd = o->fd;
    enum status st = ST_OK;

    if (fsync(fd) < 0 && errno != EINVAL)
        st = output_errno(errno, "sync", o->target.path, e);
    if (st == ST_OK && o->nameless) {
        st = nameless_link(o, e);
        o->nameless = st != ST_OK;
    }
    o->fd = -1;
    if (close(fd) < 0 && st == ST_OK)
        st = output_errno(errno, "close", o->target.path, e);
    if (st == ST_OK)
        st = target_rename(&o->target, e);
    if (st != ST_OK) {
        output_discard(o);
        return st;
    }
    target_close(&o->target);
    free(o);
    return ST_OK;
}

void output_discard(struct output *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        close(o->fd);
    if (!o->nameless)
        unlinkat(o->target.dir, o->target.temp, 0);
    target_close(&o->target);
    free(o);
}
