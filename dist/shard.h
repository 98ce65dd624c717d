/* shard.h - who owns which tokens and which heads: pure arithmetic
 *
 * Everyone asks here, so that ranks agree without talking. A row of `n` things (tokens
 * of a sequence, heads of a layer) is cut into one contiguous span per rank, in rank
 * order. Cuts fall on multiples of a granule, so only the global tail of a sequence is
 * ever shorter than a whole granule; a rank may get nothing.
 *
 * Granules are spread as evenly as they go, the first ranks taking one more:
 *
 *     1000 tokens, granule 128 (8 granules, the last holds 104), 3 ranks
 *
 *         rank 0: [0, 384)    rank 1: [384, 768)    rank 2: [768, 1000)
 *
 *     40 heads over 3 ranks: 14, 13, 13
 *     100 tokens, granule 128, 4 ranks: 100, 0, 0, 0
 *
 * Not collective: no function here talks to another rank.
 */
#ifndef DIST_SHARD_H
#define DIST_SHARD_H

#include <stdint.h>

/* The half-open range [begin, begin + count). An empty one still has its place: begin
 * is where the span before it ends. */
struct span {
    int64_t begin, count;
};

/* Tokens of `rank` out of `size`, when `tokens` are cut on multiples of `granule`. */
struct span shard_tokens(int64_t tokens, int64_t granule, int size, int rank);

/* Heads of `rank` out of `size`. */
struct span shard_heads(int64_t heads, int size, int rank);

#endif
