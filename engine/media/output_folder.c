/* output_folder.c - a folder of frames that is complete or absent
 *
 * A new folder is filled under a temporary name and renamed. A folder that is there
 * already is refused unless it is empty or `force` is set; then its frame_*.png go and
 * the new ones move in one by one: a short moment without the all-or-nothing of a
 * rename, which a folder that keeps strangers' files cannot have. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/media/output.h"
#include "engine/media/target.h"

struct output_folder {
    struct target target;
    int fd; /* the temporary folder */
};

/* Call `visit` for every entry; stops at the first that is not 0 and returns it; -1
 * with errno when the folder cannot be read. */
static int entries_visit(int dir, int (*visit)(int dir, const char *name, void *arg),
                         void *arg)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (rc == 0 && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = visit(dir, entry->d_name, arg);
    }
    closedir(d);
    return rc;
}

static int entry_found(int dir, const char *name, void *arg)
{
    (void)dir;
    (void)name;
    (void)arg;
    return 1;
}

static int frame_remove(int dir, const char *name, void *arg)
{
    (void)arg;
    if (fnmatch("frame_*.png", name, 0) != 0)
        return 0;
    return unlinkat(dir, name, 0);
}

static int frame_move(int dir, const char *name, void *arg)
{
    return renameat(dir, name, *(const int *)arg, name);
}

/* Open the folder that is there under the final name, -1 when there is none. */
static int folder_there(const struct target *t)
{
    return openat(t->dir, t->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A folder with something in it needs force. */
static enum status folder_guard(const struct target *t, struct err *e)
{
    int fd = folder_there(t);
    int rc;

    if (fd < 0)
        return errno == ENOENT ? ST_OK : output_errno(errno, "open", t->path, e);
    rc = entries_visit(fd, entry_found, NULL);
    close(fd);
    if (rc < 0)
        return output_errno(errno, "read", t->path, e);
    if (rc > 0 && !t->force)
        return err_set(e, ST_USAGE,
                       "folder '%s' is not empty; --force replaces its frame_*.png",
                       t->path);
    return ST_OK;
}

enum status output_folder_check(const char *path, bool force, struct err *e)
{
    struct target t;
    enum status st;

    TRY(target_open(&t, path, true, force, e));
    st = folder_guard(&t, e);
    target_close(&t);
    return st;
}

static enum status temp_create(struct output_folder *f, struct err *e)
{
    struct target *t = &f->target;

    for (int i = 0; i < TARGET_TRIES; i++) {
        TRY(target_temp(t, i, e));
        if (mkdirat(t->dir, t->temp, 0777) == 0) {
            f->fd = openat(t->dir, t->temp,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (f->fd >= 0)
                return ST_OK;
            break;
        }
        if (errno != EEXIST)
            break;
    }
    return output_errno(errno, "create", t->path, e);
}

enum status output_folder_open(const char *path, bool force, struct output_folder **out,
                               struct err *e)
{
    struct output_folder *f = calloc(1, sizeof(*f));
    enum status st;

    if (!f)
        return err_set(e, ST_RESOURCE, "no memory for the output '%s'", path);
    f->fd = -1;
    TRY_GOTO(st, target_open(&f->target, path, true, force, e), err_free);
    TRY_GOTO(st, folder_guard(&f->target, e), err_close);
    TRY_GOTO(st, temp_create(f, e), err_close);
    *out = f;
    return ST_OK;

err_close:
    target_close(&f->target);
err_free:
    free(f);
    return st;
}

static int file_put(int dir, const char *name, const char *p, size_t bytes)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0666);
    int code = 0;

    if (fd < 0)
        return errno;
    while (bytes > 0 && code == 0) {
        ssize_t n = write(fd, p, bytes);

        if (n >= 0) {
            p += n;
            bytes -= (size_t)n;
        } else if (errno != EINTR) {
            code = errno;
        }
    }
    if (code == 0 && fsync(fd) < 0 && errno != EINVAL)
        code = errno;
    if (close(fd) < 0 && code == 0)
        code = errno;
    return code;
}

enum status output_folder_put(struct output_folder *f, const char *name,
                              const void *data, size_t bytes, struct err *e)
{
    int code = file_put(f->fd, name, data, bytes);

    return code ? output_errno(code, "write into", f->target.path, e) : ST_OK;
}

/* Move the frames into the folder that is there. */
static enum status folder_fill(struct output_folder *f, int there, struct err *e)
{
    if (entries_visit(there, frame_remove, NULL) < 0 ||
        entries_visit(f->fd, frame_move, &there) < 0 || fsync(there) < 0)
        return output_errno(errno, "write into", f->target.path, e);
    return ST_OK;
}

static void folder_release(struct output_folder *f)
{
    close(f->fd);
    target_close(&f->target);
    free(f);
}

enum status output_folder_commit(struct output_folder *f, struct err *e)
{
    int there = folder_there(&f->target);
    enum status st;

    if (there >= 0) {
        st = folder_guard(&f->target, e);
        if (st == ST_OK)
            st = folder_fill(f, there, e);
        close(there);
    } else if (fsync(f->fd) < 0 && errno != EINVAL) {
        st = output_errno(errno, "sync", f->target.path, e);
    } else {
        st = target_rename(&f->target, e);
        if (st == ST_OK) {
            folder_release(f);
            return ST_OK;
        }
    }
    output_folder_discard(f);
    return st;
}

void output_folder_discard(struct output_folder *f)
{
    if (!f)
        return;
    entries_visit(f->fd, frame_remove, NULL);
    unlinkat(f->target.dir, f->target.temp, AT_REMOVEDIR);
    folder_release(f);
}
