/* probe.c - looks into what the program has written, for the shell tests beside it
 *
 *     probe frames FILE             "48x16 24 29": size, frames per second, frames
 *     probe tag FILE KEY            the bytes of a metadata tag
 *     probe json FILE [KEY...]      check JSON lines; print members of the last one
 *     probe h5 FILE NAME RANK       "16x2x2x6 <hash>": shape and hash of an array
 *     probe attr FILE NAME          a text attribute of the root
 *     probe h5make FILE NAME DIMS   write an array of small numbers
 *     probe relaunch FILE TEXT FOLDER   save the checkpoint FILE with another launch
 *     probe peak OUT COMMAND...     run it; peak memory in bytes goes to the file OUT
 *     probe signal N WORD COMMAND.. run it; when a line of its stderr holds WORD send
 *                                   signal N; prints "signal N" or "exit CODE"
 *     probe hold N MS WORD COUNT PATTERN COMMAND...
 *                                   the same, but from that line on wait until COUNT
 * files match PATTERN, and MS milliseconds more
 *
 * A command that is to be signalled is never more than a line ahead of us, however slow
 * we are: another one waits until we have read. So a run is held where it is by not
 * reading, and goes on for a row at a time while checkpoints are waited for.
 *
 * Exit code 0, or 1 with a line on stderr; `peak` passes the command's code on.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/checkpoint/store.h"
#include "engine/h5/h5.h"
#include "engine/media/media.h"
#include "kernels/base/hash.h"
#include "kernels/base/json.h"

enum { LINE_BYTES = 1 << 20, VALUES_MAX = 1 << 24 };

/* How long a run that writes no checkpoint is held, and one that does. */
enum { MOMENT_MS = 5, MOMENTS = 60, MOMENTS_MAX = 24000 };

static int complain(const struct err *e)
{
    fprintf(stderr, "probe: %s\n", e->text);
    return 1;
}

/* ---- videos ---------------------------------------------------------------------- */

struct video {
    struct media_reader *reader;
    struct media_info info;
    size_t bytes; /* of a frame */
    uint8_t *rgb;
};

static enum status video_open(struct video *v, const char *path, struct err *e)
{
    TRY(media_read_open(path, &v->reader, e));
    media_read_info(v->reader, &v->info);
    v->bytes = (size_t)v->info.width * (size_t)v->info.height * 3;
    v->rgb = malloc(v->bytes);
    return v->rgb ? ST_OK : err_set(e, ST_RESOURCE, "out of memory");
}

static void video_close(struct video *v)
{
    media_read_close(v->reader);
    free(v->rgb);
}

static int frames_print(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct video v;
    bool got = true;
    int n = -1;

    (void)argc;
    if (video_open(&v, argv[0], &e) != ST_OK)
        return complain(&e);
    for (; got; n++) {
        if (media_read_frame(v.reader, v.rgb, &got, &e) != ST_OK)
            return complain(&e);
    }
    printf("%dx%d %d %d\n", v.info.width, v.info.height, v.info.fps_num, n);
    video_close(&v);
    return 0;
}

static int tag_print(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct video v;
    const char *value;

    (void)argc;
    if (video_open(&v, argv[0], &e) != ST_OK)
        return complain(&e);
    value = media_read_tag(v.reader, argv[1]);
    if (value)
        fputs(value, stdout);
    else
        fprintf(stderr, "probe: no tag '%s'\n", argv[1]);
    video_close(&v);
    return value ? 0 : 1;
}

/* ---- JSON ------------------------------------------------------------------------ */

static void value_print(struct json_value v)
{
    const char *text;
    double d;
    bool flag;

    if (json_string(v, &text, NULL) == ST_OK)
        printf("%s\n", text);
    else if (json_bool(v, &flag, NULL) == ST_OK)
        printf("%s\n", flag ? "true" : "false");
    else if (json_double(v, -1e300, 1e300, &d, NULL) == ST_OK)
        printf("%.17g\n", d);
    else
        printf("?\n");
}

