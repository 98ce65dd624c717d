/* test_inspect.c - what `framefleet inspect` shows */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/weights/inspect.h"
#include "engine/weights/safetensors.h"
#include "kernels/base/json.h"
#include "tests/scratch.h"

#define DATA FF_GOLDEN_DIR

static void shown(const char *path, struct inspect_options o, struct buf *out)
{
    struct err e = ERR_INIT;

    if (inspect_path(path, &o, out, &e) != ST_OK)
        fail_msg("%s", e.text);
}

static void assert_shows(const struct buf *b, const char *text)
{
    if (!strstr(buf_text(b), text))
        fail_msg("no '%s' in:\n%s", text, buf_text(b));
}

static void a_folder_is_shown_as_a_table(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    shown(DATA "/dit/sky_fps/transformer", (struct inspect_options){0}, &b);
    assert_shows(&b, "SkyReels-V2 DF of custom size");
    assert_shows(&b, "\ntransformer       3      74 ");
    assert_shows(&b, "\ntokenizer     none\n");
    buf_release(&b);
    shown(DATA "/vae/vae/diffusion_pytorch_model.safetensors",
          (struct inspect_options){.tensors = true}, &b);
    assert_shows(&b, ": a VAE\n");
    assert_shows(&b, "decoder.upsamples.4.shortcut.bias  "
                     "(decoder.up_blocks.1.resnets.0.conv_shortcut.bias)");
    buf_release(&b);
}

static void json_holds_every_tensor(void **state)
{
    struct buf b = BUF_INIT;
    struct json *d = NULL;
    struct json_value part;
    struct err e = ERR_INIT;
    int64_t n = 0;

    (void)state;
    shown(DATA "/dit/wan_a/original", (struct inspect_options){true, true}, &b);
    assert_int_equal(json_parse("inspect", b.data, b.len, &JSON_LIMITS_CONFIG, &d, &e),
                     ST_OK);
    part = json_first(json_find(json_root(d), "parts"));
    assert_int_equal(json_get_int(part, "count", 1, 100000, &n, &e), ST_OK);
    assert_int_equal(json_count(json_find(part, "tensors")), n);
    assert_int_equal(n, 15 + 2 * 27);
    json_close(d);
    buf_release(&b);
}

static void any_file_of_tensors_can_be_shown(void **state)
{
    const struct safetensors_item item = {"a\x1b[2J", DT_U8, 0, NULL, "x"};
    const struct safetensors_item scale = {"blocks.0.ffn.0.weight_scale", DT_F32, 0,
                                           NULL, "four"};
    struct scratch s;
    struct buf b = BUF_INIT;
    struct err e = ERR_INIT;

    (void)state;
    scratch_create(&s);
    assert_int_equal(safetensors_write(scratch_path(&s, "f"), &item, 1, NULL, &e),
                     ST_OK);
    shown(scratch_path(&s, "f"), (struct inspect_options){.tensors = true}, &b);
    assert_shows(&b, "U8       []                       a\\x1b[2J\n");
    buf_release(&b);
    assert_int_equal(safetensors_write(scratch_path(&s, "q"), &scale, 1, NULL, &e),
                     ST_OK);
    shown(scratch_path(&s, "q"), (struct inspect_options){0}, &b);
    assert_shows(&b, ": tensors of a checkpoint that is quantised already");
    assert_int_equal(inspect_path(s.path, &(struct inspect_options){0}, &b, &e),
                     ST_INPUT);
    assert_non_null(strstr(e.text, "no part of a model"));
    assert_int_equal(
        inspect_path(scratch_path(&s, "no"), &(struct inspect_options){0}, &b, &e),
        ST_INPUT);
    buf_release(&b);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_shown_as_a_table),
        cmocka_unit_test(json_holds_every_tensor),
        cmocka_unit_test(any_file_of_tensors_can_be_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
