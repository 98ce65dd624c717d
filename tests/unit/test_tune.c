/* test_tune.c - the fastest way of a product that is proven is taken
 *
 * On the cpu backend with three ways of its products, of which one moves a value when
 * there are few rows. Which way is fastest is left to the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bench/inside.h"
#include "kernels/backend.h"
#include "launcher/bench_report.h"

enum { WAYS = 3, BAD = 1 };

static struct {
    struct backend table;
    enum status (*linear)(void *self, struct queue *q, const struct op_linear *a,
                          struct err *e);
    int taken;
} fake;

static enum status fake_linear(void *self, struct queue *q, const struct op_linear *a,
                               struct err *e)
{
    int64_t rows = a->x->shape[0];
    enum status st = fake.linear(self, q, a, e);

    if (fake.taken == BAD && rows < 10)
        ((char *)a->y->data)[1] ^= 1;
    return st;
}

static enum status fake_ways(void *self, const struct op_linear *a,
                             struct linear_way *ways, int most, int *n, struct err *e)
{
    (void)self;
    (void)a;
    (void)e;
    for (*n = 0; *n < WAYS && *n < most; (*n)++) {
        snprintf(ways[*n].text, sizeof(ways[*n].text), "%d", *n);
        snprintf(ways[*n].about, sizeof(ways[*n].about), "way %d", *n);
    }
    return ST_OK;
}

static enum status fake_take(void *self, const struct op_linear *a,
                             const struct linear_way *way, struct err *e)
{
    (void)self;
    (void)a;
    (void)e;
    fake.taken = way->text[0] - '0';
    return ST_OK;
}

/* Ways before the one that is taken were not good, those after it were not looked at.
 */
static void check_product(const struct bench_tuned *t)
{
    assert_int_equal(t->n, WAYS);
    assert_true(t->taken >= 0 && t->taken < WAYS);
    for (int i = 0; i < t->n; i++) {
        const struct bench_way *w = &t->way[i];

        assert_true(w->seconds > 0.0);
        assert_true(i == 0 || w->seconds >= t->way[i - 1].seconds);
        assert_int_equal(w->first, w->way.text[0] == '0');
        if (i < t->taken)
            assert_true(w->differ > 0 && w->way.text[0] == '0' + BAD);
        if (i == t->taken)
            assert_true(w->differ == 0 && w->way.text[0] != '0' + BAD);
        if (i > t->taken)
            assert_int_equal(w->differ, -1);
    }
}

static void fastest_proven_way_is_taken(void **state)
{
    struct bench_options o = {
        .size = {64, 64}, .num_frames = 5, .text_rows = 8, .repeats = 2, .tune = true};
    struct bench_result r = {.latent_frames = 2};
    struct bench b = {.o = &o, .r = &r};
    struct buf rows = BUF_INIT, json = BUF_INIT;
    const struct backend *real;
    struct err e = ERR_INIT;

    (void)state;
    b.models = bench_models_of(BENCH_TINY, 1);
    b.choice = precision_choice(PRECISION_FP8);
    assert_int_equal(world_open(&b.world, &e), ST_OK);
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 1}, &b.ops, &e),
                     ST_OK);
    real = b.ops->backend;
    fake.table = *real;
    fake.linear = real->linear;
    fake.table.linear = fake_linear;
    fake.table.linear_ways = fake_ways;
    fake.table.linear_take = fake_take;
    b.ops->backend = &fake.table;
    assert_int_equal(bench_tune(&b, &e), ST_OK);
    for (int i = 0; i < BENCH_TUNED; i++)
        check_product(&r.tuned[i]);
    assert_int_equal(b.bytes, 0);
    bench_tune_rows(&r, &rows);
    assert_non_null(strstr(buf_text(&rows), "TFLOP/s, way "));
    bench_json(&o, &r, &json);
    assert_non_null(strstr(buf_text(&json), "\"tuned\": ["));
    b.ops->backend = real;
    buf_release(&rows);
    buf_release(&json);
    free(r.tuned);
    ops_close(b.ops);
    world_close(b.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fastest_proven_way_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
