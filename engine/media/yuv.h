/* yuv.h - RGB to YUV and back in integers: BT.601, limited range
 *
 * With R, G, B in 0..255 and kr = 0.299, kg = 0.587, kb = 0.114:
 *
 *     y  = 16  + 219/255 * (kr R + kg G + kb B)
 *     cb = 128 + 224/255 * (B - (kr R + kg G + kb B)) / (2 (1 - kb))
 *     cr = 128 + 224/255 * (R - (kr R + kg G + kb B)) / (2 (1 - kr))
 *
 * in 16-bit fixed point, rounded to nearest; grey stays exactly grey (cb = cr = 128).
 * 4:2:0 converts the mean of each 2x2 square for its chroma; a square that sticks out
 * on the right or below repeats the last column or row. */
#ifndef ENGINE_MEDIA_YUV_H
#define ENGINE_MEDIA_YUV_H

#include <stddef.h>
#include <stdint.h>

/* One plane: `data` has rows `stride` bytes apart. */
struct yuv_plane {
    uint8_t *data;
    ptrdiff_t stride;
};

/* rgb [height,width,3] dense to three planes of [height,width]. */
void yuv444_from_rgb(struct yuv_plane plane[3], const uint8_t *rgb, int width,
                     int height);
void yuv444_to_rgb(uint8_t *rgb, const struct yuv_plane plane[3], int width,
                   int height);

/* Luma [2*ceil(height/2), 2*ceil(width/2)] (odd sizes: last row and column repeated),
 * chroma [ceil(height/2), ceil(width/2)]. */
void yuv420_from_rgb(struct yuv_plane plane[3], const uint8_t *rgb, int width,
                     int height);
/* Each chroma sample serves its 2x2 square; luma [height,width]. */
void yuv420_to_rgb(uint8_t *rgb, const struct yuv_plane plane[3], int width,
                   int height);

#endif
