/* test_weights.c - weights are planned, loaded, quantised and named as promised */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/digest.h"
#include "engine/weights/model.h"
#include "engine/weights/safetensors.h"
#include "engine/weights/weights.h"
#include "kernels/base/quantise_row.h"
#include "tests/scratch.h"

#define DATA FF_GOLDEN_DIR

static struct ops *host;

static int open_host(void **state)
{
    (void)state;
    return ops_open("ref", &(struct ops_options){.threads = 1}, &host, NULL);
}

static int close_host(void **state)
{
    (void)state;
    ops_close(host);
    return 0;
}

static struct component opened(const char *path, const struct name_map *map)
{
    struct err e = ERR_INIT;
    struct source *s = NULL;
    struct component c = {.source = NULL};

    if (source_open(path, &s, &e) != ST_OK ||
        component_open(s, "part", map, &c, &e) != ST_OK)
        fail_msg("%s", e.text);
    return c;
}

static struct weights *loaded(const struct component *c, struct weights_policy policy)
{
    struct err e = ERR_INIT;
    struct weights *w = NULL;

    if (weights_open(c, &policy, &w, &e) != ST_OK || weights_load(w, host, &e) != ST_OK)
        fail_msg("%s", e.text);
    return w;
}

static struct tensor found(const struct weights *w, const char *name)
{
    struct err e = ERR_INIT;
    struct tensor t;

    if (weights_find(w, name, -1, NULL, &t, &e) != ST_OK)
        fail_msg("%s", e.text);
    return t;
}

static float *stored_floats(const struct component *c, const char *name)
{
    const struct stored *t = component_find(c, name);
    float *x;

    assert_non_null(t);
    x = malloc((size_t)stored_elements(t) * sizeof(*x));
    assert_int_equal(source_read_as(c->source, t, DT_F32, x, NULL), ST_OK);
    return x;
}

static bool block_matrix(const char *name)
{
    return strstr(name, "attn.") && strstr(name, ".weight") && !strstr(name, "norm");
}

static void matrices_keep_their_dtype_vectors_become_f32(void **state)
{
    struct component c = opened(
        DATA "/dit/wan_a/original/diffusion_pytorch_model.safetensors", &names_dit);
    struct weights *w = loaded(&c, (struct weights_policy){.quant = QUANT_NONE});
    struct tensor t = found(w, "blocks.0.self_attn.q.weight");
    float *x = stored_floats(&c, "blocks.1.modulation");

    (void)state;
    assert_int_equal(t.dtype, component_find(&c, "blocks.0.self_attn.q.weight")->dtype);
    assert_int_equal(t.dtype, DT_BF16);
    assert_int_equal((uintptr_t)t.data % 256, 0);
    t = found(w, "blocks.1.modulation");
    assert_int_equal(t.dtype, DT_F32);
    assert_int_equal(t.rank, 3);
    assert_memory_equal(t.data, x, (size_t)tensor_count(&t) * sizeof(*x));
    assert_int_equal(found(w, "blocks.0.norm3.bias").dtype, DT_F32);
    assert_int_equal(found(w, "patch_embedding.weight").rank, 5);
    assert_true(weights_has(w, "head.head.bias"));
    assert_false(weights_has(w, "head.head.bia"));
    assert_int_equal(weights_borrow_block(w, 0, NULL), ST_OK);
    weights_return_block(w, 0);
    free(x);
    weights_close(w);
    component_close(&c);
}

