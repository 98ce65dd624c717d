/* test_h5.c - arrays go to HDF5 files and come back, and nothing half-written stays */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/h5/h5.h"
#include "engine/h5/stream.h"

static char folder[] = "/tmp/ff-h5-XXXXXX";

static int enter(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

/* Names in the folder, the dots left out. */
static int files_left(void)
{
    DIR *d = opendir(".");
    struct dirent *entry;
    int n = -2;

    while ((entry = readdir(d)))
        n++;
    closedir(d);
    return n;
}

static int leave(void **state)
{
    DIR *d = opendir(".");
    struct dirent *entry;

    (void)state;
    while ((entry = readdir(d)))
        unlink(entry->d_name);
    closedir(d);
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static float *ramp(int64_t n)
{
    float *x = malloc((size_t)n * sizeof(*x));

    for (int64_t i = 0; i < n; i++)
        x[i] = (float)i * 0.5f - 3.0f;
    return x;
}

static void write_latents(const char *path, bool force, enum status want)
{
    const int64_t dims[] = {2, 3, 4, 5};
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;
    float *x = ramp(120);

    if (h5_create(path, force, &w, &e) != ST_OK) {
        assert_int_equal(e.status, want);
        assert_string_equal(e.text,
                            "output 'x.h5' exists already; --force overwrites it");
        free(x);
        return;
    }
    assert_int_equal(h5_put(w, "latents/x", 4, dims, x, &e), ST_OK);
    assert_int_equal(h5_put_int(w, "", "seed", -7, &e), ST_OK);
    assert_int_equal(h5_put_real(w, "latents", "shift", 8.5, &e), ST_OK);
    assert_int_equal(h5_put_text(w, "latents/x", "prompt", "a b\xc3\xa9", &e), ST_OK);
    assert_int_equal(h5_commit(w, &e), want);
    free(x);
}

static void what_is_written_comes_back(void **state)
{
    float x[120], *want = ramp(120);
    char text[16];
    struct h5_array a = {
        .path = "latents/x", .rank = 4, .max_count = 1000, .dims = {-1, 3, -1, -1}};
    struct h5_array none = {
        .path = "latents/y", .rank = 1, .max_count = 1, .dims = {-1}, .optional = true};
    struct h5_attr t[] = {
        {.object = "", .name = "seed", .kind = H5_ATTR_INT},
        {.object = "latents", .name = "shift", .kind = H5_ATTR_REAL},
        {.object = "", .name = "seed", .kind = H5_ATTR_REAL},
        {.object = "latents/x",
         .name = "prompt",
         .kind = H5_ATTR_TEXT,
         .text = text,
         .text_bytes = sizeof(text)},
        {.object = "", .name = "absent", .kind = H5_ATTR_INT, .optional = true},
    };
    struct err e = ERR_INIT;

    (void)state;
    write_latents("x.h5", false, ST_OK);
    assert_int_equal(files_left(), 1);
    assert_int_equal(h5_read("x.h5", &a, 1, t, 5, &e), ST_OK);
    assert_true(a.found && a.dims[0] == 2 && a.dims[2] == 4 && a.dims[3] == 5);
    assert_true(t[0].i == -7 && t[1].f == 8.5 && t[2].f == -7.0 && !t[4].found);
    assert_string_equal(text, "a b\xc3\xa9");
    a.data = x;
    assert_int_equal(h5_read("x.h5", &a, 1, NULL, 0, &e), ST_OK);
    assert_memory_equal(x, want, sizeof(x));
    assert_int_equal(h5_read("x.h5", &none, 1, NULL, 0, &e), ST_OK);
    assert_false(none.found);
    free(want);
}

/* A file that somebody else brings to the disk, with a block of his own in front. */
static void a_built_file_reads_like_any_other(void **state)
{
    const int64_t dims[] = {3, 700};
    static int64_t in[2100], out[2100];
    struct h5_array a = {.path = "a/counter",
                         .rank = 2,
                         .max_count = 2100,
                         .dims = {3, 700},
                         .integers = true,
                         .ints = out};
    struct h5_array as_floats = {
        .path = "a/counter", .rank = 2, .max_count = 2100, .dims = {-1, -1}};
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;
    size_t bytes = 0;
    void *file = NULL;
    int fd;

    (void)state;
    for (int i = 0; i < 2100; i++)
        in[i] = (int64_t)i * -0x123456789abLL;
    assert_int_equal(h5_build("built.h5", 512, &w, &e), ST_OK);
    assert_int_equal(h5_put_ints(w, "a/counter", 2, dims, in, &e), ST_OK);
    assert_int_equal(h5_take(w, &file, &bytes, &e), ST_OK);
    memset(file, 'x', 512);
    fd = open("built.h5", O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, file, bytes), bytes);
    free(file);
    if (h5_read_fd(fd, "built.h5", &a, 1, NULL, 0, &e) != ST_OK)
        fail_msg("%s", e.text);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(h5_read("built.h5", &as_floats, 1, NULL, 0, &e), ST_INPUT);
    assert_int_equal(ftruncate(fd, (off_t)bytes - 1), 0);
    assert_int_equal(h5_read_fd(fd, "built.h5", &a, 1, NULL, 0, &e), ST_INPUT);
    close(fd);
    unlink("built.h5");
    assert_int_equal(h5_build("dropped", 512, &w, &e), ST_OK);
    h5_abandon(w);
}

static void large_arrays_come_back_whole(void **state)
{
    const int64_t dims[] = {3, 5, 301, 599};
    int64_t n = dims[0] * dims[1] * dims[2] * dims[3];
    float *x = ramp(n), *y = calloc((size_t)n, sizeof(*y));
    struct h5_array a = {.path = "0/1/2",
                         .rank = 4,
                         .max_count = n,
                         .data = y,
                         .dims = {3, 5, 301, 599}};
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(h5_create("large.h5", false, &w, &e), ST_OK);
    assert_int_equal(h5_put(w, "0/1/2", 4, dims, x, &e), ST_OK);
    assert_int_equal(h5_commit(w, &e), ST_OK);
    assert_int_equal(h5_read("large.h5", &a, 1, NULL, 0, &e), ST_OK);
    assert_memory_equal(x, y, (size_t)n * sizeof(*x));
    free(x);
    free(y);
}

static void same_content_is_same_bytes(void **state)
{
    char a[16384], b[16384];
    int fa, fb;
    ssize_t n;

    (void)state;
    write_latents("one.h5", true, ST_OK);
    sleep(1);
    write_latents("two.h5", true, ST_OK);
    fa = open("one.h5", O_RDONLY);
    fb = open("two.h5", O_RDONLY);
    n = read(fa, a, sizeof(a));
    assert_true(n > 1000 && read(fb, b, sizeof(b)) == n);
    assert_memory_equal(a, b, (size_t)n);
    close(fa);
    close(fb);
}

static void nothing_is_overwritten_without_force(void **state)
{
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;
    int before = files_left();

    (void)state;
    write_latents("x.h5", false, ST_USAGE);
    write_latents("x.h5", true, ST_OK);
    assert_int_equal(h5_create("late.h5", false, &w, &e), ST_OK);
    close(open("late.h5", O_CREAT | O_WRONLY, 0644));
    assert_int_equal(h5_commit(w, &e), ST_USAGE);
    unlink("late.h5");
    assert_int_equal(h5_create("x.h5/y.h5", false, &w, &e), ST_USAGE);
    assert_int_equal(h5_create("nowhere/y.h5", false, &w, &e), ST_USAGE);
    assert_int_equal(h5_create(".", true, &w, &e), ST_USAGE);
    assert_int_equal(h5_create("", true, &w, &e), ST_USAGE);
    assert_int_equal(h5_create("gone.h5", true, &w, &e), ST_OK);
    h5_abandon(w);
    h5_abandon(NULL);
    assert_int_equal(files_left(), before);
}

/* A limit on the size of files is the disk that is full without being root. */
/* Files for noise are open as long as a run lasts. */
static void a_killed_writer_leaves_nothing(void **state)
{
    struct err e = ERR_INIT;
    struct h5_writer *w;
    int before = files_left(), how;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        if (h5_create("killed.h5", true, &w, &e) != ST_OK)
            _exit(1);
        h5_put(w, "x", 1, (int64_t[]){3}, (float[]){1, 2, 3}, &e);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFSIGNALED(how));
    if (files_left() > before && open(".", O_TMPFILE | O_WRONLY, 0600) < 0)
        skip(); /* no nameless files here */
    assert_int_equal(files_left(), before);
}

