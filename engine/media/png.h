/* png.h - one u8 RGB picture to the bytes of a PNG file, through FFmpeg
 *
 * Inside engine/media only. */
#ifndef ENGINE_MEDIA_PNG_H
#define ENGINE_MEDIA_PNG_H

#include <stddef.h>

#include "engine/media/media.h"

struct png;

/* `path` appears in messages only. Copies what it needs of `opt`. */
enum status png_create(const char *path, const struct media_options *opt,
                       struct png **out, struct err *e);
void png_destroy(struct png *p);

/* Encode a picture; *data stays valid until the next call with `p`. */
enum status png_encode(struct png *p, const uint8_t *rgb, const uint8_t **data,
                       size_t *bytes, struct err *e);

#endif
