/* comm.h - ranks that talk to each other: exchanges, rings, agreement
 *
 * A communicator is an ordered set of ranks; this process is one of them. What moves
 * the bytes is a transport:
 *
 *     self   one rank, no library: a run without mpirun or srun
 *     mpi    host memory, any number of ranks
 *     nccl   memory of a GPU, any number of ranks, each with a GPU of its own
 *
 * Life:
 *
 *     TRY(comm_open("mpi", &world, e));
 *     TRY(comm_open_over(world, ops, &all, e));         where the tensors of ops are
 *     TRY(comm_split(all, color, key, &group, e));
 *     TRY(comm_flight_create(group, &f, e));
 *     TRY(comm_alltoall_begin(f, q, send, receive, e)); parts travel …
 *     …                                                 … while this is worked on
 *     TRY(comm_end(f, q, e));                           all have arrived
 *     comm_flight_destroy(f);
 *     comm_close(group);
 *     comm_close(all);
 *     comm_close(world);
 *
 * Payload is bytes; a piece is a place and a length, and sender and receiver must mean
 * the same length. Empty pieces cost no message, long ones several, and the piece of a
 * rank for itself is copied (nothing happens when both ends are the same place).
 *
 * A flight is one exchange under way. It is made once, used again and again, and begin
 * and end allocate nothing of ours. Several flights of one communicator may be under
 * way: every rank begins them in the same order, and ends them in any.
 *
 * Queues. An exchange of a flight begins when the work put on `q` before it is done,
 * and work that is put on `q` after the end begins when all has arrived. Among devices
 * neither call waits: the exchange runs beside the queue, and errors surface where the
 * queue is waited for. In host memory `q` is an immediate queue, or NULL, and comm_end
 * returns when all has arrived. The calls without a flight move host memory and wait,
 * on every transport.
 *
 * Waiting gives the core away: a wait first polls and yields for a moment, then sleeps
 * for a part of the time it has waited already, 2 ms at most. So a rank may stand in a
 * barrier or a broadcast for minutes while rank 0 encodes or decodes.
 *
 * Only the thread that opened the first communicator calls these functions. After an
 * error of a transport (ST_DEVICE) nothing more can be said on that communicator.
 */
#ifndef DIST_COMM_H
#define DIST_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"

struct comm;
struct comm_flight;
struct ops;   /* kernels/ops.h */
struct queue; /* likewise */

/* The most bytes of one message, and of one piece. */
#define COMM_MESSAGE_BYTES ((size_t)64 << 20)
#define COMM_PIECE_BYTES ((size_t)8 << 30)

/* What a communicator has done since it was made. A piece sent to another rank is one
 * message per COMM_MESSAGE_BYTES; what a rank keeps for itself counts nothing. A
 * broadcast counts at its root, a sum its payload once on every rank, barrier and
 * agreement count as waits only. */
struct comm_stats {
    uint64_t sent_bytes, received_bytes;
    uint64_t messages; /* sent */
    double seconds;    /* spent in begin and in waiting; on devices: that queues stood
                        * waiting for an end, as far as they are past it */
};

struct comm_piece {
    void *data; /* not written to when it is sent */
    size_t bytes;
};

/* ---- making ---------------------------------------------------------------------- */

/* All ranks of this launch in host memory: "mpi" or "self", other names are ST_USAGE.
 * "mpi" starts MPI when nobody has, and the comm_close of that communicator ends it.
 * Collective over the launch. */
enum status comm_open(const char *transport, struct comm **out, struct err *e);

/* The ranks of `host` once more, for flights in the memory of `ops` (borrowed for the
 * life of the communicator and of those that are split from it). Where `ops` works on
 * the host that is its own transport; among GPUs nccl: ST_UNBUILT when that is not
 * compiled in, ST_USAGE on all ranks when theirs is not one version of NCCL, ST_DEVICE
 * when the GPUs do not connect in 120 s. A rank that fails in another way fails without
 * the others: they may wait for it. Collective. */
