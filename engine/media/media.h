/* media.h - frames to files that people can watch, and back
 *
 * The name of an output says what is made:
 *
 *     video.mp4   H.264 (libx264, 4:2:0, crf 10 unless told otherwise) through FFmpeg
 *     video.y4m   YUV4MPEG2, 4:4:4, 8 bit: uncompressed, made without any library, the
 *                 same bytes for the same pixels everywhere
 *     frames/     a folder of PNGs, frame_000000.png … (also a name without an
 *                 extension), through FFmpeg
 *
 * Frames are u8 RGB [height,width,3], handed over one after another as they are made:
 *
 *     struct media_options opt = MEDIA_OPTIONS_DEFAULT;
 *     opt.width = 960, opt.height = 544, opt.fps_num = 24;
 *     TRY(media_check(path, &opt, e));              early: before hours of work
 *     TRY(media_open(path, &opt, &m, e));
 *     for (…)
 *         TRY_GOTO(st, media_frame(m, rgb, e), err_abort);
 *     return media_close(m, e);
 * err_abort:
 *     media_abort(m);
 *
 * Everything is written under a temporary name beside the output, which takes its final
 * name, synced, in media_close; a run that fails or is stopped leaves nothing that
 * looks like a video. Outputs that exist are refused (ST_USAGE) unless `force` is set;
 * a forced folder gets its frame_*.png replaced and keeps everything else. A full disk
 * is ST_RESOURCE, a folder that is missing or not writable ST_USAGE.
 *
 * Colours: BT.601, limited range, as the peers' writers make them (yuv.h); in mp4 the
 * stream says so. H.264 with 4:2:0 needs even sizes: an odd last column or row is
 * repeated once, where the peers rescale the picture.
 *
 * Tags (seed, prompt, model, comment …) are data: their bytes are stored as they are,
 * as metadata of an mp4, as iTXt chunks of every PNG. y4m has no place for them.
 *
 * A build without FFmpeg answers ST_UNBUILT for mp4 and PNG. */
#ifndef ENGINE_MEDIA_MEDIA_H
#define ENGINE_MEDIA_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/err.h"

enum { MEDIA_SIDE_MAX = 16384 };

enum media_kind { MEDIA_MP4, MEDIA_Y4M, MEDIA_PNG };

struct media_tag {
    const char *key;   /* 1 to 79 printable ASCII characters, unique */
    const char *value; /* any bytes up to the NUL */
};

struct media_options {
    int width, height;
    int fps_num, fps_den;
    int crf; /* H.264 quality, 0 (lossless) to 51 */
    bool force;
    const struct media_tag *tags; /* borrowed until media_open returns */
    int n_tags;
};

#define MEDIA_OPTIONS_DEFAULT                  \
    {                                          \
        .fps_num = 24, .fps_den = 1, .crf = 10 \
    }

/* ---- writing -------------------------------------------------------------------- */

struct media_writer;

/* What the name asks for; looks at the disk only for names without an extension that
 * we know. ST_USAGE names the three possibilities. */
enum status media_kind_of(const char *path, enum media_kind *out, struct err *e);

/* Would media_open work now? Creates nothing. */
enum status media_check(const char *path, const struct media_options *opt,
                        struct err *e);

/* Has an output of this name been finished? A file that is not empty, or a folder with
 * a first frame in it. */
bool media_there(const char *path);

enum status media_open(const char *path, const struct media_options *opt,
                       struct media_writer **out, struct err *e);
/* Append one frame; its bytes are used before the call returns. */
enum status media_frame(struct media_writer *m, const uint8_t *rgb, struct err *e);
/* Finish and give the output its name. `m` is gone afterwards, also on failure. */
enum status media_close(struct media_writer *m, struct err *e);
/* Remove everything that was written. media_abort(NULL) is fine. */
void media_abort(struct media_writer *m);

/* One picture as a PNG file; of `opt` only sizes, force and tags count. */
enum status media_write_png(const char *path, const struct media_options *opt,
                            const uint8_t *rgb, struct err *e);

/* A contact sheet: up to `columns` x `rows` frames spread evenly over the clip, each
 * averaged down by the whole factor `shrink`, as one PNG. frames [n,height,width,3];
 * sizes, force and tags from `opt`. */
enum status media_write_sheet(const char *path, const struct media_options *opt,
                              const uint8_t *frames, int n, int columns, int rows,
                              int shrink, struct err *e);

/* How the contact sheet of a video is laid out. */
struct sheet_options {
    int columns, rows;
    int shrink; /* by which whole factor frames are smaller */
    bool force;
};

#define SHEET_OPTIONS_DEFAULT                                \
    {                                                        \
        .columns = 5, .rows = 1, .shrink = 1, .force = false \
    }

/* The contact sheet of a video file. Reads it twice, and keeps only the frames that are
 * shown. A video that cannot be read is ST_INPUT. */
enum status media_sheet_of(const char *video, const char *path,
                           const struct sheet_options *opt, struct err *e);

/* ---- reading -------------------------------------------------------------------- */

struct media_reader;

struct media_info {
    int width, height;
    int fps_num, fps_den;
};

/* Open a video or picture: y4m (4:4:4 or 4:2:0, 8 bit) always, mp4, PNG and JPEG with
 * FFmpeg. Files from strangers are welcome: whatever is wrong with one is ST_INPUT. */
enum status media_read_open(const char *path, struct media_reader **out, struct err *e);
void media_read_info(const struct media_reader *r, struct media_info *out);
/* The value of a tag, borrowed from the reader, or NULL. */
const char *media_read_tag(const struct media_reader *r, const char *key);
/* The next frame as u8 RGB [height,width,3]; *got says whether there was one. */
enum status media_read_frame(struct media_reader *r, uint8_t *rgb, bool *got,
                             struct err *e);
void media_read_close(struct media_reader *r);

#endif
