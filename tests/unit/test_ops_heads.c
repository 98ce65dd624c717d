/* test_ops_heads.c - scatter and gather of heads, every backend, and the law of rope */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/tolerance.h"
#include "tests/unit/ops_cases.h"

enum { GRID_F = 6, GRID_H = 7, GRID_W = 9, PARTS = 3 };

static const int64_t lengths[] = {1, 127, 128, 129, 300};
static const int dims[] = {24, 40, 64, 128};

/* ---- rope tables ----------------------------------------------------------------- */

static struct tensor rope_table(int64_t positions, int64_t pairs)
{
    struct tensor t = make(DT_F32, 3, SHAPE(positions, pairs, 2));
    float *v = t.data;

    for (int64_t p = 0; p < positions; p++) {
        for (int64_t i = 0; i < pairs; i++, v += 2) {
            double angle = (double)p * pow(10000.0, -(double)i / (double)pairs);

            v[0] = (float)cos(angle);
            v[1] = (float)sin(angle);
        }
    }
    return t;
}

static struct rope rope_make(int head_dim)
{
    int64_t pairs = head_dim / 2, third = head_dim / 6;

    return (struct rope){rope_table(GRID_F, pairs - 2 * third),
                         rope_table(GRID_H, third), rope_table(GRID_W, third), GRID_H,
                         GRID_W};
}

/* ---- q and k --------------------------------------------------------------------- */

/* Three parts of uneven size that cover five heads. */
static const int part_begin[PARTS] = {0, 2, 4};
static const int part_heads[PARTS] = {2, 2, 1};

enum layout { PLAIN_F32, PLAIN_BF16, CODES_I8, CODES_I8_BY_4, CODES_E4M3, LAYOUTS };

static struct tensor part_tensor(enum layout layout, int64_t heads, int64_t s, int dim)
{
    static const enum dtype dt[] = {DT_F32, DT_BF16, DT_I8, DT_I8, DT_E4M3};
    struct tensor t = make(dt[layout], 3, SHAPE(heads, s, dim));

    if (layout == CODES_I8_BY_4)
        scales_groups(&t, 4, dim);
    else if (layout >= CODES_I8)
        scales_rows(&t);
    return t;
}

static void parts_make(struct head_part *parts, enum layout layout, int64_t s, int dim)
{
    for (int i = 0; i < PARTS; i++)
        parts[i] = (struct head_part){part_begin[i], part_heads[i],
                                      part_tensor(layout, part_heads[i], s, dim)};
}

static void parts_compare(const struct head_part *got, const struct head_part *want,
                          const char *what)
{
    for (int i = 0; i < PARTS; i++)
        expect_close(&got[i].t, &want[i].t, what);
}

static void heads_case(struct ops *ref, struct ops *test, int i)
{
    int64_t s = lengths[i % 5];
    int dim = dims[i % 4];
    enum layout layout = (enum layout)(i % LAYOUTS);
    struct rope rope = rope_make(dim);
    struct tensor y = make_wide(i % 2 ? DT_BF16 : DT_F32, s, 5 * dim, 15 * dim);
    struct tensor weight = randoms(DT_F32, 1, SHAPE(5 * dim));
    struct tensor acc = make(DT_I64, 1, SHAPE(5 * dim));
    struct tensor count = make(DT_I64, 1, SHAPE(1));
    struct head_part want[PARTS], got[PARTS];
    struct op_heads a = {.parts = want, .n_parts = PARTS, .y = &y};
    char what[64];

    fill(&y, 2.0f);
    ((int64_t *)count.data)[0] = 3;
    for (int c = 0; c < 5 * dim; c++)
        ((int64_t *)acc.data)[c] = (int64_t)(c % 7 - 3) * (1 << 24);
    if (i % 3 == 0) {
        y.pending.row_scale = random_floats(s);
        y.pending.col_scale = random_floats(5 * dim);
        y.pending.bias = random_floats(5 * dim);
    }
    a.weight = i % 7 ? &weight : NULL;
    a.rope = i % 4 != 3 ? &rope : NULL;
    a.mean_acc = i % 2 ? &acc : NULL;
    a.mean_count = i % 2 ? &count : NULL;
    a.eps = 1e-6f;
    a.head_dim = dim;
    a.first_token = i;
    parts_make(want, layout, s, dim);
    parts_make(got, layout, s, dim);
    run_heads(ref, &a);
    a.parts = got;
    run_heads(test, &a);
    snprintf(what, sizeof(what), "heads case %d", i);
    parts_compare(got, want, what);
}

static void heads_body(struct ops *ref, struct ops *test)
{
    for (int i = 0; i < 40; i++) {
        heads_case(ref, test, i);
        pool_clear();
    }
}

