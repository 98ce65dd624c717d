/* cut.h - frames decoded in tiles, when memory is short
 *
 * A decoder's memory is that of its tile and a border (engine/vae/area.h), and tiles
 * are exact, so how frames are cut changes time and memory and no byte of the video.
 * Every tile goes through the layers of the smallest resolution again and has a border
 * of 7 latent pixels at each side that is not an edge: fewer and larger tiles cost
 * less.
 *
 * --vae_tile says how: "WxH" pixels, "0" for whole frames, or "auto": whole frames when
 * they fit into memory, else the largest of a fixed list of tiles that does. The list
 * cuts the width first, which costs less than cutting the height, into 2, 3, 4 … strips
 * no narrower than 128 pixels, then those across.
 */
#ifndef ENGINE_PIPELINE_CUT_H
#define ENGINE_PIPELINE_CUT_H

#include "engine/vae/vae.h"

/* Size of the tiles in pixels; those at the right and at the bottom may be smaller.
 * Zeros: whole frames. */
struct cut {
    int64_t height, width;
};

enum cut_mode { CUT_AUTO, CUT_NEVER, CUT_GIVEN };

struct cut_wish {
    enum cut_mode mode;
    struct cut given;
};

/* "auto", "0" or "WxH" in steps of 8; NULL is "auto". */
enum status cut_parse(const char *text, struct cut_wish *out, struct err *e);

/* The cut for frames of this size: none where a tile would be the whole frame. */
struct cut cut_of(const struct cut_wish *wish, const struct vae_shape *shape);

/* The next smaller cut of the list; false: there is none. */
bool cut_smaller(const struct vae_shape *shape, struct cut *cut);

/* The tiles, row by row. */
int cut_count(const struct vae_shape *shape, const struct cut *cut);
struct vae_tile cut_tile(const struct vae_shape *shape, const struct cut *cut, int i);

/* What the largest tile needs to be decoded. Pure. */
enum status cut_plan(const struct vae_config *config, const struct ops *ops,
                     const struct vae_shape *shape, const struct cut *cut,
                     struct vae_plan *out, struct err *e);

/* "4 tiles of 240x544" */
enum { CUT_TEXT_BYTES = 64 };
void cut_print(const struct vae_shape *shape, const struct cut *cut,
               char out[CUT_TEXT_BYTES]);

#endif
