/* comm_nccl.c - the transport among GPUs: NCCL on a stream beside the queues
 *
 * All communicators of a process put their work on one stream of high priority, so that
 * it runs in the order in which it was begun, which is the same on every rank: two
 * communicators whose kernels waited for each other in another order would never end.
 *
 *     begin   stream waits for the queue, then copies, then one NCCL group
 *     end     queue waits for the group
 *
 * Communicators that were split from one with the same ranks in the same order share
 * its NCCL communicator ("link"): a mesh without a ring needs one, not three.
 *
 * NCCL is set not to block, so every call may answer "in progress" and is asked again,
 * with a deadline, until it is not. While a queue is waited for the links are asked for
 * errors (stream.h). After one all are aborted at the same time, each by a thread of
 * its own, because one abort can wait for another; a link that does not end in 5
 * seconds is left behind, for the process is about to end (cluster-and-recovery 6.3).
 *
 * How long a queue stood at an end is measured by events before and behind its wait,
 * read later, when the queue is past them; a ring of them is shared by all
 * communicators, and waits that find it full are not counted.
 */
#include <assert.h>
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "dist/comm_transport.h"
#include "kernels/base/clock.h"
#include "kernels/cuda/stream.h"

enum { STALLS = 2048, FIRST_BYTES = 256 };

static const double connect_seconds = 120.0;
static const double begin_seconds = 120.0;
static const double abort_seconds = 5.0;

/* One NCCL communicator. */
struct link {
    struct link *next;
    ncclComm_t nccl;
    int users;
};

/* A wait of a queue. */
struct stall {
    cudaEvent_t before, behind;
    struct comm *owner; /* NULL: closed */
};

/* What the communicators of a device share. */
struct gpu {
    struct ops *ops;
    int device, users;
    cudaStream_t stream;
    struct link *links;
    bool aborted;
    struct stall stall[STALLS];
    int first_stall, n_stalls;
};

struct nccl_comm {
    struct comm base;
    struct gpu *gpu;
    struct link *link; /* NULL: one rank */
};

enum deed { SEND, RECEIVE, COPY, SUM };

struct message {
    enum deed deed;
    int peer;
    void *data;
    const void *from; /* of a copy */
    size_t n;         /* bytes, or values of a sum */
};

struct nccl_flight {
    struct comm_flight base;
    cudaEvent_t begun, done;
    bool under_way;
    int n;
    struct message message[]; /* messages_of(communicator) */
};

static struct nccl_comm *nccl_of(struct comm *c)
{
    return (struct nccl_comm *)c;
}

static struct nccl_flight *flight_of(struct comm_flight *f)
{
    return (struct nccl_flight *)f;
}

static struct gpu *gpu_of(struct comm_flight *f)
{
    return nccl_of(f->comm)->gpu;
}

/* To and from every rank, and a copy. */
static int messages_of(const struct comm *c)
{
    return 2 * (int)(COMM_PIECE_BYTES / COMM_MESSAGE_BYTES) * c->size + 1;
}

/* ---- what the libraries say ------------------------------------------------------ */

static enum status cuda_says(cudaError_t code, const char *what, struct err *e)
{
    if (code == cudaSuccess)
        return ST_OK;
    return err_set(e, ST_DEVICE, "%s among gpus failed: %s", what,
                   cudaGetErrorString(code));
}

static enum status nccl_says(ncclResult_t code, const char *what, struct err *e)
{
    if (code == ncclSuccess)
        return ST_OK;
    if (code == ncclRemoteError)
        return err_set(e, ST_DEVICE, "%s among gpus failed: a rank is lost", what);
    return err_set(e, ST_DEVICE, "%s among gpus failed: %s", what,
                   ncclGetErrorString(code));
}

