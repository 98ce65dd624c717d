/* test_ops_gpu.c - ops on the GPU against the reference, and none of them waits
 *
 * Linear, norm, heads, attention, gather and act, behind the table of ops.h, with float
 * and 8-bit operands; test_rest_gpu.c has the others. The last part puts a chain of
 * them behind an op that runs long, looks at how long the host was held up, and
 * compares what the chain made.
 *
 *     test_ops_gpu                   all of it
 *     test_ops_gpu --ways            algorithms of products (test_ways_gpu.c)
 *     test_ops_gpu --small [PART]    few small cases without the reference, for
 *                                    sanitizers; parts: see below
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/gpu/gpu_rig.h"
#include "tests/tolerance.h"

static const enum dtype outs[] = {DT_F32, DT_BF16, DT_E4M3, DT_I8};

static double out_limit(enum dtype dt)
{
    return dt == DT_F32 ? TOL_OP_F32 : dt == DT_BF16 ? TOL_OP_BF16 : 0.0;
}

/* ---- linear -------------------------------------------------------------------- */

static const struct linear_case {
    int64_t s, d, k;
    enum dtype x, w, y;
    bool pending;
    double limit;
} linears[] = {
    {300, 256, 512, DT_E4M3, DT_E4M3, DT_BF16, true, TOL_GEMM_FP8},
    {300, 256, 512, DT_E4M3, DT_E4M3, DT_BF16, false, TOL_GEMM_FP8},
    {300, 256, 512, DT_E4M3, DT_E4M3, DT_F32, true, TOL_GEMM_FP8},
    {129, 1536, 1536, DT_E4M3, DT_E4M3, DT_BF16, false, TOL_GEMM_FP8},
    {1, 32, 48, DT_E4M3, DT_E4M3, DT_F32, false, TOL_GEMM_FP8},
    {33, 130, 72, DT_E4M3, DT_E4M3, DT_F32, false, TOL_OP_F32},
    {300, 256, 512, DT_BF16, DT_BF16, DT_BF16, false, TOL_OP_BF16},
    {300, 256, 512, DT_BF16, DT_BF16, DT_F32, true, TOL_GEMM_BF16},
    {127, 40, 96, DT_BF16, DT_E4M3, DT_F32, false, TOL_OP_F32},
    {127, 40, 96, DT_I8, DT_I8, DT_F32, false, TOL_OP_F32},
    {128, 64, 100, DT_I8, DT_I8, DT_BF16, true, TOL_OP_BF16},
    {300, 256, 512, DT_I8, DT_I8, DT_BF16, true, TOL_OP_BF16},
    {300, 256, 512, DT_I8, DT_I8, DT_F32, false, TOL_OP_F32},
    {65, 24, 40, DT_F32, DT_F32, DT_F32, false, TOL_OP_F32},
    {65, 25, 41, DT_F32, DT_F32, DT_F32, false, TOL_OP_F32},
    {300, 256, 512, DT_F32, DT_BF16, DT_F32, false, TOL_OP_F32},
    {9, 4096, 5120, DT_F32, DT_BF16, DT_F32, false, TOL_OP_F32}, /* cast in parts */
    {300, 256, 512, DT_BF16, DT_F32, DT_BF16, false, TOL_OP_BF16},
    {300, 256, 512, DT_BF16, DT_E4M3, DT_BF16, false, TOL_OP_BF16},
};

static void linear_one(struct rig *r, const struct linear_case *c)
{
    struct pair x = random2(r, c->x, c->s, c->k), w = random2(r, c->w, c->d, c->k);
    struct pair bias = pair_random(r, DT_F32, 1, SHAPE(c->d), 0, 0);
    struct pair y = pair2(r, c->y, c->s, c->d);
    struct op_linear host = {&y.host, &x.host, &w.host, &bias.host, c->pending};
    struct op_linear dev = {&y.dev, &x.dev, &w.dev, &bias.dev, c->pending};
    char name[64];

    BOTH(r, linear, &host, &dev);
    if (c->pending && (y.dev.pending.row_scale != x.dev.scales.data ||
                       y.dev.pending.bias != bias.dev.data))
        table_row("linear leaves scales and bias pending", 1.0, 0.0);
    snprintf(name, sizeof(name), "linear %s x %s -> %s %dx%dx%d%s", dtype_name(c->x),
             dtype_name(c->w), dtype_name(c->y), (int)c->s, (int)c->d, (int)c->k,
             c->pending ? " raw" : "");
    table_compare(r, name, &y, c->limit);
}

