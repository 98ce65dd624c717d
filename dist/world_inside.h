/* world_inside.h - what world.c, world_talk.c and window.c share */
#ifndef DIST_WORLD_INSIDE_H
#define DIST_WORLD_INSIDE_H

#include "dist/comm.h"
#include "dist/world.h"

struct world {
    struct world_facts facts;
    struct comm *all, *node;
    bool torn;
    struct err verdict;           /* the failure that was agreed on */
    struct world_window *windows; /* closed here, not yet in MPI */
};

/* Pass `st` on; a failure to talk tears the world. */
enum status world_said(struct world *w, enum status st);

/* Give closed windows back to MPI. Collective, at the very end: without an agreement.
 */
void world_windows_free(struct world *w);

#endif
