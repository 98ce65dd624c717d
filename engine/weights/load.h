/* load.h - inside of a store that is being filled
 *
 * Private to the files below. A load lives for one call of weights_load:
 *
 *     weights_load.c    memory, views, digest: the call from outside
 *     weights_read.c    threads that take one tensor after the other
 *     weights_host.c    a tensor read and converted by the host
 *     weights_stream.c  a tensor read, and converted by the backend
 *     weights_team.c    rounds in which ranks read a part each
 */
#ifndef ENGINE_WEIGHTS_LOAD_H
#define ENGINE_WEIGHTS_LOAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/digest.h"
#include "engine/weights/store.h"

enum { PIECE_BYTES = 4 << 20, THREADS_MAX = 16, THREADS_USUAL = 8 };

struct stream;

struct load {
    struct weights *w;
    bool host;             /* may threads write to the memory themselves? */
    struct stream *stream; /* NULL: the host converts */
    struct slot **order;   /* what this rank reads: of each round the largest first */
    int n;
    int *left; /* [rounds]: slots that are not read yet */
    int rounds;
    atomic_int next, readers;
    atomic_bool stop;
    pthread_mutex_t lock; /* of everything below, and of putting work on queues */
    pthread_cond_t moved; /* `left` or `failed` */
    struct queue *queue;  /* NULL on a host, and where a stream has its own */
    struct err err;
    int failed; /* position in `order` of the error kept, or -1 */
    int64_t done, total;
};

/* What one thread works with. */
struct reader {
    struct load *load;
    struct checksum *sum;
    void *piece; /* stored bytes */
    float *line; /* one row of them as floats */
    size_t piece_bytes, line_bytes;
    int number, turn; /* of this reader; which of its lanes is next */
};

/* ---- weights_read.c -------------------------------------------------------------- */

/* Threads that a load may start, at least 1. */
int load_threads(const struct weights *w);

/* Sort l->order, which is by round already, and add up l->total and l->left. */
void load_order(struct load *l);

/* Start readers; then wait until the slots of a round are read or something failed (the
 * error is l->err then), and for all of them to end. */
struct crew {
    pthread_t thread[THREADS_MAX];
    int n;
};
void crew_start(struct load *l, struct crew *c);
enum status crew_wait(struct load *l, int round, struct err *e);
void crew_join(struct crew *c);

/* ---- weights_host.c -------------------------------------------------------------- */

enum status slot_load_host(struct reader *r, struct slot *s, struct err *e);

/* ---- weights_stream.c ------------------------------------------------------------ */

enum status stream_open(struct load *l, struct err *e);
void stream_close(struct load *l);

/* Where copies are put, and the work that leaves bytes in their place; NULL: on none.
 */
struct queue *load_copies(const struct load *l);
struct queue *load_work(const struct load *l);

/* Leaves work on that queue. */
enum status slot_load_stream(struct reader *r, struct slot *s, struct err *e);

/* Wait for all of it; rows that were not finite come out here. */
enum status stream_finish(struct load *l, struct err *e);

/* ---- weights_team.c -------------------------------------------------------------- */

/* Fill the store together with the other ranks. Collective. */
enum status team_fill(struct load *l, struct err *e);

/* Exchanges of a load: the more, the earlier the first one begins. */
int team_rounds(const struct weights *w);

#endif