/* A row's bytes do not depend on how many rows there are. */
static void linear_rows(struct rig *r, enum dtype dt, const char *name)
{
    static const int64_t cuts[][2] = {{0, 1}, {128, 5}, {128, 640}, {0, 1000}};
    struct pair x = random2(r, dt, 3000, 1024), w = random2(r, dt, 512, 1024);
    struct pair all = pair2(r, DT_BF16, 3000, 512);
    struct err e = ERR_INIT;
    struct tensor whole;
    int64_t differ = 0;

    must(ops_linear(r->gpu, r->gpu_q,
                    &(struct op_linear){&all.dev, &x.dev, &w.dev, NULL, false}, &e),
         &e, name);
    whole = pair_fetch(r, &all);
    for (int i = 0; i < 4; i++) {
        struct tensor rows = tensor_slice(&x.dev, 0, cuts[i][0], cuts[i][1]);
        struct pair y = pair2(r, DT_BF16, cuts[i][1], 512);
        struct tensor got;
        const uint16_t *want = (const uint16_t *)whole.data + cuts[i][0] * 512;

        must(ops_linear(r->gpu, r->gpu_q,
                        &(struct op_linear){&y.dev, &rows, &w.dev, NULL, false}, &e),
             &e, name);
        got = pair_fetch(r, &y);
        for (int64_t j = 0; j < cuts[i][1] * 512; j++)
            differ += ((const uint16_t *)got.data)[j] != want[j];
    }
    table_row(name, (double)differ, 0.0);
}

static void linear_all(struct rig *r)
{
    for (size_t i = 0; i < sizeof(linears) / sizeof(linears[0]); i++)
        linear_one(r, &linears[i]);
    linear_rows(r, DT_E4M3, "linear e4m3: values that depend on the number of rows");
    linear_rows(r, DT_BF16, "linear bf16: values that depend on the number of rows");
    linear_rows(r, DT_F32, "linear f32: values that depend on the number of rows");
    linear_rows(r, DT_I8, "linear i8: values that depend on the number of rows");
    pairs_clear(r);
}

/* Fewer bits of sums are within the same tolerance. */
static void linear_fast(struct rig *r)
{
    for (size_t i = 0; linears[i].x == DT_E4M3; i++)
        linear_one(r, &linears[i]);
    linear_rows(r, DT_E4M3,
                "fast linear e4m3: values that depend on the number of rows");
    pairs_clear(r);
}

/* ---- norm, act ----------------------------------------------------------------- */

static void norm_one(struct rig *r, int i, int64_t d)
{
    enum { S = 130, FRAME = 50 };
    struct pair x = random2(r, i % 2 ? DT_F32 : DT_BF16, S, d);
    struct pair scale = random2(r, DT_F32, i % 3 ? 4 : 1, d);
    struct pair shift = random2(r, DT_F32, i % 3 ? 4 : 1, d);
    struct pair weight = pair_random(r, DT_F32, 1, SHAPE(d), 0, 0);
    struct pair out = pair2(r, outs[i % 4], S, d);
    struct norm n = {.kind = (enum norm_kind)(i % 3), .eps = 1e-6f};
    struct op_norm host = {&out.host, &x.host, n}, dev = {&out.dev, &x.dev, n};
    char name[64];

    host.norm.first_token = dev.norm.first_token = 7;
    host.norm.tokens_per_frame = dev.norm.tokens_per_frame = FRAME;
    if (i % 5 < 3) {
        host.norm.scale = &scale.host;
        host.norm.shift = &shift.host;
        dev.norm.scale = &scale.dev;
        dev.norm.shift = &shift.dev;
    }
    if (i % 4 > 1) {
        host.norm.weight = &weight.host;
        dev.norm.weight = &weight.dev;
    }
    BOTH(r, norm, &host, &dev);
    snprintf(name, sizeof(name), "norm kind %d %s -> %s", i % 3,
             dtype_name(x.host.dtype), dtype_name(out.host.dtype));
    table_compare(r, name, &out, out_limit(out.host.dtype));
}

