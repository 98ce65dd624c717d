/* ranks_comm.c - what every transport must do, with exact integers
 *
 *     ranks_comm [BACKEND]             "cpu" when not given
 *
 * The same checks run on each transport that this launch has: "self" on every rank for
 * itself, "mpi" on the whole launch and on the parts that it is split into, and the one
 * between the devices of BACKEND, with flights in its memory. Byte i of the piece from
 * rank a to rank b in round t is a function of (a, b, t, i) alone.
 */
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "dist/comm.h"
#include "kernels/ops.h"
#include "tests/ranks/check.h"

enum { RANKS_MAX = 8, PIECE_MAX = 200000, ROUNDS = 4 };

/* Memory, and the queue that works on it: the host's, and where flights are tried. */
struct place {
    struct ops *ops;
    struct queue *q;
};

static struct place host, here;

static void place_open(struct place *p, const char *backend, int device)
{
    struct ops_options opt = {.threads = 1, .device = device};
    struct err e = ERR_INIT;

    CHECK_OK(ops_open(backend, &opt, &p->ops, &e));
    CHECK_OK(ops_queue_open(p->ops, NULL, 0, &p->q, &e));
}

static void place_close(struct place *p)
{
    ops_queue_close(p->ops, p->q);
    ops_close(p->ops);
}

static struct tensor bytes_at(const struct place *p, void *data, size_t bytes)
{
    return tensor_make1(data, DT_U8, ops_facts(p->ops)->space, (int64_t)bytes);
}

static void bytes_copy(const struct place *via, struct tensor to, struct tensor from)
{
    struct err e = ERR_INIT;

    CHECK_OK(ops_copy(via->ops, via->q, &to, &from, &e));
    CHECK_OK(ops_queue_wait(via->ops, via->q, &e));
}

/* `bytes` of the host's memory, moved to the place; freed with piece_free. */
static struct comm_piece put(const struct place *p, unsigned char *data, size_t bytes)
{
    struct comm_piece piece = {NULL, bytes};
    struct err e = ERR_INIT;

    CHECK_OK(ops_mem_alloc(p->ops, bytes + 1, &piece.data, &e));
    bytes_copy(p, bytes_at(p, piece.data, bytes + 1), bytes_at(&host, data, bytes + 1));
    free(data);
    return piece;
}

/* The bytes of a piece and the one behind it, malloc'ed. */
static unsigned char *fetch(const struct place *p, struct comm_piece piece)
{
    unsigned char *x = malloc(piece.bytes + 1);

    CHECK(x);
    bytes_copy(p, bytes_at(&host, x, piece.bytes + 1),
               bytes_at(p, piece.data, piece.bytes + 1));
    return x;
}

static void piece_free(const struct place *p, struct comm_piece piece)
{
    ops_mem_free(p->ops, piece.data);
}

static unsigned char value(int from, int to, int round, size_t i)
{
    return (unsigned char)(from * 31 + to * 17 + round * 7 + (int)(i % 251));
}

/* Uneven, sometimes nothing, sometimes past what travels at once. */
static size_t length(int from, int to, int round)
{
    static const size_t lengths[] = {0, 1, 7, 64, 4097, 20011, PIECE_MAX};

    return lengths[(from * 5 + to * 3 + round) % 7];
}

static struct comm_piece made(const struct place *at, int from, int to, int round,
                              size_t bytes)
{
    unsigned char *p = malloc(bytes + 1);

    CHECK(p);
    for (size_t i = 0; i < bytes; i++)
        p[i] = value(from, to, round, i);
    p[bytes] = 0x5a;
    return put(at, p, bytes);
}

static struct comm_piece blank(const struct place *at, size_t bytes)
{
    unsigned char *p = calloc(1, bytes + 1);

    CHECK(p);
    p[bytes] = 0x5a;
    return put(at, p, bytes);
}

/* The bytes of (from, to, round), and nothing behind them. */
static void check_piece(const struct place *at, struct comm_piece p, int from, int to,
                        int round)
{
    unsigned char *x = fetch(at, p);

    for (size_t i = 0; i < p.bytes; i++)
        CHECK(x[i] == value(from, to, round, i));
    CHECK(x[p.bytes] == 0x5a);
    free(x);
}

struct round {
    struct comm_flight *flight;
    struct comm_piece send[RANKS_MAX], receive[RANKS_MAX];
};

