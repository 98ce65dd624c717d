/* test_rng.c - known answers of both generators */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/base/rng.h"

/* The known answers that the authors of Philox publish for 4x32-10. */
static void philox_known_answers(void **state)
{
    uint32_t out[4];

    (void)state;
    philox4x32((uint32_t[]){0, 0, 0, 0}, (uint32_t[]){0, 0}, out);
    assert_int_equal(out[0], 0x6627e8d5u);
    assert_int_equal(out[1], 0xe169c58du);
    assert_int_equal(out[2], 0xbc57ac4cu);
    assert_int_equal(out[3], 0x9b00dbd8u);
    philox4x32((uint32_t[]){0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u},
               (uint32_t[]){0xa4093822u, 0x299f31d0u}, out);
    assert_int_equal(out[0], 0xd16cfe09u);
    assert_int_equal(out[3], 0x24126ea1u);
}

static void noise_depends_on_the_index_alone(void **state)
{
    float whole[101], part[50];

    (void)state;
    noise_philox(7, 3, 0, 101, whole);
    noise_philox(7, 3, 51, 50, part);
    for (int i = 0; i < 50; i++)
        assert_true(part[i] == whole[51 + i]);
    noise_philox(7, 4, 51, 50, part);
    assert_true(part[0] != whole[51]);
}

static void noise_is_standard_normal(void **state)
{
    static float x[200000];
    double sum = 0, squares = 0, fourth = 0;

    (void)state;
    noise_philox(1, 0, 0, 200000, x);
    for (int i = 0; i < 200000; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
        fourth += pow(x[i], 4);
    }
    assert_true(fabs(sum / 200000) < 0.01);
    assert_true(fabs(squares / 200000 - 1.0) < 0.02);
    assert_true(fabs(fourth / 200000 - 3.0) < 0.1);
}

/* torch.randn(16, generator=torch.Generator().manual_seed(42)) */
static void torch_cpu_known_answer(void **state)
{
    static const float want[16] = {1.9269153f,  1.4872841f,  0.9007172f,  -2.1055210f,
                                   0.6784185f,  -1.2345449f, -0.0430675f, -1.6046669f,
                                   -0.7521353f, 1.6487230f,  -0.3924786f, -1.4036071f,
                                   -0.7278813f, -0.5594302f, -0.7688389f, 0.7624454f};
    struct torch_rng g;
    float x[16];

    (void)state;
    torch_rng_seed(&g, 42);
    torch_rng_normal(&g, 16, x);
    for (int i = 0; i < 16; i++)
        assert_float_equal(x[i], want[i], 3e-7f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(noise_depends_on_the_index_alone),
        cmocka_unit_test(noise_is_standard_normal),
        cmocka_unit_test(torch_cpu_known_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
