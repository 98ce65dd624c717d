/* ranks_comm.c - what every transport must do, with exact integers
 *
 * The same checks run on each transport that this launch has: "self" on every rank for
 * itself, "mpi" on the whole launch and on the parts that it is split into. Byte i of
 * the piece from rank a to rank b in round t is a function of (a, b, t, i) alone.
 */
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "dist/comm.h"
#include "tests/ranks/check.h"

enum { RANKS_MAX = 8, PIECE_MAX = 200000, ROUNDS = 4 };

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

static struct comm_piece made(int from, int to, int round, size_t bytes)
{
    unsigned char *p = malloc(bytes + 1);

    CHECK(p);
    for (size_t i = 0; i < bytes; i++)
        p[i] = value(from, to, round, i);
    return (struct comm_piece){p, bytes};
}

static struct comm_piece blank(size_t bytes)
{
    unsigned char *p = calloc(1, bytes + 1);

    CHECK(p);
    p[bytes] = 0x5a;
    return (struct comm_piece){p, bytes};
}

/* The bytes of (from, to, round), and nothing behind them. */
static void check_piece(struct comm_piece p, int from, int to, int round)
{
    const unsigned char *x = p.data;

    for (size_t i = 0; i < p.bytes; i++)
        CHECK(x[i] == value(from, to, round, i));
    CHECK(x[p.bytes] == 0x5a);
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
        x->send[p] = made(me, p, t, length(me, p, t));
        x->receive[p] = blank(length(p, me, t));
    }
}

static void round_close(struct round *x, struct comm *c, int t)
{
    for (int p = 0; p < comm_size(c); p++) {
        check_piece(x->receive[p], p, comm_rank(c), t);
        free(x->send[p].data);
        free(x->receive[p].data);
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
        CHECK_OK(comm_alltoall_begin(rounds[t].flight, rounds[t].send,
                                     rounds[t].receive, &e));
        for (int p = 0; p < comm_size(c); p++) {
            sent += p == me ? 0 : length(me, p, t);
            received += p == me ? 0 : length(p, me, t);
            messages += p != me && length(me, p, t) > 0;
        }
    }
    for (int t = ROUNDS; t-- > 0;) {
        CHECK_OK(comm_end(rounds[t].flight, &e));
        CHECK_OK(comm_end(rounds[t].flight, &e));
        round_close(&rounds[t], c, t);
    }
    CHECK(comm_stats(c)->sent_bytes - before.sent_bytes == sent);
    CHECK(comm_stats(c)->received_bytes - before.received_bytes == received);
    CHECK(comm_stats(c)->messages - before.messages == messages);
}

static void check_allgather(struct comm *c, int t)
{
    struct comm_piece receive[RANKS_MAX], send;
    struct err e = ERR_INIT;
    int me = comm_rank(c);

    send = made(me, 0, t, length(me, 0, t));
    for (int p = 0; p < comm_size(c); p++)
        receive[p] = blank(length(p, 0, t));
    CHECK_OK(comm_allgather(c, send, receive, &e));
    for (int p = 0; p < comm_size(c); p++) {
        check_piece(receive[p], p, 0, t);
        free(receive[p].data);
    }
    free(send.data);
}

/* Round the whole ring, a block of its own length per rank. */
static void check_ring(struct comm *c)
{
    int me = comm_rank(c), n = comm_size(c), from = me;
    struct comm_piece held = blank(length(me, 0, 3));
    struct comm_flight *f;
    struct err e = ERR_INIT;

    for (size_t i = 0; i < held.bytes; i++)
        ((unsigned char *)held.data)[i] = value(me, 0, 3, i);
    CHECK_OK(comm_flight_create(c, &f, &e));
    for (int i = 0; i < n; i++) {
        struct comm_piece next;

        from = (from + n - 1) % n;
        next = blank(length(from, 0, 3));
        CHECK_OK(comm_shift_begin(f, held, next, &e));
        CHECK_OK(comm_end(f, &e));
        check_piece(next, from, 0, 3);
        free(held.data);
        held = next;
    }
    CHECK(from == me);
    free(held.data);
    comm_flight_destroy(f);
}

