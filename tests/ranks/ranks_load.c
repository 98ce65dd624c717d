/* ranks_load.c - ranks that read a part of a store each have what one rank reads alone
 *
 *     ranks_load [BACKEND]   every policy; each byte of the file is read once, and the
 *                            bytes are those that the host makes alone
 *     ranks_load short       the last rank's file ends early: all learn of it
 *     ranks_load spoilt      a row is not finite, in two ways
 *
 * After a failure nothing more can be said in a world, so these are runs of their own.
 * On a GPU backend bytes are fetched before they are compared. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dist/devices.h"
#include "engine/pipeline/team.h"
#include "engine/weights/component.h"
#include "engine/weights/safetensors.h"
#include "kernels/base/rng.h"
#include "tests/ranks/check.h"
#include "tests/scratch.h"

#define MODEL FF_GOLDEN_DIR "/dit/wan_a/original/diffusion_pytorch_model.safetensors"

struct launch {
    struct world *world;
    struct ops *ops;
    struct comm *ranks;
    struct queue *queue;
    int64_t read; /* bytes of the file, by this rank */
};

static bool matrix(const char *name)
{
    return strstr(name, "attn.") && strstr(name, ".weight") && !strstr(name, "norm");
}

static bool every(const char *name)
{
    return name != NULL;
}

static void read_note(void *self, int64_t done, int64_t total)
{
    struct launch *l = self;

    CHECK(done <= total);
    l->read = total;
}

static struct component opened(const char *path)
{
    struct err e = ERR_INIT;
    struct component c;
    struct source *s;

    CHECK_OK(source_open(path, &s, &e));
    CHECK_OK(component_open(s, "part", &names_dit, &c, &e));
    return c;
}

/* Bytes of the store's memory at `data`, on the host. */
static void fetch(struct launch *l, const void *data, size_t bytes, void *out)
{
    struct tensor to = tensor_make1(out, DT_U8, MEM_HOST, (int64_t)bytes);
    struct tensor from = tensor_make1((void *)(uintptr_t)data, DT_U8,
                                      ops_facts(l->ops)->space, (int64_t)bytes);
    struct err e = ERR_INIT;

    CHECK_OK(ops_copy(l->ops, l->queue, &to, &from, &e));
    CHECK_OK(ops_queue_wait(l->ops, l->queue, &e));
}

static void same_bytes(struct launch *l, const void *a, const void *b, size_t bytes)
{
    char *x = malloc(bytes + 1), *y = malloc(bytes + 1);

    CHECK(x && y);
    fetch(l, a, bytes, x);
    fetch(l, b, bytes, y);
    CHECK(memcmp(x, y, bytes) == 0);
    free(x);
    free(y);
}

static void same_store(struct launch *l, const struct component *c,
                       const struct weights *a, const struct weights *b)
{
    struct err e = ERR_INIT;
    struct tensor x, y;
    char hex[2][65];

    for (int i = 0; i < c->n; i++) {
        CHECK_OK(weights_find(a, c->list[i].name, -1, NULL, &x, &e));
        CHECK_OK(weights_find(b, c->list[i].name, -1, NULL, &y, &e));
        CHECK(x.dtype == y.dtype && x.scales.kind == y.scales.kind);
        same_bytes(l, x.data, y.data, (size_t)tensor_count(&x) * dtype_bytes(x.dtype));
        if (x.scales.kind == SCALE_ROW)
            same_bytes(l, x.scales.data, y.scales.data,
                       (size_t)x.shape[0] * sizeof(float));
    }
    CHECK_OK(weights_digest(&a, 1, hex[0], &e));
    CHECK_OK(weights_digest(&b, 1, hex[1], &e));
    CHECK(strcmp(hex[0], hex[1]) == 0);
}

