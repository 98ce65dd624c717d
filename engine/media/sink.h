/* sink.h - what each kind of output and input fills in; inside engine/media only
 *
 * media.c checks options and names and picks one of these. A sink is opened with a path
 * that may be written and options that are valid; `close` and `abort` free it. */
#ifndef ENGINE_MEDIA_SINK_H
#define ENGINE_MEDIA_SINK_H

#include "engine/media/media.h"

struct sink {
    enum status (*built)(const char *path, struct err *e);
    enum status (*open)(const char *path, const struct media_options *opt, void **out,
                        struct err *e);
    enum status (*frame)(void *self, const uint8_t *rgb, struct err *e);
    enum status (*close)(void *self, struct err *e);
    void (*abort)(void *self);
};

extern const struct sink sink_y4m;
extern const struct sink sink_mp4;
extern const struct sink sink_png;

struct source {
    enum status (*open)(const char *path, void **out, struct err *e);
    void (*info)(const void *self, struct media_info *out);
    const char *(*tag)(const void *self, const char *key);
    enum status (*frame)(void *self, uint8_t *rgb, bool *got, struct err *e);
    void (*close)(void *self);
};

extern const struct source source_y4m;
extern const struct source source_ffmpeg;

#endif