/* Pieces that are more than one message, to the next rank of a ring. */
static void check_long(struct comm *c)
{
    size_t bytes = COMM_MESSAGE_BYTES + 1000;
    int me = comm_rank(c), n = comm_size(c), from = (me + n - 1) % n;
    struct comm_piece send = made(me, 3, 1, bytes), receive = blank(bytes);
    uint64_t before = comm_stats(c)->messages;
    struct comm_flight *f;
    struct err e = ERR_INIT;

    CHECK_OK(comm_flight_create(c, &f, &e));
    CHECK_OK(comm_shift_begin(f, send, receive, &e));
    CHECK_OK(comm_end(f, &e));
    check_piece(receive, from, 3, 1);
    CHECK(comm_stats(c)->messages - before == (n > 1 ? 2 : 0));
    CHECK_OK(comm_broadcast(c, n - 1, receive.data, bytes, &e));
    check_piece(receive, (2 * n - 2) % n, 3, 1);
    send.bytes = COMM_PIECE_BYTES + 1;
    CHECK(n == 1 || comm_shift_begin(f, send, send, &e) == ST_RESOURCE);
    comm_flight_destroy(f);
    free(send.data);
    free(receive.data);
}

static void check_sum(struct comm *c)
{
    int64_t n = comm_size(c), x[3];
    struct err e = ERR_INIT;

    x[0] = comm_rank(c);
    x[1] = (int64_t)1 << (40 + comm_rank(c));
    x[2] = -5;
    CHECK_OK(comm_sum(c, x, 3, &e));
    CHECK_OK(comm_sum(c, NULL, 0, &e));
    CHECK(x[0] == n * (n - 1) / 2);
    CHECK(x[1] == (((int64_t)1 << n) - 1) << 40);
    CHECK(x[2] == -5 * n);
}

static void check_broadcast(struct comm *c)
{
    struct err e = ERR_INIT;

    for (int root = 0; root < comm_size(c); root++) {
        struct comm_piece p = blank(PIECE_MAX);

        for (size_t i = 0; root == comm_rank(c) && i < p.bytes; i++)
            ((unsigned char *)p.data)[i] = value(root, 1, 2, i);
        CHECK_OK(comm_broadcast(c, root, p.data, p.bytes, &e));
        check_piece(p, root, 1, 2);
        free(p.data);
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

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Ranks that wait for a slow one sleep. */
static void check_waiting(struct comm *c)
{
    struct timespec nap = {0, 400000000};
    double begin = cpu_seconds();
    struct err e = ERR_INIT;

    if (comm_rank(c) == 0)
        nanosleep(&nap, NULL);
    CHECK_OK(comm_barrier(c, &e));
    CHECK(cpu_seconds() - begin < 0.2);
}

static void check_all(struct comm *c)
{
    check_alltoall(c);
    for (int t = 0; t < ROUNDS; t++)
        check_allgather(c, t);
    check_ring(c);
    check_sum(c);
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
    struct comm_piece nothing = {0}, never = blank(1000);
    struct comm_flight *f;
    struct comm *part;
    struct err e = ERR_INIT;

    CHECK_OK(comm_split(c, 0, comm_rank(c), &part, &e));
    CHECK_OK(comm_flight_create(part, &f, &e));
    CHECK_OK(comm_shift_begin(f, comm_size(part) > 1 ? nothing : never, never, &e));
    comm_flight_destroy(f);
    free(never.data);
    comm_close(part);
    check_agree(c);
}

static void check_names(void)
{
    struct err e = ERR_INIT;
    struct comm *c = NULL;

    CHECK(comm_open("nccl", &c, &e) == ST_UNBUILT);
    CHECK(comm_open("smoke", &c, &e) == ST_USAGE && !c);
    comm_close(NULL);
    comm_flight_destroy(NULL);
}

int main(void)
{
    const char *const names[] = {"mpi", "self"};
    struct comm *c[2];
    struct err e = ERR_INIT;

    for (int i = 0; i < 2; i++) {
        CHECK_OK(comm_open(names[i], &c[i], &e));
        CHECK(strcmp(comm_transport(c[i]), names[i]) == 0);
        CHECK(comm_size(c[i]) <= RANKS_MAX && (i == 0 || comm_size(c[i]) == 1));
        check_all(c[i]);
        check_split(c[i]);
        check_given_up(c[i]);
        if (comm_size(c[i]) <= 2)
            check_long(c[i]);
    }
    check_names();
    comm_close(c[1]);
    comm_close(c[0]);
    CHECK(comm_open("mpi", &c[0], &e) == ST_DEVICE);
    return 0;
}
