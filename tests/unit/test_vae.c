/* test_vae.c - laws of the autoencoder on made-up weights, and its published outputs */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tolerance.h"
#include "tests/unit/vae_rig.h"
#include "tests/unit/vae_whole.h"

/* Awkward on purpose: widths 6, 12, 12, 18; odd latent width; one temporal stage more
 * or less in OTHER. */
static const struct vae_config CONFIG = {
    .base_dim = 6,
    .z_dim = 5,
    .dim_mult = {1, 2, 2, 3},
    .res_blocks = 1,
    .temporal_down = {false, true, true},
    .mean = {-0.7f, 0.3f, 1.1f, -0.2f, 0.0f},
    .std = {2.8f, 1.4f, 0.5f, 1.0f, 2.0f},
};

static const struct vae_config OTHER = {
    .base_dim = 4,
    .z_dim = 3,
    .dim_mult = {2, 1, 2, 2},
    .res_blocks = 2,
    .temporal_down = {true, true, true},
    .mean = {0.1f, 0.2f, 0.3f},
    .std = {1.0f, 2.0f, 3.0f},
};

#define STEPS(...) ((const int64_t[]){__VA_ARGS__, 0})

static int64_t frame_floats(int64_t h, int64_t w)
{
    return 3 * 64 * h * w;
}

static void steps_give_the_same_frames(void **state)
{
    enum { T = 6, H = 3, W = 2 };
    static const int64_t steps[][4] = {{2, 0}, {4, 0}, {5, 0}, {1, 2, 3, 0}, {3, 1, 0}};
    struct rig r;
    float *z, *want, *got;
    int64_t n;

    (void)state;
    rig_make(&r, "cpu", &CONFIG);
    n = vae_frames(&CONFIG, T) * frame_floats(H, W);
    z = rig_noise(1, CONFIG.z_dim * T * H * W);
    want = rig_zeros(n);
    got = rig_zeros(n);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(1), DT_F32, want);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        rig_decode(&r, z, T, H, W, DT_F32, steps[i], DT_F32, got);
        assert_memory_equal(got, want, (size_t)n * sizeof(float));
    }
    free(z);
    free(want);
    free(got);
    rig_release(&r);
}

/* frames [n,h,8w,3] of one tile against the same part of the whole, to the byte. */
static void tile_compare(const struct vae_tile *t, int64_t frames, int64_t height,
                         int64_t width, const float *part, const float *whole)
{
    for (int64_t f = 0; f < frames; f++) {
        for (int64_t y = 0; y < t->height; y++) {
            const float *a = part + (f * t->height + y) * t->width * 3;
            const float *b = whole + ((f * height + t->y + y) * width + t->x) * 3;

            if (memcmp(a, b, (size_t)(3 * t->width) * sizeof(float)) != 0)
                fail_msg("tile %lldx%lld at %lld, %lld: frame %lld, row %lld",
                         (long long)t->width, (long long)t->height, (long long)t->x,
                         (long long)t->y, (long long)f, (long long)y);
        }
    }
}

/* Tiles at edges, in the middle, one latent pixel large, with odd beginnings: where a
 * tile ends must not be seen in what it holds. */
static void tiles_equal_the_whole(const char *backend, const struct vae_config *c,
                                  enum dtype dtype, int64_t T, int64_t h, int64_t w)
{
    const struct vae_tile tiles[] = {
        {0, 0, 8 * h, 8 * w},         {0, 0, 8 * h, 8},
        {0, 8 * (w - 3), 8 * h, 24},  {0, 8 * (w / 2), 8 * h, 32},
        {8, 8 * (w / 2 - 1), 16, 24}, {8 * (h - 1), 8 * (w - 1), 8, 8},
        {8 * (h / 2), 8 * 9, 8, 56},
    };
    int64_t n = vae_frames(c, T) * frame_floats(h, w);
    float *z = rig_noise(5, c->z_dim * T * h * w);
    float *whole = rig_zeros(n), *part = rig_zeros(n);
    struct rig r;

    rig_make(&r, backend, c);
    rig_decode(&r, z, T, h, w, dtype, STEPS(1), DT_F32, whole);
    for (size_t i = 0; i < sizeof(tiles) / sizeof(tiles[0]); i++) {
        rig_decode_tile(&r, z, T, h, w, dtype, STEPS(1 + (int64_t)i % 2), &tiles[i],
                        DT_F32, part);
        tile_compare(&tiles[i], vae_frames(c, T), 8 * h, 8 * w, part, whole);
    }
    rig_release(&r);
    free(z);
    free(whole);
    free(part);
}