static void round_open(struct round *x, struct comm *c, int t)
{
    struct err e = ERR_INIT;
    int me = comm_rank(c);

    CHECK_OK(comm_flight_create(c, &x->flight, &e));
    for (int p = 0; p < comm_size(c); p++) {
        x->send[p] = made(&here, me, p, t, length(me, p, t));
        x->receive[p] = blank(&here, length(p, me, t));
    }
}

static void round_close(struct round *x, struct comm *c, int t)
{
    for (int p = 0; p < comm_size(c); p++) {
        check_piece(&here, x->receive[p], p, comm_rank(c), t);
        piece_free(&here, x->send[p]);
        piece_free(&here, x->receive[p]);
    }
    comm_flight_destroy(x->flight);
}

/* Several exchanges under way at once, ended in another order. */
static void check_alltoall(struct comm *c)
{
    struct round rounds[ROUNDS];
    struct comm_stats before = *comm_stats(c);
    uint64_t sent = 0, received = 0, messages = 0;
    struct err e = ERR_INIT;
    int me = comm_rank(c);

    for (int t = 0; t < ROUNDS; t++) {
        round_open(&rounds[t], c, t);
        CHECK_OK(comm_alltoall_begin(rounds[t].flight, here.q, rounds[t].send,
                                     rounds[t].receive, &e));
        for (int p = 0; p < comm_size(c); p++) {
            sent += p == me ? 0 : length(me, p, t);
            received += p == me ? 0 : length(p, me, t);
            messages += p != me && length(me, p, t) > 0;
        }
    }
    for (int t = ROUNDS; t-- > 0;) {
        CHECK_OK(comm_end(rounds[t].flight, here.q, &e));
        CHECK_OK(comm_end(rounds[t].flight, here.q, &e));
        round_close(&rounds[t], c, t);
    }
    CHECK(comm_stats(c)->sent_bytes - before.sent_bytes == sent);
    CHECK(comm_stats(c)->received_bytes - before.received_bytes == received);
    CHECK(comm_stats(c)->messages - before.messages == messages);
}

/* By a flight, or waited for in the host's memory. */
static void check_allgather(struct comm *c, int t, bool flies)
{
    const struct place *at = flies ? &here : &host;
    struct comm_piece receive[RANKS_MAX], send;
    struct comm_flight *f;
    struct err e = ERR_INIT;
    int me = comm_rank(c);

    CHECK_OK(comm_flight_create(c, &f, &e));
    send = made(at, me, 0, t, length(me, 0, t));
    for (int p = 0; p < comm_size(c); p++)
        receive[p] = blank(at, length(p, 0, t));
    if (flies) {
        CHECK_OK(comm_allgather_begin(f, at->q, send, receive, &e));
        CHECK_OK(comm_end(f, at->q, &e));
    } else {
        CHECK_OK(comm_allgather(c, send, receive, &e));
    }
    for (int p = 0; p < comm_size(c); p++) {
        check_piece(at, receive[p], p, 0, t);
        piece_free(at, receive[p]);
    }
    piece_free(at, send);
    comm_flight_destroy(f);
}

/* The waited-for exchange, in the host's memory. */
static void check_waited(struct comm *c)
{
    struct comm_piece send[RANKS_MAX], receive[RANKS_MAX];
    struct err e = ERR_INIT;
    int me = comm_rank(c);

    for (int p = 0; p < comm_size(c); p++) {
        send[p] = made(&host, me, p, 2, length(me, p, 2));
        receive[p] = blank(&host, length(p, me, 2));
    }
    CHECK_OK(comm_alltoall(c, send, receive, &e));
    for (int p = 0; p < comm_size(c); p++) {
        check_piece(&host, receive[p], p, me, 2);
        piece_free(&host, send[p]);
        piece_free(&host, receive[p]);
    }
}

/* Round the whole ring, a block of its own length per rank. */
static void check_ring(struct comm *c)
{
    int me = comm_rank(c), n = comm_size(c), from = me;
    struct comm_piece held = made(&here, me, 0, 3, length(me, 0, 3));
    struct comm_flight *f;
    struct err e = ERR_INIT;

    CHECK_OK(comm_flight_create(c, &f, &e));
    for (int i = 0; i < n; i++) {
        struct comm_piece next;

        from = (from + n - 1) % n;
        next = blank(&here, length(from, 0, 3));
        CHECK_OK(comm_shift_begin(f, here.q, held, next, &e));
        CHECK_OK(comm_end(f, here.q, &e));
        check_piece(&here, next, from, 0, 3);
        piece_free(&here, held);
        held = next;
    }
    CHECK(from == me);
    piece_free(&here, held);
    comm_flight_destroy(f);
}

