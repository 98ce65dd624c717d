/* test_base.c - errors, element types and the arena */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/arena.h"
#include "kernels/base/dtype.h"
#include "kernels/base/err.h"

static void err_escapes_control_characters(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(err_set(&e, ST_INPUT, "cannot open '%s'", "a\x1b[2J\n"), ST_INPUT);
    assert_string_equal(e.text, "cannot open 'a\\x1b[2J\\x0a'");
    err_prefix(&e, "model '%s'", "m");
    assert_string_equal(e.text, "model 'm': cannot open 'a\\x1b[2J\\x0a'");
}

static void exit_codes_are_the_documented_ones(void **state)
{
    (void)state;
    assert_int_equal(status_exit_code(ST_OK), 0);
    assert_int_equal(status_exit_code(ST_UNBUILT), 2);
    assert_int_equal(status_exit_code(ST_INPUT), 3);
    assert_int_equal(status_exit_code(ST_RESOURCE), 4);
    assert_int_equal(status_exit_code(ST_DEVICE), 5);
    assert_int_equal(status_exit_code(ST_STOPPED), 75);
}

/* Every code survives decode and encode; between two codes the nearer one wins and a
 * tie goes to the even code. */
static void e4m3_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (int c = 0; c < 0x7e; c++) {
        float lo = e4m3_to_f32((uint8_t)c);
        float hi = e4m3_to_f32((uint8_t)(c + 1));
        float mid = 0.5f * (lo + hi);

        assert_int_equal(f32_to_e4m3(lo), c);
        assert_int_equal(f32_to_e4m3(mid), (c & 1) ? c + 1 : c);
        assert_int_equal(f32_to_e4m3(nextafterf(mid, 1e9f)), c + 1);
        assert_int_equal(f32_to_e4m3(nextafterf(mid, -1e9f)), c);
        assert_int_equal(f32_to_e4m3(-hi), (c + 1) | 0x80);
    }
    assert_int_equal(f32_to_e4m3(1e9f), 0x7e);
    assert_int_equal(f32_to_e4m3(-INFINITY), 0xfe);
    assert_true(isnan(e4m3_to_f32(f32_to_e4m3(NAN))));
    assert_float_equal(e4m3_to_f32(0x7e), 448.0f, 0.0f);
    assert_float_equal(e4m3_to_f32(0x01), ldexpf(1.0f, -9), 0.0f);
}

static void sixteen_bit_types_round_trip(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 65536; c++) {
        float h = f16_to_f32((uint16_t)c);
        float b = bf16_to_f32((uint16_t)c);

        if (!isnan(h))
            assert_int_equal(f32_to_f16(h), c);
        if (!isnan(b))
            assert_int_equal(f32_to_bf16(b), c);
    }
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(f32_to_bf16(1.00390625f), 0x3f80);
    assert_int_equal(f32_to_bf16(1.01171875f), 0x3f82);
}

static void arena_counts_what_it_cuts(void **state)
{
    static char memory[2048] __attribute__((aligned(ARENA_ALIGN)));
    struct arena a;
    size_t mark;

    (void)state;
    arena_init(&a, NULL, 0);
    assert_null(arena_cut(&a, 1));
    mark = arena_mark(&a);
    arena_cut(&a, 700);
    arena_reset(&a, mark);
    arena_cut(&a, 300);
    assert_int_equal(a.used, 256 + 512);
    assert_int_equal(a.peak, 256 + 768);
    arena_init(&a, memory, sizeof(memory));
    assert_ptr_equal(arena_cut(&a, 1), memory);
    assert_ptr_equal(arena_cut(&a, 1), memory + 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_escapes_control_characters),
        cmocka_unit_test(exit_codes_are_the_documented_ones),
        cmocka_unit_test(e4m3_rounds_to_nearest_even),
        cmocka_unit_test(sixteen_bit_types_round_trip),
        cmocka_unit_test(arena_counts_what_it_cuts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
