/* compare.c - looks what two files are and brings them together */
#include "engine/compare/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/compare/inside.h"

/* ---- what a path is -------------------------------------------------------------- */

enum { HEAD_BYTES = 8 };

static enum status head_read(const char *path, char head[HEAD_BYTES], bool *folder,
                             struct err *e)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat sb;
    ssize_t n = 0;

    if (fd < 0)
        return err_set(e, ST_INPUT, "cannot open '%s': %s", path, strerror(errno));
    memset(head, 0, HEAD_BYTES);
    *folder = fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode);
    if (!*folder)
        n = read(fd, head, HEAD_BYTES);
    if (n < 0)
        err_set(e, ST_INPUT, "cannot read '%s': %s", path, strerror(errno));
    close(fd);
    return n < 0 ? ST_INPUT : ST_OK;
}

static enum status kind_of(const char *path, enum comparison_kind *out, struct err *e)
{
    static const char hdf5[] = "\x89HDF\r\n\x1a\n", checkpoint[] = "FFCKPT01";
    char head[HEAD_BYTES];
    bool folder;

    TRY(head_read(path, head, &folder, e));
    *out = !folder && (memcmp(head, hdf5, HEAD_BYTES) == 0 ||
                       memcmp(head, checkpoint, HEAD_BYTES) == 0)
               ? COMPARE_LATENTS
               : COMPARE_VIDEO;
    return ST_OK;
}

/* ---- what is made of the sums ---------------------------------------------------- */

const char *const *comparison_axes(enum comparison_kind kind)
{
    static const char *const latents[] = {"channel", "frame", "row", "column"};
    static const char *const video[] = {"frame", "row", "column", "channel"};

    return kind == COMPARE_LATENTS ? latents : video;
}

void comparison_frame(struct comparison *c, int64_t frame, double psnr)
{
    if (frame > 0 && psnr >= c->worst_psnr)
        return;
    c->worst_psnr = psnr;
    c->worst_frame = frame;
}

void comparison_finish(struct comparison *c, const struct sums *s)
{
    int64_t at = s->first;

    c->values = s->n;
    c->differing = s->differing;
    for (int i = 3; i >= 0 && at >= 0; i--) {
        c->first[i] = at % c->dims[i];
        at /= c->dims[i];
    }
    c->a = s->first_a;
    c->b = s->first_b;
    c->relative_l2 = sums_relative_l2(s);
    c->cosine = sums_cosine(s);
    c->largest = s->largest;
    c->range = c->kind == COMPARE_VIDEO ? 255.0 : s->high - s->low;
    c->psnr = sums_psnr(s, c->range);
    c->same = s->differing == 0 && !c->others[0];
}

enum status compare_paths(const char *a, const char *b, struct comparison *out,
                          struct err *e)
{
    static const char *const names[] = {"latents", "a video"};
    enum comparison_kind kind, other;
    struct comparison c;

    memset(&c, 0, sizeof(c));
    TRY(kind_of(a, &kind, e));
    TRY(kind_of(b, &other, e));
    if (kind != other)
        return err_set(e, ST_INPUT, "cannot compare: '%s' holds %s, '%s' holds %s", a,
                       names[kind], b, names[other]);
    c.kind = kind;
    TRY(kind == COMPARE_LATENTS ? latents_compare(a, b, &c, e)
                                : videos_compare(a, b, &c, e));
    *out = c;
    return ST_OK;
}
