/* guard.c - memory with bytes of a known pattern on both sides */
#include <stdlib.h>
#include <string.h>

#include "kernels/check/check.h"

enum { GUARD_BYTES = ARENA_ALIGN, GUARD_FILL = 0xa7 };

static size_t padded(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

enum status guarded_create(size_t bytes, int fill, struct guarded **out, struct err *e)
{
    struct guarded *g = malloc(sizeof(*g));
    char *base = NULL;

    if (g && bytes < SIZE_MAX / 2)
        base = aligned_alloc(ARENA_ALIGN, 2 * GUARD_BYTES + padded(bytes));
    if (!base) {
        free(g);
        return err_set(e, ST_RESOURCE, "cannot allocate %.1f MiB of guarded memory",
                       (double)bytes / 1048576.0);
    }
    memset(base, GUARD_FILL, 2 * GUARD_BYTES + padded(bytes));
    memset(base + GUARD_BYTES, fill, bytes);
    g->p = base + GUARD_BYTES;
    g->bytes = bytes;
    g->next = NULL;
    *out = g;
    return ST_OK;
}

void guarded_destroy(struct guarded *g)
{
    if (!g)
        return;
    free((char *)g->p - GUARD_BYTES);
    free(g);
}

static bool all_guard(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != GUARD_FILL)
            return false;
    }
    return true;
}

bool guarded_intact(const struct guarded *g)
{
    const unsigned char *p = g->p;
    size_t tail = GUARD_BYTES + padded(g->bytes) - g->bytes;

    return all_guard(p - GUARD_BYTES, GUARD_BYTES) && all_guard(p + g->bytes, tail);
}
