/* read.c - opens the file, starts the child, and says what became of both
 *
 * posix_spawn and not fork: the parent may have threads, pinned memory and an MPI
 * library, and none of it is copied or run. The child gets descriptors 0 (the file)
 * and 1 (the pipe) and an environment of four fixed lines, plus the library path.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/h5/stream.h"

#define CHILD_MARK "FRAMEFLEET_H5_CHILD"

enum { SILENCE_MS = 60000, SUPERBLOCK_MIN = 48 };

/* HDF5's signature stands at 0, 512, 1024, 2048 … */
static bool signature_found(int fd, off_t bytes)
{
    static const char magic[8] = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
    char there[8];

    for (off_t at = 0; at + SUPERBLOCK_MIN <= bytes; at = at ? 2 * at : 512) {
        if (pread(fd, there, sizeof(there), at) == (ssize_t)sizeof(there) &&
            memcmp(there, magic, sizeof(magic)) == 0)
            return true;
    }
    return false;
}

/* Keep descriptors 0 to 2 free for the child's own. */
static int above_stdio(int fd)
{
    int moved;

    if (fd < 0 || fd > 2)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return moved;
}

static enum status file_check(int fd, const char *path, struct err *e)
{
    struct stat sb;

    if (fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode))
        return err_set(e, ST_INPUT, "cannot read '%s': not a regular file", path);
    if (!signature_found(fd, sb.st_size))
        return err_set(e, ST_INPUT, "cannot read '%s': not an HDF5 file", path);
    return ST_OK;
}

static enum status file_open(const char *path, int *out, struct err *e)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = above_stdio(open(path, flags));

    if (fd < 0 && errno == ELOOP)
        return err_set(e, ST_INPUT, "cannot open '%s': a symbolic link", path);
    if (fd < 0)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    *out = fd;
    return ST_OK;
}

/* Start this program again on `args`; an errno value on failure. */
static int child_spawn(char **args, int file, int pipe_end, pid_t *out)
{
    static char locking[] = "HDF5_USE_FILE_LOCKING=BEST_EFFORT";
    static char threads[] = "OPENBLAS_NUM_THREADS=1";
    static char language[] = "LC_ALL=C";
    static char mark[] = CHILD_MARK "=1";
    const char *libraries = getenv("LD_LIBRARY_PATH");
    char path_line[4096];
    char *env[] = {locking, threads, language, mark, NULL, NULL};
    posix_spawn_file_actions_t fa;
    int rc;

    if (libraries && snprintf(path_line, sizeof(path_line), "LD_LIBRARY_PATH=%s",
                              libraries) < (int)sizeof(path_line))
        env[4] = path_line;
    rc = posix_spawn_file_actions_init(&fa);
    if (rc)
        return rc;
    rc = posix_spawn_file_actions_adddup2(&fa, file, 0);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(&fa, pipe_end, 1);
    if (!rc)
        rc = posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_addclosefrom_np(&fa, 3);
    if (!rc)
        rc = posix_spawn(out, "/proc/self/exe", &fa, NULL, args, env);
    posix_spawn_file_actions_destroy(&fa);
    return rc;
}

/* The child's argument vector in one block, freed with free(). */
static char **args_make(const struct h5_array *arrays, int n_arrays,
                        const struct h5_attr *attrs, int n_attrs)
{
    static const char first[] = "framefleet\0" WIRE_ARGUMENT;
    struct buf text = BUF_INIT;
    char **args = NULL;
    int n = 2;

    buf_add(&text, first, sizeof(first));
    n += wire_pack(arrays, n_arrays, attrs, n_attrs, &text);
    if (!text.failed)
        args = malloc(((size_t)n + 1) * sizeof(*args) + text.len);
    if (args) {
        char *at = (char *)(args + n + 1);

        memcpy(at, text.data, text.len);
        for (int i = 0; i < n; i++) {
            args[i] = at;
            at += strlen(at) + 1;
        }
        args[n] = NULL;
    }
    buf_release(&text);
    return args;
}

static enum status child_start(char **args, int file, int *stream, pid_t *pid,
                               struct err *e)
{
    int ends[2];
    int rc;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(e, ST_RESOURCE, "cannot make a pipe: %s", strerror(errno));
    ends[0] = above_stdio(ends[0]);
    ends[1] = above_stdio(ends[1]);
    rc = child_spawn(args, file, ends[1], pid);
    close(ends[1]);
    if (rc) {
        close(ends[0]);
        return err_set(e, ST_RESOURCE, "cannot start a process to read HDF5: %s",
                       strerror(rc));
    }
    *stream = ends[0];
    return ST_OK;
}

/* The child is gone or nobody listens to it any more. */
static enum status broken_explain(const char *path, int how, struct err *e)
{
    if (WIFSIGNALED(how) && WTERMSIG(how) == SIGXCPU)
        return err_set(e, ST_INPUT, "cannot read '%s': parsing takes too long", path);
    if (WIFSIGNALED(how))
        return err_set(e, ST_INPUT,
                       "cannot read '%s': the HDF5 library fails on it (%s)", path,
                       strsignal(WTERMSIG(how)));
    return err_set(e, ST_INPUT,
                   "cannot read '%s': the reader ends early (exit code %d)", path,
                   WEXITSTATUS(how));
}