static void act_one(struct rig *r, int i, int64_t d)
{
    struct pair x = random2(r, i % 2 ? DT_F32 : DT_BF16, 65, d);
    struct pair gated = random2(r, DT_F32, 65, d);
    struct pair out = pair2(r, outs[i % 4], 65, d);
    enum act_kind act = (enum act_kind)(1 + i % 3);
    bool gate = i % 5 == 4;
    struct op_act host = {&out.host, &x.host, gate ? &gated.host : NULL, act};
    struct op_act dev = {&out.dev, &x.dev, gate ? &gated.dev : NULL, act};
    char name[64];

    if (i % 3)
        pair_pending(r, &x);
    BOTH(r, act, &host, &dev);
    snprintf(name, sizeof(name), "act %d %s -> %s%s", act, dtype_name(x.host.dtype),
             dtype_name(out.host.dtype), i % 3 ? " pending" : "");
    table_compare(r, name, &out, out_limit(out.host.dtype));
}

static void rows_all(struct rig *r)
{
    for (int i = 0; i < 12; i++)
        norm_one(r, i, 1536);
    for (int i = 0; i < 12; i++)
        act_one(r, i, 777);
    pairs_clear(r);
}

/* ---- heads, gather ------------------------------------------------------------- */

enum { GRID_F = 5, GRID_H = 6, GRID_W = 8, PARTS = 3, HEADS = 5, DIM = 128 };

static const int part_begin[PARTS] = {0, 2, 4};
static const int part_heads[PARTS] = {2, 2, 1};

static struct pair rope_table(struct rig *r, int64_t positions, int64_t pairs)
{
    struct pair p = pair_make(r, DT_F32, 3, SHAPE(positions, pairs, 2), 0, 0);
    float *v = p.host.data;

    for (int64_t i = 0; i < positions * pairs; i++) {
        double angle = (double)(i / pairs) *
                       pow(10000.0, -(double)(i % pairs) / (double)pairs);

        v[2 * i] = (float)cos(angle);
        v[2 * i + 1] = (float)sin(angle);
    }
    pair_send(r, &p);
    return p;
}

static void ropes_make(struct rig *r, struct rope *host, struct rope *dev)
{
    struct pair f = rope_table(r, GRID_F, 22), h = rope_table(r, GRID_H, 21);
    struct pair w = rope_table(r, GRID_W, 21);

    *host = (struct rope){f.host, h.host, w.host, GRID_H, GRID_W};
    *dev = (struct rope){f.dev, h.dev, w.dev, GRID_H, GRID_W};
}

/* The mean of k, as sums of 11 tokens. */
static void mean_make(struct rig *r, struct pair *acc, struct pair *count)
{
    *acc = pair_make(r, DT_I64, 1, SHAPE(HEADS * DIM), 0, 0);
    *count = pair_make(r, DT_I64, 1, SHAPE(1), 0, 0);
    for (int64_t c = 0; c < HEADS * DIM; c++)
        ((int64_t *)acc->host.data)[c] = (c * 7919 % 1000 - 500) * (1 << 20);
    ((int64_t *)count->host.data)[0] = 11;
    pair_send(r, acc);
    pair_send(r, count);
}

