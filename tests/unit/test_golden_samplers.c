/* test_golden_samplers.c - schedules, solver trajectories, step matrices and noise
 * against the published implementations (tests/golden/README.md says how they were
 * made) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample/matrix.h"
#include "engine/sample/noise.h"
#include "engine/sample/solver.h"
#include "engine/weights/safetensors.h"
#include "kernels/base/json.h"

#define DATA FF_GOLDEN_DIR "/samplers/"

enum { WIDTH = 3 };

static struct source *open_golden(const char *path)
{
    struct source *s;
    struct err e = ERR_INIT;

    if (safetensors_open(path, &s, &e) != ST_OK)
        fail_msg("%s", e.text);
    return s;
}

/* A tensor of any shape as doubles; returns how many. */
static int64_t read_doubles(struct source *s, const char *name, double *out,
                            int64_t max)
{
    const struct stored *t;
    struct err e = ERR_INIT;

    if (source_get(s, name, -1, NULL, &t, &e) != ST_OK)
        fail_msg("%s", e.text);
    assert_true(stored_elements(t) <= max);
    assert_int_equal(source_read_as(s, t, DT_F64, out, &e), ST_OK);
    return stored_elements(t);
}

/* Run a solver on given velocities [n, WIDTH] and compare every state. */
static void trajectory_check(const struct schedule *s, const double *v, const double *x)
{
    for (int c = 0; c < WIDTH; c++) {
        double now = x[c], x_last = 0, m0 = 0, m1 = 0;

        for (int k = 0; k < s->n; k++) {
            struct solver_step z = solver_step_at(s, k);
            double vk = v[k * WIDTH + c];
            double m = now - z.sigma * vk;
            double want = x[(k + 1) * WIDTH + c];

            x_last = z.corr[0] * x_last + z.corr[1] * m0 + z.corr[2] * m1 +
                     z.corr[3] * m + z.corr[4] * now;
            now = z.pred[0] * x_last + z.pred[1] * m + z.pred[2] * m0 +
                  z.pred[3] * now + z.pred[4] * vk;
            m1 = m0;
            m0 = m;
            if (!(fabs(now - want) <= 1e-11 * (1 + fabs(want))))
                fail_msg("n %d step %d: %.17g, want %.17g", s->n, k, now, want);
        }
    }
}

static void case_check(struct source *file, enum solver solver, int n, int shift)
{
    static double v[STEPS_MAX * WIDTH], x[STEPS_MAX * WIDTH], sigma[STEPS_MAX + 1];
    static double timestep[STEPS_MAX];
    struct schedule s;
    struct err e = ERR_INIT;
    char name[64];

    assert_int_equal(schedule_init(&s, solver, n, shift, &e), ST_OK);
    snprintf(name, sizeof(name), "n%d_s%d.timesteps", n, shift);
    assert_int_equal(read_doubles(file, name, timestep, STEPS_MAX), n);
    snprintf(name, sizeof(name), "n%d_s%d.sigmas", n, shift);
    assert_int_equal(read_doubles(file, name, sigma, STEPS_MAX + 1), n + 1);
    for (int k = 0; k < n; k++) {
        assert_int_equal(s.timestep[k], (int)timestep[k]);
        assert_true(s.sigma[k] == sigma[k]);
    }
    read_doubles(file, "v", v, STEPS_MAX * WIDTH);
    snprintf(name, sizeof(name), "n%d_s%d.x", n, shift);
    assert_int_equal(read_doubles(file, name, x, STEPS_MAX * WIDTH), (n + 1) * WIDTH);
    trajectory_check(&s, v, x);
}

static void solver_check(const char *path, enum solver solver)
{
    static const int steps[] = {1, 2, 3, 4, 5, 10, 14, 15, 16, 30, 50};
    static const int shifts[] = {1, 3, 5, 8, 12};
    struct source *file = open_golden(path);

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        for (size_t j = 0; j < sizeof(shifts) / sizeof(shifts[0]); j++)
            case_check(file, solver, steps[i], shifts[j]);
    }
    source_close(file);
}

static void unipc_trajectories(void **state)
{
    (void)state;
    solver_check(DATA "unipc.safetensors", SOLVER_UNIPC);
}

static void dpmpp_trajectories(void **state)
{
    (void)state;
    solver_check(DATA "dpmpp.safetensors", SOLVER_DPMPP);
}

static void euler_trajectories(void **state)
{
    static double x[STEPS_MAX * WIDTH], v[STEPS_MAX * WIDTH];
    struct source *file = open_golden(DATA "euler.safetensors");
    struct schedule s;
    struct err e = ERR_INIT;

    (void)state;
    read_doubles(file, "v", v, STEPS_MAX * WIDTH);
    for (int n = 1; n <= 5; n++) {
        char name[64];

        snprintf(name, sizeof(name), "n%d_s5.x", n);
        read_doubles(file, name, x, STEPS_MAX * WIDTH);
        assert_int_equal(schedule_init(&s, SOLVER_EULER, n, 5.0, &e), ST_OK);
        trajectory_check(&s, v, x);
    }
    source_close(file);
}

/* ---- step matrices --------------------------------------------------------------- */

static int number_of(struct json_value object, const char *key)
{
    int64_t v = 0;
    struct err e = ERR_INIT;

    if (json_get_int(object, key, 0, 100000, &v, &e) != ST_OK)
        fail_msg("%s", e.text);
    return (int)v;
}

