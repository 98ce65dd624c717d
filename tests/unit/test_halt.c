/* test_halt.c - what a signal does while a run cannot look; leftovers of killed runs */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/h5/h5.h"
#include "engine/pipeline/halt.h"
#include "engine/pipeline/leftovers.h"
#include "tests/unit/checkpoint_rig.h"

/* Longer than the thread waits for a run. */
enum { WATCHED_MS = HALT_PATIENCE_MS + 300 };

static volatile sig_atomic_t sig;
static const struct job job = {.output = (char *)"nowhere.y4m"};

struct end {
    sem_t came;
    int times;
    char text[256];
};

/* Unlike the real one it comes back, so that the test goes on. */
static void end_note(void *ctx, const char *text)
{
    struct end *end = ctx;

    end->times++;
    snprintf(end->text, sizeof(end->text), "%s", text);
    sem_post(&end->came);
}

struct rig {
    struct end end;
    int fd;
    struct halt *halt;
};

static void rig_open(struct rig *r)
{
    struct halt_args a = {.signal = &sig, .leads = true, .job = &job, .end = end_note};
    struct err e = ERR_INIT;

    memset(r, 0, sizeof(*r));
    sem_init(&r->end.came, 0, 0);
    r->fd = eventfd(0, EFD_NONBLOCK);
    a.fd = r->fd;
    a.ctx = &r->end;
    assert_int_equal(halt_open(&r->halt, &a, &e), ST_OK);
}

static void rig_signal(struct rig *r, int number)
{
    uint64_t one = 1;

    sig = number;
    assert_int_equal(write(r->fd, &one, sizeof(one)), sizeof(one));
}

static void rig_await(struct rig *r, const char *text)
{
    struct timespec limit;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    assert_int_equal(sem_timedwait(&r->end.came, &limit), 0);
    assert_non_null(strstr(r->end.text, text));
}

/* How often the thread has called. */
static int rig_end(struct rig *r)
{
    halt_close(r->halt);
    sem_destroy(&r->end.came);
    close(r->fd);
    sig = 0;
    return r->end.times;
}

static void rig_close(struct rig *r, int times)
{
    assert_int_equal(rig_end(r), times);
}

static long ms_since(const struct timespec *then)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1000 * (now.tv_sec - then->tv_sec) + (now.tv_nsec - then->tv_nsec) / 1000000;
}

static void loading_ends_at_once(void **state)
{
    static const int all[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP};

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig r;

        rig_open(&r);
        rig_signal(&r, all[i]);
        rig_await(&r, "while loading: nothing is saved yet");
        rig_close(&r, 1);
    }
}

static void a_hard_signal_saves_the_newest_row(void **state)
{
    struct checkpoint_store *s = rig_store("ck", NULL);
    struct checkpoint_writer *w;
    struct err e = ERR_INIT;
    struct rig r;

    (void)state;
    assert_int_equal(checkpoint_writer_open(s, NULL, &w, &e), ST_OK);
    rig_open(&r);
    halt_stage(r.halt, HALT_ROWS, w);
    for (int row = 1; row <= 7; row++) {
        rig_fill(checkpoint_writer_begin(w), 0, row, 1);
        checkpoint_writer_submit(w, row == 2);
    }
    rig_signal(&r, SIGTERM);
    rig_await(&r, "stopped on request at row 7");
    rig_close(&r, 1);
    assert_int_equal(rig_expect("ck", 0, 7), 0);
    checkpoint_writer_close(w);
    checkpoint_store_close(s);
    rig_remove("ck");
}

/* USR1 is for the next row; TERM behind it is not. */
static void a_soft_signal_waits_for_the_row(void **state)
{
    struct rig r;

    (void)state;
    rig_open(&r);
    halt_stage(r.halt, HALT_ROWS, NULL);
    rig_signal(&r, SIGUSR1);
    usleep(1000 * WATCHED_MS);
    assert_int_equal(r.end.times, 0);
    rig_signal(&r, SIGTERM);
    rig_await(&r, "nothing is saved");
    rig_close(&r, 1);
}

/* How often it was ended by force; -1 when we were too late for its patience. */
static int decoding_that_closes(void)
{
    struct timespec sent;
    struct rig r;
    int times;
    bool late;

    rig_open(&r);
    halt_stage(r.halt, HALT_DECODE, NULL);
    clock_gettime(CLOCK_MONOTONIC, &sent);
    rig_signal(&r, SIGUSR1);
    usleep(100000);
    halt_stage(r.halt, HALT_CLOSING, NULL);
    late = ms_since(&sent) >= HALT_PATIENCE_MS;
    usleep(1000 * WATCHED_MS);
    times = rig_end(&r);
    return late ? -1 : times;
}

