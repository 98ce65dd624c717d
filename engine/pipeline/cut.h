/* cut.h - frames decoded in tiles: by several ranks, or when memory is short
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
 *
 * Ranks that decode together take tiles in turns: tile i is of rank i mod ranks, in
 * round i / ranks. Where nothing else asks for a cut, each has one strip across the
 * longer side of the frame. Strips at the edges have one border, those between two, so
 * the edge ones are wider: a border costs, over all layers, what 5/3 columns of latent
 * pixels do (6.25 at first, none in the end, and most of the work is near the end).
 */
#ifndef ENGINE_PIPELINE_CUT_H
#define ENGINE_PIPELINE_CUT_H

#include "engine/vae/vae.h"

/* Size of the tiles in pixels; those at the right and at the bottom may be smaller.
 * Zeros: `strips` strips, and whole frames when that is 0 too. */
struct cut {
    int64_t height, width;
    int strips; /* 0, or 2 and more */
};

enum cut_mode { CUT_AUTO, CUT_NEVER, CUT_GIVEN };

struct cut_wish {
    enum cut_mode mode;
    struct cut given;
};

/* "auto", "0" or "WxH" in steps of 8; NULL is "auto". */
enum status cut_parse(const char *text, struct cut_wish *out, struct err *e);

/* The cut for frames of this size and so many ranks: by ranks alone where a tile would
 * be the whole frame. */
struct cut cut_of(const struct cut_wish *wish, const struct vae_shape *shape,
                  int ranks);

/* The next smaller cut of the list; false: there is none. */
bool cut_smaller(const struct vae_shape *shape, struct cut *cut);

/* The tiles, row by row; none is larger than the first. */
int cut_count(const struct vae_shape *shape, const struct cut *cut);
struct vae_tile cut_tile(const struct vae_shape *shape, const struct cut *cut, int i);

/* How often ranks must decode a clip until all tiles are there. */
int cut_rounds(const struct vae_shape *shape, const struct cut *cut, int ranks);

/* What the largest tile needs to be decoded. Pure. */
enum status cut_plan(const struct vae_config *config, const struct ops *ops,
                     const struct vae_shape *shape, const struct cut *cut,
                     struct vae_plan *out, struct err *e);

/* Work of the busiest of `ranks` ranks, of that of whole frames on one. Pure. */
enum status cut_share(const struct vae_config *config, const struct ops *ops,
                      const struct vae_shape *shape, const struct cut *cut, int ranks,
                      double *out, struct err *e);

/* "4 tiles of 240x544", "4 strips of 248x544" */
enum { CUT_TEXT_BYTES = 64 };
void cut_print(const struct vae_shape *shape, const struct cut *cut,
               char out[CUT_TEXT_BYTES]);

#endif
