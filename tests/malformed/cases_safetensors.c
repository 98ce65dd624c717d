/* cases_safetensors.c - headers that lie (encoders-vae-formats 7.2) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/malformed/harness.h"

/* Tensor "a" of 24 bytes with one member replaced. */
#define ENTRY(dtype, shape, offsets) \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define SHAPE(s) ENTRY("\"F32\"", s, "[0,24]")
#define OFFSETS(o) ENTRY("\"F32\"", "[2,3]", o)
#define DTYPE(d) ENTRY(d, "[2,3]", "[0,24]")
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define U8(name, n, from, to)                                                         \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" n "],\"data_offsets\":[" from "," to \
    "]}"

static const struct {
    const char *name, *header;
    size_t data; /* bytes after the header */
    const char *reason;
} headers[] = {
    {"list", "[]", 0, "does not begin with '{'"},
    {"number", "1", 0, "does not begin with '{'"},
    {"leading space", " {}", 0, "does not begin with '{'"},
    {"leading new line", "\n{}", 0, "does not begin with '{'"},
    {"byte order mark", "\xef\xbb\xbf{}", 0, "does not begin with '{'"},
    {"spaces only", "        ", 0, "does not begin with '{'"},
    {"open object", "{", 0, "expected a name"},
    {"two objects", "{" A "}{}", 24, "something follows"},
    {"text after", "{" A "} x", 24, "something follows"},
    {"comma after", "{" A ",}", 24, "expected a name"},
    {"comment", "{/**/" A "}", 24, "expected a name"},
    {"no tensors, but data", "{}", 8, "8 bytes after the last tensor"},
    {"entry is a number", "{\"a\":1}", 0, "tensor 'a'"},
    {"entry is null", "{\"a\":null}", 0, "must be an object of exactly"},
    {"entry is a list", "{\"a\":[1,2,3]}", 0, "must be an object of exactly"},
    {"entry is empty", "{\"a\":{}}", 0, "must be an object of exactly"},
    {"no dtype", "{\"a\":{\"x\":0,\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24,
     "'dtype' is missing"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"x\":0,\"data_offsets\":[0,24]}}", 24,
     "'shape' is missing"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"x\":0}}", 24,
     "'data_offsets' is missing"},
    {"capital member",
     "{\"a\":{\"Dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", 24,
     "'dtype' is missing"},
    {"a member too many",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24],\"x\":1}}", 24,
     "must be an object of exactly"},
    {"a member too few", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3]}}", 24,
     "must be an object of exactly"},
    {"member twice",
     "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
     24, "'dtype' occurs twice"},
    {"dtype number", DTYPE("32"), 24, "'dtype' is 32"},
    {"dtype null", DTYPE("null"), 24, "'dtype' is null"},
    {"dtype list", DTYPE("[\"F32\"]"), 24, "'dtype' is a list"},
    {"dtype unknown", DTYPE("\"F31\""), 24, "'F31' is not one of"},
    {"dtype lower case", DTYPE("\"f32\""), 24, "'f32' is not one of"},
    {"dtype empty", DTYPE("\"\""), 24, "'' is not one of"},
    {"dtype space", DTYPE("\"F32 \""), 24, "'F32 ' is not one of"},
    {"dtype BOOL", DTYPE("\"BOOL\""), 6, "'BOOL' is not one of"},
    {"dtype U64", DTYPE("\"U64\""), 48, "'U64' is not one of"},
    {"dtype F4", DTYPE("\"F4\""), 3, "'F4' is not one of"},
    {"dtype C64", DTYPE("\"C64\""), 48, "'C64' is not one of"},
    {"dtype with NUL", DTYPE("\"F32\\u0000\""), 24, "NUL in a string"},
    {"dtype with escape", DTYPE("\"\\u001b[2J\""), 24, "'\\x1b[2J' is not one of"},
    {"dtype too wide", DTYPE("\"F64\""), 24, "spans 24 bytes, the shape needs 48"},
    {"dtype too narrow", DTYPE("\"BF16\""), 24, "spans 24 bytes, the shape needs 12"},
    {"shape null", SHAPE("null"), 24, "'shape' is null, must be a list"},
    {"shape number", SHAPE("6"), 24, "'shape' is 6"},
    {"shape text", SHAPE("\"[2,3]\""), 24, "must be a list"},
    {"shape object", SHAPE("{}"), 24, "must be a list"},
    {"shape of texts", SHAPE("[\"2\",3]"), 24, "'shape' holds \"2\""},
    {"shape of lists", SHAPE("[[2,3]]"), 24, "'shape' holds a list"},
    {"shape of nulls", SHAPE("[null]"), 24, "'shape' holds null"},
    {"shape of truth", SHAPE("[true]"), 24, "'shape' holds a truth value"},
    {"shape negative", SHAPE("[-2,3]"), 24, "plain non-negative integer"},
    {"shape minus zero", SHAPE("[-0]"), 24, "plain non-negative integer"},
    {"shape fraction", SHAPE("[1.5,4]"), 24, "plain non-negative integer"},
    {"shape with point", SHAPE("[2.0,3]"), 24, "plain non-negative integer"},
    {"shape with exponent", SHAPE("[2e0,3]"), 24, "plain non-negative integer"},
    {"shape rank 9", SHAPE("[1,1,1,1,1,1,1,2,3]"), 24, "more than 8 elements"},
    {"shape 2^48+1", SHAPE("[281474976710657]"), 24, "'shape' holds"},
    {"shape 2^53+1", SHAPE("[9007199254740993]"), 24, "'shape' holds"},
    {"shape 2^63-1", SHAPE("[2,9223372036854775807]"), 24, "'shape' holds"},
    {"shape 2^64", SHAPE("[18446744073709551616]"), 24, "'shape' holds"},
    {"shape 2^64+6", SHAPE("[18446744073709551622]"), 24, "'shape' holds"},
    {"shape overflows", SHAPE("[4294967296,4294967296]"), 24, "'shape' overflows"},
    {"shape overflows to zero", SHAPE("[281474976710656,65536,65536]"), 24,
     "overflows"},
    {"shape bytes overflow", SHAPE("[2147483648,1073741824]"), 24, "overflows"},
    {"shape overflow before zero", SHAPE("[281474976710656,281474976710656,0]"), 0,
     "overflows"},
    {"shape too small", SHAPE("[2,2]"), 24, "spans 24 bytes, the shape needs 16"},
    {"shape too large", SHAPE("[2,4]"), 24, "spans 24 bytes, the shape needs 32"},
    {"shape empty", SHAPE("[]"), 24, "spans 24 bytes, the shape needs 4"},
    {"shape zero", SHAPE("[0]"), 24, "spans 24 bytes, the shape needs 0"},
    {"offsets null", OFFSETS("null"), 24, "'data_offsets' is null"},
    {"offsets text", OFFSETS("\"0,24\""), 24, "must be a list"},
    {"offsets object", OFFSETS("{\"0\":24}"), 24, "must be a list"},
    {"offsets one", OFFSETS("[24]"), 24, "'data_offsets' is not a range"},
    {"offsets none", OFFSETS("[]"), 24, "'data_offsets' is not a range"},
    {"offsets three", OFFSETS("[0,24,24]"), 24, "more than 2 elements"},
    {"offsets backwards", OFFSETS("[24,0]"), 24, "'data_offsets' is not a range"},
    {"offsets negative", OFFSETS("[-24,0]"), 24, "plain non-negative integer"},
    {"offsets fraction", OFFSETS("[0,24.5]"), 24, "plain non-negative integer"},
    {"offsets exponent", OFFSETS("[0,2.4e1]"), 24, "plain non-negative integer"},
    {"offsets of texts", OFFSETS("[\"0\",\"24\"]"), 24, "'data_offsets' holds \"0\""},
    {"offsets 2^53", OFFSETS("[0,9007199254740992]"), 24, "'data_offsets' holds"},
    {"offsets 2^64", OFFSETS("[18446744073709551616,24]"), 24, "'data_offsets' holds"},
    {"offsets short", OFFSETS("[0,23]"), 24, "spans 23 bytes"},
    {"offsets long", OFFSETS("[0,25]"), 25, "spans 25 bytes"},
    {"begins late", OFFSETS("[8,32]"), 32, "'a' begin at 8, after a hole at 0"},
    {"ends past the file", OFFSETS("[0,24]"), 20, "'a' end at 24, the data has 20"},
    {"no data at all", OFFSETS("[0,24]"), 0, "'a' end at 24, the data has 0"},
    {"a byte left over", OFFSETS("[0,24]"), 25, "1 bytes after the last tensor"},
    {"a polyglot's tail", OFFSETS("[0,24]"), 4096, "4072 bytes after the last tensor"},
    {"begins past the file", OFFSETS("[4503599627370400,4503599627370424]"), 24,
     "after a hole"},
    {"overlap", "{" U8("a", "8", "0", "8") "," U8("b", "8", "4", "12") "}", 12,
     "'b' begin at 4, overlapping what ends at 8"},
    {"the same bytes", "{" U8("a", "8", "0", "8") "," U8("b", "8", "0", "8") "}", 8,
     "overlapping"},
    {"inside another", "{" U8("a", "8", "0", "8") "," U8("b", "2", "2", "4") "}", 8,
     "overlapping"},
    {"hole", "{" U8("a", "4", "0", "4") "," U8("b", "4", "8", "12") "}", 12,
     "'b' begin at 8, after a hole at 4"},
    {"nothing in a hole", "{" U8("a", "4", "0", "4") "," U8("b", "0", "6", "6") "}", 4,
     "after a hole"},
    {"many on the same bytes",
     "{" U8("a", "4", "0", "4") "," U8("b", "4", "0", "4") "," U8(
         "c", "4", "0", "4") "," U8("d", "4", "0", "4") "}",
     4, "overlapping"},
    {"equal names", "{" A "," A "}", 24, "name 'a' occurs twice"},
    {"equal names, escaped",
     "{" A ",\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[24,24]}}",
     24, "name 'a' occurs twice"},
    {"empty name", "{" U8("", "1", "0", "1") "}", 1, "a tensor name of 0 bytes"},
    {"name with NUL", "{" U8("a\\u0000b", "1", "0", "1") "}", 1, "NUL in a string"},
    {"name with new line", "{" U8("a\nb", "1", "0", "1") "}", 1, "control character"},
    {"name of a lone surrogate", "{" U8("\\ud800", "1", "0", "1") "}", 1, "surrogate"},
    {"name not UTF-8", "{" U8("\xff", "1", "0", "1") "}", 1, "not UTF-8"},
    {"name with quotes and braces", "{" U8("a\\\"}{", "2", "0", "1") "}", 1,
     "tensor 'a\"}{'"},
    {"name like a path", "{" U8("../../etc/passwd", "2", "0", "1") "}", 1,
     "tensor '../../etc/passwd'"},
    {"name drives a terminal", "{" U8("\\u001b[2J", "2", "0", "1") "}", 1,
     "tensor '\\x1b[2J'"},
    {"metadata text", "{\"__metadata__\":\"x\"," A "}", 24, "'__metadata__' is not an"},
    {"metadata list", "{\"__metadata__\":[\"x\"]," A "}", 24,
     "'__metadata__' is not an"},
    {"metadata null", "{\"__metadata__\":null," A "}", 24, "'__metadata__' is not an"},
    {"metadata of numbers", "{\"__metadata__\":{\"x\":1}," A "}", 24, "holds 'x'"},
    {"metadata of objects", "{\"__metadata__\":{\"x\":{\"y\":\"z\"}}," A "}", 24,
     "holds 'x'"},
    {"metadata of nulls", "{\"__metadata__\":{\"x\":null}," A "}", 24, "holds 'x'"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}," A "}", 24,
     "'__metadata__' occurs twice"},
    {"metadata key twice", "{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}," A "}", 24,
     "'k' occurs twice"},
    {"depth 5", "{\"a\":{\"dtype\":[[[]]],\"shape\":[],\"data_offsets\":[]}}", 0,
     "nesting too deep"},
    {"infinite offset", OFFSETS("[0,1e999]"), 24, "plain non-negative integer"},
    {"word for a number", OFFSETS("[0,Infinity]"), 24, "expected a value"},
    {"hexadecimal", OFFSETS("[0x0,0x18]"), 24, "expected ',' or ']'"},
    {"octal", OFFSETS("[00,24]"), 24, "leading zeros"},
};

