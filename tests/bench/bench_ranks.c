/* bench_ranks.c - what sharing a block among ranks moves, and how long it takes
 *
 *     mpirun -n 4 build/cpu/bin/ff_bench_ranks [TOKENS] [REPEATS]
 *
 * Runs one block of 8 heads of 128 on every mesh without guidance that the launch can
 * be, in fp32, bf16 and fp8, and prints for rank 0: bytes and messages sent per block,
 * the spec's formula beside them (the program fails when they differ), seconds per
 * block, and how many of them went by in sending and waiting.
 */
#include <inttypes.h>

#include "dist/wire.h"
#include "kernels/base/clock.h"
#include "tests/ranks/check.h"
#include "tests/ranks/forward_rig.h"

enum { HEADS = 8, HEAD_DIM = 128, GRANULE = 128 };

struct row {
    uint64_t bytes, messages, formula;
    double seconds, talking;
};

/* Bytes of 128 elements with their scales. */
static int64_t share(enum dtype dt, int64_t scales)
{
    return dtype_bytes(dt) == 1 ? HEAD_DIM + 4 * scales
                                : HEAD_DIM * (int64_t)dtype_bytes(dt);
}

/* (L/P) D (U-1)/U of q, k, v and o, (L/P) D of k and v: exact where U, R divide
 * tokens and heads. A k scale is for four tokens. */
static uint64_t formula_of(const struct seqpar_layout *l)
{
    int64_t u = l->group.ulysses, r = l->group.ring;
    int64_t units = l->tokens / (u * r) * l->heads;
    int64_t q = share(l->formats.qk, 1), v = share(l->formats.v, 1);
    int64_t k = l->formats.qk == DT_I8 ? HEAD_DIM + 1 : q;
    int64_t o = share(l->formats.o, 1);
    int64_t sums = l->formats.qk == DT_I8 && u * r > 1;

    return (uint64_t)(units * (q + k + v + o) * (u - 1) / u +
                      units * (k + v) * (r - 1) +
                      sums * 8 * (l->heads * l->head_dim + 1));
}

static bool divides(const struct mesh *m, int64_t tokens)
{
    return HEADS % m->ulysses == 0 && tokens % (GRANULE * m->ulysses * m->ring) == 0;
}

static struct comm_stats sum_of(const struct mesh_comms *c)
{
    struct comm *const all[] = {c->ulysses, c->ring, c->sequence};
    struct comm_stats sum = {0};

    for (int i = 0; i < 3; i++) {
        sum.sent_bytes += comm_stats(all[i])->sent_bytes;
        sum.messages += comm_stats(all[i])->messages;
        sum.seconds += comm_stats(all[i])->seconds;
    }
    return sum;
}

static struct row measure(struct forward_rig *r, const struct mesh *m,
                          struct comm *world, int repeats)
{
    struct mesh_comms comms;
    struct seqpar_group group;
    struct seqpar_layout layout;
    struct comm_stats before, after;
    struct forward_pass p;
    struct err e = ERR_INIT;
    struct row row;
    uint64_t n = (uint64_t)repeats;

    CHECK_OK(mesh_comms_open(m, world, &comms, &e));
    group = seqpar_group_of(&comms);
    forward_pass_open(&p, r, &group, 0);
    forward_pass_run(&p);
    CHECK_OK(comm_barrier(world, &e));
    before = sum_of(&comms);
    row.seconds = clock_seconds();
    for (int i = 0; i < repeats; i++)
        forward_pass_run(&p);
    row.seconds = (clock_seconds() - row.seconds) / repeats;
    after = sum_of(&comms);
    layout = forward_pass_layout(&p);
    row.formula = formula_of(&layout);
    row.bytes = (after.sent_bytes - before.sent_bytes) / n;
    row.messages = (after.messages - before.messages) / n;
    row.talking = (after.seconds - before.seconds) / repeats;
    forward_pass_close(&p);
    mesh_comms_close(&comms);
    return row;
}

static void report(const char *precision, const struct mesh *m, const struct row *row,
                   bool exact)
{
    char text[MESH_TEXT_BYTES], formula[32] = "does not divide";

    mesh_print(m, text);
    if (exact)
        snprintf(formula, sizeof(formula), "%" PRIu64, row->formula);
    printf("%-8s %-5s %14" PRIu64 " %15s %8" PRIu64 " %10.1f %10.1f\n", text, precision,
           row->bytes, formula, row->messages, 1e3 * row->seconds, 1e3 * row->talking);
}

static void run_precision(const char *name, const struct dit_precision *precision,
                          int64_t tokens, int repeats, struct comm *world)
{
    struct forward_case c = {HEADS, HEAD_DIM, 1, 1, 1, tokens, precision, false};
    struct forward_rig r;
    struct row row;
    struct ops *ops;
    struct err e = ERR_INIT;

    CHECK_OK(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e));
    forward_rig_open(&r, &c, ops);
    for (int u = comm_size(world); u >= 1; u--) {
        struct mesh m = {1, u, comm_size(world) / u};

        if (mesh_ranks(&m) != comm_size(world))
            continue;
        row = measure(&r, &m, world, repeats);
        if (comm_rank(world) == 0)
            report(name, &m, &row, divides(&m, tokens));
        CHECK(!divides(&m, tokens) || row.bytes == row.formula);
    }
    forward_rig_close(&r);
    ops_close(ops);
}

int main(int argc, char **argv)
{
    int64_t tokens = argc > 1 ? strtol(argv[1], NULL, 10) : 2048;
    int repeats = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
    struct comm *world;
    struct err e = ERR_INIT;

    CHECK(tokens > 0 && tokens < 1 << 20 && repeats > 0);
    CHECK_OK(comm_open("mpi", &world, &e));
    if (comm_rank(world) == 0)
        printf("%d ranks, %d heads of %d, %d tokens, one block\n"
               "%-8s %-5s %14s %15s %8s %10s %10s\n",
               comm_size(world), HEADS, HEAD_DIM, (int)tokens, "mesh", "", "bytes sent",
               "formula", "messages", "ms", "ms talking");
    run_precision("fp32", &dit_fp32, tokens, repeats, world);
    run_precision("bf16", &dit_bf16, tokens, repeats, world);
    run_precision("fp8", &dit_fp8, tokens, repeats, world);
    comm_close(world);
    return 0;
}
