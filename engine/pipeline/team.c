/* team.c - parts of a weight store from one rank to the others
 *
 * Among devices an exchange has a queue of its own, which waits for the work that fills
 * a part, so that reading goes on while parts travel. In host memory it ends when the
 * next one begins. */
#include "engine/pipeline/team.h"

#include <stdlib.h>

#include "kernels/ops.h"

/* ---- opening --------------------------------------------------------------------- */

static enum status comm_get(struct team *t, struct err *e)
{
    const struct world_facts *f = world_facts(t->world);

    switch (t->of) {
    case TEAM_NODE:
        return comm_split_node(t->ranks, &t->comm, e);
    case TEAM_ALL:
        return comm_split(t->ranks, 0, f->rank, &t->comm, e);
    default:
        return comm_split(t->ranks, f->node_rank == 0 ? 0 : -1, f->node, &t->comm, e);
    }
}

static enum status parts_open(struct team *t, struct err *e)
{
    if (!t->comm)
        return ST_OK;
    TRY(comm_flight_create(t->comm, &t->flight, e));
    if (!comm_over_device(t->comm))
        return ST_OK;
    TRY(ops_queue_open(t->ops, NULL, 0, &t->queue, e));
    return ops_event_open(t->ops, &t->filled, e);
}

/* Devices that do not connect have left others waiting. */
static enum status team_open(void *self, struct ops *ops, struct err *e)
{
    struct team *t = self;
    enum status st;

    t->ops = ops;
    TRY(world_agree(t->world, ST_OK, e));
    st = comm_get(t, e);
    if (st == ST_DEVICE)
        world_tear(t->world);
    return st == ST_OK ? parts_open(t, e) : st;
}

/* After a loss nothing is given back: what has not ended may still use it. */
static void team_close(void *self)
{
    struct team *t = self;

    if (world_torn(t->world))
        return;
    comm_flight_destroy(t->flight);
    ops_event_close(t->ops, t->filled);
    ops_queue_close(t->ops, t->queue);
    comm_close(t->comm);
    t->flight = NULL;
    t->filled = NULL;
    t->queue = NULL;
    t->comm = NULL;
}

/* ---- talking --------------------------------------------------------------------- */

static enum status team_agree(void *self, enum status st, struct err *e)
{
    struct team *t = self;

    return world_agree(t->world, st, e);
}

/* A rank that fails while parts travel cannot meet the others. */
static enum status said(struct team *t, enum status st)
{
    if (st != ST_OK) {
        world_tear(t->world);
        comm_abort(t->ranks);
    }
    return st;
}

static enum status exchange(struct team *t, struct queue *q,
                            const struct comm_piece *pieces, struct err *e)
{
    if (t->queue) {
        TRY(ops_event_record(t->ops, q, t->filled, e));
        TRY(ops_event_await(t->ops, t->queue, t->filled, e));
    }
    TRY(comm_end(t->flight, t->queue, e));
    return comm_allgather_begin(t->flight, t->queue, pieces[comm_rank(t->comm)], pieces,
                                e);
}

static enum status team_pass(void *self, struct queue *q,
                             const struct weights_piece *pieces, struct err *e)
{
    struct team *t = self;
    int n = comm_size(t->comm);
    struct comm_piece *parts = calloc((size_t)n, sizeof(*parts));
    enum status st;

    if (!parts)
        return said(t, err_set(e, ST_RESOURCE, "cannot load weights: out of memory"));
    for (int i = 0; i < n; i++)
        parts[i] = (struct comm_piece){pieces[i].data, pieces[i].bytes};
    st = said(t, exchange(t, q, parts, e));
    free(parts);
    return st;
}

static enum status team_finish(void *self, struct err *e)
{
    struct team *t = self;
    enum status st;

    if (!t->comm)
        return ST_OK;
    st = comm_end(t->flight, t->queue, e);
    if (st == ST_OK && t->queue)
        st = ops_queue_wait(t->ops, t->queue, e);
    return said(t, st);
}

static enum status team_sum(void *self, int64_t *values, int64_t n, struct err *e)
{
    struct team *t = self;

    return said(t, comm_sum(t->comm, values, n, e));
}

/* ---- who belongs to it ----------------------------------------------------------- */

void team_init(struct team *t, enum team_of of, struct world *world)
{
    const struct world_facts *f = world_facts(world);
    struct weights_team calls = {
        .self = t,
        .rank = of == TEAM_NODE  ? f->node_rank
                : of == TEAM_ALL ? f->rank
                                 : f->node,
        .size = of == TEAM_NODE  ? f->node_size
                : of == TEAM_ALL ? f->size
                                 : f->nodes,
        .open = team_open,
        .agree = team_agree,
        .pass = team_pass,
        .finish = team_finish,
        .sum = team_sum,
        .close = team_close,
    };

    if (of == TEAM_LEADERS && f->node_rank != 0)
        calls.size = 0;
    *t = (struct team){.calls = calls, .world = world, .of = of};
}

void team_use(struct team *t, struct comm *ranks)
{
    t->ranks = ranks;
}
