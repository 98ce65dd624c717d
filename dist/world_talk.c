/* world_talk.c - verdicts and small data among all ranks, waiting asleep
 *
 * MPI's own waiting spins, and with several ranks to a core it spins on a core that the
 * rank with work needs. So every call here is non-blocking, and its completion is asked
 * for between naps that grow to a millisecond.
 */
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dist/world_mpi.h"

enum {
    EAGER_POLLS = 64, /* before the first nap: about 20 microseconds */
    NAP_FIRST_NS = 20000,
    NAP_LONGEST_NS = 1000000,
    PIECE_BYTES = 1 << 30, /* MPI counts in int */
};

enum status world_check(struct world *w, int code, const char *what, struct err *e)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;

    if (code == MPI_SUCCESS)
        return ST_OK;
    world_tear(w);
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        text[0] = '\0';
    return err_set(e, ST_DEVICE, "cannot %s among %d ranks: %s", what, w->facts.size,
                   text);
}

enum status world_wait(struct world *w, MPI_Request *request, const char *what,
                       struct err *e)
{
    struct timespec nap = {0, NAP_FIRST_NS};
    int done = 0;

    for (int i = 0;; i++) {
        TRY(world_check(w, MPI_Test(request, &done, MPI_STATUS_IGNORE), what, e));
        if (done)
            return ST_OK;
        if (i < EAGER_POLLS) {
            sched_yield();
            continue;
        }
        nanosleep(&nap, NULL);
        if (nap.tv_nsec < NAP_LONGEST_NS)
            nap.tv_nsec *= 2;
    }
}

/* ---- agreement ------------------------------------------------------------------- */

static enum status bcast_from(struct world *w, MPI_Comm comm, int root, void *data,
                              size_t bytes, struct err *e)
{
    MPI_Request request;

    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        size_t n = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;

        TRY(world_check(
            w, MPI_Ibcast((char *)data + at, (int)n, MPI_BYTE, root, comm, &request),
            "broadcast", e));
        TRY(world_wait(w, &request, "broadcast", e));
    }
    return ST_OK;
}

/* The first rank that failed, or the number of ranks. */
static enum status first_failed(struct world *w, enum status st, int *out,
                                struct err *e)
{
    int mine = st == ST_OK ? w->facts.size : w->facts.rank;
    MPI_Request request;

    TRY(world_check(w,
                    MPI_Iallreduce(&mine, out, 1, MPI_INT, MPI_MIN, w->comm, &request),
                    "agree", e));
    return world_wait(w, &request, "agree", e);
}

/* What is kept of an error, with the rank that it is of when that is not obvious. */
static void verdict_take(struct world *w, enum status st, const struct err *mine)
{
    w->verdict.status = st;
    memcpy(w->verdict.text, mine ? mine->text : "", mine ? ERR_TEXT_BYTES : 1);
    if (w->facts.rank > 0)
        err_prefix(&w->verdict, "rank %d on %s", w->facts.rank, w->facts.host);
}

enum status world_agree(struct world *w, enum status st, struct err *e)
{
    int failed;

    if (!w->mpi || w->torn)
        return st;
    if (w->verdict.status == ST_OK) {
        TRY(first_failed(w, st, &failed, e));
        if (failed == w->facts.size)
            return ST_OK;
        if (failed == w->facts.rank)
            verdict_take(w, st, e);
        TRY(bcast_from(w, w->comm, failed, &w->verdict, sizeof(w->verdict), e));
    }
    if (e)
        *e = w->verdict;
    return w->verdict.status;
}

/* ---- data ------------------------------------------------------------------------ */

enum status world_bcast(struct world *w, void *data, size_t bytes, struct err *e)
{
    TRY(world_agree(w, ST_OK, e));
    return w->mpi ? bcast_from(w, w->comm, 0, data, bytes, e) : ST_OK;
}

enum status world_node_bcast(struct world *w, void *data, size_t bytes, struct err *e)
{
    TRY(world_agree(w, ST_OK, e));
    return w->mpi ? bcast_from(w, w->node, 0, data, bytes, e) : ST_OK;
}

enum status world_gather(struct world *w, const void *mine, size_t bytes, void *all,
                         struct err *e)
{
    MPI_Request request;

    TRY(world_agree(w, ST_OK, e));
    if (!w->mpi) {
        memcpy(all, mine, bytes);
        return ST_OK;
    }
    if (bytes > PIECE_BYTES)
        return err_set(e, ST_USAGE, "cannot gather %zu bytes", bytes);
    TRY(world_check(w,
                    MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes,
                                   MPI_BYTE, w->comm, &request),
                    "gather", e));
    return world_wait(w, &request, "gather", e);
}

/* FNV-1a: ranks compare what they were given, nobody is attacked by it. */
static uint64_t hash_of(const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < bytes; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

enum status world_same(struct world *w, const char *what, const void *data,
                       size_t bytes, struct err *e)
{
    uint64_t mine = hash_of(data, bytes), first = mine;
    enum status st = ST_OK;

    TRY(world_bcast(w, &first, sizeof(first), e));
    if (mine != first)
        st = err_set(e, ST_USAGE, "started with other %s than rank 0", what);
    return world_agree(w, st, e);
}
