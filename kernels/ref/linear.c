/* linear.c - y = x w^T: one dot product in double for every element
 *
 * Rows that are not f32 are decoded to f32 (codes without their scales) in the
 * workspace first: all rows of x, one row of w at a time.
 */
#include "kernels/ref/ref.h"

struct decoded {
    const float *data;
    int64_t stride;
};

static size_t x_floats(const struct op_linear *a)
{
    return a->x->dtype == DT_F32 ? 0 : (size_t)(a->x->shape[0] * a->x->shape[1]);
}

size_t linear_workspace_ref(const void *self, const struct op_linear *a)
{
    (void)self;
    return (x_floats(a) + (size_t)a->w->shape[1]) * sizeof(float);
}

static struct decoded x_decode(const struct tensor *x, float *room)
{
    int64_t k = x->shape[1];

    if (x->dtype == DT_F32)
        return (struct decoded){x->data, x->stride[0]};
    for (int64_t r = 0; r < x->shape[0]; r++)
        dtype_convert(room + r * k, DT_F32, ref_at(x, r * x->stride[0]), x->dtype,
                      (size_t)k);
    return (struct decoded){room, k};
}

static float tensor_scale(const struct tensor *t)
{
    return t->scales.kind == SCALE_TENSOR ? t->scales.data[0] : 1.0f;
}

static const float *row_scales(const struct tensor *t)
{
    return t->scales.kind == SCALE_ROW ? t->scales.data : NULL;
}

static float finish(const struct op_linear *a, int64_t r, int64_t d, float v)
{
    const float *xs = row_scales(a->x), *ws = row_scales(a->w);

    v *= tensor_scale(a->w);
    if (a->pending)
        return v;
    if (xs)
        v *= xs[r];
    if (ws)
        v *= ws[d];
    if (a->bias)
        v += ref_load(a->bias, d);
    return v;
}

enum status linear_ref(void *self, struct queue *q, const struct op_linear *a,
                       struct err *e)
{
    float *x_room = (float *)q->workspace;
    float *w_row = x_room + x_floats(a);
    struct decoded x = x_decode(a->x, x_room);
    int64_t k = a->x->shape[1];

    (void)self;
    (void)e;
    for (int64_t d = 0; d < a->w->shape[0]; d++) {
        dtype_convert(w_row, DT_F32, ref_at(a->w, d * a->w->stride[0]), a->w->dtype,
                      (size_t)k);
        for (int64_t r = 0; r < a->x->shape[0]; r++) {
            float v = (float)ref_dot(x.data + r * x.stride, w_row, k);

            ref_store(a->y, r * a->y->stride[0] + d, finish(a, r, d, v));
        }
    }
    a->y->pending = (struct pending){NULL, NULL, NULL};
    if (a->pending)
        a->y->pending = (struct pending){row_scales(a->x), row_scales(a->w),
                                         a->bias ? a->bias->data : NULL};
    return ST_OK;
}