static void give_way(double waited)
{
    static const double poll_seconds = 100e-6;
    static const struct timespec nap = {0, 50000};

    if (waited < poll_seconds)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

/* Ask again while `code`, which a call on the link gave, is "in progress". */
static enum status settle(const struct link *l, ncclResult_t code, double seconds,
                          const char *what, struct err *e)
{
    double since = clock_seconds();

    while (code == ncclInProgress) {
        double waited = clock_seconds() - since;

        TRY(nccl_says(ncclCommGetAsyncError(l->nccl, &code), what, e));
        if (code == ncclInProgress && waited > seconds)
            return err_set(e, ST_DEVICE, "%s among gpus has not ended in %.0f s", what,
                           seconds);
        if (code == ncclInProgress)
            give_way(waited);
    }
    return nccl_says(code, what, e);
}

/* Called while a queue is waited for. */
static enum status gpu_look(void *self, struct err *e)
{
    const struct gpu *g = self;
    ncclResult_t code;

    for (const struct link *l = g->links; l; l = l->next) {
        TRY(nccl_says(ncclCommGetAsyncError(l->nccl, &code), "exchange", e));
        if (code != ncclInProgress)
            TRY(nccl_says(code, "exchange", e));
    }
    return ST_OK;
}

/* ---- links ----------------------------------------------------------------------- */

/* A few bytes to and from everybody, and a sum: what NCCL sets up on first use is set
 * up here, and what does not work fails before anything depends on it. */
static enum status first_exchange(const struct gpu *g, const struct link *l,
                                  int64_t *memory, int size, struct err *e)
{
    char *bytes = (char *)memory + FIRST_BYTES;
    double since = clock_seconds();
    cudaError_t code;

    TRY(nccl_says(ncclGroupStart(), "start", e));
    for (int p = 0; p < size; p++) {
        ncclSend(bytes, FIRST_BYTES, ncclUint8, p, l->nccl, g->stream);
        ncclRecv(bytes + (size_t)(p + 1) * FIRST_BYTES, FIRST_BYTES, ncclUint8, p,
                 l->nccl, g->stream);
    }
    TRY(settle(l, ncclGroupEnd(), connect_seconds, "start", e));
    TRY(settle(l,
               ncclAllReduce(memory, memory, 1, ncclInt64, ncclSum, l->nccl, g->stream),
               connect_seconds, "start", e));
    while ((code = cudaStreamQuery(g->stream)) == cudaErrorNotReady) {
        double waited = clock_seconds() - since;

        cudaGetLastError();
        if (waited > connect_seconds)
            return err_set(e, ST_DEVICE, "start among gpus has not ended in %.0f s",
                           connect_seconds);
        give_way(waited);
    }
    return cuda_says(code, "start", e);
}

static enum status link_try(const struct gpu *g, const struct link *l, int size,
                            struct err *e)
{
    int64_t *memory;
    enum status st;

    TRY(cuda_says(cudaMalloc((void **)&memory, (size_t)(size + 2) * FIRST_BYTES),
                  "memory", e));
    TRY_GOTO(st,
             cuda_says(cudaMemsetAsync(memory, 0, (size_t)(size + 2) * FIRST_BYTES,
                                       g->stream),
                       "start", e),
             out_free);
    st = first_exchange(g, l, memory, size, e);

out_free:
    cudaFree(memory);
    return st;
}

/* Rank 0 makes the name that all meet under. */
static enum status meeting(struct comm *host, ncclUniqueId *id, struct err *e)
{
    struct {
        ncclResult_t code;
        ncclUniqueId id;
    } word = {ncclSuccess, {{0}}};

    if (comm_rank(host) == 0)
        word.code = ncclGetUniqueId(&word.id);
    TRY(comm_broadcast(host, 0, &word, sizeof(word), e));
    *id = word.id;
    return nccl_says(word.code, "start", e);
}

static enum status link_open(struct gpu *g, struct comm *host, struct link **out,
                             struct err *e)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    struct link *l;
    ncclUniqueId id;
    ncclResult_t code;

    *out = NULL;
    if (comm_size(host) == 1)
        return ST_OK;
    TRY(meeting(host, &id, e));
    l = calloc(1, sizeof(*l));
    if (!l)
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    config.blocking = 0;
    code = ncclCommInitRankConfig(&l->nccl, comm_size(host), id, comm_rank(host),
                                  &config);
    l->users = 1;
    l->next = g->links;
    g->links = l; /* from now on closing the communicators ends it */
    *out = l;
    TRY(settle(l, code, connect_seconds, "start", e));
    return link_try(g, l, comm_size(host), e);
}

