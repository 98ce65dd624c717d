/* comm_mpi.c - the transport over MPI-3: non-blocking calls that are tested for
 *
 * One tag is enough: two ranks post the messages between them in the same order, and
 * MPI keeps that order. Handlers return errors instead of ending the process.
 */
#include "dist/comm_mpi.h"

#include <assert.h>
#include <stdlib.h>

#include "dist/comm_transport.h"

enum { TAG = 1 };

struct mpi_comm {
    struct comm base;
    MPI_Comm handle;
    bool ends_mpi; /* this communicator started MPI */
};

struct mpi_flight {
    struct comm_flight base;
    int n, n_receives;     /* receives are begun first */
    MPI_Request request[]; /* requests_of(communicator) */
};

/* To and from every rank. */
static int requests_of(const struct comm *c)
{
    return 2 * (int)(COMM_PIECE_BYTES / COMM_MESSAGE_BYTES) * c->size;
}

static struct mpi_comm *mpi_of(struct comm *c)
{
    return (struct mpi_comm *)c;
}

static struct mpi_flight *flight_of(struct comm_flight *f)
{
    return (struct mpi_flight *)f;
}

MPI_Comm comm_mpi_handle(const struct comm *c)
{
    return c->transport == &comm_mpi ? ((const struct mpi_comm *)c)->handle
                                     : MPI_COMM_NULL;
}

enum status comm_mpi_status(int code, const char *what, struct err *e)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;

    if (code == MPI_SUCCESS)
        return ST_OK;
    MPI_Error_string(code, text, &length);
    return err_set(e, ST_DEVICE, "%s among ranks failed: %s", what, text);
}

/* The one place where a length becomes MPI's int; comm.c has refused longer ones. */
static int mpi_count(size_t n)
{
    assert(n <= COMM_MESSAGE_BYTES);
    return (int)n;
}

/* ---- making ---------------------------------------------------------------------- */

/* Wrap `handle`, which becomes the communicator's. */
static enum status wrap(MPI_Comm handle, bool ends_mpi, struct comm **out,
                        struct err *e)
{
    struct mpi_comm *c = calloc(1, sizeof(*c));

    if (!c) {
        MPI_Comm_free(&handle);
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    }
    c->base.transport = &comm_mpi;
    c->handle = handle;
    c->ends_mpi = ends_mpi;
    MPI_Comm_set_errhandler(handle, MPI_ERRORS_RETURN);
    MPI_Comm_rank(handle, &c->base.rank);
    MPI_Comm_size(handle, &c->base.size);
    *out = &c->base;
    return ST_OK;
}

static enum status mpi_open(struct comm **out, struct err *e)
{
    int ready = 0, over = 0, level;
    MPI_Comm handle;

    MPI_Initialized(&ready);
    MPI_Finalized(&over);
    if (over)
        return err_set(e, ST_DEVICE, "cannot start MPI a second time");
    if (!ready)
        TRY(comm_mpi_status(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level),
                            "start", e));
    TRY(comm_mpi_status(MPI_Comm_dup(MPI_COMM_WORLD, &handle), "start", e));
    return wrap(handle, !ready, out, e);
}

static void mpi_close(struct comm *c)
{
    struct mpi_comm *m = mpi_of(c);
    bool ends_mpi = m->ends_mpi;

    MPI_Comm_free(&m->handle);
    free(m);
    if (ends_mpi)
        MPI_Finalize();
}

static enum status mpi_split(struct comm *c, int color, int key, struct comm **out,
                             struct err *e)
{
    MPI_Comm handle;

    TRY(comm_mpi_status(MPI_Comm_split(mpi_of(c)->handle,
                                       color < 0 ? MPI_UNDEFINED : color, key, &handle),
                        "split", e));
    if (handle != MPI_COMM_NULL)
        return wrap(handle, false, out, e);
    *out = NULL;
    return ST_OK;
}

static enum status mpi_split_node(struct comm *c, struct comm **out, struct err *e)
{
    MPI_Comm handle;

    TRY(comm_mpi_status(MPI_Comm_split_type(mpi_of(c)->handle, MPI_COMM_TYPE_SHARED,
                                            c->rank, MPI_INFO_NULL, &handle),
                        "split", e));
    return wrap(handle, false, out, e);
}

