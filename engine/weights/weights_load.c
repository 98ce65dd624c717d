/* weights_load.c - reads the tensors of a store with several threads
 *
 * Each thread takes the next largest tensor, reads it in pieces with pread, adds the
 * pieces to its checksum, converts them, and puts the result where the plan says: at
 * once when the backend's memory is the host's, through a staging buffer and a copy
 * otherwise. The first error stops all threads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/digest.h"
#include "engine/weights/store.h"
#include "kernels/base/quantise_row.h"

enum { PIECE_BYTES = 4 << 20, THREADS_MAX = 8 };

struct load {
    struct weights *w;
    bool host;           /* may threads write to the memory themselves? */
    struct slot **order; /* largest first */
    atomic_int next;
    atomic_bool stop;
    pthread_mutex_t lock; /* of everything below */
    struct queue *queue;
    struct err err;
    int failed; /* position in `order` of the error kept, or -1 */
    int64_t done, total;
};

/* What one thread works with. */
struct reader {
    struct load *load;
    struct checksum *sum;
    void *piece; /* stored bytes */
    float *line; /* one row of them as floats */
    size_t piece_bytes, line_bytes;
};

/* ---- conversions ---------------------------------------------------------------- */

/* Rows of the piece to codes and scales. */
static enum status piece_quantise(const struct reader *r, const struct slot *s,
                                  size_t row, size_t rows, char *data, float *scales,
                                  struct err *e)
{
    const struct weights *w = r->load->w;
    size_t cols = (size_t)s->t.shape[1], width = dtype_bytes(s->stored_dtype);

    for (size_t i = 0; i < rows; i++) {
        char *codes = data + (row + i) * cols;
        float *scale = &scales[row + i];
        bool finite;

        dtype_convert(r->line, DT_F32, (const char *)r->piece + i * cols * width,
                      s->stored_dtype, cols);
        finite = w->policy.quant == QUANT_E4M3
                     ? quantise_row_e4m3(r->line, cols, (uint8_t *)codes, scale)
                     : quantise_row_i8(r->line, cols, (int8_t *)codes, scale);
        if (!finite)
            return err_set(e, ST_INPUT, "'%s': tensor '%s': row %zu is not finite",
                           source_path(w->source), s->stored->name, row + i);
    }
    return ST_OK;
}

/* [O,C,taps] of any float type to f32 or bf16 [O,taps,C]. */
static void conv_transpose(const struct reader *r, const struct slot *s, void *out)
{
    float *wide = out;
    uint16_t *narrow = out;
    size_t c_in = (size_t)s->t.shape[4], width = dtype_bytes(s->stored_dtype);
    size_t taps = (size_t)(s->t.shape[1] * s->t.shape[2] * s->t.shape[3]);

    for (size_t o = 0; o < (size_t)s->t.shape[0]; o++) {
        dtype_convert(r->line, DT_F32, (const char *)r->piece + o * c_in * taps * width,
                      s->stored_dtype, c_in * taps);
        for (size_t k = 0; k < taps; k++)
            for (size_t c = 0; c < c_in; c++) {
                float v = r->line[c * taps + k];

                if (s->t.dtype == DT_F32)
                    *wide++ = v;
                else
                    *narrow++ = f32_to_bf16(v);
            }
    }
}

/* ---- one tensor ----------------------------------------------------------------- */

/* Room for a piece and, when rows are worked on, for one of them as floats. */
static enum status buffers_reserve(struct reader *r, const struct slot *s, size_t bytes,
                                   struct err *e)
{
    size_t line = 0;
    void *p;

    if (s->transform != TRANSFORM_CONVERT && s->stored_dims[0] > 0)
        line = (size_t)(stored_elements(s->stored) / s->stored_dims[0]) * sizeof(float);
    if (line > r->line_bytes) {
        p = realloc(r->line, line);
        if (!p)
            return err_set(e, ST_RESOURCE, "cannot load weights: %zu bytes for a row",
                           line);
        r->line = p;
        r->line_bytes = line;
    }
    if (bytes > r->piece_bytes) {
        p = realloc(r->piece, bytes);
        if (!p)
            return err_set(e, ST_RESOURCE, "cannot load weights: %zu bytes for a piece",
                           bytes);
        r->piece = p;
        r->piece_bytes = bytes;
    }
    return ST_OK;
}

