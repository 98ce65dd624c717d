/* test_wire.c - bytes on the wire: the published figures, balance, nothing for one */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dist/wire.h"

enum { TOKENS = 51000, GRANULE = 128 }; /* 14B at 544x960, 97 frames */

static const struct seqpar_formats bf16 = {DT_BF16, DT_BF16, DT_BF16};
static const struct seqpar_formats mixed = {DT_I8, DT_E4M3, DT_BF16};
static const struct seqpar_formats all_8bit = {DT_I8, DT_E4M3, DT_E4M3};

static struct wire wire_at(int ulysses, int ring, int rank, struct seqpar_formats f)
{
    struct seqpar_layout l = {{ulysses, ring, rank, NULL}, TOKENS, 40, 128, f};

    return wire_of(&l, GRANULE);
}

/* MB per rank and block: the mean, because shards differ by a granule. */
static double mean_mb(int ulysses, int ring, struct seqpar_formats f)
{
    double sum = 0;

    for (int r = 0; r < ulysses * ring; r++) {
        struct wire w = wire_at(ulysses, ring, r, f);

        sum += (double)(w.ulysses_bytes + w.ring_bytes);
    }
    return sum / (ulysses * ring) * 1e-6;
}

static void is_near(double got, double want)
{
    if (fabs(got - want) > 0.01 * want)
        fail_msg("%.1f MB, published are %.0f", got, want);
}

/* quantization-and-attention 4.1. Its scales are 3.1 % of q, k and v alike; ours of k
 * are 0.8 %, which is half a per cent of the sum. */
static void counts_are_the_published_ones(void **state)
{
    (void)state;
    is_near(mean_mb(2, 1, bf16), 522);
    is_near(mean_mb(4, 1, bf16), 392);
    is_near(mean_mb(8, 1, bf16), 229);
    is_near(mean_mb(2, 1, mixed), 333);
    is_near(mean_mb(4, 1, mixed), 249);
    is_near(mean_mb(8, 1, mixed), 146);
    is_near(mean_mb(4, 1, all_8bit), 202);
    is_near(mean_mb(1, 2, bf16), 522);
    is_near(mean_mb(1, 4, bf16), 783);
    is_near(mean_mb(1, 8, bf16), 914);
    is_near(mean_mb(4, 2, bf16), 4 * 65.28 * 3 / 4 + 2 * 65.28);
}

/* What all send is what all receive: every part is sent once over each link. */
static void shares_add_up(void **state)
{
    double whole = 4.0 * TOKENS * 5120 * 2;
    double sent = 0;

    (void)state;
    for (int r = 0; r < 7; r++)
        sent += (double)wire_at(7, 1, r, bf16).ulysses_bytes;
    /* with uneven heads and tokens each rank keeps its tokens of its heads */
    for (int r = 0; r < 7; r++)
        sent += 4.0 * (double)shard_tokens(TOKENS, GRANULE, 7, r).count *
                (double)shard_heads(40, 7, r).count * 128 * 2;
    assert_true(sent == whole);
}

static void one_rank_sends_nothing(void **state)
{
    struct wire w = wire_at(1, 1, 0, mixed);

    (void)state;
    assert_int_equal(w.ulysses_bytes + w.ring_bytes + w.sum_bytes + w.messages, 0);
    assert_int_equal(wire_at(2, 1, 0, mixed).sum_bytes, 8 * 5121);
    assert_int_equal(wire_at(2, 1, 0, bf16).sum_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_published_ones),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(one_rank_sends_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
