/* test_calls.c - every system call of saving and loading fails once, and kills once
 *
 * "Every" is counted, not listed: the n-th call of a save fails for n = 1, 2, 3 … until
 * a save makes fewer than n calls. After each fault the folder must hold a valid
 * checkpoint that is no older than before, and no temporary file. With --long more
 * kinds of failure are tried than EIO and the kill.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/checkpoint/folder.h"
#include "engine/h5/h5.h"
#include "tests/faults/calls.h"
#include "tests/unit/checkpoint_rig.h"

static bool long_run;

enum { CALLS_MAX = 1000, CALLS_MIN = 20, MET_BYTES = 1024 };

/* The names of calls that met a fault, each once, for the log. */
struct met {
    char names[MET_BYTES];
    long n;
};

static void met_add(struct met *m, const char *name)
{
    size_t len = strlen(m->names);
    char word[64];

    m->n++;
    snprintf(word, sizeof(word), " %s", name);
    if (!strstr(m->names, word))
        snprintf(m->names + len, MET_BYTES - len, "%s", word);
}

/* Are the calls really ours? A count near zero would mean that they are not. */
static void met_print(const struct met *m, const char *what)
{
    print_message("%s: %ld calls:%s\n", what, m->n, m->names);
    assert_true(m->n >= CALLS_MIN);
}

#define ROW_1 "ck-0000-0001-i1.h5"
#define ROW_2 "ck-0000-0002-i1.h5"
#define ROW_3 "ck-0000-0003-i2.h5"

/* The files that every case begins with, made once. */
static int calls_enter(void **state)
{
    struct checkpoint_store *s;
    struct err e = ERR_INIT;

    if (rig_enter(state) < 0)
        return -1;
    s = rig_store("seed", NULL);
    assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
    assert_int_equal(rig_save(s, 0, 2, &e), ST_OK);
    checkpoint_store_close(s);
    return 0;
}

static int calls_leave(void **state)
{
    rig_remove("seed");
    return rig_leave(state);
}

/* A folder with rows 1 and 2, and a store that knows them for valid. */
static struct checkpoint_store *two_saved(void)
{
    const struct generation rows[2] = {{0, 1, 1}, {0, 2, 1}};
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint_store *s;
    struct err e = ERR_INIT;

    assert_int_equal(mkdir("ck", 0700), 0);
    assert_int_equal(link("seed/" ROW_1, "ck/" ROW_1), 0);
    assert_int_equal(link("seed/" ROW_2, "ck/" ROW_2), 0);
    assert_int_equal(checkpoint_store_open("ck", false, &o, &s, &e), ST_OK);
    generation_good(s, &rows[0]);
    generation_good(s, &rows[1]);
    return s;
}

/* The same, claimed. */
static struct checkpoint_store *two_claimed(void)
{
    struct checkpoint_store *s = two_saved();
    struct err e = ERR_INIT;

    assert_int_equal(checkpoint_claim(s, &e), ST_OK);
    return s;
}

static bool named(const char *file)
{
    return access(file, F_OK) == 0;
}

/* ---- saving ---------------------------------------------------------------------- */

/* What must hold after the save of row 3 met a fault: row 3 when it has its name, else
 * row 2, which is still there in any case. */
static void nothing_lost(const char *call, long n)
{
    bool there = named("ck/" ROW_3);

    if (!there && !named("ck/" ROW_1))
        fail_msg("call %ld (%s): the oldest went before its time", n, call);
    if (!named("ck/" ROW_2))
        fail_msg("call %ld (%s): the generation before is gone", n, call);
    assert_int_equal(rig_expect("ck", 0, there ? 3 : 2), 0);
}

/* Save row 3 with a fault at its n-th call; false when it makes fewer. */
static bool save_faulty(long n, int action, struct met *met)
{
    struct checkpoint_store *s = two_claimed();
    struct err e = ERR_INIT;
    struct checkpoint ck = {0};
    const char *call;
    enum status st;

    rig_fill(&ck, 0, 3, 1);
    calls_arm(n, action);
    st = checkpoint_save(s, &ck, NULL, &e);
    call = calls_disarm();
    if (call) {
        met_add(met, call);
        if (st != ST_OK && (st != ST_RESOURCE || !strstr(e.text, "cannot ")))
            fail_msg("call %ld (%s): %s", n, call, e.text);
        if (rig_files("ck", true) != 0 && strcmp(call, "unlinkat") != 0)
            fail_msg("call %ld (%s): a temporary file is left", n, call);
        nothing_lost(call, n);
    }
    if (n % 8 == 0) { /* and it goes on */
        assert_int_equal(rig_save(s, 0, 4, &e), ST_OK);
        assert_int_equal(rig_expect("ck", 0, 4), 0);
    }
    checkpoint_release(&ck);
    checkpoint_store_close(s);
    rig_remove("ck");
    return call != NULL;
}

static void every_call_of_a_save_may_fail(void **state)
{
    static const int errors[] = {EIO, CALLS_SHORT, ENOSPC, EDQUOT};
    static const char *const names[] = {"EIO", "short", "ENOSPC", "EDQUOT"};

    (void)state;
    for (int i = 0; i < (long_run ? 4 : 1); i++) {
        struct met met = {"", 0};
        long n = 1;

        while (n < CALLS_MAX && save_faulty(n, errors[i], &met))
            n++;
        assert_true(n < CALLS_MAX);
        met_print(&met, names[i]);
    }
}

