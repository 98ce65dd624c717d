/* absent.c - what mp4, PNG and other people's videos answer in a build without FFmpeg
 */
#include "engine/media/sink.h"

static enum status no_mp4(const char *path, struct err *e)
{
    return err_set(e, ST_UNBUILT,
                   "cannot write '%s': mp4 is not built (no FFmpeg libraries), a name "
                   "ending in .y4m works",
                   path);
}

static enum status no_png(const char *path, struct err *e)
{
    return err_set(e, ST_UNBUILT,
                   "cannot write '%s': PNG is not built (no FFmpeg libraries), a name "
                   "ending in .y4m works",
                   path);
}

static enum status no_source(const char *path, void **out, struct err *e)
{
    (void)out;
    return err_set(e, ST_UNBUILT,
                   "cannot read '%s': only .y4m is built (no FFmpeg libraries)", path);
}

/* `built` is asked first, so the other members are never called. */
const struct sink sink_mp4 = {.built = no_mp4};
const struct sink sink_png = {.built = no_png};
const struct source source_ffmpeg = {.open = no_source};

enum status media_write_png(const char *path, const struct media_options *opt,
                            const uint8_t *rgb, struct err *e)
{
    (void)opt;
    (void)rgb;
    return no_png(path, e);
}
