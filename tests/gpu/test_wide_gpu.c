/* test_wide_gpu.c - the kernels for a block's shapes (kernels/cuda/wide.cuh), and the
 * products around the blocks (linear_f32.cu), and those of i8
 *
 * Each op against the reference, and byte for byte against the kernel that a backend
 * opened as OPS_SIMPLE takes for the same inputs: rows of both model sizes, numbers of
 * rows that fill no group, everything pending or nothing, rows of several frames. Where
 * there are so many rows that a block works on several groups, without the reference.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/gpu/gpu_rig.h"
#include "tests/tolerance.h"

enum { DIM = 128, GRID_F = 120, GRID_H = 5, GRID_W = 7, PARTS = 3 };

/* The rig, whose GPU backend takes these kernels, and one that takes none of them. */
struct both {
    struct rig *r;
    bool without_ref;
    struct ops *simple;
    struct queue *queue;
};

/* An op on the reference and on both backends of the GPU. */
#define ON_ALL(b, op, host, dev, old)                                          \
    do {                                                                       \
        struct rig *r_ = (b)->r;                                               \
        struct err e_ = ERR_INIT;                                              \
                                                                               \
        if (!(b)->without_ref)                                                 \
            must(ops_##op(r_->ref, r_->ref_q, host, &e_), &e_, #op " on ref"); \
        must(ops_##op(r_->gpu, r_->gpu_q, dev, &e_), &e_, #op " on cuda");     \
        rig_wait(r_); /* what both read was sent in that queue */              \
        must(ops_##op((b)->simple, (b)->queue, old, &e_), &e_,                 \
             #op " by simple kernels");                                        \
        must(ops_queue_wait((b)->simple, (b)->queue, &e_), &e_, "wait");       \
    } while (0)

/* One on the GPU alone. */
#define ON_GPU(r, op, dev)                                                      \
    do {                                                                        \
        struct err e_ = ERR_INIT;                                               \
                                                                                \
        must(ops_##op((r)->gpu, (r)->gpu_q, dev, &e_), &e_, #op " on the gpu"); \
    } while (0)

static int64_t scales_differing(const struct tensor *a, const struct tensor *b)
{
    int64_t n = a->scales.kind == SCALE_NONE ? 0
                : a->rank > 2                ? a->shape[0] * a->scales.stride[0]
                                             : a->shape[0];
    int64_t differ = 0;

    for (int64_t i = 0; i < n; i++)
        differ += memcmp(&a->scales.data[i], &b->scales.data[i], sizeof(float)) != 0;
    return differ;
}

/* `now` against the reference, and its bytes against those of `before`. */
static void compare_all(struct both *b, const char *name, const struct pair *now,
                        const struct pair *before, double limit)
{
    struct tensor x = pair_fetch(b->r, now), y = pair_fetch(b->r, before);
    size_t bytes = (size_t)tensor_count(&x) * dtype_bytes(x.dtype);
    int64_t differ = scales_differing(&x, &y);
    char text[64];

    for (size_t i = 0; i < bytes; i++)
        differ += ((const char *)x.data)[i] != ((const char *)y.data)[i];
    if (!b->without_ref)
        table_compare(b->r, name, now, limit);
    snprintf(text, sizeof(text), "%s: other bytes than before", name);
    table_row(text, (double)differ, 0.0);
}

/* Something that is not zero lies where a result is to come. */
static struct pair poisoned(struct both *b, enum dtype dt, int rank,
                            const int64_t *shape, int64_t group_rows,
                            int64_t group_cols)
{
    struct pair p = pair_make(b->r, dt, rank, shape, group_rows, group_cols);

    memset(p.host.data, 0x5a, (size_t)tensor_count(&p.host) * dtype_bytes(dt));
    pair_send(b->r, &p);
    return p;
}

static struct pair poisoned2(struct both *b, enum dtype dt, int64_t rows, int64_t cols)
{
    return poisoned(b, dt, 2, SHAPE(rows, cols), 0, 0);
}

/* ---- residual, act, gather ------------------------------------------------------- */

static struct pair copy_of(struct both *b, const struct pair *p)
{
    struct pair c = pair_make(b->r, p->host.dtype, p->host.rank, p->host.shape, 0, 0);

    memcpy(c.host.data, p->host.data,
           (size_t)tensor_count(&p->host) * dtype_bytes(p->host.dtype));
    pair_send(b->r, &c);
    return c;
}

static void residual_one(struct both *b, int i, int64_t s, int64_t d, enum dtype dt)
{
    int64_t frames = i % 3 == 1 ? (s + 4) / 7 + 1 : 1;
    struct pair x = random2(b->r, DT_F32, s, d), x_old = copy_of(b, &x);
    struct pair y = random2(b->r, DT_BF16, s, d);
    struct pair gate = random2(b->r, DT_F32, frames, d);
    struct pair times = random2(b->r, DT_F32, frames, d);
    struct pair plus = random2(b->r, DT_F32, frames, d);
    struct pair out = poisoned2(b, dt, s, d), out_old = poisoned2(b, dt, s, d);
    struct norm n = {
        .kind = NORM_LAYER, .eps = 1e-6f, .first_token = 5, .tokens_per_frame = 7};
    struct op_residual host = {.x = &x.host, .y = &y.host, .out = &out.host, .norm = n};
    struct op_residual dev = {.x = &x.dev, .y = &y.dev, .out = &out.dev, .norm = n};
    struct op_residual old;
    struct tensor flat[2] = {tensor_make1(times.host.data, DT_F32, MEM_HOST, d),
                             tensor_make1(times.dev.data, DT_F32, b->r->space, d)};

    if (i % 4)
        pair_pending(b->r, &y);
    if (i % 3) {
        host.gate = &gate.host;
        dev.gate = &gate.dev;
        host.norm.scale = &times.host;
        host.norm.shift = &plus.host;
        dev.norm.scale = &times.dev;
        dev.norm.shift = &plus.dev;
    } else {
        host.norm.weight = &flat[0];
        dev.norm.weight = &flat[1];
    }
    dev.y = &y.dev;
    host.y = &y.host;
    old = dev;
    old.x = &x_old.dev;
    old.out = &out_old.dev;
    ON_ALL(b, residual, &host, &dev, &old);
    compare_all(b, "wide residual: x", &x, &x_old, TOL_OP_F32);
    if (dt == DT_BF16)
        compare_all(b, "wide residual: norm in bf16", &out, &out_old, TOL_OP_BF16);
    else
        compare_all(b, "wide residual: codes of the norm", &out, &out_old, 0.0);
}

static void act_one(struct both *b, int i, int64_t s, int64_t d)
{
    struct pair x = random2(b->r, DT_BF16, s, d);
    struct pair out = poisoned2(b, DT_E4M3, s, d), old = poisoned2(b, DT_E4M3, s, d);
    struct op_act args[3];

    if (i % 3)
        pair_pending(b->r, &x);
    for (int k = 0; k < 3; k++)
        args[k] = (struct op_act){.x = k ? &x.dev : &x.host, .act = ACT_GELU_TANH};
    args[0].out = &out.host;
    args[1].out = &out.dev;
    args[2].out = &old.dev;
    ON_ALL(b, act, &args[0], &args[1], &args[2]);
    compare_all(b, "wide act: codes", &out, &old, 0.0);
}

/* bf16 of a GELU is rounded from a guess, so it need not have the bytes of before; a
 * row has them whether it is one of many or the only one. */
static void act_rounded(struct both *b, int i, int64_t s, int64_t d)
{
    struct rig *r = b->r;
    struct pair x = random2(r, DT_BF16, s, d), out = poisoned2(b, DT_BF16, s, d);
    struct pair one = poisoned2(b, DT_BF16, 1, d);
    struct op_act host = {.x = &x.host, .out = &out.host, .act = ACT_GELU_TANH};
    struct op_act dev = {.x = &x.dev, .out = &out.dev, .act = ACT_GELU_TANH};
    struct tensor all, alone, last;

    if (i % 3)
        pair_pending(r, &x);
    if (b->without_ref)
        ON_GPU(r, act, &dev);
    else
        BOTH(r, act, &host, &dev);
    last = tensor_slice(&x.dev, 0, s - 1, 1);
    dev.x = &last;
    dev.out = &one.dev;
    ON_GPU(r, act, &dev);
    all = pair_fetch(r, &out);
    alone = pair_fetch(r, &one);
    if (!b->without_ref)
        table_compare(r, "wide act: bf16", &out, TOL_OP_BF16);
    table_row("wide act: other bytes of a row alone",
              memcmp((char *)all.data + (size_t)((s - 1) * d) * 2, alone.data,
                     (size_t)d * 2) != 0,
              0.0);
}

static void gather_one(struct both *b, int i, int64_t s, int64_t d, int n_parts)
{
    static const enum dtype from[] = {DT_BF16, DT_E4M3, DT_BF16};
    static const enum dtype into[] = {DT_E4M3, DT_E4M3, DT_BF16};
    struct pair out = poisoned2(b, into[i % 3], s, d);
    struct pair old = poisoned2(b, into[i % 3], s, d);
    struct head_part host[PARTS], dev[PARTS];
    struct op_gather args[3];
    int heads = (int)(d / DIM), at = 0;

    for (int p = 0; p < n_parts; p++) {
        int n = p + 1 < n_parts ? heads / n_parts : heads - at;
        struct pair t = pair_random(b->r, from[i % 3], 3, SHAPE(s, n, DIM), 0, 0);

        host[p] = (struct head_part){at, n, t.host};
        dev[p] = (struct head_part){at, n, t.dev};
        at += n;
    }
    for (int k = 0; k < 3; k++)
        args[k] = (struct op_gather){.parts = k ? dev : host, .n_parts = n_parts};
    args[0].out = &out.host;
    args[1].out = &out.dev;
    args[2].out = &old.dev;
    ON_ALL(b, gather, &args[0], &args[1], &args[2]);
    compare_all(b, i % 3 == 2 ? "wide gather: bf16" : "wide gather: codes", &out, &old,
                0.0);
}

/* ---- heads, key sums, values ---------------------------------------------------- */

static struct pair rope_table(struct both *b, int64_t positions, int64_t pairs)
{
    struct pair p = pair_make(b->r, DT_F32, 3, SHAPE(positions, pairs, 2), 0, 0);
    float *v = p.host.data;

    for (int64_t i = 0; i < positions * pairs; i++) {
        double angle = (double)(i / pairs) *
                       pow(10000.0, -(double)(i % pairs) / (double)pairs);

        v[2 * i] = (float)cos(angle);
        v[2 * i + 1] = (float)sin(angle);
    }
    pair_send(b->r, &p);
    return p;
}

static void ropes_make(struct both *b, struct rope *host, struct rope *dev)
{
    struct pair f = rope_table(b, GRID_F, 22), h = rope_table(b, GRID_H, 21);
    struct pair w = rope_table(b, GRID_W, 21);

    *host = (struct rope){f.host, h.host, w.host, GRID_H, GRID_W};
    *dev = (struct rope){f.dev, h.dev, w.dev, GRID_H, GRID_W};
}

/* Raw rows with their norm weight, rope and mean, in both places. */
struct raw {
    struct pair y, weight, acc, count;
    struct rope rope[2];
};

static void raw_make(struct both *b, int i, int64_t s, int64_t d, struct raw *raw)
{
    raw->y = random2(b->r, DT_BF16, s, d);
    raw->weight = pair_random(b->r, DT_F32, 1, SHAPE(d), 0, 0);
    raw->acc = pair_make(b->r, DT_I64, 1, SHAPE(d), 0, 0);
    raw->count = pair_make(b->r, DT_I64, 1, SHAPE(1), 0, 0);
    for (int64_t c = 0; c < d; c++)
        ((int64_t *)raw->acc.host.data)[c] = (c * 7919 % 1000 - 500) * (1 << 20);
    ((int64_t *)raw->count.host.data)[0] = 11;
    pair_send(b->r, &raw->acc);
    pair_send(b->r, &raw->count);
    ropes_make(b, &raw->rope[0], &raw->rope[1]);
    if (i % 4)
        pair_pending(b->r, &raw->y);
}

/* kind 0: bf16, 1: i8 with a scale per token, 2: per four */
static void parts_make(struct both *b, int kind, int64_t s, int heads,
                       struct pair part[PARTS], struct pair old[PARTS])
{
    for (int p = 0, at = 0; p < PARTS; p++) {
        int n = p + 1 < PARTS ? heads / PARTS : heads - at;
        enum dtype dt = kind ? DT_I8 : DT_BF16;
        int64_t rows = kind == 2 ? 4 : 0, cols = kind == 2 ? DIM : 0;

        part[p] = poisoned(b, dt, 3, SHAPE(n, s, DIM), rows, cols);
        old[p] = poisoned(b, dt, 3, SHAPE(n, s, DIM), rows, cols);
        at += n;
    }
}

static void heads_one(struct both *b, int i, int64_t s, int64_t d)
{
    static const char *const names[] = {"bf16", "i8 per token", "i8 per four"};
    struct pair part[PARTS], old[PARTS];
    struct head_part list[3][PARTS];
    struct op_heads args[3];
    struct raw raw;
    char name[64];

    raw_make(b, i, s, d, &raw);
    parts_make(b, i % 3, s, (int)(d / DIM), part, old);
    for (int p = 0, at = 0; p < PARTS; p++) {
        int n = (int)part[p].host.shape[0];

        list[0][p] = (struct head_part){at, n, part[p].host};
        list[1][p] = (struct head_part){at, n, part[p].dev};
        list[2][p] = (struct head_part){at, n, old[p].dev};
        at += n;
    }
    for (int k = 0; k < 3; k++) {
        args[k] = (struct op_heads){
            .parts = list[k],
            .n_parts = PARTS,
            .y = k ? &raw.y.dev : &raw.y.host,
            .weight = i % 5 == 4 ? NULL
                      : k        ? &raw.weight.dev
                                 : &raw.weight.host,
            .rope = i % 3 ? &raw.rope[k > 0] : NULL,
            .eps = 1e-6f,
            .head_dim = DIM,
            .first_token = 9,
        };
        if (i % 3 == 2) {
            args[k].mean_acc = k ? &raw.acc.dev : &raw.acc.host;
            args[k].mean_count = k ? &raw.count.dev : &raw.count.host;
        }
    }
    ON_ALL(b, heads, &args[0], &args[1], &args[2]);
    for (int p = 0; p < PARTS; p++) {
        snprintf(name, sizeof(name), "wide heads %s, part %d", names[i % 3], p);
        compare_all(b, name, &part[p], &old[p], i % 3 ? 0.0 : TOL_OP_BF16);
    }
}

static void key_sum_one(struct both *b, int i, int64_t s, int64_t d, int64_t every)
{
    struct op_key_sum args[3];
    struct raw raw, before;
    struct tensor now, old;
    int64_t differ = 0, wrong = 0;

    raw_make(b, i, s, d, &raw);
    before.acc = copy_of(b, &raw.acc);
    before.count = copy_of(b, &raw.count);
    for (int k = 0; k < 3; k++)
        args[k] = (struct op_key_sum){
            .acc = k == 2 ? &before.acc.dev
                   : k    ? &raw.acc.dev
                          : &raw.acc.host,
            .count = k == 2 ? &before.count.dev
                     : k    ? &raw.count.dev
                            : &raw.count.host,
            .y = k ? &raw.y.dev : &raw.y.host,
            .weight = k ? &raw.weight.dev : &raw.weight.host,
            .rope = &raw.rope[k > 0],
            .eps = 1e-6f,
            .head_dim = DIM,
            .first_token = 9,
            .every = every,
        };
    ON_ALL(b, key_sum, &args[0], &args[1], &args[2]);
    now = pair_fetch(b->r, &raw.acc);
    old = pair_fetch(b->r, &before.acc);
    for (int64_t c = 0; c < d; c++) {
        wrong += ((int64_t *)now.data)[c] != ((int64_t *)raw.acc.host.data)[c];
        differ += ((int64_t *)now.data)[c] != ((int64_t *)old.data)[c];
    }
    now = pair_fetch(b->r, &raw.count);
    wrong += ((int64_t *)now.data)[0] != ((int64_t *)raw.count.host.data)[0];
    if (!b->without_ref)
        table_row("wide key_sum: other sums than ref", (double)wrong, 0.0);
    table_row("wide key_sum: other sums than before", (double)differ, 0.0);
}

static void values_one(struct both *b, int i, int64_t s, int64_t d, enum dtype dt)
{
    int64_t pad = (s + 127) / 128 * 128;
    bool codes = dt == DT_E4M3;
    struct pair y = random2(b->r, DT_BF16, s, d);
    struct head_part list[3][2];
    struct pair part[2], old[2];
    struct op_values args[3];

    if (i % 4)
        pair_pending(b->r, &y);
    for (int p = 0, at = 0; p < 2; p++) {
        int n = p ? (int)(d / DIM) - at : (int)(d / DIM) / 2;

        part[p] = codes ? poisoned(b, dt, 3, SHAPE(n, DIM, pad), 1, 128)
                        : poisoned(b, dt, 3, SHAPE(n, s, DIM), 0, 0);
        old[p] = codes ? poisoned(b, dt, 3, SHAPE(n, DIM, pad), 1, 128)
                       : poisoned(b, dt, 3, SHAPE(n, s, DIM), 0, 0);
        list[0][p] = (struct head_part){at, n, part[p].host};
        list[1][p] = (struct head_part){at, n, part[p].dev};
        list[2][p] = (struct head_part){at, n, old[p].dev};
        at += n;
    }
    for (int k = 0; k < 3; k++)
        args[k] = (struct op_values){list[k], 2, k ? &y.dev : &y.host, DIM};
    ON_ALL(b, values, &args[0], &args[1], &args[2]);
    for (int p = 0; p < 2; p++)
        compare_all(b, codes ? "wide values: codes" : "wide values: bf16", &part[p],
                    &old[p], codes ? 0.0 : TOL_OP_BF16);
}

/* ---- fp32 rows times bf16 weights ------------------------------------------------ */

/* Rows first .. first + n of x alone give the bytes that they have among all. */
static void rows_alone(struct both *b, const struct op_linear *all,
                       const struct tensor *whole, int64_t first, int64_t n)
{
    struct pair y = poisoned2(b, DT_F32, n, all->y->shape[1]);
    struct tensor x = tensor_slice(all->x, 0, first, n), got;
    struct op_linear a = {.y = &y.dev, .x = &x, .w = all->w, .bias = all->bias};

    ON_GPU(b->r, linear, &a);
    got = pair_fetch(b->r, &y);
    table_row("linear f32 x bf16: other bytes of rows alone",
              memcmp((const float *)whole->data + first * whole->shape[1], got.data,
                     (size_t)tensor_count(&got) * sizeof(float)) != 0,
              0.0);
}

static void linear_one(struct both *b, int64_t s, int64_t k, int64_t d, bool bias)
{
    struct pair x = random2(b->r, DT_F32, s, k), w = random2(b->r, DT_BF16, d, k);
    struct pair y = poisoned2(b, DT_F32, s, d);
    struct pair plus = pair_random(b->r, DT_F32, 1, SHAPE(d), 0, 0);
    struct op_linear host = {.y = &y.host, .x = &x.host, .w = &w.host};
    struct op_linear dev = {.y = &y.dev, .x = &x.dev, .w = &w.dev};
    struct tensor whole;

    if (bias) {
        host.bias = &plus.host;
        dev.bias = &plus.dev;
    }
    BOTH(b->r, linear, &host, &dev);
    whole = pair_fetch(b->r, &y);
    table_compare(b->r, "linear f32 x bf16", &y, TOL_OP_F32);
    rows_alone(b, &dev, &whole, 0, 1);
    rows_alone(b, &dev, &whole, s / 2, s - s / 2);
    pairs_clear(b->r);
}

static void linear_all(struct both *b)
{
    linear_one(b, 1, 256, 5120, true);
    linear_one(b, 1, 5120, 1003, true);
    linear_one(b, 7, 1536, 4100, false);
    linear_one(b, 25, 5120, 640, true);
    linear_one(b, 300, 5120, 64, true);
    linear_one(b, 131, 1536, 70, false);
    linear_one(b, 20, 13824, 48, true);
}

/* ---- i32 sums to bf16 ------------------------------------------------------------ */

static void sums_one(struct both *b, int64_t s, int64_t k, int64_t d, bool raw)
{
    struct pair x = random2(b->r, DT_I8, s, k), w = random2(b->r, DT_I8, d, k);
    struct pair y = poisoned2(b, DT_BF16, s, d);
    struct pair plus = pair_random(b->r, DT_F32, 1, SHAPE(d), 0, 0);
    struct op_linear host = {&y.host, &x.host, &w.host, &plus.host, raw};
    struct op_linear dev = {&y.dev, &x.dev, &w.dev, &plus.dev, raw};

    BOTH(b->r, linear, &host, &dev);
    table_compare(b->r, raw ? "wide linear i8: raw" : "wide linear i8", &y,
                  TOL_OP_BF16);
    pairs_clear(b->r);
}

static void sums_all(struct both *b)
{
    sums_one(b, 1, 64, 16, false);
    sums_one(b, 17, 512, 1040, false);
    sums_one(b, 130, 256, 1536, false);
    sums_one(b, 130, 256, 1536, true);
    sums_one(b, 259, 64, 5120, false);
}

/* ---- all ------------------------------------------------------------------------ */

static void ops_all(struct both *b, int i, int64_t s, int64_t d, int64_t hidden)
{
    residual_one(b, i, s, d, DT_E4M3);
    residual_one(b, i, s, d, DT_BF16);
    act_one(b, i, s, hidden);
    act_rounded(b, i, s, hidden);
    gather_one(b, i, s, d, 1 + i / 3 % PARTS);
    gather_one(b, i + 1, s, d, 1 + i % PARTS);
    heads_one(b, i, s, d);
    key_sum_one(b, i, s, d, i % 2 ? 16 : 3);
    values_one(b, i, s, d, DT_E4M3);
    values_one(b, i, s, d, DT_BF16);
    pairs_clear(b->r);
}

static void both_open(struct both *b, struct rig *r)
{
    struct ops_options o = {.kernels = OPS_SIMPLE};
    struct err e = ERR_INIT;

    *b = (struct both){.r = r, .without_ref = !r->ref};
    must(ops_open(rig_backend(), &o, &b->simple, &e), &e, rig_backend());
    must(ops_queue_open(b->simple, NULL, 0, &b->queue, &e), &e, "queue");
}

static void both_close(struct both *b)
{
    ops_queue_close(b->simple, b->queue);
    ops_close(b->simple);
}

/* Of every kind of heads; the last one has so many rows that blocks go on to others. */
void wide_small(struct rig *r)
{
    static const int64_t rows[] = {3, 130, 1500};
    struct both b;

    both_open(&b, r);
    for (int i = 0; i < 3; i++)
        ops_all(&b, i + 1, rows[i], 1536, 2048);
    ops_all(&b, 1, 5, 5120, 13824);
    linear_one(&b, 6, 512, 70, true);
    linear_one(&b, 130, 512, 70, true);
    sums_one(&b, 17, 512, 1040, false);
    both_close(&b);
}

void wide_all(struct rig *r)
{
    static const int64_t rows[] = {1, 3, 130, 257};
    static const int64_t widths[] = {1536, 5120}, hidden[] = {8960, 13824};
    struct both b;

    both_open(&b, r);
    for (int i = 0; i < 12; i++)
        ops_all(&b, i, rows[i % 4], widths[i / 4 % 2], hidden[i / 4 % 2]);
    linear_all(&b);
    sums_all(&b);
    b.without_ref = true;
    for (int i = 1; i < 4; i++)
        ops_all(&b, i, 4099, widths[i % 2], hidden[i % 2]);
    both_close(&b);
}
