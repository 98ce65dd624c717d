/* checkpoint_rig.c - fills, saves, compares */
#include "tests/unit/checkpoint_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/ff-ck-XXXXXX";

int rig_enter(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

void rig_remove(const char *name)
{
    DIR *d = opendir(name);
    struct dirent *entry;
    char path[PATH_MAX];

    while (d && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
        if (unlink(path) < 0)
            rig_remove(path);
    }
    if (d)
        closedir(d);
    rmdir(name);
}

int rig_leave(void **state)
{
    (void)state;
    if (chdir("/") < 0)
        return -1;
    rig_remove(folder);
    return access(folder, F_OK) < 0 ? 0 : -1;
}

uint64_t rig_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void floats_fill(struct checkpoint_floats *f, const int64_t dims[4],
                        uint64_t seed)
{
    struct err e = ERR_INIT;

    assert_int_equal(checkpoint_floats_size(f, dims, &e), ST_OK);
    for (size_t i = 0; i < checkpoint_floats_count(f); i++)
        f->data[i] = (float)(int64_t)(rig_random(&seed) >> 40) / 4096.0f - 2048.0f;
}

void rig_fill(struct checkpoint *ck, int64_t segment, int64_t row, int64_t scale)
{
    struct checkpoint_floats *state[] = {&ck->x, &ck->x_last, &ck->m0, &ck->m1};
    uint64_t seed = (uint64_t)(segment * 1000 + row) * 100;
    struct err e = ERR_INIT;
    int64_t frames = 3;

    ck->kind = CHECKPOINT_RUNNING;
    ck->segment = segment;
    ck->rows_done = row;
    ck->rows_total = 50;
    ck->segments_total = 8;
    ck->prefix_frames = 1;
    ck->finished_frames = segment * 2;
    ck->seconds = (double)row * 1.25;
    assert_int_equal(checkpoint_config(ck, "{\"prompt\":\"a \\u001b cat\",\"seed\":7}",
                                       "{\"output\":\"a.mp4\"}", &e),
                     ST_OK);
    digest_of("config", 6, ck->config_digest);
    digest_of("model", 5, ck->model_digest);
    digest_of("all of it", 9, ck->whole_digest);
    digest_of("text", 4, ck->conditioning_digest);
    digest_of("rows", 4, ck->schedule_digest);
    snprintf(ck->precision, sizeof(ck->precision), "exact");
    snprintf(ck->backend, sizeof(ck->backend), "cpu");
    snprintf(ck->mesh, sizeof(ck->mesh), "g1u2r1");
    for (int i = 0; i < 4; i++)
        floats_fill(state[i], (int64_t[]){4, frames, 4, 6 * scale}, seed + (uint64_t)i);
    floats_fill(&ck->cond, (int64_t[]){5, 8, 1, 1}, 5);
    floats_fill(&ck->uncond, (int64_t[]){7, 8, 1, 1}, 7);
    floats_fill(&ck->finished,
                segment ? (int64_t[]){4, segment * 2, 4, 6 * scale}
                        : (int64_t[]){0, 0, 0, 0},
                99);
    assert_int_equal(checkpoint_ints_size(&ck->counter, frames, &e), ST_OK);
    for (int64_t i = 0; i < frames; i++)
        ck->counter.data[i] = row > i ? row - i : 0;
}

struct checkpoint_store *rig_store(const char *name, const struct checkpoint_hook *hook)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint_store *s;
    struct err e = ERR_INIT;

    if (hook)
        o.hook = *hook;
    if (checkpoint_store_open(name, true, &o, &s, &e) != ST_OK ||
        checkpoint_claim(s, &e) != ST_OK)
        fail_msg("%s", e.text);
    return s;
}

enum status rig_save(struct checkpoint_store *s, int64_t segment, int64_t row,
                     struct err *e)
{
    struct checkpoint ck = {0};
    enum status st;

    rig_fill(&ck, segment, row, 1);
    st = checkpoint_save(s, &ck, NULL, e);
    checkpoint_release(&ck);
    return st;
}

static void count_one(void *ctx, const char *line)
{
    assert_non_null(strstr(line, "rejected: "));
    assert_null(strchr(line, '\n'));
    ++*(int *)ctx;
}

int rig_expect(const char *name, int64_t segment, int64_t row)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint got = {0}, want = {0};
    char file[CHECKPOINT_NAME_BYTES];
    struct checkpoint_store *s;
    struct err e = ERR_INIT;
    bool found = false;
    int rejected = 0;
    enum status st;

    assert_int_equal(checkpoint_store_open(name, false, &o, &s, &e), ST_OK);
    st = checkpoint_newest(s, count_one, &rejected, &got, file, &found, &e);
    checkpoint_store_close(s);
    if (row < 0) {
        assert_int_equal(st, row == -1 ? ST_INPUT : ST_OK);
        assert_false(found);
        return rejected;
    }
    if (st != ST_OK)
        fail_msg("%s", e.text);
    assert_true(found);
    rig_fill(&want, segment, row, got.x.dims[3] / 6);
    if (checkpoint_difference(&got, &want))
        fail_msg("row %lld differs in %s", (long long)row,
                 checkpoint_difference(&got, &want));
    checkpoint_release(&got);
    checkpoint_release(&want);
    return rejected;
}

int rig_files(const char *name, bool temporary)
{
    DIR *d = opendir(name);
    struct dirent *entry;
    int n = 0;

    assert_non_null(d);
    while ((entry = readdir(d)))
        n += temporary ? entry->d_name[0] == '.' && entry->d_name[1] != '\0' &&
                             strcmp(entry->d_name, "..") != 0
                       : strncmp(entry->d_name, "ck-", 3) == 0;
    closedir(d);
    return n;
}

unsigned char *rig_read(const char *path, size_t *bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char *data;
    struct stat sb;

    assert_true(fd >= 0 && fstat(fd, &sb) == 0);
    *bytes = (size_t)sb.st_size;
    data = malloc(*bytes + 1);
    assert_int_equal(read(fd, data, *bytes), *bytes);
    close(fd);
    return data;
}

void rig_write(const char *path, const unsigned char *data, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}
