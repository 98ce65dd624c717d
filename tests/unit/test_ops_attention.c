/* test_ops_attention.c - attention of every backend, and its laws */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/tolerance.h"
#include "tests/unit/ops_cases.h"

enum { HEADS = 3 };

enum kind { K_F32, K_BF16, K_I8, K_I8_BY_4, K_E4M3, KINDS };

/* Everything one attention reads and writes. */
struct scene {
    struct attn_queries queries[2];
    struct attn_keys keys[2];
    struct tensor lse[2];
    struct op_attention a;
};

static struct tensor rows_of(enum kind kind, int64_t n, int dim)
{
    static const enum dtype dt[] = {DT_F32, DT_BF16, DT_I8, DT_I8, DT_E4M3};
    struct tensor t = make(dt[kind], 3, SHAPE(HEADS, n, dim));

    if (kind == K_I8_BY_4)
        scales_groups(&t, 4, dim);
    else if (kind >= K_I8)
        scales_rows(&t);
    fill(&t, 1.0f);
    return t;
}

static struct tensor values_of(enum kind kind, int64_t n, int dim)
{
    struct tensor t;

    if (kind < K_I8)
        return rows_of(kind, n, dim);
    t = make(DT_E4M3, 3, SHAPE(HEADS, dim, (n + 127) / 128 * 128));
    scales_groups(&t, 1, 128);
    fill(&t, 1.0f);
    return t;
}

static struct tensor output_of(enum dtype dt, int64_t s, int dim)
{
    struct tensor t = make(dt, 3, SHAPE(s, HEADS, dim));

    if (dt == DT_E4M3)
        scales_rows(&t);
    return t;
}

static void scene_make(struct scene *sc, enum kind kind, enum dtype o, int64_t s,
                       int64_t n, int dim)
{
    memset(sc, 0, sizeof(*sc));
    sc->queries[0].q = rows_of(kind == K_I8_BY_4 ? K_I8 : kind, s, dim);
    sc->queries[0].o = output_of(o, s, dim);
    sc->lse[0] = make2(DT_F32, HEADS, s);
    sc->queries[0].lse = &sc->lse[0];
    sc->keys[0] = (struct attn_keys){rows_of(kind, n, dim), values_of(kind, n, dim), n};
    sc->a.queries = sc->queries;
    sc->a.n_queries = 1;
    sc->a.keys = sc->keys;
    sc->a.n_keys = 1;
    sc->a.scale = 1.0f / sqrtf((float)dim);
}

/* The same inputs, outputs elsewhere. `copy` must stay where it is. */
static void scene_twin(const struct scene *sc, struct scene *copy)
{
    *copy = *sc;
    copy->a.queries = copy->queries;
    copy->a.keys = copy->keys;
    for (int i = 0; i < sc->a.n_queries; i++) {
        copy->queries[i].o = twin(&sc->queries[i].o);
        copy->lse[i] = twin(&sc->lse[i]);
        copy->queries[i].lse = &copy->lse[i];
    }
}

static void outputs_close(const struct tensor *got, const struct tensor *want,
                          bool codes, const char *what)
{
    double off = relative_l1(got, want);

    if (!codes && got->dtype != DT_E4M3)
        expect_close(got, want, what);
    else if (!(off <= TOL_ATTENTION_CODES))
        fail_msg("%s: relative L1 %.3g, at most %.3g", what, off, TOL_ATTENTION_CODES);
}

static void attention_case(struct ops *ref, struct ops *test, int i)
{
    static const int64_t lengths[] = {1, 127, 129, 300};
    static const int64_t key_counts[] = {1, 130, 128, 517, 65};
    static const int dims[] = {24, 40, 64, 128};
    static const enum dtype o_types[] = {DT_F32, DT_BF16, DT_E4M3};
    enum kind kind = (enum kind)(i % KINDS);
    int64_t s = lengths[i % 4], n = key_counts[i / 2 % 5];
    int dim = dims[i / 3 % 4];
    struct scene want, got;
    struct tensor key_bias = randoms(DT_F32, 1, SHAPE(n));
    struct tensor rel_bias = randoms2(DT_F32, HEADS, 2 * 9 + 1);
    char what[64];

    scene_make(&want, kind, o_types[i % 3], s, n, dim);
    want.a.key_bias = i % 4 == 1 ? &key_bias : NULL;
    want.a.rel_bias = i % 4 > 1 ? &rel_bias : NULL;
    want.a.add = i % 3 == 0 && i % 2;
    fill(&want.queries[0].o, 1.0f);
    scene_twin(&want, &got);
    run_attention(ref, &want.a);
    run_attention(test, &got.a);
    snprintf(what, sizeof(what), "attention case %d", i);
    outputs_close(&got.queries[0].o, &want.queries[0].o, kind >= K_I8, what);
    expect_close(got.queries[0].lse, want.queries[0].lse, "log-sum-exp");
}