/* What the ranks of this rank's team have read together. */
static void read_once(struct launch *l, const struct component *c, enum team_of of)
{
    const struct world_facts *f = world_facts(l->world);
    struct err e = ERR_INIT;
    int64_t *all = calloc((size_t)f->size, sizeof(*all)), sum = 0;

    CHECK(all);
    CHECK_OK(world_gather(l->world, &l->read, sizeof(l->read), all, &e));
    for (int i = 0; i < f->size; i++)
        sum += all[i];
    CHECK(sum == (of == TEAM_NODE ? f->nodes : 1) * component_bytes(c));
    free(all);
}

static void check_case(struct launch *l, const struct component *c,
                       struct weights_policy policy, enum team_of of,
                       size_t round_bytes)
{
    enum weights_way way = policy.way;
    struct err e = ERR_INIT;
    struct weights *alone, *shared;
    struct team team;

    policy.way = WEIGHTS_ON_HOST;
    CHECK_OK(weights_open(c, &policy, &alone, &e));
    CHECK_OK(weights_load(alone, l->ops, &e));
    policy.way = way;
    team_init(&team, of, l->world);
    team.calls.round_bytes = round_bytes;
    team_use(&team, l->ranks);
    policy.team = &team.calls;
    policy.progress = read_note;
    policy.progress_self = l;
    l->read = 0;
    CHECK_OK(weights_open(c, &policy, &shared, &e));
    CHECK_OK(weights_load(shared, l->ops, &e));
    read_once(l, c, of);
    same_store(l, c, shared, alone);
    weights_close(alone);
    weights_close(shared);
}

static const enum weights_way ways[] = {WEIGHTS_ON_HOST, WEIGHTS_BY_OPS};

static void golden_cases(struct launch *l)
{
    static const size_t rounds[] = {0, 100000, 40000};
    struct component c = opened(MODEL);

    for (int i = 0; i < 18; i++) {
        struct weights_policy policy = {.quant = (enum weight_quant)(i % 3),
                                        .quantise = matrix,
                                        .threads = 1 + i % 3,
                                        .way = ways[i / 3 % 2]};

        check_case(l, &c, policy, i % 2 ? TEAM_NODE : TEAM_ALL, rounds[i / 6]);
    }
    component_close(&c);
}

enum { BIG = 6 };

/* Matrices of more than one piece, of odd widths and of types that are left to the
 * host, a convolution, a vector. */
static void big_write(const char *path)
{
    static const struct {
        const char *name;
        enum dtype dt;
        int rank;
        int64_t dims[5];
    } shapes[BIG] = {
        {"a.weight", DT_BF16, 2, {700, 3001}},      {"b.weight", DT_F16, 2, {301, 512}},
        {"c.weight", DT_F32, 5, {96, 24, 3, 3, 3}}, {"d.bias", DT_BF16, 1, {3001}},
        {"e.weight", DT_E4M3, 2, {64, 96}},         {"f.weight", DT_F64, 2, {33, 96}}};
    struct safetensors_item items[BIG];
    struct err e = ERR_INIT;
    void *data[BIG];

    for (int i = 0; i < BIG; i++) {
        size_t n = 1;
        float *x;

        for (int k = 0; k < shapes[i].rank; k++)
            n *= (size_t)shapes[i].dims[k];
        x = malloc(n * sizeof(*x));
        data[i] = malloc(n * dtype_bytes(shapes[i].dt));
        CHECK(x && data[i]);
        noise_philox(5, (uint64_t)i, 0, n, x);
        dtype_convert(data[i], shapes[i].dt, x, DT_F32, n);
        free(x);
        items[i] = (struct safetensors_item){shapes[i].name, shapes[i].dt,
                                             shapes[i].rank, shapes[i].dims, data[i]};
    }
    CHECK_OK(safetensors_write(path, items, BIG, NULL, &e));
    for (int i = 0; i < BIG; i++)
        free(data[i]);
}

