/* rounds.h - rows of a product at a time, where its sums go through memory
 *
 * The sums of i8 products are i32, from which results are made: 1 GiB of them for
 * 51,000 rows of 5120 if all are there at once. Rows that are worked out one piece
 * after another in the same memory have the same results. What a piece costs is rounds
 * of tiles over all multiprocessors, of which the last may leave some idle, and about a
 * quarter of a round to start and to end; so which number of rows fits best depends on
 * the columns:
 *
 *     132 multiprocessors, 5120 columns:  33 tiles of 128 rows are the 660 in 5 rounds
 *                          13824 columns: 34 are 1836 of the 1848 in 14
 *
 * Measured on an H200 with k = 5120, 4,224 rows are as fast as 51,000 of 5120 columns
 * and faster than 16,896 of 13824, of which 2,112 take 8 % longer (docs/speed.md). So
 * pieces are chosen from those of 96 MiB of sums, or of 4,352 rows where that is more,
 * but of no more than 256 MiB.
 *
 * Plain C: no CUDA here.
 */
#ifndef KERNELS_CUDA_ROUNDS_H
#define KERNELS_CUDA_ROUNDS_H

#include <stdint.h>

/* Rows whose sums, of 4 bytes, there must be room for: all, or as many as pieces are
 * chosen from, at least 128. More rows never need less. */
int64_t rounds_room(int64_t rows, int64_t cols);

/* Rows to work out at a time: all if there is room, else the multiple of 128 that costs
 * least for each row. */
int64_t rounds_rows(int64_t rows, int64_t cols, int units);

#endif