/* Bytes of a piece: whole rows for quantising, everything for a convolution. */
static int64_t piece_unit(const struct slot *s)
{
    int64_t row;

    if (s->transform == TRANSFORM_CONV)
        return s->stored->bytes;
    if (s->transform == TRANSFORM_CONVERT)
        return PIECE_BYTES;
    row = s->t.shape[1] * (int64_t)dtype_bytes(s->stored_dtype);
    return row > 0 && row < PIECE_BYTES ? PIECE_BYTES / row * row : row;
}

static enum status piece_place(struct reader *r, const struct slot *s, int64_t at,
                               size_t bytes, char *data, float *scales, struct err *e)
{
    size_t first = (size_t)at / dtype_bytes(s->stored_dtype);
    size_t count = bytes / dtype_bytes(s->stored_dtype);

    switch (s->transform) {
    case TRANSFORM_QUANTISE:
        return piece_quantise(r, s, first / (size_t)s->t.shape[1],
                              count / (size_t)s->t.shape[1], data, scales, e);
    case TRANSFORM_CONV:
        conv_transpose(r, s, data);
        return ST_OK;
    default:
        dtype_convert(data + first * dtype_bytes(s->t.dtype), s->t.dtype, r->piece,
                      s->stored_dtype, count);
        return ST_OK;
    }
}

/* Read the slot's tensor and leave its target bytes at `data` and `scales`. */
static enum status slot_read(struct reader *r, struct slot *s, char *data,
                             float *scales, struct err *e)
{
    const struct source *src = r->load->w->source;
    int64_t unit = piece_unit(s), total = s->stored->bytes;
    bool direct = s->transform == TRANSFORM_CONVERT && s->t.dtype == s->stored_dtype;

    checksum_reset(r->sum);
    if (!direct)
        TRY(buffers_reserve(r, s, (size_t)(unit < total ? unit : total), e));
    for (int64_t at = 0; at < total; at += unit) {
        size_t bytes = (size_t)(total - at < unit ? total - at : unit);
        void *to = direct ? data + at : r->piece;

        TRY(source_read(src, s->stored, at, to, bytes, e));
        checksum_add(r->sum, to, bytes);
        if (!direct)
            TRY(piece_place(r, s, at, bytes, data, scales, e));
    }
    s->checksum = checksum_value(r->sum);
    return ST_OK;
}

/* Copy a finished slot from staging to the backend's memory. */
static enum status slot_send(struct load *l, const struct slot *s, void *staging,
                             struct err *e)
{
    struct ops *ops = l->w->ops;
    struct tensor from = tensor_make1(staging, DT_U8, MEM_HOST, (int64_t)s->bytes);
    struct tensor to = tensor_make1((char *)l->w->memory + s->data_at, DT_U8,
                                    ops_facts(ops)->space, (int64_t)s->bytes);
    enum status st;

    pthread_mutex_lock(&l->lock);
    st = ops_copy(ops, l->queue, &to, &from, e);
    if (st == ST_OK)
        st = ops_queue_wait(ops, l->queue, e);
    pthread_mutex_unlock(&l->lock);
    return st;
}

static enum status slot_load(struct reader *r, struct slot *s, struct err *e)
{
    struct load *l = r->load;
    char *base = (char *)l->w->memory + s->data_at;
    size_t scales = s->scales_at - s->data_at;
    char *staging;
    enum status st;

