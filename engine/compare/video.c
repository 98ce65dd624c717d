/* video.c - two videos, frame by frame, never more than one frame of each in memory */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/compare/inside.h"
#include "engine/media/media.h"

struct video {
    const char *path;
    bool folder;
    int frames; /* read so far */
    struct media_reader *reader;
    struct media_info info; /* of the first frame */
    uint8_t *rgb;
    size_t bytes; /* of a frame */
};

static bool is_folder(const char *path)
{
    struct stat sb;

    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

/* Frame `i` of a folder; *there says whether it has one. */
static enum status picture_open(struct video *v, int i, bool *there, struct err *e)
{
    char name[PATH_MAX];
    struct stat sb;

    if (snprintf(name, sizeof(name), "%s/frame_%06d.png", v->path, i) >=
        (int)sizeof(name))
        return err_set(e, ST_INPUT, "cannot open '%s': the name is too long", v->path);
    *there = stat(name, &sb) == 0;
    if (!*there && i == 0)
        return err_set(e, ST_INPUT, "cannot compare folder '%s': no frame_000000.png",
                       v->path);
    return *there ? media_read_open(name, &v->reader, e) : ST_OK;
}

static enum status video_open(struct video *v, const char *path, struct err *e)
{
    bool there;

    v->path = path;
    v->folder = is_folder(path);
    TRY(v->folder ? picture_open(v, 0, &there, e)
                  : media_read_open(path, &v->reader, e));
    media_read_info(v->reader, &v->info);
    v->bytes = (size_t)v->info.width * (size_t)v->info.height * 3;
    v->rgb = malloc(v->bytes);
    return v->rgb ? ST_OK
                  : err_set(e, ST_RESOURCE, "out of memory: a frame of '%s'", path);
}

static void video_close(struct video *v)
{
    media_read_close(v->reader);
    free(v->rgb);
}

/* The next picture of a folder, of the size of the first. */
static enum status picture_read(struct video *v, bool *got, struct err *e)
{
    struct media_info info;

    if (v->frames > 0) {
        media_read_close(v->reader);
        v->reader = NULL;
        TRY(picture_open(v, v->frames, got, e));
        if (!*got)
            return ST_OK;
        media_read_info(v->reader, &info);
        if (info.width != v->info.width || info.height != v->info.height)
            return err_set(e, ST_INPUT,
                           "'%s' has frames of %dx%d and, from frame %d, of %dx%d",
                           v->path, v->info.width, v->info.height, v->frames,
                           info.width, info.height);
    }
    return media_read_frame(v->reader, v->rgb, got, e);
}

static enum status frame_read(struct video *v, bool *got, struct err *e)
{
    TRY(v->folder ? picture_read(v, got, e)
                  : media_read_frame(v->reader, v->rgb, got, e));
    v->frames += *got;
    return ST_OK;
}

/* Count what is left. */
static enum status rest_count(struct video *v, bool got, struct err *e)
{
    while (got)
        TRY(frame_read(v, &got, e));
    return ST_OK;
}

static enum status sizes_match(const struct video v[2], struct err *e)
{
    if (v[0].info.width == v[1].info.width && v[0].info.height == v[1].info.height)
        return ST_OK;
    return err_set(e, ST_INPUT, "cannot compare: '%s' is %dx%d, '%s' is %dx%d",
                   v[0].path, v[0].info.width, v[0].info.height, v[1].path,
                   v[1].info.width, v[1].info.height);
}

static enum status frames_compare(struct video v[2], struct comparison *c,
                                  struct sums *all, struct err *e)
{
    bool got[2] = {true, true};

    for (;;) {
        struct sums frame = SUMS_INIT;

        for (int i = 0; i < 2; i++)
            TRY(frame_read(&v[i], &got[i], e));
        if (!got[0] || !got[1])
            break;
        sums_bytes(&frame, v[0].rgb, v[1].rgb, v[0].bytes);
        sums_join(all, &frame);
        comparison_frame(c, v[0].frames - 1, sums_psnr(&frame, 255.0));
    }
    for (int i = 0; i < 2; i++)
        TRY(rest_count(&v[i], got[i], e));
    if (v[0].frames != v[1].frames || v[0].frames == 0)
        return err_set(e, ST_INPUT, "cannot compare: '%s' has %d frames, '%s' has %d",
                       v[0].path, v[0].frames, v[1].path, v[1].frames);
    return ST_OK;
}

static enum status pair_compare(struct video v[2], struct comparison *c, struct err *e)
{
    struct sums all = SUMS_INIT;

    TRY(sizes_match(v, e));
    TRY(frames_compare(v, c, &all, e));
    for (int i = 0; i < 2; i++)
        snprintf(c->what[i], sizeof(c->what[i]),
                 v[i].folder ? "folder of frames" : "video, %g frames per second",
                 (double)v[i].info.fps_num / v[i].info.fps_den);
    if (!v[0].folder && !v[1].folder &&
        (int64_t)v[0].info.fps_num * v[1].info.fps_den !=
            (int64_t)v[1].info.fps_num * v[0].info.fps_den)
        snprintf(c->others, sizeof(c->others), "frames per second");
    memcpy(c->dims, (int64_t[]){v[0].frames, v[0].info.height, v[0].info.width, 3},
           sizeof(c->dims));
    comparison_finish(c, &all);
    return ST_OK;
}

enum status videos_compare(const char *a, const char *b, struct comparison *out,
                           struct err *e)
{
    struct video v[2] = {0};
    enum status st = video_open(&v[0], a, e);

    if (st == ST_OK)
        st = video_open(&v[1], b, e);
    if (st == ST_OK)
        st = pair_compare(v, out, e);
    video_close(&v[0]);
    video_close(&v[1]);
    return st;
}
