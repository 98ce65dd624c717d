/* watch.c - poisons outputs, digests inputs, and compares after the op
 *
 * The span of a tensor is everything from its first to its last element. Several
 * outputs may lie within each other's spans (heads scattered into one send buffer), so
 * stray writes are found by putting back the old elements of all outputs first: then
 * every span must be what it was.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/check/check.h"

/* ---- elements -------------------------------------------------------------------- */

/* Rows of a tensor: everything but the last axis, flattened. */
static int64_t row_count(const struct tensor *t)
{
    int64_t n = 1;

    for (int i = 0; i + 1 < t->rank; i++)
        n *= t->shape[i];
    return n;
}

/* Byte offset of a row's first element. */
static size_t row_offset(const struct tensor *t, int64_t row)
{
    int64_t at = 0;

    for (int i = t->rank - 2; i >= 0; i--) {
        at += row % t->shape[i] * t->stride[i];
        row /= t->shape[i];
    }
    return (size_t)at * dtype_bytes(t->dtype);
}

static size_t span_bytes(const struct tensor *t)
{
    int64_t last = 0;

    for (int i = 0; i < t->rank; i++)
        last += (t->shape[i] - 1) * t->stride[i];
    return (size_t)(last + 1) * dtype_bytes(t->dtype);
}

/* Visits elements in order; `at` is the byte offset from the first one. */
typedef void visit_fn(void *ctx, size_t at, int64_t index);

static void visit(const struct tensor *t, visit_fn *fn, void *ctx)
{
    int64_t rows = row_count(t);
    int64_t n = t->shape[t->rank - 1];
    size_t step = (size_t)t->stride[t->rank - 1] * dtype_bytes(t->dtype);

    for (int64_t r = 0; r < rows; r++) {
        size_t at = row_offset(t, r);

        for (int64_t i = 0; i < n; i++)
            fn(ctx, at + (size_t)i * step, r * n + i);
    }
}

struct element_copy {
    char *dst;
    const char *src;
    size_t bytes;
};

static void copy_one(void *ctx, size_t at, int64_t index)
{
    const struct element_copy *c = ctx;

    (void)index;
    memcpy(c->dst + at, c->src + at, c->bytes);
}

static void elements_copy(const struct tensor *t, void *dst, const void *src)
{
    struct element_copy c = {dst, src, dtype_bytes(t->dtype)};

    visit(t, copy_one, &c);
}

/* ---- inputs ---------------------------------------------------------------------- */

struct digest {
    const unsigned char *base;
    size_t bytes;
    uint64_t sum; /* FNV-1a */
};

static void digest_one(void *ctx, size_t at, int64_t index)
{
    struct digest *d = ctx;

    (void)index;
    for (size_t i = 0; i < d->bytes; i++)
        d->sum = (d->sum ^ d->base[at + i]) * 0x100000001b3u;
}

static uint64_t elements_digest(const struct tensor *t)
{
    struct digest d = {t->data, dtype_bytes(t->dtype), 0xcbf29ce484222325u};

    visit(t, digest_one, &d);
    return d.sum;
}

/* ---- poison ---------------------------------------------------------------------- */

/* The bytes, low end first, that stand for "not written". */
static const unsigned char *poison_of(enum dtype dt, const unsigned char *byte)
{
    static const unsigned char f32[] = {0xa5, 0xa5, 0xa5, 0x7f};
    static const unsigned char bf16[] = {0xa5, 0x7f};
    static const unsigned char f16[] = {0xa5, 0x7d};
    static const unsigned char f64[] = {0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xf4, 0x7f};
    static const unsigned char i8[] = {0x80};
    static const unsigned char other[] = {0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff};

    switch (dt) {
    case DT_F32:
        return f32;
    case DT_BF16:
        return bf16;
    case DT_F16:
        return f16;
    case DT_F64:
        return f64;
    case DT_I8:
        return i8;
    case DT_U8:
        return byte;
    default:
        return other;
    }
}

struct filling {
    char *base;
    const unsigned char *poison;
    size_t bytes;
};

static void fill_one(void *ctx, size_t at, int64_t index)
{
    const struct filling *f = ctx;

    (void)index;
    memcpy(f->base + at, f->poison, f->bytes);
}

struct finding {
    const char *base;
    enum dtype dt;
    const unsigned char *poison;
    int64_t unwritten, nan; /* index of the first, or -1 */
};