/* One document, or, when the file as a whole is none, one on each line. */
static int json_print(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct json *doc = NULL;
    FILE *f;
    char *line;

    if (json_read(argv[0], &JSON_LIMITS_CONFIG, &doc, &e) != ST_OK) {
        f = fopen(argv[0], "re");
        line = malloc(LINE_BYTES);
        while (f && line && fgets(line, LINE_BYTES, f)) {
            json_close(doc);
            doc = NULL;
            if (json_parse(argv[0], line, strlen(line), &JSON_LIMITS_CONFIG, &doc,
                           &e) != ST_OK)
                return complain(&e);
        }
        free(line);
        if (f)
            fclose(f);
    }
    if (!doc)
        return complain(&e);
    for (int i = 1; i < argc; i++) {
        struct json_value v = json_root(doc);
        char *rest = argv[i];
        size_t len;

        for (; *rest; rest += len) {
            len = strcspn(rest, ".");
            if (rest[len])
                rest[len++] = '\0';
            v = json_find(v, rest);
        }
        value_print(v);
    }
    json_close(doc);
    return 0;
}

/* ---- HDF5 ------------------------------------------------------------------------ */

static int h5_print(int argc, char **argv)
{
    struct h5_array a = {.path = argv[1], .max_count = VALUES_MAX};
    struct err e = ERR_INIT;
    int64_t count = 1;

    (void)argc;
    a.rank = (int)strtol(argv[2], NULL, 10);
    for (int i = 0; i < a.rank; i++)
        a.dims[i] = -1;
    if (h5_read(argv[0], &a, 1, NULL, 0, &e) != ST_OK)
        return complain(&e);
    for (int i = 0; i < a.rank; i++) {
        printf("%s%" PRId64, i ? "x" : "", a.dims[i]);
        count *= a.dims[i];
    }
    a.data = malloc((size_t)count * sizeof(float));
    if (!a.data || h5_read(argv[0], &a, 1, NULL, 0, &e) != ST_OK)
        return complain(&e);
    printf(" %016" PRIx64 "\n", hash_fnv1a(a.data, (size_t)count * sizeof(float)));
    free(a.data);
    return 0;
}

static int attr_print(int argc, char **argv)
{
    static char text[H5_TEXT_MAX + 1];
    struct h5_attr a = {.object = "",
                        .name = argv[1],
                        .kind = H5_ATTR_TEXT,
                        .text = text,
                        .text_bytes = sizeof(text)};
    struct err e = ERR_INIT;

    (void)argc;
    if (h5_read(argv[0], NULL, 0, &a, 1, &e) != ST_OK)
        return complain(&e);
    fputs(text, stdout);
    return 0;
}

static int h5_make(int argc, char **argv)
{
    int64_t dims[H5_RANK_MAX], count = 1;
    int rank = argc - 2;
    struct h5_writer *w;
    struct err e = ERR_INIT;
    float *data;

    for (int i = 0; i < rank; i++) {
        dims[i] = strtoll(argv[2 + i], NULL, 10);
        count *= dims[i];
    }
    data = malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; data && i < count; i++)
        data[i] = (float)(i % 7) * 0.25f - 0.75f;
    if (h5_create(argv[0], true, &w, &e) != ST_OK ||
        h5_put(w, argv[1], rank, dims, data, &e) != ST_OK || h5_commit(w, &e) != ST_OK)
        return complain(&e);
    free(data);
    return 0;
}

static enum status launch_change(const char *path, const char *text, const char *folder,
                                 struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint ck = {0};
    struct checkpoint_store *s;
    char *config;

    TRY(checkpoint_read(path, &ck, e));
    config = strdup(ck.config);
    TRY(checkpoint_config(&ck, config, text, e));
    free(config);
    TRY(checkpoint_store_open(folder, true, &o, &s, e));
    TRY(checkpoint_claim(s, e));
    TRY(checkpoint_save(s, &ck, NULL, e));
    checkpoint_store_close(s);
    checkpoint_release(&ck);
    return ST_OK;
}

static int relaunch(int argc, char **argv)
{
    struct err e = ERR_INIT;

    (void)argc;
    return launch_change(argv[0], argv[1], argv[2], &e) == ST_OK ? 0 : complain(&e);
}

/* ---- other programs -------------------------------------------------------------- */

static int exec_failed(char **argv)
{
    fprintf(stderr, "probe: cannot run '%s': %s\n", argv[0], strerror(errno));
    return 127;
}