static void tiles_are_exact(void **state)
{
    (void)state;
    tiles_equal_the_whole("cpu", &CONFIG, DT_F32, 3, 19, 33);
    tiles_equal_the_whole("cpu", &CONFIG, DT_BF16, 2, 4, 35);
    tiles_equal_the_whole("cpu", &OTHER, DT_F32, 2, 3, 37);
    tiles_equal_the_whole("check:cpu", &OTHER, DT_F32, 2, 3, 29);
    tiles_equal_the_whole("ref", &CONFIG, DT_F32, 2, 3, 27);
}

static void steps_give_the_same_latents(void **state)
{
    enum { T = 4, H = 2, W = 3 };
    static const int64_t steps[][4] = {{2, 0}, {4, 0}, {3, 1, 0}, {1, 3, 0}};
    struct rig r;
    float *x, *want, *got;
    int64_t n = CONFIG.z_dim * T * H * W;

    (void)state;
    rig_make(&r, "cpu", &CONFIG);
    x = rig_noise(2, vae_frames(&CONFIG, T) * frame_floats(H, W));
    want = rig_zeros(n);
    got = rig_zeros(n);
    rig_encode(&r, x, T, H, W, DT_F32, STEPS(1), want);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        rig_encode(&r, x, T, H, W, DT_F32, steps[i], got);
        assert_true(rig_distance(got, want, n) <= TOL_VAE_STEPS);
    }
    free(x);
    free(want);
    free(got);
    rig_release(&r);
}

/* Slots against the formula that looks at the whole clip at once. */
static void slots_equal_the_whole_clip(void **state)
{
    static const struct vae_config *const configs[] = {&CONFIG, &OTHER};
    enum { T = 4, H = 2, W = 3 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct vae_config *c = configs[i];
        int64_t n_frames = vae_frames(c, T) * frame_floats(H, W);
        int64_t n_latents = c->z_dim * T * H * W;
        float *z = rig_noise(3, n_latents), *frames = rig_zeros(n_frames);
        float *want = rig_zeros(n_frames);
        struct rig r;

        rig_make(&r, "cpu", c);
        rig_decode(&r, z, T, H, W, DT_F32, STEPS(1), DT_F32, frames);
        whole_decode(&r, z, T, H, W, want);
        assert_true(rig_distance(frames, want, n_frames) <= TOL_VAE_STEPS);
        rig_encode(&r, frames, T, H, W, DT_F32, STEPS(2), z);
        whole_encode(&r, frames, T, H, W, want);
        assert_true(rig_distance(z, want, n_latents) <= TOL_VAE_STEPS);
        rig_release(&r);
        free(z);
        free(frames);
        free(want);
    }
}

/* The first frame of a clip knows nothing of the clip. */
static void one_frame_is_an_image(void **state)
{
    enum { T = 3, H = 2, W = 4 };
    int64_t image = CONFIG.z_dim * H * W, frame = frame_floats(H, W);
    int64_t n = vae_frames(&CONFIG, T) * frame;
    float *z = rig_noise(4, T * image), *one = rig_zeros(image);
    float *clip = rig_zeros(n), *picture = rig_zeros(frame);
    struct rig r;

    (void)state;
    rig_make(&r, "cpu", &CONFIG);
    for (int64_t c = 0; c < CONFIG.z_dim; c++)
        memcpy(one + c * H * W, z + c * T * H * W, sizeof(float) * H * W);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(2), DT_F32, clip);
    rig_decode(&r, one, 1, H, W, DT_F32, STEPS(1), DT_F32, picture);
    assert_memory_equal(picture, clip, sizeof(float) * (size_t)frame);
    rig_encode(&r, clip, T, H, W, DT_F32, STEPS(3), z);
    rig_encode(&r, clip, 1, H, W, DT_F32, STEPS(1), one);
    for (int64_t c = 0; c < CONFIG.z_dim; c++)
        assert_memory_equal(one + c * H * W, z + c * T * H * W, sizeof(float) * H * W);
    free(z);
    free(one);
    free(clip);
    free(picture);
    rig_release(&r);
}

/* A second clip through the same object does not see the first. */
static void clips_do_not_mix(void **state)
{
    enum { T = 3, H = 1, W = 2 };
    int64_t n = vae_frames(&CONFIG, T) * frame_floats(H, W);
    float *z = rig_noise(5, CONFIG.z_dim * T * H * W);
    float *a = rig_zeros(n), *b = rig_zeros(n);
    struct rig r;

    (void)state;
    rig_make(&r, "cpu", &CONFIG);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(1), DT_F32, a);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(1), DT_F32, b);
    assert_memory_equal(a, b, sizeof(float) * (size_t)n);
    free(z);
    free(a);
    free(b);
    rig_release(&r);
}

