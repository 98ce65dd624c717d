/* rounds.c - tries every number of tiles that fits */
#include "kernels/cuda/rounds.h"

enum { TILE_HIGH = 128, TILE_WIDE = 256, SUM_BYTES = 4 };

/* Quarters of rounds that a piece of this many tiles costs. */
static int64_t cost_of(int64_t tiles, int units)
{
    return 4 * ((tiles + units - 1) / units) + 1;
}

int64_t rounds_room(int64_t rows, int64_t cols, size_t most)
{
    int64_t fit = (int64_t)(most / SUM_BYTES) / cols;

    fit = fit > TILE_HIGH ? fit : TILE_HIGH;
    return rows < fit ? rows : fit;
}

int64_t rounds_rows(int64_t rows, int64_t cols, int units, size_t most)
{
    int64_t wide = (cols + TILE_WIDE - 1) / TILE_WIDE, best = 1;
    int64_t fit = rounds_room(rows, cols, most);

    if (rows == fit)
        return rows;
    for (int64_t high = 2; high * TILE_HIGH <= fit; high++) {
        if (cost_of(high * wide, units) * best <= cost_of(best * wide, units) * high)
            best = high;
    }
    return best * TILE_HIGH;
}
