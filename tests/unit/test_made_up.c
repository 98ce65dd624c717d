/* test_made_up.c - made-up weights have the names, types and spread of real ones */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/weights/made_up.h"
#include "tests/scratch.h"

static const struct dit_config config = {.dim = 64,
                                         .ffn_dim = 96,
                                         .heads = 2,
                                         .layers = 3,
                                         .in_channels = 16,
                                         .out_channels = 16,
                                         .freq_dim = 32,
                                         .text_dim = 48,
                                         .text_len = 8,
                                         .eps = 1e-6f};

static struct ops *host;

static int open_host(void **state)
{
    (void)state;
    return ops_open("check:ref", NULL, &host, NULL);
}

static int close_host(void **state)
{
    (void)state;
    ops_close(host);
    return 0;
}

static bool of_blocks(const char *name)
{
    return strncmp(name, "blocks.", 7) == 0;
}

static struct weights *made(const struct made_up *how, enum weight_quant quant)
{
    struct weights_policy policy = {.quant = quant, .quantise = of_blocks};
    struct expect_list list = EXPECT_LIST_INIT;
    struct weights *w = NULL;
    struct err e = ERR_INIT;

    expect_dit(&list, &config);
    if (weights_make_up(&list, "transformer", &policy, how, host, &w, &e) != ST_OK)
        fail_msg("%s", e.text);
    expect_release(&list);
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

/* Mean and standard deviation of an f32 tensor. */
static void spread_of(const struct tensor *t, double out[2])
{
    const float *x = t->data;
    int64_t n = tensor_count(t);
    double sum = 0.0, squares = 0.0;

    assert_int_equal(t->dtype, DT_F32);
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    out[0] = sum / (double)n;
    out[1] = sqrt(squares / (double)n - out[0] * out[0]);
}

static void spreads_are_usual(void **state)
{
    struct made_up how = {.seed = 1, .stored = DT_F32};
    struct weights *w = made(&how, QUANT_NONE);
    struct tensor t = found(w, "blocks.2.ffn.2.weight");
    double s[2];

    (void)state;
    spread_of(&t, s);
    assert_true(fabs(s[0]) < 0.01);
    assert_true(fabs(s[1] * sqrt(96.0) - 1.0) < 0.05);
    t = found(w, "blocks.0.self_attn.norm_q.weight");
    spread_of(&t, s);
    assert_true(fabs(s[0] - 1.0) < 0.05);
    t = found(w, "patch_embedding.bias");
    spread_of(&t, s);
    assert_true(s[1] > 0.0 && s[1] < 0.05);
    weights_close(w);
}

static void seeds_are_models(void **state)
{
    struct made_up how = {.seed = 1, .stored = DT_BF16};
    struct weights *a = made(&how, QUANT_E4M3), *b = made(&how, QUANT_E4M3), *c;
    struct tensor x = found(a, "blocks.1.ffn.0.weight"),
                  y = found(b, "blocks.1.ffn.0.weight"), z;

    (void)state;
    how.seed = 2;
    c = made(&how, QUANT_E4M3);
    z = found(c, "blocks.1.ffn.0.weight");
    assert_int_equal(x.dtype, DT_E4M3);
    assert_int_equal(x.scales.kind, SCALE_ROW);
    assert_true(x.scales.data[95] > 0.0f);
    assert_memory_equal(x.data, y.data, 96 * 64);
    assert_memory_not_equal(x.data, z.data, 96 * 64);
    assert_int_equal(found(a, "head.head.weight").dtype, DT_BF16);
    weights_close(a);
    weights_close(b);
    weights_close(c);
}

static void blocks_can_be_one(void **state)
{
    struct made_up how = {.seed = 1, .stored = DT_BF16};
    struct weights *all = made(&how, QUANT_I8), *one;

    (void)state;
    how.share_blocks = true;
    one = made(&how, QUANT_I8);
    assert_ptr_equal(found(one, "blocks.2.ffn.0.weight").data,
                     found(one, "blocks.0.ffn.0.weight").data);
    assert_ptr_equal(found(one, "blocks.2.ffn.0.weight").scales.data,
                     found(one, "blocks.0.ffn.0.weight").scales.data);
    assert_true(weights_bytes(one) < weights_bytes(all));
    assert_memory_equal(found(one, "blocks.0.ffn.0.weight").data,
                        found(all, "blocks.0.ffn.0.weight").data, 96 * 64);
    weights_close(all);
    weights_close(one);
}

/* The file is a transformer's, strict both ways, and a store can be loaded from it. */
static void files_are_read(void **state)
{
    struct made_up how = {.seed = 1, .stored = DT_BF16};
    struct expect_list list = EXPECT_LIST_INIT;
    struct weights_policy policy = {.quant = QUANT_NONE};
    struct component c = {.source = NULL};
    struct source *s = NULL;
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    struct scratch folder;
    const char *path;

    (void)state;
    scratch_create(&folder);
    path = scratch_path(&folder, "made_up.safetensors");
    expect_dit(&list, &config);
    assert_int_equal(made_up_write(&list, &how, path, &e), ST_OK);
    assert_int_equal(source_open(path, &s, &e), ST_OK);
    assert_int_equal(component_open(s, "transformer", &names_dit, &c, &e), ST_OK);
    assert_int_equal(component_check(&c, &list, &e), ST_OK);
    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    assert_int_equal(weights_load(w, host, &e), ST_OK);
    assert_int_equal(found(w, "blocks.1.cross_attn.o.weight").dtype, DT_BF16);
    weights_close(w);
    component_close(&c);
    expect_release(&list);
    scratch_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spreads_are_usual),
        cmocka_unit_test(seeds_are_models),
        cmocka_unit_test(blocks_can_be_one),
        cmocka_unit_test(files_are_read),
    };

    return cmocka_run_group_tests(tests, open_host, close_host);
}