static void heads_one(struct rig *r, int i)
{
    static const enum dtype types[] = {DT_F32, DT_BF16, DT_I8, DT_I8, DT_E4M3};
    enum { S = 131 };
    struct pair y = random2(r, i % 2 ? DT_F32 : DT_BF16, S, HEADS * DIM);
    struct pair weight = pair_random(r, DT_F32, 1, SHAPE(HEADS * DIM), 0, 0);
    struct pair acc, count, part[PARTS];
    struct head_part host_parts[PARTS], dev_parts[PARTS];
    struct rope host_rope, dev_rope;
    struct op_heads host = {.parts = host_parts, .n_parts = PARTS}, dev = host;
    bool by_four = i % 5 == 3;

    mean_make(r, &acc, &count);
    ropes_make(r, &host_rope, &dev_rope);
    for (int p = 0; p < PARTS; p++) {
        part[p] = pair_make(r, types[i % 5], 3, SHAPE(part_heads[p], S, DIM),
                            by_four ? 4 : 0, DIM);
        host_parts[p] = (struct head_part){part_begin[p], part_heads[p], part[p].host};
        dev_parts[p] = (struct head_part){part_begin[p], part_heads[p], part[p].dev};
    }
    if (i % 3 == 0)
        pair_pending(r, &y);
    host.y = &y.host;
    host.weight = &weight.host;
    host.rope = i % 4 ? &host_rope : NULL;
    host.mean_acc = i % 2 ? &acc.host : NULL;
    host.mean_count = i % 2 ? &count.host : NULL;
    host.eps = 1e-6f;
    host.head_dim = DIM;
    host.first_token = 9;
    dev = host;
    dev.parts = dev_parts;
    dev.y = &y.dev;
    dev.weight = &weight.dev;
    dev.rope = i % 4 ? &dev_rope : NULL;
    dev.mean_acc = i % 2 ? &acc.dev : NULL;
    dev.mean_count = i % 2 ? &count.dev : NULL;
    BOTH(r, heads, &host, &dev);
    for (int p = 0; p < PARTS; p++) {
        char name[64];

        snprintf(name, sizeof(name), "heads %s -> %s%s part %d%s",
                 dtype_name(y.host.dtype), dtype_name(types[i % 5]),
                 by_four ? " by 4" : "", p, i % 3 == 0 ? " pending" : "");
        table_compare(r, name, &part[p], out_limit(types[i % 5]));
    }
}

/* Heads of a width that only the kernel for all of them takes. */
static void heads_narrow(struct rig *r, enum dtype dt)
{
    enum { S = 131, WIDTH = 72 };
    struct pair y = random2(r, DT_BF16, S, HEADS * WIDTH);
    struct pair weight = pair_random(r, DT_F32, 1, SHAPE(HEADS * WIDTH), 0, 0);
    struct pair part = pair_make(r, dt, 3, SHAPE(HEADS, S, WIDTH), 0, 0);
    struct head_part host_part = {0, HEADS, part.host}, dev_part = {0, HEADS, part.dev};
    struct op_heads host = {.parts = &host_part,
                            .n_parts = 1,
                            .y = &y.host,
                            .weight = &weight.host,
                            .eps = 1e-6f,
                            .head_dim = WIDTH};
    struct op_heads dev = host;
    char name[64];

    dev.parts = &dev_part;
    dev.y = &y.dev;
    dev.weight = &weight.dev;
    BOTH(r, heads, &host, &dev);
    snprintf(name, sizeof(name), "heads of %d -> %s", WIDTH, dtype_name(dt));
    table_compare(r, name, &part, out_limit(dt));
}

static void gather_one(struct rig *r, int i)
{
    static const enum dtype types[] = {DT_F32, DT_BF16, DT_E4M3};
    enum { S = 129 };
    struct pair part[2 * PARTS];
    struct head_part host[2 * PARTS], dev[2 * PARTS];
    struct pair out = pair2(r, outs[i % 4], S, HEADS * DIM);
    int n_add = i % 2 ? PARTS : 0;
    struct op_gather a = {&out.host, host, PARTS, host + PARTS, n_add};
    struct op_gather b = {&out.dev, dev, PARTS, dev + PARTS, n_add};
    char name[64];

    for (int p = 0; p < 2 * PARTS; p++) {
        int n = part_heads[p % PARTS], at = part_begin[p % PARTS];

        part[p] = pair_random(r, types[i % 3], 3, SHAPE(S, n, DIM), 0, 0);
        host[p] = (struct head_part){at, n, part[p].host};
        dev[p] = (struct head_part){at, n, part[p].dev};
    }
    BOTH(r, gather, &a, &b);
    snprintf(name, sizeof(name), "gather %s -> %s%s", dtype_name(types[i % 3]),
             dtype_name(out.host.dtype), n_add ? " of two" : "");
    table_compare(r, name, &out, out_limit(out.host.dtype));
}