    if (l->host)
        return slot_read(r, s, base, (float *)(void *)(base + scales), e);
    staging = calloc(1, s->bytes + 1);
    if (!staging)
        return err_set(e, ST_RESOURCE, "cannot load weights: %zu bytes for staging",
                       s->bytes);
    st = slot_read(r, s, staging, (float *)(void *)(staging + scales), e);
    if (st == ST_OK)
        st = slot_send(l, s, staging, e);
    free(staging);
    return st;
}

/* ---- threads -------------------------------------------------------------------- */

static void load_report(struct load *l, int i, enum status st, const struct err *e)
{
    const struct weights_policy *p = &l->w->policy;

    pthread_mutex_lock(&l->lock);
    if (st != ST_OK && (l->failed < 0 || i < l->failed)) {
        l->failed = i;
        l->err = *e;
        l->err.status = st;
        atomic_store(&l->stop, true);
    }
    l->done += l->order[i]->stored->bytes;
    if (st == ST_OK && p->progress)
        p->progress(p->progress_self, l->done, l->total);
    pthread_mutex_unlock(&l->lock);
}

static void *load_thread(void *self)
{
    struct reader r = {.load = self};
    struct load *l = self;
    struct err e = ERR_INIT;
    enum status st = checksum_create(&r.sum, &e);

    if (st != ST_OK)
        load_report(l, 0, st, &e);
    while (st == ST_OK && !atomic_load(&l->stop)) {
        int i = atomic_fetch_add(&l->next, 1);

        if (i >= l->w->n)
            break;
        st = slot_load(&r, l->order[i], &e);
        load_report(l, i, st, &e);
    }
    checksum_destroy(r.sum);
    free(r.piece);
    free(r.line);
    return NULL;
}

static int thread_count(const struct weights *w)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int n = w->policy.threads > 0 ? w->policy.threads : (int)(cores > 0 ? cores : 1);

    if (n > THREADS_MAX)
        n = THREADS_MAX;
    return n < w->n ? n : w->n;
}

/* Threads beyond the first are a help, not a need: one that cannot start is left out.
 */