static void link_close(struct gpu *g, struct link *l)
{
    struct link **at = &g->links;
    struct err e = ERR_INIT;

    if (!l || --l->users > 0)
        return;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (l->nccl &&
        settle(l, ncclCommFinalize(l->nccl), abort_seconds, "end", &e) == ST_OK)
        ncclCommDestroy(l->nccl);
    free(l);
}

/* ---- aborting -------------------------------------------------------------------- */

struct ending {
    atomic_int left;
    int n;
    struct ending_one {
        struct ending *all;
        ncclComm_t nccl;
    } one[];
};

static void *abort_one(void *self)
{
    struct ending_one *one = self;

    ncclCommAbort(one->nccl);
    atomic_fetch_sub(&one->all->left, 1);
    return NULL;
}

/* A thread for each link; those that do not end in time go on alone. */
static void links_abort(struct gpu *g, struct ending *all)
{
    double since = clock_seconds();
    pthread_t thread;

    for (struct link *l = g->links; l; l = l->next) {
        if (l->nccl)
            all->one[all->n++] = (struct ending_one){all, l->nccl};
        l->nccl = NULL;
    }
    atomic_store(&all->left, all->n);
    for (int i = 0; i < all->n; i++) {
        if (pthread_create(&thread, NULL, abort_one, &all->one[i]) == 0)
            pthread_detach(thread);
    }
    while (atomic_load(&all->left) > 0 && clock_seconds() - since < abort_seconds)
        give_way(clock_seconds() - since);
    if (atomic_load(&all->left) == 0)
        free(all);
}

static void nccl_abort(struct comm *c)
{
    struct gpu *g = nccl_of(c)->gpu;
    struct ending *all;
    size_t n = 0;

    if (g->aborted)
        return;
    g->aborted = true;
    cuda_watch(g->ops, NULL, NULL);
    for (struct link *l = g->links; l; l = l->next)
        n++;
    all = calloc(1, sizeof(*all) + n * sizeof(all->one[0]));
    if (all)
        links_abort(g, all);
}

/* ---- the device ------------------------------------------------------------------ */

static enum status stalls_open(struct gpu *g, struct err *e)
{
    for (int i = 0; i < STALLS; i++) {
        TRY(cuda_says(cudaEventCreate(&g->stall[i].before), "start", e));
        TRY(cuda_says(cudaEventCreate(&g->stall[i].behind), "start", e));
    }
    return ST_OK;
}

static void gpu_close(struct gpu *g)
{
    if (--g->users > 0)
        return;
    cuda_watch(g->ops, NULL, NULL);
    for (int i = 0; i < STALLS; i++) {
        if (g->stall[i].before)
            cudaEventDestroy(g->stall[i].before);
        if (g->stall[i].behind)
            cudaEventDestroy(g->stall[i].behind);
    }
    if (g->stream)
        cudaStreamDestroy(g->stream);
    free(g);
}

static enum status gpu_open(struct ops *ops, struct gpu **out, struct err *e)
{
    struct gpu *g = calloc(1, sizeof(*g));
    int lowest, highest;
    enum status st;

    if (!g)
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    g->ops = ops;
    g->device = cuda_device_of(ops);
    g->users = 1;
    TRY_GOTO(st, cuda_says(cudaSetDevice(g->device), "start", e), err_close);
    TRY_GOTO(st,
             cuda_says(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "start", e),
             err_close);
    TRY_GOTO(st,
             cuda_says(cudaStreamCreateWithPriority(&g->stream, cudaStreamNonBlocking,
                                                    highest),
                       "start", e),
             err_close);
    TRY_GOTO(st, stalls_open(g, e), err_close);
    cuda_watch(ops, gpu_look, g);
    *out = g;
    return ST_OK;

err_close:
    gpu_close(g);
    return st;
}

