/* act.c - activations, alone or gated -> operand */
#include <math.h>

#include "kernels/ref/ref.h"

float ref_act(enum act_kind act, float v)
{
    const double root_2_pi = 0.79788456080286535588; /* sqrt(2 / pi) */
    const double root_half = 0.70710678118654752440;
    double x = (double)v;

    switch (act) {
    case ACT_GELU_TANH:
        return (float)(0.5 * x * (1.0 + tanh(root_2_pi * (x + 0.044715 * x * x * x))));
    case ACT_GELU_ERF:
        return (float)(0.5 * x * (1.0 + erf(x * root_half)));
    case ACT_SILU:
        return (float)(x / (1.0 + exp(-x)));
    case ACT_NONE:
        break;
    }
    return v;
}

static float gated_value(const void *ctx, int64_t row, int64_t col)
{
    const struct op_act *a = ctx;
    float v = ref_act(a->act, ref_value(a->x, row, col));

    return a->gated ? v * ref_value(a->gated, row, col) : v;
}

enum status act_ref(void *self, struct queue *q, const struct op_act *a, struct err *e)
{
    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->x->shape[0]; r++)
        ref_emit(a->out, r, gated_value, a);
    return ST_OK;
}