/* Pieces that are more than one message, to the next rank of a ring. */
static void check_long(struct comm *c)
{
    size_t bytes = COMM_MESSAGE_BYTES + 1000;
    int me = comm_rank(c), n = comm_size(c), from = (me + n - 1) % n;
    struct comm_piece send = made(&here, me, 3, 1, bytes);
    struct comm_piece receive = blank(&here, bytes), all = made(&host, me, 3, 1, bytes);
    uint64_t before = comm_stats(c)->messages;
    struct comm_flight *f;
    struct err e = ERR_INIT;

    CHECK_OK(comm_flight_create(c, &f, &e));
    CHECK_OK(comm_shift_begin(f, here.q, send, receive, &e));
    CHECK_OK(comm_end(f, here.q, &e));
    check_piece(&here, receive, from, 3, 1);
    CHECK(comm_stats(c)->messages - before == (n > 1 ? 2 : 0));
    CHECK_OK(comm_broadcast(c, n - 1, all.data, bytes, &e));
    check_piece(&host, all, n - 1, 3, 1);
    send.bytes = COMM_PIECE_BYTES + 1;
    CHECK(n == 1 || comm_shift_begin(f, here.q, send, send, &e) == ST_RESOURCE);
    comm_flight_destroy(f);
    piece_free(&here, send);
    piece_free(&here, receive);
    piece_free(&host, all);
}

static void check_sum(struct comm *c, bool flies)
{
    const struct place *at = flies ? &here : &host;
    int64_t n = comm_size(c), *x = malloc(3 * sizeof(*x) + 1);
    struct comm_piece values;
    struct comm_flight *f;
    struct err e = ERR_INIT;

    CHECK(x);
    x[0] = comm_rank(c);
    x[1] = (int64_t)1 << (40 + comm_rank(c));
    x[2] = -5;
    values = put(at, (unsigned char *)x, 3 * sizeof(*x));
    CHECK_OK(comm_flight_create(c, &f, &e));
    if (flies) {
        CHECK_OK(comm_sum_begin(f, at->q, values.data, 3, &e));
        CHECK_OK(comm_end(f, at->q, &e));
        CHECK_OK(comm_sum_begin(f, at->q, NULL, 0, &e));
        CHECK_OK(comm_end(f, at->q, &e));
    } else {
        CHECK_OK(comm_sum(c, values.data, 3, &e));
        CHECK_OK(comm_sum(c, NULL, 0, &e));
    }
    x = (int64_t *)(void *)fetch(at, values);
    CHECK(x[0] == n * (n - 1) / 2);
    CHECK(x[1] == (((int64_t)1 << n) - 1) << 40);
    CHECK(x[2] == -5 * n);
    free(x);
    piece_free(at, values);
    comm_flight_destroy(f);
}

static void check_broadcast(struct comm *c)
{
    struct err e = ERR_INIT;

    for (int root = 0; root < comm_size(c); root++) {
        struct comm_piece p = root == comm_rank(c) ? made(&host, root, 1, 2, PIECE_MAX)
                                                   : blank(&host, PIECE_MAX);

        CHECK_OK(comm_broadcast(c, root, p.data, p.bytes, &e));
        check_piece(&host, p, root, 1, 2);
        piece_free(&host, p);
    }
    CHECK_OK(comm_broadcast(c, 0, NULL, 0, &e));
}

