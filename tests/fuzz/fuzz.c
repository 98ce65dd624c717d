/* fuzz.c - what the fuzz targets share */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct file *fuzz_file(const uint8_t *data, size_t bytes)
{
    static struct file f = {-1, 0, NULL};
    static char path[] = "input";

    if (f.fd < 0)
        f.fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (f.fd < 0 || ftruncate(f.fd, (off_t)bytes) != 0 ||
        (bytes && pwrite(f.fd, data, bytes, 0) != (ssize_t)bytes))
        abort();
    f.bytes = (int64_t)bytes;
    f.path = path;
    return &f;
}

void fuzz_check(enum status st, const struct err *e)
{
    if (st == ST_OK)
        return;
    if (e->status != st || !e->text[0] || strchr(e->text, '\n'))
        abort();
}