/* Two parts inside one send buffer, tokens apart: nothing between is touched. */
static void heads_strided_body(struct ops *ref, struct ops *test)
{
    struct tensor y = randoms2(DT_F32, 10, 4 * 24);
    struct tensor buffer = randoms(DT_BF16, 3, SHAPE(10, 5, 24)), flat = twin(&buffer);
    struct head_part parts[2], want[2];

    for (int i = 0; i < 2; i++) {
        int64_t shape[3] = {2, 10, 24}, stride[3] = {24, 5 * 24, 1};

        parts[i] = (struct head_part){2 * i, 2, tensor_slice(&buffer, 1, 2 * i + i, 2)};
        memcpy(parts[i].t.shape, shape, sizeof(shape));
        memcpy(parts[i].t.stride, stride, sizeof(stride));
        want[i] = (struct head_part){2 * i, 2, part_tensor(PLAIN_BF16, 2, 10, 24)};
    }
    run_heads(test,
              &(struct op_heads){
                  .parts = parts, .n_parts = 2, .y = &y, .eps = 1e-6f, .head_dim = 24});
    run_heads(ref,
              &(struct op_heads){
                  .parts = want, .n_parts = 2, .y = &y, .eps = 1e-6f, .head_dim = 24});
    for (int i = 0; i < 2; i++)
        expect_same(&parts[i].t, &want[i].t, "heads in a send buffer");
    for (int64_t r = 0; r < 10; r++) {
        struct tensor a = tensor_slice(&buffer, 0, r, 1),
                      b = tensor_slice(&flat, 0, r, 1);
        struct tensor x = tensor_slice(&a, 1, 2, 1), z = tensor_slice(&b, 1, 2, 1);

        expect_same(&x, &z, "the head between");
    }
}

/* Logits of turned q and k depend on the distance of their places alone. */
static void rope_relative_body(struct ops *ref, struct ops *test)
{
    enum { DIM = 48 };
    struct rope rope = rope_make(DIM);
    struct tensor y = make2(DT_F32, 2, DIM);
    double logit[2];

    (void)ref;
    fill(&y, 1.0f);
    for (int i = 0; i < 2; i++) {
        /* (1,1,1) and (2,3,5), then both one frame, two rows and three columns on */
        int64_t q_at = ((1 + i) * GRID_H + 1 + 2 * i) * GRID_W + 1 + 3 * i;
        int64_t k_at = ((2 + i) * GRID_H + 3 + 2 * i) * GRID_W + 5 + 3 * i;
        int64_t at[2] = {q_at, k_at};
        struct tensor out[2];

        for (int j = 0; j < 2; j++) {
            struct tensor row = tensor_slice(&y, 0, j, 1);
            struct head_part part = {0, 1, part_tensor(PLAIN_F32, 1, 1, DIM)};

            out[j] = part.t;
            run_heads(test, &(struct op_heads){.parts = &part,
                                               .n_parts = 1,
                                               .y = &row,
                                               .rope = &rope,
                                               .eps = 1e-6f,
                                               .head_dim = DIM,
                                               .first_token = at[j]});
        }
        logit[i] = 0.0;
        for (int64_t c = 0; c < DIM; c++)
            logit[i] += value_of(&out[0], c) * value_of(&out[1], c);
    }
    assert_true(fabs(logit[0] - logit[1]) < 1e-5 * DIM);
}

/* ---- the mean of k --------------------------------------------------------------- */

static void key_sum_body(struct ops *ref, struct ops *test)
{
    enum { DIM = 40, D = 3 * DIM };
    struct rope rope = rope_make(DIM);
    struct tensor y = randoms2(DT_F32, 300, D), weight = randoms(DT_F32, 1, SHAPE(D));
    struct tensor want = make(DT_I64, 1, SHAPE(D)), want_n = make(DT_I64, 1, SHAPE(1));
    struct tensor got = make(DT_I64, 1, SHAPE(D)), got_n = make(DT_I64, 1, SHAPE(1));
    struct op_key_sum a = {.acc = &want, .count = &want_n, .y = &y, .weight = &weight};

    a.rope = &rope;
    a.eps = 1e-6f;
    a.head_dim = DIM;
    a.first_token = 5;
    a.every = 16;
    run_key_sum(ref, &a);
    a.acc = &got;
    a.count = &got_n;
    for (int i = 0; i < 3; i++) { /* in three pieces: the same integers */
        struct tensor piece = tensor_slice(&y, 0, 100 * i, 100);

        a.y = &piece;
        a.first_token = 5 + 100 * i;
        run_key_sum(test, &a);
    }
    expect_same(&got_n, &want_n, "key count");
    expect_same(&got, &want, "key sum");
    assert_int_equal(((int64_t *)got_n.data)[0], 19);
}

/* ---- v --------------------------------------------------------------------------- */

