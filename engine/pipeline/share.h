/* share.h - one copy of weights per machine, for a weight store
 *
 * The first rank of every machine reads into memory that all its ranks see
 * (dist/world.h); the others borrow views of it.
 */
#ifndef ENGINE_PIPELINE_SHARE_H
#define ENGINE_PIPELINE_SHARE_H

#include "dist/world.h"
#include "engine/weights/weights.h"

struct share {
    struct weights_share calls; /* for weights_policy */
    struct world *world;
    struct world_window *window;
};

/* `s` must stay where it is; `world` is borrowed. For one store. */
void share_init(struct share *s, struct world *world);

#endif