static void put_length(struct buf *b, unsigned long long n)
{
    for (int i = 0; i < 8; i++) {
        char c = (char)(n >> (8 * i));

        buf_add(b, &c, 1);
    }
}

static void make(struct buf *b, const char *header, size_t header_bytes, size_t data)
{
    put_length(b, header_bytes);
    buf_add(b, header, header_bytes);
    for (size_t i = 0; i < data; i++)
        buf_add(b, "d", 1);
}

static void case_header(const char *name, const char *header, size_t bytes, size_t data,
                        const char *reason)
{
    struct buf b = BUF_INIT;

    make(&b, header, bytes, data);
    bad(BAD_SAFETENSORS, name, b.data, b.len, reason);
    buf_release(&b);
}

/* A header length that is not that of the header. */
static void case_length(const char *name, unsigned long long length, const char *reason)
{
    static const char header[] = "{" A "}";
    struct buf b = BUF_INIT;

    put_length(&b, length);
    buf_adds(&b, header);
    buf_add(&b, header, 24);
    bad(BAD_SAFETENSORS, name, b.data, b.len, reason);
    buf_release(&b);
}

static void cases_length(void)
{
    case_length("length 0", 0, "header length 0");
    case_length("length 1", 1, "expected a name");
    case_length("length one short", sizeof("{" A "}") - 2, "expected ',' or '}'");
    case_length("length one long", sizeof("{" A "}"), "something follows");
    case_length("length to the end", sizeof("{" A "}") - 1 + 24, "something follows");
    case_length("length past the end", sizeof("{" A "}") - 1 + 25, "in a file of");
    case_length("length 16 MiB", 16 << 20, "in a file of");
    case_length("length 16 MiB and one", (16 << 20) + 1, "at most 16777216 allowed");
    case_length("length 100 MB", 100000000, "at most 16777216 allowed");
    case_length("length 2^31", 1ULL << 31, "at most 16777216 allowed");
    case_length("length 2^32", 1ULL << 32, "at most 16777216 allowed");
    case_length("length 2^63", 1ULL << 63, "header length 9223372036854775808");
    case_length("length 2^64-1", ~0ULL, "header length 18446744073709551615");
    case_length("length 2^64-8", ~0ULL - 7, "header length 18446744073709551608");
}