static void load_run(struct load *l)
{
    pthread_t threads[THREADS_MAX];
    int n = thread_count(l->w), started = 0;

    for (int i = 1; i < n; i++)
        if (pthread_create(&threads[started], NULL, load_thread, l) == 0)
            started++;
    load_thread(l);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static int by_size(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;

    if (x->stored->bytes != y->stored->bytes)
        return x->stored->bytes > y->stored->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The views get their memory; nothing of the source is used any more. */
void weights_views_settle(struct weights *w)
{
    for (int i = 0; i < w->n; i++) {
        struct slot *s = &w->slots[i];

        s->t.data = (char *)w->memory + s->data_at;
        s->t.space = ops_facts(w->ops)->space;
        if (s->transform == TRANSFORM_QUANTISE) {
            s->t.scales.kind = SCALE_ROW;
            s->t.scales.data = (float *)(void *)((char *)w->memory + s->scales_at);
            s->t.scales.stride[0] = s->t.shape[0];
        }
        s->stored = NULL;
    }
    w->source = NULL;
    w->loaded = true;
}

static enum status load_all(struct load *l, struct err *e)
{
    struct weights *w = l->w;
    enum status st;

    l->order = malloc(((size_t)w->n + 1) * sizeof(struct slot *));
    if (!l->order)
        return err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    for (int i = 0; i < w->n; i++) {
        l->order[i] = &w->slots[i];
        l->total += w->slots[i].stored->bytes;
    }
    qsort(l->order, (size_t)w->n, sizeof(struct slot *), by_size);
    if (!l->host)
        TRY_GOTO(st, ops_queue_open(w->ops, NULL, 0, &l->queue, e), err_free);
    load_run(l);
    st = ST_OK;
    if (l->failed >= 0)
        st = err_set(e, l->err.status, "%s", l->err.text);
    if (!l->host)
        ops_queue_close(w->ops, l->queue);
err_free:
    free(l->order);
    return st;
}

static enum status store_read(struct weights *w, struct err *e)
{
    struct load l = {.w = w, .failed = -1};
    enum status st;

    l.host = ops_facts(w->ops)->space == MEM_HOST;
    pthread_mutex_init(&l.lock, NULL);
    st = load_all(&l, e);
    pthread_mutex_destroy(&l.lock);
    return st;
}

/* ---- memory ---------------------------------------------------------------------- */

void weights_memory_free(struct weights *w)
{
    if (!w->memory)
        return;
    if (w->shared)
        w->policy.share->close(w->policy.share->self, w->memory);
    else
        ops_mem_free(w->ops, w->memory);
    w->memory = NULL;
}

static enum status memory_get(struct weights *w, bool *reads, struct err *e)
{
    const struct weights_share *share = w->policy.share;
    size_t bytes = w->bytes ? w->bytes : 1;

    *reads = true;
    if (!share || ops_facts(w->ops)->space != MEM_HOST)
        return ops_mem_alloc(w->ops, bytes, &w->memory, e);
    TRY(share->open(share->self, bytes, &w->memory, reads, e));
    w->shared = true;
    return ST_OK;
}

/* Tell the ranks that did not read how it went, and what the checksums are. */
static enum status memory_settle(struct weights *w, enum status st, struct err *e)
{
    const struct weights_share *share = w->policy.share;
    size_t n = (size_t)w->n;
    uint64_t *sums;

    if (!w->shared)
        return st;
    sums = calloc(n + 1, sizeof(*sums));
    if (!sums)
        st = err_set(e, ST_RESOURCE, "cannot load weights: out of memory");
    for (size_t i = 0; i < n && sums; i++)
        sums[i] = w->slots[i].checksum;
    st = share->settle(share->self, st, sums, n * sizeof(*sums), e);
    for (size_t i = 0; i < n && sums; i++)
        w->slots[i].checksum = sums[i];
    free(sums);
    return st;
}

enum status weights_load(struct weights *w, struct ops *ops, struct err *e)
{
    enum status st;
    bool reads;

    if (w->loaded)
        return ST_OK;
    w->ops = ops;
    TRY(memory_get(w, &reads, e));
    st = reads ? store_read(w, e) : ST_OK;
    st = memory_settle(w, st, e);
    if (st != ST_OK) {
        weights_memory_free(w);
        return st;
    }
    weights_views_settle(w);
    return ST_OK;
}

/* ---- digest --------------------------------------------------------------------- */

static int by_label(const void *a, const void *b)
{
    const struct weights *x = *(const struct weights *const *)a;
    const struct weights *y = *(const struct weights *const *)b;

    return strcmp(x->label, y->label);
}

static void slot_digest(struct digest *d, const char *label, const struct slot *s,
                        struct buf *line)
{
    char dims[200];

    line->len = 0;
    buf_addf(line, "%s/%s %s %s %016llx\n", label, s->name, dtype_name(s->stored_dtype),
             stored_shape(s->stored_rank, s->stored_dims, dims, sizeof(dims)),
             (unsigned long long)s->checksum);
    digest_add(d, buf_text(line), line->len);
}

enum status weights_digest(const struct weights *const *stores, int n, char hex[65],
                           struct err *e)
{
    const struct weights **sorted = malloc(((size_t)n + 1) * sizeof(*sorted));
    struct buf line = BUF_INIT;
    struct digest *d;
    enum status st;

    if (!sorted)
        return err_set(e, ST_RESOURCE, "cannot take a digest: out of memory");
    memcpy(sorted, stores, (size_t)n * sizeof(*sorted));
    qsort(sorted, (size_t)n, sizeof(*sorted), by_label);
    TRY_GOTO(st, digest_create(&d, e), err_free);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < sorted[i]->n; k++)
            slot_digest(d, sorted[i]->label, &sorted[i]->slots[k], &line);
    if (line.failed)
        st = err_set(e, ST_RESOURCE, "cannot take a digest: out of memory");
    else
        digest_hex(d, hex);
    digest_destroy(d);
    buf_release(&line);
err_free:
    free(sorted);
    return st;
}
