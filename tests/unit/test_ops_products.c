/* test_ops_products.c - linear and conv of every backend against the reference */
#include <stdio.h>

#include "tests/tolerance.h"
#include "tests/unit/ops_cases.h"

/* ---- linear ---------------------------------------------------------------------- */

static const struct {
    int64_t s, d, k;
} sizes[] = {
    {1, 24, 40}, {127, 130, 64}, {128, 257, 96}, {129, 40, 300}, {300, 64, 129}};

static const struct {
    enum dtype x, w;
} types[] = {
    {DT_F32, DT_F32},   {DT_F32, DT_BF16},  {DT_F32, DT_F16},   {DT_F32, DT_E4M3},
    {DT_F32, DT_I8},    {DT_F32, DT_E5M2},  {DT_BF16, DT_BF16}, {DT_BF16, DT_F32},
    {DT_BF16, DT_E4M3}, {DT_E4M3, DT_E4M3}, {DT_I8, DT_I8},
};

enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static void linear_case(struct ops *ref, struct ops *test, int size, int type,
                        enum dtype y_type, bool bias)
{
    int64_t s = sizes[size].s, d = sizes[size].d, k = sizes[size].k;
    struct tensor x = randoms2(types[type].x, s, k);
    struct tensor w = randoms2(types[type].w, d, k);
    struct tensor b = randoms(DT_F32, 1, SHAPE(d));
    struct tensor want = make2(y_type, s, d), got = make2(y_type, s, d);
    struct op_linear a = {&want, &x, &w, bias ? &b : NULL, false};
    char what[96];

    snprintf(what, sizeof(what), "linear %s x %s -> %s, %lld x %lld x %lld",
             dtype_name(x.dtype), dtype_name(w.dtype), dtype_name(y_type), (long long)s,
             (long long)d, (long long)k);
    run_linear(ref, &a);
    a.y = &got;
    run_linear(test, &a);
    expect_close(&got, &want, what);
}

static void linear_body(struct ops *ref, struct ops *test)
{
    for (int size = 0; size < N_SIZES; size++) {
        for (int type = 0; type < N_TYPES; type++)
            linear_case(ref, test, size, type, type % 2 ? DT_F32 : DT_BF16,
                        (size + type) % 3 != 0);
        pool_clear();
    }
}

static void linear_scale_kinds_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_BF16, 33, 48), w = randoms2(DT_E4M3, 20, 48);
    struct tensor want = make2(DT_F32, 33, 20), got = make2(DT_F32, 33, 20);
    struct op_linear a = {&want, &x, &w, NULL, false};

    for (int i = 0; i < 2; i++) {
        w.scales.kind = i ? SCALE_TENSOR : SCALE_NONE;
        a.y = &want;
        run_linear(ref, &a);
        a.y = &got;
        run_linear(test, &a);
        expect_close(&got, &want, i ? "linear, one scale" : "linear, no scale");
    }
}

/* Raw sums, and what they leave to the reader. */
static void pending_body(struct ops *ref, struct ops *test)
{
    static const enum dtype dts[] = {DT_E4M3, DT_I8, DT_F32};

    for (int i = 0; i < 3; i++) {
        struct tensor x = randoms2(dts[i], 130, 72), w = randoms2(dts[i], 40, 72);
        struct tensor b = randoms(DT_F32, 1, SHAPE(40));
        struct tensor want = make2(DT_F32, 130, 40), got = make2(DT_F32, 130, 40);
        struct tensor applied = make2(DT_F32, 130, 40), read = make2(DT_F32, 130, 40);
        struct op_linear a = {&want, &x, &w, &b, true};

        run_linear(ref, &a);
        a.y = &got;
        run_linear(test, &a);
        expect_close(&got, &want, "pending linear");
        assert_ptr_equal(got.pending.row_scale, x.scales.data);
        assert_ptr_equal(got.pending.col_scale, w.scales.data);
        assert_ptr_equal(got.pending.bias, b.data);
        run_act(test, &(struct op_act){&read, &got, NULL, ACT_NONE});
        a.y = &applied;
        a.pending = false;
        run_linear(test, &a);
        assert_null(applied.pending.row_scale);
        expect_same(&read, &applied, "pending read, applied");
    }
}

/* A row's bytes do not depend on how many rows there are. */
static void rows_body(struct ops *ref, struct ops *test)
{
    static const int64_t cuts[][2] = {{0, 1}, {0, 130}, {128, 5}, {128, 172}};

    (void)ref;
    for (int type = 0; type < N_TYPES; type++) {
        struct tensor x = randoms2(types[type].x, 300, 200);
        struct tensor w = randoms2(types[type].w, 70, 200);
        struct tensor all = make2(DT_F32, 300, 70);

        run_linear(test, &(struct op_linear){&all, &x, &w, NULL, false});
        for (int i = 0; i < 4; i++) {
            struct tensor part = tensor_slice(&x, 0, cuts[i][0], cuts[i][1]);
            struct tensor want = tensor_slice(&all, 0, cuts[i][0], cuts[i][1]);
            struct tensor got = make2(DT_F32, cuts[i][1], 70);

            run_linear(test, &(struct op_linear){&got, &part, &w, NULL, false});
            expect_same(&got, &want, "rows of a product");
        }
        pool_clear();
    }
}