static void attention_body(struct ops *ref, struct ops *test)
{
    for (int i = 0; i < 36; i++) {
        attention_case(ref, test, i);
        pool_clear();
    }
}

/* The 8-bit reference itself against attention on the decoded numbers. */
static void codes_body(struct ops *ref, struct ops *test)
{
    enum { S = 40, N = 300, DIM = 64 };
    struct scene codes, floats;

    (void)ref;
    for (int k = K_I8; k < KINDS; k++) {
        const struct attn_keys *from = codes.keys;

        scene_make(&codes, (enum kind)k, DT_F32, S, N, DIM);
        scene_make(&floats, K_F32, DT_F32, S, N, DIM);
        for (int64_t i = 0; i < HEADS * S * DIM; i++)
            ((float *)floats.queries[0].q.data)[i] = (float)value_of(
                &codes.queries[0].q, i);
        for (int64_t i = 0; i < HEADS * N * DIM; i++) {
            int64_t h = i / DIM / N, at = i / DIM % N, c = i % DIM;

            ((float *)floats.keys[0].k.data)[i] = (float)value_of(&from[0].k, i);
            ((float *)floats.keys[0].v.data)[i] = (float)value_of(
                &from[0].v, (h * DIM + c) * from[0].v.shape[2] + at);
        }
        run_attention(test, &codes.a);
        run_attention(test, &floats.a);
        outputs_close(&codes.queries[0].o, &floats.queries[0].o, true,
                      "8-bit attention");
        expect_close(&codes.lse[0], &floats.lse[0], "8-bit log-sum-exp");
        pool_clear();
    }
}

/* Two parts of queries and of keys give what one gives. */
static void parts_body(struct ops *ref, struct ops *test)
{
    enum { S = 200, N = 384, CUT_S = 70, CUT_N = 128, DIM = 40 };

    (void)ref;
    for (int k = K_F32; k < KINDS; k++) {
        struct tensor rel_bias = randoms2(DT_F32, HEADS, 2 * 50 + 1);
        struct scene one, two;

        scene_make(&one, (enum kind)k, DT_F32, S, N, DIM);
        one.a.rel_bias = &rel_bias;
        scene_twin(&one, &two);
        run_attention(test, &one.a);
        two.a.n_keys = two.a.n_queries = 2;
        for (int i = 0; i < 2; i++) {
            const struct tensor *v = &one.keys[0].v;
            int64_t n = i ? N - CUT_N : CUT_N, s = i ? S - CUT_S : CUT_S;
            int token_axis = k < K_I8 ? 1 : 2;

            two.keys[i].k = tensor_slice(&one.keys[0].k, 1, i * CUT_N, n);
            two.keys[i].v = tensor_slice(v, token_axis, i * CUT_N, n);
            two.keys[i].n = n;
            two.queries[i].q = tensor_slice(&one.queries[0].q, 1, i * CUT_S, s);
            two.queries[i].o = output_of(DT_F32, s, DIM);
            two.queries[i].lse = NULL;
        }
        run_attention(test, &two.a);
        for (int i = 0; i < 2; i++) {
            struct tensor want = tensor_slice(&one.queries[0].o, 0, i * CUT_S,
                                              two.queries[i].q.shape[1]);

            expect_same(&two.queries[i].o, &want, "attention in parts");
        }
        pool_clear();
    }
}

/* A query's bytes do not depend on how many queries there are. */
static void alone_body(struct ops *ref, struct ops *test)
{
    (void)ref;
    for (int k = K_F32; k < KINDS; k++) {
        struct scene all, one;

        scene_make(&all, (enum kind)k, DT_F32, 300, 200, 64);
        scene_twin(&all, &one);
        run_attention(test, &all.a);
        for (int64_t r = 0; r < 300; r += 128) {
            struct tensor want = tensor_slice(&all.queries[0].o, 0, r, 1);

            one.queries[0].q = tensor_slice(&all.queries[0].q, 1, r, 1);
            one.queries[0].o = output_of(DT_F32, 1, 64);
            one.queries[0].lse = NULL;
            run_attention(test, &one.a);
            expect_same(&one.queries[0].o, &want, "a query alone");
        }
        pool_clear();
    }
}

/* Reversing the keys changes nothing but the order of adding. */
static void order_body(struct ops *ref, struct ops *test)
{
    enum { N = 150, DIM = 24 };
    struct scene straight, back;
    size_t row = DIM * sizeof(float);

    (void)ref;
    scene_make(&straight, K_F32, DT_F32, 20, N, DIM);
    scene_twin(&straight, &back);
    back.keys[0].k = twin(&straight.keys[0].k);
    back.keys[0].v = twin(&straight.keys[0].v);
    for (int64_t h = 0; h < HEADS; h++) {
        for (int64_t i = 0; i < N; i++) {
            size_t to = (size_t)(h * N + i), from = (size_t)(h * N + N - 1 - i);

            memcpy((char *)back.keys[0].k.data + to * row,
                   (char *)straight.keys[0].k.data + from * row, row);
            memcpy((char *)back.keys[0].v.data + to * row,
                   (char *)straight.keys[0].v.data + from * row, row);
        }
    }
    run_attention(test, &straight.a);
    run_attention(test, &back.a);
    expect_close(&back.queries[0].o, &straight.queries[0].o, "keys in reverse");
}

