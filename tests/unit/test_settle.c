/* test_settle.c - ways of a product are tried until rows do not depend on their number
 *
 * The backend is the reference, with ways of which some are bad: they move a value when
 * a product has few rows, or an odd number of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/settle.h"

enum { N = 6, K = 4, WAYS_MOST = 3 };

/* What is wrong with each way, and which one is taken. */
enum fault { GOOD, FEW_ROWS, RAGGED_ROWS };

static struct {
    struct backend table;
    enum status (*linear)(void *self, struct queue *q, const struct op_linear *a,
                          struct err *e);
    enum fault way[WAYS_MOST];
    int n, taken, runs;
} fake;

static enum status fake_linear(void *self, struct queue *q, const struct op_linear *a,
                               struct err *e)
{
    int64_t rows = a->x->shape[0];
    enum fault fault = fake.n ? fake.way[fake.taken] : GOOD;
    enum status st = fake.linear(self, q, a, e);

    fake.runs++;
    if ((fault == FEW_ROWS && rows < 100) || (fault == RAGGED_ROWS && rows == 133))
        ((float *)a->y->data)[rows * N - 1] *= 1.0000002f;
    return st;
}

static enum status fake_ways(void *self, const struct op_linear *a,
                             struct linear_way *ways, int most, int *n, struct err *e)
{
    (void)self;
    (void)a;
    (void)e;
    for (*n = 0; *n < fake.n && *n < most; (*n)++)
        snprintf(ways[*n].text, sizeof(ways[*n].text), "%d", *n);
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

struct product {
    struct ops *ops;
    struct queue *q;
    const struct backend *real;
    struct tensor x, w, y, again;
    float *memory;
    void *workspace;
};

static void numbers(float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)(i * 7919 % 1009) / 500.0f - 1.0f;
}

static void product_open(struct product *p)
{
    const int64_t s = SETTLE_ROWS;
    struct err e = ERR_INIT;
    float *at;

    assert_int_equal(ops_open("ref", NULL, &p->ops, &e), ST_OK);
    p->real = p->ops->backend;
    fake.table = *p->real;
    fake.linear = fake.table.linear;
    fake.table.linear = fake_linear;
    fake.table.linear_ways = fake_ways;
    fake.table.linear_take = fake_take;
    fake.taken = fake.runs = 0;
    p->ops->backend = &fake.table;
    p->memory = at = malloc((size_t)(s * K + N * K + 2 * s * N) * sizeof(float));
    assert_non_null(at);
    numbers(at, s * K + N * K);
    p->x = tensor_make2(at, DT_F32, MEM_HOST, s, K);
    p->w = tensor_make2(at += s * K, DT_F32, MEM_HOST, N, K);
    p->y = tensor_make2(at += N * K, DT_F32, MEM_HOST, s, N);
    p->again = tensor_make2(at + s * N, DT_F32, MEM_HOST, s, N);
    p->workspace = malloc(1 << 20);
    assert_int_equal(ops_queue_open(p->ops, p->workspace, 1 << 20, &p->q, &e), ST_OK);
}

static void product_close(struct product *p)
{
    ops_queue_close(p->ops, p->q);
    p->ops->backend = p->real;
    ops_close(p->ops);
    free(p->workspace);
    free(p->memory);
}

static enum status settle(int n, const enum fault *way, char note[SETTLE_NOTE_BYTES],
                          struct err *e)
{
    struct product p;
    struct op_linear a = {.y = &p.y, .x = &p.x, .w = &p.w};
    enum status st;

    product_open(&p);
    fake.n = n;
    memcpy(fake.way, way, (size_t)n * sizeof(*way));
    st = linear_settle(p.ops, p.q, &a, &p.again, note, e);
    product_close(&p);
    return st;
}

static void a_good_way_is_kept(void **state)
{
    const enum fault ways[] = {GOOD, FEW_ROWS};
    char note[SETTLE_NOTE_BYTES];
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(settle(2, ways, note, &e), ST_OK);
    assert_int_equal(fake.taken, 0);
    assert_int_equal(fake.runs, 4);
    assert_string_equal(note, "");
}

static void bad_ways_are_left(void **state)
{
    const enum fault ways[] = {FEW_ROWS, RAGGED_ROWS, GOOD};
    char note[SETTLE_NOTE_BYTES];
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(settle(3, ways, note, &e), ST_OK);
    assert_int_equal(fake.taken, 2);
    assert_string_equal(note, "products of 6 x 4 F32: algorithm 3 of 3 in place of one "
                              "whose rows depend on their number");
}

static void no_way_is_an_error(void **state)
{
    const enum fault ways[] = {FEW_ROWS, RAGGED_ROWS};
    char note[SETTLE_NOTE_BYTES];
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(settle(2, ways, note, &e), ST_DEVICE);
    assert_non_null(strstr(e.text, "with each of 2 algorithms for 6 x 4 F32 rows "
                                   "depend on their number"));
}

static void one_way_is_not_looked_at(void **state)
{
    char note[SETTLE_NOTE_BYTES] = "x";
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(settle(0, NULL, note, &e), ST_OK);
    assert_int_equal(fake.runs, 0);
    assert_string_equal(note, "");
}

/* Values are counted; cuts past the end are left out. */
static void differences_are_counted(void **state)
{
    const struct row_cut cuts[] = {{0, 1}, {5, 50}, {SETTLE_ROWS - 1, 2}};
    struct product p;
    struct op_linear a = {.y = &p.y, .x = &p.x, .w = &p.w};
    struct err e = ERR_INIT;
    int64_t differ = -1;

    (void)state;
    product_open(&p);
    fake.n = 1;
    fake.way[0] = FEW_ROWS;
    assert_int_equal(linear_rows_differ(p.ops, p.q, &a, &p.again, cuts, 3, &differ, &e),
                     ST_OK);
    assert_int_equal(differ, 2);
    fake.way[0] = GOOD;
    assert_int_equal(linear_rows_differ(p.ops, p.q, &a, &p.again, cuts, 3, &differ, &e),
                     ST_OK);
    assert_int_equal(differ, 0);
    product_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_way_is_kept),
        cmocka_unit_test(bad_ways_are_left),
        cmocka_unit_test(no_way_is_an_error),
        cmocka_unit_test(one_way_is_not_looked_at),
        cmocka_unit_test(differences_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
