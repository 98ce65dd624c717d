/* test_shard.c - shards cover everything once, on granule boundaries, evenly */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dist/shard.h"

/* The spans of all ranks, one after another, are [0, n); all cuts but the last lie on
 * the granule; whole granules differ by one at most and never grow with the rank. */
static void check_cut(int64_t n, int64_t granule, int size)
{
    int64_t at = 0;
    int64_t before = INT64_MAX;

    for (int r = 0; r < size; r++) {
        struct span s = shard_tokens(n, granule, size, r);
        int64_t granules = (s.count + granule - 1) / granule;

        assert_int_equal(s.begin, at);
        assert_true(s.count >= 0);
        at += s.count;
        assert_true(at == n || at % granule == 0);
        assert_true(granules <= before);
        before = granules;
    }
    assert_int_equal(at, n);
    assert_true((shard_tokens(n, granule, size, 0).count + granule - 1) / granule -
                    before <=
                1);
}

static void spans_cover_every_token_once(void **state)
{
    static const int64_t granules[] = {1, 16, 128};
    static const int64_t large[] = {32760, 51000, 111600, 48960 + 1};

    (void)state;
    for (int g = 0; g < 3; g++) {
        for (int size = 1; size <= 17; size++) {
            for (int64_t n = 0; n < 700; n++)
                check_cut(n, granules[g], size);
            for (int i = 0; i < 4; i++)
                check_cut(large[i], granules[g], size);
        }
    }
}

static void ranks_may_own_nothing(void **state)
{
    struct span s = shard_tokens(100, 128, 4, 3);

    (void)state;
    assert_int_equal(shard_tokens(100, 128, 4, 0).count, 100);
    assert_int_equal(s.count, 0);
    assert_int_equal(s.begin, 100);
    assert_int_equal(shard_tokens(0, 128, 2, 1).count, 0);
}

static void heads_split_unevenly(void **state)
{
    static const int64_t want[] = {14, 13, 13};
    int64_t at = 0;

    (void)state;
    for (int r = 0; r < 3; r++) {
        struct span s = shard_heads(40, 3, r);

        assert_int_equal(s.begin, at);
        assert_int_equal(s.count, want[r]);
        at += want[r];
    }
    assert_int_equal(shard_heads(12, 8, 3).count, 2);
    assert_int_equal(shard_heads(12, 8, 4).count, 1);
}

static void huge_counts_do_not_overflow(void **state)
{
    int64_t n = INT64_C(1) << 60;
    struct span s = shard_tokens(n, 128, 7, 6);

    (void)state;
    assert_int_equal(s.begin + s.count, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_cover_every_token_once),
        cmocka_unit_test(ranks_may_own_nothing),
        cmocka_unit_test(heads_split_unevenly),
        cmocka_unit_test(huge_counts_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
