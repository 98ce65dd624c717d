/* team.h - ranks that read the transformer's weights together, for the weight store
 *
 * Each reads a part of the files and passes it on in its final form: through NCCL among
 * GPUs, through MPI in host memory. Teams are
 *
 *     TEAM_NODE     the ranks of every machine: its files are read once per machine
 *     TEAM_ALL      all ranks: files are read once per launch, which spares a file
 *                   system that machines share
 *     TEAM_LEADERS  the first ranks of all machines, when those of a machine share
 *                   memory (share.h): once per launch too
 *
 *     team_init(&t, TEAM_NODE, world);
 *     policy.team = &t.calls;
 *     team_use(&t, ranks);              before weights_load
 */
#ifndef ENGINE_PIPELINE_TEAM_H
#define ENGINE_PIPELINE_TEAM_H

#include "dist/comm.h"
#include "dist/world.h"
#include "engine/weights/weights.h"

enum team_of { TEAM_NODE, TEAM_ALL, TEAM_LEADERS };

struct team {
    struct weights_team calls; /* for weights_policy */
    struct world *world;
    enum team_of of;
    struct comm *ranks; /* of the world, over the memory of the store */
    /* while a store is loaded */
    struct ops *ops;
    struct comm *comm; /* NULL: this rank is in no team */
    struct comm_flight *flight;
    struct queue *queue; /* of exchanges among devices */
    struct event *filled;
};

/* `t` must stay where it is; `world` is borrowed. For one store at a time. */
void team_init(struct team *t, enum team_of of, struct world *world);

/* `ranks` is borrowed while stores are loaded: a communicator of all ranks of the world
 * over the backend that loads. */
void team_use(struct team *t, struct comm *ranks);

#endif
