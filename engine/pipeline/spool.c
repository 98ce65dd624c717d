/* spool.c - a temporary file that is unlinked as soon as it is there */
#include "engine/pipeline/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double mib = 1024.0 * 1024.0;

/* "folder/.name.tiles-XXXXXX" */
static char *pattern_of(const char *path)
{
    static const char tail[] = ".tiles-XXXXXX";
    size_t n = strlen(path), begin;
    char *out;

    while (n > 1 && path[n - 1] == '/')
        n--;
    for (begin = n; begin > 0 && path[begin - 1] != '/';)
        begin--;
    out = malloc(n + sizeof(tail) + 1);
    if (!out)
        return NULL;
    memcpy(out, path, begin);
    out[begin] = '.';
    memcpy(out + begin + 1, path + begin, n - begin);
    memcpy(out + n + 1, tail, sizeof(tail));
    return out;
}

enum status spool_open(struct spool *s, const char *path, struct err *e)
{
    char *name = pattern_of(path);

    if (!name)
        return err_set(e, ST_RESOURCE, "out of memory: a name of %zu bytes",
                       strlen(path));
    s->fd = mkostemp(name, O_CLOEXEC);
    if (s->fd < 0)
        err_set(e, ST_RESOURCE, "cannot make a temporary file beside '%s': %s", path,
                strerror(errno));
    else
        unlink(name);
    free(name);
    return s->fd < 0 ? ST_RESOURCE : ST_OK;
}

void spool_close(struct spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

enum status spool_put(const struct spool *s, int64_t at, const void *data, size_t bytes,
                      struct err *e)
{
    const char *from = data;

    while (bytes > 0) {
        ssize_t n = pwrite(s->fd, from, bytes, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(e, ST_RESOURCE,
                           "cannot write frames beside the output after %.1f MiB: %s",
                           (double)at / mib, strerror(n < 0 ? errno : ENOSPC));
        from += n;
        at += n;
        bytes -= (size_t)n;
    }
    return ST_OK;
}

enum status spool_get(const struct spool *s, int64_t at, void *data, size_t bytes,
                      struct err *e)
{
    char *to = data;

    while (bytes > 0) {
        ssize_t n = pread(s->fd, to, bytes, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(e, ST_RESOURCE, "cannot read frames again: %s",
                           n < 0 ? strerror(errno) : "the file is short");
        to += n;
        at += n;
        bytes -= (size_t)n;
    }
    return ST_OK;
}
