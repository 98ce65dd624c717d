/* weights_host.c - reads a tensor in pieces, adds them to its checksum, converts them
 *
 * The result is written where the plan says: at once when the backend's memory is the
 * host's, through a staging buffer and a copy otherwise.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/weights/load.h"
#include "kernels/base/quantise_row.h"

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
    st = ops_copy(ops, load_copies(l), &to, &from, e);
    if (st == ST_OK)
        st = ops_queue_wait(ops, load_copies(l), e);
    pthread_mutex_unlock(&l->lock);
    return st;
}

enum status slot_load_host(struct reader *r, struct slot *s, struct err *e)
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