static void heads_all(struct rig *r)
{
    for (int i = 0; i < 10; i++)
        heads_one(r, i);
    heads_narrow(r, DT_BF16);
    heads_narrow(r, DT_I8);
    pairs_clear(r);
    for (int i = 0; i < 12; i++)
        gather_one(r, i);
    pairs_clear(r);
}

/* ---- attention ----------------------------------------------------------------- */

enum { K_F32, K_BF16, K_I8, K_I8_BY_4, K_E4M3, KINDS };

static struct pair qk_make(struct rig *r, int kind, int64_t n, int dim, bool is_key)
{
    static const enum dtype types[] = {DT_F32, DT_BF16, DT_I8, DT_I8, DT_E4M3};
    bool by_four = kind == K_I8_BY_4 && is_key;

    return pair_random(r, types[kind], 3, SHAPE(3, n, dim), by_four ? 4 : 0, dim);
}

static struct pair v_make(struct rig *r, int kind, int64_t n, int dim)
{
    if (kind < K_I8)
        return qk_make(r, kind, n, dim, false);
    return pair_random(r, DT_E4M3, 3, SHAPE(3, dim, (n + 127) / 128 * 128), 1, 128);
}

/* Two parts of queries and of keys; i chooses types and biases. `fours`: keys in fours,
 * more of everything, no bias of positions. */
static void attention_one(struct rig *r, int i, bool fours)
{
    static const int64_t few_q[2] = {70, 33}, few_k[2] = {128, 203};
    static const int64_t more_q[2] = {200, 33}, more_k[2] = {640, 204};
    const int64_t *queries = fours ? more_q : few_q, *keys = fours ? more_k : few_k;
    static const int dims[] = {128, 64, 40, 24};
    int kind = i % KINDS, dim = dims[i % 4];
    struct attn_queries hq[2], dq[2];
    struct attn_keys hk[2], dk[2];
    struct pair o[2], lse[2];
    struct pair rel = random2(r, DT_F32, 3, 101),
                kb = random2(r, DT_F32, 1, keys[0] + keys[1]);
    struct op_attention host = {.queries = hq, .n_queries = 2, .keys = hk, .n_keys = 2};
    struct op_attention dev;
    char name[64];

    for (int p = 0; p < 2; p++) {
        struct pair q = qk_make(r, kind, queries[p], dim, false);
        struct pair k = qk_make(r, kind, keys[p], dim, true);
        struct pair v = v_make(r, kind, keys[p], dim);

        o[p] = pair_make(r, outs[i % 3], 3, SHAPE(queries[p], 3, dim), 0, 0);
        lse[p] = pair2(r, DT_F32, 3, queries[p]);
        hq[p] = (struct attn_queries){q.host, o[p].host, &lse[p].host};
        dq[p] = (struct attn_queries){q.dev, o[p].dev, &lse[p].dev};
        hk[p] = (struct attn_keys){k.host, v.host, keys[p]};
        dk[p] = (struct attn_keys){k.dev, v.dev, keys[p]};
    }
    kb.host = tensor_reshape(&kb.host, 1, SHAPE(keys[0] + keys[1]));
    kb.dev = tensor_reshape(&kb.dev, 1, SHAPE(keys[0] + keys[1]));
    host.scale = 1.0f / sqrtf((float)dim);
    dev = host;
    dev.queries = dq;
    dev.keys = dk;
    if (!fours && i % 3 == 1) {
        host.rel_bias = &rel.host;
        dev.rel_bias = &rel.dev;
    }
    if (i % 4 == 2) {
        host.key_bias = &kb.host;
        dev.key_bias = &kb.dev;
    }
    BOTH(r, attention, &host, &dev);
    snprintf(name, sizeof(name), "attention %s%s dim %d%s -> %s",
             dtype_name(hq[0].q.dtype), kind == K_I8_BY_4 ? " by 4" : "", dim,
             fours ? ", keys in fours" : "", dtype_name(outs[i % 3]));
    if (kind == K_BF16 && outs[i % 3] != DT_E4M3)
        table_compare(r, name, &o[1], TOL_ATTENTION_BF16);
    else if (kind < K_I8 && outs[i % 3] != DT_E4M3)
        table_compare(r, name, &o[1], out_limit(outs[i % 3]));
    else
        table_compare_l1(r, name, &o[1], TOL_ATTENTION_CODES);
    table_compare(r, "  its log-sum-exp", &lse[1],
                  kind == K_BF16               ? TOL_GEMM_BF16
                  : kind == K_I8_BY_4 && fours ? TOL_ATTENTION_CODES_LSE
                                               : TOL_OP_F32);
}

