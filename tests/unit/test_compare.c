/* test_compare.c - distances of rows, latents and videos that are known beforehand */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/compare/compare.h"
#include "engine/compare/sums.h"
#include "engine/h5/h5.h"
#include "engine/media/media.h"

/* ---- sums ------------------------------------------------------------------------ */

static void sums_are_those_of_a_small_example(void **state)
{
    static const float a[] = {3, 0, 4, 0}, b[] = {3, 0, 4, 5};
    struct sums s = SUMS_INIT;

    (void)state;
    sums_floats(&s, a, b, 4);
    assert_true(s.n == 4 && s.differing == 1 && s.first == 3);
    assert_true(s.first_a == 0 && s.first_b == 5 && s.largest == 5);
    assert_true(s.low == 0 && s.high == 4);
    assert_true(sums_relative_l2(&s) == 1); /* 5 / 5 */
    assert_true(fabs(sums_cosine(&s) - 25.0 / (5.0 * sqrt(50.0))) < 1e-15);
    assert_true(fabs(sums_psnr(&s, 4) - 10 * log10(16.0 * 4 / 25)) < 1e-12);
}

static void sums_do_not_depend_on_how_rows_are_cut(void **state)
{
    enum { N = 1000 };
    struct sums whole = SUMS_INIT, parts = SUMS_INIT;
    static uint8_t a[N], b[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        a[i] = (uint8_t)(i * 7);
        b[i] = (uint8_t)(i * 7 + (i > 400) * (i % 3));
    }
    sums_bytes(&whole, a, b, N);
    for (int i = 0; i < N; i += 125)
        sums_bytes(&parts, a + i, b + i, 125);
    assert_memory_equal(&whole, &parts, sizeof(whole)); /* whole numbers: exact */
    assert_true(whole.first == 401 && whole.differing == 399);
}

static void the_ends_of_the_measures(void **state)
{
    static const float zero[] = {0, 0}, minus[] = {-0.0f, 0}, one[] = {1, 1};
    struct sums same = SUMS_INIT, signs = SUMS_INIT, from = SUMS_INIT;

    (void)state;
    sums_floats(&same, zero, zero, 2);
    assert_true(sums_relative_l2(&same) == 0 && sums_cosine(&same) == 1);
    assert_true(isinf(sums_psnr(&same, 0)) && sums_psnr(&same, 0) > 0);
    sums_floats(&signs, zero, minus, 2);
    assert_true(signs.differing == 1 && sums_relative_l2(&signs) == 0);
    sums_floats(&from, zero, one, 2);
    assert_true(isinf(sums_relative_l2(&from)) && sums_cosine(&from) == 0);
}

/* ---- files ----------------------------------------------------------------------- */

static char dir[64], one[96], two[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/framefleet-compare-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(one, sizeof(one), "%s/one", dir);
    snprintf(two, sizeof(two), "%s/two", dir);
    return 0;
}

static int remove_dir(void **state)
{
    char name[128];

    (void)state;
    unlink(one);
    unlink(two);
    snprintf(name, sizeof(name), "%s/one.y4m", dir);
    unlink(name);
    snprintf(name, sizeof(name), "%s/two.y4m", dir);
    unlink(name);
    return rmdir(dir);
}

static void latents_write(const char *path, int64_t frames, int64_t at, float by)
{
    int64_t dims[4] = {2, frames, 3, 5};
    struct err e = ERR_INIT;
    struct h5_writer *w;
    float x[2 * 4 * 3 * 5];

    for (int i = 0; i < 2 * 4 * 3 * 5; i++)
        x[i] = 0.25f * (float)(i % 9) - 1.0f;
    x[at] += by;
    assert_int_equal(h5_create(path, true, &w, &e), ST_OK);
    assert_int_equal(h5_put(w, "latents/x", 4, dims, x, &e), ST_OK);
    assert_int_equal(h5_commit(w, &e), ST_OK);
}

static void latents_name_the_place_of_a_difference(void **state)
{
    struct err e = ERR_INIT;
    struct comparison c;

    (void)state;
    latents_write(one, 4, 0, 0);
    latents_write(two, 4, 60 + 2 * 15 + 5 + 3, 0.5f);
    assert_int_equal(compare_paths(one, two, &c, &e), ST_OK);
    assert_true(c.kind == COMPARE_LATENTS && !c.same);
    assert_true(c.values == 120 && c.differing == 1);
    assert_true(c.first[0] == 1 && c.first[1] == 2 && c.first[2] == 1 &&
                c.first[3] == 3);
    assert_true(c.b - c.a == 0.5 && c.largest == 0.5);
    assert_true(c.range == 2 && c.worst_frame == 2);
    assert_true(fabs(c.psnr - 10 * log10(4.0 * 120 / 0.25)) < 1e-12);
    assert_true(fabs(c.worst_psnr - 10 * log10(4.0 * 30 / 0.25)) < 1e-12);
    assert_int_equal(compare_paths(one, one, &c, &e), ST_OK);
    assert_true(c.same && c.differing == 0 && isinf(c.psnr) && isinf(c.worst_psnr));
}