static int peak_run(int argc, char **argv)
{
    struct rusage used;
    pid_t child = fork();
    int how = 0;
    FILE *f;

    (void)argc;
    if (child == 0) {
        execv(argv[1], argv + 1);
        _exit(exec_failed(argv + 1));
    }
    if (child < 0 || wait4(child, &how, 0, &used) != child)
        return exec_failed(argv + 1);
    f = fopen(argv[0], "we");
    if (!f)
        return exec_failed(argv);
    fprintf(f, "%ld\n", used.ru_maxrss * 1024);
    fclose(f);
    return WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
}

/* What a command is sent, and when. */
struct plan {
    int number; /* of the signal */
    int pause_ms;
    const char *word;
    size_t count; /* of files that match `pattern` */
    const char *pattern;
};

static bool are_there(const char *pattern, size_t count)
{
    glob_t found = {0};
    bool enough = glob(pattern, GLOB_BRACE, NULL, &found) == 0 &&
                  found.gl_pathc >= count;

    globfree(&found);
    return enough;
}

/* The files are there, at once or while the run waits for us: as long as a checkpoint
 * is being written, and a moment for the next one to be begun. */
static bool files_await(const struct plan *p)
{
    const char *slash = p->count ? strrchr(p->pattern, '/') : NULL;
    char writing[4096];

    if (!slash)
        return true;
    snprintf(writing, sizeof(writing), "%.*s/.ck-*.tmp", (int)(slash - p->pattern),
             p->pattern);
    for (int i = 0, idle = 0; i < MOMENTS_MAX && idle < MOMENTS; i++) {
        if (are_there(p->pattern, p->count))
            return true;
        idle = are_there(writing, 1) ? 0 : idle + 1;
        usleep(1000 * MOMENT_MS);
    }
    return false;
}

/* Copy lines of the child's stderr to ours; once the moment has come, signal it. */
static void watch(FILE *lines, pid_t child, const struct plan *p)
{
    bool begun = false, sent = false;
    char line[4096];

    while (fgets(line, sizeof(line), lines)) {
        fputs(line, stderr);
        begun = begun || strstr(line, p->word);
        if (begun && !sent && files_await(p)) {
            usleep(1000u * (unsigned)p->pause_ms);
            kill(child, p->number);
            sent = true;
        }
    }
}

/* A pipe that holds one write, where the system has that. */
static int pipe_make(int ends[2])
{
    if (pipe2(ends, O_DIRECT) != 0)
        return pipe(ends);
    fcntl(ends[1], F_SETPIPE_SZ, 1);
    return 0;
}

static int plan_run(const struct plan *p, char **command)
{
    int ends[2], how = 0;
    FILE *lines;
    pid_t child;

    if (pipe_make(ends) != 0)
        return exec_failed(command);
    child = fork();
    if (child == 0) {
        signal(p->number, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(command[0], command);
        _exit(exec_failed(command));
    }
    close(ends[1]);
    lines = fdopen(ends[0], "r");
    if (child < 0 || !lines)
        return exec_failed(command);
    watch(lines, child, p);
    fclose(lines);
    if (waitpid(child, &how, 0) != child)
        return exec_failed(command);
    if (WIFSIGNALED(how))
        printf("signal %d\n", WTERMSIG(how));
    else
        printf("exit %d\n", WEXITSTATUS(how));
    return 0;
}

static int number_of(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

static int signal_run(int argc, char **argv)
{
    struct plan p = {.number = number_of(argv[0]), .word = argv[1]};

    (void)argc;
    return plan_run(&p, argv + 2);
}

static int hold_run(int argc, char **argv)
{
    struct plan p = {.number = number_of(argv[0]),
                     .pause_ms = number_of(argv[1]),
                     .word = argv[2],
                     .count = (size_t)number_of(argv[3]),
                     .pattern = argv[4]};

    (void)argc;
    return plan_run(&p, argv + 5);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        int at_least;
    } commands[] = {
        {"frames", frames_print, 1}, {"tag", tag_print, 2},   {"json", json_print, 1},
        {"h5", h5_print, 3},         {"attr", attr_print, 2}, {"h5make", h5_make, 3},
        {"relaunch", relaunch, 3},   {"peak", peak_run, 2},   {"signal", signal_run, 3},
        {"hold", hold_run, 6},
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, argv[1]) == 0 && argc - 2 >= commands[i].at_least)
            return commands[i].run(argc - 2, argv + 2);
    }
    fprintf(stderr, "probe: see the head of tests/cli/probe.c\n");
    return 1;
}
