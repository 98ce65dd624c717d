/* compare.h - how far apart two results are
 *
 *     struct comparison c;
 *     TRY(compare_paths("one.h5", "other.h5", &c, e));
 *     … c.relative_l2, c.psnr …
 *
 * What a path is, its first bytes say:
 *
 *     latents   a file of --save_latents, or a checkpoint: its running latents, or,
 *               when a segment or the video is finished, those; f32 [C, N, h, w]
 *     video     .y4m, .mp4, PNG or JPEG, or a folder of frame_000000.png …;
 *               u8 RGB [N, height, width, 3]. Without FFmpeg only .y4m
 *
 * Two of a kind and of a shape are compared; anything else is ST_INPUT with the facts
 * that differ. Of two checkpoints the other arrays are compared as well, to the bit.
 *
 * A is the measure of B. With sums over all elements
 *
 *     relative L2 = sqrt(sum (a - b)^2 / sum a^2)
 *     cosine      = sum a b / sqrt(sum a^2 sum b^2)
 *     PSNR        = 10 log10(range^2 n / sum (a - b)^2) dB
 *
 * where range is 255 for a video and max a - min a for latents.
 *
 * Files come from strangers: HDF5 is parsed in a child process (engine/h5/h5.h).
 */
#ifndef ENGINE_COMPARE_COMPARE_H
#define ENGINE_COMPARE_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/err.h"

enum comparison_kind { COMPARE_LATENTS, COMPARE_VIDEO };

enum { COMPARE_NOTE_BYTES = 160 };

struct comparison {
    enum comparison_kind kind;
    char what[2][COMPARE_NOTE_BYTES]; /* "latents", "checkpoint, row 5 of 12 …" */
    int64_t dims[4];                  /* of both, as above */
    bool same;                        /* all values and everything else, to the bit */
    int64_t values, differing;
    int64_t first[4]; /* where the first difference is, by the axes of dims; */
    double a, b;      /* and what is there; unset when differing is 0 */
    double relative_l2, cosine, largest, psnr, range;
    double worst_psnr; /* of a frame of a video; latents: of a latent frame */
    int64_t worst_frame;
    char others[COMPARE_NOTE_BYTES]; /* what else differs; "" */
};

enum status compare_paths(const char *a, const char *b, struct comparison *out,
                          struct err *e);

/* The names of the axes of `dims`, in their order. */
const char *const *comparison_axes(enum comparison_kind kind);

#endif