static void other_shapes_and_kinds_are_refused_with_both(void **state)
{
    struct err e = ERR_INIT;
    struct comparison c;
    FILE *f;

    (void)state;
    latents_write(one, 4, 0, 0);
    latents_write(two, 3, 0, 0);
    assert_int_equal(compare_paths(one, two, &c, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "2x4x3x5"));
    assert_non_null(strstr(e.text, "2x3x3x5"));
    f = fopen(two, "w");
    assert_non_null(f);
    fputs("YUV4MPEG2 W2 H2 F1:1 C444\nFRAME\n111122223333", f);
    fclose(f);
    assert_int_equal(compare_paths(one, two, &c, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "holds latents"));
    assert_non_null(strstr(e.text, "holds a video"));
    assert_int_equal(compare_paths(one, dir, &c, &e), ST_INPUT);
    assert_int_equal(compare_paths(dir, dir, &c, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "no frame_000000.png"));
    assert_int_equal(truncate(two, 0), 0);
    assert_int_equal(compare_paths(two, two, &c, &e), ST_INPUT);
    assert_int_equal(truncate(one, 700), 0);
    assert_int_equal(compare_paths(one, one, &c, &e), ST_INPUT);
}

/* Grey frames: they survive y4m to the bit. */
static void video_write(const char *path, int frames, int fps, int at, int by)
{
    struct media_options o = MEDIA_OPTIONS_DEFAULT;
    struct media_writer *m;
    struct err e = ERR_INIT;
    uint8_t rgb[4 * 2 * 3];

    o.width = 4;
    o.height = 2;
    o.fps_num = fps;
    o.force = true;
    assert_int_equal(media_open(path, &o, &m, &e), ST_OK);
    for (int i = 0; i < frames; i++) {
        memset(rgb, 100, sizeof(rgb));
        if (i == at)
            memset(rgb + 5 * 3, 100 + by, 3);
        assert_int_equal(media_frame(m, rgb, &e), ST_OK);
    }
    assert_int_equal(media_close(m, &e), ST_OK);
}

static void videos_name_the_worst_frame(void **state)
{
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct comparison c;

    (void)state;
    snprintf(a, sizeof(a), "%s.y4m", one);
    snprintf(b, sizeof(b), "%s.y4m", two);
    video_write(a, 5, 24, -1, 0);
    video_write(b, 5, 24, 3, 20);
    assert_int_equal(compare_paths(a, b, &c, &e), ST_OK);
    assert_true(c.kind == COMPARE_VIDEO && !c.same && c.differing == 3);
    assert_true(c.dims[0] == 5 && c.dims[1] == 2 && c.dims[2] == 4 && c.dims[3] == 3);
    assert_true(c.first[0] == 3 && c.first[1] == 1 && c.first[2] == 1 &&
                c.first[3] == 0);
    assert_true(c.worst_frame == 3 && c.worst_psnr < c.psnr);
    assert_true(c.largest == fabs(c.a - c.b));
    video_write(b, 5, 25, -1, 0);
    assert_int_equal(compare_paths(a, b, &c, &e), ST_OK);
    assert_true(c.differing == 0 && !c.same);
    assert_string_equal(c.others, "frames per second");
    video_write(b, 3, 24, -1, 0);
    assert_int_equal(compare_paths(a, b, &c, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "has 5 frames"));
    assert_non_null(strstr(e.text, "has 3"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_a_small_example),
        cmocka_unit_test(sums_do_not_depend_on_how_rows_are_cut),
        cmocka_unit_test(the_ends_of_the_measures),
        cmocka_unit_test_setup_teardown(latents_name_the_place_of_a_difference,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(other_shapes_and_kinds_are_refused_with_both,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(videos_name_the_worst_frame, make_dir,
                                        remove_dir),
    };
    int child = h5_child_main(argc, argv);

    return child >= 0 ? child : cmocka_run_group_tests(tests, NULL, NULL);
}
