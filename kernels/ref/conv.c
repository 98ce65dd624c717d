/* conv.c - convolution: gather the pixels under the kernel, one dot product per output
 *
 * The gathered values [kt,kh,kw,C] lie as a row of the weight does. Workspace: one such
 * row, and the weight as f32 when it is stored as bf16.
 */
#include <string.h>

#include "kernels/ref/ref.h"

static int64_t patch_floats(const struct op_conv *a)
{
    const int64_t *s = a->weight->shape;

    return s[1] * s[2] * s[3] * s[4];
}

size_t conv_workspace_ref(const void *self, const struct op_conv *a)
{
    int64_t n = patch_floats(a);

    (void)self;
    if (a->weight->dtype != DT_F32)
        n += tensor_count(a->weight);
    return (size_t)n * sizeof(float);
}

/* The C values of input pixel t, h, w (of the doubled picture); zeros outside. */
static void pixel_load(const struct op_conv *a, int64_t t, int64_t h, int64_t w,
                       float *out)
{
    const struct tensor *x = a->x;
    int64_t up = a->upsample;
    size_t channels = (size_t)x->shape[3];
    int64_t at;

    if (t < 0 || t >= x->shape[0] || h < 0 || h >= x->shape[1] * up || w < 0 ||
        w >= x->shape[2] * up) {
        memset(out, 0, channels * sizeof(*out));
        return;
    }
    at = t * x->stride[0] + h / up * x->stride[1] + w / up * x->stride[2];
    dtype_convert(out, DT_F32, ref_at(x, at), x->dtype, channels);
}

/* All values under the kernel whose first tap is at t, h, w. */
static void patch_load(const struct op_conv *a, int64_t t, int64_t h, int64_t w,
                       float *out)
{
    const int64_t *s = a->weight->shape;

    for (int64_t i = 0; i < s[1]; i++) {
        for (int64_t j = 0; j < s[2]; j++) {
            for (int64_t k = 0; k < s[3]; k++) {
                pixel_load(a, t + i, h + j, w + k, out);
                out += s[4];
            }
        }
    }
}

static void pixel_store(const struct op_conv *a, const float *weight,
                        const float *patch, int64_t t, int64_t h, int64_t w)
{
    const struct tensor *y = a->y, *res = a->residual;
    int64_t n = patch_floats(a);
    int64_t at = t * y->stride[0] + h * y->stride[1] + w * y->stride[2];

    for (int64_t o = 0; o < y->shape[3]; o++) {
        float v = (float)ref_dot(patch, weight + o * n, n);

        if (a->bias)
            v += ref_load(a->bias, o);
        if (res)
            v += ref_load(res, t * res->stride[0] + h * res->stride[1] +
                                   w * res->stride[2] + o);
        ref_store(y, at + o, v);
    }
}

enum status conv_ref(void *self, struct queue *q, const struct op_conv *a,
                     struct err *e)
{
    float *patch = (float *)q->workspace;
    const float *weight = a->weight->data;
    const int64_t *n = a->y->shape;

    (void)self;
    (void)e;
    if (a->weight->dtype != DT_F32) {
        float *room = patch + patch_floats(a);

        dtype_convert(room, DT_F32, a->weight->data, a->weight->dtype,
                      (size_t)tensor_count(a->weight));
        weight = room;
    }
    for (int64_t t = 0; t < n[0]; t++) {
        for (int64_t h = 0; h < n[1]; h++) {
            for (int64_t w = 0; w < n[2]; w++) {
                patch_load(a, t * a->stride[0] - a->pad_lo[0],
                           h * a->stride[1] - a->pad_lo[1],
                           w * a->stride[2] - a->pad_lo[2], patch);
                pixel_store(a, weight, patch, t, h, w);
            }
        }
    }
    return ST_OK;
}
