/* test_rounds.c - rows at a time of products whose sums go through memory */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernels/cuda/rounds.h"

/* Multiprocessors of an H200, an A100, an RTX 4090. */
static const int units[] = {132, 108, 128};
static const int64_t widths[] = {1536, 5120, 8960, 13824};

static void fills_the_rounds_of_known_models(void **state)
{
    (void)state;
    assert_int_equal(rounds_rows(51000, 5120, 132), 33 * 128);
    assert_int_equal(rounds_rows(51000, 13824, 132), 34 * 128);
    assert_int_equal(rounds_rows(4900, 5120, 132), 4900);
}

/* At least nine tenths of what the multiprocessors could do meanwhile. */
static void wastes_little(void **state)
{
    (void)state;
    for (int u = 0; u < 3; u++) {
        for (int w = 0; w < 4; w++) {
            int64_t rows = rounds_rows(200000, widths[w], units[u]);
            int64_t tiles = rows / 128 * ((widths[w] + 255) / 256);
            int64_t rounds = (tiles + units[u] - 1) / units[u];

            assert_int_equal(rows % 128, 0);
            assert_true(10 * tiles >= 9 * rounds * units[u]);
        }
    }
}

/* A plan for many rows has room for fewer. */
static void stays_in_its_room(void **state)
{
    (void)state;
    for (int w = 0; w < 4; w++) {
        int64_t before = 0;

        for (int64_t rows = 1; rows < 60000; rows += 97) {
            int64_t room = rounds_room(rows, widths[w]);
            int64_t n = rounds_rows(rows, widths[w], 132);

            assert_true(room >= before && n >= 1 && n <= room && n <= rows);
            assert_true(room * widths[w] * 4 <= (int64_t)256 << 20);
            before = room;
        }
    }
}

static void gives_at_least_a_tile(void **state)
{
    (void)state;
    assert_int_equal(rounds_rows(1000, 1 << 20, 132), 128);
    assert_int_equal(rounds_room(1000, 1 << 20), 128);
    assert_int_equal(rounds_rows(0, 5120, 132), 0);
    assert_int_equal(rounds_rows(64, 1 << 20, 132), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_the_rounds_of_known_models),
        cmocka_unit_test(wastes_little),
        cmocka_unit_test(stays_in_its_room),
        cmocka_unit_test(gives_at_least_a_tile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
