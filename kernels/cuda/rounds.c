/* rounds.c - tries every number of tiles that fits */
#include "kernels/cuda/rounds.h"

enum { TILE_HIGH = 128, TILE_WIDE = 256, SUM_BYTES = 4, ROWS_ENOUGH = 34 * TILE_HIGH };

static const int64_t bytes_enough = (int64_t)96 << 20;
static const int64_t bytes_most = (int64_t)256 << 20;

/* Quarters of rounds that a piece of this many tiles costs. */
static int64_t cost_of(int64_t tiles, int units)
{
    return 4 * ((tiles + units - 1) / units) + 1;
}

int64_t rounds_room(int64_t rows, int64_t cols)
{
    int64_t fit = bytes_enough / SUM_BYTES / cols;
    int64_t most = bytes_most / SUM_BYTES / cols;

    if (fit < ROWS_ENOUGH)
        fit = most < ROWS_ENOUGH ? most : ROWS_ENOUGH;
    fit = fit > TILE_HIGH ? fit : TILE_HIGH;
    return rows < fit ? rows : fit;
}

int64_t rounds_rows(int64_t rows, int64_t cols, int units)
{
    int64_t wide = (cols + TILE_WIDE - 1) / TILE_WIDE, best = 1;
    int64_t fit = rounds_room(rows, cols);

    if (rows == fit)
        return rows;
    for (int64_t high = 2; high * TILE_HIGH <= fit; high++) {
        if (cost_of(high * wide, units) * best <= cost_of(best * wide, units) * high)
            best = high;
    }
    return best * TILE_HIGH;
}