static void find_says_what_is_wrong(void **state)
{
    struct component c = opened(
        DATA "/dit/wan_a/original/diffusion_pytorch_model.safetensors", &names_dit);
    struct weights_policy policy = {.quant = QUANT_NONE};
    struct err e = ERR_INIT;
    struct weights *w = NULL;
    struct tensor t;

    (void)state;
    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    assert_true(weights_bytes(w) >= (size_t)component_bytes(&c));
    assert_int_equal(weights_find(w, "head.head.bias", 1, (int64_t[]){64}, &t, &e),
                     ST_OK);
    assert_null(t.data);
    assert_int_equal(weights_find(w, "head.head.bias", 1, (int64_t[]){65}, &t, &e),
                     ST_INPUT);
    assert_string_equal(e.text, "tensor 'head.head.bias' is [64], must be [65]");
    assert_int_equal(weights_find(w, "head.bias", 1, NULL, &t, &e), ST_INPUT);
    assert_string_equal(e.text, "tensor 'head.bias' is missing");
    assert_int_equal(weights_find(w, "head.head.bias", 2, NULL, &t, &e), ST_INPUT);
    weights_close(w);
    component_close(&c);
    weights_close(NULL);
}

/* Codes and scales by the weight rule, computed here once more. */
static void check_quantised(enum weight_quant quant, float largest)
{
    static const char name[] = "blocks.1.cross_attn.o.weight";
    struct component c = opened(
        DATA "/dit/wan_a/original/diffusion_pytorch_model.safetensors", &names_dit);
    struct weights_policy policy = {.quant = quant, .quantise = block_matrix};
    struct weights *w = loaded(&c, policy);
    struct tensor t = found(w, name);
    float *x = stored_floats(&c, name);
    int64_t rows = t.shape[0], cols = t.shape[1];

    assert_int_equal(t.scales.kind, SCALE_ROW);
    for (int64_t r = 0; r < rows; r++) {
        float amax = 1e-5f;

        for (int64_t k = 0; k < cols; k++)
            amax = fmaxf(amax, fabsf(x[r * cols + k]));
        assert_true(t.scales.data[r] == amax / largest);
        for (int64_t k = 0; k < cols; k++) {
            float v = x[r * cols + k] / t.scales.data[r];
            uint8_t code = ((uint8_t *)t.data)[r * cols + k];

            if (quant == QUANT_E4M3)
                assert_int_equal(code, f32_to_e4m3(v));
            else
                assert_int_equal((int8_t)code, (int)rintf(v));
        }
    }
    assert_int_equal(found(w, "blocks.1.ffn.0.weight").dtype, DT_BF16);
    free(x);
    weights_close(w);
    component_close(&c);
}

static void rows_are_quantised_by_the_weight_rule(void **state)
{
    (void)state;
    check_quantised(QUANT_E4M3, 448.0f);
    check_quantised(QUANT_I8, 127.0f);
}

/* Every code, every midpoint between two, and their neighbours, with scale 1. */
static void row_codes_are_the_scalar_ones(void **state)
{
    enum { N = 127 * 2 * 3 * 2 + 1 };
    static float row[N];
    static uint8_t codes[N];
    static int8_t ints[N];
    size_t n = 0;
    float scale;

    (void)state;
    for (int c = 0; c < 127; c++) {
        float v = e4m3_to_f32((uint8_t)c);
        float next = c < 126 ? e4m3_to_f32((uint8_t)(c + 1)) : v;
        const float x[] = {v, 0.5f * (v + next)};

        for (int k = 0; k < 2; k++) {
            const float near[] = {x[k], nextafterf(x[k], 0.0f),
                                  fminf(nextafterf(x[k], 1e9f), 448.0f)};

            for (int j = 0; j < 3; j++) {
                row[n++] = near[j];
                row[n++] = -near[j];
            }
        }
    }
    row[n++] = 448.0f;
    assert_int_equal(n, N);
    assert_true(quantise_row_e4m3(row, n, codes, &scale));
    assert_true(scale == 1.0f);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(codes[i], f32_to_e4m3(row[i]));
    for (size_t i = 0; i < n; i++)
        row[i] = fmaxf(-127.0f, fminf(127.0f, row[i] * 0.5f));
    row[0] = 127.0f;
    assert_true(quantise_row_i8(row, n, ints, &scale));
    assert_true(scale == 1.0f);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ints[i], f32_to_i8(row[i]));
    row[5] = INFINITY;
    assert_false(quantise_row_i8(row, n, ints, &scale));
    row[5] = NAN;
    assert_false(quantise_row_e4m3(row, n, codes, &scale));
    memset(row, 0, sizeof(row));
    assert_true(quantise_row_e4m3(row, n, codes, &scale));
    assert_true(scale == 1e-5f / 448.0f && codes[7] == 0);
}

