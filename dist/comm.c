/* comm.c - pieces to messages, counting and waiting, the same for every transport */
#include "dist/comm.h"

#include <assert.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "dist/comm_transport.h"
#include "kernels/base/clock.h"
#include "kernels/ops.h"

static const struct comm_transport *const transports[] = {&comm_self, &comm_mpi};

enum { N_TRANSPORTS = sizeof(transports) / sizeof(transports[0]) };

/* Polling and yielding before the first sleep, and the longest sleep. */
static const double poll_seconds = 100e-6;
static const double sleep_seconds = 2e-3;

/* MPI moves long messages by parts, in polls of both sides, and sleeping between parts
 * would cost more than they do. So the wait counts anew after a poll that took as long
 * as a part of 32 KiB takes: but no longer than all the bytes may take at a slow rate,
 * because a poll can be long for other reasons. */
static const double part_seconds = 8e-6;
static const double slow_bytes_per_second = 100e6;

/* ---- making ---------------------------------------------------------------------- */

static enum status with_flight(struct comm *c, struct comm **out, struct err *e)
{
    enum status st = c->host ? ST_OK : comm_flight_create(c, &c->own, e);

    if (st != ST_OK) {
        c->transport->close(c);
        return st;
    }
    *out = c;
    return ST_OK;
}

enum status comm_open(const char *transport, struct comm **out, struct err *e)
{
    struct comm *c = NULL;

    for (int i = 0; i < N_TRANSPORTS; i++) {
        if (strcmp(transports[i]->name, transport) == 0) {
            TRY(transports[i]->open(&c, e));
            return with_flight(c, out, e);
        }
    }
    return err_set(e, ST_USAGE, "no transport is called '%s'", transport);
}

enum status comm_open_over(struct comm *host, struct ops *ops, struct comm **out,
                           struct err *e)
{
    struct comm *c;

    if (ops_facts(ops)->space == MEM_HOST)
        return comm_split(host, 0, comm_rank(host), out, e);
    TRY(comm_nccl.over(host, ops, &c, e));
    *out = c;
    return ST_OK;
}

enum status comm_split(struct comm *c, int color, int key, struct comm **out,
                       struct err *e)
{
    struct comm *part = NULL;

    TRY(c->transport->split(c, color, key, &part, e));
    if (part)
        return with_flight(part, out, e);
    *out = NULL;
    return ST_OK;
}

enum status comm_split_node(struct comm *c, struct comm **out, struct err *e)
{
    struct comm *part = NULL;

    TRY(c->transport->split_node(c, &part, e));
    return with_flight(part, out, e);
}

void comm_close(struct comm *c)
{
    if (!c)
        return;
    comm_flight_destroy(c->own);
    c->transport->close(c);
}

void comm_abort(struct comm *c)
{
    if (c && c->transport->abort)
        c->transport->abort(c);
}

int comm_rank(const struct comm *c)
{
    return c->rank;
}

int comm_size(const struct comm *c)
{
    return c->size;
}

const char *comm_transport(const struct comm *c)
{
    return c->transport->name;
}

const struct comm_stats *comm_stats(struct comm *c)
{
    if (c->transport->count)
        c->transport->count(c);
    return &c->stats;
}

bool comm_over_device(const struct comm *c)
{
    return c->host != NULL;
}

/* Where what is in host memory goes. */
static struct comm *in_host(struct comm *c)
{
    return c->host ? c->host : c;
}

enum status comm_flight_create(struct comm *c, struct comm_flight **out, struct err *e)
{
    TRY(c->transport->flight_create(c, out, e));
    (*out)->comm = c;
    return ST_OK;
}

void comm_flight_destroy(struct comm_flight *f)
{
    if (f)
        f->comm->transport->flight_destroy(f);
}

/* ---- pieces ---------------------------------------------------------------------- */

static enum status copy_own(struct comm_flight *f, struct comm_piece to,
                            struct comm_piece from, struct err *e)
{
    assert(to.bytes == from.bytes);
    if (to.bytes == 0 || to.data == from.data)
        return ST_OK;
    if (f->comm->transport->copy)
        return f->comm->transport->copy(f, to, from, e);
    memmove(to.data, from.data, from.bytes);
    return ST_OK;
}

static enum status check_size(struct comm_piece p, struct err *e)
{
    if (p.bytes > COMM_PIECE_BYTES)
        return err_set(e, ST_RESOURCE,
                       "cannot move %.1f GiB to one rank at once: %.0f GiB at most",
                       (double)p.bytes / (1 << 30),
                       (double)COMM_PIECE_BYTES / (1 << 30));
    return ST_OK;
}

