/* gather.c - attention output, in parts by head, to the operand of a projection */
#include "kernels/ref/ref.h"

static float part_value(const struct head_part *parts, int n, int64_t row, int64_t col)
{
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &parts[i].t;
        int64_t dim = t->shape[2];
        int64_t h = col / dim - parts[i].head_begin;
        float v;

        if (h < 0 || h >= parts[i].n_heads)
            continue;
        v = ref_load(t, row * t->stride[0] + h * t->stride[1] + col % dim);
        return is_code(t->dtype) ? v * t->scales.data[row * t->scales.stride[0] + h]
                                 : v;
    }
    return 0.0f;
}

static float gather_value(const void *ctx, int64_t row, int64_t col)
{
    const struct op_gather *a = ctx;
    float v = part_value(a->parts, a->n_parts, row, col);

    return a->n_add ? v + part_value(a->add, a->n_add, row, col) : v;
}

enum status gather_ref(void *self, struct queue *q, const struct op_gather *a,
                       struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->out->shape[0]; r++)
        ref_emit(a->out, r, gather_value, a);
    return ST_OK;
}
