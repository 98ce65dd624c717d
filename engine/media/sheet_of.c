/* sheet_of.c - from a video file to its contact sheet */
#include <stdlib.h>
#include <string.h>

#include "engine/media/media.h"

/* What is read of a video: every frame through one buffer, `cells` of them kept. */
struct viewing {
    struct media_info info;
    size_t frame_bytes;
    uint8_t *frame, *kept;
    int cells, n_kept;
};

static enum status viewing_init(struct viewing *v, const char *video, int cells,
                                struct err *e)
{
    struct media_reader *r;

    TRY(media_read_open(video, &r, e));
    media_read_info(r, &v->info);
    media_read_close(r);
    v->cells = cells;
    v->n_kept = 0;
    v->frame_bytes = (size_t)3 * (size_t)v->info.width * (size_t)v->info.height;
    v->frame = malloc(v->frame_bytes);
    v->kept = calloc((size_t)cells, v->frame_bytes);
    if (v->frame && v->kept)
        return ST_OK;
    free(v->frame);
    free(v->kept);
    return err_set(e, ST_RESOURCE, "no memory for %d frames of '%s'", cells, video);
}

static void viewing_release(struct viewing *v)
{
    free(v->frame);
    free(v->kept);
}

/* Is frame `at` of `n` shown? The first and the last one are. */
static bool is_shown(const struct viewing *v, int64_t at, int64_t n)
{
    if (n <= v->cells || v->cells == 1)
        return at < v->cells;
    return at == v->n_kept * (n - 1) / (v->cells - 1);
}

/* Read to the end; with `n`, the number of frames, keep those that are shown. */
static enum status video_view(struct viewing *v, const char *video, int64_t n,
                              int64_t *frames, struct err *e)
{
    struct media_reader *r;
    enum status st = ST_OK;
    bool got = true;

    TRY(media_read_open(video, &r, e));
    for (*frames = 0; st == ST_OK && got; *frames += got) {
        st = media_read_frame(r, v->frame, &got, e);
        if (st != ST_OK || !got || v->n_kept == v->cells || !n ||
            !is_shown(v, *frames, n))
            continue;
        memcpy(v->kept + (size_t)v->n_kept++ * v->frame_bytes, v->frame,
               v->frame_bytes);
    }
    media_read_close(r);
    return st;
}

static enum status sheet_make(struct viewing *v, const char *video, const char *path,
                              const struct sheet_options *opt, struct err *e)
{
    struct media_options out = MEDIA_OPTIONS_DEFAULT;
    int64_t n, again;

    TRY(video_view(v, video, 0, &n, e));
    if (n == 0)
        return err_set(e, ST_INPUT, "'%s' has no frames", video);
    TRY(video_view(v, video, n, &again, e));
    out.width = v->info.width;
    out.height = v->info.height;
    out.force = opt->force;
    return media_write_sheet(path, &out, v->kept, v->n_kept, opt->columns, opt->rows,
                             opt->shrink, e);
}

enum status media_sheet_of(const char *video, const char *path,
                           const struct sheet_options *opt, struct err *e)
{
    struct viewing v;
    enum status st;

    if (opt->columns < 1 || opt->rows < 1 || opt->columns > MEDIA_SIDE_MAX / opt->rows)
        return err_set(e, ST_USAGE, "impossible contact sheet of %d x %d frames",
                       opt->columns, opt->rows);
    TRY(viewing_init(&v, video, opt->columns * opt->rows, e));
    st = sheet_make(&v, video, path, opt, e);
    viewing_release(&v);
    return st;
}