/* Take the first message off *p. */
static struct comm_piece next_message(struct comm_piece *p)
{
    struct comm_piece m = *p;

    m.bytes = p->bytes < COMM_MESSAGE_BYTES ? p->bytes : COMM_MESSAGE_BYTES;
    p->data = (char *)p->data + m.bytes;
    p->bytes -= m.bytes;
    return m;
}

static enum status post_send(struct comm_flight *f, int to, struct comm_piece p,
                             struct err *e)
{
    TRY(check_size(p, e));
    f->comm->stats.sent_bytes += p.bytes;
    f->bytes += p.bytes;
    while (p.bytes > 0) {
        f->comm->stats.messages++;
        TRY(f->comm->transport->send(f, to, next_message(&p), e));
    }
    return ST_OK;
}

static enum status post_receive(struct comm_flight *f, int from, struct comm_piece p,
                                struct err *e)
{
    TRY(check_size(p, e));
    f->comm->stats.received_bytes += p.bytes;
    f->bytes += p.bytes;
    while (p.bytes > 0)
        TRY(f->comm->transport->receive(f, from, next_message(&p), e));
    return ST_OK;
}

/* Receives first, so that nothing arrives unexpected; each rank starts with another
 * peer, so that they do not all send to rank 0 at once. */
static enum status post_all(struct comm_flight *f, const struct comm_piece *send,
                            bool same, const struct comm_piece *receive, struct err *e)
{
    const struct comm *c = f->comm;

    for (int i = 1; i < c->size; i++) {
        int from = (c->rank + c->size - i) % c->size;

        TRY(post_receive(f, from, receive[from], e));
    }
    for (int i = 1; i < c->size; i++) {
        int to = (c->rank + i) % c->size;

        TRY(post_send(f, to, send[same ? 0 : to], e));
    }
    return copy_own(f, receive[c->rank], send[same ? 0 : c->rank], e);
}

/* Seconds of the host count where it waits; among devices it does not. */
static enum status count_time(struct comm_flight *f, double since, enum status st)
{
    if (!f->comm->host)
        f->comm->stats.seconds += clock_seconds() - since;
    return st;
}

static enum status start(struct comm_flight *f, struct queue *q, struct err *e)
{
    return f->comm->transport->start ? f->comm->transport->start(f, q, e) : ST_OK;
}

static enum status commit(struct comm_flight *f, struct err *e)
{
    return f->comm->transport->commit ? f->comm->transport->commit(f, e) : ST_OK;
}

static enum status exchange(struct comm_flight *f, struct queue *q,
                            const struct comm_piece *send, bool same,
                            const struct comm_piece *receive, struct err *e)
{
    TRY(start(f, q, e));
    TRY(post_all(f, send, same, receive, e));
    return commit(f, e);
}

enum status comm_alltoall_begin(struct comm_flight *f, struct queue *q,
                                const struct comm_piece *send,
                                const struct comm_piece *receive, struct err *e)
{
    double since = clock_seconds();

    return count_time(f, since, exchange(f, q, send, false, receive, e));
}

enum status comm_allgather_begin(struct comm_flight *f, struct queue *q,
                                 struct comm_piece send,
                                 const struct comm_piece *receive, struct err *e)
{
    double since = clock_seconds();

    return count_time(f, since, exchange(f, q, &send, true, receive, e));
}

static enum status post_shift(struct comm_flight *f, struct comm_piece send,
                              struct comm_piece receive, struct err *e)
{
    const struct comm *c = f->comm;

    if (c->size == 1)
        return copy_own(f, receive, send, e);
    TRY(post_receive(f, (c->rank + c->size - 1) % c->size, receive, e));
    return post_send(f, (c->rank + 1) % c->size, send, e);
}

static enum status shift(struct comm_flight *f, struct queue *q, struct comm_piece send,
                         struct comm_piece receive, struct err *e)
{
    TRY(start(f, q, e));
    TRY(post_shift(f, send, receive, e));
    return commit(f, e);
}

enum status comm_shift_begin(struct comm_flight *f, struct queue *q,
                             struct comm_piece send, struct comm_piece receive,
                             struct err *e)
{
    double since = clock_seconds();

    return count_time(f, since, shift(f, q, send, receive, e));
}

