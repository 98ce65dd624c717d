/* test_tokenizer.c - ids equal those of the peers' tokenizers, and bad files are
 * refused
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/tokenizer.h"
#include "tests/unit/prompts.h"

enum { TEXT_LEN = 512, N_PIECES = 2000, UNKNOWN = 3 };

#define GOLDEN_MODEL FF_GOLDEN_DIR "/tokenizer/spiece.model"
#define DEMO_MODEL FF_SOURCE_DIR "/tests/demo-model/spiece.model"

static const struct tokenizer_options spm_mode = {TOKENIZER_SPM, 300};

static struct tokenizer *open_model(const char *path,
                                    const struct tokenizer_options *opt)
{
    struct err e = ERR_INIT;
    struct tokenizer *t = NULL;

    assert_int_equal(tokenizer_open(path, opt, &t, &e), ST_OK);
    return t;
}

static int encode(const struct tokenizer *t, const char *text, size_t n, int32_t *ids)
{
    struct err e = ERR_INIT;
    int count = -1;

    assert_int_equal(tokenizer_encode(t, text, n, ids, TEXT_LEN, &count, &e), ST_OK);
    assert_in_range(count, 1, TEXT_LEN);
    assert_int_equal(ids[count - 1], 1);
    return count;
}

static void expect_ids(const struct tokenizer *t, const char *text, const int32_t *want,
                       int n)
{
    int32_t ids[TEXT_LEN];

    assert_int_equal(encode(t, text, strlen(text), ids), n);
    assert_memory_equal(ids, want, (size_t)n * sizeof *ids);
}

static void visit_row(struct json_value row, void *ctx)
{
    struct err e = ERR_INIT;
    struct json_value list;
    const char *cleaned;
    int64_t wide[TEXT_LEN];
    int32_t want[TEXT_LEN];
    int n = 0;

    assert_int_equal(json_get_string(row, "cleaned", &cleaned, &e), ST_OK);
    assert_int_equal(json_get(row, "ids", JSON_ARRAY, &list, &e), ST_OK);
    assert_int_equal(json_ints(list, 0, INT32_MAX, TEXT_LEN, wide, &n, &e), ST_OK);
    for (int i = 0; i < n; i++)
        want[i] = (int32_t)wide[i];
    expect_ids(ctx, cleaned, want, n);
}

static void reference_prompts_get_the_ids_of_transformers(void **state)
{
    struct tokenizer *t = open_model(GOLDEN_MODEL, &TOKENIZER_DEFAULT);

    (void)state;
    assert_int_equal(tokenizer_vocab(t), N_PIECES + 300);
    assert_true(prompts_walk("prompts.jsonl", visit_row, t) > 200);
    tokenizer_close(t);
}

static void spm_mode_gets_the_ids_of_sentencepiece(void **state)
{
    struct tokenizer *t = open_model(GOLDEN_MODEL, &spm_mode);

    (void)state;
    assert_true(prompts_walk("spm.jsonl", visit_row, t) > 100);
    tokenizer_close(t);
}

static void empty_text_is_the_end_token(void **state)
{
    struct tokenizer *hf = open_model(GOLDEN_MODEL, &TOKENIZER_DEFAULT);
    struct tokenizer *spm = open_model(GOLDEN_MODEL, &spm_mode);

    (void)state;
    expect_ids(hf, "", (int32_t[]){1}, 1);
    expect_ids(spm, "", (int32_t[]){1}, 1);
    tokenizer_close(hf);
    tokenizer_close(spm);
}

static void long_text_is_cut_before_the_end_token(void **state)
{
    struct tokenizer *hf = open_model(GOLDEN_MODEL, &TOKENIZER_DEFAULT);
    struct tokenizer *spm = open_model(GOLDEN_MODEL, &spm_mode);
    int32_t ids[TEXT_LEN], same[TEXT_LEN], few[8];
    struct err e = ERR_INIT;
    char text[600 * 4 + 1] = "";
    int n = 0;

    (void)state;
    for (int i = 0; i < 600; i++)
        memcpy(text + 4 * i, "cat ", 5);
    text[sizeof text - 2] = '\0';
    assert_int_equal(encode(hf, text, strlen(text), ids), TEXT_LEN);
    assert_int_equal(encode(spm, text, strlen(text), same), TEXT_LEN);
    assert_memory_equal(ids, same, sizeof ids);
    assert_int_equal(tokenizer_encode(hf, text, strlen(text), few, 8, &n, &e), ST_OK);
    assert_int_equal(n, 8);
    assert_memory_equal(few, ids, 7 * sizeof *few);
    assert_int_equal(few[7], 1);
    tokenizer_close(hf);
    tokenizer_close(spm);
}

static void special_strings_count_in_hf_mode_only(void **state)
{
    struct tokenizer *hf = open_model(GOLDEN_MODEL, &TOKENIZER_DEFAULT);
    struct tokenizer *spm = open_model(GOLDEN_MODEL, &spm_mode);
    int32_t ids[TEXT_LEN];

    (void)state;
    expect_ids(hf, "</s><pad><unk><s><extra_id_0><extra_id_299>",
               (int32_t[]){1, 0, 3, 2, N_PIECES + 299, N_PIECES, 1}, 7);
    assert_true(encode(spm, "</s>", 4, ids) > 2);
    tokenizer_close(hf);
    tokenizer_close(spm);
}

/* A run of characters that the vocabulary lacks: one id, or its bytes. */
static void unknown_characters_merge_or_become_bytes(void **state)
{
    const char *text = "\xF0\x92\x80\x80\xF0\x92\x80\x81"; /* U+12000 U+12001 */
    struct tokenizer *hf = open_model(GOLDEN_MODEL, &TOKENIZER_DEFAULT);
    struct tokenizer *spm = open_model(GOLDEN_MODEL, &spm_mode);
    int32_t ids[TEXT_LEN];
    int n;

    (void)state;
    n = encode(hf, text, strlen(text), ids);
    assert_int_equal(n, 3);
    assert_int_equal(ids[1], UNKNOWN);
    n = encode(spm, text, strlen(text), ids);
    assert_int_equal(n, 10);
    for (int i = 0; i < 8; i++)
        assert_int_equal(ids[1 + i], 4 + (unsigned char)text[i]);
    tokenizer_close(hf);
    tokenizer_close(spm);
}

