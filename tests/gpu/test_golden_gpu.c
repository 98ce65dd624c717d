/* test_golden_gpu.c - the golden cases of the CPU engine, on a GPU in every precision
 *
 *     test_golden_gpu [BACKEND]        default: cuda; cpu shows what the roundings of a
 *                                      precision alone make
 *
 * Single forwards of three tiny transformers, a whole job from prompt to video, and a
 * long video in two segments, all against references that ran in fp64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/h5/h5.h"
#include "tests/tolerance.h"
#include "tests/unit/dit_rig.h"
#include "tests/unit/golden_rig.h"

static const char *backend = "cuda";

struct setting {
    const char *name;
    enum precision precision;
    const struct dit_precision *dit;
    double forward, latents; /* relative L2 at most */
    int byte;                /* largest difference of a colour byte */
};

static const struct setting settings[] = {
    {"fp32", PRECISION_FP32, &dit_fp32, TOL_DIT_FORWARD, TOL_SAMPLED_LATENT,
     TOL_YUV444_BYTE + 1},
    {"bf16", PRECISION_BF16, &dit_bf16, TOL_GOLDEN_BF16, TOL_GOLDEN_BF16,
     TOL_GOLDEN_BF16_BYTE},
    {"fp8", PRECISION_FP8, &dit_fp8, TOL_GOLDEN_FP8, TOL_GOLDEN_FP8,
     TOL_GOLDEN_FP8_BYTE},
    {"int8", PRECISION_INT8, &dit_int8, TOL_GOLDEN_INT8, TOL_GOLDEN_INT8,
     TOL_GOLDEN_INT8_BYTE},
};

/* ---- forwards -------------------------------------------------------------------- */

static double worst_forward(const char *model, const struct setting *s)
{
    struct dit_rig_options o = {backend, 2, model, s->dit, false};
    struct dit_rig r;
    struct dit_case c;
    double worst = 0.0;
    int k;

    rig_open(&r, &o);
    for (k = 0; case_read(model, k, &c); k++) {
        double error = rig_error(&r, &c);

        worst = error > worst ? error : worst;
        case_release(&c);
    }
    assert_true(k >= 4);
    rig_close(&r);
    return worst;
}

static void forwards_equal_references(void **state)
{
    static const char *const models[] = {"wan_a", "wan_b", "sky_fps"};
    const struct setting *s = *state;

    for (int i = 0; i < 3; i++) {
        double error = worst_forward(models[i], s);

        print_message("forward of %s, %s: relative L2 %.2e of %.0e\n", models[i],
                      s->name, error, s->forward);
        assert_true(error < s->forward);
    }
}

/* ---- jobs ------------------------------------------------------------------------ */

static void jobs_equal_references(void **state)
{
    const struct setting *s = *state;
    struct golden_rig rig = {.backend = backend, .precision = s->precision};
    struct golden_outcome o;
    double error, longer;
    int byte;

    scratch_create(&rig.dir);
    golden_folder(&rig, "original", "dit/wan_a/original");
    golden_folder(&rig, "forcing", "dit/sky_fps/original");
    golden_run(&rig, "original", &o);
    error = golden_latent_error(&o);
    byte = golden_video_error(&o);
    longer = golden_long_error(&rig);
    scratch_remove(&rig.dir);
    print_message("prompt to video, %s: latents %.2e, long video %.2e of %.0e; worst "
                  "colour byte off by %d of %d\n",
                  s->name, error, longer, s->latents, byte, s->byte);
    assert_true(error <= s->latents);
    assert_true(longer <= s->latents);
    assert_true(byte <= s->byte);
}

int main(int argc, char **argv)
{
    enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };
    int child = h5_child_main(argc, argv), failed = 0;

    if (child >= 0)
        return child;
    if (argc > 1)
        backend = argv[1];
    for (int i = 0; i < SETTINGS; i++) {
        void *s = (void *)(uintptr_t)&settings[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(forwards_equal_references, s),
            cmocka_unit_test_prestate(jobs_equal_references, s),
        };

        failed += cmocka_run_group_tests_name(settings[i].name, tests, NULL, NULL);
    }
    return failed > 0;
}
