/* test_ops_rows.c - norms, residuals, activations and the small ops, every backend */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/tolerance.h"
#include "tests/unit/ops_cases.h"

static const enum dtype outs[] = {DT_F32, DT_BF16, DT_E4M3, DT_I8};
static const int64_t sizes[][2] = {{1, 1}, {1, 40}, {127, 24}, {129, 96}, {5, 1537}};

enum { N_OUTS = 4, N_SIZES = 5, PER_FRAME = 7 };

/* ---- norm ------------------------------------------------------------------------ */

/* Vectors and tables for one case, by the bits of `with`. */
struct tables {
    struct tensor weight, bias, scale, shift, gate;
};

static void norm_make(struct norm *n, struct tables *t, unsigned with, int64_t s,
                      int64_t d)
{
    int64_t frames = with & 8 ? (s + 4) / PER_FRAME + 1 : 1;

    t->weight = randoms(DT_F32, 1, SHAPE(d));
    t->bias = randoms(DT_F32, 1, SHAPE(d));
    t->scale = make_wide(DT_F32, frames, d, 3 * d);
    t->shift = make_wide(DT_F32, frames, d, 3 * d);
    t->gate = make_wide(DT_F32, frames, d, 3 * d);
    fill(&t->scale, 0.5f);
    fill(&t->shift, 0.5f);
    fill(&t->gate, 0.5f);
    n->eps = 1e-6f;
    n->weight = with & 1 ? &t->weight : NULL;
    n->bias = with & 2 ? &t->bias : NULL;
    n->scale = with & 4 ? &t->scale : NULL;
    n->shift = with & 4 ? &t->shift : NULL;
    n->first_token = 4;
    n->tokens_per_frame = PER_FRAME;
}

static void norm_case(struct ops *ref, struct ops *test, int size, int i)
{
    static const enum norm_kind kinds[] = {NORM_LAYER, NORM_RMS, NORM_L2};
    static const enum act_kind acts[] = {ACT_NONE, ACT_SILU, ACT_NONE, ACT_GELU_TANH};
    int64_t s = sizes[size][0], d = sizes[size][1];
    enum dtype x_type = i % 2 ? DT_BF16 : DT_F32;
    struct tensor x = make_wide(x_type, s, d, d + 3);
    struct tensor want = make2(outs[i % N_OUTS], s, d);
    struct tensor got = twin(&want);
    struct op_norm a = {.out = &want, .x = &x};
    struct tables t;
    char what[64];

    fill(&x, 2.0f);
    norm_make(&a.norm, &t, (unsigned)i, s, d);
    a.norm.kind = kinds[i % 3];
    a.norm.act = acts[i % 4];
    snprintf(what, sizeof(what), "norm case %d of size %d", i, size);
    run_norm(ref, &a);
    a.out = &got;
    run_norm(test, &a);
    expect_close(&got, &want, what);
}

static void norm_body(struct ops *ref, struct ops *test)
{
    for (int size = 0; size < N_SIZES; size++) {
        for (int i = 0; i < 24; i++)
            norm_case(ref, test, size, i);
        pool_clear();
    }
}

/* Rows of zeros and of equal values have codes and scales, not NaN. */
static void norm_flat_body(struct ops *ref, struct ops *test)
{
    for (int i = 0; i < N_OUTS; i++) {
        struct tensor x = make2(DT_F32, 3, 50);
        struct tensor want = make2(outs[i], 3, 50), got = make2(outs[i], 3, 50);
        struct op_norm a = {&want, &x, {.kind = NORM_LAYER, .eps = 1e-6f}};

        for (int64_t c = 0; c < 50; c++)
            ((float *)x.data)[50 + c] = 3.0f;
        run_norm(ref, &a);
        a.out = &got;
        run_norm(test, &a);
        expect_close(&got, &want, "norm of flat rows");
    }
}

/* The mean is 0, the variance 1. */
static void norm_law_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_F32, 4, 333), y = make2(DT_F32, 4, 333);

    (void)ref;
    run_norm(test, &(struct op_norm){&y, &x, {.kind = NORM_LAYER, .eps = 0.0f}});
    for (int64_t r = 0; r < 4; r++) {
        double mean = 0.0, squares = 0.0;

        for (int64_t c = 0; c < 333; c++) {
            double v = value_of(&y, r * 333 + c);

            mean += v / 333.0;
            squares += v * v / 333.0;
        }
        assert_true(fabs(mean) < 1e-6 && fabs(squares - 1.0) < 1e-5);
    }
}

