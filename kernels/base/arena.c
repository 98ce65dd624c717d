/* arena.c - counts or cuts pieces of one allocation */
#include "kernels/base/arena.h"

#include <assert.h>

void arena_init(struct arena *a, void *base, size_t bytes)
{
    a->base = base;
    a->bytes = bytes;
    a->used = 0;
    a->peak = 0;
}

void *arena_cut(struct arena *a, size_t bytes)
{
    size_t at = a->used;

    a->used = at + (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (a->used > a->peak)
        a->peak = a->used;
    if (!a->base)
        return NULL;
    assert(a->used <= a->bytes);
    return a->base + at;
}

size_t arena_mark(const struct arena *a)
{
    return a->used;
}

void arena_reset(struct arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}

size_t bytes_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}
