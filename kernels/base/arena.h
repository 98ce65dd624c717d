/* arena.h - one planned allocation, cut into pieces
 *
 * A plan runs the same code twice: first on an arena without memory, which only
 * counts, then on one with memory, which hands out pointers. So the size that is
 * printed and refused beforehand is the size that is used.
 *
 *     struct arena a;
 *     arena_init(&a, NULL, 0);            counting pass
 *     dit_buffers_cut(&a, shape, &b);
 *     bytes = a.peak;
 *     … allocate bytes …
 *     arena_init(&a, memory, bytes);      real pass, same cuts
 *
 * arena_mark / arena_reset give back everything cut since the mark, so phases
 * share memory; `peak` remembers the largest use.
 */
#ifndef KERNELS_BASE_ARENA_H
#define KERNELS_BASE_ARENA_H

#include <stddef.h>

enum { ARENA_ALIGN = 256 };

struct arena {
    char *base;   /* NULL: counting only */
    size_t bytes; /* size of the memory at base */
    size_t used;
    size_t peak;
};

/* Use `bytes` of the caller's memory at `base` (256-byte aligned), or count only. */
void arena_init(struct arena *a, void *base, size_t bytes);

/* Cut `bytes`, aligned to 256. Counting: returns NULL. With memory: returns the
 * piece; cutting more than was planned is a bug of ours and asserts. */
void *arena_cut(struct arena *a, size_t bytes);

size_t arena_mark(const struct arena *a);
void arena_reset(struct arena *a, size_t mark);

/* What two phases need that take turns in the same memory. */
size_t bytes_larger(size_t a, size_t b);

#endif
