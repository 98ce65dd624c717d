/* area.h - which part of a picture a layer computes, when only a tile is wanted
 *
 * Inside engine/vae only. A tile of frames depends on more of the layers before it: a
 * kernel of 3 x 3 needs a pixel more on every side, and doubling halves what is needed.
 * So the part shrinks on its way through the net, until just the tile is left:
 *
 *     needed before the last stage   | border |      tile      | border |
 *     after its first convolution      |border|      tile      |border|
 *     …                                        |      tile      |
 *
 * A side that is an edge of the whole picture does not shrink: there the convolution
 * pads with zeros, as it does without tiles. Every value is computed from the same
 * numbers as without tiles, so tiles join without a seam, and without blending.
 *
 * Behind the attention of the middle, which sees the whole frame, and the blocks of its
 * resolution, 6.25 latent pixels of border are left (7 when the tile begins at a latent
 * pixel); the layers before that point always run on the whole frame. They take about
 * 5 % of the work (encoders-vae-formats 4.13). */
#ifndef ENGINE_VAE_AREA_H
#define ENGINE_VAE_AREA_H

#include "engine/vae/net.h"

/* [y, y + h) x [x, x + w) of a picture of whole_h x whole_w, in its pixels. */
struct area {
    int64_t y, x, h, w, whole_h, whole_w;
};

struct area area_whole(int64_t h, int64_t w);
bool area_same(const struct area *a, const struct area *b);

/* What is left by a 3 x 3 kernel, and the way back: what it needs. */
struct area area_inner(const struct area *a);
struct area area_outer(const struct area *a);

/* The same part of the doubled picture; what doubling must be given for `a`. */
struct area area_double(const struct area *a);
struct area area_halve(const struct area *a);

/* Zeros that a 3 x 3 kernel thinks around `a`, on t, h, w. */
void area_pad(const struct area *a, int pad_lo[3], int pad_hi[3]);

/* `t` [n,h,w,c] holds `have`: the part of it that is `want`, which lies inside. */
struct tensor area_view(const struct tensor *t, const struct area *have,
                        const struct area *want);

/* What layer `i` must be given so that the last one gives `tile`; from the first
 * doubling on. */
struct area area_needed(const struct net *net, int i, const struct area *tile);

#endif