/* Wait for the child; one that is still running after `grace_ms` is killed. The pipe
 * closes a moment before a process is gone, so a crash needs some grace to be seen. */
static int child_reap(pid_t pid, int grace_ms)
{
    int how = 0;

    for (; grace_ms > 0; grace_ms -= 10) {
        if (waitpid(pid, &how, WNOHANG) != 0)
            return how;
        usleep(10000);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        continue;
    return how;
}

static enum status child_listen(const char *path, int stream, pid_t pid,
                                struct h5_array *arrays, int n_arrays,
                                struct h5_attr *attrs, int n_attrs, struct err *e)
{
    enum stream_end end = stream_read(stream, SILENCE_MS, arrays, n_arrays, attrs,
                                      n_attrs, e);
    int how;

    close(stream);
    how = child_reap(pid, end == STREAM_REFUSED ? 0 : 2000);
    if (end == STREAM_BROKEN)
        return broken_explain(path, how, e);
    if (end == STREAM_REFUSED)
        return err_prefix(e, "cannot read '%s'", path);
    return ST_OK;
}

static void request_assert(const struct h5_array *arrays, int n_arrays,
                           const struct h5_attr *attrs, int n_attrs)
{
    assert(n_arrays <= WIRE_WANTS_MAX && n_attrs <= WIRE_WANTS_MAX);
    for (int i = 0; i < n_arrays; i++) {
        assert(arrays[i].rank >= 1 && arrays[i].rank <= H5_RANK_MAX);
        assert(arrays[i].max_count >= 1);
        assert(strlen(arrays[i].path) < H5_NAME_MAX);
        for (int k = 0; k < arrays[i].rank; k++)
            assert(arrays[i].dims[k] >= (wire_values_wanted(&arrays[i]) ? 1 : -1));
    }
    for (int i = 0; i < n_attrs; i++)
        assert(attrs[i].kind != H5_ATTR_TEXT ||
               (attrs[i].text && attrs[i].text_bytes <= H5_TEXT_MAX + 1));
    (void)arrays;
    (void)attrs;
}

static void request_copy(struct h5_array *arrays, const struct h5_array *from_arrays,
                         int n_arrays, struct h5_attr *attrs,
                         const struct h5_attr *from_attrs, int n_attrs)
{
    for (int i = 0; i < n_arrays; i++)
        arrays[i] = from_arrays[i];
    for (int i = 0; i < n_attrs; i++)
        attrs[i] = from_attrs[i];
}

/* A child that reads would start a child, and so on. */
static enum status child_refuse(struct err *e)
{
    if (getenv(CHILD_MARK))
        return err_set(e, ST_DEVICE, "main() does not begin with h5_child_main()");
    return ST_OK;
}

/* Read from `file`, which is closed. */
static enum status file_read(int file, const char *path, struct h5_array *arrays,
                             int n_arrays, struct h5_attr *attrs, int n_attrs,
                             struct err *e)
{
    struct h5_array got_arrays[WIRE_WANTS_MAX];
    struct h5_attr got_attrs[WIRE_WANTS_MAX];
    enum status st;
    int stream = -1;
    char **args;
    pid_t pid = -1;

    request_copy(got_arrays, arrays, n_arrays, got_attrs, attrs, n_attrs);
    args = args_make(arrays, n_arrays, attrs, n_attrs);
    st = file_check(file, path, e);
    if (st == ST_OK)
        st = args ? child_start(args, file, &stream, &pid, e)
                  : err_set(e, ST_RESOURCE, "no memory to read '%s'", path);
    free(args);
    close(file);
    TRY(st);
    TRY(child_listen(path, stream, pid, got_arrays, n_arrays, got_attrs, n_attrs, e));
    request_copy(arrays, got_arrays, n_arrays, attrs, got_attrs, n_attrs);
    return ST_OK;
}

enum status h5_read(const char *path, struct h5_array *arrays, int n_arrays,
                    struct h5_attr *attrs, int n_attrs, struct err *e)
{
    int file = -1;

    request_assert(arrays, n_arrays, attrs, n_attrs);
    TRY(child_refuse(e));
    TRY(file_open(path, &file, e));
    return file_read(file, path, arrays, n_arrays, attrs, n_attrs, e);
}

enum status h5_read_fd(int fd, const char *name, struct h5_array *arrays, int n_arrays,
                       struct h5_attr *attrs, int n_attrs, struct err *e)
{
    int file;

    request_assert(arrays, n_arrays, attrs, n_attrs);
    TRY(child_refuse(e));
    file = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (file < 0)
        return err_set(e, ST_RESOURCE, "cannot read '%s': %s", name, strerror(errno));
    return file_read(file, name, arrays, n_arrays, attrs, n_attrs, e);
}
