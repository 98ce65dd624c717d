/* test_option.c - names, ranks of sources, ranges and refusals of an option table */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/option.h"

struct settings {
    bool force;
    int64_t frames;
    double shift;
    char *prompt;
    int solver;
    struct option_size size;
    struct option_every every;
};

static const struct option table[] = {
    {"", NULL, OPT_UNBUILT, 0, 0, 0, NULL, NULL, "Main"},
    {"force", NULL, OPT_FLAG, offsetof(struct settings, force), 0, 0, NULL, NULL, "f"},
    {"num_frames", "frame_num target_video_length", OPT_INT,
     offsetof(struct settings, frames), 1, 1000, NULL, "N", "n"},
    {"shift", "flow_shift", OPT_REAL, offsetof(struct settings, shift), 0.1, 100, NULL,
     "S", "s"},
    {"prompt", NULL, OPT_TEXT, offsetof(struct settings, prompt), 0, 0, NULL, "T", "p"},
    {"solver", NULL, OPT_CHOICE, offsetof(struct settings, solver), 0, 0,
     "unipc dpm++ euler", "S", "s"},
    {"size", NULL, OPT_SIZE, offsetof(struct settings, size), 0, 0, NULL, "WxH", "s"},
    {"every", NULL, OPT_EVERY, offsetof(struct settings, every), 0, 1e6, NULL, "E",
     "e"},
    {"teacache", NULL, OPT_UNBUILT, 0, 0, 0, NULL, NULL, ""},
};
enum { N = sizeof(table) / sizeof(table[0]) };

static enum status parse(struct settings *s, struct option_set *set, int argc,
                         const char *const *argv, struct err *e)
{
    const char *rest[16];
    int n_rest;

    *s = (struct settings){.frames = 97};
    assert_int_equal(option_set_init(set, table, N, s, e), ST_OK);
    return option_parse_args(set, argc, argv, rest, &n_rest, e);
}

static void flags_fill_the_struct(void **state)
{
    struct settings s;
    struct option_set set;
    struct err e = ERR_INIT;
    const char *argv[] = {"--frame-num", "49",    "--shift=5.5", "--prompt", "a $(b)",
                          "--solver",    "dpm++", "--size",      "960*544",  "--force"};
    char text[32];

    (void)state;
    assert_int_equal(parse(&s, &set, 10, argv, &e), ST_OK);
    assert_int_equal(s.frames, 49);
    assert_true(s.shift == 5.5);
    assert_string_equal(s.prompt, "a $(b)");
    assert_int_equal(s.solver, 1);
    assert_int_equal(s.size.width, 960);
    assert_int_equal(s.size.height, 544);
    assert_true(s.force);
    assert_int_equal(option_format(&set, option_find(&set, "flow-shift"), text, 32), 3);
    assert_string_equal(text, "5.5");
    option_format(&set, option_find(&set, "solver"), text, 32);
    assert_string_equal(text, "dpm++");
    option_set_release(&set);
}

static void refusal_expect(int argc, const char *const *argv, enum status st,
                           const char *text)
{
    struct settings s;
    struct option_set set;
    struct err e = ERR_INIT;

    assert_int_equal(parse(&s, &set, argc, argv, &e), st);
    assert_string_equal(e.text, text);
    option_set_release(&set);
}

static void refusals_say_what_would_do(void **state)
{
    (void)state;
    refusal_expect(2, (const char *[]){"--num_frame", "5"}, ST_USAGE,
                   "unknown flag 'num_frame': the closest known one is 'num_frames'");
    refusal_expect(2, (const char *[]){"--num_frames", "5x"}, ST_USAGE,
                   "impossible num_frames '5x': a whole number is wanted");
    refusal_expect(
        2, (const char *[]){"--num_frames", "99999999999999999999"}, ST_USAGE,
        "impossible num_frames 99999999999999999999: 1 to 1000 are possible");
    refusal_expect(2, (const char *[]){"--shift", "nan"}, ST_USAGE,
                   "impossible shift nan: 0.1 to 100 are possible");
    refusal_expect(1, (const char *[]){"--prompt"}, ST_USAGE,
                   "missing value of flag '--prompt'");
    refusal_expect(2, (const char *[]){"--size", "960"}, ST_USAGE,
                   "impossible size '960': WIDTHxHEIGHT is wanted, such as 960x544");
    refusal_expect(2, (const char *[]){"--solver", "heun"}, ST_USAGE,
                   "unknown solver 'heun': known are unipc dpm++ euler");
    refusal_expect(1, (const char *[]){"--teacache"}, ST_UNBUILT,
                   "'teacache' is not built yet");
}

static void flags_win_over_files(void **state)
{
    struct settings s;
    struct option_set set;
    struct err e = ERR_INIT;
    int i;

    (void)state;
    assert_int_equal(parse(&s, &set, 2, (const char *[]){"--shift", "3"}, &e), ST_OK);
    i = option_find(&set, "shift");
    assert_int_equal(option_assign(&set, i, "7", SOURCE_FILE, &e), ST_OK);
    assert_true(s.shift == 3);
    i = option_find(&set, "num_frames");
    assert_int_equal(option_assign(&set, i, "5", SOURCE_MODEL, &e), ST_OK);
    assert_int_equal(option_assign(&set, i, "9", SOURCE_FILE, &e), ST_OK);
    assert_int_equal(s.frames, 9);
    assert_string_equal(option_source_name(set.source[i]), "file");
    option_set_release(&set);
}

static void no_turns_a_flag_off(void **state)
{
    struct settings s;
    struct option_set set;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(parse(&s, &set, 2, (const char *[]){"--force", "--no-force"}, &e),
                     ST_OK);
    assert_false(s.force);
    option_set_release(&set);
}

static void every_takes_rows_or_seconds(void **state)
{
    static const struct {
        const char *text;
        double rows, seconds;
        const char *again; /* NULL: refused */
    } cases[] = {
        {"4", 4, 0, "4"},      {"0", 0, 0, "0"},
        {"90s", 0, 90, "90s"}, {"0.25s", 0, 0.25, "0.25s"},
        {"1.5", 0, 0, NULL},   {"s", 0, 0, NULL},
        {"-1s", 0, 0, NULL},   {"4 s", 0, 0, NULL},
        {"4m", 0, 0, NULL},    {"2000000", 0, 0, NULL},
        {"nan", 0, 0, NULL},   {"infs", 0, 0, NULL},
    };
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct settings s;
        struct option_set set;
        struct err e = ERR_INIT;
        enum status st = parse(&s, &set, 2, (const char *[]){"--every", cases[i].text},
                               &e);

        assert_int_equal(st, cases[i].again ? ST_OK : ST_USAGE);
        if (cases[i].again) {
            assert_true((double)s.every.rows == cases[i].rows);
            assert_true(s.every.seconds == cases[i].seconds);
            option_format(&set, option_find(&set, "every"), text, sizeof(text));
            assert_string_equal(text, cases[i].again);
        }
        option_set_release(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_fill_the_struct),
        cmocka_unit_test(refusals_say_what_would_do),
        cmocka_unit_test(flags_win_over_files),
        cmocka_unit_test(no_turns_a_flag_off),
        cmocka_unit_test(every_takes_rows_or_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
