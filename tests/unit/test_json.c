/* test_json.c - what the JSON wrapper takes, refuses and writes */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/base/json.h"
#include "kernels/base/utf8.h"

static struct json *parsed(const char *text)
{
    struct err e = ERR_INIT;
    struct json *doc = NULL;

    if (json_parse("t.json", text, strlen(text), &JSON_LIMITS_CONFIG, &doc, &e) !=
        ST_OK)
        fail_msg("%s: %s", text, e.text);
    return doc;
}

static void assert_refused(const char *text, size_t bytes, const char *reason)
{
    struct err e = ERR_INIT;
    struct json *doc = NULL;

    assert_int_equal(json_parse("t.json", text, bytes, &JSON_LIMITS_CONFIG, &doc, &e),
                     ST_INPUT);
    assert_null(doc);
    if (!strstr(e.text, reason) || !strstr(e.text, "'t.json'"))
        fail_msg("'%s' lacks '%s'", e.text, reason);
}

static void valid_texts_parse(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0.5e+3",
        "\"\"",
        "null",
        " [ ] ",
        "{}",
        "[1,2,[3]]\r\n\t ",
        "{\"a\":{\"a\":1},\"A\":2}",
        "\"\\ud83d\\ude00\\u0001\\/\"",
        "\"\xf0\x9f\x98\x80\"",
        "123456789012345678901234567890",
        "1e308",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        json_close(parsed(texts[i]));
}

static void hostile_texts_are_refused(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "text ends early"},
        {"{\"a\":1", "expected ',' or '}'"},
        {"[1,]", "expected a value"},
        {"[1 2]", "expected ',' or ']'"},
        {"{\"a\" 1}", "expected ':'"},
        {"{a:1}", "expected a name"},
        {"{} x", "something follows"},
        {"{}{}", "something follows"},
        {"01", "leading zeros"},
        {"+1", "expected a value"},
        {"1.", "after the point"},
        {"1e", "exponent"},
        {"-", "expected a value"},
        {"nul", "expected a value"},
        {"NaN", "expected a value"},
        {"1e999", "too large"},
        {"{\"x\":-1e999}", "'x' is a number too large"},
        {"\"a\nb\"", "control character"},
        {"\"abc", "without an end"},
        {"\"\\u0000\"", "NUL"},
        {"\"\\u00g0\"", "bad \\u escape"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\ud800\"", "lone surrogate"},
        {"\"\\ud800\\u0041\"", "lone surrogate"},
        {"\"\\udc00\"", "lone surrogate"},
        {"\"\xff\"", "not UTF-8 at byte 1"},
        {"\"\xc0\x80\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "not UTF-8"},
        {"\xef\xbb\xbf{}", "expected a value"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "'a' occurs twice"},
        {"{\"o\":{\"\\u0061\":1,\"a\":2}}", "'a' occurs twice"},
        {"1234567890123456789012345678901234567890123456789012345678901",
         "60 characters"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i].text, strlen(cases[i].text), cases[i].reason);
    assert_refused("[1]\0", 4, "something follows");
    assert_refused("\"a\0b\"", 5, "control character");
}

static void depth_is_limited(void **state)
{
    char text[80];

    (void)state;
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    assert_refused(text, 66, "nesting too deep");
    text[66] = '\0';
    text[65] = '\0';
    json_close(parsed(text + 1));
}

/* 1 MiB of "[0,0,…" would cost 46 MiB: refused before anything is allocated. */
static void memory_is_limited_before_parsing(void **state)
{
    size_t n = 1 << 20;
    char *text = malloc(n + 2);
    struct json_limits tight = JSON_LIMITS_CONFIG;
    struct err e = ERR_INIT;
    struct json *doc = NULL;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < n; i += 2)
        memcpy(text + i, i ? ",0" : "[0", 2);
    text[n - 1] = ']';
    text[n - 2] = '0';
    text[n - 3] = ' ';
    assert_refused(text, n, "bytes of memory");
    assert_refused(text, n + 1, "at most 1048576 allowed");
    tight.memory_bytes = 200;
    assert_int_equal(json_parse("t", "[0,0,0]", 7, &tight, &doc, &e), ST_INPUT);
    free(text);
}

static void plain_integers_on_request(void **state)
{
    struct json_limits l = JSON_LIMITS_CONFIG;
    static const char *const bad[] = {"[1e3]", "[-1]", "[1.0]", "[-0]", "[1E0]"};
    struct err e = ERR_INIT;
    struct json *doc = NULL;

    (void)state;
    l.plain_integers = true;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(json_parse("t", bad[i], strlen(bad[i]), &l, &doc, &e),
                         ST_INPUT);
        assert_non_null(strstr(e.text, "plain non-negative integer"));
    }
    assert_int_equal(json_parse("t", "[0,12]", 6, &l, &doc, &e), ST_OK);
    json_close(doc);
}

