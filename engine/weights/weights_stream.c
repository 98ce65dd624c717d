/* weights_stream.c - weights that get their final form where the backend computes
 *
 * A thread reads a piece of a tensor into pinned memory, sends it on its way and reads
 * the next one into its other buffer. Behind the copy an op of the backend makes what
 * the plan says: codes and scales, channels last, fp32. What stays as it is goes to its
 * place directly.
 *
 *     reader     read a | read b | wait for a's lane, read c | …
 *     copies            | a      | b      | c …
 *     work                       | codes of a | codes of b …
 *
 * One queue copies and one works, so that a copy runs beside the op on the piece before
 * it; both are filled under the load's lock. A lane is a buffer on both sides and two
 * events: it has arrived, and it is free again.
 *
 * A row that is not finite is found by the op, which keeps the number of the first one
 * of every tensor, and is told at the end.
 *
 * Types that the ops do not read (8-bit floats, and double convolutions, whose rounding
 * takes two steps on the host) are left to the host. */
#include <stdlib.h>

#include "engine/weights/load.h"

enum { LANES = 2, PAGE_BYTES = 4096 };

struct lane {
    void *pinned, *raw; /* raw: in the backend's memory */
    struct event *arrived, *freed;
};

struct stream {
    struct queue *copies, *work;
    void *pinned, *raw; /* of all lanes */
    struct lane lane[LANES * THREADS_MAX];
    void *spoilt;       /* i64 [slots]: the first row that is not finite */
    int64_t *spoilt_at; /* the same on the host */
    size_t lane_bytes;
};

/* ---- pieces ---------------------------------------------------------------------- */

static bool direct(const struct slot *s)
{
    return s->transform == TRANSFORM_CONVERT && s->t.dtype == s->stored_dtype;
}

static bool fits(const struct slot *s)
{
    enum dtype dt = s->stored_dtype;

    if (direct(s))
        return true;
    if (dt == DT_F64)
        return s->transform == TRANSFORM_QUANTISE || s->t.dtype == DT_F32;
    return dt == DT_F32 || dt == DT_BF16 || dt == DT_F16;
}

/* Bytes that stay together: a row of codes, an output channel, an element. */
static int64_t grain(const struct slot *s)
{
    int64_t n = 1;

    if (s->transform != TRANSFORM_CONVERT)
        for (int i = 1; i < s->t.rank; i++)
            n *= s->t.shape[i];
    return n * (int64_t)dtype_bytes(s->stored_dtype);
}

/* Bytes of a piece. */
static int64_t unit_of(const struct slot *s)
{
    int64_t g = grain(s);

    return g > 0 && g < PIECE_BYTES ? PIECE_BYTES / g * g : g;
}

/* ---- opening --------------------------------------------------------------------- */

