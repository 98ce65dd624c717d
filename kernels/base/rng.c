/* rng.c - Philox by element index, and the Mersenne twister of torch's CPU generator */
#include "kernels/base/rng.h"

#include <assert.h>
#include <math.h>

enum { MT_WORDS = 624, MT_MIDDLE = 397, NORMAL_GROUP = 16 };

static const double two_pi = 6.283185307179586476925286766559;

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The four normals of one group of four elements. */
static void normals_of_group(uint64_t seed, uint64_t stream, uint64_t group,
                             float out[4])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t counter[4] = {(uint32_t)group, (uint32_t)(group >> 32), (uint32_t)stream,
                           (uint32_t)(stream >> 32)};
    uint32_t word[4];

    philox4x32(counter, key, word);
    for (int i = 0; i < 4; i += 2) {
        double u = ((double)word[i] + 0.5) * 0x1p-32;
        double angle = two_pi * (((double)word[i + 1] + 0.5) * 0x1p-32);
        double radius = sqrt(-2.0 * log(u));

        out[i] = (float)(radius * cos(angle));
        out[i + 1] = (float)(radius * sin(angle));
    }
}

void noise_philox(uint64_t seed, uint64_t stream, uint64_t first, size_t n, float *out)
{
    float group[4];
    uint64_t at = first;

    for (size_t i = 0; i < n; i++, at++) {
        if (i == 0 || at % 4 == 0)
            normals_of_group(seed, stream, at / 4, group);
        out[i] = group[at % 4];
    }
}

void torch_rng_seed(struct torch_rng *g, uint64_t seed)
{
    g->word[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_WORDS; i++)
        g->word[i] = 1812433253u * (g->word[i - 1] ^ (g->word[i - 1] >> 30)) + i;
    g->next = MT_WORDS;
}

static void twist(struct torch_rng *g)
{
    for (int i = 0; i < MT_WORDS; i++) {
        uint32_t y = (g->word[i] & 0x80000000u) |
                     (g->word[(i + 1) % MT_WORDS] & 0x7fffffffu);
        uint32_t mag = (y & 1u) ? 0x9908b0dfu : 0u;

        g->word[i] = g->word[(i + MT_MIDDLE) % MT_WORDS] ^ (y >> 1) ^ mag;
    }
    g->next = 0;
}

static uint32_t torch_rng_word(struct torch_rng *g)
{
    uint32_t y;

    if (g->next == MT_WORDS)
        twist(g);
    y = g->word[g->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static float torch_rng_uniform(struct torch_rng *g)
{
    return (float)(torch_rng_word(g) & 0xffffffu) * 0x1p-24f;
}

/* Sixteen uniforms in place to sixteen normals. */
static void normals_of_sixteen(float *x)
{
    for (int j = 0; j < NORMAL_GROUP / 2; j++) {
        float radius = sqrtf(-2.0f * logf(1.0f - x[j]));
        float angle = (float)two_pi * x[j + NORMAL_GROUP / 2];

        x[j] = radius * cosf(angle);
        x[j + NORMAL_GROUP / 2] = radius * sinf(angle);
    }
}

void torch_rng_normal(struct torch_rng *g, size_t n, float *out)
{
    assert(n >= NORMAL_GROUP);
    for (size_t i = 0; i < n; i++)
        out[i] = torch_rng_uniform(g);
    for (size_t i = 0; i + NORMAL_GROUP <= n; i += NORMAL_GROUP)
        normals_of_sixteen(out + i);
    if (n % NORMAL_GROUP) {
        float *last = out + n - NORMAL_GROUP;

        for (int i = 0; i < NORMAL_GROUP; i++)
            last[i] = torch_rng_uniform(g);
        normals_of_sixteen(last);
    }
}
