/* window.c - one piece of memory for all ranks of a node
 *
 * MPI's window lies in /dev/shm, which containers often keep at 64 MiB; writing beyond
 * it ends the process with SIGBUS. So its free space is asked for first, by the first
 * rank of the node, and all its ranks do what that one says. The file that is used
 * otherwise gets its blocks before anybody writes to it, for the same reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dist/comm_mpi.h"
#include "dist/world_inside.h"

enum { ALIGNMENT = 4096, HEADROOM_BYTES = 64 << 20 };

enum window_kind { WINDOW_ALONE, WINDOW_MPI, WINDOW_FILE };

struct world_window {
    enum window_kind kind;
    struct world *world;
    MPI_Win win;
    void *data;
    size_t bytes;
    struct world_window *next; /* that was closed */
};

/* What the first rank of a node decides. */
struct window_choice {
    enum window_kind kind;
    char path[PATH_MAX]; /* of the file */
};

static size_t room_in(const char *folder)
{
    struct statvfs fs;

    if (statvfs(folder, &fs) != 0)
        return 0;
    return (size_t)fs.f_bavail * (size_t)fs.f_frsize;
}

/* ---- a file ---------------------------------------------------------------------- */

static enum status file_make(struct window_choice *c, size_t bytes, struct err *e)
{
    const char *folder = getenv("TMPDIR");
    int fd, rc;

    if (!folder || !*folder)
        folder = "/tmp";
    snprintf(c->path, sizeof(c->path), "%s/framefleet-XXXXXX", folder);
    fd = mkostemp(c->path, O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ST_RESOURCE, "cannot make a file in '%s': %s", folder,
                       strerror(errno));
    rc = posix_fallocate(fd, 0, (off_t)bytes);
    close(fd);
    if (rc == 0)
        return ST_OK;
    unlink(c->path);
    return err_set(e, ST_RESOURCE,
                   "cannot share %zu bytes of weights: %zu free in /dev/shm, %zu in "
                   "'%s'",
                   bytes, room_in("/dev/shm"), room_in(folder), folder);
}

static enum status file_map(struct world_window *win, const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    void *data;

    if (fd < 0)
        return err_set(e, ST_RESOURCE, "cannot open '%s': %s", path, strerror(errno));
    data = mmap(NULL, win->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return err_set(e, ST_RESOURCE, "cannot map %zu bytes of '%s': %s", win->bytes,
                       path, strerror(errno));
    win->data = data;
    return ST_OK;
}

/* ---- MPI's window ---------------------------------------------------------------- */

static enum status mpi_map(struct world_window *win, struct err *e)
{
    struct world *w = win->world;
    MPI_Aint mine = w->facts.node_rank == 0 ? (MPI_Aint)(win->bytes + ALIGNMENT) : 0;
    MPI_Aint size;
    char *base;
    int unit;

    TRY(comm_mpi_status(MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL,
                                                comm_mpi_handle(w->node), &base,
                                                &win->win),
                        "share memory", e));
    TRY(comm_mpi_status(MPI_Win_shared_query(win->win, 0, &size, &unit, &base),
                        "find shared memory", e));
    win->data = base + (ALIGNMENT - (size_t)base % ALIGNMENT) % ALIGNMENT;
    return ST_OK;
}

/* ---- choosing -------------------------------------------------------------------- */

static enum status choose(const struct world *w, size_t bytes, struct window_choice *c,
                          struct err *e)
{
    if (w->facts.node_rank > 0 || w->facts.node_size == 1)
        return ST_OK;
    c->kind = WINDOW_MPI;
    if (room_in("/dev/shm") >= bytes + HEADROOM_BYTES)
        return ST_OK;
    c->kind = WINDOW_FILE;
    return file_make(c, bytes, e);
}

static enum status alone_map(struct world_window *win, struct err *e)
{
    size_t rounded = (win->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    win->data = aligned_alloc(ALIGNMENT, rounded);
    if (!win->data)
        return err_set(e, ST_RESOURCE, "out of memory: %zu bytes of weights", rounded);
    return ST_OK;
}

static enum status window_map(struct world_window *win, const struct window_choice *c,
                              struct err *e)
{
    switch (win->kind) {
    case WINDOW_ALONE:
        return alone_map(win, e);
    case WINDOW_MPI:
        return mpi_map(win, e);
    default:
        return file_map(win, c->path, e);
    }
}

/* Every node decides for itself; a failure anywhere is everybody's. */
static enum status window_fill(struct world_window *win, struct err *e)
{
    struct world *w = win->world;
    struct window_choice c = {WINDOW_ALONE, ""};
    enum status st = choose(w, win->bytes, &c, e);

    st = world_agree(w, st, e);
    if (st == ST_OK)
        st = world_node_bcast(w, &c, sizeof(c), e);
    if (st == ST_OK) {
        win->kind = c.kind;
        st = window_map(win, &c, e);
        st = world_agree(w, st, e);
    }
    if (c.path[0] && w->facts.node_rank == 0)
        unlink(c.path);
    return st;
}

enum status world_window_open(struct world *w, size_t bytes, struct world_window **out,
                              struct err *e)
{
    struct world_window *win = calloc(1, sizeof(*win));
    enum status st;

    if (!win)
        return err_set(e, ST_RESOURCE, "out of memory: window");
    *win = (struct world_window){
        .world = w, .win = MPI_WIN_NULL, .bytes = bytes ? bytes : 1};
    st = window_fill(win, e);
    if (st != ST_OK) {
        world_window_close(win);
        return st;
    }
    *out = win;
    return ST_OK;
}

void *world_window_data(const struct world_window *win)
{
    return win->data;
}

void world_window_close(struct world_window *win)
{
    if (!win)
        return;
    if (win->kind == WINDOW_ALONE)
        free(win->data);
    else if (win->kind == WINDOW_FILE && win->data)
        munmap(win->data, win->bytes);
    if (win->win != MPI_WIN_NULL) {
        win->next = win->world->windows;
        win->world->windows = win;
        return;
    }
    free(win);
}

void world_windows_free(struct world *w)
{
    while (w->windows) {
        struct world_window *win = w->windows;

        w->windows = win->next;
        MPI_Win_free(&win->win);
        free(win);
    }
}