/* ---- conv ------------------------------------------------------------------------ */

static const struct conv_case {
    int64_t t, h, w, c, o;
    int64_t kernel[3];
    int lo[3], hi[3], stride[3];
    int upsample;
    int residual; /* 0 none, 1 another tensor, 2 in place */
    enum dtype x, weight, y;
} convs[] = {
    {1, 5, 7, 3, 4, {1, 1, 1}, {0}, {0}, {1, 1, 1}, 1, 0, DT_F32, DT_F32, DT_F32},
    {4,
     6,
     5,
     8,
     6,
     {3, 3, 3},
     {2, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     1,
     1,
     DT_F32,
     DT_F32,
     DT_F32},
    {3,
     9,
     8,
     5,
     7,
     {1, 3, 3},
     {0},
     {0, 1, 1},
     {1, 2, 2},
     1,
     0,
     DT_F32,
     DT_BF16,
     DT_F32},
    {5, 3, 3, 16, 16, {3, 1, 1}, {0}, {0}, {2, 1, 1}, 1, 0, DT_BF16, DT_F32, DT_F32},
    {2,
     4,
     3,
     12,
     6,
     {1, 3, 3},
     {0, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     2,
     0,
     DT_F32,
     DT_F32,
     DT_F32},
    {2,
     17,
     19,
     24,
     33,
     {3, 3, 3},
     {2, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     1,
     2,
     DT_F32,
     DT_F32,
     DT_F32},
    {2,
     5,
     6,
     9,
     11,
     {3, 3, 3},
     {2, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     1,
     2,
     DT_BF16,
     DT_BF16,
     DT_BF16},
    {1,
     3,
     3,
     96,
     40,
     {3, 3, 3},
     {2, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     2,
     1,
     DT_BF16,
     DT_BF16,
     DT_BF16},
};

/* The output's extent on one axis. */
static int64_t conv_out(const struct conv_case *c, int axis)
{
    const int64_t in[3] = {c->t, c->h, c->w};
    int64_t n = in[axis] * (axis ? c->upsample : 1) + c->lo[axis] + c->hi[axis];

    return (n - c->kernel[axis]) / c->stride[axis] + 1;
}

static void conv_case(struct ops *ref, struct ops *test, const struct conv_case *c)
{
    struct tensor whole = randoms(c->x, 4, SHAPE(c->t, c->h + 1, c->w + 2, c->c));
    struct tensor high = tensor_slice(&whole, 1, 1, c->h);
    struct tensor x = tensor_slice(&high, 2, 1, c->w);
    struct tensor weight = randoms(
        c->weight, 5, SHAPE(c->o, c->kernel[0], c->kernel[1], c->kernel[2], c->c));
    struct tensor bias = randoms(DT_F32, 1, SHAPE(c->o));
    struct tensor want = randoms(
        c->y, 4, SHAPE(conv_out(c, 0), conv_out(c, 1), conv_out(c, 2), c->o));
    struct tensor got = twin(&want), other = twin(&want);
    struct op_conv a = {.y = &want, .x = &x, .weight = &weight, .bias = &bias};

    for (int i = 0; i < 3; i++) {
        a.pad_lo[i] = c->lo[i];
        a.pad_hi[i] = c->hi[i];
        a.stride[i] = c->stride[i];
    }
    a.upsample = c->upsample;
    a.residual = c->residual == 0 ? NULL : c->residual == 1 ? &other : &want;
    run_conv(ref, &a);
    a.y = &got;
    a.residual = c->residual == 2 ? &got : a.residual;
    run_conv(test, &a);
    expect_close(&got, &want, "conv");
}

static void conv_body(struct ops *ref, struct ops *test)
{
    for (size_t i = 0; i < sizeof(convs) / sizeof(convs[0]); i++)
        conv_case(ref, test, &convs[i]);
}

/* A kernel of one tap is a matrix product over channels. */
static void conv_is_linear_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_F32, 60, 20), w = randoms2(DT_F32, 9, 20);
    struct tensor y = make2(DT_F32, 60, 9), z = make2(DT_F32, 60, 9);
    struct tensor x4 = tensor_reshape(&x, 4, SHAPE(3, 4, 5, 20));
    struct tensor w5 = tensor_reshape(&w, 5, SHAPE(9, 1, 1, 1, 20));
    struct tensor y4 = tensor_reshape(&y, 4, SHAPE(3, 4, 5, 9));

    (void)ref;
    run_conv(
        test,
        &(struct op_conv){
            .y = &y4, .x = &x4, .weight = &w5, .stride = {1, 1, 1}, .upsample = 1});
    run_linear(test, &(struct op_linear){&z, &x, &w, NULL, false});
    expect_close(&y, &z, "conv with one tap");
}

#define EACH(body)                   \
    static void body##_all(void **s) \
    {                                \
        (void)s;                     \
        each_backend(body##_body);   \
    }
EACH(linear)
EACH(linear_scale_kinds)
EACH(pending)
EACH(rows)
EACH(conv)
EACH(conv_is_linear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_all),  cmocka_unit_test(linear_scale_kinds_all),
        cmocka_unit_test(pending_all), cmocka_unit_test(rows_all),
        cmocka_unit_test(conv_all),    cmocka_unit_test(conv_is_linear_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