/* What lies past the last key is not read into the result. */
static void padding_body(struct ops *ref, struct ops *test)
{
    enum { N = 131, DIM = 40 };

    (void)ref;
    for (int k = K_F32; k < KINDS; k++) {
        struct scene clean, dirty;

        scene_make(&clean, (enum kind)k, DT_F32, 5, 256, DIM);
        clean.keys[0].n = N;
        scene_twin(&clean, &dirty);
        dirty.keys[0].k = twin(&clean.keys[0].k);
        dirty.keys[0].v = twin(&clean.keys[0].v);
        run_attention(test, &clean.a);
        for (int64_t h = 0; h < HEADS; h++) {
            size_t size = dtype_bytes(dirty.keys[0].k.dtype);
            char *p = (char *)dirty.keys[0].k.data;
            size_t begin = (size_t)((h * 256 + N) * DIM) * size;

            memset(p + begin, 0x7f, (size_t)((256 - N) * DIM) * size);
            p = dirty.keys[0].v.data;
            if (k < K_I8)
                memset(p + begin, 0x7f, (size_t)((256 - N) * DIM) * size);
            for (int64_t c = 0; c < DIM && k >= K_I8; c++)
                memset(p + (h * DIM + c) * 256 + N, 0x70, 256 - N);
        }
        run_attention(test, &dirty.a);
        expect_same(&dirty.queries[0].o, &clean.queries[0].o, "padding of keys");
        pool_clear();
    }
}

/* Keys in two calls, merged, are the keys in one call. */
static void merge_body(struct ops *ref, struct ops *test)
{
    enum { S = 33, N = 200, CUT = 77, DIM = 24 };
    struct scene all, part[2];

    (void)ref;
    scene_make(&all, K_F32, DT_F32, S, N, DIM);
    run_attention(test, &all.a);
    for (int i = 0; i < 2; i++) {
        int64_t n = i ? N - CUT : CUT;

        scene_twin(&all, &part[i]);
        part[i].keys[0].k = tensor_slice(&all.keys[0].k, 1, i * CUT, n);
        part[i].keys[0].v = tensor_slice(&all.keys[0].v, 1, i * CUT, n);
        part[i].keys[0].n = n;
        run_attention(test, &part[i].a);
    }
    run_attn_merge(test,
                   &(struct op_attn_merge){&part[0].queries[0].o, &part[0].lse[0],
                                           &part[1].queries[0].o, &part[1].lse[0]});
    expect_close(&part[0].queries[0].o, &all.queries[0].o, "merged result");
    expect_close(&part[0].lse[0], &all.lse[0], "merged log-sum-exp");
}

/* An empty side (no key: log-sum-exp of minus infinity) leaves the other as it is. */
static void merge_empty_body(struct ops *ref, struct ops *test)
{
    struct tensor o = randoms(DT_F32, 3, SHAPE(4, HEADS, 8)), before = twin(&o);
    struct tensor lse = randoms2(DT_F32, HEADS, 4);
    struct tensor none = make(DT_F32, 3, SHAPE(4, HEADS, 8));
    struct tensor none_lse = make2(DT_F32, HEADS, 4);

    (void)ref;
    for (int i = 0; i < 4 * HEADS; i++)
        ((float *)none_lse.data)[i] = -INFINITY;
    run_attn_merge(test, &(struct op_attn_merge){&o, &lse, &none, &none_lse});
    expect_close(&o, &before, "merge with nothing");
    run_attn_merge(test, &(struct op_attn_merge){&none, &none_lse, &o, &lse});
    expect_close(&none, &before, "merge into nothing");
}

/* The VAE's form: one wide head. */
static void wide_body(struct ops *ref, struct ops *test)
{
    struct scene want, got;

    scene_make(&want, K_F32, DT_F32, 70, 70, 384);
    scene_twin(&want, &got);
    run_attention(ref, &want.a);
    run_attention(test, &got.a);
    expect_close(&got.queries[0].o, &want.queries[0].o, "wide heads");
}

#define EACH(body)                   \
    static void body##_all(void **s) \
    {                                \
        (void)s;                     \
        each_backend(body##_body);   \
    }
EACH(attention)
EACH(codes)
EACH(parts)
EACH(alone)
EACH(order)
EACH(padding)
EACH(merge)
EACH(merge_empty)
EACH(wide)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_all), cmocka_unit_test(codes_all),
        cmocka_unit_test(parts_all),     cmocka_unit_test(alone_all),
        cmocka_unit_test(order_all),     cmocka_unit_test(padding_all),
        cmocka_unit_test(merge_all),     cmocka_unit_test(merge_empty_all),
        cmocka_unit_test(wide_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
