/* png_folder.c - frames as frame_000000.png … in a folder, and single PNG files */
#include <stdio.h>
#include <stdlib.h>

#include "engine/media/output.h"
#include "engine/media/png.h"
#include "engine/media/sink.h"

struct frames {
    struct output_folder *folder;
    struct png *png;
    int next;
};

static enum status frames_built(const char *path, struct err *e)
{
    (void)path;
    (void)e;
    return ST_OK;
}

static enum status frames_open(const char *path, const struct media_options *opt,
                               void **out, struct err *e)
{
    struct frames *f = calloc(1, sizeof(*f));
    enum status st;

    if (!f)
        return err_set(e, ST_RESOURCE, "no memory for the output '%s'", path);
    TRY_GOTO(st, png_create(path, opt, &f->png, e), err_free);
    TRY_GOTO(st, output_folder_open(path, opt->force, &f->folder, e), err_destroy);
    *out = f;
    return ST_OK;

err_destroy:
    png_destroy(f->png);
err_free:
    free(f);
    return st;
}

static enum status frames_frame(void *self, const uint8_t *rgb, struct err *e)
{
    struct frames *f = self;
    const uint8_t *data;
    size_t bytes;
    char name[32];

    TRY(png_encode(f->png, rgb, &data, &bytes, e));
    snprintf(name, sizeof(name), "frame_%06d.png", f->next);
    TRY(output_folder_put(f->folder, name, data, bytes, e));
    f->next++;
    return ST_OK;
}

static enum status frames_close(void *self, struct err *e)
{
    struct frames *f = self;
    enum status st = output_folder_commit(f->folder, e);

    png_destroy(f->png);
    free(f);
    return st;
}

static void frames_abort(void *self)
{
    struct frames *f = self;

    output_folder_discard(f->folder);
    png_destroy(f->png);
    free(f);
}

const struct sink sink_png = {frames_built, frames_open, frames_frame, frames_close,
                              frames_abort};

enum status media_write_png(const char *path, const struct media_options *opt,
                            const uint8_t *rgb, struct err *e)
{
    struct output *out = NULL;
    struct png *png;
    const uint8_t *data;
    size_t bytes;
    enum status st;

    TRY(png_create(path, opt, &png, e));
    TRY_GOTO(st, png_encode(png, rgb, &data, &bytes, e), out);
    TRY_GOTO(st, output_open(path, opt->force, &out, e), out);
    TRY_GOTO(st, output_write(out, data, bytes, e), err_discard);
    st = output_commit(out, e);
    goto out;

err_discard:
    output_discard(out);
out:
    png_destroy(png);
    return st;
}