/* ---- residual -------------------------------------------------------------------- */

static void residual_case(struct ops *ref, struct ops *test, int size, int i)
{
    int64_t s = sizes[size][0], d = sizes[size][1];
    struct tensor x = randoms2(i % 2 ? DT_BF16 : DT_F32, s, d), x2 = twin(&x);
    struct tensor y = randoms2(i % 3 ? DT_F32 : DT_BF16, s, d);
    struct tensor want = make2(outs[i % N_OUTS], s, d);
    struct tensor got = twin(&want);
    struct op_residual a = {.x = &x, .y = &y, .out = i % 5 ? &want : NULL};
    struct tables t;

    norm_make(&a.norm, &t, (unsigned)i, s, d);
    a.norm.kind = i % 2 ? NORM_LAYER : NORM_RMS;
    a.gate = i % 4 ? &t.gate : NULL;
    if (i % 2) {
        y.pending.row_scale = random_floats(s);
        y.pending.col_scale = random_floats(d);
        y.pending.bias = random_floats(d);
    }
    run_residual(ref, &a);
    a.x = &x2;
    a.out = a.out ? &got : NULL;
    run_residual(test, &a);
    expect_close(&x2, &x, "residual x");
    if (a.out)
        expect_close(&got, &want, "residual out");
}

static void residual_body(struct ops *ref, struct ops *test)
{
    for (int size = 0; size < N_SIZES; size++) {
        for (int i = 0; i < 24; i++)
            residual_case(ref, test, size, i);
        pool_clear();
    }
}

/* Fused: the same bytes as the residual alone and then the norm. */
static void residual_is_two_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_BF16, 130, 60), x2 = twin(&x);
    struct tensor y = randoms2(DT_F32, 130, 60);
    struct tensor one = make2(DT_E4M3, 130, 60), two = make2(DT_E4M3, 130, 60);
    struct norm n = {.kind = NORM_LAYER, .eps = 1e-6f};

    (void)ref;
    run_residual(test, &(struct op_residual){&x, &y, NULL, &one, n});
    run_residual(test, &(struct op_residual){&x2, &y, NULL, NULL, n});
    run_norm(test, &(struct op_norm){&two, &x2, n});
    expect_same(&one, &two, "residual + norm");
}

/* ---- act ------------------------------------------------------------------------- */

static void act_case(struct ops *ref, struct ops *test, int size, int i)
{
    static const enum act_kind acts[] = {ACT_NONE, ACT_GELU_TANH, ACT_GELU_ERF,
                                         ACT_SILU};
    int64_t s = sizes[size][0], d = sizes[size][1];
    struct tensor x = make_wide(i % 2 ? DT_BF16 : DT_F32, s, d, 2 * d);
    struct tensor gated = randoms2(DT_F32, s, d);
    struct tensor want = make2(outs[i % N_OUTS], s, d);
    struct tensor got = twin(&want);
    struct op_act a = {&want, &x, i % 3 ? NULL : &gated, acts[i / N_OUTS % 4]};

    fill(&x, 3.0f);
    if (i % 2) {
        x.pending.row_scale = random_floats(s);
        x.pending.col_scale = random_floats(d);
        gated.pending.bias = random_floats(d);
    }
    run_act(ref, &a);
    a.out = &got;
    run_act(test, &a);
    expect_close(&got, &want, "act");
}

static void act_body(struct ops *ref, struct ops *test)
{
    for (int size = 0; size < N_SIZES; size++) {
        for (int i = 0; i < 32; i++)
            act_case(ref, test, size, i);
        pool_clear();
    }
}

static void act_in_place_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_F32, 9, 77), y = make2(DT_F32, 9, 77);

    (void)ref;
    run_act(test, &(struct op_act){&y, &x, NULL, ACT_SILU});
    run_act(test, &(struct op_act){&x, &x, NULL, ACT_SILU});
    expect_same(&x, &y, "act in place");
}

/* A row's codes do not depend on its neighbours. */
static void alone_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_F32, 300, 130);
    struct tensor all = make2(DT_E4M3, 300, 130);

    (void)ref;
    run_act(test, &(struct op_act){&all, &x, NULL, ACT_GELU_TANH});
    for (int64_t r = 0; r < 300; r += 37) {
        struct tensor one = tensor_slice(&x, 0, r, 1);
        struct tensor want = tensor_slice(&all, 0, r, 1), got = make2(DT_E4M3, 1, 130);

        run_act(test, &(struct op_act){&got, &one, NULL, ACT_GELU_TANH});
        expect_same(&got, &want, "a row alone");
    }
}

