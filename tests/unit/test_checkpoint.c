/* test_checkpoint.c - checkpoints come back, failures leave what was there, and what
 * does not belong together is refused */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/checkpoint/identity.h"
#include "engine/checkpoint/writer.h"
#include "engine/h5/h5.h"
#include "kernels/base/clock.h"
#include "tests/unit/checkpoint_rig.h"

static const char *const stages[] = {CHECKPOINT_STAGES};
enum { N_STAGES = sizeof(stages) / sizeof(stages[0]) };

/* ---- what is saved comes back ---------------------------------------------------- */

static void what_is_saved_comes_back(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct err e = ERR_INIT;
    struct stat sb;

    (void)state;
    assert_int_equal(rig_expect("ck", 0, -2), 0);
    if (rig_save(s, 2, 17, &e) != ST_OK)
        fail_msg("%s", e.text);
    assert_int_equal(rig_expect("ck", 2, 17), 0);
    assert_int_equal(rig_files("ck", true), 0);
    assert_int_equal(stat("ck/ck-0002-0017-i1.h5", &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    assert_int_equal(stat("ck", &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0700);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* Each kind has its arrays and no others. */
static void kinds_hold_what_they_must(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct checkpoint ck = {0}, got = {0};
    struct checkpoint_floats *running[] = {&ck.x, &ck.x_last, &ck.m0, &ck.m1};
    struct err e = ERR_INIT;

    (void)state;
    rig_fill(&ck, 0, 3, 1);
    ck.kind = CHECKPOINT_ENCODED;
    assert_int_equal(checkpoint_save(s, &ck, NULL, &e), ST_INPUT);
    for (int i = 0; i < 4; i++)
        checkpoint_floats_size(running[i], NULL, &e);
    checkpoint_ints_size(&ck.counter, 0, &e);
    ck.prefix_frames = 0;
    ck.rows_done = 0;
    if (checkpoint_save(s, &ck, NULL, &e) != ST_OK)
        fail_msg("%s", e.text);
    assert_int_equal(checkpoint_read("ck/ck-0000-0000-i1.h5", &got, &e), ST_OK);
    assert_int_equal(got.kind, CHECKPOINT_ENCODED);
    assert_null(checkpoint_difference(&ck, &got));
    ck.kind = CHECKPOINT_RUNNING;
    assert_int_equal(checkpoint_save(s, &ck, NULL, &e), ST_INPUT);
    checkpoint_release(&ck);
    checkpoint_release(&got);
    checkpoint_store_close(s);
    rig_remove("ck");
}

static void two_generations_are_kept(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct err e = ERR_INIT;

    (void)state;
    for (int64_t row = 1; row <= 6; row++) {
        assert_int_equal(rig_save(s, 0, row, &e), ST_OK);
        assert_int_equal(rig_files("ck", false), row == 1 ? 1 : 2);
        assert_int_equal(rig_expect("ck", 0, row), 0);
    }
    checkpoint_store_close(s);
    s = rig_store("ck", NULL);
    assert_int_equal(checkpoint_incarnation(s), 2);
    assert_int_equal(rig_save(s, 1, 1, &e), ST_OK);
    assert_int_equal(rig_expect("ck", 1, 1), 0);
    assert_int_equal(rig_save(s, 1, 2, &e), ST_OK);
    assert_int_equal(rig_files("ck", false), 2);
    assert_int_equal(rig_expect("ck", 1, 2), 0);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* Other names, links and folders in it are nobody's checkpoints. */
static void strange_names_are_not_looked_at(void **state)
{
    static const char *const names[] = {
        "ck/ck-1-1-i1.h5", "ck/ck-0001-0001-i1.h5.bak", "ck/ck-0001--001-i1.h5",
        "ck/ck-0001-0001-i01.h5", "ck/ck-9999999999-0001-i1.h5"};
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        rig_write(names[i], (const unsigned char *)"x", 1);
    assert_int_equal(symlink("ck-0000-0001-i1.h5", "ck/ck-0005-0001-i1.h5"), 0);
    assert_int_equal(mkdir("ck/ck-0006-0001-i1.h5", 0700), 0);
    assert_int_equal(mkfifo("ck/ck-0007-0001-i1.h5", 0600), 0);
    assert_int_equal(rig_expect("ck", 0, 1), 3);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* ---- failures -------------------------------------------------------------------- */

struct fault {
    const char *stage;
    int code; /* an errno, CHECKPOINT_SHORT, or FAULT_KILL */
    int left; /* the stage's visits before it happens */
};

enum { FAULT_KILL = -9 };

static int fault_at(void *ctx, const char *stage)
{
    struct fault *f = ctx;

    if (!f->stage || strcmp(stage, f->stage) != 0 || f->left-- > 0)
        return 0;
    if (f->code == FAULT_KILL)
        raise(SIGKILL);
    return f->code;
}

/* After a fault nothing is lost; the generation under way may be there or not. */
static void survived(int64_t before, int64_t after)
{
    int there = access("ck/ck-0000-0002-i1.h5", F_OK) == 0;

    assert_int_equal(rig_expect("ck", 0, there ? after : before), 0);
    if (!there)
        assert_int_equal(access("ck/ck-0000-0001-i1.h5", F_OK), 0);
}

static void every_failing_stage_keeps_what_was_there(void **state)
{
    static const int codes[] = {EIO, ENOSPC, EDQUOT};

    (void)state;
    for (int i = 0; i < N_STAGES; i++) {
        for (int k = 0; k < 3; k++) {
            struct fault f = {NULL, codes[k], 0};
            struct checkpoint_hook hook = {fault_at, &f};
            struct checkpoint_store *s = rig_store("ck", &hook);
            struct err e = ERR_INIT;

            assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
            f.stage = stages[i];
            assert_int_equal(rig_save(s, 0, 2, &e), ST_RESOURCE);
            assert_non_null(strstr(e.text, strerror(codes[k])));
            assert_non_null(strstr(e.text, "MiB free"));
            assert_int_equal(rig_files("ck", true), 0);
            survived(1, 2);
            f.stage = NULL;
            assert_int_equal(rig_save(s, 0, 3, &e), ST_OK);
            assert_int_equal(rig_expect("ck", 0, 3), 0);
            checkpoint_store_close(s);
            rig_remove("ck");
        }
    }
}

/* In a process of its own: save row 2 and be killed at a stage. */
static void killed_save(const char *stage)
{
    struct fault f = {NULL, FAULT_KILL, 0};
    struct checkpoint_hook hook = {fault_at, &f};
    pid_t pid = fork();
    int how;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct checkpoint_store *s = rig_store("ck", &hook);
        struct err e = ERR_INIT;

        if (rig_save(s, 0, 1, &e) != ST_OK)
            _exit(1);
        f.stage = stage;
        rig_save(s, 0, 2, &e);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void a_kill_at_every_stage_keeps_what_was_there(void **state)
{
    (void)state;
    for (int i = 0; i < N_STAGES; i++) {
        struct checkpoint_store *s;

        killed_save(stages[i]);
        survived(1, 2);
        s = rig_store("ck", NULL);
        assert_int_equal(checkpoint_incarnation(s), 2);
        assert_int_equal(rig_files("ck", true), 0);
        checkpoint_store_close(s);
        rig_remove("ck");
    }
}

static void short_writes_are_gone_on_with(void **state)
{
    struct fault f = {"write", CHECKPOINT_SHORT, 0};
    struct checkpoint_hook hook = {fault_at, &f};
    struct checkpoint_store *s = rig_store("ck", &hook);
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
    assert_true(f.left < 0);
    assert_int_equal(rig_expect("ck", 0, 1), 0);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* The disk takes the bytes and gives back others. */
static int spoil_at(void *ctx, const char *stage)
{
    int fd;

    if (strcmp(stage, "verify") != 0)
        return 0;
    fd = open("ck/.ck-0000-0002-i1.h5.tmp", O_WRONLY);
    if (fd < 0)
        return 0;
    *(int *)ctx = pwrite(fd, "lost", 4, 4096) == 4;
    close(fd);
    return 0;
}

static void a_disk_that_lies_is_found_out(void **state)
{
    int spoilt = 0;
    struct checkpoint_hook hook = {spoil_at, &spoilt};
    struct checkpoint_store *s = rig_store("ck", &hook);
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
    assert_int_equal(rig_save(s, 0, 2, &e), ST_RESOURCE);
    assert_true(spoilt);
    assert_non_null(strstr(e.text, "does not read back"));
    assert_int_equal(rig_expect("ck", 0, 1), 0);
    assert_int_equal(rig_files("ck", true), 0);
    checkpoint_store_close(s);
    rig_remove("ck");
}

static void values_that_are_not_finite_are_not_saved(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct checkpoint ck = {0};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
    rig_fill(&ck, 0, 2, 1);
    ck.m0.data[77] = (float)(1e300 * 1e300);
    assert_int_equal(checkpoint_save(s, &ck, NULL, &e), ST_RESOURCE);
    assert_non_null(strstr(e.text, "'sampler/m0' is not finite at element 77"));
    assert_int_equal(rig_expect("ck", 0, 1), 0);
    checkpoint_release(&ck);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* ---- full disks ------------------------------------------------------------------ */

static enum status large_save(struct checkpoint_store *s, int64_t row, struct err *e)
{
    struct checkpoint ck = {0};
    enum status st;

    rig_fill(&ck, 0, row, 4000); /* 18 MiB */
    st = checkpoint_save(s, &ck, NULL, e);
    checkpoint_release(&ck);
    return st;
}

/* Somebody else takes the room between the check and the write. */
static int disk_fill_at(void *ctx, const char *stage)
{
    static const char zeros[1 << 16];
    int fd;

    if (!*(int *)ctx || strcmp(stage, "create") != 0)
        return 0;
    fd = open("small/other", O_WRONLY | O_CREAT, 0600);
    while (write(fd, zeros, sizeof(zeros)) > 0)
        continue;
    close(fd);
    return 0;
}

static void a_full_disk_keeps_what_was_there(void **state)
{
    int fill = 0;
    struct checkpoint_hook hook = {disk_fill_at, &fill};
    struct checkpoint_store *s;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(mkdir("small", 0700), 0);
    if (mount("tmpfs", "small", "tmpfs", 0, "size=40m") < 0) {
        rmdir("small");
        print_message("skipped: cannot mount a small disk: %s\n", strerror(errno));
        skip();
    }
    s = rig_store("small/ck", &hook);
    assert_int_equal(large_save(s, 1, &e), ST_OK);
    fill = 1; /* room for the second, which then is taken */
    assert_int_equal(large_save(s, 2, &e), ST_RESOURCE);
    assert_non_null(strstr(e.text, "No space left on device (0.0 MiB free)"));
    assert_int_equal(rig_files("small/ck", true), 0);
    assert_int_equal(rig_expect("small/ck", 0, 1), 0);
    unlink("small/other"); /* 1.5 generations and more: one fits beside the other */
    fill = 0;
    assert_int_equal(large_save(s, 3, &e), ST_OK);
    assert_int_equal(large_save(s, 4, &e), ST_RESOURCE);
    assert_non_null(strstr(e.text, "MiB needed"));
    assert_int_equal(rig_files("small/ck", true), 0);
    assert_int_equal(rig_expect("small/ck", 0, 3), 0);
    checkpoint_store_close(s);
    umount("small");
    rmdir("small");
}

static void a_file_size_limit_keeps_what_was_there(void **state)
{
    const struct rlimit small = {1 << 20, RLIM_INFINITY};
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(rig_save(s, 0, 1, &e), ST_OK);
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(large_save(s, 2, &e), ST_RESOURCE);
    setrlimit(RLIMIT_FSIZE, &all);
    assert_int_equal(rig_files("ck", true), 0);
    assert_int_equal(rig_expect("ck", 0, 1), 0);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* ---- incarnations ---------------------------------------------------------------- */

static void a_stale_incarnation_stops_and_touches_nothing(void **state)
{
    struct checkpoint_store *old = rig_store("ck", NULL);
    struct checkpoint_store *now;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(rig_save(old, 0, 1, &e), ST_OK);
    now = rig_store("ck", NULL);
    assert_int_equal(rig_save(now, 0, 2, &e), ST_OK);
    assert_int_equal(rig_save(old, 0, 9, &e), ST_DEVICE);
    assert_non_null(strstr(e.text, "another run took over"));
    assert_int_equal(rig_files("ck", true), 0);
    assert_int_equal(rig_expect("ck", 0, 2), 0);
    checkpoint_store_close(old);
    checkpoint_store_close(now);
    rig_write("ck/owner", (const unsigned char *)"{nonsense", 9);
    now = rig_store("ck", NULL);
    assert_int_equal(checkpoint_incarnation(now), 3);
    checkpoint_store_close(now);
    rig_remove("ck");
}

/* ---- identity -------------------------------------------------------------------- */

static void identity_of(const char *json, struct checkpoint_identity *id, char **text)
{
    struct err e = ERR_INIT;

    memset(id, 0, sizeof(*id));
    assert_int_equal(identity_config(json, text, id->config_digest, &e), ST_OK);
    id->config = *text;
}

static void another_job_is_refused_with_its_keys(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{\"seed\":8,\"shift\":5,\"prompt\":\"a\"}", "'seed' was 7, is 8"},
        {"{\"seed\":7,\"shift\":5.5,\"prompt\":\"a\"}", "'shift' was 5, is 5.5"},
        {"{\"seed\":7,\"shift\":5,\"prompt\":\"b\"}", "'prompt' was \"a\", is \"b\""},
        {"{\"seed\":7,\"shift\":5}", "'prompt' was \"a\", is not set"},
        {"{\"seed\":7,\"shift\":5,\"prompt\":\"a\",\"ring\":2}",
         "'ring' was not set, is 2"},
    };
    struct checkpoint_identity id;
    struct checkpoint ck = {0};
    struct err e = ERR_INIT;
    char *text;

    (void)state;
    identity_of("{\"shift\":5.0, \"seed\":7,\"prompt\":\"a\"}", &id, &text);
    assert_int_equal(checkpoint_config(&ck, text, NULL, &e), ST_OK);
    memcpy(ck.config_digest, id.config_digest, DIGEST_HEX);
    assert_int_equal(identity_match(&ck, "x", &id, &e), ST_OK);
    free(text);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        identity_of(cases[i].json, &id, &text);
        assert_int_equal(identity_match(&ck, "x", &id, &e), ST_INPUT);
        if (!strstr(e.text, cases[i].says))
            fail_msg("'%s' does not say: %s", e.text, cases[i].says);
        free(text);
    }
    memset(&id, 0, sizeof(id));
    digest_of("m", 1, ck.model_digest);
    digest_of("n", 1, id.model_digest);
    assert_int_equal(identity_match(&ck, "x", &id, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "of another model"));
    checkpoint_release(&ck);
}

static void only_what_keeps_the_video_can_be_accepted(void **state)
{
    static const char *const never[] = {
        "inference_steps", "steps",    "seed",  "prompt",    "rin", "ringg",
        "ring,seed",       "ring crf", ",ring", "ring,,crf", " ",   "ring,\x1b[2J",
    };
    struct checkpoint_identity id;
    struct checkpoint ck = {0};
    struct buf said = BUF_INIT;
    struct err e = ERR_INIT;
    char *text;

    (void)state;
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        assert_int_equal(identity_accept_check(never[i], &e), ST_USAGE);
    assert_null(strchr(e.text, '\x1b'));
    assert_int_equal(identity_accept_check(NULL, &e), ST_OK);
    assert_int_equal(identity_accept_check("crf,backend,ring", &e), ST_OK);
    assert_true(identity_accepts("crf,backend", "backend"));
    assert_false(identity_accepts("crf,backend", "back"));
    assert_false(identity_accepts(NULL, "crf"));

    identity_of("{\"backend\":\"cpu\",\"crf\":10,\"seed\":7}", &id, &text);
    assert_int_equal(checkpoint_config(&ck, text, NULL, &e), ST_OK);
    memcpy(ck.config_digest, id.config_digest, DIGEST_HEX);
    free(text);
    identity_of("{\"backend\":\"ref\",\"crf\":9,\"seed\":7}", &id, &text);
    id.accept = "backend";
    assert_int_equal(identity_match(&ck, "x", &id, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "'crf' was 10, is 9"));
    assert_null(strstr(e.text, "backend"));
    id.accept = "crf,backend";
    assert_int_equal(identity_match(&ck, "x", &id, &e), ST_OK);
    assert_int_equal(identity_accepted(&ck, &id, &said, &e), ST_OK);
    assert_string_equal(buf_text(&said),
                        "'backend' was \"cpu\", is \"ref\"; 'crf' was 10, is 9");
    buf_release(&said);
    free(text);
    checkpoint_release(&ck);
}

static void schedules_and_texts_have_digests(void **state)
{
    struct matrix_args a = {8, 8, 2, 0, 1};
    char hex[3][DIGEST_HEX];
    struct checkpoint ck = {0};
    struct schedule s;
    struct matrix m;
    struct err e = ERR_INIT;

    (void)state;
    for (int i = 0; i < 3; i++) {
        a.ar_step = i == 1 ? 3 : 2;
        assert_int_equal(schedule_init(&s, SOLVER_UNIPC, 6, 8.0, &e), ST_OK);
        assert_int_equal(matrix_init(&m, &s, &a, &e), ST_OK);
        assert_int_equal(identity_schedule(&s, &m, hex[i], &e), ST_OK);
        matrix_release(&m);
    }
    assert_string_equal(hex[0], hex[2]);
    assert_string_not_equal(hex[0], hex[1]);
    rig_fill(&ck, 0, 1, 1);
    for (int i = 0; i < 3; i++) {
        ck.cond.data[3] = i == 1 ? 1.0f : 2.0f;
        assert_int_equal(identity_conditioning(&ck.cond, &ck.uncond, hex[i], &e),
                         ST_OK);
    }
    assert_string_equal(hex[0], hex[2]);
    assert_string_not_equal(hex[0], hex[1]);
    checkpoint_release(&ck);
}

/* ---- the writer ------------------------------------------------------------------ */

static void the_writer_saves_while_the_run_goes_on(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct checkpoint_writer *w;
    struct checkpoint_news news;
    struct err e = ERR_INIT;
    int64_t submitted = 0;

    (void)state;
    assert_int_equal(checkpoint_writer_open(s, NULL, &w, &e), ST_OK);
    for (int64_t row = 1; row <= 40; row++) {
        struct checkpoint *ck = checkpoint_writer_begin(w);

        if (ck) {
            rig_fill(ck, 0, row, 1);
            checkpoint_writer_submit(w, true);
            submitted = row;
        }
        assert_int_equal(checkpoint_writer_poll(w, &news, &e), ST_OK);
        assert_false(news.failed);
        usleep(2000);
    }
    assert_int_equal(checkpoint_writer_wait(w, &news, &e), ST_OK);
    assert_true(submitted > 0);
    assert_int_equal(rig_expect("ck", 0, submitted), 0);
    checkpoint_writer_close(w);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* They get their memory while nobody has them in hand; one that holds something keeps
 * it. The third is begun only while another one is being saved. */
static void snapshots_are_reserved(void **state)
{
    const struct checkpoint_room room = {100000, 2000, 0, 3000};
    struct checkpoint_store *s = rig_store("reserved", NULL);
    struct checkpoint *seen[2] = {NULL}, *ck;
    struct err e = ERR_INIT;
    struct checkpoint_writer *w;
    int n = 0;

    (void)state;
    assert_int_equal(checkpoint_writer_open(s, NULL, &w, &e), ST_OK);
    ck = checkpoint_writer_begin(w);
    assert_int_equal(checkpoint_floats_size(&ck->cond, (int64_t[]){10, 1, 1, 1}, NULL),
                     ST_OK);
    ck->cond.data[9] = 5.0f;
    checkpoint_writer_reserve(w, &room);
    for (int i = 0; i < 30000 && n < 2; i++) {
        checkpoint_writer_submit(w, false);
        usleep(1000);
        ck = checkpoint_writer_begin(w);
        if (ck->x.room == 100000 && ck != seen[0])
            seen[n++] = ck;
    }
    assert_int_equal(n, 2);
    n = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen[i]->m1.room, 100000);
        assert_int_equal(seen[i]->uncond.room, 0);
        assert_int_equal(seen[i]->finished.room, 3000);
        n += seen[i]->cond.room == 10 && seen[i]->cond.data[9] == 5.0f;
    }
    assert_int_equal(n, 1);
    checkpoint_writer_close(w);
    checkpoint_store_close(s);
    rig_remove("reserved");
}

static void three_failures_in_a_row_are_an_error(void **state)
{
    struct fault f = {"fsync", ENOSPC, 0};
    struct checkpoint_hook hook = {fault_at, &f};
    struct checkpoint_store *s = rig_store("ck", &hook);
    struct checkpoint_writer *w;
    struct checkpoint_news news;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(checkpoint_writer_open(s, NULL, &w, &e), ST_OK);
    for (int i = 1; i <= CHECKPOINT_FAILURES_MAX; i++) {
        rig_fill(checkpoint_writer_begin(w), 0, i, 1);
        checkpoint_writer_submit(w, true);
        assert_int_equal(checkpoint_writer_wait(w, &news, &e), ST_RESOURCE);
        assert_true(news.failed && !news.saved);
        assert_int_equal(checkpoint_writer_poll(w, &news, &e),
                         i < CHECKPOINT_FAILURES_MAX ? ST_OK : ST_RESOURCE);
    }
    checkpoint_writer_close(w);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* Snapshots that nobody has asked to save are saved when there is a hurry, by the
 * thread, once, and older generations stay. */
static void the_newest_is_saved_in_a_hurry(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct checkpoint_writer *w;
    struct checkpoint_news news;
    struct err e = ERR_INIT;
    int64_t row = 0;

    (void)state;
    assert_int_equal(checkpoint_writer_open(s, NULL, &w, &e), ST_OK);
    assert_int_equal(checkpoint_writer_hurry(w, &row, &e), ST_OK);
    assert_int_equal(row, -1);
    for (int64_t i = 1; i <= 2; i++)
        assert_int_equal(rig_save(s, 0, i, &e), ST_OK);
    for (int64_t i = 3; i <= 9; i++) {
        rig_fill(checkpoint_writer_begin(w), 0, i, 1);
        checkpoint_writer_submit(w, false);
    }
    assert_false(checkpoint_writer_busy(w));
    assert_int_equal(rig_expect("ck", 0, 2), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(checkpoint_writer_hurry(w, &row, &e), ST_OK);
        assert_int_equal(row, 9);
        assert_int_equal(rig_expect("ck", 0, 9), 0);
        checkpoint_writer_poll(w, &news, &e);
        assert_int_equal(news.saved, i == 0);
    }
    assert_int_equal(rig_files("ck", false), 3); /* rows 1, 2 and 9 */
    checkpoint_writer_close(w);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* What the snapshot still needs is done by the thread, once. */
static int finished;

static enum status finish_count(struct checkpoint *ck, struct err *e)
{
    (void)e;
    finished++;
    ck->x.data[0] += 1.0f;
    return ST_OK;
}

static void snapshots_are_finished_once(void **state)
{
    struct fault f = {"fsync", ENOSPC, 0};
    struct checkpoint_hook hook = {fault_at, &f};
    struct checkpoint_store *s = rig_store("ck", &hook);
    struct checkpoint_writer *w;
    struct checkpoint_news news;
    struct err e = ERR_INIT;
    int64_t row;

    (void)state;
    finished = 0;
    assert_int_equal(checkpoint_writer_open(s, finish_count, &w, &e), ST_OK);
    rig_fill(checkpoint_writer_begin(w), 0, 1, 1);
    checkpoint_writer_submit(w, true);
    assert_int_equal(checkpoint_writer_wait(w, &news, &e), ST_RESOURCE);
    assert_int_equal(checkpoint_writer_hurry(w, &row, &e), ST_RESOURCE);
    assert_int_equal(finished, 1);
    checkpoint_writer_close(w);
    checkpoint_store_close(s);
    rig_remove("ck");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_comes_back),
        cmocka_unit_test(kinds_hold_what_they_must),
        cmocka_unit_test(two_generations_are_kept),
        cmocka_unit_test(strange_names_are_not_looked_at),
        cmocka_unit_test(every_failing_stage_keeps_what_was_there),
        cmocka_unit_test(a_kill_at_every_stage_keeps_what_was_there),
        cmocka_unit_test(short_writes_are_gone_on_with),
        cmocka_unit_test(a_disk_that_lies_is_found_out),
        cmocka_unit_test(values_that_are_not_finite_are_not_saved),
        cmocka_unit_test(a_full_disk_keeps_what_was_there),
        cmocka_unit_test(a_file_size_limit_keeps_what_was_there),
        cmocka_unit_test(a_stale_incarnation_stops_and_touches_nothing),
        cmocka_unit_test(another_job_is_refused_with_its_keys),
        cmocka_unit_test(only_what_keeps_the_video_can_be_accepted),
        cmocka_unit_test(schedules_and_texts_have_digests),
        cmocka_unit_test(the_writer_saves_while_the_run_goes_on),
        cmocka_unit_test(snapshots_are_reserved),
        cmocka_unit_test(three_failures_in_a_row_are_an_error),
        cmocka_unit_test(the_newest_is_saved_in_a_hurry),
        cmocka_unit_test(snapshots_are_finished_once),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, rig_enter, rig_leave);
}