/* Every prefix of a valid file is too short. */
static void cases_truncated(void)
{
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"}," A "}";
    struct buf b = BUF_INIT;
    char name[64];

    make(&b, header, sizeof(header) - 1, 24);
    bad_status(BAD_SAFETENSORS, "valid", b.data, b.len, ST_OK, NULL);
    for (size_t n = 0; n < b.len; n++) {
        snprintf(name, sizeof(name), "cut to %zu bytes", n);
        bad(BAD_SAFETENSORS, name, b.data, n, NULL);
    }
    buf_release(&b);
}

static void case_repeat(const char *name, const char *head, const char *unit,
                        size_t times, const char *tail, size_t data, const char *reason)
{
    struct buf b = BUF_INIT;

    buf_adds(&b, head);
    for (size_t i = 0; i < times; i++)
        buf_adds(&b, unit);
    buf_adds(&b, tail);
    case_header(name, b.data, b.len, data, reason);
    buf_release(&b);
}

/* Sizes that only memory can hold: 16 MiB of header. */
static void cases_large(void)
{
    struct buf b = BUF_INIT;

    case_repeat("16 MiB of zeros", "{\"a\":{\"shape\":[0", ",0", 8000000, "]}}", 0,
                "bytes of memory");
    case_repeat("16 MiB of empty lists", "{\"a\":{\"shape\":[[]", ",[]", 5000000, "]}}",
                0, "bytes of memory");
    case_repeat("16 MiB of one string", "{\"a\":\"", "xxxxxxxxxxxxxxxx", 1000000, "\"}",
                0, "must be an object");
    case_repeat("16 MiB of brackets", "{\"a\":", "[[[[[[[[", 2000000, "", 0,
                "nesting too deep");
    case_repeat("17 MiB of spaces", "{}", "        ", 17 << 17, "", 0,
                "at most 16777216");
    case_repeat("long name", "{\"", "n", 513,
                "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
                "a tensor name of 513 bytes");
    case_repeat("large metadata", "{\"__metadata__\":{\"k\":\"", "m", 65536,
                "\"}," A "}", 24, "takes 65537 bytes");
    buf_adds(&b, "{");
    for (int i = 0; i < 70000; i++)
        buf_addf(&b,
                 "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                 i ? "," : "", i);
    buf_adds(&b, "}");
    case_header("70000 tensors", b.data, b.len, 0, "bytes of memory");
    buf_release(&b);
}

void cases_safetensors(void)
{
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        case_header(headers[i].name, headers[i].header, strlen(headers[i].header),
                    headers[i].data, headers[i].reason);
    case_header("NUL padding", "{" A "}\0\0\0", sizeof("{" A "}") + 2, 24,
                "something follows");
    cases_length();
    cases_truncated();
    cases_large();
    bad_text(BAD_SAFETENSORS, "an old torch file",
             "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9", "a torch file of the old format");
    bad_text(BAD_SAFETENSORS, "GGUF", "GGUF\3xxxyyyyzzzz", "header length");
    bad_text(BAD_SAFETENSORS, "HDF5", "\x89HDF\r\n\x1a\nxxxxxxxx", "header length");
    bad_text(BAD_SAFETENSORS, "a script", "#!/bin/sh\nexit 0\n", "header length");
}
