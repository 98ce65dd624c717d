/* buf.h - a string that grows
 *
 *     struct buf b = BUF_INIT;
 *     buf_addf(&b, "%d tensors", n);
 *     if (b.failed) …                 out of memory: everything after is dropped
 *     fputs(buf_text(&b), f);
 *     buf_release(&b);
 *
 * Adding never fails at the call: `failed` is set once and stays, so that whoever
 * builds a long text checks once, at the end.
 */
#ifndef KERNELS_BASE_BUF_H
#define KERNELS_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NUL-terminated once anything was added, else NULL */
    size_t len; /* without the NUL */
    size_t cap;
    bool failed;
};

#define BUF_INIT          \
    {                     \
        NULL, 0, 0, false \
    }

/* Make room for `bytes` more and the NUL; false (and `failed`) when there is none. */
bool buf_reserve(struct buf *b, size_t bytes);

void buf_add(struct buf *b, const void *data, size_t bytes);
void buf_adds(struct buf *b, const char *text);
void buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The text so far, "" when empty. Valid until the next change. */
const char *buf_text(const struct buf *b);

/* Free the memory and make it an empty buffer again. */
void buf_release(struct buf *b);

#endif
