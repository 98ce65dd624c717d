/* schedule.h - noise levels and network timesteps of a sampler
 *
 * Flow matching: a latent at noise level sigma is (1 - sigma) x0 + sigma eps. The
 * shifted grid of n steps with shift S is s = S u / (1 + (S - 1) u) over u falling from
 * u_0:
 *
 *     unipc   u_k = u_0 - k u_0 / n, u_0 = 0.999f
 *             SkyworkAI/SkyReels-V2 scheduler/fm_solvers_unipc.py
 *     dpm++   the same with u_0 = 1, Wan-Video/Wan2.1 wan/utils/fm_solvers.py
 *     euler   the grid of unipc, with Euler updates
 *
 * The order of operations is that of the originals: trunc(1000 s) depends on it.
 *
 * The network is shown trunc(1000 s); the solver uses s rounded to fp32, held in
 * double. sigma[n] = 0.
 */
#ifndef ENGINE_SAMPLE_SCHEDULE_H
#define ENGINE_SAMPLE_SCHEDULE_H

#include "kernels/base/err.h"

enum { STEPS_MAX = 1000 };

enum solver { SOLVER_UNIPC, SOLVER_DPMPP, SOLVER_EULER };

struct schedule {
    enum solver solver;
    int n;
    double sigma[STEPS_MAX + 1]; /* fp32 values */
    int timestep[STEPS_MAX];     /* 0 … 1000 */
};

/* 1 <= n <= STEPS_MAX and 0.01 <= shift <= 100, or ST_USAGE. */
enum status schedule_init(struct schedule *s, enum solver solver, int n, double shift,
                          struct err *e);

#endif