static void bytes_are_truncated(void **state)
{
    enum { T = 2, H = 2, W = 2 };
    int64_t n = vae_frames(&CONFIG, T) * frame_floats(H, W);
    float *z = rig_noise(6, CONFIG.z_dim * T * H * W), *x = rig_zeros(n);
    uint8_t *u = malloc((size_t)n);
    struct rig r;

    (void)state;
    assert_non_null(u);
    rig_make(&r, "cpu", &CONFIG);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(2), DT_F32, x);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(2), DT_U8, u);
    for (int64_t i = 0; i < n; i++) {
        assert_true(x[i] >= -1.0f && x[i] <= 1.0f);
        assert_int_equal(u[i], (int)((x[i] / 2.0f + 0.5f) * 255.0f));
    }
    free(z);
    free(x);
    free(u);
    rig_release(&r);
}

static void bf16_is_close(void **state)
{
    enum { T = 3, H = 2, W = 3 };
    int64_t n = vae_frames(&CONFIG, T) * frame_floats(H, W);
    int64_t n_latents = CONFIG.z_dim * T * H * W;
    float *z = rig_noise(7, n_latents), *z_half = rig_zeros(n_latents);
    float *x = rig_zeros(n), *x_half = rig_zeros(n);
    struct rig r;

    (void)state;
    rig_make(&r, "cpu", &CONFIG);
    rig_decode(&r, z, T, H, W, DT_F32, STEPS(1), DT_F32, x);
    rig_decode(&r, z, T, H, W, DT_BF16, STEPS(1), DT_F32, x_half);
    assert_true(rig_distance(x_half, x, n) <= TOL_VAE_BF16);
    rig_encode(&r, x, T, H, W, DT_F32, STEPS(1), z);
    rig_encode(&r, x, T, H, W, DT_BF16, STEPS(1), z_half);
    assert_true(rig_distance(z_half, z, n_latents) <= TOL_VAE_BF16);
    free(z);
    free(z_half);
    free(x);
    free(x_half);
    rig_release(&r);
}

/* Appendix A of the published model: 194 tensors, 127 million values, and the slots
 * that the issue of the original counts at 544 x 960. */
static void plan_of_the_published_model(void **state)
{
    struct vae_config c = {.base_dim = 96,
                           .z_dim = 16,
                           .dim_mult = {1, 2, 4, 4},
                           .res_blocks = 2,
                           .temporal_down = {false, true, true}};
    struct vae_shape shape = {544, 960, 1, DT_BF16, {0}};
    struct err e = ERR_INIT;
    struct vae_plan one, four;
    int64_t values = 0, tensors = 0;
    struct ops *ops;

    (void)state;
    for (int i = 0; i < VAE_CHANNELS_MAX; i++)
        c.std[i] = 1.0f;
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e),
                     ST_OK);
    for (int side = 0; side < 2; side++) {
        struct net net;

        assert_int_equal(net_build(&c, (enum vae_side)side, DT_F32, MEM_HOST, &net, &e),
                         ST_OK);
        for (int i = 0; i < net.n_layers; i++) {
            for (int k = 0; k < LAYER_CONVS; k++) {
                if (!net.layers[i].conv[k].name)
                    continue;
                tensors += 2;
                values += tensor_count(&net.layers[i].conv[k].weight) +
                          tensor_count(&net.layers[i].conv[k].bias);
            }
            for (int k = 0; k < LAYER_NORMS; k++) {
                if (!net.layers[i].norm[k].name)
                    continue;
                tensors++;
                values += tensor_count(&net.layers[i].norm[k].gamma);
            }
        }
        assert_int_equal(net.n_slots, side == VAE_ENCODE ? 24 : 32);
        net_release(&net);
    }
    assert_int_equal(tensors, 194);
    assert_int_equal(values, 126892531);
    assert_int_equal(vae_plan(&c, ops, VAE_DECODE, &shape, &one, &e), ST_OK);
    assert_int_equal(one.slot_bytes, 2469672960u);
    shape.chunk = 4;
    assert_int_equal(vae_plan(&c, ops, VAE_DECODE, &shape, &four, &e), ST_OK);
    assert_int_equal(four.slot_bytes, one.slot_bytes);
    assert_true(four.arena_bytes > one.arena_bytes);
    assert_true(one.arena_bytes < 4000000000u);
    /* 431.6 TFLOP for 25 latent frames (encoders-vae-formats 4.10), and of the first
     * two a little more than counted there: zeros before the clip are multiplied */
    assert_true(one.latent_flop > 431.6e12 / 25 && one.latent_flop < 431.6e12 / 24);
    for (int64_t w = 960; w >= 120; w /= 2) {
        shape.chunk = 1;
        shape.tile = (struct vae_tile){0, 0, 544, w};
        assert_int_equal(vae_plan(&c, ops, VAE_DECODE, &shape, &four, &e), ST_OK);
        assert_true(four.arena_bytes <= one.arena_bytes);
        one = four;
    }
    assert_true(one.arena_bytes < 1100000000u);
    shape.tile.width = 116;
    assert_int_equal(vae_plan(&c, ops, VAE_DECODE, &shape, &four, &e), ST_USAGE);
    shape.tile = (struct vae_tile){0, 904, 544, 64};
    assert_int_equal(vae_plan(&c, ops, VAE_DECODE, &shape, &four, &e), ST_USAGE);
    shape.tile = (struct vae_tile){0};
    shape.chunk = 1;
    assert_int_equal(vae_plan(&c, ops, VAE_ENCODE, &shape, &one, &e), ST_OK);
    assert_int_equal(one.slot_bytes, 1466449920u);
    ops_close(ops);
}

