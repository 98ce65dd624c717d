/* world_mpi.h - the inside of a world, for the files of this folder that talk MPI */
#ifndef DIST_WORLD_MPI_H
#define DIST_WORLD_MPI_H

#include <mpi.h>

#include "dist/world.h"

struct world {
    struct world_facts facts;
    bool mpi;            /* false: a lone rank, the communicators are not there */
    MPI_Comm comm, node; /* our own copies, errors are returned */
    bool torn;
    struct err verdict;           /* the failure that was agreed on */
    struct world_window *windows; /* closed here, not yet in MPI */
};

/* MPI's error code as ST_DEVICE and a torn world; `what` was tried. */
enum status world_check(struct world *w, int code, const char *what, struct err *e);

/* Wait for a request asleep. */
enum status world_wait(struct world *w, MPI_Request *request, const char *what,
                       struct err *e);

/* Give closed windows back to MPI. Collective, at the very end: without an agreement.
 */
void world_windows_free(struct world *w);

#endif
