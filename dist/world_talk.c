/* world_talk.c - verdicts and small data among all ranks */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dist/world_inside.h"
#include "kernels/base/hash.h"

enum status world_said(struct world *w, enum status st)
{
    if (st != ST_OK)
        world_tear(w);
    return st;
}

/* What is kept of an error, with the rank that it is of when that is not obvious. */
static void verdict_take(struct world *w, enum status st, const struct err *mine)
{
    memset(&w->verdict, 0, sizeof(w->verdict));
    if (mine)
        w->verdict = *mine;
    w->verdict.status = st;
    if (w->facts.rank > 0)
        err_prefix(&w->verdict, "rank %d on %s", w->facts.rank, w->facts.host);
}

enum status world_agree(struct world *w, enum status st, struct err *e)
{
    enum status all;
    int failed;

    if (w->facts.size == 1 || w->torn)
        return st;
    if (w->verdict.status != ST_OK && st == w->verdict.status)
        return st; /* on its way up; callers may have put words before it */
    if (w->verdict.status == ST_OK) {
        TRY(world_said(w, comm_agree(w->all, st, &all, &failed, e)));
        if (all == ST_OK)
            return ST_OK;
        if (failed == w->facts.rank)
            verdict_take(w, st, e);
        TRY(world_said(
            w, comm_broadcast(w->all, failed, &w->verdict, sizeof(w->verdict), e)));
    }
    if (e)
        *e = w->verdict;
    return w->verdict.status;
}

enum status world_bcast(struct world *w, void *data, size_t bytes, struct err *e)
{
    TRY(world_agree(w, ST_OK, e));
    return world_said(w, comm_broadcast(w->all, 0, data, bytes, e));
}

enum status world_node_bcast(struct world *w, void *data, size_t bytes, struct err *e)
{
    TRY(world_agree(w, ST_OK, e));
    return world_said(w, comm_broadcast(w->node, 0, data, bytes, e));
}

enum status world_gather(struct world *w, const void *mine, size_t bytes, void *all,
                         struct err *e)
{
    size_t n = (size_t)w->facts.size;
    struct comm_piece *pieces = calloc(n, sizeof(*pieces));
    struct comm_piece send = {(void *)(uintptr_t)mine, bytes};
    enum status st = ST_OK;

    if (!pieces)
        st = err_set(e, ST_RESOURCE, "out of memory: %zu ranks", n);
    st = world_agree(w, st, e);
    if (st == ST_OK) {
        for (size_t i = 0; i < n; i++)
            pieces[i] = (struct comm_piece){(char *)all + i * bytes, bytes};
        st = world_said(w, comm_allgather(w->all, send, pieces, e));
    }
    free(pieces);
    return st;
}

enum status world_same(struct world *w, const char *what, const void *data,
                       size_t bytes, struct err *e)
{
    uint64_t mine = hash_fnv1a(data, bytes), first = mine;
    enum status st = ST_OK;

    TRY(world_bcast(w, &first, sizeof(first), e));
    if (mine != first)
        st = err_set(e, ST_USAGE, "started with other %s than rank 0", what);
    return world_agree(w, st, e);
}