static void a_full_disk_is_an_error_and_leaves_nothing(void **state)
{
    const int64_t dims[] = {1 << 20};
    const struct rlimit small = {1 << 20, RLIM_INFINITY};
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    float *x = ramp(1 << 20);
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;
    int before = files_left();
    enum status commit;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(h5_create("full.h5", false, &w, &e), ST_OK);
    assert_int_equal(h5_put(w, "x", 1, dims, x, &e), ST_OK);
    setrlimit(RLIMIT_FSIZE, &small);
    commit = h5_commit(w, &e);
    setrlimit(RLIMIT_FSIZE, &all);
    assert_int_equal(commit, ST_RESOURCE);
    assert_non_null(strstr(e.text, "cannot write 'full.h5': "));
    assert_non_null(strstr(e.text, "MiB free"));
    assert_int_equal(files_left(), before);
    free(x);
}

static void a_disk_too_small_is_refused_with_numbers(void **state)
{
    const int64_t dims[] = {1 << 20, 1 << 20, 1 << 10};
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(h5_create("big.h5", false, &w, &e), ST_OK);
    assert_int_equal(h5_put(w, "x", 3, dims, NULL, &e), ST_RESOURCE);
    assert_non_null(strstr(e.text, "4294967297.0 MiB needed"));
    h5_abandon(w);
}