static enum status add_up(struct comm_flight *f, struct queue *q, int64_t *values,
                          int64_t n, struct err *e)
{
    TRY(start(f, q, e));
    TRY(f->comm->transport->sum(f, values, n, e));
    return commit(f, e);
}

enum status comm_sum_begin(struct comm_flight *f, struct queue *q, int64_t *values,
                           int64_t n, struct err *e)
{
    struct comm_piece p = {values, (size_t)n * sizeof(*values)};
    struct comm_stats *stats = &f->comm->stats;
    double since = clock_seconds();

    if (f->comm->size == 1 || n == 0)
        return ST_OK;
    if (p.bytes > COMM_MESSAGE_BYTES)
        return err_set(e, ST_RESOURCE, "cannot add up %zu MiB among ranks: %zu at most",
                       p.bytes >> 20, COMM_MESSAGE_BYTES >> 20);
    stats->messages++;
    stats->sent_bytes += p.bytes;
    stats->received_bytes += p.bytes;
    return count_time(f, since, add_up(f, q, values, n, e));
}

/* ---- waiting --------------------------------------------------------------------- */

static void give_way(double waited)
{
    double rest = waited / 8;
    struct timespec t = {0};

    if (waited < poll_seconds) {
        sched_yield();
        return;
    }
    t.tv_nsec = (long)(1e9 * (rest < sleep_seconds ? rest : sleep_seconds));
    nanosleep(&t, NULL);
}

enum status comm_end(struct comm_flight *f, struct queue *q, struct err *e)
{
    double since = clock_seconds(), idle_since = since;
    double moving_until = since + (double)f->bytes / slow_bytes_per_second;
    bool done = false;
    enum status st;

    f->bytes = 0;
    if (f->comm->transport->join)
        return f->comm->transport->join(f, q, e);
    for (;;) {
        double before = clock_seconds(), after;

        st = f->comm->transport->test(f, &done, e);
        if (st != ST_OK || done)
            return count_time(f, since, st);
        after = clock_seconds();
        if (after - before > part_seconds && after < moving_until)
            idle_since = after;
        give_way(after - idle_since);
    }
}

enum status comm_alltoall(struct comm *c, const struct comm_piece *send,
                          const struct comm_piece *receive, struct err *e)
{
    c = in_host(c);
    TRY(comm_alltoall_begin(c->own, NULL, send, receive, e));
    return comm_end(c->own, NULL, e);
}

enum status comm_allgather(struct comm *c, struct comm_piece send,
                           const struct comm_piece *receive, struct err *e)
{
    c = in_host(c);
    TRY(comm_allgather_begin(c->own, NULL, send, receive, e));
    return comm_end(c->own, NULL, e);
}

enum status comm_sum(struct comm *c, int64_t *values, int64_t n, struct err *e)
{
    c = in_host(c);
    TRY(comm_sum_begin(c->own, NULL, values, n, e));
    return comm_end(c->own, NULL, e);
}

static void count_broadcast(struct comm *c, int root, size_t bytes)
{
    if (c->rank != root) {
        c->stats.received_bytes += bytes;
        return;
    }
    c->stats.messages++;
    c->stats.sent_bytes += bytes;
}

enum status comm_broadcast(struct comm *c, int root, void *data, size_t bytes,
                           struct err *e)
{
    struct comm_piece all = {data, c->size > 1 ? bytes : 0}, m;

    c = in_host(c);
    while (all.bytes > 0) {
        m = next_message(&all);
        count_broadcast(c, root, m.bytes);
        c->own->bytes = m.bytes;
        TRY(c->transport->broadcast(c->own, root, m, e));
        TRY(comm_end(c->own, NULL, e));
    }
    return ST_OK;
}

enum status comm_barrier(struct comm *c, struct err *e)
{
    c = in_host(c);
    TRY(c->transport->barrier(c->own, e));
    return comm_end(c->own, NULL, e);
}

/* A failed rank's word is rank * 256 + status: the lowest rank has the least. */
enum status comm_agree(struct comm *c, enum status mine, enum status *all,
                       int *first_failed, struct err *e)
{
    int word = mine == ST_OK ? COMM_AGREED : c->rank * 256 + (int)mine;

    c = in_host(c);
    TRY(c->transport->least(c->own, &word, e));
    TRY(comm_end(c->own, NULL, e));
    *all = word == COMM_AGREED ? ST_OK : (enum status)(word % 256);
    *first_failed = word == COMM_AGREED ? -1 : word / 256;
    return ST_OK;
}
