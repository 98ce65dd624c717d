/* harness.c - hands one malformed file to its reader and judges what comes out */
#include "tests/malformed/harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/weights/model.h"
#include "engine/weights/safetensors.h"
#include "tests/scratch.h"

enum { MEMORY_KIB = 64 << 10, TIME_MS = 1000, HANG_MS = 120000 };

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#else
enum { SANITIZED = 0 };
#endif

/* What a process that tried a file reports. */
struct outcome {
    enum status st;
    long kib, ms;
    char text[ERR_TEXT_BYTES];
};

struct reader {
    const char *corpus; /* folder of the seeds */
    const char *file;   /* what is written, below the scratch folder */
    enum status (*open)(struct err *e);
};

static struct scratch scratch;
static const char *write_folder;
static int cases, failures;
static long most_kib, most_ms;
static char slowest[64], largest[64];

/* ---- readers -------------------------------------------------------------------- */

static enum status open_json(struct err *e)
{
    struct json *doc;

    TRY(json_read(scratch_path(&scratch, "bad.json"), &JSON_LIMITS_CONFIG, &doc, e));
    json_close(doc);
    return ST_OK;
}

static enum status open_file(struct err *e)
{
    struct source *s;

    TRY(source_open(scratch_path(&scratch, "bad.bin"), &s, e));
    source_close(s);
    return ST_OK;
}

static enum status open_index(struct err *e)
{
    struct folder dir;
    struct source *s;
    enum status st;

    TRY(folder_open(scratch_path(&scratch, "index"), &dir, e));
    st = source_open_at(&dir, "bad.safetensors.index.json", &s, e);
    folder_close(&dir);
    if (st == ST_OK)
        source_close(s);
    return st;
}

static enum status open_model(const char *folder, struct err *e)
{
    struct model_options look = {.look = true};
    struct model *m;

    TRY(model_open(scratch_path(&scratch, folder), &look, &m, e));
    model_close(m);
    return ST_OK;
}

static enum status open_dit(struct err *e)
{
    return open_model("dit", e);
}

static enum status open_text(struct err *e)
{
    return open_model("text", e);
}

static enum status open_vae(struct err *e)
{
    return open_model("vae", e);
}

static const struct reader readers[] = {
    [BAD_JSON] = {"json", "bad.json", open_json},
    [BAD_SAFETENSORS] = {"safetensors", "bad.bin", open_file},
    [BAD_INDEX] = {"index", "index/bad.safetensors.index.json", open_index},
    [BAD_CONFIG_DIT] = {"config", "dit/config.json", open_dit},
    [BAD_CONFIG_TEXT] = {"config", "text/text_encoder/config.json", open_text},
    [BAD_CONFIG_VAE] = {"config", "vae/vae/config.json", open_vae},
    [BAD_PICKLE] = {"pickle", "bad.bin", open_file},
    [BAD_PTH] = {"pth", "bad.bin", open_file},
};

/* ---- one attempt ---------------------------------------------------------------- */

/* A "Vm…:  123 kB" line of our own status, or 0. */
static long memory_kib(const char *key)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");
    long kib = 0;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key), NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

/* Make the peak the memory of now. */
static void memory_peak_reset(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");

    if (f) {
        fputs("5", f);
        fclose(f);
    }
}

/* Of this process alone: the machine may be busy with other things. */
static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void attempt(const struct reader *r, int pipe_fd)
{
    struct outcome o = {.st = ST_OK};
    struct err e = ERR_INIT;
    long before, start = now_ms();

    memory_peak_reset();
    before = memory_kib("VmHWM:");
    o.st = r->open(&e);
    o.kib = memory_kib("VmHWM:") - before;
    o.ms = now_ms() - start;
    memcpy(o.text, e.text, sizeof(o.text));
    _exit(write(pipe_fd, &o, sizeof(o)) == sizeof(o) ? 0 : 1);
}

/* NULL, or what went wrong with the process itself. */
static const char *attempt_run(const struct reader *r, struct outcome *o)
{
    int fds[2], status = 0;
    struct pollfd poll_fd;
    bool whole;
    pid_t pid;

    fflush(NULL);
    if (pipe(fds) != 0 || (pid = fork()) < 0)
        return "cannot start a process";
    if (pid == 0)
        attempt(r, fds[1]);
    close(fds[1]);
    poll_fd = (struct pollfd){fds[0], POLLIN, 0};
    whole = poll(&poll_fd, 1, HANG_MS) > 0 && read(fds[0], o, sizeof(*o)) == sizeof(*o);
    close(fds[0]);
    if (!whole)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return whole && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL
                                                                  : "crashed or hung";
}

static const char *judge(const struct reader *r, const struct outcome *o,
                         enum status wanted, const char *reason)
{
    const char *file = strrchr(r->file, '/') ? strrchr(r->file, '/') + 1 : r->file;

