/* calls.c - passes calls on to the C library, or does not
 *
 * Every function asks `due` first. A call that is to fail does not happen, but for
 * close, which gives the descriptor up in any case, as Linux does.
 */
#undef _FORTIFY_SOURCE /* its inline functions have the names that are defined here */

#include "tests/faults/calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { WORD_BYTES = 64 };

/* From the environment: any thread, calls that match. */
static struct {
    char call[WORD_BYTES], pattern[WORD_BYTES];
    long left; /* visits before it is due */
    int action;
    bool on, again;
} asked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Armed by a test: its own thread, any call. */
static _Thread_local struct {
    long left;
    int action;
    bool on;
    const char *met;
} armed;

void calls_arm(long n, int action)
{
    armed.left = n;
    armed.action = action;
    armed.met = NULL;
    armed.on = true;
}

const char *calls_disarm(void)
{
    armed.on = false;
    return armed.met;
}

/* ---- what is asked for ----------------------------------------------------------- */

static const struct {
    const char *name;
    int action;
} actions[] = {
    {"short", CALLS_SHORT}, {"kill", CALLS_KILL}, {"stop", CALLS_STOP},
    {"EIO", EIO},           {"ENOSPC", ENOSPC},   {"EDQUOT", EDQUOT},
    {"EINVAL", EINVAL},     {"EACCES", EACCES},
};

/* The next word of *text; false when there is none, or it is too long. */
static bool word_take(const char **text, char out[WORD_BYTES])
{
    size_t n;

    *text += strspn(*text, " ");
    n = strcspn(*text, " ");
    if (n == 0 || n >= WORD_BYTES)
        return false;
    memcpy(out, *text, n);
    out[n] = '\0';
    *text += n;
    return true;
}

static void asked_read(void)
{
    const char *text = getenv("FF_FAULT");
    char count[WORD_BYTES], action[WORD_BYTES];
    size_t n;

    if (!text || !word_take(&text, asked.call) || !word_take(&text, asked.pattern) ||
        !word_take(&text, count) || !word_take(&text, action))
        return;
    asked.left = strtol(count, NULL, 10);
    n = strlen(action);
    asked.again = action[n - 1] == '+';
    if (asked.again)
        action[n - 1] = '\0';
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(action, actions[i].name) == 0) {
            asked.action = actions[i].action;
            asked.on = true;
        }
    }
}

/* The last part of a path; of an open file, the one that it was opened by. */
static bool name_matches(int fd, const char *path)
{
    char link[PATH_MAX + 1], self[WORD_BYTES];
    const char *slash;
    ssize_t n;

    if (!path) {
        snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
        n = readlink(self, link, PATH_MAX);
        link[n < 0 ? 0 : n] = '\0';
        path = link;
    }
    slash = strrchr(path, '/');
    return fnmatch(asked.pattern, slash ? slash + 1 : path, 0) == 0;
}

static bool asked_due(const char *call, int fd, const char *path)
{
    bool due;

    pthread_once(&once, asked_read);
    if (!asked.on || strcmp(call, asked.call) != 0 || !name_matches(fd, path))
        return false;
    pthread_mutex_lock(&lock);
    due = asked.left > 0 && --asked.left == 0;
    if (due && asked.again)
        asked.left = 1;
    pthread_mutex_unlock(&lock);
    return due;
}

/* 0, or what is to happen: CALLS_SHORT, or errno is set and it is 1. */
static int due(const char *call, int fd, const char *path)
{
    int action = 0;

    if (armed.on && !armed.met && --armed.left == 0) {
        armed.met = call;
        action = armed.action;
    } else if (!armed.on && asked_due(call, fd, path)) {
        action = asked.action;
    }
    if (action == CALLS_KILL || action == CALLS_STOP) {
        kill(getpid(), action == CALLS_KILL ? SIGKILL : SIGSTOP);
        action = 0;
    }
    if (action > 0)
        errno = action;
    return action > 0 ? 1 : action;
}

/* The library's own function of that name. POSIX lets a data pointer hold one. */
static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define NEXT(name) ((__typeof__(&name))next(#name))

/* ---- files ----------------------------------------------------------------------- */

int openat(int dir, const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
    return due("openat", -1, path) > 0 ? -1 : NEXT(openat)(dir, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
    return due("open", -1, path) > 0 ? -1 : NEXT(open)(path, flags, mode);
}

int close(int fd)
{
    int fails = due("close", fd, NULL), why = errno, rc = NEXT(close)(fd);

    if (fails <= 0)
        return rc;
    errno = why;
    return -1;
}

static size_t part(int what, size_t n)
{
    return what == CALLS_SHORT && n > 1 ? n / 2 : n;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    int what = due("pwrite", fd, NULL);

    return what > 0 ? -1 : NEXT(pwrite)(fd, data, part(what, n), at);
}

ssize_t write(int fd, const void *data, size_t n)
{
    int what = due("write", fd, NULL);

    return what > 0 ? -1 : NEXT(write)(fd, data, part(what, n));
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
    int what = due("pread", fd, NULL);

    return what > 0 ? -1 : NEXT(pread)(fd, data, part(what, n), at);
}

ssize_t read(int fd, void *data, size_t n)
{
    int what = due("read", fd, NULL);

    return what > 0 ? -1 : NEXT(read)(fd, data, part(what, n));
}

int fsync(int fd)
{
    return due("fsync", fd, NULL) > 0 ? -1 : NEXT(fsync)(fd);
}

int fstat(int fd, struct stat *out)
{
    return due("fstat", fd, NULL) > 0 ? -1 : NEXT(fstat)(fd, out);
}

int fstatvfs(int fd, struct statvfs *out)
{
    return due("fstatvfs", fd, NULL) > 0 ? -1 : NEXT(fstatvfs)(fd, out);
}

/* ---- names ----------------------------------------------------------------------- */

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return due("renameat", -1, from) > 0 ? -1
                                         : NEXT(renameat)(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned flags)
{
    return due("renameat2", -1, from) > 0
               ? -1
               : NEXT(renameat2)(from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return due("linkat", -1, to) > 0 ? -1
                                     : NEXT(linkat)(from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
    return due("unlinkat", -1, path) > 0 ? -1 : NEXT(unlinkat)(dir, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return due("mkdir", -1, path) > 0 ? -1 : NEXT(mkdir)(path, mode);
}

/* ---- folders --------------------------------------------------------------------- */

DIR *fdopendir(int fd)
{
    return due("fdopendir", fd, NULL) > 0 ? NULL : NEXT(fdopendir)(fd);
}

struct dirent *readdir(DIR *dir)
{
    return due("readdir", dirfd(dir), NULL) > 0 ? NULL : NEXT(readdir)(dir);
}

/* ---- processes ------------------------------------------------------------------- */

int pipe2(int ends[2], int flags)
{
    return due("pipe2", -1, "pipe") > 0 ? -1 : NEXT(pipe2)(ends, flags);
}

/* Answers with the error and leaves errno alone. */
int posix_spawn(pid_t *pid, const char *path,
                const posix_spawn_file_actions_t *actions_,
                const posix_spawnattr_t *attributes, char *const args[],
                char *const environment[])
{
    if (due("posix_spawn", -1, path) > 0)
        return errno;
    return NEXT(posix_spawn)(pid, path, actions_, attributes, args, environment);
}