/* ---- small things ---------------------------------------------------------------- */

static void convert_body(struct ops *ref, struct ops *test)
{
    static const enum dtype from[] = {DT_F32, DT_BF16, DT_F16, DT_F64};

    for (int i = 0; i < 4; i++) {
        struct tensor src = randoms(from[i], 4, SHAPE(3, 4, 5, 6));
        struct tensor turned = src;
        struct tensor rows = randoms2(from[i], 129, 65);

        turned.shape[0] = src.shape[2];
        turned.stride[0] = src.stride[2];
        turned.shape[2] = src.shape[0];
        turned.stride[2] = src.stride[0];
        for (int j = 0; j < 2; j++) {
            struct tensor want = make(outs[j], 4, turned.shape);
            struct tensor got = make(outs[j], 4, turned.shape);

            run_convert(ref, &(struct op_convert){&want, &turned});
            run_convert(test, &(struct op_convert){&got, &turned});
            expect_same(&got, &want, "convert");
        }
        for (int j = 0; j < N_OUTS; j++) {
            struct tensor want = make2(outs[j], 129, 65), got = make2(outs[j], 129, 65);

            run_convert(ref, &(struct op_convert){&want, &rows});
            run_convert(test, &(struct op_convert){&got, &rows});
            expect_same(&got, &want, "quantise");
        }
    }
}

/* The codes of `src` on both backends, and which row they find spoilt. */
static int64_t quantise_both(struct ops *ref, struct ops *test, enum dtype dt,
                             const struct tensor *src, struct tensor *want)
{
    struct tensor got = make2(dt, src->shape[0], src->shape[1]);
    struct tensor spoilt[2] = {make(DT_I64, 1, SHAPE(1)), make(DT_I64, 1, SHAPE(1))};

    *want = make2(dt, src->shape[0], src->shape[1]);
    for (int i = 0; i < 2; i++)
        *(int64_t *)spoilt[i].data = INT64_MAX;
    run_quantise(ref, &(struct op_quantise){want, src, &spoilt[0], 1000});
    run_quantise(test, &(struct op_quantise){&got, src, &spoilt[1], 1000});
    expect_same(&got, want, "weights to codes");
    expect_same(&spoilt[1], &spoilt[0], "spoilt row");
    return *(int64_t *)spoilt[1].data;
}

static const enum dtype code_types[] = {DT_E4M3, DT_I8};

static void quantise_body(struct ops *ref, struct ops *test)
{
    static const enum dtype from[] = {DT_F32, DT_BF16, DT_F16, DT_F64};
    static const int64_t cols[] = {1, 65, 512, 5003};

    for (int i = 0; i < 32; i++) {
        struct tensor src = randoms2(from[i / 8], 33, cols[i % 4]);
        struct tensor codes;

        if (src.dtype == DT_BF16)
            memset(src.data, 0, 2 * (size_t)src.shape[1]); /* the least scale */
        assert_true(quantise_both(ref, test, code_types[i / 4 % 2], &src, &codes) ==
                    INT64_MAX);
    }
}

/* Row r has the bf16 numbers 128 r to 128 r + 127, so 255 and 511 are not finite; the
 * next rows have them all behind a largest one that makes the scale 1. */
static void every_bf16_body(struct ops *ref, struct ops *test)
{
    for (int k = 0; k < 2; k++) {
        struct tensor src = make2(DT_BF16, 513 + 512, 129), codes;
        uint16_t *v = src.data;
        float top = k ? 127.0f : 448.0f;

        for (int i = 0; i < 65536; i++) {
            uint16_t *to = v + i / 128 * 129 + i % 128;

            *to = (uint16_t)i;
            to[513 * 129] = fabsf(bf16_to_f32((uint16_t)i)) <= top ? (uint16_t)i : 0;
        }
        for (int r = 513; r < 513 + 512; r++)
            v[r * 129 + 128] = f32_to_bf16(top);
        assert_true(quantise_both(ref, test, code_types[k], &src, &codes) == 1255);
        assert_true(codes.scales.data[255] == 1e-5f / top);
        assert_true(codes.scales.data[600] == 1.0f);
        for (int c = 0; c < 129; c++)
            assert_int_equal(((uint8_t *)codes.data)[511 * 129 + c], 0);
    }
}