static void big_cases(struct launch *l)
{
    struct component c;
    struct scratch s;

    scratch_create(&s);
    big_write(scratch_path(&s, "w.safetensors"));
    c = opened(scratch_path(&s, "w.safetensors"));
    for (int i = 0; i < 6; i++) {
        struct weights_policy policy = {.quant = (enum weight_quant)(i % 3),
                                        .quantise = every,
                                        .conv_channels_last = true,
                                        .conv_dtype = i / 2 % 2 ? DT_F32 : DT_BF16,
                                        .threads = 2,
                                        .way = ways[i / 3]};

        check_case(l, &c, policy, TEAM_ALL, 1 << 20);
    }
    component_close(&c);
    scratch_remove(&s);
}

/* ---- failures -------------------------------------------------------------------- */

static void all_fail(struct launch *l, const struct component *c, enum weights_way way,
                     const char *text)
{
    struct weights_policy policy = {
        .quant = QUANT_E4M3, .quantise = every, .threads = 2, .way = way};
    struct err e = ERR_INIT;
    struct weights *w;
    struct team team;

    team_init(&team, TEAM_NODE, l->world);
    team.calls.round_bytes = 1 << 20;
    team_use(&team, l->ranks);
    policy.team = &team.calls;
    CHECK_OK(weights_open(c, &policy, &w, &e));
    CHECK(weights_load(w, l->ops, &e) == ST_INPUT);
    CHECK(strstr(e.text, text));
    CHECK(world_agree(l->world, ST_INPUT, &e) == ST_INPUT);
    weights_close(w);
}

enum { TENSORS = 12, ROWS = 300, COLS = 400 };

/* A file of its own for every rank; `bad`: one number is not finite. */
static void write_model(const char *path, bool bad)
{
    static const int64_t dims[] = {ROWS, COLS};
    struct safetensors_item items[TENSORS];
    static float x[TENSORS][ROWS * COLS];
    static char names[TENSORS][32];
    struct err e = ERR_INIT;

    for (int i = 0; i < TENSORS; i++) {
        for (int k = 0; k < ROWS * COLS; k++)
            x[i][k] = (float)((i + k) % 13 - 6);
        snprintf(names[i], sizeof(names[i]), "blocks.%02d.weight", i);
        items[i] = (struct safetensors_item){names[i], DT_F32, 2, dims, x[i]};
    }
    if (bad)
        x[7][123 * COLS + 5] = INFINITY;
    CHECK_OK(safetensors_write(path, items, TENSORS, NULL, &e));
}

static void failures(struct launch *l, const char *how)
{
    const struct world_facts *f = world_facts(l->world);
    bool bad = strstr(how, "spoilt");
    struct component c;
    struct scratch s;
    const char *path;

    scratch_create(&s);
    path = scratch_path(&s, "w.safetensors");
    write_model(path, bad);
    c = opened(path);
    if (!bad && f->rank == f->size - 1)
        CHECK(truncate(path, 100000) == 0);
    all_fail(l, &c, strstr(how, "ops") ? WEIGHTS_BY_OPS : WEIGHTS_ON_HOST,
             bad ? "tensor 'blocks.07.weight': row 123 is not finite"
                 : "w.safetensors': it ends at byte ");
    component_close(&c);
    scratch_remove(&s);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "cpu";
    bool fails = strstr(how, "short") || strstr(how, "spoilt");
    struct ops_options device = {.threads = 1};
    struct launch l;
    struct err e = ERR_INIT;
    bool hidden;

    CHECK_OK(world_open(&l.world, &e));
    CHECK_OK(devices_open(l.world, fails ? "cpu" : how, &device, &l.ops, &hidden, &e));
    CHECK_OK(comm_open_over(world_comm(l.world), l.ops, &l.ranks, &e));
    CHECK_OK(ops_queue_open(l.ops, NULL, 0, &l.queue, &e));
    if (fails)
        failures(&l, how);
    if (!fails) {
        golden_cases(&l);
        big_cases(&l);
    }
    ops_queue_close(l.ops, l.queue);
    comm_close(l.ranks);
    ops_close(l.ops);
    world_close(l.world);
    return 0;
}
