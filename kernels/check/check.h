/* check.h - what the files of the checking backend share
 *
 * The backend wraps another one whose tensors lie in host memory, and looks at every op
 * from outside:
 *
 * - outputs are filled with a NaN of a pattern of their own (codes: 0xff, or 0x80 for
 *   int8), so that an element that was not written, or became NaN, is found and named;
 * - data, scales and pending vectors of inputs are the same bytes afterwards;
 * - bytes between the elements of a strided output are the same bytes afterwards;
 * - the op gets a workspace of exactly the planned size, full of NaN, between guards;
 * - memory from mem_alloc lies between guards, which are looked at after every op.
 *
 * A finding is ST_DEVICE with one line that names op and argument. An op costs several
 * passes over its tensors and allocates: this is for tests.
 */
#ifndef KERNELS_CHECK_CHECK_H
#define KERNELS_CHECK_CHECK_H

#include "kernels/backend.h"

/* ---- guard.c: memory between guards ---------------------------------------------- */

struct guarded {
    void *p; /* the user's memory */
    size_t bytes;
    struct guarded *next;
};

/* `bytes` of memory full of `fill`, 256-byte aligned, with guards on both sides. */
enum status guarded_create(size_t bytes, int fill, struct guarded **out, struct err *e);
void guarded_destroy(struct guarded *g);
/* Are the guards as they were made? */
bool guarded_intact(const struct guarded *g);

/* ---- touch.c: what each op reads and writes ------------------------------------- */

enum touch_kind { TOUCH_READ, TOUCH_WRITE, TOUCH_UPDATE };

enum { TOUCH_MAX = 512 };

struct touch {
    struct tensor t; /* scales and pending vectors are touches of their own */
    const char *name;
    enum touch_kind kind;
    uint64_t digest; /* of what is read */
    char *before;    /* the span of what is written, before and after the op */
    char *after;
};

struct touches {
    const char *op;
    int n;
    bool full; /* more than TOUCH_MAX */
    struct touch v[TOUCH_MAX];
};

#define TOUCH_PROTO(op) void touch_##op(const struct op_##op *a, struct touches *ts);
OPS_LIST(TOUCH_PROTO)
#undef TOUCH_PROTO

/* ---- watch.c: looking before and after ------------------------------------------ */

/* Poison and remember; then compare. `watch_end` releases in any case. */
enum status watch_begin(struct touches *ts, int byte_poison, struct err *e);
enum status watch_compare(struct touches *ts, struct err *e);
void watch_end(struct touches *ts);

#endif
