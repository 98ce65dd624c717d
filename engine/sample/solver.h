/* solver.h - one solver step as sums with a few coefficients
 *
 * Every update of the solvers is linear in what is already there, so a step is a table
 * of numbers that depend on the step alone. With x the sample at sigma_k, v the guided
 * network output, m0 and m1 the data predictions of the two steps before, x_last the
 * (corrected) sample of the step before:
 *
 *     m      = x - sigma_k v
 *     x_last = sum of corr[i] * {x_last, m0, m1, m, x}[i]
 *     x      = sum of pred[i] * {x_last, m, m0, x, v}[i]   (x_last new, m0 old)
 *     m1     = m0,  m0 = m
 *
 * Terms with a zero coefficient are never read, so nothing needs a start value.
 *
 * unipc: order 2, data prediction, "bh2", corrector after the first step, last step of
 * order 1 (Zhao et al., arXiv 2302.04867; SkyworkAI/SkyReels-V2
 * scheduler/fm_solvers_unipc.py). dpm++: order 2, midpoint, multistep, first and last
 * step of order 1 (Lu et al., arXiv 2211.01095; Wan-Video/Wan2.1
 * wan/utils/fm_solvers.py). euler: x + (sigma_{k+1} - sigma_k) v.
 */
#ifndef ENGINE_SAMPLE_SOLVER_H
#define ENGINE_SAMPLE_SOLVER_H

#include "engine/sample/schedule.h"

enum { SOLVER_CORR = 5, SOLVER_PRED = 5 };

struct solver_step {
    double sigma;
    double corr[SOLVER_CORR]; /* of x_last, m0, m1, m, x */
    double pred[SOLVER_PRED]; /* of x_last, m, m0, x, v */
};

/* Coefficients of step k, 0 <= k < s->n. */
struct solver_step solver_step_at(const struct schedule *s, int k);

#endif