static void broken_utf8_counts_as_replacement_characters(void **state)
{
    const struct tokenizer_options *modes[] = {&TOKENIZER_DEFAULT, &spm_mode};

    (void)state;
    for (int m = 0; m < 2; m++) {
        struct tokenizer *t = open_model(GOLDEN_MODEL, modes[m]);
        int32_t want[TEXT_LEN], got[TEXT_LEN];
        const char *good = "a \xEF\xBF\xBD\xEF\xBF\xBD cat\xEF\xBF\xBD";
        const char *bad = "a \xFF\xC3 cat\xE2";
        uint32_t seed = 7;
        int n = encode(t, good, strlen(good), want);

        assert_int_equal(encode(t, bad, strlen(bad), got), n);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        for (int round = 0; round < 300; round++) {
            char text[300];

            for (size_t i = 0; i < sizeof text; i++) {
                seed = seed * 1664525u + 1013904223u;
                text[i] = (char)(seed >> 24);
            }
            n = encode(t, text, (size_t)round, got);
            for (int i = 0; i < n; i++)
                assert_in_range(got[i], 0, tokenizer_vocab(t) - 1);
        }
        tokenizer_close(t);
    }
}

static void demonstration_tokenizer_has_the_ids_of_umt5(void **state)
{
    struct tokenizer *t = open_model(DEMO_MODEL, &TOKENIZER_DEFAULT);
    int32_t ids[TEXT_LEN];
    int n;

    (void)state;
    assert_int_equal(tokenizer_vocab(t), 1800);
    expect_ids(t, "<pad></s><s><unk>", (int32_t[]){0, 1, 2, 3, 1}, 5);
    n = encode(t, "A red ball moves to the left.", 29, ids);
    assert_in_range(n, 5, 15);
    for (int i = 0; i < n; i++)
        assert_int_not_equal(ids[i], UNKNOWN);
    tokenizer_close(t);
}

/* ---- hostile files ------------------------------------------------------------ */

static unsigned char *load(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = malloc(1 << 20);

    assert_non_null(f);
    *n = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

/* Open damaged bytes in both modes; when that works, encoding must still be sound. */
static enum status try_bytes(const unsigned char *bytes, size_t n)
{
    const char *text = "A cat\xEF\xBC\x8C \xC2\xB2 \xE7\x8C\xAB & <0x41></s>";
    struct tokenizer_options opt = TOKENIZER_DEFAULT;
    enum status st = ST_OK;

    for (int mode = 0; mode < 2; mode++) {
        struct err e = ERR_INIT;
        struct tokenizer *t = NULL;
        int32_t ids[TEXT_LEN];
        int count;

        opt.mode = mode ? TOKENIZER_SPM : TOKENIZER_HF;
        st = tokenizer_open_bytes(bytes, n, "x.model", &opt, &t, &e);
        if (st != ST_OK) {
            assert_int_equal(st, ST_INPUT);
            assert_null(t);
            assert_non_null(strstr(e.text, "'x.model'"));
            continue;
        }
        assert_int_equal(
            tokenizer_encode(t, text, strlen(text), ids, TEXT_LEN, &count, &e), ST_OK);
        tokenizer_close(t);
    }
    return st;
}

static void damaged_files_are_refused_or_harmless(void **state)
{
    size_t n;
    unsigned char *good = load(DEMO_MODEL, &n), *copy = malloc(n);
    uint32_t seed = 3;

    (void)state;
    assert_int_equal(try_bytes(good, n), ST_OK);
    assert_int_equal(try_bytes(good, 0), ST_INPUT);
    assert_int_equal(try_bytes(good, n - 1), ST_INPUT);
    assert_int_equal(try_bytes((const unsigned char *)"{\"a\": 1}", 8), ST_INPUT);
    for (size_t cut = 1; cut < n; cut += n / 40)
        assert_int_equal(try_bytes(good, cut), ST_INPUT);
    for (int round = 0; round < 60; round++) {
        memcpy(copy, good, n);
        for (int k = 0; k < 8; k++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % (round < 30 ? n : 40000)] ^= (unsigned char)(1 << k);
        }
        try_bytes(copy, n);
    }
    free(copy);
    free(good);
}