static void impossible_requests_are_refused(void **state)
{
    struct vae_shape shape = {16, 24, 2, DT_F32, {0}};
    struct err e = ERR_INIT;
    struct vae_plan plan;
    struct ops *ops;
    int64_t n;

    (void)state;
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e),
                     ST_OK);
    assert_int_equal(vae_latents(&CONFIG, 97, &n, &e), ST_OK);
    assert_int_equal(n, 25);
    assert_int_equal(vae_latents(&CONFIG, 98, &n, &e), ST_USAGE);
    assert_non_null(strstr(e.text, "97 and 101"));
    assert_int_equal(vae_latents(&OTHER, 0, &n, &e), ST_USAGE);
    assert_int_equal(vae_plan(&CONFIG, ops, VAE_DECODE, &shape, &plan, &e), ST_OK);
    shape.width = 25;
    assert_int_equal(vae_plan(&CONFIG, ops, VAE_DECODE, &shape, &plan, &e), ST_USAGE);
    assert_non_null(strstr(e.text, "24 and 32"));
    shape = (struct vae_shape){16, 24, 0, DT_F32, {0}};
    assert_int_equal(vae_plan(&CONFIG, ops, VAE_DECODE, &shape, &plan, &e), ST_USAGE);
    shape = (struct vae_shape){16, 24, 1, DT_F16, {0}};
    assert_int_equal(vae_plan(&CONFIG, ops, VAE_DECODE, &shape, &plan, &e), ST_USAGE);
    ops_close(ops);
}

static void wrong_weights_are_refused(void **state)
{
    struct vae_shape shape = {16, 16, 1, DT_F32, {0}};
    struct err e = ERR_INIT;
    struct vae_decode *d;
    struct vae_encode *c;
    struct arena arena;
    struct weights *none;
    struct vae *v;
    struct rig r;

    (void)state;
    rig_make(&r, "cpu", &CONFIG);
    assert_int_equal(vae_create(&OTHER, r.weights, r.ops, &v, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "encoder.conv1.weight"));
    assert_int_equal(weights_from_entries(NULL, 0, &none, &e), ST_OK);
    assert_int_equal(vae_create(&CONFIG, none, r.ops, &v, &e), ST_OK);
    arena_init(&arena, NULL, 0);
    assert_int_equal(vae_decode_begin(v, &shape, NULL, &arena, &d, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "decoder"));
    assert_int_equal(vae_encode_begin(v, &shape, NULL, &arena, &c, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "encoder"));
    vae_destroy(v);
    vae_destroy(NULL);
    vae_decode_end(NULL);
    vae_encode_end(NULL);
    weights_close(none);
    rig_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_give_the_same_frames),
        cmocka_unit_test(tiles_are_exact),
        cmocka_unit_test(steps_give_the_same_latents),
        cmocka_unit_test(slots_equal_the_whole_clip),
        cmocka_unit_test(one_frame_is_an_image),
        cmocka_unit_test(clips_do_not_mix),
        cmocka_unit_test(bytes_are_truncated),
        cmocka_unit_test(bf16_is_close),
        cmocka_unit_test(plan_of_the_published_model),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(wrong_weights_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
