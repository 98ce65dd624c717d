/* ranks_forward.c - the transformer on 1 to 8 ranks against the same on one
 *
 *     ranks_forward [BACKEND]          larger heads, on that one
 *
 * Every case runs on every mesh that the launch is large enough for, on the first ranks
 * of the launch; ranks outside wait at the next case. Guidance groups run side by side
 * with inputs of their own. What must hold:
 *
 *     any G and U      the bytes of one rank
 *     R > 1            within TOL_RING of one rank in fp32, the same bytes when run
 *                      again
 *     every mesh       bytes and messages on the wire as the formulas say
 */
#include <math.h>
#include <string.h>

#include "dist/wire.h"
#include "tests/ranks/check.h"
#include "tests/ranks/forward_rig.h"
#include "tests/tolerance.h"

enum { RANKS_MAX = 8, BRANCHES = 2 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct mesh same_bytes[] = {
    {1, 1, 1}, {1, 2, 1}, {1, 3, 1}, {1, 4, 1}, {1, 5, 1}, {1, 6, 1},
    {1, 7, 1}, {1, 8, 1}, {2, 1, 1}, {2, 2, 1}, {2, 3, 1}, {2, 4, 1},
};

static const struct mesh rings[] = {
    {1, 1, 2}, {1, 1, 3}, {1, 1, 8}, {1, 2, 2},
    {1, 3, 2}, {1, 2, 3}, {1, 4, 2}, {2, 2, 2},
};

/* What one rank computes for a case, of every branch; on all ranks. */
struct truth {
    float *velocity[BRANCHES];
    size_t bytes;
};

static void truth_open(struct truth *t, struct forward_rig *r, struct comm *world)
{
    struct seqpar_group alone = SEQPAR_ALONE;
    struct forward_pass p;
    struct err e = ERR_INIT;

    t->bytes = (size_t)case_tokens(&r->c) * RIG_COLUMNS * sizeof(float);
    for (int b = 0; b < BRANCHES; b++) {
        t->velocity[b] = malloc(t->bytes);
        CHECK(t->velocity[b]);
        if (comm_rank(world) == 0) {
            forward_pass_open(&p, r, &alone, b);
            forward_pass_run(&p);
            memcpy(t->velocity[b], p.have, t->bytes);
            forward_pass_close(&p);
        }
        CHECK_OK(comm_broadcast(world, 0, t->velocity[b], t->bytes, &e));
    }
}

static void truth_close(struct truth *t)
{
    for (int b = 0; b < BRANCHES; b++)
        free(t->velocity[b]);
}

/* |a - b| / |b| over the own rows; 0 where there are none. */
static double error_of(const struct forward_pass *p, const float *want)
{
    const float *have = p->have;
    double diff = 0, norm = 0;

    want += p->tokens.begin * RIG_COLUMNS;
    for (int64_t i = 0; i < p->tokens.count * RIG_COLUMNS; i++) {
        diff += ((double)have[i] - want[i]) * ((double)have[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    return norm > 0 ? sqrt(diff / norm) : 0;
}

static size_t own_bytes(const struct forward_pass *p)
{
    return (size_t)p->tokens.count * RIG_COLUMNS * sizeof(float);
}

static void check_same(const struct forward_pass *p, const float *want)
{
    CHECK(memcmp(p->have, want + p->tokens.begin * RIG_COLUMNS, own_bytes(p)) == 0);
}

/* ---- bytes on the wire ----------------------------------------------------------- */

struct traffic {
    struct comm_stats ulysses, ring, sequence;
};

static struct traffic traffic_of(const struct mesh_comms *c)
{
    return (struct traffic){*comm_stats(c->ulysses), *comm_stats(c->ring),
                            *comm_stats(c->sequence)};
}

static void check_wire(const struct forward_pass *p, const struct traffic *before,
                       const struct traffic *after)
{
    struct seqpar_layout l = forward_pass_layout(p);
    struct wire w = wire_of(&l, ops_facts(p->rig->ops)->granule_tokens);
    uint64_t layers = (uint64_t)p->rig->c.layers;

    CHECK(after->ulysses.sent_bytes - before->ulysses.sent_bytes ==
          layers * w.ulysses_bytes);
    CHECK(after->ring.sent_bytes - before->ring.sent_bytes == layers * w.ring_bytes);
    CHECK(after->sequence.sent_bytes - before->sequence.sent_bytes ==
          layers * w.sum_bytes);
    CHECK(after->ulysses.messages + after->ring.messages + after->sequence.messages -
              before->ulysses.messages - before->ring.messages -
              before->sequence.messages ==
          layers * w.messages);
}

/* Where everything divides, the counts are those of the spec's two formulas. */
static void check_formula(int64_t heads, int u, int r)
{
    int64_t tokens = 128 * 2 * u * r, d = heads * 16;
    struct seqpar_layout l = {
        {u, r, 0, NULL}, tokens, heads, 16, {DT_F32, DT_F32, DT_F32}};
    struct wire wide = wire_of(&l, 128), mixed;
    uint64_t share = (uint64_t)(tokens / (u * r) * d);

    CHECK(wide.ulysses_bytes * (uint64_t)u == 4 * share * 4 * (uint64_t)(u - 1));
    CHECK(wide.ring_bytes == 2 * share * 4 * (uint64_t)(r - 1));
    /* 8 bit, head_dim 16: q, k, v 1 byte and 4/16, 1/16, 4/128 of scales, o bf16 */
    l.formats = (struct seqpar_formats){DT_I8, DT_E4M3, DT_BF16};
    mixed = wire_of(&l, 128);
    CHECK(mixed.ulysses_bytes * (uint64_t)u * 32 ==
          share * (uint64_t)(u - 1) * (40 + 34 + 33 + 64));
    CHECK(mixed.ring_bytes * 32 == share * (uint64_t)(r - 1) * (34 + 33));
}

/* ---- meshes ---------------------------------------------------------------------- */

static void report(const struct forward_pass *p, const struct mesh *m, double error)
{
    char text[MESH_TEXT_BYTES];

    mesh_print(m, text);
    if (p->tokens.begin == 0 && p->tokens.count > 0)
        printf("%2d heads, %4d tokens, keys %s: %s off by %.1e\n", (int)p->rig->c.heads,
               (int)case_tokens(&p->rig->c),
               dtype_name(p->rig->c.precision->attention.qk), text, error);
}

static void run_mesh(struct forward_rig *r, const struct truth *t,
                     const struct mesh_comms *comms)
{
    struct seqpar_group group = seqpar_group_of(comms);
    const float *want = t->velocity[comms->place.guidance];
    struct traffic before, after;
    struct forward_pass p;
    float *first;

    forward_pass_open(&p, r, &group, comms->place.guidance);
    before = traffic_of(comms);
    forward_pass_run(&p);
    after = traffic_of(comms);
    check_wire(&p, &before, &after);
    if (comms->mesh.ring == 1) {
        check_same(&p, want);
    } else {
        first = malloc(own_bytes(&p) + 1);
        CHECK(first);
        memcpy(first, p.have, own_bytes(&p));
        report(&p, &comms->mesh, error_of(&p, want));
        if (r->c.precision == &dit_fp32)
            CHECK(error_of(&p, want) < TOL_RING);
        forward_pass_run(&p);
        CHECK(memcmp(first, p.have, own_bytes(&p)) == 0);
        free(first);
    }
    forward_pass_close(&p);
}

/* A case with what one rank makes of it. */
struct subject {
    struct forward_rig rig;
    struct truth truth;
};

static void run_meshes(struct subject *subjects, size_t n_subjects,
                       const struct mesh *meshes, size_t n, struct comm *world)
{
    struct mesh_comms comms;
    struct comm *part;
    struct err e = ERR_INIT;

    for (size_t i = 0; i < n; i++) {
        int ranks = mesh_ranks(&meshes[i]);

        if (ranks > comm_size(world))
            continue;
        CHECK_OK(comm_split(world, comm_rank(world) < ranks ? 0 : -1, comm_rank(world),
                            &part, &e));
        if (!part)
            continue;
        CHECK_OK(mesh_comms_open(&meshes[i], part, &comms, &e));
        for (size_t k = 0; k < n_subjects; k++)
            run_mesh(&subjects[k].rig, &subjects[k].truth, &comms);
        mesh_comms_close(&comms);
        comm_close(part);
    }
}

/* Two branches of one group step in turn. */
static void check_interleaved(struct forward_rig *r, const struct truth *t,
                              const struct mesh_comms *comms)
{
    struct seqpar_group group = seqpar_group_of(comms);
    struct forward_pass p[BRANCHES];
    struct err e = ERR_INIT;

    for (int b = 0; b < BRANCHES; b++) {
        forward_pass_open(&p[b], r, &group, b);
        CHECK_OK(dit_forward_begin(p[b].forward, p[b].q, &p[b].input, &e));
    }
    while (dit_forward_left(p[0].forward) > 0) {
        for (int b = 0; b < BRANCHES; b++)
            CHECK_OK(dit_forward_step(p[b].forward, p[b].q, &e));
    }
    for (int b = 0; b < BRANCHES; b++) {
        CHECK_OK(dit_forward_end(p[b].forward, p[b].q, &p[b].velocity, &e));
        forward_pass_fetch(&p[b]);
        check_same(&p[b], t->velocity[b]);
        forward_pass_close(&p[b]);
    }
}

static void run_interleaved(struct subject *subjects, size_t n, struct comm *world)
{
    struct mesh m = {1, comm_size(world), 1};
    struct mesh_comms comms;
    struct err e = ERR_INIT;

    CHECK_OK(mesh_comms_open(&m, world, &comms, &e));
    for (size_t k = 0; k < n; k++)
        check_interleaved(&subjects[k].rig, &subjects[k].truth, &comms);
    mesh_comms_close(&comms);
}

/* Cases with the meshes that they run on. */
struct suite {
    const struct forward_case *cases;
    size_t n;
    const struct mesh *same, *rings;
    size_t n_same, n_rings;
    bool interleaved;
};

static void say(struct comm *world, const char *what, size_t cases)
{
    if (comm_rank(world) == 0)
        printf("%s: %zu cases\n", what, cases);
    fflush(stdout);
}

static void run_suite(const struct suite *suite, const char *backend,
                      struct comm *launch)
{
    struct ops_options opt = {.threads = 1};
    size_t n = suite->n;
    struct subject *subjects = calloc(n, sizeof(*subjects));
    struct comm *node, *world;
    struct ops *ops;
    struct err e = ERR_INIT;

    CHECK(subjects);
    CHECK_OK(comm_split_node(launch, &node, &e));
    opt.device = comm_rank(node);
    CHECK_OK(ops_open(backend, &opt, &ops, &e));
    CHECK_OK(comm_open_over(launch, ops, &world, &e));
    for (size_t k = 0; k < n; k++) {
        forward_rig_open(&subjects[k].rig, &suite->cases[k], ops);
        truth_open(&subjects[k].truth, &subjects[k].rig, world);
    }
    run_meshes(subjects, n, suite->same, suite->n_same, world);
    if (suite->interleaved)
        run_interleaved(subjects, n, world);
    say(world, "the same bytes on every mesh without a ring", n);
    run_meshes(subjects, n, suite->rings, suite->n_rings, world);
    say(world, "every ring again the same", n);
    for (size_t k = 0; k < n; k++) {
        truth_close(&subjects[k].truth);
        forward_rig_close(&subjects[k].rig);
    }
    comm_close(world);
    ops_close(ops);
    comm_close(node);
    free(subjects);
}

static void run_cases(const struct forward_case *cases, size_t n, const char *backend,
                      struct comm *world)
{
    struct suite suite = {.cases = cases,
                          .n = n,
                          .same = same_bytes,
                          .rings = rings,
                          .n_same = COUNT(same_bytes),
                          .n_rings = COUNT(rings),
                          .interleaved = true};

    run_suite(&suite, backend, world);
}

/* The first ones through the backend that poisons what an op has not written.
 * 45 tokens are less than a granule, 297 are three, 1105 nine with a short tail. */
static const struct forward_case cases[] = {
    {2, 16, 2, 3, 9, 11, &dit_fp32, true},   {2, 16, 1, 3, 9, 11, &dit_fp8, false},
    {3, 16, 1, 5, 13, 17, &dit_fp32, false}, {3, 16, 2, 5, 13, 17, &dit_fp8, true},
    {4, 16, 2, 1, 5, 9, &dit_fp32, true},    {4, 16, 1, 5, 13, 17, &dit_bf16, true},
    {4, 16, 1, 5, 13, 17, &dit_int8, true},  {12, 12, 1, 5, 13, 17, &dit_fp32, true},
    {12, 12, 2, 3, 9, 11, &dit_fp8, true},   {40, 8, 1, 3, 9, 11, &dit_fp32, true},
    {40, 8, 1, 5, 13, 17, &dit_fp8, false},
};

enum { CHECKED = 2 };

/* Heads of 128, which a GPU's matrix unit takes, and some that it does not. */
static const struct forward_case device_cases[] = {
    {8, 128, 2, 5, 13, 17, &dit_fp8, true},  {8, 128, 2, 5, 13, 17, &dit_bf16, false},
    {6, 128, 1, 3, 9, 11, &dit_fp8, false},  {5, 128, 1, 5, 13, 17, &dit_int8, true},
    {40, 128, 1, 9, 16, 18, &dit_fp8, true}, {4, 16, 1, 5, 13, 17, &dit_fp32, true},
};

/* 8410 tokens: 66 granules, the last of 90 tokens. Three ranks have 22 each, two 33; a
 * ring attends to parts that are thousands of keys long. */
static const struct forward_case long_cases[] = {
    {2, 16, 1, 10, 29, 29, &dit_fp8, true},
};
static const struct mesh long_meshes[] = {{1, 2, 1}, {1, 3, 1}};
static const struct mesh long_rings[] = {{1, 1, 2}};

static void run_long(const char *backend, struct comm *world)
{
    struct suite suite = {.cases = long_cases,
                          .n = COUNT(long_cases),
                          .same = long_meshes,
                          .rings = long_rings,
                          .n_same = COUNT(long_meshes),
                          .n_rings = COUNT(long_rings)};

    run_suite(&suite, backend, world);
}

int main(int argc, char **argv)
{
    struct comm *world;
    struct err e = ERR_INIT;

    CHECK_OK(comm_open("mpi", &world, &e));
    CHECK(comm_size(world) <= RANKS_MAX);
    if (argc > 1) {
        run_cases(device_cases, COUNT(device_cases), argv[1], world);
    } else {
        run_cases(cases, CHECKED, "check:cpu", world);
        run_cases(cases + CHECKED, COUNT(cases) - CHECKED, "cpu", world);
        run_long("cpu", world);
    }
    for (int u = 1; u <= 8; u *= 2) {
        for (int r = 1; r <= 8; r++)
            check_formula(8, u, r);
    }
    comm_close(world);
    return 0;
}
