/* sheet.c - frames spread over a clip, small, side by side in one picture */
#include <stdlib.h>
#include <string.h>

#include "engine/media/media.h"

/* The mean of a shrink x shrink square of one frame, rounded, into 3 bytes. */
static void square_mean(uint8_t *out, const uint8_t *frame, int width, int x, int y,
                        int shrink)
{
    int64_t sum[3] = {0, 0, 0};
    int64_t n = (int64_t)shrink * shrink;

    for (int i = 0; i < shrink; i++) {
        const uint8_t *p = frame + 3 * ((size_t)(y * shrink + i) * (size_t)width +
                                        (size_t)x * (size_t)shrink);

        for (int j = 0; j < 3 * shrink; j++)
            sum[j % 3] += p[j];
    }
    for (int c = 0; c < 3; c++)
        out[c] = (uint8_t)((sum[c] + n / 2) / n);
}

/* One cell of w x h pixels, rows of the sheet `stride` bytes apart. */
static void cell_fill(uint8_t *cell, size_t stride, const uint8_t *frame, int width,
                      int w, int h, int shrink)
{
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++)
            square_mean(cell + (size_t)y * stride + 3 * (size_t)x, frame, width, x, y,
                        shrink);
    }
}

enum status media_write_sheet(const char *path, const struct media_options *opt,
                              const uint8_t *frames, int n, int columns, int rows,
                              int shrink, struct err *e)
{
    struct media_options sheet_opt = *opt;
    int w, h;
    int cells = columns * rows;
    size_t frame_bytes = (size_t)3 * (size_t)opt->width * (size_t)opt->height;
    size_t stride;
    uint8_t *sheet;
    enum status st;

    if (n < 1 || columns < 1 || rows < 1 || shrink < 1 || opt->width < shrink ||
        opt->height < shrink || columns > MEDIA_SIDE_MAX / (opt->width / shrink) ||
        rows > MEDIA_SIDE_MAX / (opt->height / shrink))
        return err_set(e, ST_USAGE,
                       "cannot lay out %d x %d frames of %d x %d pixels shrunk by %d",
                       columns, rows, opt->width, opt->height, shrink);
    w = opt->width / shrink;
    h = opt->height / shrink;
    sheet_opt.width = w * columns;
    sheet_opt.height = h * rows;
    stride = (size_t)3 * (size_t)sheet_opt.width;
    sheet = calloc((size_t)sheet_opt.height, stride);
    if (!sheet)
        return err_set(e, ST_RESOURCE, "no memory for the contact sheet '%s'", path);
    for (int i = 0; i < cells && i < n; i++) {
        int at = n <= cells || cells == 1 ? i
                                          : (int)((int64_t)i * (n - 1) / (cells - 1));

        cell_fill(sheet + (size_t)(i / columns) * (size_t)h * stride +
                      (size_t)3 * (size_t)(i % columns) * (size_t)w,
                  stride, frames + (size_t)at * frame_bytes, opt->width, w, h, shrink);
    }
    st = media_write_png(path, &sheet_opt, sheet, e);
    free(sheet);
    return st;
}