/* The same convolution in bf16. */
static void check_narrow(const struct component *c, const struct tensor *wide)
{
    struct weights_policy policy = {.conv_channels_last = true, .conv_dtype = DT_BF16};
    struct weights *w = loaded(c, policy);
    struct tensor t = found(w, "decoder.upsamples.3.time_conv.weight");

    assert_int_equal(t.dtype, DT_BF16);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        assert_int_equal(((uint16_t *)t.data)[i],
                         f32_to_bf16(((float *)wide->data)[i]));
    weights_close(w);
}

static void convolutions_become_channels_last(void **state)
{
    struct component c = opened(DATA "/vae/Wan2.1_VAE.pth", &names_vae);
    struct weights_policy policy = {.conv_channels_last = true};
    struct weights *w = loaded(&c, policy);
    struct tensor t = found(w, "decoder.upsamples.3.time_conv.weight");
    const struct stored *s = component_find(&c, "decoder.upsamples.3.time_conv.weight");
    float *x = stored_floats(&c, "decoder.upsamples.3.time_conv.weight");
    int64_t n_out = s->dims[0], n_in = s->dims[1];

    (void)state;
    assert_int_equal(t.rank, 5);
    assert_int_equal(t.dtype, DT_F32);
    assert_int_equal(t.shape[1], 3);
    assert_int_equal(t.shape[4], n_in);
    for (int64_t o = 0; o < n_out; o++)
        for (int64_t k = 0; k < 3; k++)
            for (int64_t i = 0; i < n_in; i++)
                assert_true(((float *)t.data)[(o * 3 + k) * n_in + i] ==
                            x[(o * n_in + i) * 3 + k]);
    check_narrow(&c, &t);
    t = found(w, "decoder.middle.1.to_qkv.weight");
    assert_int_equal(t.rank, 5);
    assert_int_equal(t.shape[1] * t.shape[2] * t.shape[3], 1);
    t = found(w, "decoder.head.0.gamma");
    assert_int_equal(t.rank, 4);
    free(x);
    weights_close(w);
    component_close(&c);
}

/* Same names, types, bytes and scales. */
static void assert_same_store(const struct component *c, const struct weights *a,
                              const struct weights *b)
{
    char hex[2][65];

    for (int i = 0; i < c->n; i++) {
        struct tensor x = found(a, c->list[i].name), y = found(b, c->list[i].name);

        assert_int_equal(x.dtype, y.dtype);
        assert_true(tensor_same_shape(&x, &y));
        assert_memory_equal(x.data, y.data,
                            (size_t)tensor_count(&x) * dtype_bytes(x.dtype));
        assert_int_equal(x.scales.kind, y.scales.kind);
        if (x.scales.kind == SCALE_ROW)
            assert_memory_equal(x.scales.data, y.scales.data,
                                (size_t)x.shape[0] * sizeof(float));
    }
    assert_int_equal(weights_digest(&a, 1, hex[0], NULL), ST_OK);
    assert_int_equal(weights_digest(&b, 1, hex[1], NULL), ST_OK);
    assert_string_equal(hex[0], hex[1]);
}

/* Conversions by a backend give the bytes that those of the host give. */
static void check_ways(const struct component *c, struct weights_policy policy)
{
    static const char *const backends[] = {"ref", "check:cpu"};
    struct weights *want = loaded(c, policy);
    struct ops *plain = host;

    policy.way = WEIGHTS_BY_OPS;
    for (int i = 0; i < 2; i++) {
        struct weights *got;

        if (ops_open(backends[i], &(struct ops_options){.threads = 2}, &host, NULL) !=
            ST_OK)
            continue;
        policy.threads = 1 + 2 * i;
        got = loaded(c, policy);
        assert_same_store(c, got, want);
        weights_close(got);
        ops_close(host);
    }
    host = plain;
    weights_close(want);
}

