/* test_tensor.c - slices move data, scales and pending vectors together */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/tensor.h"

static void row_slice_takes_its_scales(void **state)
{
    uint8_t codes[6 * 4];
    float scale[6];
    struct tensor t = tensor_make2(codes, DT_E4M3, MEM_HOST, 6, 4);
    struct tensor s;

    (void)state;
    t.scales.kind = SCALE_ROW;
    t.scales.data = scale;
    t.pending.row_scale = scale;
    s = tensor_slice(&t, 0, 2, 3);
    assert_ptr_equal(s.data, codes + 8);
    assert_ptr_equal(s.scales.data, scale + 2);
    assert_ptr_equal(s.pending.row_scale, scale + 2);
    assert_int_equal(s.shape[0], 3);
    s = tensor_slice(&t, 1, 1, 2);
    assert_ptr_equal(s.data, codes + 1);
    assert_ptr_equal(s.scales.data, scale);
    assert_false(tensor_dense(&s));
}

static void group_scales_follow_both_axes(void **state)
{
    float scale[2 * 3];
    struct tensor t = tensor_make2(NULL, DT_I8, MEM_HOST, 8, 384);
    struct tensor s;

    (void)state;
    t.scales = (struct scales){SCALE_GROUP, scale, 4, 128, {0, 3}};
    s = tensor_slice(&t, 0, 4, 4);
    assert_ptr_equal(s.scales.data, scale + 3);
    s = tensor_slice(&s, 1, 256, 128);
    assert_ptr_equal(s.scales.data, scale + 5);
    assert_null(s.data);
}

static void reshape_keeps_count(void **state)
{
    float x[12];
    struct tensor t = tensor_make1(x, DT_F32, MEM_HOST, 12);
    struct tensor r = tensor_reshape(&t, 3, (int64_t[]){2, 3, 2});

    (void)state;
    assert_int_equal(tensor_count(&r), 12);
    assert_int_equal(r.stride[0], 6);
    assert_true(tensor_dense(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_slice_takes_its_scales),
        cmocka_unit_test(group_scales_follow_both_axes),
        cmocka_unit_test(reshape_keeps_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