/* Made by hand: what the file must have beside sound framing. */
static void files_without_the_needful_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *why;
    } files[] = {
        {"\x0a\x03\x0a\x01"
         "a",
         5, "0 unknown pieces, must be 1"},
        {"\x0a\x05\x0a\x01u\x18\x02\x0a\x05\x0a\x01v\x18\x02", 14,
         "2 unknown pieces, must be 1"},
        {"\x0a\x04\x0a\x00\x18\x02", 6, "a piece of 0 bytes, must be 1 to 1024"},
        {"\x0a\x05\x0a\x01u\x18\x02\x12\x02\x18\x02", 11,
         "the model is not of the unigram kind"},
        {"\x0a\x05\x0a\x01u\x18\x02\x1a\x05\x12\x03\x00\x00\x00", 14,
         "the character map points outside itself"},
        {"\x0a\x05\x0a\x09u\x18\x02", 7, "a piece is cut off"},
        {"\x12\x00", 2, "no pieces in it"},
        /* "u" is of the unknown kind, but the trainer says that "a" is unknown */
        {"\x0a\x05\x0a\x01u\x18\x02\x0a\x08\x0a\x04</s>\x18\x03\x0a\x03\x0a\x01"
         "a\x12\x04\xea\x02\x01"
         "a",
         28, "no unknown token"},
        {"\x0b\x00", 2, "the file is cut off or not a SentencePiece model"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        char want[128];

        snprintf(want, sizeof want, "bad tokenizer 'x': %s", files[i].why);
        assert_int_equal(tokenizer_open_bytes(files[i].bytes, files[i].n, "x",
                                              &TOKENIZER_DEFAULT, &t, &e),
                         ST_INPUT);
        assert_string_equal(e.text, want);
    }
}

/* Every unit of the character map sent astray, one at a time. */
static void character_map_cannot_point_outside(void **state)
{
    size_t n, at = 0;
    unsigned char *bytes = load(DEMO_MODEL, &n);
    int refused = 0;

    (void)state;
    for (size_t i = 0; i + 8 < n; i++)
        if (memcmp(bytes + i, "nmt_nfkc\x12", 9) == 0)
            at = i + 9 + 3 + 4; /* behind the name, the length and the array's size */
    assert_true(at > 0);
    for (size_t unit = 0; unit < 40000; unit += 997) {
        unsigned char *p = bytes + at + 4 * unit, keep[4];

        memcpy(keep, p, 4);
        memcpy(p, "\x00\xFF\xFF\x7F", 4);
        refused += try_bytes(bytes, n) == ST_INPUT;
        memcpy(p, keep, 4);
    }
    assert_int_equal(refused, 41);
    free(bytes);
}

static void wrong_files_and_settings_have_their_own_message(void **state)
{
    struct err e = ERR_INIT;
    struct tokenizer *t = NULL;
    struct tokenizer_options opt = {TOKENIZER_HF, -1};

    (void)state;
    assert_int_equal(tokenizer_open("/no/such.model", &TOKENIZER_DEFAULT, &t, &e),
                     ST_INPUT);
    assert_string_equal(e.text, "cannot open tokenizer '/no/such.model': No such file "
                                "or directory");
    assert_int_equal(tokenizer_open(DEMO_MODEL, &opt, &t, &e), ST_USAGE);
    assert_int_equal(tokenizer_open("/", &TOKENIZER_DEFAULT, &t, &e), ST_INPUT);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_prompts_get_the_ids_of_transformers),
        cmocka_unit_test(spm_mode_gets_the_ids_of_sentencepiece),
        cmocka_unit_test(empty_text_is_the_end_token),
        cmocka_unit_test(long_text_is_cut_before_the_end_token),
        cmocka_unit_test(special_strings_count_in_hf_mode_only),
        cmocka_unit_test(unknown_characters_merge_or_become_bytes),
        cmocka_unit_test(broken_utf8_counts_as_replacement_characters),
        cmocka_unit_test(demonstration_tokenizer_has_the_ids_of_umt5),
        cmocka_unit_test(damaged_files_are_refused_or_harmless),
        cmocka_unit_test(files_without_the_needful_are_refused),
        cmocka_unit_test(character_map_cannot_point_outside),
        cmocka_unit_test(wrong_files_and_settings_have_their_own_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