static void assert_text(const struct err *e, const char *wanted)
{
    assert_int_equal(e->status, ST_INPUT);
    assert_string_equal(e->text, wanted);
}

static void getters_check_kind_and_range(void **state)
{
    struct json *d = parsed(
        "{\"n\":7,\"N\":8,\"f\":1.5,\"big\":9007199254740993,\"s\":\"x\","
        "\"t\":true,\"nil\":null,\"o\":{\"k\":[1,2]},\"v\":[1,2.5]}");
    struct json_value r = json_root(d), o;
    struct err e = ERR_INIT;
    int64_t n = -1, list[3];
    double f = -1, pair[2];
    const char *s = "kept";
    bool t = false;
    int count = 0;

    (void)state;
    assert_int_equal(json_get_int(r, "n", 0, 10, &n, &e), ST_OK);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_int(r, "N", 0, 10, &n, &e), ST_OK);
    assert_int_equal(n, 8);
    assert_int_equal(json_get_double(r, "f", 0, 2, &f, &e), ST_OK);
    assert_int_equal(json_get_bool(r, "t", &t, &e), ST_OK);
    assert_true(t);
    assert_int_equal(json_get_string(r, "s", &s, &e), ST_OK);
    assert_string_equal(s, "x");
    assert_int_equal(json_opt_int(r, "nil", 0, 1, &n, &e), ST_OK);
    assert_int_equal(json_opt_int(r, "none", 0, 1, &n, &e), ST_OK);
    assert_int_equal(n, 8);
    assert_int_equal(json_get_int(r, "f", 0, 9, &n, &e), ST_INPUT);
    assert_text(&e, "'t.json': 'f' is 1.5, must be an integer from 0 to 9");
    assert_int_equal(json_get_int(r, "big", 0, INT64_MAX, &n, &e), ST_INPUT);
    assert_int_equal(json_get_int(r, "s", 0, 9, &n, &e), ST_INPUT);
    assert_text(&e, "'t.json': 's' is \"x\", must be an integer from 0 to 9");
    assert_int_equal(json_opt_bool(r, "n", &t, &e), ST_INPUT);
    assert_text(&e, "'t.json': 'n' is 7, must be true or false");
    assert_int_equal(json_opt_double(r, "n", 8, 9, &f, &e), ST_INPUT);
    assert_int_equal(json_get_string(r, "gone", &s, &e), ST_INPUT);
    assert_text(&e, "'t.json': 'gone' is missing");
    assert_int_equal(json_get(r, "o", JSON_OBJECT, &o, &e), ST_OK);
    assert_int_equal(json_opt_string(o, "k", &s, &e), ST_INPUT);
    assert_int_equal(json_get_string(o, "q", &s, &e), ST_INPUT);
    assert_text(&e, "'t.json': 'q' is missing in 'o'");
    assert_int_equal(json_ints(json_find(o, "k"), 0, 5, 3, list, &count, &e), ST_OK);
    assert_int_equal(count, 2);
    assert_int_equal(json_ints(json_find(o, "k"), 0, 5, 1, list, &count, &e), ST_INPUT);
    assert_int_equal(json_ints(json_find(r, "v"), 0, 5, 3, list, &count, &e), ST_INPUT);
    assert_text(&e, "'t.json': 'v' holds 2.5, must hold integers from 0 to 5");
    assert_int_equal(json_doubles(json_find(r, "v"), 0, 5, 2, pair, &e), ST_OK);
    assert_true(pair[1] == 2.5);
    assert_int_equal(json_doubles(json_find(r, "v"), 0, 5, 3, pair, &e), ST_INPUT);
    assert_int_equal(json_doubles(json_find(r, "v"), 0, 2, 2, pair, &e), ST_INPUT);
    assert_int_equal(json_get(r, "s", JSON_ARRAY, &o, &e), ST_INPUT);
    assert_text(&e, "'t.json': 's' is \"x\", must be a list");
    json_close(d);
}

static void walking_keeps_the_order_of_the_text(void **state)
{
    struct json *d = parsed("{\"b\":1,\"a\":[2,3],\"c\":{}}");
    struct json_value v = json_first(json_root(d));

    (void)state;
    assert_int_equal(json_count(json_root(d)), 3);
    assert_string_equal(json_key(v), "b");
    assert_false(json_exists(json_first(v)));
    v = json_next(v);
    assert_int_equal(json_kind(v), JSON_ARRAY);
    assert_null(json_key(json_first(v)));
    assert_int_equal(json_kind(json_find(v, "x")), JSON_ABSENT);
    v = json_next(json_next(v));
    assert_false(json_exists(v));
    json_close(d);
    json_close(NULL);
}