static void a_run_that_ends_by_itself_is_left_alone(void **state)
{
    int times = -1;
    struct rig r;

    (void)state;
    rig_open(&r);
    halt_stage(r.halt, HALT_CLOSING, NULL);
    rig_signal(&r, SIGTERM);
    usleep(1000 * WATCHED_MS);
    rig_close(&r, 0);

    for (int i = 0; i < 20 && times < 0; i++)
        times = decoding_that_closes();
    assert_int_equal(times, 0);
}

static void decoding_ends_after_a_while(void **state)
{
    struct rig r;

    (void)state;
    rig_open(&r);
    halt_stage(r.halt, HALT_DECODE, NULL);
    rig_signal(&r, SIGUSR1);
    rig_await(&r, "while decoding");
    rig_close(&r, 1);
}

/* ---- leftovers ------------------------------------------------------------------- */

static void leftovers_are_known_by_their_names(void **state)
{
    static const struct {
        const char *entry;
        bool is;
    } cases[] = {
        {"a.y4m.123-0.part", true},
        {"a.y4m.1-99.part", true},
        {".a.y4m.0123456789abcdef.tmp", true},
        {"a.y4m", false},
        {"a.y4m.part", false},
        {"a.y4m.x-0.part", false},
        {"a.y4m.12-.part", false},
        {"a.y4m.12-0.part2", false},
        {"b.y4m.123-0.part", false},
        {"xa.y4m.123-0.part", false},
        {".a.y4m.0123456789abcde.tmp", false},
        {".a.y4m.0123456789abcdefa.tmp", false},
        {".0123456789abcdef.tmp", false},
        {"a.y4m.checkpoints", false},
    };
    char name[251], entry[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(leftover_of("a.y4m", cases[i].entry), cases[i].is);
    memset(name, 'n', 250); /* temporary names hold the first 200 bytes of it */
    name[250] = '\0';
    snprintf(entry, sizeof(entry), "%.200s.77-0.part", name);
    assert_true(leftover_of(name, entry));
}

static void leftovers_go_and_nothing_else(void **state)
{
    struct job of = {.output = (char *)"out/pngs/", .save_noise = (char *)"n.h5"};

    (void)state;
    mkdir("out", 0777);
    mkdir("out/pngs.12-0.part", 0777);
    rig_write("out/pngs.12-0.part/frame_000000.png", (const unsigned char *)"x", 1);
    rig_write("out/pngs.y4m.12-0.part", (const unsigned char *)"x", 1);
    rig_write(".n.h5.00112233445566aa.tmp", (const unsigned char *)"x", 1);
    rig_write(".m.h5.00112233445566aa.tmp", (const unsigned char *)"x", 1);
    leftovers_remove(&of);
    assert_int_not_equal(access("out/pngs.12-0.part", F_OK), 0);
    assert_int_not_equal(access(".n.h5.00112233445566aa.tmp", F_OK), 0);
    assert_int_equal(access("out/pngs.y4m.12-0.part", F_OK), 0);
    assert_int_equal(access(".m.h5.00112233445566aa.tmp", F_OK), 0);
    unlink(".m.h5.00112233445566aa.tmp");
    unlink("out/pngs.y4m.12-0.part");
    rmdir("out");
}

/* A run that has not heard yet: writes frames into its folder until that is gone. */
static void *frames_write(void *ctx)
{
    const int *dir = ctx;
    char name[32];
    int fd;

    for (int i = 2000;; i++) {
        snprintf(name, sizeof(name), "frame_%06d.png", i);
        fd = openat(*dir, name, O_CREAT | O_WRONLY, 0666);
        if (fd < 0)
            return NULL;
        close(fd);
        usleep(100);
    }
}

static void leftovers_go_while_a_run_writes(void **state)
{
    struct job of = {.output = (char *)"busy/"};
    char name[32];
    pthread_t run;
    int dir;

    (void)state;
    assert_int_equal(mkdir("busy.12-0.part", 0777), 0);
    dir = open("busy.12-0.part", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 2000; i++) { /* which takes longer than a frame */
        snprintf(name, sizeof(name), "frame_%06d.png", i);
        close(openat(dir, name, O_CREAT | O_WRONLY, 0666));
    }
    assert_int_equal(pthread_create(&run, NULL, frames_write, &dir), 0);
    leftovers_remove(&of);
    assert_int_not_equal(access("busy.12-0.part", F_OK), 0);
    pthread_join(run, NULL);
    close(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_ends_at_once),
        cmocka_unit_test(a_hard_signal_saves_the_newest_row),
        cmocka_unit_test(a_soft_signal_waits_for_the_row),
        cmocka_unit_test(a_run_that_ends_by_itself_is_left_alone),
        cmocka_unit_test(decoding_ends_after_a_while),
        cmocka_unit_test(leftovers_are_known_by_their_names),
        cmocka_unit_test(leftovers_go_and_nothing_else),
        cmocka_unit_test(leftovers_go_while_a_run_writes),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, rig_enter, rig_leave);
}
