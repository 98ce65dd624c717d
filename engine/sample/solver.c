/* solver.c - coefficients of UniPC, DPM-Solver++ and Euler steps, in double
 *
 * lambda(s) = ln(1 - s) - ln(s), h = lambda(t) - lambda(s), E = exp(-h) - 1 for a step
 * from noise level s to t. At s = 1 lambda is -infinity and E = -1; at t = 0 the step
 * ends in the data prediction itself.
 */
#include "engine/sample/solver.h"

#include <math.h>

enum { X_LAST = 0, CORR_M0 = 1, CORR_M1 = 2, CORR_M = 3, CORR_X = 4 };
enum { PRED_M = 1, PRED_M0 = 2, PRED_X = 3, PRED_V = 4 };

static double lambda(double s)
{
    return log1p(-s) - log(s);
}

/* Corrector of UniPC from sigma[k-1] to sigma[k]; the predictor before used order p. */
static void unipc_correct(const struct schedule *s, int k, int p, double *c)
{
    double from = s->sigma[k - 1], to = s->sigma[k];
    double h = lambda(to) - lambda(from);
    double big_e = expm1(-h);
    double w = -(1.0 - to) * big_e;
    double r, b1, b2, rho1, rho2, phi;

    c[X_LAST] = to / from;
    if (p == 1) {
        c[CORR_M0] = w * 0.5;
        c[CORR_M] = w * 0.5;
        return;
    }
    r = (lambda(s->sigma[k - 2]) - lambda(from)) / h;
    phi = big_e / -h - 1.0;
    b1 = phi / big_e;
    b2 = (phi / -h - 0.5) * 2.0 / big_e;
    rho1 = (b1 - b2) / (1.0 - r);
    rho2 = b1 - rho1;
    c[CORR_M1] = w * rho1 / r;
    c[CORR_M] = w * rho2;
    c[CORR_M0] = w * (1.0 - rho1 / r - rho2);
}

static int unipc_order(const struct schedule *s, int k)
{
    int p = k + 1 < 2 ? k + 1 : 2;

    return s->n - k < p ? s->n - k : p;
}

static void unipc_predict(const struct schedule *s, int k, double *c)
{
    double from = s->sigma[k], to = s->sigma[k + 1];
    double h, w, r;

    if (to == 0.0) {
        c[PRED_M] = 1.0;
        return;
    }
    h = lambda(to) - lambda(from);
    w = -(1.0 - to) * expm1(-h);
    c[X_LAST] = to / from;
    c[PRED_M] = w;
    if (unipc_order(s, k) == 2) {
        r = (lambda(s->sigma[k - 1]) - lambda(from)) / h;
        c[PRED_M] -= w * 0.5 / r;
        c[PRED_M0] = w * 0.5 / r;
    }
}

static void dpmpp_predict(const struct schedule *s, int k, double *c)
{
    double from = s->sigma[k], to = s->sigma[k + 1];
    double h, w, r;

    if (to == 0.0) {
        c[PRED_M] = 1.0;
        return;
    }
    if (from == 1.0) {
        c[PRED_X] = to;
        c[PRED_M] = 1.0 - to;
        return;
    }
    h = lambda(to) - lambda(from);
    w = -(1.0 - to) * expm1(-h);
    c[PRED_X] = to / from;
    c[PRED_M] = w;
    if (k > 0 && s->sigma[k - 1] < 1.0) {
        r = (lambda(from) - lambda(s->sigma[k - 1])) / h;
        c[PRED_M] += w * 0.5 / r;
        c[PRED_M0] = -w * 0.5 / r;
    }
}

struct solver_step solver_step_at(const struct schedule *s, int k)
{
    struct solver_step step = {.sigma = s->sigma[k]};

    if (s->solver == SOLVER_UNIPC) {
        if (k > 0)
            unipc_correct(s, k, unipc_order(s, k - 1), step.corr);
        else
            step.corr[CORR_X] = 1.0;
        unipc_predict(s, k, step.pred);
    } else {
        step.corr[CORR_X] = 1.0;
        if (s->solver == SOLVER_DPMPP) {
            dpmpp_predict(s, k, step.pred);
        } else {
            step.pred[PRED_X] = 1.0;
            step.pred[PRED_V] = s->sigma[k + 1] - s->sigma[k];
        }
    }
    return step;
}