static void look_one(void *ctx, size_t at, int64_t index)
{
    struct finding *f = ctx;
    float v = 0.0f;

    if (f->dt == DT_U8 || f->dt == DT_I32 || f->dt == DT_I64)
        return;
    if (memcmp(f->base + at, f->poison, dtype_bytes(f->dt)) == 0) {
        if (f->unwritten < 0)
            f->unwritten = index;
        return;
    }
    dtype_convert(&v, DT_F32, f->base + at, f->dt, 1);
    if (isnan(v) && f->nan < 0)
        f->nan = index;
}

/* ---- before ---------------------------------------------------------------------- */

static enum status touch_remember(struct touches *ts, struct touch *w, struct err *e)
{
    size_t bytes = span_bytes(&w->t);

    if (w->kind == TOUCH_READ) {
        w->digest = elements_digest(&w->t);
        return ST_OK;
    }
    w->before = malloc(bytes);
    w->after = malloc(bytes);
    if (!w->before || !w->after)
        return err_set(e, ST_RESOURCE, "%s: no memory to watch '%s'", ts->op, w->name);
    memcpy(w->before, w->t.data, bytes);
    return ST_OK;
}

enum status watch_begin(struct touches *ts, int byte_poison, struct err *e)
{
    unsigned char byte = (unsigned char)byte_poison;

    if (ts->full)
        return err_set(e, ST_USAGE, "%s: more than %d tensors to watch", ts->op,
                       TOUCH_MAX);
    for (int i = 0; i < ts->n; i++) {
        struct touch *w = &ts->v[i];
        struct filling f = {w->t.data, poison_of(w->t.dtype, &byte),
                            dtype_bytes(w->t.dtype)};

        if (w->kind == TOUCH_WRITE)
            visit(&w->t, fill_one, &f);
    }
    for (int i = 0; i < ts->n; i++)
        TRY(touch_remember(ts, &ts->v[i], e));
    return ST_OK;
}

/* ---- after ----------------------------------------------------------------------- */

static enum status elements_look(const struct touches *ts, const struct touch *w,
                                 struct err *e)
{
    unsigned char none = 0;
    struct finding f = {w->t.data, w->t.dtype, poison_of(w->t.dtype, &none), -1, -1};

    if (w->kind == TOUCH_READ) {
        if (elements_digest(&w->t) != w->digest)
            return err_set(e, ST_DEVICE, "%s: input '%s' was changed", ts->op, w->name);
        return ST_OK;
    }
    visit(&w->t, look_one, &f);
    if (f.unwritten >= 0)
        return err_set(e, ST_DEVICE, "%s: '%s' was not written at element %lld", ts->op,
                       w->name, (long long)f.unwritten);
    if (f.nan >= 0)
        return err_set(e, ST_DEVICE, "%s: '%s' is NaN at element %lld", ts->op, w->name,
                       (long long)f.nan);
    return ST_OK;
}

/* Were bytes written between the elements of outputs? */
static enum status gaps_look(struct touches *ts, struct err *e)
{
    enum status st = ST_OK;

    for (int i = 0; i < ts->n; i++) {
        if (ts->v[i].before)
            memcpy(ts->v[i].after, ts->v[i].t.data, span_bytes(&ts->v[i].t));
    }
    for (int i = 0; i < ts->n; i++) {
        if (ts->v[i].before)
            elements_copy(&ts->v[i].t, ts->v[i].t.data, ts->v[i].before);
    }
    for (int i = 0; i < ts->n; i++) {
        struct touch *w = &ts->v[i];

        if (w->before && memcmp(w->before, w->t.data, span_bytes(&w->t)) != 0)
            st = err_set(e, ST_DEVICE,
                         "%s: bytes between elements of '%s' were written", ts->op,
                         w->name);
    }
    for (int i = 0; i < ts->n; i++) {
        if (ts->v[i].before)
            elements_copy(&ts->v[i].t, ts->v[i].t.data, ts->v[i].after);
    }
    return st;
}

enum status watch_compare(struct touches *ts, struct err *e)
{
    for (int i = 0; i < ts->n; i++)
        TRY(elements_look(ts, &ts->v[i], e));
    return gaps_look(ts, e);
}

void watch_end(struct touches *ts)
{
    for (int i = 0; i < ts->n; i++) {
        free(ts->v[i].before);
        free(ts->v[i].after);
    }
    ts->n = 0;
}
