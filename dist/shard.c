/* shard.c - even cuts of a row on granule boundaries */
#include "dist/shard.h"

#include <assert.h>

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct span shard_tokens(int64_t tokens, int64_t granule, int size, int rank)
{
    int64_t granules, base, extra, first, last;
    struct span s;

    assert(tokens >= 0 && granule > 0 && size > 0 && rank >= 0 && rank < size);
    granules = tokens / granule + (tokens % granule != 0);
    base = granules / size;
    extra = granules % size;
    first = rank * base + min64(rank, extra);
    last = first + base + (rank < extra);
    s.begin = min64(first * granule, tokens);
    s.count = min64(last * granule, tokens) - s.begin;
    return s;
}

struct span shard_heads(int64_t heads, int size, int rank)
{
    return shard_tokens(heads, 1, size, rank);
}