enum status comm_open_over(struct comm *host, struct ops *ops, struct comm **out,
                           struct err *e);

/* Ranks that name the same color, in the order of key, then of rank. Ranks with a
 * negative color get *out = NULL. Collective. */
enum status comm_split(struct comm *c, int color, int key, struct comm **out,
                       struct err *e);

/* Ranks that share this machine's memory, in the order of rank. Collective. */
enum status comm_split_node(struct comm *c, struct comm **out, struct err *e);

/* NULL is fine. Collective, and no flight of it may be under way. */
void comm_close(struct comm *c);

/* Give up what is under way on devices, here and in all communicators that share the
 * device, because a rank has failed: returns within 5 seconds, and then only comm_close
 * is left to do. Nothing to do in host memory. NULL is fine. Not collective, but every
 * rank that lives must call it or end. */
void comm_abort(struct comm *c);

/* Not collective. */
int comm_rank(const struct comm *c);
int comm_size(const struct comm *c);
const char *comm_transport(const struct comm *c);
const struct comm_stats *comm_stats(struct comm *c);

/* Do its flights move memory of a device? Not collective. */
bool comm_over_device(const struct comm *c);

/* ---- exchanges that overlap ------------------------------------------------------ */

/* `c` is borrowed for the life of the flight. Destroying one that has not ended, on the
 * way out with an error, gives up what it would receive. Not collective. destroy(NULL)
 * is fine. */
enum status comm_flight_create(struct comm *c, struct comm_flight **out, struct err *e);
void comm_flight_destroy(struct comm_flight *f);

/* send[p] goes to rank p, receive[p] comes from it; arrays of comm_size pieces that are
 * read before begin returns, memory that must stay until the end. Collective. */
enum status comm_alltoall_begin(struct comm_flight *f, struct queue *q,
                                const struct comm_piece *send,
                                const struct comm_piece *receive, struct err *e);

/* `send` goes to every rank, receive[p] comes from rank p. Collective. */
enum status comm_allgather_begin(struct comm_flight *f, struct queue *q,
                                 struct comm_piece send,
                                 const struct comm_piece *receive, struct err *e);

/* One step of a ring: `send` goes to rank + 1, `receive` comes from rank - 1, round the
 * end. A ring of one rank copies. Collective. */
enum status comm_shift_begin(struct comm_flight *f, struct queue *q,
                             struct comm_piece send, struct comm_piece receive,
                             struct err *e);

/* values[i] becomes the sum over all ranks; integers, so that the order of adding does
 * not matter. Collective. */
enum status comm_sum_begin(struct comm_flight *f, struct queue *q, int64_t *values,
                           int64_t n, struct err *e);

/* What was begun on `f` is done before anything that follows; none begun is fine.
 * Collective. */
enum status comm_end(struct comm_flight *f, struct queue *q, struct err *e);

/* ---- the same in host memory, waited for ----------------------------------------- */

/* Collective, each. */
enum status comm_alltoall(struct comm *c, const struct comm_piece *send,
                          const struct comm_piece *receive, struct err *e);
enum status comm_allgather(struct comm *c, struct comm_piece send,
                           const struct comm_piece *receive, struct err *e);
enum status comm_sum(struct comm *c, int64_t *values, int64_t n, struct err *e);

/* `data` of rank `root` to every rank; any number of bytes. Collective. */
enum status comm_broadcast(struct comm *c, int root, void *data, size_t bytes,
                           struct err *e);

/* Nobody leaves before everybody has come. Collective. */
enum status comm_barrier(struct comm *c, struct err *e);

/* Every rank brings its status and learns the status of the lowest rank that failed,
 * and which rank that is (-1 and ST_OK when all is well). The return value tells only
 * how the talking went. Collective. */
enum status comm_agree(struct comm *c, enum status mine, enum status *all,
                       int *first_failed, struct err *e);

#endif