static void check_agree(struct comm *c)
{
    enum status all = ST_DEVICE;
    struct err e = ERR_INIT;
    int me = comm_rank(c), first = 7;

    CHECK_OK(comm_agree(c, ST_OK, &all, &first, &e));
    CHECK(all == ST_OK && first == -1);
    for (int failed = 0; failed < comm_size(c); failed++) {
        enum status mine = me < failed ? ST_OK : me == failed ? ST_INPUT : ST_STOPPED;

        CHECK_OK(comm_agree(c, mine, &all, &first, &e));
        CHECK(all == ST_INPUT && first == failed);
    }
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Ranks that wait for a slow one sleep, which may be slower than it meant to be. */
static void check_waiting(struct comm *c)
{
    struct timespec nap = {0, 400000000};
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    double begin = seconds_of(CLOCK_MONOTONIC), waited;
    struct err e = ERR_INIT;

    if (comm_rank(c) == 0)
        nanosleep(&nap, NULL);
    CHECK_OK(comm_barrier(c, &e));
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    waited = seconds_of(CLOCK_MONOTONIC) - begin;
    CHECK(cpu < 0.2 || cpu < 0.5 * waited);
}

static void check_all(struct comm *c)
{
    check_alltoall(c);
    check_waited(c);
    for (int t = 0; t < ROUNDS; t++) {
        check_allgather(c, t, true);
        check_allgather(c, t, false);
    }
    check_ring(c);
    check_sum(c, true);
    check_sum(c, false);
    check_broadcast(c);
    check_agree(c);
    check_waiting(c);
}

/* Parts of uneven size in turned order; a rank that is in none. */
static void check_split(struct comm *c)
{
    int n = comm_size(c), me = comm_rank(c);
    struct comm *part = c;
    struct err e = ERR_INIT;

    for (int parts = 1; parts <= n; parts++) {
        CHECK_OK(comm_split(c, me % parts, -me, &part, &e));
        CHECK(comm_size(part) == (n - me % parts + parts - 1) / parts);
        CHECK(comm_rank(part) == comm_size(part) - 1 - me / parts);
        check_alltoall(part);
        check_ring(part);
        comm_close(part);
    }
    CHECK_OK(comm_split(c, me == n - 1 ? -1 : 0, me, &part, &e));
    CHECK((part == NULL) == (me == n - 1));
    if (part)
        check_all(part);
    comm_close(part);
    CHECK_OK(comm_split_node(c, &part, &e));
    CHECK(comm_size(part) == n && comm_rank(part) == me);
    comm_close(part);
}

/* A rank that leaves in the middle: what was to come is written nowhere. */
static void check_given_up(struct comm *c)
{
    struct comm_piece nothing = {0}, never = blank(&here, 1000);
    struct comm_flight *f;
    struct comm *part;
    struct err e = ERR_INIT;

    CHECK_OK(comm_split(c, 0, comm_rank(c), &part, &e));
    CHECK_OK(comm_flight_create(part, &f, &e));
    CHECK_OK(
        comm_shift_begin(f, here.q, comm_size(part) > 1 ? nothing : never, never, &e));
    comm_flight_destroy(f);
    comm_abort(part);
    piece_free(&here, never);
    comm_close(part);
    check_agree(c);
}

static void check_names(void)
{
    struct err e = ERR_INIT;
    struct comm *c = NULL;

    CHECK(comm_open("nccl", &c, &e) == ST_USAGE && !c);
    comm_close(NULL);
    comm_abort(NULL);
    comm_flight_destroy(NULL);
}

static void check_transport(struct comm *c, const char *name)
{
    CHECK(strcmp(comm_transport(c), name) == 0);
    CHECK(comm_over_device(c) == (strcmp(name, "nccl") == 0));
    check_all(c);
    check_split(c);
    check_given_up(c);
}

/* Last, because giving up ends the exchanges of a device. */
static void check_over(struct comm *world, const char *backend)
{
    struct comm *node, *over;
    struct err e = ERR_INIT;

    CHECK_OK(comm_split_node(world, &node, &e));
    place_open(&here, backend, comm_rank(node));
    CHECK_OK(comm_open_over(world, here.ops, &over, &e));
    if (comm_over_device(over))
        check_long(over);
    check_transport(over, comm_over_device(over) ? "nccl" : comm_transport(world));
    comm_close(over);
    place_close(&here);
    comm_close(node);
}

int main(int argc, char **argv)
{
    const char *const names[] = {"mpi", "self"};
    struct comm *c[2];
    struct err e = ERR_INIT;

    place_open(&host, "cpu", 0);
    for (int i = 0; i < 2; i++) {
        here = host;
        CHECK_OK(comm_open(names[i], &c[i], &e));
        CHECK(comm_size(c[i]) <= RANKS_MAX && (i == 0 || comm_size(c[i]) == 1));
        if (comm_size(c[i]) <= 2)
            check_long(c[i]);
        check_transport(c[i], names[i]);
    }
    check_names();
    check_over(c[0], argc > 1 ? argv[1] : "cpu");
    comm_close(c[1]);
    comm_close(c[0]);
    place_close(&host);
    CHECK(comm_open("mpi", &c[0], &e) == ST_DEVICE);
    return 0;
}