static void rows_body(struct ops *ref, struct ops *test)
{
    static const enum dtype from[] = {DT_F32, DT_BF16, DT_F16};
    struct tensor ids = make(DT_I32, 1, SHAPE(9));

    for (int i = 0; i < 9; i++)
        ((int32_t *)ids.data)[i] = i * 5 % 13;
    for (int i = 0; i < 6; i++) {
        struct tensor table = randoms2(from[i % 3], 13, 31);
        struct tensor want = make2(outs[i / 3], 9, 31), got = make2(outs[i / 3], 9, 31);

        run_rows(ref, &(struct op_rows){&want, &table, &ids});
        run_rows(test, &(struct op_rows){&got, &table, &ids});
        expect_same(&got, &want, "rows");
    }
}

static void sinusoid_body(struct ops *ref, struct ops *test)
{
    static const float times[] = {0.0f, 1.0f, 17.25f, 500.0f, 999.0f};
    struct tensor t = make(DT_F32, 1, SHAPE(5));
    struct tensor want = make2(DT_F32, 5, 64), got = make2(DT_F32, 5, 64);

    memcpy(t.data, times, sizeof(times));
    run_sinusoid(ref, &(struct op_sinusoid){&want, &t});
    run_sinusoid(test, &(struct op_sinusoid){&got, &t});
    expect_close(&got, &want, "sinusoid");
    assert_true(value_of(&got, 0) == 1.0 && value_of(&got, 32) == 0.0);
    assert_true(fabs(value_of(&got, 64 + 32) - sin(1.0)) < 1e-7);
}

static void unpatch_body(struct ops *ref, struct ops *test)
{
    struct tensor x = randoms2(DT_F32, 11, 4 * 5);
    struct tensor want = make2(DT_F32, 11, 20), got = make2(DT_F32, 11, 20);

    run_unpatch(ref, &(struct op_unpatch){&want, &x});
    run_unpatch(test, &(struct op_unpatch){&got, &x});
    expect_same(&got, &want, "unpatch");
    assert_true(value_of(&got, (2 * 2 + 1) * 2 + 0) ==
                value_of(&x, (1 * 2 + 0) * 5 + 2));
}

static void combine_body(struct ops *ref, struct ops *test)
{
    for (int n = 1; n <= COMBINE_MAX; n++) {
        struct tensor in[COMBINE_MAX];
        struct tensor coef = randoms2(DT_F32, n % 2 ? 1 : 4, n);
        struct tensor want = make2(DT_F32, 20, 33), got = make2(DT_F32, 20, 33);
        struct op_combine a = {.out = &want, .n = n, .coef = &coef};

        for (int i = 0; i < n; i++) {
            in[i] = randoms2(DT_F32, 20, 33);
            a.in[i] = &in[i];
        }
        ((float *)coef.data)[n - 1] = n > 2 ? 0.0f : 1.5f;
        a.first_token = 3;
        a.tokens_per_frame = PER_FRAME;
        run_combine(ref, &a);
        a.out = &got;
        run_combine(test, &a);
        expect_close(&got, &want, "combine");
        a.out = &in[0];
        run_combine(test, &a);
        expect_same(&in[0], &got, "combine in place");
    }
}

/* A term with coefficient zero is not read, whatever lies there. */
static void combine_zero_body(struct ops *ref, struct ops *test)
{
    struct tensor a = randoms2(DT_F32, 3, 8), b = randoms2(DT_F32, 3, 8);
    struct tensor coef = make2(DT_F32, 1, 2), out = make2(DT_F32, 3, 8);

    (void)ref;
    ((float *)coef.data)[0] = 1.0f;
    for (int i = 0; i < 24; i++)
        ((float *)b.data)[i] = NAN;
    run_combine(
        test, &(struct op_combine){.out = &out, .in = {&a, &b}, .n = 2, .coef = &coef});
    expect_same(&out, &a, "combine with a zero");
}

static void pixels_body(struct ops *ref, struct ops *test)
{
    for (int i = 0; i < 2; i++) {
        struct tensor x = randoms(outs[i], 3, SHAPE(7, 9, 3));
        struct tensor want = make(DT_U8, 3, x.shape), got = make(DT_U8, 3, x.shape);

        run_pixels(ref, &(struct op_pixels){&want, &x});
        run_pixels(test, &(struct op_pixels){&got, &x});
        expect_same(&got, &want, "pixels");
    }
}

