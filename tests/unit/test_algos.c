/* test_algos.c - the table of algorithms: rows as text, and what is refused in a file
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/algos.h"
#include "tests/scratch.h"

#define WORDS                                              \
    " 0000000000000001 0000000000000002 0000000000000003 " \
    "0000000000000004 0000000000000005 0000000000000006 "  \
    "0000000000000007 fedcba9876543210"
#define ROW "90 130100 F8_E4M3 BF16 13824 5120" WORDS

static const struct algo_row sample = {90,
                                       130100,
                                       DT_E4M3,
                                       DT_BF16,
                                       13824,
                                       5120,
                                       {1, 2, 3, 4, 5, 6, 7, 0xfedcba9876543210},
                                       false};

static void rows_are_text(void **state)
{
    char text[ALGO_TEXT_BYTES];
    struct err e = ERR_INIT;
    struct algo_row row;

    (void)state;
    algo_row_print(&sample, text);
    assert_string_equal(text, ROW);
    assert_int_equal(algo_row_parse(text, &row, &e), ST_OK);
    assert_true(algo_row_same(&row, &sample));
    assert_memory_equal(row.word, sample.word, sizeof(row.word));
    assert_int_equal(algo_row_parse("\t90 130100\tF8_E4M3 BF16 13824  5120" WORDS
                                    " # a note\r",
                                    &row, &e),
                     ST_OK);
}

/* Of a product with fast sums; nothing else may stand there. */
static void fast_rows_are_others(void **state)
{
    struct err e = ERR_INIT;
    char text[ALGO_TEXT_BYTES];
    struct algo_table t = {0};
    struct algo_row row;

    (void)state;
    assert_int_equal(algo_row_parse(ROW " fast", &row, &e), ST_OK);
    assert_true(row.fast && !algo_row_same(&row, &sample));
    algo_row_print(&row, text);
    assert_string_equal(text, ROW " fast");
    assert_int_equal(algo_row_parse(ROW " slow", &row, &e), ST_INPUT);
    assert_int_equal(algo_row_parse(ROW " fast 1", &row, &e), ST_INPUT);
    assert_int_equal(algo_table_add(&t, ROW "\n" ROW " fast # a note", "a", &e), ST_OK);
    assert_int_equal(t.count, 2);
    assert_false(algo_table_find(&t, &sample)->fast);
    algo_table_release(&t);
}

static void the_longest_row_fits(void **state)
{
    struct algo_row row = {999,     99999999, DT_E4M3, DT_E4M3,
                           1 << 24, 1 << 24,  {0},     true};
    char text[ALGO_TEXT_BYTES];
    struct err e = ERR_INIT;

    (void)state;
    memset(row.word, 0xff, sizeof(row.word));
    algo_row_print(&row, text);
    assert_int_equal(algo_row_parse(text, &row, &e), ST_OK);
    assert_true(row.word[7] == UINT64_MAX);
}

static void bad_rows_are_named(void **state)
{
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"90 130100 F8_E4M3 BF16 13824 5120", "14 fields"},
        {ROW " 1", "14 fields"},
        {"x 130100 F8_E4M3 BF16 13824 5120" WORDS, "arch 'x'"},
        {"-9 130100 F8_E4M3 BF16 13824 5120" WORDS, "arch '-9'"},
        {"90 0 F8_E4M3 BF16 13824 5120" WORDS, "version '0'"},
        {"90 130100 F9 BF16 13824 5120" WORDS, "unknown type 'F9'"},
        {"90 130100 F8_E4M3 BF16 13824.5 5120" WORDS, "n '13824.5'"},
        {"90 130100 F8_E4M3 BF16 13824 99999999999" WORDS, "k '99999999999'"},
        {"90 130100 F8_E4M3 BF16 99999999999999999999 5120" WORDS, "n '9999"},
        {"90 130100 F8_E4M3 BF16 1 1 1 2 3 4 5 6 7 8", "'1' is not 16 hex digits"},
        {"90 130100 F8_E4M3 BF16 123456789012345678901234567890 1" WORDS, "14 fields"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct algo_row row = sample;
        struct err e = ERR_INIT;

        assert_int_equal(algo_row_parse(bad[i].line, &row, &e), ST_INPUT);
        if (!strstr(e.text, bad[i].says))
            fail_msg("'%s' does not say '%s'", e.text, bad[i].says);
        assert_memory_equal(&row, &sample, sizeof(row));
    }
}

static void products_find_their_row(void **state)
{
    struct algo_table t = {0};
    struct err e = ERR_INIT;
    struct algo_row key = sample;
    const struct algo_row *row;

    (void)state;
    assert_int_equal(algo_table_add(&t, algo_shipped, "shipped", &e), ST_OK);
    assert_true(t.count > 0);
    algo_table_release(&t);
    assert_int_equal(algo_table_add(&t,
                                    "# tuned\n\n" ROW "\n"
                                    "90 130100 F8_E4M3 BF16 5120 5120" WORDS "\n"
                                    "90 130100 BF16 BF16 5120 5120" WORDS,
                                    "a", &e),
                     ST_OK);
    assert_int_equal(t.count, 3);
    memset(key.word, 0, sizeof(key.word));
    row = algo_table_find(&t, &key);
    assert_non_null(row);
    assert_true(row->word[7] == sample.word[7]);
    key.version++;
    assert_null(algo_table_find(&t, &key));
    key.version--;
    key.arch = 89;
    assert_null(algo_table_find(&t, &key));
    key.arch = 90;
    key.k = 4096;
    assert_null(algo_table_find(&t, &key));
    algo_table_release(&t);
}