/* The largest text that may be written comes back; one byte more is refused. */
static void long_texts_are_kept_or_refused(void **state)
{
    char *text = calloc(1, H5_TEXT_MAX + 2), *back = calloc(1, H5_TEXT_MAX + 1);
    struct h5_attr t = {.object = "",
                        .name = "job",
                        .kind = H5_ATTR_TEXT,
                        .text = back,
                        .text_bytes = H5_TEXT_MAX + 1};
    struct h5_writer *w = NULL;
    struct err e = ERR_INIT;

    (void)state;
    memset(text, 'x', H5_TEXT_MAX + 1);
    assert_int_equal(h5_create("text.h5", false, &w, &e), ST_OK);
    assert_int_equal(h5_put_text(w, "", "long", text, &e), ST_USAGE);
    text[H5_TEXT_MAX] = '\0';
    assert_int_equal(h5_put_text(w, "", "job", text, &e), ST_OK);
    assert_int_equal(h5_put_text(w, "", "empty", "", &e), ST_OK);
    assert_int_equal(h5_commit(w, &e), ST_OK);
    assert_int_equal(h5_read("text.h5", NULL, 0, &t, 1, &e), ST_OK);
    assert_string_equal(text, back);
    t.name = "empty";
    assert_int_equal(h5_read("text.h5", NULL, 0, &t, 1, &e), ST_OK);
    assert_string_equal(back, "");
    free(text);
    free(back);
}

/* ---- the parent believes nothing that comes through the pipe --------------------- */

struct frame {
    struct wire_head head;
    int64_t value;
};

static enum stream_end stream_of(const void *bytes, size_t n, bool close_it,
                                 struct h5_array *a, int n_arrays, struct h5_attr *t,
                                 int n_attrs, struct err *e)
{
    enum stream_end end;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes, n), n);
    if (close_it)
        close(ends[1]);
    end = stream_read(ends[0], 50, a, n_arrays, t, n_attrs, e);
    close(ends[0]);
    if (!close_it)
        close(ends[1]);
    return end;
}

