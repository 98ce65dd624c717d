/* media.c - picks the kind of an output or input and checks what is asked for */
#include "engine/media/media.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/media/output.h"
#include "engine/media/sink.h"

struct media_writer {
    const struct sink *sink;
    void *self;
};

struct media_reader {
    const struct source *source;
    void *self;
};

static const struct sink *sink_of(enum media_kind kind)
{
    static const struct sink *const sinks[] = {
        [MEDIA_MP4] = &sink_mp4,
        [MEDIA_Y4M] = &sink_y4m,
        [MEDIA_PNG] = &sink_png,
    };

    return sinks[kind];
}

static bool is_folder(const char *path)
{
    struct stat sb;

    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

enum status media_kind_of(const char *path, enum media_kind *out, struct err *e)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');

    if (!*path)
        return err_set(e, ST_USAGE, "the name of the output is empty");
    if (dot && strcasecmp(dot, ".mp4") == 0)
        *out = MEDIA_MP4;
    else if (dot && strcasecmp(dot, ".y4m") == 0)
        *out = MEDIA_Y4M;
    else if (!*name || !dot || is_folder(path))
        *out = MEDIA_PNG;
    else
        return err_set(e, ST_USAGE,
                       "cannot tell what '%s' is to be: a video.mp4, a video.y4m or a "
                       "folder/ of PNGs",
                       path);
    return ST_OK;
}

bool media_there(const char *path)
{
    static const char first[] = "/frame_000000.png";
    size_t n = strlen(path);
    struct stat sb;
    char *frame;
    bool there;

    if (stat(path, &sb) != 0)
        return false;
    if (!S_ISDIR(sb.st_mode))
        return S_ISREG(sb.st_mode) && sb.st_size > 0;
    frame = malloc(n + sizeof(first));
    if (!frame)
        return false;
    memcpy(frame, path, n);
    memcpy(frame + n, first, sizeof(first));
    there = stat(frame, &sb) == 0 && S_ISREG(sb.st_mode);
    free(frame);
    return there;
}

static enum status tags_check(const struct media_options *opt, struct err *e)
{
    for (int i = 0; i < opt->n_tags; i++) {
        const char *key = opt->tags[i].key;
        size_t n = strlen(key);

        if (n < 1 || n > 79)
            return err_set(e, ST_USAGE, "tag name '%s' has %zu characters, not 1 to 79",
                           key, n);
        for (size_t k = 0; k < n; k++) {
            if (key[k] < ' ' || key[k] > '~')
                return err_set(e, ST_USAGE, "tag name '%s' is not plain ASCII", key);
        }
    }
    return ST_OK;
}

static enum status options_check(const struct media_options *opt, struct err *e)
{
    if (opt->width < 1 || opt->width > MEDIA_SIDE_MAX || opt->height < 1 ||
        opt->height > MEDIA_SIDE_MAX)
        return err_set(e, ST_USAGE,
                       "cannot write frames of %d x %d pixels, sides go from 1 to %d",
                       opt->width, opt->height, (int)MEDIA_SIDE_MAX);
    if (opt->fps_num < 1 || opt->fps_den < 1)
        return err_set(e, ST_USAGE, "frame rate %d/%d is not positive", opt->fps_num,
                       opt->fps_den);
    if (opt->crf < 0 || opt->crf > 51)
        return err_set(e, ST_USAGE, "crf %d is not in 0..51", opt->crf);
    return tags_check(opt, e);
}

enum status media_check(const char *path, const struct media_options *opt,
                        struct err *e)
{
    enum media_kind kind;

    TRY(media_kind_of(path, &kind, e));
    TRY(options_check(opt, e));
    TRY(sink_of(kind)->built(path, e));
    if (kind == MEDIA_PNG)
        return output_folder_check(path, opt->force, e);
    return output_check(path, opt->force, e);
}

enum status media_open(const char *path, const struct media_options *opt,
                       struct media_writer **out, struct err *e)
{
    enum media_kind kind;
    struct media_writer *m;
    enum status st;

    TRY(media_kind_of(path, &kind, e));
    TRY(options_check(opt, e));
    TRY(sink_of(kind)->built(path, e));
    m = malloc(sizeof(*m));
    if (!m)
        return err_set(e, ST_RESOURCE, "no memory for the output '%s'", path);
    m->sink = sink_of(kind);
    TRY_GOTO(st, m->sink->open(path, opt, &m->self, e), err_free);
    *out = m;
    return ST_OK;

err_free:
    free(m);
    return st;
}

enum status media_frame(struct media_writer *m, const uint8_t *rgb, struct err *e)
{
    return m->sink->frame(m->self, rgb, e);
}

enum status media_close(struct media_writer *m, struct err *e)
{
    enum status st = m->sink->close(m->self, e);

    free(m);
    return st;
}

void media_abort(struct media_writer *m)
{
    if (!m)
        return;
    m->sink->abort(m->self);
    free(m);
}

enum status media_read_open(const char *path, struct media_reader **out, struct err *e)
{
    const char *dot = strrchr(path, '.');
    bool plain = dot && strcasecmp(dot, ".y4m") == 0;
    struct media_reader *r = malloc(sizeof(*r));
    enum status st;

    if (!r)
        return err_set(e, ST_RESOURCE, "no memory to open '%s'", path);
    r->source = plain ? &source_y4m : &source_ffmpeg;
    TRY_GOTO(st, r->source->open(path, &r->self, e), err_free);
    *out = r;
    return ST_OK;

err_free:
    free(r);
    return st;
}

void media_read_info(const struct media_reader *r, struct media_info *out)
{
    r->source->info(r->self, out);
}

const char *media_read_tag(const struct media_reader *r, const char *key)
{
    return r->source->tag(r->self, key);
}

enum status media_read_frame(struct media_reader *r, uint8_t *rgb, bool *got,
                             struct err *e)
{
    return r->source->frame(r->self, rgb, got, e);
}

void media_read_close(struct media_reader *r)
{
    if (!r)
        return;
    r->source->close(r->self);
    free(r);
}
