/* output_file.c - one file that is complete or absent */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/media/output.h"
#include "engine/media/target.h"

struct output {
    struct target target;
    int fd;
};

enum status output_check(const char *path, bool force, struct err *e)
{
    struct target t;

    TRY(target_open(&t, path, false, force, e));
    target_close(&t);
    return ST_OK;
}

static enum status temp_create(struct output *o, struct err *e)
{
    struct target *t = &o->target;

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

    o->fd = -1;
    if (fsync(fd) < 0 && errno != EINVAL)
        st = output_errno(errno, "sync", o->target.path, e);
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
    unlinkat(o->target.dir, o->target.temp, 0);
    target_close(&o->target);
    free(o);
}
