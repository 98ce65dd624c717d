/* scratch.c - a folder of files that a test makes and removes */
#include "tests/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void give_up(const char *what, const char *path)
{
    fprintf(stderr, "%s '%s': %s\n", what, path, strerror(errno));
    exit(1);
}

void scratch_create(struct scratch *s)
{
    const char *tmp = getenv("TMPDIR");

    if (!tmp || strlen(tmp) > 32)
        tmp = "/tmp";
    snprintf(s->path, sizeof(s->path), "%s/framefleet-test-XXXXXX", tmp);
    if (!mkdtemp(s->path))
        give_up("cannot make", s->path);
}

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void scratch_remove(struct scratch *s)
{
    nftw(s->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int scratch_drop(void **state)
{
    scratch_remove(*state);
    return 0;
}

const char *scratch_path(const struct scratch *s, const char *rel)
{
    static char paths[8][512];
    static int turn;

    turn = (turn + 1) % 8;
    snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", s->path, rel);
    return paths[turn];
}

static void make_parents(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            give_up("cannot make", path);
        *p = '/';
    }
}

void scratch_write(const struct scratch *s, const char *rel, const void *data,
                   size_t bytes)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s", scratch_path(s, rel));
    make_parents(path);
    f = fopen(path, "wb");
    if (!f || (bytes && fwrite(data, 1, bytes, f) != bytes) || fclose(f) != 0)
        give_up("cannot write", path);
}

void scratch_text(const struct scratch *s, const char *rel, const char *text)
{
    scratch_write(s, rel, text, strlen(text));
}

char *scratch_read(const char *path, size_t *bytes)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    char *data;

    if (!f || fstat(fileno(f), &st) != 0)
        give_up("cannot open", path);
    data = malloc((size_t)st.st_size + 1);
    if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        give_up("cannot read", path);
    data[st.st_size] = '\0';
    *bytes = (size_t)st.st_size;
    fclose(f);
    return data;
}

void scratch_copy(const struct scratch *s, const char *rel, const char *from)
{
    size_t bytes;
    char *data = scratch_read(from, &bytes);

    scratch_write(s, rel, data, bytes);
    free(data);
}

void scratch_copy_all(const struct scratch *s, const char *rel, const char *from)
{
    DIR *d = opendir(from);
    struct dirent *entry;

    if (!d)
        give_up("cannot open", from);
    while ((entry = readdir(d))) {
        char path[512], to[512];
        struct stat st;

        snprintf(path, sizeof(path), "%s/%s", from, entry->d_name);
        snprintf(to, sizeof(to), "%s/%s", rel, entry->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            scratch_copy(s, to, path);
    }
    closedir(d);
}