static int digit_of(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* One row of the file, two characters per block: counter in base 36, 'x' or '.'. */
static void matrix_row_check(const struct matrix *m, const struct schedule *s, int row,
                             int block, const char *text)
{
    for (int b = 0; b < m->frames / block; b++) {
        int counter = digit_of(text[2 * b]);
        bool updated = text[2 * b + 1] == 'x';
        int shown = counter == 0 ? 999 : counter > s->n ? 0 : s->timestep[counter - 1];

        for (int f = b * block; f < (b + 1) * block; f++) {
            assert_int_equal(m->timestep[row * m->frames + f], shown);
            assert_int_equal(m->step[row * m->frames + f], updated ? counter - 1 : -1);
        }
    }
}

static void windows_check(const struct matrix *m, struct json_value windows, int block)
{
    int row = 0;

    for (struct json_value w = json_first(windows); json_exists(w);
         w = json_next(w), row++) {
        int64_t ends[2] = {0, 0};
        int n;
        struct err e = ERR_INIT;

        assert_int_equal(json_ints(w, 0, 1000, 2, ends, &n, &e), ST_OK);
        assert_int_equal(m->window[2 * row], ends[0]);
        assert_int_equal(m->window[2 * row + 1], ends[1]);
    }
    assert_true(row == 0 || row == m->rows);
    (void)block;
}

static void matrix_check(struct json_value object)
{
    int block = number_of(object, "block");
    struct matrix_args a = {
        .frames = number_of(object, "frames") / block * block,
        .window = number_of(object, "window") / block * block,
        .ar_step = number_of(object, "lag"),
        .finished = number_of(object, "ready"),
        .block = block,
    };
    struct schedule s;
    struct matrix m;
    struct err e = ERR_INIT;
    double shift = 0;
    const char *text = "";
    int row = 0;

    assert_int_equal(json_get_double(object, "shift", 0.1, 100, &shift, &e), ST_OK);
    assert_int_equal(schedule_init(&s, SOLVER_UNIPC, number_of(object, "n"), shift, &e),
                     ST_OK);
    if (matrix_init(&m, &s, &a, &e) != ST_OK)
        fail_msg("%s", e.text);
    for (struct json_value v = json_first(json_find(object, "rows")); json_exists(v);
         v = json_next(v), row++) {
        assert_true(row < m.rows);
        assert_int_equal(json_string(v, &text, &e), ST_OK);
        matrix_row_check(&m, &s, row, block, text);
    }
    assert_int_equal(row, m.rows);
    if (json_exists(json_find(object, "windows")))
        windows_check(&m, json_find(object, "windows"), block);
    matrix_release(&m);
}

static void step_matrices(void **state)
{
    FILE *f = fopen(DATA "matrices.jsonl", "r");
    static char line[1 << 16];
    int n = 0;

    (void)state;
    assert_non_null(f);
    for (; fgets(line, sizeof(line), f); n++) {
        struct json *doc;
        struct err e = ERR_INIT;

        assert_int_equal(json_parse("matrices.jsonl", line, strlen(line),
                                    &JSON_LIMITS_CONFIG, &doc, &e),
                         ST_OK);
        matrix_check(json_root(doc));
        json_close(doc);
    }
    fclose(f);
    assert_int_equal(n, 500);
}

/* ---- noise ---------------------------------------------------------------------- */

/* Split "seed<S><part>…": the seed, and what follows `part`; NULL if it is another
 * name. */
static const char *name_split(const char *name, const char *part, uint64_t *seed)
{
    char *rest;

    if (strncmp(name, "seed", 4) != 0)
        return NULL;
    *seed = strtoull(name + 4, &rest, 10);
    return strncmp(rest, part, strlen(part)) == 0 ? rest + strlen(part) : NULL;
}

static void torch_cpu_draws(void **state)
{
    struct source *file = open_golden(DATA "torch_cpu_normals.safetensors");
    static double want[1 << 16];
    static float got[1 << 16];
    int compared = 0;

    (void)state;
    for (int i = 0; i < source_count(file); i++) {
        const struct stored *t = source_at(file, i);
        struct torch_rng g;
        uint64_t seed;
        const char *tail = name_split(t->name, ".n", &seed);
        long long n = tail ? strtoll(tail, NULL, 10) : 0;

        if (n < 16)
            continue;
        assert_int_equal(read_doubles(file, t->name, want, 1 << 16), n);
        torch_rng_seed(&g, seed);
        torch_rng_normal(&g, (size_t)n, got);
        for (long long k = 0; k < n; k++)
            assert_true(fabs(got[k] - want[k]) <= 4e-7 * (1 + fabs(want[k])));
        compared++;
    }
    assert_true(compared > 3);
    source_close(file);
}

static void torch_cpu_goes_on_from_draw_to_draw(void **state)
{
    static const int counts[] = {32, 20, 48};
    struct source *file = open_golden(DATA "torch_cpu_normals.safetensors");
    double want[64];
    float got[64];
    struct torch_rng g;
    char name[64];

    (void)state;
    for (int i = 0; i < source_count(file); i++) {
        uint64_t seed;

        if (!name_split(source_at(file, i)->name, ".draw", &seed))
            continue;
        torch_rng_seed(&g, seed);
        for (int j = 0; j < 3; j++) {
            snprintf(name, sizeof(name), "seed%llu.draw%d", (unsigned long long)seed,
                     j);
            assert_int_equal(read_doubles(file, name, want, 64), counts[j]);
            torch_rng_normal(&g, (size_t)counts[j], got);
            for (int k = 0; k < counts[j]; k++)
                assert_true(fabs(got[k] - want[k]) <= 4e-7 * (1 + fabs(want[k])));
        }
        source_close(file);
        return;
    }
    fail_msg("no draws in the file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unipc_trajectories),
        cmocka_unit_test(dpmpp_trajectories),
        cmocka_unit_test(euler_trajectories),
        cmocka_unit_test(step_matrices),
        cmocka_unit_test(torch_cpu_draws),
        cmocka_unit_test(torch_cpu_goes_on_from_draw_to_draw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