static enum status mpi_flight_create(struct comm *c, struct comm_flight **out,
                                     struct err *e)
{
    size_t n = (size_t)requests_of(c);
    struct mpi_flight *f = calloc(1, sizeof(*f) + n * sizeof(f->request[0]));

    if (!f)
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    *out = &f->base;
    return ST_OK;
}

/* What has not ended, because a rank leaves with an error, must not write any more to
 * memory that is about to be given back. */
static void mpi_flight_destroy(struct comm_flight *f)
{
    struct mpi_flight *m = flight_of(f);

    for (int i = 0; i < m->n_receives; i++) {
        MPI_Cancel(&m->request[i]);
        MPI_Request_free(&m->request[i]);
    }
    free(m);
}

/* ---- moving ---------------------------------------------------------------------- */

static MPI_Request *next_request(struct comm_flight *f)
{
    struct mpi_flight *m = flight_of(f);

    assert(m->n < requests_of(f->comm));
    return &m->request[m->n];
}

/* The request that a call has filled counts when the call went well. */
static enum status started(struct comm_flight *f, int code, const char *what,
                           struct err *e)
{
    TRY(comm_mpi_status(code, what, e));
    flight_of(f)->n++;
    return ST_OK;
}

static enum status mpi_send(struct comm_flight *f, int to, struct comm_piece p,
                            struct err *e)
{
    return started(f,
                   MPI_Isend(p.data, mpi_count(p.bytes), MPI_BYTE, to, TAG,
                             mpi_of(f->comm)->handle, next_request(f)),
                   "send", e);
}

static enum status mpi_receive(struct comm_flight *f, int from, struct comm_piece p,
                               struct err *e)
{
    TRY(started(f,
                MPI_Irecv(p.data, mpi_count(p.bytes), MPI_BYTE, from, TAG,
                          mpi_of(f->comm)->handle, next_request(f)),
                "receive", e));
    flight_of(f)->n_receives++;
    return ST_OK;
}

static enum status mpi_broadcast(struct comm_flight *f, int root, struct comm_piece p,
                                 struct err *e)
{
    return started(f,
                   MPI_Ibcast(p.data, mpi_count(p.bytes), MPI_BYTE, root,
                              mpi_of(f->comm)->handle, next_request(f)),
                   "broadcast", e);
}

static enum status mpi_sum(struct comm_flight *f, int64_t *values, int64_t n,
                           struct err *e)
{
    return started(f,
                   MPI_Iallreduce(MPI_IN_PLACE, values, mpi_count((size_t)n),
                                  MPI_INT64_T, MPI_SUM, mpi_of(f->comm)->handle,
                                  next_request(f)),
                   "sum", e);
}

static enum status mpi_least(struct comm_flight *f, int *word, struct err *e)
{
    return started(f,
                   MPI_Iallreduce(MPI_IN_PLACE, word, 1, MPI_INT, MPI_MIN,
                                  mpi_of(f->comm)->handle, next_request(f)),
                   "agreement", e);
}

static enum status mpi_barrier(struct comm_flight *f, struct err *e)
{
    return started(f, MPI_Ibarrier(mpi_of(f->comm)->handle, next_request(f)), "barrier",
                   e);
}

static enum status mpi_test(struct comm_flight *f, bool *done, struct err *e)
{
    struct mpi_flight *m = flight_of(f);
    int all = 0;

    TRY(comm_mpi_status(MPI_Testall(m->n, m->request, &all, MPI_STATUSES_IGNORE),
                        "exchange", e));
    if (all)
        m->n = m->n_receives = 0;
    *done = all;
    return ST_OK;
}

const struct comm_transport comm_mpi = {
    .name = "mpi",
    .open = mpi_open,
    .close = mpi_close,
    .split = mpi_split,
    .split_node = mpi_split_node,
    .flight_create = mpi_flight_create,
    .flight_destroy = mpi_flight_destroy,
    .send = mpi_send,
    .receive = mpi_receive,
    .broadcast = mpi_broadcast,
    .sum = mpi_sum,
    .least = mpi_least,
    .barrier = mpi_barrier,
    .test = mpi_test,
};
