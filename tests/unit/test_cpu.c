/* test_cpu.c - what the fast CPU backend promises beyond agreeing with the reference
 *
 * The same bytes for any number of threads, any number of rows, any cut of the keys;
 * span conversions equal to the scalar ones of dtype.h for every code; a pool that runs
 * each item once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/span.h"

/* ---- a backend with a queue --------------------------------------------------- */

enum { WORKSPACE = 64 << 20 };

struct rig {
    struct ops ops;
    struct queue *q;
    void *workspace;
};

static void rig_open(struct rig *r, int threads)
{
    struct ops_options opt = {.threads = threads};

    assert_int_equal(cpu_open(&opt, &r->ops, NULL), ST_OK);
    assert_int_equal(
        r->ops.backend->mem_alloc(r->ops.self, WORKSPACE, &r->workspace, NULL), ST_OK);
    assert_int_equal(
        r->ops.backend->queue_open(r->ops.self, r->workspace, WORKSPACE, &r->q, NULL),
        ST_OK);
}

static void rig_close(struct rig *r)
{
    r->ops.backend->queue_close(r->ops.self, r->q);
    r->ops.backend->mem_free(r->ops.self, r->workspace);
    r->ops.backend->close(r->ops.self);
}

#define RUN(rig, op, ...)                                                          \
    assert_int_equal((rig)->ops.backend->op((rig)->ops.self, (rig)->q,             \
                                            &(struct op_##op){__VA_ARGS__}, NULL), \
                     ST_OK)

/* ---- numbers ------------------------------------------------------------------ */

/* n floats in -1 … 1, the same for the same seed; the caller frees. */
static float *numbers(int64_t n, uint32_t seed)
{
    float *v = malloc((size_t)(n > 0 ? n : 1) * sizeof(*v));

    assert_non_null(v);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return v;
}

static struct tensor host2(void *data, enum dtype dt, int64_t rows, int64_t cols)
{
    return tensor_make2(data, dt, MEM_HOST, rows, cols);
}

static struct tensor host3(void *data, enum dtype dt, int64_t n, int64_t rows,
                           int64_t cols)
{
    return tensor_make3(data, dt, MEM_HOST, n, rows, cols);
}

/* Memory for a matrix of `dt`, with row scales when it holds codes. */
static struct tensor operand_alloc(enum dtype dt, int64_t rows, int64_t cols)
{
    struct tensor t = host2(calloc((size_t)(rows * cols), dtype_bytes(dt)), dt, rows,
                            cols);

    if (dtype_bytes(dt) == 1) {
        t.scales.kind = SCALE_ROW;
        t.scales.data = calloc((size_t)rows, sizeof(float));
    }
    return t;
}

static void operand_free(struct tensor *t)
{
    free(t->data);
    free(t->scales.data);
}

/* ---- products ----------------------------------------------------------------- */

enum { S = 300, K = 200, D = 530 };

/* y = x w^T + b for rows [begin, begin + rows) of x. */
static void product(struct rig *r, enum dtype dt, int64_t begin, int64_t rows, float *y)
{
    float *x = numbers(S * K, 1), *w = numbers(D * K, 2), *b = numbers(D, 3);
    struct tensor xf = host2(x, DT_F32, S, K), wf = host2(w, DT_F32, D, K);
    struct tensor bt = tensor_make1(b, DT_F32, MEM_HOST, D);
    struct tensor xo = operand_alloc(dt, S, K), wo = operand_alloc(dt, D, K);
    struct tensor yt = host2(y, DT_F32, rows, D), part;

    RUN(r, convert, &xo, &xf);
    RUN(r, convert, &wo, &wf);
    part = tensor_slice(&xo, 0, begin, rows);
    RUN(r, linear, &yt, &part, &wo, &bt, false);
    operand_free(&xo);
    operand_free(&wo);
    free(x);
    free(w);
    free(b);
}

static void check_product(enum dtype dt)
{
    struct rig one, three;
    float *whole = calloc(S * D, sizeof(float)), *other = calloc(S * D, sizeof(float));

    rig_open(&one, 1);
    rig_open(&three, 3);
    product(&one, dt, 0, S, whole);
    product(&three, dt, 0, S, other);
    assert_memory_equal(whole, other, S * D * sizeof(float));
    product(&three, dt, 0, 1, other);
    assert_memory_equal(whole, other, D * sizeof(float));
    product(&three, dt, 0, 131, other);
    assert_memory_equal(whole, other, 131 * D * sizeof(float));
    product(&three, dt, 128, S - 128, other);
    assert_memory_equal(whole + 128 * D, other, (S - 128) * D * sizeof(float));
    rig_close(&one);
    rig_close(&three);
    free(whole);
    free(other);
}

static void test_rows_of_products(void **state)
{
    (void)state;
    check_product(DT_F32);
    check_product(DT_BF16);
    check_product(DT_E4M3);
    check_product(DT_I8);
}

/* ---- attention ---------------------------------------------------------------- */

enum { HEADS = 2, QUERIES = 150, KEYS = 1100, DIM = 40 };

struct attn_case {
    float *q, *k, *v, *bias, *rel;
};

static void attn_case_init(struct attn_case *c)
{
    c->q = numbers(HEADS * QUERIES * DIM, 4);
    c->k = numbers(HEADS * KEYS * DIM, 5);
    c->v = numbers(HEADS * KEYS * DIM, 6);
    c->bias = numbers(KEYS, 7);
    c->rel = numbers(HEADS * 21, 8);
}

static void attn_case_release(struct attn_case *c)
{
    free(c->q);
    free(c->k);
    free(c->v);
    free(c->bias);
    free(c->rel);
}

/* All queries in two entries cut at `q_cut`; the keys in parts cut at k_cut[0], [1]. */
static void attend(struct rig *r, const struct attn_case *c, int64_t q_cut,
                   const int64_t *k_cut, float *out)
{
    struct tensor q = host3(c->q, DT_F32, HEADS, QUERIES, DIM);
    struct tensor o = host3(out, DT_F32, QUERIES, HEADS, DIM);
    struct tensor k = host3(c->k, DT_F32, HEADS, KEYS, DIM);
    struct tensor v = host3(c->v, DT_F32, HEADS, KEYS, DIM);
    struct tensor bias = tensor_make1(c->bias, DT_F32, MEM_HOST, KEYS);
    struct tensor rel = host2(c->rel, DT_F32, HEADS, 21);
    int64_t at[4] = {0, k_cut[0], k_cut[1], KEYS};
    struct attn_queries qs[2] = {
        {tensor_slice(&q, 1, 0, q_cut), tensor_slice(&o, 0, 0, q_cut), NULL},
        {tensor_slice(&q, 1, q_cut, QUERIES - q_cut),
         tensor_slice(&o, 0, q_cut, QUERIES - q_cut), NULL}};
    struct attn_keys ks[3];

    for (int i = 0; i < 3; i++)
        ks[i] = (struct attn_keys){tensor_slice(&k, 1, at[i], at[i + 1] - at[i]),
                                   tensor_slice(&v, 1, at[i], at[i + 1] - at[i]),
                                   at[i + 1] - at[i]};
    RUN(r, attention, qs, 2, ks, 3, &bias, &rel, 0.3f, false);
}

static void test_cuts_of_attention(void **state)
{
    const size_t bytes = QUERIES * HEADS * DIM * sizeof(float);
    struct rig one, three;
    struct attn_case c;
    float *whole = malloc(bytes), *other = malloc(bytes);

    (void)state;
    rig_open(&one, 1);
    rig_open(&three, 3);
    attn_case_init(&c);
    attend(&one, &c, QUERIES, (int64_t[]){KEYS, KEYS}, whole);
    attend(&three, &c, QUERIES, (int64_t[]){KEYS, KEYS}, other);
    assert_memory_equal(whole, other, bytes);
    attend(&three, &c, 128, (int64_t[]){128, 768}, other);
    assert_memory_equal(whole, other, bytes);
    attend(&one, &c, 128, (int64_t[]){0, 1024}, other);
    assert_memory_equal(whole, other, bytes);
    attn_case_release(&c);
    rig_close(&one);
    rig_close(&three);
    free(whole);
    free(other);
}

/* Keys with a bias of minus infinity have no part in the result, however many come
 * first; a query that may look at nothing gets zeros. */
static void test_masked_keys(void **state)
{
    const size_t bytes = QUERIES * HEADS * DIM * sizeof(float);
    struct rig r;
    struct attn_case c;
    float *out = malloc(bytes);

    (void)state;
    rig_open(&r, 2);
    attn_case_init(&c);
    for (int i = 0; i < KEYS; i++)
        c.bias[i] = i < KEYS - 1 ? -INFINITY : 0.0f;
    attend(&r, &c, QUERIES, (int64_t[]){KEYS, KEYS}, out);
    for (int i = 0; i < QUERIES; i++) {
        for (int h = 0; h < HEADS; h++)
            assert_memory_equal(out + (i * HEADS + h) * DIM,
                                c.v + (h * KEYS + KEYS - 1) * DIM, DIM * sizeof(float));
    }
    c.bias[KEYS - 1] = -INFINITY;
    attend(&r, &c, QUERIES, (int64_t[]){KEYS, KEYS}, out);
    for (int i = 0; i < QUERIES * HEADS * DIM; i++)
        assert_true(out[i] == 0.0f);
    attn_case_release(&c);
    rig_close(&r);
    free(out);
}

/* ---- convolution -------------------------------------------------------------- */

static void convolve(struct rig *r, int64_t frames, float *y)
{
    const int64_t h = 19, w = 23, c = 20, o = 13;
    float *x = numbers(frames * h * w * c, 9), *k = numbers(o * 27 * c, 10);
    struct tensor xt = tensor_make(x, DT_F32, MEM_HOST, 4,
                                   (int64_t[]){frames, h, w, c});
    struct tensor kt = tensor_make(k, DT_F32, MEM_HOST, 5, (int64_t[]){o, 3, 3, 3, c});
    struct tensor yt = tensor_make(y, DT_F32, MEM_HOST, 4,
                                   (int64_t[]){frames, h, w, o});

    RUN(r, conv, &yt, &xt, &kt, NULL, NULL, {2, 1, 1}, {0, 1, 1}, {1, 1, 1}, 1, 0);
    free(x);
    free(k);
}

static void test_frames_of_convolution(void **state)
{
    const size_t frame = 19 * 23 * 13 * sizeof(float);
    struct rig one, three;
    float *a = malloc(3 * frame), *b = malloc(3 * frame);

    (void)state;
    rig_open(&one, 1);
    rig_open(&three, 3);
    convolve(&one, 3, a);
    convolve(&three, 3, b);
    assert_memory_equal(a, b, 3 * frame);
    convolve(&three, 2, b);
    assert_memory_equal(a, b, 2 * frame);
    rig_close(&one);
    rig_close(&three);
    free(a);
    free(b);
}

/* A part of a picture, wherever it begins, is that part of the whole, to the byte. */
static void test_parts_of_convolution(void **state)
{
    enum { H = 19, W = 61, C = 20, O = 32 };
    float *x = numbers(H * W * C, 13), *k = numbers(O * 9 * C, 14);
    float *whole = malloc(H * W * O * sizeof(float));
    float *part = malloc(H * W * O * sizeof(float));
    struct tensor xt = tensor_make(x, DT_F32, MEM_HOST, 4, (int64_t[]){1, H, W, C});
    struct tensor kt = tensor_make(k, DT_F32, MEM_HOST, 5, (int64_t[]){O, 1, 3, 3, C});
    struct tensor yt = tensor_make(whole, DT_F32, MEM_HOST, 4,
                                   (int64_t[]){1, H - 2, W - 2, O});
    struct rig r;

    (void)state;
    rig_open(&r, 2);
    RUN(&r, conv, &yt, &xt, &kt, NULL, NULL, {0}, {0}, {1, 1, 1}, 1, 0);
    for (int64_t at = 0; at + 2 < W; at += 1 + at % 3) {
        int64_t w = at % 2 ? W - 2 - at : (W - 1 - at) / 2;
        struct tensor xp = tensor_slice(&xt, 2, at, w + 2);
        struct tensor rows = tensor_slice(&xp, 1, 3, H - 3);
        struct tensor yp = tensor_make(part, DT_F32, MEM_HOST, 4,
                                       (int64_t[]){1, H - 5, w, O});

        RUN(&r, conv, &yp, &rows, &kt, NULL, NULL, {0}, {0}, {1, 1, 1}, 1, at);
        for (int64_t h = 0; h < H - 5; h++)
            assert_memory_equal(part + h * w * O, whole + ((h + 3) * (W - 2) + at) * O,
                                (size_t)(w * O) * sizeof(float));
    }
    rig_close(&r);
    free(x);
    free(k);
    free(whole);
    free(part);
}

/* ---- rows --------------------------------------------------------------------- */

/* A quantised, modulated row longer than the stack buffer equals the same row written
 * as floats and quantised afterwards. */
static void test_long_rows(void **state)
{
    enum { ROWS = 3, COLS = 9001 };
    struct rig r;
    float *x = numbers(ROWS * COLS, 11), *u = malloc(ROWS * COLS * sizeof(float));
    struct tensor xt = host2(x, DT_F32, ROWS, COLS), ut = host2(u, DT_F32, ROWS, COLS);
    struct tensor a = operand_alloc(DT_E4M3, ROWS, COLS);
    struct tensor b = operand_alloc(DT_E4M3, ROWS, COLS);

    (void)state;
    rig_open(&r, 2);
    RUN(&r, act, &ut, &xt, NULL, ACT_GELU_TANH);
    RUN(&r, convert, &a, &ut);
    RUN(&r, act, &b, &xt, NULL, ACT_GELU_TANH);
    assert_memory_equal(a.data, b.data, ROWS * COLS);
    assert_memory_equal(a.scales.data, b.scales.data, ROWS * sizeof(float));
    rig_close(&r);
    operand_free(&a);
    operand_free(&b);
    free(x);
    free(u);
}

/* A rank may own no token: nothing is read or written, nothing fails. */
static void test_no_rows(void **state)
{
    struct rig r;
    float *w = numbers(64 * 64, 12), one = 0.0f;
    struct tensor none = host2(&one, DT_F32, 0, 64), out = none;
    struct tensor wt = host2(w, DT_F32, 64, 64);
    struct head_part part = {0, 2, host3(&one, DT_F32, 2, 0, 32)};
    struct head_part back = {0, 2, host3(&one, DT_F32, 0, 2, 32)};
    struct attn_queries qs = {part.t, back.t, NULL};
    struct attn_keys ks = {host3(w, DT_F32, 2, 16, 32), host3(w, DT_F32, 2, 16, 32),
                           16};
    struct norm norm = {.kind = NORM_LAYER, .eps = 1e-6f};

    (void)state;
    rig_open(&r, 2);
    RUN(&r, linear, &out, &none, &wt, NULL, false);
    RUN(&r, norm, &out, &none, norm);
    RUN(&r, heads, &part, 1, &none, .eps = 1e-6f, .head_dim = 32);
    RUN(&r, values, &part, 1, &none, 32);
    RUN(&r, attention, &qs, 1, &ks, 1, NULL, NULL, 0.2f, false);
    RUN(&r, gather, &out, &back, 1, NULL, 0);
    assert_true(one == 0.0f);
    rig_close(&r);
    free(w);
}

/* ---- activations -------------------------------------------------------------- */

/* 1 + tanh(u) is written as 2 / (1 + e^-2u): it would cancel far below zero. */
static double act_exact(enum act_kind act, double x)
{
    double u = sqrt(8.0 / M_PI) * (x + 0.044715 * x * x * x);

    return x / (1.0 + exp(act == ACT_SILU ? -x : -u));
}

static void test_activations_are_rounded_once(void **state)
{
    enum { N = 40001 };
    const enum act_kind kinds[] = {ACT_SILU, ACT_GELU_TANH};
    struct rig r;
    float *x = malloc(N * sizeof(float)), *y = malloc(N * sizeof(float));
    struct tensor xt = host2(x, DT_F32, 1, N), yt = host2(y, DT_F32, 1, N);

    (void)state;
    rig_open(&r, 2);
    for (int k = 0; k < 2; k++) {
        int wrong = 0;

        for (int i = 0; i < N; i++)
            x[i] = (float)(i - N / 2) * 0.000731f;
        RUN(&r, act, &yt, &xt, NULL, kinds[k]);
        for (int i = 0; i < N; i++)
            wrong += y[i] != (float)act_exact(kinds[k], (double)x[i]);
        assert_int_equal(wrong, 0);
        x[0] = -1000.0f;
        x[1] = 1000.0f;
        RUN(&r, act, &yt, &xt, NULL, kinds[k]);
        assert_true(y[0] == 0.0f && y[1] == 1000.0f);
    }
    rig_close(&r);
    free(x);
    free(y);
}

/* ---- conversions -------------------------------------------------------------- */

static void check_decode(enum dtype dt, uint32_t codes)
{
    uint16_t wide[65536];
    uint8_t narrow[256];
    float got[65536], want[65536];
    const void *src = dtype_bytes(dt) == 2 ? (const void *)wide : (const void *)narrow;

    for (uint32_t i = 0; i < codes; i++) {
        wide[i] = (uint16_t)i;
        narrow[i % 256] = (uint8_t)i;
    }
    span_load(src, dt, codes, got);
    dtype_convert(want, DT_F32, src, dt, codes);
    for (uint32_t i = 0; i < codes; i++)
        assert_true(isnan(want[i]) ? isnan(got[i])
                                   : memcmp(&got[i], &want[i], sizeof(float)) == 0);
}

static void test_every_code_is_decoded(void **state)
{
    (void)state;
    check_decode(DT_BF16, 65536);
    check_decode(DT_F16, 65536);
    check_decode(DT_E4M3, 256);
    check_decode(DT_E5M2, 256);
    check_decode(DT_I8, 256);
}

/* Values at, just below and just above every boundary between two codes. */
static void test_codes_at_boundaries(void **state)
{
    float v[3 * 127 + 4];
    uint8_t got[sizeof(v) / sizeof(v[0])];
    int n = 0;

    (void)state;
    for (int c = 0; c < 126; c++) {
        float mid = 0.5f * (e4m3_to_f32((uint8_t)c) + e4m3_to_f32((uint8_t)(c + 1)));

        v[n++] = mid;
        v[n++] = nextafterf(mid, 0.0f);
        v[n++] = -nextafterf(mid, 1000.0f);
    }
    v[n++] = 447.999f;
    v[n++] = 1e30f;
    v[n++] = -INFINITY;
    v[n++] = NAN;
    span_quant(got, DT_E4M3, n, v, 1.0f);
    for (int i = 0; i < n; i++)
        assert_int_equal(got[i], f32_to_e4m3(v[i]));
    for (int i = 0; i < n; i++)
        v[i] = ((float)i - 190.0f) * 0.5f;
    span_quant(got, DT_I8, n, v, 0.7f);
    for (int i = 0; i < n; i++)
        assert_int_equal((int8_t)got[i], f32_to_i8(v[i] / 0.7f));
}

static void test_bf16_rounding(void **state)
{
    enum { N = 70000 };
    float *v = malloc(N * sizeof(float));
    uint16_t *got = malloc(N * sizeof(uint16_t));

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t bits = i * 61681u;

        memcpy(&v[i], &bits, sizeof(bits));
    }
    span_store(got, DT_BF16, N, v);
    for (int i = 0; i < N; i++)
        assert_int_equal(got[i], f32_to_bf16(v[i]));
    free(v);
    free(got);
}

/* ---- pool --------------------------------------------------------------------- */

enum { ITEMS = 1000 };

static void count_item(void *ctx, int64_t item, int worker)
{
    _Atomic int *seen = ctx;

    if (worker >= 0 && worker < 5)
        atomic_fetch_add(&seen[item], 1);
}

static void test_pool_runs_each_item_once(void **state)
{
    _Atomic int seen[ITEMS];

    (void)state;
    for (int threads = 1; threads <= 5; threads += 2) {
        struct pool *p;

        assert_int_equal(pool_create(threads, &p, NULL), ST_OK);
        assert_int_equal(pool_threads(p), threads);
        for (int round = 1; round <= 50; round++) {
            for (int i = 0; i < ITEMS; i++)
                atomic_init(&seen[i], 0);
            pool_run(p, round == 50 ? 0 : ITEMS, count_item, seen);
            for (int i = 0; i < ITEMS; i++)
                assert_int_equal(atomic_load(&seen[i]), round == 50 ? 0 : 1);
        }
        pool_destroy(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_products),
        cmocka_unit_test(test_cuts_of_attention),
        cmocka_unit_test(test_masked_keys),
        cmocka_unit_test(test_frames_of_convolution),
        cmocka_unit_test(test_parts_of_convolution),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_activations_are_rounded_once),
        cmocka_unit_test(test_every_code_is_decoded),
        cmocka_unit_test(test_codes_at_boundaries),
        cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_pool_runs_each_item_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
