/* test_cut.c - how frames are cut into tiles, and the file they wait in */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
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
    assert_int_equal(cut_of(&w, &shape, 1).height, 0);
    assert_int_equal(cut_parse("64x4096", &w, &e), ST_OK);
    cut = cut_of(&w, &shape, 4);
    assert_int_equal(cut.width, 64);
    assert_int_equal(cut.height, 96);
    assert_int_equal(cut_parse("160x96", &w, &e), ST_OK);
    assert_int_equal(cut_of(&w, &shape, 1).height, 0);
    assert_int_equal(cut_of(&w, &shape, 4).strips, 4);
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
    static const struct cut cuts[] = {{0, 0, 0},   {8, 8, 0},    {96, 48, 0},
                                      {40, 64, 0}, {16, 160, 0}, {88, 152, 0}};
    struct vae_shape shape = shape_of(96, 160);

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
        tiles_cover(&shape, &cuts[i]);
}

static struct vae_config published(void)
{
    struct vae_config c = CONFIG;

    c.base_dim = 96;
    c.z_dim = 16;
    return c;
}

/* A strip per rank, as far as there are columns; the first is the widest, and those of
 * a tall frame lie across it. */
static void strips_cover_the_frame(void **state)
{
    static const int64_t sizes[][2] = {{96, 160}, {544, 960}, {960, 544}, {16, 48},
                                       {8, 8},    {24, 24},   {64, 72}};
    const struct cut_wish wish = {.mode = CUT_AUTO};

    (void)state;
    for (int i = 0; i < 7; i++) {
        struct vae_shape shape = shape_of(sizes[i][0], sizes[i][1]);
        int64_t side = shape.width < shape.height ? shape.height : shape.width;

        for (int ranks = 1; ranks <= 130; ranks++) {
            struct cut cut = cut_of(&wish, &shape, ranks);
            int64_t n = ranks < side / 8 ? ranks : side / 8;
            struct vae_tile first = cut_tile(&shape, &cut, 0);

            assert_int_equal(cut_count(&shape, &cut), n);
            assert_int_equal(cut_rounds(&shape, &cut, ranks), 1);
            tiles_cover(&shape, &cut);
            for (int k = 0; k < n; k++) {
                struct vae_tile t = cut_tile(&shape, &cut, k);

                assert_true(t.width <= first.width && t.height <= first.height);
                assert_true(shape.width < shape.height ? t.width == shape.width
                                                       : t.height == shape.height);
            }
        }
    }
}

/* Tiles that are given are dealt in rounds. */
static void tiles_are_dealt(void **state)
{
    struct vae_shape shape = shape_of(96, 160);
    const struct cut whole = {0, 0, 0}, seven = {96, 24, 0};

    (void)state;
    assert_int_equal(cut_rounds(&shape, &whole, 1), 1);
    assert_int_equal(cut_rounds(&shape, &whole, 4), 1);
    assert_int_equal(cut_rounds(&shape, &seven, 1), 7);
    assert_int_equal(cut_rounds(&shape, &seven, 3), 3);
    assert_int_equal(cut_rounds(&shape, &seven, 7), 1);
    assert_int_equal(cut_rounds(&shape, &seven, 8), 1);
}

/* Work of a strip of `w` pixels from `x` on, of that of whole frames. */
static double strip_work(const struct vae_config *c, const struct ops *ops,
                         const struct vae_shape *shape, int64_t x, int64_t w)
{
    struct err e = ERR_INIT;
    struct vae_shape s = *shape;
    struct vae_plan whole, one;

    s.tile = (struct vae_tile){0, x, shape->height, w};
    assert_int_equal(vae_plan(c, ops, VAE_DECODE, shape, &whole, &e), ST_OK);
    assert_int_equal(vae_plan(c, ops, VAE_DECODE, &s, &one, &e), ST_OK);
    return one.latent_flop / whole.latent_flop;
}

/* The published network at 544p: the busiest rank does no more than with strips of one
 * width, which is what was worked out for them (encoders-vae-formats 4.13, without the
 * columns that cropping at whole pixels adds), and hardly more than an even share. */
static void strips_are_balanced(void **state)
{
    static const struct {
        int ranks;
        double even;
    } want[] = {{2, 0.535}, {4, 0.310}, {8, 0.190}};
    const struct cut_wish wish = {.mode = CUT_AUTO};
    struct vae_config c = published();
    struct vae_shape shape = shape_of(544, 960);
    struct err e = ERR_INIT;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e),
                     ST_OK);
    shape.dtype = DT_BF16;
    for (int i = 0; i < 3; i++) {
        struct cut cut = cut_of(&wish, &shape, want[i].ranks);
        int64_t even = 960 / want[i].ranks;
        double most, sum = 0.0, inner = strip_work(&c, ops, &shape, even, even);

        assert_int_equal(cut_share(&c, ops, &shape, &cut, want[i].ranks, &most, &e),
                         ST_OK);
        for (int k = 0; k < want[i].ranks; k++) {
            struct vae_tile t = cut_tile(&shape, &cut, k);

            sum += strip_work(&c, ops, &shape, t.x, t.width);
        }
        assert_true(fabs(inner - want[i].even) < 0.004);
        assert_true(most <= inner);
        assert_true(most < 1.03 * sum / want[i].ranks);
    }
    ops_close(ops);
}

/* Ranks whose strips do not fit go on with smaller tiles. */
static void strips_become_tiles(void **state)
{
    static const int64_t sizes[][2] = {{544, 960}, {960, 544}};
    struct err e = ERR_INIT;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e),
                     ST_OK);
    for (int i = 0; i < 2; i++) {
        struct vae_shape shape = shape_of(sizes[i][0], sizes[i][1]);
        struct cut cut = {0, 0, 3};
        struct vae_plan last, plan;

        assert_int_equal(cut_plan(&CONFIG, ops, &shape, &cut, &last, &e), ST_OK);
        assert_true(cut_smaller(&shape, &cut));
        assert_int_equal(cut.strips, 0);
        assert_true(cut_count(&shape, &cut) > 3);
        assert_int_equal(cut_plan(&CONFIG, ops, &shape, &cut, &plan, &e), ST_OK);
        assert_true(plan.arena_bytes < last.arena_bytes);
    }
    ops_close(ops);
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
        struct cut cut = {0, 0, 0};
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
    assert_int_equal(spool_put(&s, 0, "abcdefgh", 8, &e), ST_OK);
    assert_int_equal(spool_get(&s, 2, got, 4, &e), ST_OK);
    assert_memory_equal(got, "cdef", 4);
    assert_int_equal(spool_put(&s, 0, "xy", 2, &e), ST_OK);
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
        cmocka_unit_test(strips_cover_the_frame),
        cmocka_unit_test(tiles_are_dealt),
        cmocka_unit_test(strips_are_balanced),
        cmocka_unit_test(strips_become_tiles),
        cmocka_unit_test(smaller_cuts_need_less),
        cmocka_unit_test(a_spool_has_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