    if (o->st != wanted)
        return "wrong status";
    if (!SANITIZED && o->ms > TIME_MS)
        return "too slow";
    if (!SANITIZED && o->kib > MEMORY_KIB)
        return "too much memory";
    if (wanted == ST_OK)
        return NULL;
    if (!o->text[0] || strchr(o->text, '\n'))
        return "not one line";
    if (!strstr(o->text, file) && !(reason && strstr(reason, ".safetensors'")))
        return "file not named";
    return reason && !strstr(o->text, reason) ? "another reason" : NULL;
}

/* ---- cases ---------------------------------------------------------------------- */

static void seed_write(const struct reader *r, const char *name, const void *data,
                       size_t bytes)
{
    struct scratch to;
    char rel[512];
    size_t n;

    snprintf(to.path, sizeof(to.path), "%s", write_folder[0] == '/' ? "" : ".");
    n = (size_t)snprintf(rel, sizeof(rel), "%s/%s/", write_folder, r->corpus);
    for (; *name && n + 1 < sizeof(rel); name++)
        rel[n++] = *name == ' ' || *name == '/' ? '-' : *name;
    rel[n] = '\0';
    if (bytes <= 65536)
        scratch_write(&to, rel, data, bytes);
}

static void record(const char *name, const struct outcome *o)
{
    if (o->kib > most_kib) {
        most_kib = o->kib;
        snprintf(largest, sizeof(largest), "%s", name);
    }
    if (o->ms > most_ms) {
        most_ms = o->ms;
        snprintf(slowest, sizeof(slowest), "%s", name);
    }
}

void bad_status(enum family family, const char *name, const void *data, size_t bytes,
                enum status wanted, const char *reason)
{
    const struct reader *r = &readers[family];
    struct outcome o = {.st = ST_OK};
    const char *wrong;

    cases++;
    if (write_folder) {
        seed_write(r, name, data, bytes);
        return;
    }
    if (family == BAD_PICKLE) {
        struct zip_made z;

        pth_make(&z, data, bytes);
        scratch_write(&scratch, r->file, z.bytes.data, z.bytes.len);
        buf_release(&z.bytes);
    } else {
        scratch_write(&scratch, r->file, data, bytes);
    }
    wrong = attempt_run(r, &o);
    if (!wrong)
        wrong = judge(r, &o, wanted, reason);
    record(name, &o);
    if (!wrong)
        return;
    failures++;
    printf("%s, '%s': %s: status %d, %ld KiB, %ld ms, '%s', wanted '%s'\n", r->corpus,
           name, wrong, (int)o.st, o.kib, o.ms, o.text, reason ? reason : "");
}

void bad(enum family family, const char *name, const void *data, size_t bytes,
         const char *reason)
{
    bad_status(family, name, data, bytes, ST_INPUT, reason);
}

void bad_text(enum family family, const char *name, const char *text,
              const char *reason)
{
    bad(family, name, text, strlen(text), reason);
}

int harness_cases(void)
{
    return cases;
}

int harness_failures(void)
{
    return failures;
}

/* Valid neighbours of the bad files: shards of an index, the parts of models. */
static void neighbours_write(void)
{
    static const int64_t two[] = {2};
    const struct safetensors_item x = {"x", DT_F32, 1, two, "abcdefg"};
    const struct safetensors_item yz[] = {{"y", DT_U8, 1, two, "ab"},
                                          {"z", DT_U8, 1, two, "cd"}};

    scratch_text(&scratch, "index/text.safetensors", "not a header");
    scratch_text(&scratch, "index/folder.safetensors/file", "");
    if (safetensors_write(scratch_path(&scratch, "index/a.safetensors"), &x, 1, NULL,
                          NULL) ||
        safetensors_write(scratch_path(&scratch, "index/a2.safetensors"), &x, 1, NULL,
                          NULL) ||
        safetensors_write(scratch_path(&scratch, "index/b.safetensors"), yz, 2, NULL,
                          NULL) ||
        safetensors_write(scratch_path(&scratch, "c.safetensors"), &x, 1, NULL, NULL) ||
        symlink("../c.safetensors", scratch_path(&scratch, "index/l.safetensors")) ||
        symlink("a.safetensors", scratch_path(&scratch, "index/m.safetensors")) ||
        mkfifo(scratch_path(&scratch, "index/fifo.safetensors"), 0666)) {
        printf("cannot write the neighbours\n");
        exit(1);
    }
    scratch_copy_all(&scratch, "dit", FF_GOLDEN_DIR "/dit/wan_a/original");
    scratch_copy_all(&scratch, "text/text_encoder", FF_GOLDEN_DIR "/umt5/text_encoder");
    scratch_copy_all(&scratch, "vae/vae", FF_GOLDEN_DIR "/vae/vae");
}

void harness_open(const char *write_to)
{
    write_folder = write_to;
    if (write_folder)
        return;
    scratch_create(&scratch);
    neighbours_write();
}

void harness_close(void)
{
    if (write_folder)
        return;
    scratch_remove(&scratch);
    printf("most memory %ld KiB (%s), most time %ld ms (%s)\n", most_kib, largest,
           most_ms, slowest);
}