static void a_backend_converts_to_the_same_bytes(void **state)
{
    struct component dit = opened(
        DATA "/dit/wan_a/original/diffusion_pytorch_model.safetensors", &names_dit);
    struct component vae = opened(DATA "/vae/Wan2.1_VAE.pth", &names_vae);

    (void)state;
    check_ways(&dit, (struct weights_policy){.quant = QUANT_NONE});
    for (int k = 0; k < 2; k++)
        check_ways(&dit, (struct weights_policy){.quant = k ? QUANT_I8 : QUANT_E4M3,
                                                 .quantise = block_matrix});
    for (int k = 0; k < 2; k++)
        check_ways(&vae, (struct weights_policy){.conv_channels_last = true,
                                                 .conv_dtype = k ? DT_F32 : DT_BF16});
    component_close(&dit);
    component_close(&vae);
}

static struct component shards_opened(void)
{
    struct err e = ERR_INIT;
    struct source *s = NULL;
    struct component c = {.source = NULL};
    struct folder dir;

    assert_int_equal(folder_open(DATA "/dit/wan_a/transformer", &dir, &e), ST_OK);
    assert_int_equal(
        source_open_at(&dir, "diffusion_pytorch_model.safetensors.index.json", &s, &e),
        ST_OK);
    assert_int_equal(component_open(s, "part", &names_dit, &c, &e), ST_OK);
    folder_close(&dir);
    return c;
}

static void digest_ignores_layout_policy_and_threads(void **state)
{
    struct component a = opened(
        DATA "/dit/wan_a/original/diffusion_pytorch_model.safetensors", &names_dit);
    struct component b = shards_opened();
    struct weights *stores[] = {
        loaded(&a, (struct weights_policy){.threads = 1}),
        loaded(&a, (struct weights_policy){.threads = 4}),
        loaded(&b, (struct weights_policy){.quant = QUANT_I8,
                                           .quantise = block_matrix,
                                           .threads = 3}),
    };
    struct tensor p = found(stores[0], "head.head.weight");
    struct tensor q = found(stores[1], "head.head.weight");
    char hex[3][65];

    (void)state;
    assert_false(a.renamed);
    assert_true(b.renamed);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            weights_digest((const struct weights *const *)&stores[i], 1, hex[i], NULL),
            ST_OK);
    assert_string_equal(hex[0], hex[1]);
    assert_string_equal(hex[0], hex[2]);
    assert_int_equal(strlen(hex[0]), 64);
    assert_memory_equal(p.data, q.data,
                        (size_t)tensor_count(&p) * dtype_bytes(p.dtype));
    for (int i = 0; i < 3; i++)
        weights_close(stores[i]);
    component_close(&a);
    component_close(&b);
}

static struct component written(struct scratch *s, const char *name, int64_t rows,
                                int64_t cols, const float *x)
{
    const struct safetensors_item item = {name, DT_F32, 2, (int64_t[]){rows, cols}, x};
    struct err e = ERR_INIT;

    scratch_create(s);
    assert_int_equal(
        safetensors_write(scratch_path(s, "w.safetensors"), &item, 1, NULL, &e), ST_OK);
    return opened(scratch_path(s, "w.safetensors"), &names_dit);
}

static bool every(const char *name)
{
    return name != NULL;
}

/* Pieces of a large tensor, more than there are lanes, and rows longer than a piece. */
static void large_tensors_stream_in_pieces(void **state)
{
    static const int64_t rows[] = {3001, 3};

    (void)state;
    for (int k = 0; k < 2; k++) {
        int64_t cols = k ? 1500001 : 1733;
        float *x = malloc((size_t)(rows[k] * cols) * sizeof(*x));
        struct component c;
        struct scratch s;

        for (int64_t i = 0; i < rows[k] * cols; i++)
            x[i] = (float)(i * 7919 % 65537 - 32768) * 1e-3f;
        c = written(&s, "a.weight", rows[k], cols, x);
        check_ways(&c, (struct weights_policy){.quant = QUANT_E4M3, .quantise = every});
        check_ways(&c, (struct weights_policy){.quant = QUANT_NONE});
        component_close(&c);
        scratch_remove(&s);
        free(x);
    }
}

