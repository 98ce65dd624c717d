/* test_sample.c - schedules, solver coefficients, timestep matrices, segments, noise */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample/matrix.h"
#include "engine/sample/noise.h"
#include "engine/sample/segments.h"
#include "engine/sample/solver.h"

static struct schedule schedule_of(enum solver solver, int n, double shift)
{
    struct schedule s;
    struct err e = ERR_INIT;

    assert_int_equal(schedule_init(&s, solver, n, shift, &e), ST_OK);
    return s;
}

static void unipc_timesteps(void **state)
{
    static const int want[30] = {999, 995, 991, 986, 980, 975, 969, 963, 956, 948,
                                 941, 932, 922, 912, 901, 888, 874, 859, 841, 822,
                                 799, 773, 743, 708, 666, 615, 551, 470, 363, 216};
    struct schedule s = schedule_of(SOLVER_UNIPC, 30, 8.0);

    (void)state;
    for (int k = 0; k < 30; k++)
        assert_int_equal(s.timestep[k], want[k]);
    s = schedule_of(SOLVER_UNIPC, 4, 5.0);
    assert_true(fabs(s.sigma[0] - 0.999799848) < 1e-9);
    assert_true(fabs(s.sigma[3] - 0.624687374) < 1e-9);
    s = schedule_of(SOLVER_DPMPP, 4, 5.0);
    assert_int_equal(s.timestep[0], 1000);
    assert_true(fabs(s.sigma[2] - 0.833333313) < 1e-9);
}

static void impossible_schedules_are_refused(void **state)
{
    struct schedule s;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(schedule_init(&s, SOLVER_UNIPC, 0, 5.0, &e), ST_USAGE);
    assert_int_equal(schedule_init(&s, SOLVER_UNIPC, 1001, 5.0, &e), ST_USAGE);
    assert_int_equal(schedule_init(&s, SOLVER_UNIPC, 4, NAN, &e), ST_USAGE);
}

/* The scalar problem v(x, sigma) = x / 2 + sigma, from x = 1; x after every step. */
static void toy_run(const struct schedule *s, double *x_after)
{
    double x = 1.0, x_last = 0.0, m0 = 0.0, m1 = 0.0;

    for (int k = 0; k < s->n; k++) {
        struct solver_step c = solver_step_at(s, k);
        double v = 0.5 * x + c.sigma;
        double m = x - c.sigma * v;

        x_last = c.corr[0] * x_last + c.corr[1] * m0 + c.corr[2] * m1 + c.corr[3] * m +
                 c.corr[4] * x;
        x = c.pred[0] * x_last + c.pred[1] * m + c.pred[2] * m0 + c.pred[3] * x +
            c.pred[4] * v;
        m1 = m0;
        m0 = m;
        x_after[k] = x;
    }
}

/* The values of dpm++ were made with fp32 logarithms, hence their wider tolerance. */
static void toy_expect(enum solver solver, int n, double shift, const double *want)
{
    double tolerance = solver == SOLVER_UNIPC ? 2e-9 : 1e-7;
    struct schedule s = schedule_of(solver, n, shift);
    double got[16];

    toy_run(&s, got);
    for (int k = 0; k < n; k++)
        assert_true(fabs(got[k] - want[k]) < tolerance);
}

static void solvers_match_known_values(void **state)
{
    (void)state;
    toy_expect(SOLVER_UNIPC, 4, 5.0,
               (double[]){0.906210929, 0.765246956, 0.536911102, -0.021024006});
    toy_expect(
        SOLVER_UNIPC, 5, 8.0,
        (double[]){0.954516301, 0.887983614, 0.781591370, 0.582247540, -0.055828031});
    toy_expect(SOLVER_DPMPP, 4, 5.0,
               (double[]){0.90625, 0.761393246, 0.526865659, -0.028404860});
    toy_expect(
        SOLVER_DPMPP, 5, 8.0,
        (double[]){0.954545498, 0.887087660, 0.779119611, 0.577695354, -0.059314240});
}

static void euler_is_euler(void **state)
{
    struct schedule s = schedule_of(SOLVER_EULER, 3, 2.0);
    double got[3], x = 1.0;

    (void)state;
    toy_run(&s, got);
    for (int k = 0; k < 3; k++) {
        x += (s.sigma[k + 1] - s.sigma[k]) * (0.5 * x + s.sigma[k]);
        assert_true(fabs(got[k] - x) < 1e-15);
    }
}

static void row_expect(const struct matrix *m, int row, const int *t, const int *step)
{
    for (int f = 0; f < m->frames; f++) {
        assert_int_equal(m->timestep[row * m->frames + f], t[f]);
        assert_int_equal(m->step[row * m->frames + f], step[f]);
    }
}