/* ---- how long queues stood ------------------------------------------------------- */

static void stalls_count(struct gpu *g)
{
    float ms;

    while (g->n_stalls > 0) {
        struct stall *s = &g->stall[g->first_stall];

        if (cudaEventQuery(s->behind) != cudaSuccess) {
            cudaGetLastError();
            return;
        }
        if (s->owner && cudaEventElapsedTime(&ms, s->before, s->behind) == cudaSuccess)
            s->owner->stats.seconds += 1e-3 * (double)ms;
        g->first_stall = (g->first_stall + 1) % STALLS;
        g->n_stalls--;
    }
}

static void nccl_count(struct comm *c)
{
    stalls_count(nccl_of(c)->gpu);
}

/* A closed communicator counts no more. */
static void stalls_forget(struct gpu *g, const struct comm *c)
{
    for (int i = 0; i < STALLS; i++) {
        if (g->stall[i].owner == c)
            g->stall[i].owner = NULL;
    }
}

/* ---- making ---------------------------------------------------------------------- */

static void nccl_close(struct comm *c)
{
    struct nccl_comm *n = nccl_of(c);

    stalls_forget(n->gpu, c);
    link_close(n->gpu, n->link);
    gpu_close(n->gpu);
    comm_close(c->host);
    free(n);
}

/* The ranks of `host`, which it takes over, on `g`; `like` may have the same ranks. */
static enum status wrap(struct gpu *g, struct comm *host, const struct nccl_comm *like,
                        struct comm **out, struct err *e)
{
    struct nccl_comm *n = calloc(1, sizeof(*n));
    enum status same = ST_USAGE;
    enum status st;
    int first;

    if (!n) {
        comm_close(host);
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    }
    n->base.transport = &comm_nccl;
    n->base.rank = comm_rank(host);
    n->base.size = comm_size(host);
    n->base.host = host;
    n->gpu = g;
    g->users++;
    if (like && n->base.size == like->base.size)
        TRY_GOTO(st,
                 comm_agree(host, n->base.rank == like->base.rank ? ST_OK : ST_USAGE,
                            &same, &first, e),
                 err_close);
    if (same == ST_OK && like->link) {
        n->link = like->link;
        n->link->users++;
    } else {
        TRY_GOTO(st, link_open(g, host, &n->link, e), err_close);
    }
    *out = &n->base;
    return ST_OK;

err_close:
    nccl_abort(&n->base);
    nccl_close(&n->base);
    return st;
}

/* Ranks with other versions of NCCL than rank 0 would wait for each other. All ranks
 * learn of the first. */
static enum status versions_compare(struct comm *host, const int *version,
                                    struct err *e)
{
    for (int r = 1; r < comm_size(host); r++) {
        if (version[r] != version[0])
            return err_set(e, ST_USAGE,
                           "rank %d has NCCL %d.%d.%d, rank 0 has %d.%d.%d: all ranks "
                           "must have one version",
                           r, version[r] / 10000, version[r] / 100 % 100,
                           version[r] % 100, version[0] / 10000, version[0] / 100 % 100,
                           version[0] % 100);
    }
    return ST_OK;
}

static enum status versions_check(struct comm *host, struct err *e)
{
    size_t n = (size_t)comm_size(host);
    struct comm_piece *receive = calloc(n, sizeof(*receive));
    int *version = calloc(n, sizeof(*version)), mine = 0;
    enum status st = ST_OK;

    if (!receive || !version)
        st = err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    for (size_t r = 0; r < n && st == ST_OK; r++)
        receive[r] = (struct comm_piece){&version[r], sizeof(*version)};
    if (st == ST_OK)
        st = nccl_says(ncclGetVersion(&mine), "start", e);
    if (st == ST_OK)
        st = comm_allgather(host, (struct comm_piece){&mine, sizeof(mine)}, receive, e);
    if (st == ST_OK)
        st = versions_compare(host, version, e);
    free(receive);
    free(version);
    return st;
}