static void a_shrinking_file_is_an_error(void **state)
{
    enum { N = 2000 };
    float *x = calloc(N * N, sizeof(*x));
    struct scratch s;
    struct component c = written(&s, "a.weight", N, N, x);
    struct weights_policy policy = {.quant = QUANT_NONE};
    struct err e = ERR_INIT;
    struct weights *w = NULL;

    (void)state;
    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    assert_int_equal(truncate(scratch_path(&s, "w.safetensors"), N * N), 0);
    assert_int_equal(weights_load(w, host, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "w.safetensors': it ends at byte 4000000"));
    weights_close(w);
    policy.way = WEIGHTS_BY_OPS;
    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    assert_int_equal(weights_load(w, host, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "w.safetensors': it ends at byte 4000000"));
    weights_close(w);
    component_close(&c);
    scratch_remove(&s);
    free(x);
}

static void rows_that_are_not_finite_are_not_quantised(void **state)
{
    float x[6] = {1, 2, 3, 4, NAN, 6};
    struct scratch s;
    struct component c = written(&s, "a.weight", 3, 2, x);
    struct weights_policy policy = {.quant = QUANT_I8, .quantise = every};
    struct err e = ERR_INIT;
    struct weights *w = NULL;

    (void)state;
    for (int k = 0; k < 2; k++) {
        policy.way = k ? WEIGHTS_BY_OPS : WEIGHTS_ON_HOST;
        assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
        assert_int_equal(weights_load(w, host, &e), ST_INPUT);
        assert_non_null(strstr(e.text, "tensor 'a.weight': row 2 is not finite"));
        weights_close(w);
    }
    component_close(&c);
    scratch_remove(&s);
}

static void entries_make_a_store(void **state)
{
    float x[4] = {1, 2, 3, 4};
    const struct weights_entry entries[] = {
        {"b", tensor_make1(x, DT_F32, MEM_HOST, 4)},
        {"a", tensor_make2(x, DT_F32, MEM_HOST, 2, 2)},
    };
    struct weights *w = NULL;
    struct tensor t;

    (void)state;
    assert_int_equal(weights_from_entries(entries, 2, &w, NULL), ST_OK);
    assert_int_equal(weights_find(w, "a", 2, (int64_t[]){2, -1}, &t, NULL), ST_OK);
    assert_ptr_equal(t.data, x);
    assert_true(weights_has(w, "b"));
    weights_close(w);
}

/* Published values: SHA-256 of "abc" (FIPS 180-4), XXH3 of nothing. */
static void digests_are_the_published_functions(void **state)
{
    char hex[DIGEST_HEX];
    struct checksum *c;

    (void)state;
    digest_of("abc", 3, hex);
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(checksum_of("", 0) == 0x2d06800538d394c2ULL);
    assert_int_equal(checksum_create(&c, NULL), ST_OK);
    checksum_add(c, "ab", 2);
    checksum_add(c, "c", 1);
    assert_true(checksum_value(c) == checksum_of("abc", 3));
    checksum_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_keep_their_dtype_vectors_become_f32),
        cmocka_unit_test(find_says_what_is_wrong),
        cmocka_unit_test(rows_are_quantised_by_the_weight_rule),
        cmocka_unit_test(row_codes_are_the_scalar_ones),
        cmocka_unit_test(convolutions_become_channels_last),
        cmocka_unit_test(digest_ignores_layout_policy_and_threads),
        cmocka_unit_test(a_backend_converts_to_the_same_bytes),
        cmocka_unit_test(large_tensors_stream_in_pieces),
        cmocka_unit_test(a_shrinking_file_is_an_error),
        cmocka_unit_test(rows_that_are_not_finite_are_not_quantised),
        cmocka_unit_test(entries_make_a_store),
        cmocka_unit_test(digests_are_the_published_functions),
    };

    return cmocka_run_group_tests(tests, open_host, close_host);
}