/* A disk that fails at one call and goes on failing: three calls in a row. */
static void a_save_that_fails_says_numbers(void **state)
{
    struct checkpoint_store *s = two_claimed();
    struct checkpoint ck = {0};
    struct err e = ERR_INIT;
    int failed = 0;

    (void)state;
    rig_fill(&ck, 0, 3, 1);
    for (long n = 1; n < CALLS_MAX; n++) {
        const char *call;
        enum status st;

        calls_arm(n, ENOSPC);
        st = checkpoint_save(s, &ck, NULL, &e);
        call = calls_disarm();
        if (!call)
            break;
        if (strcmp(call, "pwrite") == 0 || strcmp(call, "fsync") == 0) {
            assert_int_equal(st, ST_RESOURCE);
            assert_non_null(strstr(e.text, strerror(ENOSPC)));
            assert_non_null(strstr(e.text, "MiB free"));
            failed++;
        }
    }
    assert_true(failed >= 3);
    checkpoint_release(&ck);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* In a process of its own, killed before its n-th call; false when it makes fewer. */
static bool save_killed(long n)
{
    struct checkpoint_store *s = two_claimed();
    pid_t pid = fork();
    int how;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct checkpoint ck = {0};
        struct err e = ERR_INIT;

        rig_fill(&ck, 0, 3, 1);
        calls_arm(n, CALLS_KILL);
        _exit(checkpoint_save(s, &ck, NULL, &e) == ST_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    if (WIFSIGNALED(how))
        nothing_lost("killed", n);
    else
        assert_int_equal(WEXITSTATUS(how), 0);
    checkpoint_store_close(s);
    s = rig_store("ck", NULL); /* the next run's claim */
    assert_int_equal(rig_files("ck", true), 0);
    checkpoint_store_close(s);
    rig_remove("ck");
    return WIFSIGNALED(how);
}

static void a_kill_between_any_two_calls_loses_nothing(void **state)
{
    long n = 1;

    (void)state;
    while (n < CALLS_MAX && save_killed(n))
        n++;
    print_message("killed at %ld calls\n", n - 1);
    assert_true(n > CALLS_MIN && n < CALLS_MAX);
}

/* ---- claiming -------------------------------------------------------------------- */

/* Claim with a fault; what comes next must work, and be a later incarnation. */
static bool claim_faulty(long n, int action, struct met *met)
{
    struct checkpoint_store *s = two_saved();
    struct err e = ERR_INIT;
    const char *call;
    enum status st;

    rig_write("ck/owner", (const unsigned char *)"{\"incarnation\":5}", 17);
    calls_arm(n, action);
    st = checkpoint_claim(s, &e);
    call = calls_disarm();
    if (call)
        met_add(met, call);
    if (st == ST_OK) {
        if (checkpoint_incarnation(s) != 6)
            fail_msg("call %ld (%s): incarnation %lld", n, call ? call : "none",
                     (long long)checkpoint_incarnation(s));
    } else {
        assert_int_equal(st, ST_RESOURCE);
    }
    assert_int_equal(rig_expect("ck", 0, 2), 0);
    checkpoint_store_close(s);
    s = rig_store("ck", NULL);
    assert_true(checkpoint_incarnation(s) >= 6);
    assert_int_equal(rig_files("ck", true), 0);
    checkpoint_store_close(s);
    rig_remove("ck");
    return call != NULL;
}

static void every_call_of_a_claim_may_fail(void **state)
{
    static const int errors[] = {EIO, ENOSPC, CALLS_SHORT};
    struct met met = {"", 0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        long n = 1;

        while (n < CALLS_MAX && claim_faulty(n, errors[i], &met))
            n++;
        assert_true(n < CALLS_MAX);
    }
    met_print(&met, "claim");
}

/* ---- loading --------------------------------------------------------------------- */

static void line_count(void *ctx, const char *line)
{
    assert_non_null(strstr(line, "rejected: "));
    ++*(int *)ctx;
}

/* Load with a fault: the newest, or an older one and that is said, or an error. Never
 * nothing, as if there had been no checkpoint. */
static bool load_faulty(long n, struct met *met)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint ck = {0};
    char name[CHECKPOINT_NAME_BYTES];
    struct checkpoint_store *s;
    struct err e = ERR_INIT;
    bool found = false;
    const char *call;
    enum status st;
    int said = 0;

    assert_int_equal(checkpoint_store_open("ck", false, &o, &s, &e), ST_OK);
    calls_arm(n, EIO);
    st = checkpoint_newest(s, line_count, &said, &ck, name, &found, &e);
    call = calls_disarm();
    if (call)
        met_add(met, call);
    if (st == ST_OK && (!found || ck.rows_done != 2 - said))
        fail_msg("call %ld (%s): row %lld, %d rejected", n, call ? call : "none",
                 (long long)(found ? ck.rows_done : -1), said);
    if (st != ST_OK)
        assert_true(e.text[0] != '\0');
    checkpoint_release(&ck);
    checkpoint_store_close(s);
    return call != NULL;
}

static void every_call_of_a_load_may_fail(void **state)
{
    struct met met = {"", 0};
    long n = 1;

    (void)state;
    checkpoint_store_close(two_saved());
    while (n < CALLS_MAX && load_faulty(n, &met))
        n++;
    assert_true(n < CALLS_MAX);
    met_print(&met, "load");
    rig_remove("ck");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_a_save_may_fail),
        cmocka_unit_test(a_save_that_fails_says_numbers),
        cmocka_unit_test(a_kill_between_any_two_calls_loses_nothing),
        cmocka_unit_test(every_call_of_a_claim_may_fail),
        cmocka_unit_test(every_call_of_a_load_may_fail),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    long_run = argc > 1 && strcmp(argv[1], "--long") == 0;
    return cmocka_run_group_tests(tests, calls_enter, calls_leave);
}