static enum status nccl_over(struct comm *host, struct ops *ops, struct comm **out,
                             struct err *e)
{
    struct comm *own;
    struct gpu *g;
    enum status st;

    TRY(versions_check(host, e));
    TRY(gpu_open(ops, &g, e));
    st = comm_split(host, 0, comm_rank(host), &own, e);
    if (st == ST_OK)
        st = wrap(g, own, NULL, out, e);
    gpu_close(g); /* the communicator holds it now, if anybody */
    return st;
}

static enum status nccl_split(struct comm *c, int color, int key, struct comm **out,
                              struct err *e)
{
    struct comm *host;

    TRY(comm_split(c->host, color, key, &host, e));
    if (host)
        return wrap(nccl_of(c)->gpu, host, nccl_of(c), out, e);
    *out = NULL;
    return ST_OK;
}

static enum status nccl_split_node(struct comm *c, struct comm **out, struct err *e)
{
    struct comm *host;

    TRY(comm_split_node(c->host, &host, e));
    return wrap(nccl_of(c)->gpu, host, nccl_of(c), out, e);
}

static void nccl_flight_destroy(struct comm_flight *f)
{
    struct nccl_flight *n = flight_of(f);

    if (n->begun)
        cudaEventDestroy(n->begun);
    if (n->done)
        cudaEventDestroy(n->done);
    free(n);
}

static enum status nccl_flight_create(struct comm *c, struct comm_flight **out,
                                      struct err *e)
{
    size_t n = (size_t)messages_of(c);
    struct nccl_flight *f = calloc(1, sizeof(*f) + n * sizeof(f->message[0]));
    enum status st;

    if (!f)
        return err_set(e, ST_RESOURCE, "out of host memory for a communicator");
    TRY_GOTO(st, cuda_says(cudaSetDevice(nccl_of(c)->gpu->device), "event", e),
             err_destroy);
    TRY_GOTO(st,
             cuda_says(cudaEventCreateWithFlags(&f->begun, cudaEventDisableTiming),
                       "event", e),
             err_destroy);
    TRY_GOTO(st,
             cuda_says(cudaEventCreateWithFlags(&f->done, cudaEventDisableTiming),
                       "event", e),
             err_destroy);
    *out = &f->base;
    return ST_OK;

err_destroy:
    nccl_flight_destroy(&f->base);
    return st;
}

/* ---- moving ---------------------------------------------------------------------- */

static enum status nccl_start(struct comm_flight *f, struct queue *q, struct err *e)
{
    struct nccl_flight *n = flight_of(f);

    assert(!n->under_way);
    n->n = 0;
    TRY(cuda_says(cudaSetDevice(gpu_of(f)->device), "exchange", e));
    TRY(cuda_says(cudaEventRecord(n->begun, cuda_stream_of(q)), "exchange", e));
    return cuda_says(cudaStreamWaitEvent(gpu_of(f)->stream, n->begun, 0), "exchange",
                     e);
}

static enum status note(struct comm_flight *f, struct message m)
{
    struct nccl_flight *n = flight_of(f);

    assert(n->n < messages_of(f->comm));
    n->message[n->n++] = m;
    return ST_OK;
}

static enum status nccl_send(struct comm_flight *f, int to, struct comm_piece p,
                             struct err *e)
{
    (void)e;
    return note(f, (struct message){SEND, to, p.data, NULL, p.bytes});
}

static enum status nccl_receive(struct comm_flight *f, int from, struct comm_piece p,
                                struct err *e)
{
    (void)e;
    return note(f, (struct message){RECEIVE, from, p.data, NULL, p.bytes});
}

static enum status nccl_copy(struct comm_flight *f, struct comm_piece to,
                             struct comm_piece from, struct err *e)
{
    (void)e;
    return note(f, (struct message){COPY, 0, to.data, from.data, to.bytes});
}

