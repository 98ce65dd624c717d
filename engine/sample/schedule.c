/* schedule.c - fills the shifted grid of noise levels */
#include "engine/sample/schedule.h"

enum status schedule_init(struct schedule *s, enum solver solver, int n, double shift,
                          struct err *e)
{
    double top = solver == SOLVER_DPMPP ? 1.0 : (double)0.999f;
    double step = -top / n;

    if (n < 1 || n > STEPS_MAX)
        return err_set(e, ST_USAGE, "impossible number of steps %d: 1 to %d are", n,
                       STEPS_MAX);
    if (!(shift >= 0.01 && shift <= 100.0))
        return err_set(e, ST_USAGE, "impossible shift %g: 0.01 to 100 are", shift);
    s->solver = solver;
    s->n = n;
    for (int k = 0; k < n; k++) {
        double u = k * step + top;
        double level = shift * u / (1.0 + (shift - 1.0) * u);

        s->sigma[k] = (double)(float)level;
        s->timestep[k] = (int)(1000.0 * level);
    }
    s->sigma[n] = 0.0;
    return ST_OK;
}
