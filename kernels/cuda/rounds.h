/* rounds.h - rows of a product at a time, where its sums go through memory
 *
 * The sums of i8 products are i32, from which results are made: 1 GiB of them for
 * 51,000 rows of 5120 if all are there at once. Rows that are worked out one piece
 * after another in the same memory have the same results. What a piece costs is rounds
 * of tiles over all multiprocessors, of which the last may leave some idle, and about a
 * quarter of a round to start and to end; so which number of rows fits best depends on
 * the columns:
 *
 *     132 multiprocessors, 128 MiB: 46 tiles of 128 rows by 5120 columns are 920 of the
 *     924 in 7 rounds, 17 by 13824 are 918
 *
 * Plain C: no CUDA here.
 */
#ifndef KERNELS_CUDA_ROUNDS_H
#define KERNELS_CUDA_ROUNDS_H

#include <stddef.h>
#include <stdint.h>

/* Rows whose sums, of 4 bytes, there must be room for: all, or as many as fit into
 * `most` bytes, at least 128. More rows never need less. */
int64_t rounds_room(int64_t rows, int64_t cols, size_t most);

/* Rows to work out at a time: all if there is room, else the multiple of 128 that costs
 * least for each row. */
int64_t rounds_rows(int64_t rows, int64_t cols, int units, size_t most);

#endif
