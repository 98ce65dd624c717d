/* test_clean.c - prompts come out as ftfy, html.unescape and diffusers leave them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/clean.h"
#include "tests/unit/prompts.h"

static void expect_clean(const char *text, size_t n, const char *want)
{
    struct err e = ERR_INIT;
    char *got;

    assert_int_equal(text_clean(text, n, &got, &e), ST_OK);
    assert_string_equal(got, want);
    free(got);
}

struct clean_case {
    const char *text, *want;
};

/* What Python 3.11 with ftfy 6.3.1 makes of these (fix_encoding off). */
static const struct clean_case cases[] = {
    {"", ""},
    {" \t\r\n\xC2\xA0 ", ""},
    {"  a \n\n cat\xE3\x80\x80sits ", "a cat sits"},
    {"a&amp;amp;lt;b", "a<b"},
    {"&lt;b&gt; &NTILDE; &SZLIG;", "<b> \xC3\x91 SS"},
    {"<b> &NTILDE; &ntilde;\n&NTILDE;", "<b> &NTILDE; \xC3\xB1 &NTILDE;"},
    {"&NTILDE;\n<b>&NTILDE;", "\xC3\x91 <b>&NTILDE;"},
    {"&notit; &not &ampx", "\xC2\xACit; \xC2\xAC &x"},
    {"&#x41;&#65&#0;&#xD800;&#x110000;&#1;|",
     "AA\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|"},
    {"&#x80;&#129;&#;&#x;&", "\xE2\x82\xAC\xC2\x81&#;&#x;&"},
    {"&#99999999999999999999999;", "\xEF\xBF\xBD"},
    {"&CounterClockwiseContourIntegral;", "\xE2\x88\xB3"},
    {"\xEF\xBC\x86lt; \xEF\xBC\x8C\xEF\xBC\x81\xEF\xBC\xA1", "< ,!A"},
    {"\xEF\xBE\x8C\xEF\xBE\x9E", "\xE3\x83\x96"},
    {"\xEF\xAC\x83\xC4\xB2\xC7\x84", "ffiIJD\xC5\xBD"},
    {"\xE2\x80\x9Cit\xE2\x80\x99s\xE2\x80\x9D \xC5\x89", "\"it's\" 'n"},
    {"a\r\nb\rc\xE2\x80\xA8"
     "d\xC2\x85",
     "a b c d\xE2\x80\xA6"},
    {"\x1b[1;31mred\x1b[0m \x1b[x \x1b[\xD9\xA3m", "red"},
    {"a\x01\x7f\x0b\xEF\xBB\xBF\xE2\x81\xAA"
     "b",
     "ab"},
    {"e\xCC\x81 A\xCC\x8A \xE2\x84\xAB", "\xC3\xA9 \xC3\x85 \xC3\x85"},
    {"\xED\xA0\xBD\xED\xB8\x80 \xED\xA0\xBD", "\xF0\x9F\x98\x80 \xEF\xBF\xBD"},
    {"a\xFF\xC3(\xE2\x82", "a\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"\xC0\x80\xF4\x90\x80\x80",
     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"voil\xC3\x83 ", "voil\xC3\x83"},
};

static void listed_cases_come_out_as_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_clean(cases[i].text, strlen(cases[i].text), cases[i].want);
    expect_clean("a\0b", 3, "ab");
}

static void visit_prompt(struct json_value row, void *ctx)
{
    struct err e = ERR_INIT;
    const char *prompt, *cleaned;

    (void)ctx;
    assert_int_equal(json_get_string(row, "prompt", &prompt, &e), ST_OK);
    assert_int_equal(json_get_string(row, "cleaned", &cleaned, &e), ST_OK);
    expect_clean(prompt, strlen(prompt), cleaned);
}

static void reference_prompts_come_out_equal(void **state)
{
    (void)state;
    assert_true(prompts_walk("prompts.jsonl", visit_prompt, NULL) > 200);
}

/* Cleaning text that is clean already changes nothing, and random bytes do no harm. */
static void random_bytes_settle(void **state)
{
    uint32_t seed = 1;
    char text[200];

    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t n = 0;
        struct err e = ERR_INIT;
        char *once;

        for (; n < sizeof text && n < (size_t)round; n++) {
            seed = seed * 1664525u + 1013904223u;
            text[n] = (char)(seed >> 24);
        }
        assert_int_equal(text_clean(text, n, &once, &e), ST_OK);
        if (!strchr(once, '&'))
            expect_clean(once, strlen(once), once);
        free(once);
    }
}

static void too_long_a_prompt_is_refused(void **state)
{
    struct err e = ERR_INIT;
    char *text = malloc(PROMPT_MAX_BYTES + 1), *out = NULL;

    (void)state;
    memset(text, 'x', PROMPT_MAX_BYTES + 1);
    assert_int_equal(text_clean(text, PROMPT_MAX_BYTES + 1, &out, &e), ST_USAGE);
    assert_string_equal(e.text, "prompt too long: 1048577 bytes, 1048576 at most");
    assert_null(out);
    assert_int_equal(text_clean(text, PROMPT_MAX_BYTES, &out, &e), ST_OK);
    free(out);
    free(text);
}

/* "&" and `levels` times "amp;": every pass takes one level away. */
static enum status nested_clean(size_t levels, char **out, struct err *e)
{
    size_t bytes = 1 + 4 * levels;
    char *text = malloc(bytes + 1);
    enum status st;

    text[0] = '&';
    for (size_t i = 0; i < levels; i++)
        memcpy(text + 1 + 4 * i, "amp;", 4);
    st = text_clean(text, bytes, out, e);
    free(text);
    return st;
}

static void endless_repair_is_refused(void **state)
{
    struct err e = ERR_INIT;
    char *out = NULL;

    (void)state;
    assert_int_equal(nested_clean(100, &out, &e), ST_OK);
    assert_string_equal(out, "&");
    free(out);
    out = NULL;
    assert_int_equal(nested_clean(16000, &out, &e), ST_USAGE);
    assert_null(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listed_cases_come_out_as_listed),
        cmocka_unit_test(reference_prompts_come_out_equal),
        cmocka_unit_test(random_bytes_settle),
        cmocka_unit_test(too_long_a_prompt_is_refused),
        cmocka_unit_test(endless_repair_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
