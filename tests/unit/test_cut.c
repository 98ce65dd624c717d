/* test_cut.c - how frames are cut into tiles, and the file they wait in */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "engine/pipeline/cut.h"
#include "engine/pipeline/spool.h"
#include "tests/scratch.h"

static const struct vae_config CONFIG = {
    .base_dim = 8,
    .z_dim = 4,
    .dim_mult = {1, 2, 4, 4},
    .res_blocks = 2,
    .temporal_down = {false, true, true},
};

static struct vae_shape shape_of(int64_t height, int64_t width)
{
    return (struct vae_shape){
        .height = height, .width = width, .chunk = 1, .dtype = DT_F32};
}

static void wishes_are_read(void **state)
{
    static const char *const wrong[] = {"",      "64",    "x64",   "64x",   "64x64x",
                                        "64 64", "60x64", "64x60", "-8x64", "8x65544",
                                        "small", "0x0",   "64x 64"};
    struct vae_shape shape = shape_of(96, 160);
    struct err e = ERR_INIT;
    struct cut_wish w;
    struct cut cut;

    (void)state;
    assert_int_equal(cut_parse(NULL, &w, &e), ST_OK);
    assert_int_equal(w.mode, CUT_AUTO);
    assert_int_equal(cut_parse("auto", &w, &e), ST_OK);
    assert_int_equal(w.mode, CUT_AUTO);
    assert_int_equal(cut_parse("0", &w, &e), ST_OK);
    assert_int_equal(w.mode, CUT_NEVER);
    assert_int_equal(cut_of(&w, &shape).height, 0);
    assert_int_equal(cut_parse("64x4096", &w, &e), ST_OK);
    cut = cut_of(&w, &shape);
    assert_int_equal(cut.width, 64);
    assert_int_equal(cut.height, 96);
    assert_int_equal(cut_parse("160x96", &w, &e), ST_OK);
    assert_int_equal(cut_of(&w, &shape).height, 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(cut_parse(wrong[i], &w, &e), ST_USAGE);
        assert_non_null(strstr(e.text, "vae_tile"));
    }
}

/* Every pixel is in one tile. */
static void tiles_cover(const struct vae_shape *shape, const struct cut *cut)
{
    int64_t pixels = 0;
    int n = cut_count(shape, cut);

    for (int i = 0; i < n; i++) {
        struct vae_tile a = cut_tile(shape, cut, i);

        assert_true(a.y >= 0 && a.x >= 0 && a.height > 0 && a.width > 0);
        assert_true(a.y + a.height <= shape->height && a.x + a.width <= shape->width);
        assert_int_equal((a.y | a.x | a.height | a.width) % 8, 0);
        pixels += a.height * a.width;
        for (int k = 0; k < i; k++) {
            struct vae_tile b = cut_tile(shape, cut, k);

            assert_true(a.y >= b.y + b.height || b.y >= a.y + a.height ||
                        a.x >= b.x + b.width || b.x >= a.x + a.width);
        }
    }
    assert_int_equal(pixels, shape->height * shape->width);
}

static void tiles_cover_the_frame(void **state)
{
    static const struct cut cuts[] = {{0, 0},   {8, 8},    {96, 48},
                                      {40, 64}, {16, 160}, {88, 152}};
    struct vae_shape shape = shape_of(96, 160);

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
        tiles_cover(&shape, &cuts[i]);
}

/* From whole frames to the smallest tiles: each cut needs less than the one before, and
 * what is planned is enough for every tile. */
static void smaller_cuts_need_less(void **state)
{
    static const int64_t sizes[][2] = {
        {544, 960}, {720, 1280}, {1280, 720}, {256, 640}};
    struct err e = ERR_INIT;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e),
                     ST_OK);
    for (int i = 0; i < 4; i++) {
        struct vae_shape shape = shape_of(sizes[i][0], sizes[i][1]);
        struct cut cut = {0, 0};
        struct vae_plan last, plan, one;
        int steps = 0;

        assert_int_equal(cut_plan(&CONFIG, ops, &shape, &cut, &last, &e), ST_OK);
        for (; cut_smaller(&shape, &cut); last = plan, steps++) {
            assert_true(cut.width >= 128 && cut.height >= 128);
            assert_int_equal(cut_plan(&CONFIG, ops, &shape, &cut, &plan, &e), ST_OK);
            assert_true(plan.arena_bytes < last.arena_bytes);
            for (int t = 0; t < cut_count(&shape, &cut); t++) {
                shape.tile = cut_tile(&shape, &cut, t);
                assert_int_equal(vae_plan(&CONFIG, ops, VAE_DECODE, &shape, &one, &e),
                                 ST_OK);
                assert_true(one.arena_bytes <= plan.arena_bytes);
                assert_true(one.workspace_bytes <= plan.workspace_bytes);
            }
            shape.tile = (struct vae_tile){0};
        }
        assert_true(steps >= 4);
    }
    ops_close(ops);
}

/* Nothing of it is in the folder, and its bytes come back. */
static void a_spool_has_no_name(void **state)
{
    struct spool s = SPOOL_INIT;
    struct err e = ERR_INIT;
    struct scratch scratch;
    const char *path;
    char got[8] = "";

    (void)state;
    scratch_create(&scratch);
    path = scratch_path(&scratch, "video.mp4");
    spool_close(&s);
    assert_int_equal(spool_open(&s, path, &e), ST_OK);
    assert_int_equal(spool_put(&s, "abcdefgh", 8, &e), ST_OK);
    assert_int_equal(spool_get(&s, 2, got, 4, &e), ST_OK);
    assert_memory_equal(got, "cdef", 4);
    spool_rewind(&s);
    assert_int_equal(spool_put(&s, "xy", 2, &e), ST_OK);
    assert_int_equal(spool_get(&s, 0, got, 4, &e), ST_OK);
    assert_memory_equal(got, "xycd", 4);
    assert_int_equal(spool_get(&s, 6, got, 4, &e), ST_RESOURCE);
    assert_int_equal(rmdir(scratch.path), 0); /* it is empty */
    spool_close(&s);
    assert_int_equal(spool_open(&s, path, &e), ST_RESOURCE);
    assert_non_null(strstr(e.text, "video.mp4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wishes_are_read),
        cmocka_unit_test(tiles_cover_the_frame),
        cmocka_unit_test(smaller_cuts_need_less),
        cmocka_unit_test(a_spool_has_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