/* Any part of a stream is that part of the whole. */
static void normal_body(struct ops *ref, struct ops *test)
{
    struct op_normal a = {.mean = 0.5f, .std = 2.0f, .seed = 7, .stream = 3};

    for (int i = 0; i < 2; i++) {
        struct tensor want = make2(outs[i], 9, 1001), got = make2(outs[i], 9, 1001);
        struct tensor part = make2(outs[i], 1, 1001);
        struct tensor row = tensor_slice(&want, 0, 4, 1);

        a.out = &want;
        a.first = 0;
        run_normal(ref, &a);
        a.out = &got;
        run_normal(test, &a);
        expect_close(&got, &want, "normal");
        a.out = &part;
        a.first = 4 * 1001;
        run_normal(test, &a);
        expect_same(&part, &row, "normal from the middle");
    }
}

/* Sees every op and copy, in pairs, and can end the work. */
struct onlooker {
    int begun, ended;
    const char *op;
    enum status say;
};

static enum status look_begin(void *self, struct queue *q, const char *op,
                              const void *args, struct err *e)
{
    struct onlooker *o = self;

    (void)q;
    (void)args;
    o->begun++;
    o->op = op;
    return o->say == ST_OK ? ST_OK : err_set(e, o->say, "no more");
}

static enum status look_end(void *self, struct queue *q, const char *op,
                            const void *args, struct err *e)
{
    struct onlooker *o = self;

    (void)q;
    (void)e;
    assert_string_equal(op, o->op);
    assert_non_null(args);
    o->ended++;
    return ST_OK;
}

static void watcher_body(struct ops *ref, struct ops *test)
{
    struct onlooker o = {0};
    const struct ops_watcher w = {&o, look_begin, look_end};
    struct tensor x = randoms2(DT_F32, 3, 5), y = make2(DT_F32, 3, 5);
    struct op_normal a = {.out = &x, .std = 1.0f};
    struct err e = ERR_INIT;
    struct queue *q;

    (void)ref;
    assert_int_equal(ops_queue_open(test, NULL, 0, &q, &e), ST_OK);
    ops_watch(test, &w);
    assert_int_equal(ops_normal(test, q, &a, &e), ST_OK);
    assert_string_equal(o.op, "normal");
    assert_int_equal(ops_copy(test, q, &y, &x, &e), ST_OK);
    assert_string_equal(o.op, "copy");
    assert_int_equal(o.ended, 2);
    o.say = ST_DEVICE;
    assert_int_equal(ops_copy(test, q, &y, &x, &e), ST_DEVICE);
    assert_int_equal(o.ended, 2);
    ops_watch(test, NULL);
    assert_int_equal(ops_copy(test, q, &y, &x, &e), ST_OK);
    assert_int_equal(o.begun, 3);
    ops_queue_close(test, q);
}

#define EACH(body)                   \
    static void body##_all(void **s) \
    {                                \
        (void)s;                     \
        each_backend(body##_body);   \
    }
EACH(norm)
EACH(norm_flat)
EACH(norm_law)
EACH(residual)
EACH(residual_is_two)
EACH(act)
EACH(act_in_place)
EACH(alone)
EACH(convert)
EACH(quantise)
EACH(every_bf16)
EACH(rows)
EACH(sinusoid)
EACH(unpatch)
EACH(combine)
EACH(combine_zero)
EACH(pixels)
EACH(normal)
EACH(watcher)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_all),
        cmocka_unit_test(norm_flat_all),
        cmocka_unit_test(norm_law_all),
        cmocka_unit_test(residual_all),
        cmocka_unit_test(residual_is_two_all),
        cmocka_unit_test(act_all),
        cmocka_unit_test(act_in_place_all),
        cmocka_unit_test(alone_all),
        cmocka_unit_test(convert_all),
        cmocka_unit_test(quantise_all),
        cmocka_unit_test(every_bf16_all),
        cmocka_unit_test(rows_all),
        cmocka_unit_test(sinusoid_all),
        cmocka_unit_test(unpatch_all),
        cmocka_unit_test(combine_all),
        cmocka_unit_test(combine_zero_all),
        cmocka_unit_test(pixels_all),
        cmocka_unit_test(normal_all),
        cmocka_unit_test(watcher_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
