/* matrix.c - steps the blocks' counters until all are done */
#include "engine/sample/matrix.h"

#include <stdlib.h>
#include <string.h>

enum { NOT_STARTED = 999 };

/* Counters of all blocks after one more row; `now` and `next` may not be the same. */
static void counters_advance(const struct matrix_args *a, int steps, int blocks,
                             const int *now, int *next)
{
    for (int b = 0; b < blocks; b++) {
        if (b == 0 || now[b - 1] >= steps)
            next[b] = now[b] + 1;
        else
            next[b] = next[b - 1] - a->ar_step;
    }
    for (int b = 0; b < blocks; b++) {
        if (next[b] < 0)
            next[b] = 0;
        if (next[b] > steps + 1)
            next[b] = steps + 1;
    }
}

static bool counters_done(const int *now, int steps, int blocks)
{
    for (int b = 0; b < blocks; b++) {
        if (now[b] < steps)
            return false;
    }
    return true;
}

static int timestep_of(const struct schedule *s, int counter)
{
    if (counter == 0)
        return NOT_STARTED;
    return counter > s->n ? 0 : s->timestep[counter - 1];
}

/* Write one row: every block's entry, spread over its frames. */
static void row_write(struct matrix *m, const struct schedule *s, int block, int row,
                      const int *now, const int *next)
{
    int16_t *t = m->timestep + (size_t)row * (size_t)m->frames;
    int16_t *step = m->step + (size_t)row * (size_t)m->frames;

    for (int f = 0; f < m->frames; f++) {
        int b = f / block;
        bool updated = next[b] != now[b] && next[b] != s->n + 1;

        t[f] = (int16_t)timestep_of(s, next[b]);
        step[f] = (int16_t)(updated ? next[b] - 1 : -1);
    }
}

static enum status args_check(const struct schedule *s, const struct matrix_args *a,
                              struct err *e)
{
    int low = a->frames / a->block * a->block;

    if (a->frames % a->block)
        return err_set(e, ST_USAGE,
                       "impossible causal_block_size %d: it does not divide the %d "
                       "latent frames of a segment; %d or %d latent frames (%d or %d "
                       "frames) would do",
                       a->block, a->frames, low > 0 ? low : a->block, low + a->block,
                       4 * ((low > 0 ? low : a->block) - 1) + 1,
                       4 * (low + a->block - 1) + 1);
    if (a->window < a->frames && a->ar_step * (a->window / a->block) < s->n)
        return err_set(e, ST_USAGE,
                       "impossible window of %d latent frames: ar_step %d needs at "
                       "least %d blocks of %d",
                       a->window, a->ar_step,
                       a->ar_step ? (s->n + a->ar_step - 1) / a->ar_step : 0, a->block);
    return ST_OK;
}

int matrix_rows(int steps, const struct matrix_args *a)
{
    int open_blocks = a->frames / a->block - a->finished / a->block;
    int lag = a->ar_step < steps ? a->ar_step : steps;

    return open_blocks > 0 ? steps + lag * (open_blocks - 1) : 0;
}

/* Run the counters; `now` and `next` hold one counter per block. */
static void rows_fill(struct matrix *m, const struct schedule *s,
                      const struct matrix_args *a, int *now, int *next)
{
    int blocks = a->frames / a->block;
    int wide = a->window / a->block;
    int end = wide < blocks ? wide : blocks;

    for (int b = 0; b < blocks; b++)
        now[b] = b < a->finished / a->block ? s->n + 1 : 0;
    for (m->rows = 0; !counters_done(now, s->n, blocks); m->rows++) {
        counters_advance(a, s->n, blocks, now, next);
        row_write(m, s, a->block, m->rows, now, next);
        if (end < blocks && next[end] != now[end] && next[end] != s->n + 1)
            end++;
        m->window[2 * m->rows] = (end > wide ? end - wide : 0) * a->block;
        m->window[2 * m->rows + 1] = end * a->block;
        memcpy(now, next, (size_t)blocks * sizeof(*now));
    }
}

enum status matrix_init(struct matrix *m, const struct schedule *s,
                        const struct matrix_args *a, struct err *e)
{
    int rows = matrix_rows(s->n, a);
    size_t cells = (size_t)(rows > 0 ? rows : 1) * (size_t)a->frames;
    int *counters;

    TRY(args_check(s, a, e));
    counters = calloc(2 * (size_t)(a->frames / a->block), sizeof(*counters));
    m->frames = a->frames;
    m->timestep = calloc(cells, sizeof(*m->timestep));
    m->step = calloc(cells, sizeof(*m->step));
    m->window = calloc(2 * (size_t)(rows > 0 ? rows : 1), sizeof(*m->window));
    if (!counters || !m->timestep || !m->step || !m->window) {
        free(counters);
        matrix_release(m);
        return err_set(e, ST_RESOURCE, "out of memory: timestep matrix of %d rows",
                       rows);
    }
    rows_fill(m, s, a, counters, counters + a->frames / a->block);
    free(counters);
    return ST_OK;
}

void matrix_release(struct matrix *m)
{
    free(m->timestep);
    free(m->step);
    free(m->window);
    memset(m, 0, sizeof(*m));
}