static enum status nccl_sum(struct comm_flight *f, int64_t *values, int64_t count,
                            struct err *e)
{
    (void)e;
    return note(f, (struct message){SUM, 0, values, NULL, (size_t)count});
}

static ncclResult_t message_put(const struct message *m, ncclComm_t nccl,
                                cudaStream_t stream)
{
    if (m->deed == SEND)
        return ncclSend(m->data, m->n, ncclUint8, m->peer, nccl, stream);
    if (m->deed == RECEIVE)
        return ncclRecv(m->data, m->n, ncclUint8, m->peer, nccl, stream);
    return ncclAllReduce(m->data, m->data, m->n, ncclInt64, ncclSum, nccl, stream);
}

/* Everything but copies, as one group. */
static enum status group_put(struct comm_flight *f, struct err *e)
{
    const struct nccl_flight *n = flight_of(f);
    const struct link *l = nccl_of(f->comm)->link;
    ncclResult_t code = ncclSuccess, end;

    TRY(nccl_says(ncclGroupStart(), "exchange", e));
    for (int i = 0; i < n->n && (code == ncclSuccess || code == ncclInProgress); i++) {
        if (n->message[i].deed != COPY)
            code = message_put(&n->message[i], l->nccl, gpu_of(f)->stream);
    }
    end = ncclGroupEnd();
    if (code != ncclSuccess && code != ncclInProgress)
        return nccl_says(code, "exchange", e);
    return settle(l, end, begin_seconds, "exchange", e);
}

static enum status nccl_commit(struct comm_flight *f, struct err *e)
{
    struct nccl_flight *n = flight_of(f);
    bool talks = false;

    if (gpu_of(f)->aborted)
        return err_set(e, ST_DEVICE, "exchange among gpus failed: it was given up");
    for (int i = 0; i < n->n; i++) {
        const struct message *m = &n->message[i];

        talks = talks || m->deed != COPY;
        if (m->deed == COPY)
            TRY(cuda_says(cudaMemcpyAsync(m->data, m->from, m->n,
                                          cudaMemcpyDeviceToDevice, gpu_of(f)->stream),
                          "copy", e));
    }
    if (talks)
        TRY(group_put(f, e));
    TRY(cuda_says(cudaEventRecord(n->done, gpu_of(f)->stream), "exchange", e));
    n->under_way = true;
    return ST_OK;
}

/* The next place of the ring, or NULL. */
static struct stall *stall_take(struct comm_flight *f)
{
    struct gpu *g = gpu_of(f);
    struct stall *s;

    stalls_count(g);
    if (g->n_stalls == STALLS)
        return NULL;
    s = &g->stall[(g->first_stall + g->n_stalls++) % STALLS];
    s->owner = f->comm;
    return s;
}

static enum status nccl_join(struct comm_flight *f, struct queue *q, struct err *e)
{
    struct nccl_flight *n = flight_of(f);
    cudaStream_t stream;
    struct stall *s;

    if (!n->under_way)
        return ST_OK;
    n->under_way = false;
    stream = cuda_stream_of(q);
    s = stall_take(f);
    if (s)
        TRY(cuda_says(cudaEventRecord(s->before, stream), "exchange", e));
    TRY(cuda_says(cudaStreamWaitEvent(stream, n->done, 0), "exchange", e));
    return s ? cuda_says(cudaEventRecord(s->behind, stream), "exchange", e) : ST_OK;
}

const struct comm_transport comm_nccl = {
    .name = "nccl",
    .close = nccl_close,
    .split = nccl_split,
    .split_node = nccl_split_node,
    .flight_create = nccl_flight_create,
    .flight_destroy = nccl_flight_destroy,
    .send = nccl_send,
    .receive = nccl_receive,
    .sum = nccl_sum,
    .over = nccl_over,
    .start = nccl_start,
    .copy = nccl_copy,
    .commit = nccl_commit,
    .join = nccl_join,
    .count = nccl_count,
    .abort = nccl_abort,
};