static size_t lane_bytes(const struct weights *w)
{
    size_t most = PAGE_BYTES;

    for (int i = 0; i < w->n; i++) {
        const struct slot *s = &w->slots[i];
        int64_t unit = unit_of(s);

        unit = unit < s->stored->bytes ? unit : s->stored->bytes;
        if (fits(s) && (size_t)unit > most)
            most = (size_t)unit;
    }
    return (most + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static enum status lanes_open(struct stream *st, struct ops *ops, int n, struct err *e)
{
    size_t all = st->lane_bytes * (size_t)n;

    TRY(ops_pinned_alloc(ops, all, &st->pinned, e));
    TRY(ops_mem_alloc(ops, all, &st->raw, e));
    for (int i = 0; i < n; i++) {
        struct lane *lane = &st->lane[i];

        lane->pinned = (char *)st->pinned + (size_t)i * st->lane_bytes;
        lane->raw = (char *)st->raw + (size_t)i * st->lane_bytes;
        TRY(ops_event_open(ops, &lane->arrived, e));
        TRY(ops_event_open(ops, &lane->freed, e));
    }
    return ST_OK;
}

static struct tensor spoilt_view(const struct load *l, bool host)
{
    const struct stream *st = l->stream;

    return tensor_make1(host ? (void *)st->spoilt_at : st->spoilt, DT_I64,
                        host ? MEM_HOST : ops_facts(l->w->ops)->space, l->w->n);
}

static enum status spoilt_open(struct load *l, struct err *e)
{
    struct stream *st = l->stream;
    size_t n = (size_t)l->w->n;
    struct tensor host, there;

    st->spoilt_at = calloc(n + 1, sizeof(*st->spoilt_at));
    if (!st->spoilt_at)
        return err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    TRY(ops_mem_alloc(l->w->ops, (n + 1) * sizeof(*st->spoilt_at), &st->spoilt, e));
    for (size_t i = 0; i < n; i++)
        st->spoilt_at[i] = INT64_MAX;
    host = spoilt_view(l, true);
    there = spoilt_view(l, false);
    return ops_copy(l->w->ops, st->work, &there, &host, e);
}

enum status stream_open(struct load *l, struct err *e)
{
    struct ops *ops = l->w->ops;
    struct stream *st = calloc(1, sizeof(*st));

    if (!st)
        return err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    l->stream = st; /* from now on stream_close gives back what there is */
    st->lane_bytes = lane_bytes(l->w);
    TRY(ops_queue_open(ops, NULL, 0, &st->copies, e));
    TRY(ops_queue_open(ops, NULL, 0, &st->work, e));
    TRY(lanes_open(st, ops, LANES * load_threads(l->w), e));
    return spoilt_open(l, e);
}

void stream_close(struct load *l)
{
    struct stream *st = l->stream;
    struct ops *ops = l->w->ops;

    if (!st)
        return;
    ops_queue_close(ops, st->copies);
    ops_queue_close(ops, st->work);
    for (int i = 0; i < LANES * THREADS_MAX; i++) {
        ops_event_close(ops, st->lane[i].arrived);
        ops_event_close(ops, st->lane[i].freed);
    }
    ops_mem_free(ops, st->raw);
    ops_mem_free(ops, st->spoilt);
    ops_pinned_free(ops, st->pinned);
    free(st->spoilt_at);
    free(st);
    l->stream = NULL;
}

struct queue *load_copies(const struct load *l)
{
    return l->stream ? l->stream->copies : l->queue;
}

struct queue *load_work(const struct load *l)
{
    return l->stream ? l->stream->work : l->queue;
}

/* ---- one piece ------------------------------------------------------------------- */

/* Where the bytes from `at` on come to lie, and as what. */
struct place {
    struct load *l;
    struct slot *s;
    struct lane *lane;
    int64_t at, bytes;
};

static void *place_of(const struct place *p)
{
    int64_t element = p->at / (int64_t)dtype_bytes(p->s->stored_dtype);

    return (char *)p->l->w->memory + p->s->data_at +
           (size_t)element * dtype_bytes(p->s->t.dtype);
}

/* [rows of the slot's shape] of both sides. */
static struct tensor rows_view(const struct place *p, void *data, enum dtype dt)
{
    struct tensor t = p->s->t;
    int64_t shape[TENSOR_RANK_MAX];

    for (int i = 0; i < t.rank; i++)
        shape[i] = t.shape[i];
    shape[0] = p->bytes / grain(p->s);
    return tensor_make(data, dt, ops_facts(p->l->w->ops)->space, t.rank, shape);
}

static enum status codes_put(const struct place *p, struct err *e)
{
    struct stream *st = p->l->stream;
    const struct weights *w = p->l->w;
    struct tensor from = rows_view(p, p->lane->raw, p->s->stored_dtype);
    struct tensor to = rows_view(p, place_of(p), p->s->t.dtype);
    struct tensor spoilt = tensor_make1((int64_t *)st->spoilt + (p->s - w->slots),
                                        DT_I64, from.space, 1);
    int64_t first = p->at / grain(p->s);

    to.scales.kind = SCALE_ROW;
    to.scales.data = (float *)(void *)((char *)w->memory + p->s->scales_at) + first;
    to.scales.stride[0] = to.shape[0];
    return ops_quantise(w->ops, st->work,
                        &(struct op_quantise){&to, &from, &spoilt, first}, e);
}

/* [O,C,kt,kh,kw] read as [O,kt,kh,kw,C]. */
static enum status channels_put(const struct place *p, struct err *e)
{
    struct tensor from = rows_view(p, p->lane->raw, p->s->stored_dtype);
    struct tensor to = rows_view(p, place_of(p), p->s->t.dtype);
    int64_t taps = 1;

    for (int i = 3; i >= 1; i--) {
        from.stride[i] = taps;
        taps *= from.shape[i];
    }
    from.stride[4] = taps;
    return ops_convert(p->l->w->ops, p->l->stream->work,
                       &(struct op_convert){&to, &from}, e);
}

static enum status floats_put(const struct place *p, struct err *e)
{
    int64_t n = p->bytes / (int64_t)dtype_bytes(p->s->stored_dtype);
    enum mem_space space = ops_facts(p->l->w->ops)->space;
    struct tensor from = tensor_make1(p->lane->raw, p->s->stored_dtype, space, n);
    struct tensor to = tensor_make1(place_of(p), p->s->t.dtype, space, n);

    return ops_convert(p->l->w->ops, p->l->stream->work,
                       &(struct op_convert){&to, &from}, e);
}

static enum status piece_make(const struct place *p, struct err *e)
{
    if (direct(p->s))
        return ST_OK;
    if (p->s->transform == TRANSFORM_QUANTISE)
        return codes_put(p, e);
    return p->s->transform == TRANSFORM_CONV ? channels_put(p, e) : floats_put(p, e);
}

static enum status piece_put(const struct place *p, struct err *e)
{
    struct ops *ops = p->l->w->ops;
    struct stream *st = p->l->stream;
    void *there = direct(p->s) ? place_of(p) : p->lane->raw;
    struct tensor from = tensor_make1(p->lane->pinned, DT_U8, MEM_HOST, p->bytes);
    struct tensor to = tensor_make1(there, DT_U8, ops_facts(ops)->space, p->bytes);

    TRY(ops_copy(ops, st->copies, &to, &from, e));
    TRY(ops_event_record(ops, st->copies, p->lane->arrived, e));
    TRY(ops_event_await(ops, st->work, p->lane->arrived, e));
    TRY(piece_make(p, e));
    return ops_event_record(ops, st->work, p->lane->freed, e);
}

/* ---- one tensor ------------------------------------------------------------------ */

enum status slot_load_stream(struct reader *r, struct slot *s, struct err *e)
{
    struct load *l = r->load;
    int64_t unit = unit_of(s), total = s->stored->bytes;
    enum status st;

    if (!fits(s))
        return slot_load_host(r, s, e);
    checksum_reset(r->sum);
    for (int64_t at = 0; at < total; at += unit) {
        struct lane *lane = &l->stream->lane[LANES * r->number + r->turn];
        struct place p = {l, s, lane, at, total - at < unit ? total - at : unit};

        r->turn = (r->turn + 1) % LANES;
        TRY(ops_event_wait(l->w->ops, lane->freed, e));
        TRY(source_read(l->w->source, s->stored, at, lane->pinned, (size_t)p.bytes, e));
        checksum_add(r->sum, lane->pinned, (size_t)p.bytes);
        pthread_mutex_lock(&l->lock);
        st = piece_put(&p, e);
        pthread_mutex_unlock(&l->lock);
        TRY(st);
    }
    s->checksum = checksum_value(r->sum);
    return ST_OK;
}

enum status stream_finish(struct load *l, struct err *e)
{
    const struct weights *w = l->w;
    struct stream *st = l->stream;
    struct tensor host = spoilt_view(l, true), there = spoilt_view(l, false);

    TRY(ops_queue_wait(w->ops, st->copies, e));
    TRY(ops_copy(w->ops, st->work, &host, &there, e));
    TRY(ops_queue_wait(w->ops, st->work, e));
    for (int i = 0; i < w->n; i++)
        if (st->spoilt_at[i] != INT64_MAX)
            return err_set(e, ST_INPUT, "'%s': tensor '%s': row %lld is not finite",
                           source_path(w->source), w->slots[i].stored->name,
                           (long long)st->spoilt_at[i]);
    return ST_OK;
}