static void attention_all(struct rig *r)
{
    for (int i = 0; i < 15; i++)
        attention_one(r, i, false);
    for (int i = 8; i < 60; i += 20) /* i8 by 4, 128 wide, each type of result */
        attention_one(r, i, true);
    pairs_clear(r);
    attention_edges_all(r);
}

/* ---- no op waits --------------------------------------------------------------- */

enum { C_S = 256, C_HEADS = 4, C_D = C_HEADS * DIM, C_FFN = 2048, LONG = 8192 };

/* One block's worth of tensors, in both places. */
struct chain {
    struct pair x, a, w[4], qkv[3], q, k, v, o, gathered, hidden, wide, code;
};

static void chain_make(struct rig *r, struct chain *c)
{
    c->x = random2(r, DT_BF16, C_S, C_D);
    c->a = pair2(r, DT_E4M3, C_S, C_D);
    for (int i = 0; i < 3; i++) {
        c->w[i] = random2(r, DT_E4M3, C_D, C_D);
        c->qkv[i] = pair2(r, DT_BF16, C_S, C_D);
    }
    c->w[3] = random2(r, DT_E4M3, C_FFN, C_D);
    c->q = pair_make(r, DT_I8, 3, SHAPE(C_HEADS, C_S, DIM), 0, 0);
    c->k = pair_make(r, DT_I8, 3, SHAPE(C_HEADS, C_S, DIM), 4, DIM);
    c->v = pair_make(r, DT_BF16, 3, SHAPE(C_HEADS, C_S, DIM), 0, 0);
    c->o = pair_make(r, DT_E4M3, 3, SHAPE(C_S, C_HEADS, DIM), 0, 0);
    c->gathered = pair2(r, DT_E4M3, C_S, C_D);
    c->hidden = pair2(r, DT_BF16, C_S, C_FFN);
    c->code = pair2(r, DT_E4M3, C_S, C_FFN);
}

#define SIDE(p) (gpu ? &c->p.dev : &c->p.host)

static void chain_project(struct ops *o, struct queue *q, struct chain *c, bool gpu,
                          int i, struct pair *to)
{
    struct head_part part = {0, C_HEADS, gpu ? to->dev : to->host};
    struct tensor *y = SIDE(qkv[i]);
    struct err e = ERR_INIT;

    must(ops_linear(o, q, &(struct op_linear){y, SIDE(a), SIDE(w[i]), NULL, true}, &e),
         &e, "linear");
    must(ops_heads(
             o, q,
             &(struct op_heads){
                 .parts = &part, .n_parts = 1, .y = y, .eps = 1e-6f, .head_dim = DIM},
             &e),
         &e, "heads");
}

/* norm, three projections to heads, attention, gather, projection, GELU: all six ops.
 */
