/* act.c - activations, alone or gated -> operand
 *
 * An activation is computed in double and rounded once, so that the 8-bit codes made of
 * it are the oracle's. With s(x) = 1 / (1 + e^-x):
 *
 *     SiLU       x s(x)
 *     GELU tanh  x s(2 sqrt(2/pi) (x + 0.044715 x^3)), since 1 + tanh(u) = 2 s(2u)
 *     GELU erf   x (1 + erf(x / sqrt 2)) / 2, through the C library
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"

/* e^x for |x| <= 700, within 2 ulp: x = n ln 2 + r, a Taylor polynomial for e^r. */
FF_INLINE double exp_double(double x)
{
    const double round = 6755399441055744.0; /* 1.5 * 2^52 */
    double c = x < -700.0 ? -700.0 : x > 700.0 ? 700.0 : x;
    double t = c * 1.4426950408889634 + round;
    double n = t - round;
    double r = (c - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 479001600.0;
    uint64_t u, magic;

    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r * r + r;
    p = p + 1.0;
    memcpy(&u, &t, sizeof(u));
    memcpy(&magic, &round, sizeof(magic));
    u = (u - magic) << 52;
    memcpy(&magic, &p, sizeof(magic));
    u += magic;
    memcpy(&p, &u, sizeof(p));
    return p;
}

FF_CLONES static void silu(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x = (double)v[i];

        v[i] = (float)(x / (1.0 + exp_double(-x)));
    }
}

FF_CLONES static void gelu_tanh(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x = (double)v[i];
        double u = 1.5957691216057308 * (x + 0.044715 * x * x * x);

        v[i] = (float)(x / (1.0 + exp_double(-u)));
    }
}

static void gelu_erf(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x = (double)v[i];

        v[i] = (float)(0.5 * x * (1.0 + erf(x * 0.70710678118654752440)));
    }
}

void act_apply(enum act_kind act, float *v, int64_t n)
{
    switch (act) {
    case ACT_GELU_TANH:
        gelu_tanh(v, n);
        break;
    case ACT_GELU_ERF:
        gelu_erf(v, n);
        break;
    case ACT_SILU:
        silu(v, n);
        break;
    case ACT_NONE:
        break;
    }
}

FF_CLONES static void multiply(float *restrict v, int64_t n, const float *restrict f)
{
    for (int64_t i = 0; i < n; i++)
        v[i] *= f[i];
}

static void act_values(const void *ctx, int64_t row, int64_t col, int64_t n, float *v)
{
    const struct op_act *a = ctx;
    float gated[ROW_CHUNK];

    span_row(a->x, row, col, n, v);
    act_apply(a->act, v, n);
    if (a->gated) {
        span_row(a->gated, row, col, n, gated);
        multiply(v, n, gated);
    }
}

static void act_one(const void *ctx, int64_t row)
{
    const struct op_act *a = ctx;

    rows_emit(a->out, row, act_values, a);
}

enum status act_cpu(void *self, struct queue *q, const struct op_act *a, struct err *e)
{
    (void)q;
    (void)e;
    rows_run(self, a->x->shape[0], 4 * a->x->shape[1], act_one, a);
    return ST_OK;
}
