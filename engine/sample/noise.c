/* noise.c - numbers the draws of a job */
#include "engine/sample/noise.h"

#include <assert.h>

static uint64_t stream_of(enum noise_purpose purpose, int segment, int row)
{
    return (uint64_t)purpose << 56 | (uint64_t)segment << 32 | (uint64_t)row;
}

void noise_init(struct noise *z, enum noise_kind kind, uint64_t seed)
{
    z->kind = kind;
    z->seed = seed;
    z->next_segment = 0;
    torch_rng_seed(&z->torch, seed);
}

void noise_initial(struct noise *z, int segment, size_t n, float *out)
{
    if (z->kind == NOISE_PHILOX) {
        noise_philox(z->seed, stream_of(NOISE_INITIAL, segment, 0), 0, n, out);
        return;
    }
    assert(segment == z->next_segment);
    z->next_segment++;
    torch_rng_normal(&z->torch, n, out);
}

void noise_initial_part(const struct noise *z, int segment, uint64_t first, size_t n,
                        float *out)
{
    assert(z->kind == NOISE_PHILOX);
    noise_philox(z->seed, stream_of(NOISE_INITIAL, segment, 0), first, n, out);
}

void noise_prefix(const struct noise *z, int segment, int row, size_t n, float *out)
{
    noise_philox(z->seed, stream_of(NOISE_PREFIX, segment, row), 0, n, out);
}
