/* test_safetensors.c - valid files, shards and the writer; hostile ones:
 * tests/malformed */
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

#include "engine/weights/safetensors.h"

#define DIT FF_GOLDEN_DIR "/dit/wan_a"

static void assert_ok(enum status st, const struct err *e)
{
    if (st != ST_OK)
        fail_msg("%s", e->text);
}

static void golden_file_opens(void **state)
{
    struct err e = ERR_INIT;
    struct source *s = NULL;
    const struct stored *t;
    double *x, sum = 0;
    float *y;

    (void)state;
    assert_ok(safetensors_open(DIT ".case0.safetensors", &s, &e), &e);
    assert_int_equal(source_files(s), 1);
    assert_ok(source_get(s, "velocity", 4, (int64_t[]){16, -1, -1, -1}, &t, &e), &e);
    assert_int_equal(t->dtype, DT_F64);
    x = malloc((size_t)t->bytes);
    y = malloc((size_t)stored_elements(t) * sizeof(*y));
    assert_ok(source_read_as(s, t, DT_F64, x, &e), &e);
    assert_ok(source_read_as(s, t, DT_F32, y, &e), &e);
    for (int64_t i = 0; i < stored_elements(t); i++) {
        assert_true(isfinite(x[i]) && y[i] == (float)x[i]);
        sum += x[i] * x[i];
    }
    assert_true(sum > 0);
    free(x);
    free(y);
    source_close(s);
}

static void wanted_shapes_are_compared(void **state)
{
    struct err e = ERR_INIT;
    struct source *s = NULL;
    const struct stored *t = NULL;

    (void)state;
    assert_ok(safetensors_open(DIT ".case0.safetensors", &s, &e), &e);
    assert_int_equal(source_get(s, "velocity", 1, (int64_t[]){3}, &t, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "'velocity' is [16, "));
    assert_non_null(strstr(e.text, "must be [3]"));
    assert_int_equal(source_get(s, "speed", -1, NULL, &t, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "'speed' is missing"));
    assert_null(t);
    source_close(s);
}

/* The shards hold the numbers of the single file, under other names. */
static void shards_equal_the_single_file(void **state)
{
    struct err e = ERR_INIT;
    struct source *one = NULL, *many = NULL;
    struct folder dir;
    const struct stored *a, *b;
    char x[512], y[512];

    (void)state;
    assert_ok(
        safetensors_open(DIT "/original/diffusion_pytorch_model.safetensors", &one, &e),
        &e);
    assert_ok(folder_open(DIT "/transformer", &dir, &e), &e);
    assert_ok(source_open_at(&dir, "diffusion_pytorch_model.safetensors.index.json",
                             &many, &e),
              &e);
    assert_int_equal(source_files(many), 3);
    assert_int_equal(source_count(one), source_count(many));
    a = source_find(one, "blocks.1.self_attn.norm_k.weight");
    b = source_find(many, "blocks.1.attn1.norm_k.weight");
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->bytes, b->bytes);
    assert_true((size_t)a->bytes <= sizeof(x));
    assert_ok(source_read(one, a, 0, x, (size_t)a->bytes, &e), &e);
    assert_ok(source_read(many, b, 0, y, (size_t)b->bytes, &e), &e);
    assert_memory_equal(x, y, a->bytes);
    assert_int_equal(source_read(one, a, 4, x, (size_t)a->bytes, &e), ST_INPUT);
    folder_close(&dir);
    source_close(one);
    source_close(many);
}

static void written_files_read_back(void **state)
{
    static const float f[6] = {1, 2, 3, 4, 5, 6.5f};
    static const uint8_t u[3] = {7, 8, 9};
    static const int64_t l[1] = {-5};
    const struct safetensors_item items[] = {
        {"u", DT_U8, 1, (int64_t[]){3}, u},
        {"a \"quoted\" \xc3\xa4", DT_F32, 2, (int64_t[]){2, 3}, f},
        {"none", DT_BF16, 2, (int64_t[]){0, 3}, NULL},
        {"scalar", DT_I64, 0, NULL, l},
    };
    static const char *const meta[] = {"format", "pt", NULL};
    char path[] = "/tmp/ff_st_XXXXXX";
    struct err e = ERR_INIT;
    struct source *s = NULL;
    float back[6];
    double one;

    (void)state;
    close(mkstemp(path));
    assert_ok(safetensors_write(path, items, 4, meta, &e), &e);
    assert_ok(safetensors_open(path, &s, &e), &e);
    assert_int_equal(source_count(s), 4);
    assert_string_equal(source_at(s, 0)->name, "a \"quoted\" \xc3\xa4");
    assert_int_equal(source_find(s, "scalar")->offset % 8, 0);
    assert_ok(source_read_as(s, source_at(s, 0), DT_F32, back, &e), &e);
    assert_memory_equal(back, f, sizeof(f));
    assert_ok(source_read_as(s, source_find(s, "scalar"), DT_F64, &one, &e), &e);
    assert_true(one == -5);
    assert_int_equal(source_find(s, "none")->bytes, 0);
    source_close(s);
    unlink(path);
}

/* Conversion goes in pieces of 1 MiB; the seams must not show. */
static void large_tensors_convert_in_pieces(void **state)
{
    enum { N = 700001 };
    float *x = malloc(N * sizeof(*x));
    double *y = malloc(N * sizeof(*y));
    const struct safetensors_item item = {"x", DT_F32, 1, (int64_t[]){N}, x};
    char path[] = "/tmp/ff_st_XXXXXX";
    struct err e = ERR_INIT;
    struct source *s = NULL;

    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    close(mkstemp(path));
    assert_ok(safetensors_write(path, &item, 1, NULL, &e), &e);
    assert_ok(safetensors_open(path, &s, &e), &e);
    assert_ok(source_read_as(s, source_at(s, 0), DT_F64, y, &e), &e);
    for (int i = 0; i < N; i++)
        assert_true(y[i] == i);
    source_close(s);
    unlink(path);
    free(x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_file_opens),
        cmocka_unit_test(wanted_shapes_are_compared),
        cmocka_unit_test(shards_equal_the_single_file),
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(large_tensors_convert_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
