/* y4m_write.c - YUV4MPEG2, 4:4:4, 8 bit, limited range BT.601
 *
 *     YUV4MPEG2 W960 H544 F24:1 Ip A1:1 C444 XCOLORRANGE=LIMITED\n
 *     FRAME\n  y plane, cb plane, cr plane     once per frame
 *
 * 4:4:4 because no colour is thrown away and odd sizes need no special case: what two
 * runs wrote can be compared pixel by pixel. mpv, VLC and FFmpeg play it. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/media/output.h"
#include "engine/media/sink.h"
#include "engine/media/yuv.h"

struct y4m {
    struct output *out;
    int width, height;
    uint8_t *planes; /* 3 * width * height */
};

static const char FRAME_LINE[] = "FRAME\n";

static enum status built(const char *path, struct err *e)
{
    (void)path;
    (void)e;
    return ST_OK;
}

static enum status header_write(struct y4m *y, const struct media_options *opt,
                                struct err *e)
{
    char line[128];
    int n = snprintf(line, sizeof(line),
                     "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C444 XCOLORRANGE=LIMITED\n",
                     opt->width, opt->height, opt->fps_num, opt->fps_den);

    return output_write(y->out, line, (size_t)n, e);
}

static void y4m_abort(void *self)
{
    struct y4m *y = self;

    output_discard(y->out);
    free(y->planes);
    free(y);
}

static enum status y4m_open(const char *path, const struct media_options *opt,
                            void **out, struct err *e)
{
    struct y4m *y = calloc(1, sizeof(*y));
    enum status st;

    if (!y)
        return err_set(e, ST_RESOURCE, "no memory for the output '%s'", path);
    y->width = opt->width;
    y->height = opt->height;
    y->planes = malloc((size_t)3 * (size_t)opt->width * (size_t)opt->height);
    if (!y->planes) {
        st = err_set(e, ST_RESOURCE, "no memory for frames of '%s'", path);
        goto err_free;
    }
    TRY_GOTO(st, output_open(path, opt->force, &y->out, e), err_free);
    TRY_GOTO(st, header_write(y, opt, e), err_free);
    *out = y;
    return ST_OK;

err_free:
    y4m_abort(y);
    return st;
}

static enum status y4m_frame(void *self, const uint8_t *rgb, struct err *e)
{
    struct y4m *y = self;
    size_t n = (size_t)y->width * (size_t)y->height;
    struct yuv_plane plane[3] = {{y->planes, y->width},
                                 {y->planes + n, y->width},
                                 {y->planes + 2 * n, y->width}};

    yuv444_from_rgb(plane, rgb, y->width, y->height);
    TRY(output_write(y->out, FRAME_LINE, sizeof(FRAME_LINE) - 1, e));
    return output_write(y->out, y->planes, 3 * n, e);
}

static enum status y4m_close(void *self, struct err *e)
{
    struct y4m *y = self;
    enum status st = output_commit(y->out, e);

    free(y->planes);
    free(y);
    return st;
}

const struct sink sink_y4m = {built, y4m_open, y4m_frame, y4m_close, y4m_abort};
