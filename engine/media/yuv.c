/* yuv.c - fixed-point conversion between RGB and YUV */
#include "engine/media/yuv.h"

enum { ONE = 1 << 16, HALF = 1 << 15 };

static uint8_t byte_clamp(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* The coefficients of a row sum to 56284 = 219/255 * 65536 and to 0. */
static uint8_t luma(int r, int g, int b)
{
    return (uint8_t)((16829 * r + 33039 * g + 6416 * b + 16 * ONE + HALF) >> 16);
}

static uint8_t chroma_b(int r, int g, int b)
{
    return (uint8_t)((-9714 * r - 19070 * g + 28784 * b + 128 * ONE + HALF) >> 16);
}

static uint8_t chroma_r(int r, int g, int b)
{
    return (uint8_t)((28784 * r - 24103 * g - 4681 * b + 128 * ONE + HALF) >> 16);
}

/* 255/219 and the inverse of the formulas in yuv.h, times 65536. */
static void rgb_of(uint8_t *rgb, int y, int cb, int cr)
{
    int l = 76309 * (y - 16) + HALF;

    cb -= 128;
    cr -= 128;
    rgb[0] = byte_clamp((l + 104597 * cr) >> 16);
    rgb[1] = byte_clamp((l - 25675 * cb - 53279 * cr) >> 16);
    rgb[2] = byte_clamp((l + 132201 * cb) >> 16);
}

void yuv444_from_rgb(struct yuv_plane plane[3], const uint8_t *rgb, int width,
                     int height)
{
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++, rgb += 3) {
            plane[0].data[i * plane[0].stride + j] = luma(rgb[0], rgb[1], rgb[2]);
            plane[1].data[i * plane[1].stride + j] = chroma_b(rgb[0], rgb[1], rgb[2]);
            plane[2].data[i * plane[2].stride + j] = chroma_r(rgb[0], rgb[1], rgb[2]);
        }
    }
}

void yuv444_to_rgb(uint8_t *rgb, const struct yuv_plane plane[3], int width, int height)
{
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++, rgb += 3)
            rgb_of(rgb, plane[0].data[i * plane[0].stride + j],
                   plane[1].data[i * plane[1].stride + j],
                   plane[2].data[i * plane[2].stride + j]);
    }
}

/* One 2x2 square at (i, j) of the luma plane. */
static void square_from_rgb(struct yuv_plane plane[3], const uint8_t *rgb, int width,
                            int height, int i, int j)
{
    int sum[3] = {0, 0, 0};

    for (int k = 0; k < 4; k++) {
        int y = i + k / 2, x = j + k % 2;
        const uint8_t *p = rgb + 3 * ((ptrdiff_t)(y < height ? y : height - 1) * width +
                                      (x < width ? x : width - 1));

        plane[0].data[y * plane[0].stride + x] = luma(p[0], p[1], p[2]);
        for (int c = 0; c < 3; c++)
            sum[c] += p[c];
    }
    for (int c = 0; c < 3; c++)
        sum[c] = (sum[c] + 2) / 4;
    plane[1].data[i / 2 * plane[1].stride + j / 2] = chroma_b(sum[0], sum[1], sum[2]);
    plane[2].data[i / 2 * plane[2].stride + j / 2] = chroma_r(sum[0], sum[1], sum[2]);
}

void yuv420_from_rgb(struct yuv_plane plane[3], const uint8_t *rgb, int width,
                     int height)
{
    for (int i = 0; i < height; i += 2) {
        for (int j = 0; j < width; j += 2)
            square_from_rgb(plane, rgb, width, height, i, j);
    }
}

void yuv420_to_rgb(uint8_t *rgb, const struct yuv_plane plane[3], int width, int height)
{
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++, rgb += 3)
            rgb_of(rgb, plane[0].data[i * plane[0].stride + j],
                   plane[1].data[i / 2 * plane[1].stride + j / 2],
                   plane[2].data[i / 2 * plane[2].stride + j / 2]);
    }
}
