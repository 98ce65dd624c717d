/* reading.h - which ranks read the transformer's weights, and how the others get them
 *
 *     --read_weights   in host memory                   among GPUs
 *     node             the first rank of a machine,     the ranks of a machine a part
 *                      into memory that all see         each (TEAM_NODE)
 *     once             the first ranks of all machines  all ranks a part each
 *                      a part each, likewise            (TEAM_ALL)
 *     each             every rank all of it             every rank all of it
 *     auto             node                             node
 *
 * `once` spares a file system that all machines read from, and sends everything between
 * them instead.
 */
#ifndef ENGINE_PIPELINE_READING_H
#define ENGINE_PIPELINE_READING_H

#include "engine/pipeline/job.h"
#include "engine/pipeline/share.h"
#include "engine/pipeline/team.h"

struct reading {
    struct share share;
    struct team team;
    bool shares, teams;
    enum weights_way way;
};

/* `r` must stay where it is; `o->world` is borrowed. For one store at a time. */
void reading_init(struct reading *r, const struct engine_options *o,
                  const struct ops *ops);

/* Make a store's policy follow it. Before weights_load comes team_use(&r->team, …). */
void reading_apply(struct reading *r, struct weights_policy *policy);

#endif
