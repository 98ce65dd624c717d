/* comm_transport.h - what a transport implements; comm.c does everything else
 *
 * Only dist/comm*.c include this (and what needs the MPI handle of a communicator). A
 * transport embeds struct comm and struct comm_flight as first members of its own.
 *
 *     comm.c        pieces to messages, copies to oneself, counting, waiting
 *     comm_self.c   one rank: nothing ever leaves it
 *     comm_mpi.c    requests of MPI
 *     comm_nccl.c   a stream beside the queues; comm_nccl_absent.c where not built
 *
 * send, receive, broadcast, sum, barrier and agree start work that `test` finds done;
 * none of them waits. One flight carries one piece to and one from every peer, each in
 * up to COMM_PIECE_BYTES / COMM_MESSAGE_BYTES messages, or one of the others.
 *
 * A transport of device memory stands on a communicator of the same ranks in host
 * memory, which does broadcast, barrier and agree, and all that has no flight. It has
 * no `test` either, but the functions of the second half: `start` before the messages,
 * copies and sums of a begin, `commit` behind them, `join` in the end.
 */
#ifndef DIST_COMM_TRANSPORT_H
#define DIST_COMM_TRANSPORT_H

#include <stdbool.h>

#include "dist/comm.h"

/* What an agreement is about: the least word of all ranks wins. */
enum { COMM_AGREED = 0x7fffffff };

struct comm_transport {
    const char *name;
    enum status (*open)(struct comm **out, struct err *e);
    void (*close)(struct comm *c);
    enum status (*split)(struct comm *c, int color, int key, struct comm **out,
                         struct err *e);
    enum status (*split_node)(struct comm *c, struct comm **out, struct err *e);

    enum status (*flight_create)(struct comm *c, struct comm_flight **out,
                                 struct err *e);
    void (*flight_destroy)(struct comm_flight *f);

    enum status (*send)(struct comm_flight *f, int to, struct comm_piece p,
                        struct err *e);
    enum status (*receive)(struct comm_flight *f, int from, struct comm_piece p,
                           struct err *e);
    enum status (*broadcast)(struct comm_flight *f, int root, struct comm_piece p,
                             struct err *e);
    enum status (*sum)(struct comm_flight *f, int64_t *values, int64_t n,
                       struct err *e);
    enum status (*least)(struct comm_flight *f, int *word, struct err *e);
    enum status (*barrier)(struct comm_flight *f, struct err *e);
    enum status (*test)(struct comm_flight *f, bool *done, struct err *e);

    enum status (*over)(struct comm *host, struct ops *ops, struct comm **out,
                        struct err *e);
    enum status (*start)(struct comm_flight *f, struct queue *q, struct err *e);
    enum status (*copy)(struct comm_flight *f, struct comm_piece to,
                        struct comm_piece from, struct err *e);
    enum status (*commit)(struct comm_flight *f, struct err *e);
    enum status (*join)(struct comm_flight *f, struct queue *q, struct err *e);
    void (*count)(struct comm *c); /* bring the stats up to date */
    void (*abort)(struct comm *c);
};

struct comm {
    const struct comm_transport *transport;
    int rank, size;
    struct comm_stats stats;
    struct comm *host;       /* of a transport of device memory; owned */
    struct comm_flight *own; /* of the functions that wait; NULL with `host` */
};

struct comm_flight {
    struct comm *comm;
    size_t bytes; /* begun and not ended, both ways */
};

extern const struct comm_transport comm_self;
extern const struct comm_transport comm_mpi;
extern const struct comm_transport comm_nccl;

#endif
