/* child.c - the process that lets HDF5 parse a stranger's file
 *
 * Descriptor 0 is the file, 1 the pipe to the parent. Before the first byte of the file
 * is parsed the process gives up what it does not need: memory beyond 64 MiB more than
 * it has, processor time beyond two seconds plus one per 32 MiB of file, writing to
 * files, core dumps, plugins. Once the file is open, no other can be: the limit of
 * descriptors goes to zero, so external storage and links fail even past our checks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/h5/walk.h"

#define MEMORY_BYTES ((rlim_t)64 << 20)

/* The address sanitizer reserves terabytes of addresses. */
#if defined(__SANITIZE_ADDRESS__)
enum { LIMIT_MEMORY = 0 };
#else
enum { LIMIT_MEMORY = 1 };
#endif

static bool limit_set(int what, rlim_t value)
{
    struct rlimit r = {value, value};

    return setrlimit(what, &r) == 0;
}

/* Bytes of address space in use, 0 when unknown. */
static rlim_t memory_now(void)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    return (rlim_t)strtoull(text, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);
}

static bool limits_set(void)
{
    rlim_t memory = memory_now();
    struct stat sb;

    if (fstat(0, &sb) < 0 || memory == 0)
        return false;
    if (LIMIT_MEMORY && !limit_set(RLIMIT_AS, memory + MEMORY_BYTES))
        return false;
    return limit_set(RLIMIT_CPU, 2 + (rlim_t)(sb.st_size >> 25)) &&
           limit_set(RLIMIT_CORE, 0) && limit_set(RLIMIT_FSIZE, 0);
}

static bool write_all(const void *data, size_t n)
{
    const char *at = data;

    while (n > 0) {
        ssize_t done = write(1, at, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static enum status pipe_put(void *self, enum wire_tag tag, const void *bytes, size_t n,
                            struct err *e)
{
    struct wire_head head = {(uint32_t)tag, (uint32_t)n};

    (void)self;
    if (!write_all(&head, sizeof(head)) || !write_all(bytes, n))
        return err_set(e, ST_DEVICE, "the reader is gone");
    return ST_OK;
}

static enum status file_answer(const struct wire_request *rq, struct h5_sink *sink,
                               struct err *e)
{
    hid_t file;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
    file = H5Fopen("/proc/self/fd/0", H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return err_set(e, ST_INPUT, "not a whole HDF5 file");
    if (!limit_set(RLIMIT_NOFILE, 0))
        return err_set(e, ST_INPUT, "cannot give up opening files");
    return h5_walk(file, rq, sink, e);
}

int h5_child_main(int argc, char **argv)
{
    struct wire_request rq;
    struct h5_sink sink = {pipe_put, NULL};
    struct err e = ERR_INIT;

    if (argc < 2 || strcmp(argv[1], WIRE_ARGUMENT) != 0)
        return -1;
    if (!wire_unpack(argc - 2, argv + 2, &rq) || !limits_set())
        return 1;
    if (file_answer(&rq, &sink, &e) == ST_OK)
        pipe_put(NULL, WIRE_END, NULL, 0, &e);
    else
        pipe_put(NULL, WIRE_ERROR, e.text, strlen(e.text), &e);
    return 0;
}