static void later_rows_take_precedence(void **state)
{
    struct algo_table t = {0};
    struct err e = ERR_INIT;
    struct algo_row other = sample;
    char text[ALGO_TEXT_BYTES];

    (void)state;
    other.word[0] = 77;
    algo_row_print(&other, text);
    assert_int_equal(algo_table_add(&t, ROW, "a", &e), ST_OK);
    assert_int_equal(algo_table_add(&t, text, "b", &e), ST_OK);
    assert_int_equal(t.count, 1);
    assert_true(algo_table_find(&t, &sample)->word[0] == 77);
    algo_table_release(&t);
}

static uint64_t digest_of(const char *text)
{
    struct algo_table t = {0};
    struct err e = ERR_INIT;
    uint64_t digest;

    assert_int_equal(algo_table_add(&t, text, "a", &e), ST_OK);
    digest = algo_table_digest(&t);
    algo_table_release(&t);
    return digest;
}

/* What counts is which product is worked out by which words. */
static void digests_tell_tables_apart(void **state)
{
    static const char other[] = "90 130100 F8_E4M3 BF16 5120 5120"
                                " 0000000000000009 0000000000000002 0000000000000003"
                                " 0000000000000004 0000000000000005 0000000000000006"
                                " 0000000000000007 fedcba9876543210\n";
    static const char swapped[] = "90 130100 F8_E4M3 BF16 13824 5120"
                                  " 0000000000000009 0000000000000002 0000000000000003"
                                  " 0000000000000004 0000000000000005 0000000000000006"
                                  " 0000000000000007 fedcba9876543210\n"
                                  "90 130100 F8_E4M3 BF16 5120 5120" WORDS;
    char text[4096];
    uint64_t digest;

    (void)state;
    snprintf(text, sizeof(text), "%s%s\n", other, ROW);
    digest = digest_of(text);
    snprintf(text, sizeof(text), "# again\n\n%s # a note\n%s", ROW, other);
    assert_true(digest_of(text) == digest);
    assert_true(digest_of(swapped) != digest);
    assert_true(digest_of(ROW) != digest);
    assert_true(digest_of(ROW) != digest_of(""));
    snprintf(text, sizeof(text), "%s%s\n", algo_shipped, ROW);
    assert_true(digest_of(text) != digest_of(algo_shipped));
    snprintf(text, sizeof(text), "%s\n%s", ROW, algo_shipped);
    assert_true(digest_of(text) == digest_of(algo_shipped));
}

static void bad_lines_are_numbered(void **state)
{
    struct algo_table t = {0};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(algo_table_add(&t, "# a\n" ROW "\nnonsense\n", "tuned.txt", &e),
                     ST_INPUT);
    assert_string_equal(e.text,
                        "bad table of algorithms 'tuned.txt': line 3: a row has 14 "
                        "fields, and 'fast' or nothing");
    assert_int_equal(t.count, 1);
    algo_table_release(&t);
}

static void file_write(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void files_are_not_trusted(void **state)
{
    static char large[(1 << 20) + 10];
    struct algo_table t = {0};
    struct err e = ERR_INIT;
    struct scratch dir;
    const char *path;

    (void)state;
    scratch_create(&dir);
    path = scratch_path(&dir, "algos.txt");
    assert_int_equal(algo_table_read(&t, path, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "cannot open"));
    file_write(path, ROW "\n", strlen(ROW) + 1);
    assert_int_equal(algo_table_read(&t, path, &e), ST_OK);
    assert_int_equal(t.count, 1);
    file_write(path, ROW "\n\0\n", strlen(ROW) + 3);
    assert_int_equal(algo_table_read(&t, path, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "is not a table"));
    memset(large, '\n', sizeof(large));
    file_write(path, large, sizeof(large));
    assert_int_equal(algo_table_read(&t, path, &e), ST_INPUT);
    memset(large, 'a', 5000);
    file_write(path, large, 5000);
    assert_int_equal(algo_table_read(&t, path, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "line 1 is long"));
    assert_int_equal(t.count, 1);
    algo_table_release(&t);
    scratch_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_text),
        cmocka_unit_test(fast_rows_are_others),
        cmocka_unit_test(the_longest_row_fits),
        cmocka_unit_test(bad_rows_are_named),
        cmocka_unit_test(products_find_their_row),
        cmocka_unit_test(digests_tell_tables_apart),
        cmocka_unit_test(later_rows_take_precedence),
        cmocka_unit_test(bad_lines_are_numbered),
        cmocka_unit_test(files_are_not_trusted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