static void values_case(struct ops *ref, struct ops *test, int i)
{
    int64_t s = lengths[i % 5], s_pad = (s + 127) / 128 * 128;
    int dim = dims[i % 4];
    struct tensor y = randoms2(i % 2 ? DT_BF16 : DT_F32, s, 5 * dim);
    struct head_part want[PARTS], got[PARTS];
    struct op_values a = {want, PARTS, &y, dim};

    if (i % 3 == 0) {
        y.pending.row_scale = random_floats(s);
        y.pending.bias = random_floats(5 * dim);
    }
    for (int p = 0; p < PARTS; p++) {
        enum dtype dt = i % 3 == 1 ? DT_F32 : i % 3 == 2 ? DT_BF16 : DT_E4M3;
        bool codes = dt == DT_E4M3;

        want[p].head_begin = part_begin[p];
        want[p].n_heads = part_heads[p];
        want[p].t = make(dt, 3,
                         codes ? SHAPE(part_heads[p], dim, s_pad)
                               : SHAPE(part_heads[p], s, dim));
        if (codes)
            scales_groups(&want[p].t, 1, 128);
        got[p] = want[p];
        got[p].t = twin(&want[p].t);
    }
    run_values(ref, &a);
    a.parts = got;
    run_values(test, &a);
    parts_compare(got, want, "values");
    if (want[0].t.dtype == DT_E4M3 && s < s_pad)
        assert_int_equal(((uint8_t *)got[0].t.data)[s_pad - 1], 0);
}

static void values_body(struct ops *ref, struct ops *test)
{
    for (int i = 0; i < 30; i++) {
        values_case(ref, test, i);
        pool_clear();
    }
}

/* ---- gather ---------------------------------------------------------------------- */

static void gather_parts(struct head_part *parts, enum dtype dt, int64_t s, int dim)
{
    for (int p = 0; p < PARTS; p++) {
        struct tensor t = make(dt, 3, SHAPE(s, part_heads[p], dim));

        if (dt == DT_E4M3)
            scales_rows(&t);
        fill(&t, 1.0f);
        parts[p] = (struct head_part){part_begin[p], part_heads[p], t};
    }
}

static void gather_case(struct ops *ref, struct ops *test, int i)
{
    static const enum dtype from[] = {DT_F32, DT_BF16, DT_E4M3};
    static const enum dtype to[] = {DT_F32, DT_BF16, DT_E4M3, DT_I8};
    int64_t s = lengths[i % 5];
    int dim = dims[i % 4];
    struct head_part parts[PARTS], add[PARTS];
    struct tensor want = make2(to[i % 4], s, 5 * dim),
                  got = make2(to[i % 4], s, 5 * dim);
    struct op_gather a = {&want, parts, PARTS, add, i % 2 ? PARTS : 0};

    gather_parts(parts, from[i % 3], s, dim);
    gather_parts(add, from[i % 3], s, dim);
    run_gather(ref, &a);
    a.out = &got;
    run_gather(test, &a);
    expect_close(&got, &want, "gather");
}

static void gather_body(struct ops *ref, struct ops *test)
{
    for (int i = 0; i < 36; i++) {
        gather_case(ref, test, i);
        pool_clear();
    }
}

/* v scattered to heads and gathered again is v. */
static void there_and_back_body(struct ops *ref, struct ops *test)
{
    struct tensor y = randoms2(DT_F32, 130, 5 * 24), back = make2(DT_F32, 130, 5 * 24);
    struct head_part there[PARTS], parts[PARTS];

    (void)ref;
    for (int p = 0; p < PARTS; p++) {
        struct tensor t = make(DT_F32, 3, SHAPE(130, part_heads[p], 24));

        parts[p] = (struct head_part){part_begin[p], part_heads[p], t};
        there[p] = parts[p];
        there[p].t.shape[0] = part_heads[p];
        there[p].t.shape[1] = 130;
        there[p].t.stride[0] = t.stride[1];
        there[p].t.stride[1] = t.stride[0];
    }
    run_values(test, &(struct op_values){there, PARTS, &y, 24});
    run_gather(test, &(struct op_gather){&back, parts, PARTS, NULL, 0});
    expect_same(&back, &y, "scatter and gather");
}

#define EACH(body)                   \
    static void body##_all(void **s) \
    {                                \
        (void)s;                     \
        each_backend(body##_body);   \
    }
EACH(heads)
EACH(heads_strided)
EACH(rope_relative)
EACH(key_sum)
EACH(values)
EACH(gather)
EACH(there_and_back)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_all),          cmocka_unit_test(heads_strided_all),
        cmocka_unit_test(rope_relative_all),  cmocka_unit_test(key_sum_all),
        cmocka_unit_test(values_all),         cmocka_unit_test(gather_all),
        cmocka_unit_test(there_and_back_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