static void chain_put(struct ops *o, struct queue *q, struct chain *c, bool gpu)
{
    struct attn_queries qs = {gpu ? c->q.dev : c->q.host, gpu ? c->o.dev : c->o.host,
                              NULL};
    struct attn_keys ks = {gpu ? c->k.dev : c->k.host, gpu ? c->v.dev : c->v.host, C_S};
    struct head_part part = {0, C_HEADS, qs.o};
    struct err e = ERR_INIT;

    must(ops_norm(
             o, q,
             &(struct op_norm){SIDE(a), SIDE(x), {.kind = NORM_LAYER, .eps = 1e-6f}},
             &e),
         &e, "norm");
    chain_project(o, q, c, gpu, 0, &c->q);
    chain_project(o, q, c, gpu, 1, &c->k);
    chain_project(o, q, c, gpu, 2, &c->v);
    must(ops_attention(o, q,
                       &(struct op_attention){.queries = &qs,
                                              .n_queries = 1,
                                              .keys = &ks,
                                              .n_keys = 1,
                                              .scale = 1e-4f},
                       &e),
         &e, "attention");
    must(ops_gather(o, q, &(struct op_gather){SIDE(gathered), &part, 1, NULL, 0}, &e),
         &e, "gather");
    must(ops_linear(
             o, q,
             &(struct op_linear){SIDE(hidden), SIDE(gathered), SIDE(w[3]), NULL, true},
             &e),
         &e, "linear");
    must(ops_act(o, q, &(struct op_act){SIDE(code), SIDE(hidden), NULL, ACT_GELU_TANH},
                 &e),
         &e, "act");
}

/* An attention that keeps the GPU busy for long. */
static void long_put(struct rig *r, const struct pair *t)
{
    struct attn_queries qs = {t[0].dev, t[1].dev, NULL};
    struct attn_keys ks = {t[0].dev, t[0].dev, LONG};
    struct err e = ERR_INIT;

    must(ops_attention(r->gpu, r->gpu_q,
                       &(struct op_attention){.queries = &qs,
                                              .n_queries = 1,
                                              .keys = &ks,
                                              .n_keys = 1,
                                              .scale = 0.1f},
                       &e),
         &e, "long attention");
}

/* Copy the chain's result on a second queue that awaits an event of the first. */
static void fetch_behind(struct rig *r, const struct pair *code, struct pair *copy)
{
    struct err e = ERR_INIT;
    struct queue *second;
    struct event *ev;

    must(ops_queue_open(r->gpu, NULL, 0, &second, &e), &e, "queue");
    must(ops_event_open(r->gpu, &ev, &e), &e, "event");
    must(ops_event_record(r->gpu, r->gpu_q, ev, &e), &e, "event");
    must(ops_event_await(r->gpu, second, ev, &e), &e, "event");
    must(ops_copy(r->gpu, second, &copy->dev, &code->dev, &e), &e, "copy");
    must(ops_queue_wait(r->gpu, second, &e), &e, "wait");
    ops_event_close(r->gpu, ev);
    ops_queue_close(r->gpu, second);
}

static double bytes_differing(const struct tensor *a, const struct tensor *b)
{
    int64_t differ = 0;

    for (int64_t i = 0; i < tensor_count(a); i++)
        differ += ((const uint8_t *)a->data)[i] != ((const uint8_t *)b->data)[i];
    return (double)differ;
}

static void chain_all(struct rig *r)
{
    struct pair busy[2], copy;
    struct tensor idle_end, busy_end, copied;
    struct chain c;
    double begin, put, done;

    chain_make(r, &c);
    copy = pair2(r, DT_E4M3, C_S, C_FFN);
    busy[0] = pair_random(r, DT_BF16, 3, SHAPE(8, LONG, DIM), 0, 0);
    busy[1] = pair_make(r, DT_BF16, 3, SHAPE(LONG, 8, DIM), 0, 0);
    chain_put(r->ref, r->ref_q, &c, false);
    chain_put(r->gpu, r->gpu_q, &c, true); /* loads kernels, asks for algorithms */
    idle_end = pair_fetch(r, &c.code);
    begin = now_ms();
    long_put(r, busy);
    chain_put(r->gpu, r->gpu_q, &c, true);
    put = now_ms();
    fetch_behind(r, &c.code, &copy);
    done = now_ms();
    printf("long attention and chain: put in %.3f ms, done after %.1f ms\n",
           put - begin, done - begin);
    table_row("chain behind a long op: share of the time to put it",
              (put - begin) / (done - begin), 0.02);
    busy_end = pair_fetch(r, &c.code);
    copied = pair_fetch(r, &copy);
    table_compare_l1(r, "chain norm..act, e4m3 result", &c.code, TOL_CHAIN_FP8);
    table_row("copy on a second queue behind an event: bytes that differ",
              bytes_differing(&copied, &busy_end), 0.0);
    table_row("the same chain on an idle GPU: bytes that differ",
              bytes_differing(&idle_end, &busy_end), 0.0);
    pairs_clear(r);
}