static void nonsense_in_the_pipe_is_broken(void **state)
{
    static const struct frame frames[] = {
        {{WIRE_END, 0}, 0},    {{WIRE_DATA, 8}, 0},     {{WIRE_SHAPE, 16}, 3},
        {{WIRE_SHAPE, 8}, 0},  {{WIRE_SHAPE, 8}, -1},   {{WIRE_SHAPE, 8}, 11},
        {{WIRE_ABSENT, 8}, 0}, {{WIRE_ERROR, 4096}, 0}, {{0, 0}, 0},
        {{WIRE_SHAPE, 8}, 3},
    };
    struct err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct h5_array a = {.path = "x", .rank = 1, .max_count = 10, .dims = {-1}};

        assert_int_equal(
            stream_of(&frames[i], sizeof(frames[i]), true, &a, 1, NULL, 0, &e),
            STREAM_BROKEN);
    }
}

static void silence_in_the_pipe_is_broken(void **state)
{
    struct h5_array a = {.path = "x", .rank = 1, .max_count = 10, .dims = {-1}};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(stream_of("", 0, false, &a, 1, NULL, 0, &e), STREAM_BROKEN);
}

static void values_beyond_the_shape_are_broken(void **state)
{
    struct {
        struct frame shape;
        struct wire_head head;
        float values[4];
    } sent = {{{WIRE_SHAPE, 8}, 3}, {WIRE_DATA, 16}, {1, 2, 3, 4}};
    float room[3];
    struct h5_array a = {
        .path = "x", .rank = 1, .max_count = 3, .dims = {3}, .data = room};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(stream_of(&sent, sizeof(sent), true, &a, 1, NULL, 0, &e),
                     STREAM_BROKEN);
    sent.head.bytes = 12;
    sent.values[1] = NAN;
    assert_int_equal(stream_of(&sent, sizeof(sent), true, &a, 1, NULL, 0, &e),
                     STREAM_REFUSED);
    assert_string_equal(e.text, "dataset 'x' is not finite at element 1");
}

static void long_or_odd_texts_are_refused(void **state)
{
    struct {
        struct wire_head head;
        char text[8];
    } sent = {{WIRE_VALUE, 8}, {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}};
    char room[9];
    struct h5_attr t = {
        .object = "", .name = "t", .kind = H5_ATTR_TEXT, .text = room, .text_bytes = 8};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(stream_of(&sent, sizeof(sent), true, NULL, 0, &t, 1, &e),
                     STREAM_BROKEN);
    t.text_bytes = 9;
    sent.text[2] = '\xff';
    assert_int_equal(stream_of(&sent, sizeof(sent), true, NULL, 0, &t, 1, &e),
                     STREAM_REFUSED);
    sent.text[2] = '\0';
    assert_int_equal(stream_of(&sent, sizeof(sent), true, NULL, 0, &t, 1, &e),
                     STREAM_REFUSED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(a_built_file_reads_like_any_other),
        cmocka_unit_test(large_arrays_come_back_whole),
        cmocka_unit_test(same_content_is_same_bytes),
        cmocka_unit_test(nothing_is_overwritten_without_force),
        cmocka_unit_test(a_killed_writer_leaves_nothing),
        cmocka_unit_test(a_full_disk_is_an_error_and_leaves_nothing),
        cmocka_unit_test(a_disk_too_small_is_refused_with_numbers),
        cmocka_unit_test(long_texts_are_kept_or_refused),
        cmocka_unit_test(nonsense_in_the_pipe_is_broken),
        cmocka_unit_test(silence_in_the_pipe_is_broken),
        cmocka_unit_test(values_beyond_the_shape_are_broken),
        cmocka_unit_test(long_or_odd_texts_are_refused),
    };
    int code = h5_child_main(argc, argv);

    if (code >= 0)
        return code;
    return cmocka_run_group_tests(tests, enter, leave);
}
