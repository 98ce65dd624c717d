/* test_limit.c - when a run must stop by the clock, and who says when that is */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/deadline.h"

static const char *slurm, *ours;

static const char *environment(const char *name)
{
    if (strcmp(name, "SLURM_JOB_END_TIME") == 0)
        return slurm;
    return strcmp(name, "FRAMEFLEET_JOB_END") == 0 ? ours : NULL;
}

static enum status read_limits(double max_minutes, struct limit out[LIMITS],
                               struct err *e)
{
    struct deadline_args a = {environment, 400.0, 500.0, 1.7e9, max_minutes};

    return deadline_read(&a, out, e);
}

static void the_formula_holds(void **state)
{
    struct limit limits[LIMITS] = {{1000.0, 60.0, "a"}, {0.0, 1.0, "b"}};
    struct limit_times t = {0};

    (void)state;
    assert_null(limit_reached(limits, &t, 940.0));
    assert_ptr_equal(limit_reached(limits, &t, 940.1), &limits[0]);
    limit_row(&t, 10.0);
    limit_save(&t, 3.0);
    assert_true(limit_need(&t) == 21.0);
    assert_null(limit_reached(limits, &t, 919.0));
    assert_non_null(limit_reached(limits, &t, 919.1));
    limits[1].end = 950.0;
    assert_ptr_equal(limit_reached(limits, &t, 900.0), NULL);
    limits[1].end = 920.0;
    assert_ptr_equal(limit_reached(limits, &t, 900.0), &limits[1]);
}

/* The slowest of the last few, not of all: a first row that was slow is forgotten. */
static void only_the_recent_count(void **state)
{
    struct limit_times t = {0};

    (void)state;
    limit_row(&t, 100.0);
    for (int i = 1; i < LIMIT_RECENT; i++)
        limit_row(&t, 2.0);
    assert_true(limit_need(&t) == 150.0);
    limit_row(&t, 4.0);
    assert_true(limit_need(&t) == 6.0);
}

static void the_message_has_numbers(void **state)
{
    struct limit limit = {1000.0, 60.0, "the allocation"};
    struct limit_times t = {0};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(limit_stop(&limit, &t, 970.0, 0, 30, &e), ST_STOPPED);
    assert_non_null(strstr(e.text, "before the first one of this launch: 30.0 s are "
                                   "left of the allocation, 60.0 s of them"));
    limit_row(&t, 10.0);
    assert_int_equal(limit_stop(&limit, &t, 930.0, 7, 30, &e), ST_STOPPED);
    assert_non_null(strstr(e.text, "at row 7 of 30: 70.0 s are left"));
    assert_non_null(strstr(e.text, "may take 15.0 s"));
}

static void the_end_comes_from_slurm_or_us(void **state)
{
    struct limit l[LIMITS];
    struct err e = ERR_INIT;

    (void)state;
    slurm = ours = NULL;
    assert_int_equal(read_limits(0.0, l, &e), ST_OK);
    assert_true(l[0].end == 0.0 && l[1].end == 0.0);
    ours = "1700000100";
    assert_int_equal(read_limits(2.0, l, &e), ST_OK);
    assert_true(l[0].end == 600.0 && l[0].reserve == 60.0);
    assert_true(l[1].end == 520.0 && l[1].reserve < 5.0);
    slurm = "1700000200";
    assert_int_equal(read_limits(0.0, l, &e), ST_OK);
    assert_true(l[0].end == 700.0);
    slurm = "";
    ours = "1000000000"; /* long over is not none */
    assert_int_equal(read_limits(0.0, l, &e), ST_OK);
    assert_true(l[0].end > 0.0 && l[0].end < 1.0);
}

static void malformed_moments_are_refused(void **state)
{
    static const char *const bad[] = {
        "12x", "-5", " 5", "N/A", "1e9", "9999999999999", "99999999999999999999", "+7"};
    struct limit l[LIMITS];

    (void)state;
    ours = NULL;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err e = ERR_INIT;

        slurm = bad[i];
        assert_int_equal(read_limits(0.0, l, &e), ST_USAGE);
        assert_non_null(strstr(e.text, "SLURM_JOB_END_TIME"));
        slurm = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_formula_holds),
        cmocka_unit_test(only_the_recent_count),
        cmocka_unit_test(the_message_has_numbers),
        cmocka_unit_test(the_end_comes_from_slurm_or_us),
        cmocka_unit_test(malformed_moments_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
