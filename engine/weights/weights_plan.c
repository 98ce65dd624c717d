/* weights_plan.c - what becomes of each tensor, and how much memory that takes
 *
 * Pure: from names, stored dtypes and shapes to target dtypes, shapes and offsets in
 * one allocation, each aligned to 256 bytes.
 */
#include <string.h>

#include "engine/weights/store.h"

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n >= k && strcmp(name + n - k, end) == 0;
}

static bool is_float(enum dtype dt)
{
    return dt == DT_F64 || dt == DT_F32 || dt == DT_F16 || dt == DT_BF16 ||
           dt == DT_E4M3 || dt == DT_E5M2;
}

static bool is_matrix(const struct slot *s)
{
    return ends_with(s->name, ".weight") &&
           (s->stored_rank == 2 || s->stored_rank >= 4) &&
           !ends_with(s->name, ".pos_embedding.embedding.weight");
}

/* A matrix that is not quantised keeps its dtype when ops read it as it is. */
static enum dtype matrix_dtype(enum dtype stored)
{
    if (stored == DT_F64)
        return DT_F32;
    return stored == DT_E4M3 || stored == DT_E5M2 ? DT_BF16 : stored;
}

/* [O,C,kt,kh,kw] or [O,C,kh,kw] to [O,kt,kh,kw,C]. */
static void conv_shape(const struct slot *s, int64_t *shape)
{
    const int64_t *d = s->stored_dims;
    bool time = s->stored_rank == 5;

    shape[0] = d[0];
    shape[1] = time ? d[2] : 1;
    shape[2] = time ? d[3] : d[2];
    shape[3] = time ? d[4] : d[3];
    shape[4] = d[1];
}

static enum status slot_plan(const struct weights *w, struct slot *s, struct err *e)
{
    const struct weights_policy *p = &w->policy;
    int64_t shape[STORED_RANK_MAX];
    enum dtype dt = DT_F32;
    int rank = s->stored_rank;

    if (!is_float(s->stored_dtype))
        return err_set(e, ST_INPUT, "'%s': tensor '%s' holds integers (%s)",
                       source_path(w->source), s->stored->name,
                       dtype_name(s->stored_dtype));
    if (rank > TENSOR_RANK_MAX)
        return err_set(e, ST_INPUT, "'%s': tensor '%s' has %d axes, at most %d allowed",
                       source_path(w->source), s->stored->name, rank,
                       (int)TENSOR_RANK_MAX);
    memcpy(shape, s->stored_dims, sizeof(shape));
    s->transform = TRANSFORM_CONVERT;
    if (p->quant != QUANT_NONE && rank == 2 && p->quantise && p->quantise(s->name)) {
        s->transform = TRANSFORM_QUANTISE;
        dt = p->quant == QUANT_E4M3 ? DT_E4M3 : DT_I8;
    } else if (p->conv_channels_last && is_matrix(s) && (rank == 4 || rank == 5)) {
        s->transform = TRANSFORM_CONV;
        dt = p->conv_dtype;
        conv_shape(s, shape);
        rank = 5;
    } else if (is_matrix(s)) {
        dt = matrix_dtype(s->stored_dtype);
    }
    s->t = tensor_make(NULL, dt, MEM_HOST, rank, shape);
    return ST_OK;
}

static size_t aligned(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

enum status weights_plan(struct weights *w, struct err *e)
{
    for (int i = 0; i < w->n; i++) {
        struct slot *s = &w->slots[i];
        size_t data, scales = 0;

        TRY(slot_plan(w, s, e));
        data = aligned((size_t)tensor_count(&s->t) * dtype_bytes(s->t.dtype));
        if (s->transform == TRANSFORM_QUANTISE)
            scales = aligned((size_t)s->t.shape[0] * sizeof(float));
        if (data > SIZE_MAX / 4 - w->bytes)
            return err_set(e, ST_INPUT, "'%s': tensor '%s' makes the model too large",
                           source_path(w->source), s->stored->name);
        s->data_at = w->bytes;
        s->scales_at = w->bytes + data;
        s->bytes = data + scales;
        w->bytes += s->bytes;
    }
    return ST_OK;
}