/* ---- speed ---------------------------------------------------------------------- */

static void fp8_speed(struct rig *r)
{
    enum { S = 8192, D = 5120, K = 5120, TIMES = 20 };
    struct pair x = random2(r, DT_E4M3, S, K), w = random2(r, DT_E4M3, D, K);
    struct pair y = pair2(r, DT_BF16, S, D);
    struct op_linear a = {&y.dev, &x.dev, &w.dev, NULL, true};
    struct err e = ERR_INIT;
    double begin;

    for (int i = 0; i <= TIMES; i++) {
        if (i == 1) {
            rig_wait(r);
            begin = now_ms();
        }
        must(ops_linear(r->gpu, r->gpu_q, &a, &e), &e, "linear");
    }
    rig_wait(r);
    printf("linear e4m3 raw %d x %d x %d: %.0f TFLOP/s\n", S, D, K,
           2e-9 * S * D * K * TIMES / (now_ms() - begin));
    pairs_clear(r);
}

/* ---- few of them, for sanitizers ------------------------------------------------- */

/* The library's products, the plain kernel, sums of both types, a factor cast. */
static void linear_small(struct rig *r)
{
    static const int some[] = {0, 1, 5, 12, 14, 15};

    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        linear_one(r, &linears[some[i]]);
}

/* Rows for a warp and for a block, in fours and one by one, to every type. */
static void rows_small(struct rig *r)
{
    static const int64_t widths[] = {100, 101, 1536, 1537};

    for (int i = 0; i < 4; i++) {
        norm_one(r, i, widths[i]);
        act_one(r, i, widths[i]);
    }
    residual_small(r);
}

static void heads_small(struct rig *r)
{
    for (int i = 1; i < 5; i++)
        heads_one(r, i);
    heads_narrow(r, DT_I8);
    gather_one(r, 1);
    gather_one(r, 2);
    values_small(r);
}

/* One with every width of heads, no kernel of a matrix unit. */
static void plain_small(struct rig *r)
{
    for (int i = 0; i < 4; i++)
        attention_one(r, i, false);
}

static void fours_small(struct rig *r)
{
    attention_one(r, 8, true);
    attention_one(r, 28, true);
}

static const struct small_part parts[] = {
    {"linear", OPS_BEST, linear_small}, {"rows", OPS_SIMPLE, rows_small},
    {"heads", OPS_SIMPLE, heads_small}, {"odds", OPS_SIMPLE, odds_small},
    {"plain", OPS_SIMPLE, plain_small}, {"portable", OPS_PORTABLE, matrix_small},
    {"hopper", OPS_BEST, matrix_small}, {"fours", OPS_BEST, fours_small},
    {"wide", OPS_BEST, wide_small},
};

/* ---- all ------------------------------------------------------------------------- */

#define WORKSPACE ((size_t)512 << 20)

/* Apart from the others: a library that does not check what it is given may end the
 * program. */
static int ways_main(void)
{
    struct rig r;

    rig_open(&r, WORKSPACE, OPS_BEST);
    ways_all(&r);
    rig_close(&r);
    return table_print() ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct rig r;
    int failed;

    if (argc > 1 && strcmp(argv[1], "--small") == 0)
        return small_main(parts, sizeof(parts) / sizeof(parts[0]), argv[2]);
    if (argc > 1 && strcmp(argv[1], "--ways") == 0)
        return ways_main();
    rig_open(&r, WORKSPACE, OPS_BEST);
    linear_all(&r);
    rows_all(&r);
    heads_all(&r);
    attention_all(&r);
    rest_all(&r);
    quantise_all(&r);
    wide_all(&r);
    chain_all(&r);
    fp8_speed(&r);
    rig_close(&r);
    rig_open_fast(&r, WORKSPACE);
    linear_fast(&r);
    fp8_speed(&r);
    rig_close(&r);
    rig_open(&r, WORKSPACE, OPS_PORTABLE);
    matrix_all(&r);
    rig_close(&r);
    failed = table_print();
    return failed ? 1 : 0;
}
