/* combine.c - linear combinations of the sampler, and pixels */
#include <math.h>

#include "kernels/ref/ref.h"

static float combined(const struct op_combine *a, const float *coef, int64_t row,
                      int64_t col)
{
    float v = 0.0f;

    for (int i = 0; i < a->n; i++) {
        if (coef[i] != 0.0f)
            v += coef[i] * ref_load(a->in[i], row * a->in[i]->stride[0] + col);
    }
    return v;
}

enum status combine_ref(void *self, struct queue *q, const struct op_combine *a,
                        struct err *e)
{
    const struct tensor *out = a->out;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < out->shape[0]; r++) {
        int64_t f = ref_frame(a->coef, r, a->first_token, a->tokens_per_frame);
        const float *coef = (const float *)a->coef->data + f * a->coef->stride[0];

        for (int64_t c = 0; c < out->shape[1]; c++)
            ref_store(out, r * out->stride[0] + c, combined(a, coef, r, c));
    }
    return ST_OK;
}

enum status pixels_ref(void *self, struct queue *q, const struct op_pixels *a,
                       struct err *e)
{
    uint8_t *out = a->out->data;
    int64_t n = tensor_count(a->x);

    (void)self;
    (void)q;
    (void)e;
    for (int64_t i = 0; i < n; i++) {
        float v = ref_load(a->x, i) * 0.5f + 0.5f;

        out[i] = (uint8_t)(fminf(fmaxf(v, 0.0f), 1.0f) * 255.0f);
    }
    return ST_OK;
}
