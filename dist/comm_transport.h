/* comm_transport.h - what a transport implements; comm.c does everything else
 *
 * Only dist/comm*.c include this (and what needs the MPI handle of a communicator). A
 * transport embeds struct comm and struct comm_flight as first members of its own.
 *
 *     comm.c        pieces to messages, copies to oneself, counting, waiting
 *     comm_self.c   one rank: nothing ever leaves it
 *     comm_mpi.c    requests of MPI
 *     comm_nccl.c   the third seat
 *
 * send, receive, broadcast, sum, barrier and agree start work that `test` finds done;
 * none of them waits. One flight carries one piece to and one from every peer, each in
 * up to COMM_PIECE_BYTES / COMM_MESSAGE_BYTES messages, or one of the others.
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
};

struct comm {
    const struct comm_transport *transport;
    int rank, size;
    struct comm_stats stats;
    struct comm_flight *own; /* of the functions that wait */
};

struct comm_flight {
    struct comm *comm;
    size_t bytes; /* begun and not ended, both ways */
};

extern const struct comm_transport comm_self;
extern const struct comm_transport comm_mpi;
extern const struct comm_transport comm_nccl;

#endif
