/* cases_json.c - texts that are not JSON, or not JSON that we take */
#include <stdlib.h>
#include <string.h>

#include "tests/malformed/harness.h"

static const struct {
    const char *name, *text, *reason;
} texts[] = {
    {"empty", "", "text ends early"},
    {"only spaces", "   \n", "text ends early"},
    {"open object", "{", "expected a name"},
    {"open list", "[", "text ends early"},
    {"half member", "{\"a\"", "expected ':'"},
    {"member without value", "{\"a\":", "text ends early"},
    {"member without comma", "{\"a\":1 \"b\":2}", "expected ',' or '}'"},
    {"comma at the end", "{\"a\":1,}", "expected a name"},
    {"comma at the end of a list", "[1,]", "expected a value"},
    {"two commas", "[1,,2]", "expected a value"},
    {"wrong bracket", "[1}", "expected ',' or ']'"},
    {"wrong brace", "{\"a\":1]", "expected ',' or '}'"},
    {"two values", "{} {}", "something follows"},
    {"text after the value", "{}x", "something follows"},
    {"comment", "/* c */ {}", "expected a value"},
    {"line comment", "{} // c", "something follows"},
    {"single quotes", "{'a':1}", "expected a name"},
    {"name without quotes", "{a:1}", "expected a name"},
    {"number as name", "{1:1}", "expected a name"},
    {"leading zero", "[01]", "leading zeros"},
    {"negative leading zero", "[-01]", "leading zeros"},
    {"plus sign", "[+1]", "expected a value"},
    {"bare point", "[.5]", "expected a value"},
    {"point at the end", "[1.]", "after the point"},
    {"bare exponent", "[1e]", "exponent"},
    {"signed bare exponent", "[1e+]", "exponent"},
    {"hexadecimal", "[0x10]", "expected ',' or ']'"},
    {"infinity", "[Infinity]", "expected a value"},
    {"not a number", "[NaN]", "expected a value"},
    {"huge number", "{\"a\":1e400}", "'a' is a number too large"},
    {"huge negative number", "[-1e400]", "number too large"},
    {"long number", "[1111111111111111111111111111111111111111111111111111111111111]",
     "60 characters"},
    {"wrong word", "[tru]", "expected a value"},
    {"capital word", "[True]", "expected a value"},
    {"string without end", "[\"abc]", "without an end"},
    {"escape at the end", "[\"abc\\", "unknown escape"},
    {"unknown escape", "[\"\\a\"]", "unknown escape"},
    {"short unicode escape", "[\"\\u12\"]", "bad \\u escape"},
    {"escaped NUL", "[\"a\\u0000b\"]", "NUL in a string"},
    {"lone high surrogate", "[\"\\ud800\"]", "lone surrogate"},
    {"lone low surrogate", "[\"\\udfff\"]", "lone surrogate"},
    {"high surrogate twice", "[\"\\ud800\\ud800\"]", "lone surrogate"},
    {"new line in a string", "[\"a\nb\"]", "control character"},
    {"tab in a string", "[\"a\tb\"]", "control character"},
    {"latin-1", "[\"\xe4\"]", "not UTF-8"},
    {"overlong UTF-8", "[\"\xc0\xaf\"]", "not UTF-8"},
    {"UTF-8 surrogate", "[\"\xed\xa0\x80\"]", "not UTF-8"},
    {"beyond Unicode", "[\"\xf5\x80\x80\x80\"]", "not UTF-8"},
    {"cut UTF-8", "[\"\xe2\x82\"]", "not UTF-8"},
    {"byte order mark", "\xef\xbb\xbf[]", "expected a value"},
    {"equal names", "{\"a\":1,\"a\":2}", "name 'a' occurs twice"},
    {"equal names, escaped", "{\"a\":1,\"\\u0061\":2}", "name 'a' occurs twice"},
    {"equal names, deep", "[[[{\"b\":{\"a\":1,\"c\":0,\"a\":2}}]]]",
     "'a' occurs twice"},
    {"equal empty names", "{\"\":1,\"\":2}", "name '' occurs twice"},
    {"escape sequence as name", "{\"\\u001b[2J\":1,\"\\u001b[2J\":2}",
     "'\\x1b[2J' occurs"},
};

static void case_repeat(const char *name, const char *head, const char *unit,
                        size_t times, const char *tail, const char *reason)
{
    struct buf b = BUF_INIT;

    buf_adds(&b, head);
    for (size_t i = 0; i < times; i++)
        buf_adds(&b, unit);
    buf_adds(&b, tail);
    bad(BAD_JSON, name, b.data, b.len, reason);
    buf_release(&b);
}

void cases_json(void)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        bad_text(BAD_JSON, texts[i].name, texts[i].text, texts[i].reason);
    bad(BAD_JSON, "NUL after the value", "[]\0", 3, "something follows");
    bad(BAD_JSON, "NUL in a string", "[\"\0\"]", 5, "control character");
    case_repeat("33 lists", "", "[", 33, "", "nesting too deep");
    case_repeat("100000 lists", "", "[", 100000, "", "nesting too deep");
    case_repeat("100000 objects", "", "{\"a\":", 100000, "", "nesting too deep");
    case_repeat("too long", "[", " ", 1 << 20, "]", "at most 1048576 allowed");
    case_repeat("a million zeros", "[0", ",0", 500000, "]", "bytes of memory");
    case_repeat("a long string", "[\"", "x", 1 << 20, "\"]", "at most 1048576");
    case_repeat("100 MB of spaces", "", "          ", 10000000, "", "at most 1048576");
}
