/* file.c - regular files of strangers, opened once and read at offsets */
#include "engine/weights/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_name_plain(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > 255 || strcmp(name, ".") == 0 || strstr(name, ".."))
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\' || c == ':')
            return false;
    }
    return true;
}

static char *path_join(const char *dir, const char *name)
{
    size_t bytes = strlen(dir) + strlen(name) + 2;
    char *path = malloc(bytes);

    if (path)
        snprintf(path, bytes, "%s/%s", dir, name);
    return path;
}

/* Take over `fd` and `path`; both are released on failure. */
static enum status file_adopt(int fd, char *path, struct file *out, struct err *e)
{
    struct stat s;
    enum status st = ST_OK;

    if (fd < 0 && errno == ELOOP)
        st = err_set(
            e, ST_INPUT,
            "cannot open '%s': a symbolic link, which is not followed; put the "
            "file itself there",
            path);
    else if (fd < 0)
        st = err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    else if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        st = err_set(e, ST_INPUT, "cannot open '%s': not a regular file", path);
    if (st != ST_OK) {
        if (fd >= 0)
            close(fd);
        free(path);
        return st;
    }
    *out = (struct file){fd, s.st_size, path};
    return ST_OK;
}

enum status file_open(const char *path, struct file *out, struct err *e)
{
    char *copy = strdup(path);

    if (!copy)
        return err_set(e, ST_RESOURCE, "cannot open '%s': out of memory", path);
    return file_adopt(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), copy, out, e);
}

enum status file_open_at(const struct folder *dir, const char *name, struct file *out,
                         struct err *e)
{
    char *path;

    if (!file_name_plain(name))
        return err_set(e, ST_INPUT, "'%s': '%s' is not a plain file name", dir->path,
                       name);
    path = path_join(dir->path, name);
    if (!path)
        return err_set(e, ST_RESOURCE, "cannot open '%s': out of memory", name);
    return file_adopt(
        openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW), path,
        out, e);
}

bool file_exists_at(const struct folder *dir, const char *name)
{
    struct stat s;

    return file_name_plain(name) &&
           fstatat(dir->fd, name, &s, AT_SYMLINK_NOFOLLOW) == 0;
}

enum status file_read(const struct file *f, int64_t offset, void *out, size_t bytes,
                      struct err *e)
{
    char *p = out;

    while (bytes > 0) {
        size_t want = bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30;
        ssize_t n = pread(f->fd, p, want, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ST_INPUT, "cannot read '%s': %s", f->path,
                           strerror(errno));
        if (n == 0)
            return err_set(e, ST_INPUT,
                           "cannot read '%s': it ends at byte %lld, %zu more expected",
                           f->path, (long long)offset, bytes);
        p += n;
        offset += n;
        bytes -= (size_t)n;
    }
    return ST_OK;
}

enum status file_json_at(const struct folder *dir, const char *name,
                         const struct json_limits *limits, struct json **out,
                         struct err *e)
{
    struct file f;
    char *text;
    enum status st;

    TRY(file_open_at(dir, name, &f, e));
    if (f.bytes > (int64_t)limits->text_bytes) {
        st = err_set(e, ST_INPUT, "cannot parse '%s': %lld bytes, at most %zu allowed",
                     f.path, (long long)f.bytes, limits->text_bytes);
        goto err_close;
    }
    text = malloc((size_t)f.bytes + 1);
    if (!text) {
        st = err_set(e, ST_RESOURCE, "cannot read '%s': out of memory", f.path);
        goto err_close;
    }
    st = file_read(&f, 0, text, (size_t)f.bytes, e);
    if (st == ST_OK)
        st = json_parse(f.path, text, (size_t)f.bytes, limits, out, e);
    free(text);
err_close:
    file_close(&f);
    return st;
}

void file_close(struct file *f)
{
    if (f->path)
        close(f->fd);
    free(f->path);
    *f = (struct file){-1, 0, NULL};
}

/* Take over `fd` and `path`; both are released on failure. */
static enum status folder_adopt(int fd, char *path, struct folder *out, struct err *e)
{
    enum status st;

    if (fd >= 0) {
        *out = (struct folder){fd, path};
        return ST_OK;
    }
    if (errno == ELOOP || errno == ENOTDIR)
        st = err_set(e, ST_INPUT, "cannot open '%s': not a folder", path);
    else
        st = err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    free(path);
    return st;
}

enum status folder_open(const char *path, struct folder *out, struct err *e)
{
    char *copy = strdup(path);
    size_t n = strlen(path);

    if (!copy)
        return err_set(e, ST_RESOURCE, "cannot open '%s': out of memory", path);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    return folder_adopt(open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY), copy, out, e);
}

enum status folder_open_at(const struct folder *dir, const char *name,
                           struct folder *out, struct err *e)
{
    bool itself = strcmp(name, ".") == 0;
    char *path = itself ? strdup(dir->path) : path_join(dir->path, name);

    if (!path)
        return err_set(e, ST_RESOURCE, "cannot open '%s': out of memory", name);
    return folder_adopt(
        openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW), path,
        out, e);
}

void folder_close(struct folder *dir)
{
    if (dir->path)
        close(dir->fd);
    free(dir->path);
    *dir = (struct folder){-1, NULL};
}