static void files_are_read_up_to_the_cap(void **state)
{
    char path[] = "/tmp/ff_json_XXXXXX";
    int fd = mkstemp(path);
    struct json_limits l = JSON_LIMITS_CONFIG;
    struct err e = ERR_INIT;
    struct json *d = NULL;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\":[]}\n", 9), 9);
    close(fd);
    assert_int_equal(json_read(path, &l, &d, &e), ST_OK);
    json_close(d);
    l.text_bytes = 8;
    assert_int_equal(json_read(path, &l, &d, &e), ST_INPUT);
    unlink(path);
    assert_int_equal(json_read(path, &l, &d, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "No such file"));
}

static void writer_escapes_and_indents(void **state)
{
    struct buf b = BUF_INIT;
    struct json_out o;

    (void)state;
    json_out_init(&o, &b, JSON_INDENTED);
    json_out_object(&o, NULL);
    json_out_string(&o, "s", "a\"\\\n\x1b\xff\xc3\xa4\x7f");
    json_out_array(&o, "l");
    json_out_int(&o, NULL, INT64_MIN);
    json_out_null(&o, NULL);
    json_out_end(&o);
    json_out_array(&o, "empty");
    json_out_end(&o);
    json_out_bool(&o, "t", true);
    json_out_end(&o);
    assert_false(b.failed);
    assert_string_equal(
        buf_text(&b),
        "{\n  \"s\": \"a\\\"\\\\\\n\\u001b\xef\xbf\xbd\xc3\xa4\\u007f\",\n"
        "  \"l\": [\n    -9223372036854775808,\n    null\n  ],\n"
        "  \"empty\": [],\n  \"t\": true\n}\n");
    buf_release(&b);
}

static void numbers_are_shortest_and_read_back(void **state)
{
    static const double values[] = {
        0.1,  1e-6, 8.0, -3.25, 1.0 / 3, 5e-324, DBL_MAX, 1e15, 123456789012345678.0,
        0.3f, -1e-7};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf b = BUF_INIT;
        struct json_out o;
        struct json *d;
        double back;

        json_out_init(&o, &b, JSON_COMPACT);
        json_out_double(&o, NULL, values[i]);
        d = parsed(buf_text(&b));
        assert_int_equal(json_double(json_root(d), -DBL_MAX, DBL_MAX, &back, NULL),
                         ST_OK);
        assert_true(back == values[i]);
        if (i == 0)
            assert_string_equal(buf_text(&b), "0.1");
        if (i == 2)
            assert_string_equal(buf_text(&b), "8");
        json_close(d);
        buf_release(&b);
    }
}

static void canonical_text_does_not_depend_on_order(void **state)
{
    struct json *a = parsed(
        "{ \"b\": [1, {\"y\":null,\"x\":0.10}], \"a\":\"\\u00e4\" }");
    struct json *b = parsed("{\"a\":\"\xc3\xa4\",\"b\":[1.0,{\"x\":1e-1,\"y\":null}]}");
    struct buf x = BUF_INIT, y = BUF_INIT;

    (void)state;
    json_canonical(json_root(a), &x);
    json_canonical(json_root(b), &y);
    assert_string_equal(buf_text(&x), buf_text(&y));
    assert_string_equal(buf_text(&x),
                        "{\"a\":\"\xc3\xa4\",\"b\":[1,{\"x\":0.1,\"y\":null}]}");
    buf_release(&x);
    buf_release(&y);
    json_close(a);
    json_close(b);
}

static void buffers_grow(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    assert_string_equal(buf_text(&b), "");
    for (int i = 0; i < 1000; i++)
        buf_addf(&b, "%d,", i);
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(buf_text(&b)), b.len);
    assert_false(buf_reserve(&b, SIZE_MAX / 2));
    buf_adds(&b, "x");
    assert_true(b.failed);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_parse),
        cmocka_unit_test(hostile_texts_are_refused),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(memory_is_limited_before_parsing),
        cmocka_unit_test(plain_integers_on_request),
        cmocka_unit_test(getters_check_kind_and_range),
        cmocka_unit_test(walking_keeps_the_order_of_the_text),
        cmocka_unit_test(files_are_read_up_to_the_cap),
        cmocka_unit_test(writer_escapes_and_indents),
        cmocka_unit_test(numbers_are_shortest_and_read_back),
        cmocka_unit_test(canonical_text_does_not_depend_on_order),
        cmocka_unit_test(buffers_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