static void matrix_worked_examples(void **state)
{
    struct schedule s = schedule_of(SOLVER_UNIPC, 4, 8.0);
    struct matrix m;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(matrix_init(&m, &s, &(struct matrix_args){5, 5, 0, 2, 1}, &e),
                     ST_OK);
    assert_int_equal(m.rows, 4);
    row_expect(&m, 2, (int[]){0, 0, 888, 888, 888}, (int[]){-1, -1, 2, 2, 2});
    matrix_release(&m);
    assert_int_equal(matrix_init(&m, &s, &(struct matrix_args){6, 6, 2, 0, 2}, &e),
                     ST_OK);
    assert_int_equal(m.rows, 8);
    row_expect(&m, 0, (int[]){999, 999, 999, 999, 999, 999},
               (int[]){0, 0, -1, -1, -1, -1});
    row_expect(&m, 4, (int[]){0, 0, 888, 888, 999, 999}, (int[]){-1, -1, 2, 2, 0, 0});
    row_expect(&m, 7, (int[]){0, 0, 0, 0, 727, 727}, (int[]){-1, -1, -1, -1, 3, 3});
    matrix_release(&m);
    assert_int_equal(matrix_init(&m, &s, &(struct matrix_args){5, 3, 2, 0, 1}, &e),
                     ST_OK);
    assert_int_equal(m.rows, 12);
    assert_int_equal(m.window[2 * 5], 0);
    assert_int_equal(m.window[2 * 6], 1);
    assert_int_equal(m.window[2 * 8 + 1], 5);
    matrix_release(&m);
}

static void matrix_row_count_is_planned(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    for (int n = 1; n < 12; n += 3) {
        struct schedule s = schedule_of(SOLVER_UNIPC, n, 8.0);

        for (int lag = 0; lag < 9; lag++) {
            for (int done = 0; done < 12; done += 2) {
                struct matrix_args a = {12, 12, lag, done, 2};
                struct matrix m;

                assert_int_equal(matrix_init(&m, &s, &a, &e), ST_OK);
                assert_int_equal(m.rows, matrix_rows(n, &a));
                matrix_release(&m);
            }
        }
    }
}

static void matrix_refuses_part_blocks(void **state)
{
    struct schedule s = schedule_of(SOLVER_UNIPC, 4, 8.0);
    struct matrix m;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(matrix_init(&m, &s, &(struct matrix_args){31, 31, 5, 0, 5}, &e),
                     ST_USAGE);
    assert_non_null(strstr(e.text, "30 or 35"));
}

static void lengths_expect(int frames, int overlap, int n, const int *want)
{
    struct segments s;
    struct err e = ERR_INIT;

    assert_int_equal(
        segments_init(&s, &(struct segments_args){frames, 97, overlap, 1}, &e), ST_OK);
    assert_int_equal(s.count, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(s.segment[i].frames, want[i]);
    segments_release(&s);
}

static void segments_match_known_lengths(void **state)
{
    (void)state;
    lengths_expect(257, 17, 3, (int[]){25, 25, 25});
    lengths_expect(377, 17, 5, (int[]){25, 25, 25, 25, 15});
    lengths_expect(237, 17, 3, (int[]){25, 25, 20});
    lengths_expect(97, 17, 1, (int[]){25});
    lengths_expect(121, 0, 1, (int[]){31});
    lengths_expect(737, 17, 9, (int[]){25, 25, 25, 25, 25, 25, 25, 25, 25});
}

static void wrong_frame_counts_name_the_right_ones(void **state)
{
    struct segments s;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(segments_init(&s, &(struct segments_args){98, 97, 0, 1}, &e),
                     ST_USAGE);
    assert_string_equal(e.text, "impossible num_frames 98: 97 and 101 are possible");
    assert_int_equal(segments_init(&s, &(struct segments_args){257, 97, 97, 1}, &e),
                     ST_USAGE);
    assert_int_equal(segments_init(&s, &(struct segments_args){257, 97, 13, 5}, &e),
                     ST_USAGE);
    assert_non_null(strstr(e.text, "overlap_history 13"));
}

static void noise_streams_differ_and_repeat(void **state)
{
    struct noise a, b;
    float x[64], y[64];

    (void)state;
    noise_init(&a, NOISE_PHILOX, 5);
    noise_initial(&a, 1, 64, x);
    noise_initial(&a, 0, 64, y);
    assert_memory_not_equal(x, y, sizeof(x));
    noise_prefix(&a, 1, 0, 64, y);
    assert_memory_not_equal(x, y, sizeof(x));
    noise_init(&b, NOISE_PHILOX, 5);
    noise_initial(&b, 1, 64, y);
    assert_memory_equal(x, y, sizeof(x));
    noise_init(&a, NOISE_TORCH_CPU, 42);
    noise_initial(&a, 0, 16, x);
    noise_initial(&a, 1, 16, x + 16);
    noise_init(&b, NOISE_TORCH_CPU, 42);
    noise_initial(&b, 0, 32, y);
    assert_memory_equal(x, y, 32 * sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unipc_timesteps),
        cmocka_unit_test(impossible_schedules_are_refused),
        cmocka_unit_test(solvers_match_known_values),
        cmocka_unit_test(euler_is_euler),
        cmocka_unit_test(matrix_worked_examples),
        cmocka_unit_test(matrix_row_count_is_planned),
        cmocka_unit_test(matrix_refuses_part_blocks),
        cmocka_unit_test(segments_match_known_lengths),
        cmocka_unit_test(wrong_frame_counts_name_the_right_ones),
        cmocka_unit_test(noise_streams_differ_and_repeat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
