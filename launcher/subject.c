/* subject.c - the first bytes of a file, or else its name */
#include "launcher/subject.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/media/media.h"
#include "engine/pipeline/keep.h"
#include "kernels/base/buf.h"

enum { LOOK_BYTES = 4096 };

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);

    return n > m && strncmp(text + n - m, end, m) == 0;
}

static enum subject_kind kind_by_name(const char *path)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t n = strlen(base);

    if (strncmp(base, "ck-", 3) == 0 && ends_with(base, n, ".h5"))
        return SUBJECT_CHECKPOINT;
    if (ends_with(base, n, ".json") || ends_with(base, n, ".jsonl"))
        return SUBJECT_JOB;
    return SUBJECT_OUTPUT;
}

/* The first bytes of a regular file, with a NUL behind them; "" when there is none. */
static void head_read(const char *path, char head[LOOK_BYTES + 1])
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat sb;
    ssize_t n = 0;

    if (fd >= 0 && fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode))
        n = read(fd, head, LOOK_BYTES);
    if (fd >= 0)
        close(fd);
    head[n < 0 ? 0 : n] = '\0';
}

/* By its name: what is in it does not make it a job. */
static bool is_video(const char *path)
{
    enum media_kind kind;

    return media_kind_of(path, &kind, NULL) == ST_OK && kind != MEDIA_PNG;
}

static enum subject_kind kind_of(const char *path)
{
    static const char checkpoint[] = "FFCKPT01"; /* engine/checkpoint/block.h */
    enum subject_kind kind = kind_by_name(path);
    char head[LOOK_BYTES + 1];

    head_read(path, head);
    if (strncmp(head, checkpoint, strlen(checkpoint)) == 0)
        return SUBJECT_CHECKPOINT;
    if (kind == SUBJECT_OUTPUT && !is_video(path) &&
        head[strspn(head, " \t\r\n")] == '{')
        return SUBJECT_JOB;
    return kind;
}

enum status subject_init(struct subject *s, struct world *w, const char *path,
                         struct err *e)
{
    int32_t kind = kind_of(path);
    size_t n = strlen(path);

    memset(s, 0, sizeof(*s));
    s->path = path;
    if (w)
        TRY(world_bcast(w, &kind, sizeof(kind), e));
    s->kind = (enum subject_kind)kind;
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (ends_with(path, n, KEEP_SUFFIX))
        n -= strlen(KEEP_SUFFIX);
    s->output = strndup(path, n);
    return s->output ? ST_OK
                     : err_set(e, ST_RESOURCE, "out of memory: a name of %zu bytes", n);
}

void subject_release(struct subject *s)
{
    free(s->output);
    s->output = NULL;
}

static void reason_add(void *ctx, const char *line)
{
    buf_addf(ctx, "framefleet: %s\n", line);
}

enum status subject_newest(const char *output, struct checkpoint *ck, struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    char name[CHECKPOINT_NAME_BYTES], *folder = NULL;
    struct buf reasons = BUF_INIT;
    struct checkpoint_store *store = NULL;
    bool found = false;
    enum status st;

    TRY(keep_folder(output, &folder, e));
    st = checkpoint_store_open(folder, false, &o, &store, e);
    if (st == ST_OK)
        st = checkpoint_newest(store, reason_add, &reasons, ck, name, &found, e);
    if (st == ST_OK && !found)
        st = err_set(e, ST_INPUT, "no checkpoint in '%s'", folder);
    if (st != ST_OK)
        fputs(buf_text(&reasons), stderr);
    buf_release(&reasons);
    checkpoint_store_close(store);
    free(folder);
    return st;
}
