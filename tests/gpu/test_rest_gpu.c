/* test_rest_gpu.c - residual, key sums, values, merging, convolution and small ops
 *
 * Each on the GPU against the reference, float results within a tolerance, codes and
 * integers bit for bit.
 */
#include <math.h>
#include <stdio.h>

#include "tests/gpu/gpu_rig.h"
#include "tests/tolerance.h"

static const enum dtype outs[] = {DT_F32, DT_BF16, DT_E4M3, DT_I8};

static double out_limit(enum dtype dt)
{
    return dt == DT_F32 ? TOL_OP_F32 : dt == DT_BF16 ? TOL_OP_BF16 : 0.0;
}

/* ---- residual ------------------------------------------------------------------ */

static void residual_one(struct rig *r, int i)
{
    int64_t d = i % 2 ? 1536 : 100;
    struct pair x = random2(r, i % 3 ? DT_F32 : DT_BF16, 130, d);
    struct pair y = random2(r, i % 4 < 2 ? DT_BF16 : DT_F32, 130, d);
    struct pair gate = random2(r, DT_F32, 4, d), scale = random2(r, DT_F32, 4, d);
    struct pair out = pair2(r, outs[i % 4], 130, d);
    struct norm n = {.kind = NORM_LAYER, .eps = 1e-6f};
    struct op_residual host = {&x.host, &y.host, &gate.host, &out.host, n};
    struct op_residual dev = {&x.dev, &y.dev, &gate.dev, &out.dev, n};
    char name[64];

    if (i % 3 == 1)
        pair_pending(r, &y);
    if (i % 5 == 4)
        host.gate = dev.gate = NULL;
    if (i % 6 == 5)
        host.out = dev.out = NULL;
    host.norm.first_token = dev.norm.first_token = 7;
    host.norm.tokens_per_frame = dev.norm.tokens_per_frame = 50;
    host.norm.scale = host.norm.shift = &scale.host;
    dev.norm.scale = dev.norm.shift = &scale.dev;
    BOTH(r, residual, &host, &dev);
    snprintf(name, sizeof(name), "residual %s + %s, %d wide", dtype_name(x.host.dtype),
             dtype_name(y.host.dtype), (int)d);
    table_compare(r, name, &x, out_limit(x.host.dtype));
    snprintf(name, sizeof(name), "  its norm -> %s", dtype_name(out.host.dtype));
    if (host.out)
        table_compare(r, name, &out, out_limit(out.host.dtype));
}

/* ---- values, key sums, merging ------------------------------------------------- */

enum { HEADS = 5, DIM = 72, PARTS = 2 };

static void values_one(struct rig *r, int i)
{
    static const enum dtype types[] = {DT_F32, DT_BF16, DT_E4M3};
    static const int begin[PARTS] = {0, 3}, heads[PARTS] = {3, 2};
    int64_t s = i < 6 ? 131 : 1153, pad = i < 6 ? 384 : 1280;
    struct pair y = random2(r, i % 2 ? DT_F32 : DT_BF16, s, HEADS * DIM);
    struct pair part[PARTS];
    struct head_part host[PARTS], dev[PARTS];
    bool turned = types[i % 3] == DT_E4M3;

    if (i % 4 == 1)
        pair_pending(r, &y);
    for (int p = 0; p < PARTS; p++) {
        part[p] = turned ? pair_make(r, DT_E4M3, 3, SHAPE(heads[p], DIM, pad), 1, 128)
                         : pair_make(r, types[i % 3], 3, SHAPE(heads[p], s, DIM), 0, 0);
        host[p] = (struct head_part){begin[p], heads[p], part[p].host};
        dev[p] = (struct head_part){begin[p], heads[p], part[p].dev};
    }
    BOTH(r, values, (&(struct op_values){host, PARTS, &y.host, DIM}),
         (&(struct op_values){dev, PARTS, &y.dev, DIM}));
    for (int p = 0; p < PARTS; p++) {
        char name[64];

        snprintf(name, sizeof(name), "values %s -> %s part %d",
                 dtype_name(y.host.dtype), dtype_name(types[i % 3]), p);
        table_compare(r, name, &part[p], out_limit(types[i % 3]));
    }
}

/* Sums of integers that came out of the same fp32 steps: equal. */
static void key_sum_one(struct rig *r, int64_t first, int64_t every)
{
    struct pair y = random2(r, DT_BF16, 1000, HEADS * DIM);
    struct pair weight = pair_random(r, DT_F32, 1, SHAPE(HEADS * DIM), 0, 0);
    struct pair acc = pair_make(r, DT_I64, 1, SHAPE(HEADS * DIM), 0, 0);
    struct pair count = pair_make(r, DT_I64, 1, SHAPE(1), 0, 0);
    struct op_key_sum host = {.acc = &acc.host,
                              .count = &count.host,
                              .y = &y.host,
                              .weight = &weight.host,
                              .eps = 1e-6f,
                              .head_dim = DIM,
                              .first_token = first,
                              .every = every};
    struct op_key_sum dev = host;
    char name[64];

    pair_pending(r, &y);
    dev.acc = &acc.dev;
    dev.count = &count.dev;
    dev.y = &y.dev;
    dev.weight = &weight.dev;
    BOTH(r, key_sum, &host, &dev);
    BOTH(r, key_sum, &host, &dev);
    snprintf(name, sizeof(name), "key_sum from %d every %d", (int)first, (int)every);
    table_compare(r, name, &acc, 1e-12);
    table_compare(r, "  its count", &count, 0.0);
}

static void merge_one(struct rig *r)
{
    struct pair o = pair_random(r, DT_F32, 3, SHAPE(70, 3, DIM), 0, 0);
    struct pair part = pair_random(r, DT_F32, 3, SHAPE(70, 3, DIM), 0, 0);
    struct pair lse = random2(r, DT_F32, 3, 70), lse_part = random2(r, DT_F32, 3, 70);

    ((float *)lse.host.data)[5] = -INFINITY;
    ((float *)lse_part.host.data)[9] = -INFINITY;
    ((float *)lse.host.data)[80] = ((float *)lse_part.host.data)[80] = -200.0f;
    pair_send(r, &lse);
    pair_send(r, &lse_part);
    BOTH(r, attn_merge,
         (&(struct op_attn_merge){&o.host, &lse.host, &part.host, &lse_part.host}),
         (&(struct op_attn_merge){&o.dev, &lse.dev, &part.dev, &lse_part.dev}));
    table_compare(r, "attn_merge", &o, TOL_OP_F32);
    table_compare(r, "  its log-sum-exp", &lse, TOL_OP_F32);
}

/* ---- attention on the matrix unit ---------------------------------------------- */

static const struct fast_case {
    bool codes;
    enum dtype o;
    bool biased, add;
    int64_t keys[2];
} fasts[] = {
    {false, DT_F32, false, false, {128, 0}},
    {false, DT_F32, false, false, {128, 203}},
    {false, DT_BF16, true, false, {640, 77}},
    {false, DT_F32, true, true, {7, 300}},
    {false, DT_E4M3, false, false, {384, 5}},
    {true, DT_F32, false, false, {128, 0}},
    {true, DT_F32, false, false, {128, 203}},
    {true, DT_BF16, true, false, {640, 77}},
    {true, DT_F32, true, true, {7, 300}},
    {true, DT_E4M3, false, false, {384, 5}},
    {false, DT_BF16, true, false, {1900, 77}},
};

static void fast_one(struct rig *r, const struct fast_case *c)
{
    enum { H = 3, D = 128 };
    static const int64_t queries[2] = {70, 333};
    struct attn_queries hq[2], dq[2];
    struct attn_keys hk[2], dk[2];
    struct pair o[2], lse[2];
    struct pair bias = pair_random(r, DT_F32, 1, SHAPE(c->keys[0] + c->keys[1]), 0, 0);
    struct op_attention host = {.queries = hq, .n_queries = 2, .keys = hk};
    struct op_attention dev;
    enum dtype dt = c->codes ? DT_I8 : DT_BF16;
    bool fours = !c->biased && c->keys[0] % 4 == 0 && c->keys[1] % 4 == 0;
    char name[64];

    host.n_keys = c->keys[1] ? 2 : 1;
    for (int p = 0; p < 2; p++) {
        int64_t n = c->keys[p], padded = (n + 127) / 128 * 128;
        struct pair q = pair_random(r, dt, 3, SHAPE(H, queries[p], D), 0, 0);
        struct pair k = pair_random(r, dt, 3, SHAPE(H, n, D), c->codes ? 4 : 0, D);
        struct pair v = c->codes
                            ? pair_random(r, DT_E4M3, 3, SHAPE(H, D, padded), 1, 128)
                            : pair_random(r, dt, 3, SHAPE(H, n, D), 0, 0);

        o[p] = pair_random(r, c->o, 3, SHAPE(queries[p], H, D), 0, 0);
        lse[p] = pair2(r, DT_F32, H, queries[p]);
        hq[p] = (struct attn_queries){q.host, o[p].host, &lse[p].host};
        dq[p] = (struct attn_queries){q.dev, o[p].dev, &lse[p].dev};
        hk[p] = (struct attn_keys){k.host, v.host, n};
        dk[p] = (struct attn_keys){k.dev, v.dev, n};
    }
    host.scale = 1.0f / sqrtf((float)D);
    host.add = c->add;
    dev = host;
    dev.queries = dq;
    dev.keys = dk;
    host.key_bias = c->biased ? &bias.host : NULL;
    dev.key_bias = c->biased ? &bias.dev : NULL;
    BOTH(r, attention, &host, &dev);
    snprintf(name, sizeof(name), "attention %s of 128, %d and %d keys -> %s%s",
             dtype_name(dt), (int)c->keys[0], (int)c->keys[1], dtype_name(c->o),
             c->add ? " added" : "");
    for (int p = 0; p < 2; p++) {
        if (c->codes || c->o == DT_E4M3)
            table_compare_l1(r, name, &o[p], TOL_ATTENTION_CODES);
        else
            table_compare(r, name, &o[p], TOL_ATTENTION_BF16);
        table_compare(r, "  its log-sum-exp", &lse[p],
                      !c->codes ? TOL_GEMM_BF16
                      : fours   ? TOL_ATTENTION_CODES_LSE
                                : TOL_OP_F32);
    }
}

/* The bytes of rows do not depend on how many queries there are, nor on how the keys
 * are cut at multiples of 128. */
static void fast_cut(struct rig *r, bool codes)
{
    enum { H = 2, D = 128, S = 500, N = 1100, PAD = 1152, CUT = 384 };
    enum dtype dt = codes ? DT_I8 : DT_BF16;
    struct pair q = pair_random(r, dt, 3, SHAPE(H, S, D), 0, 0);
    struct pair k = pair_random(r, dt, 3, SHAPE(H, N, D), codes ? 4 : 0, D);
    struct pair v = codes ? pair_random(r, DT_E4M3, 3, SHAPE(H, D, PAD), 1, 128)
                          : pair_random(r, dt, 3, SHAPE(H, N, D), 0, 0);
    struct pair all = pair_make(r, DT_BF16, 3, SHAPE(S, H, D), 0, 0);
    struct pair some = pair_make(r, DT_BF16, 3, SHAPE(133, H, D), 0, 0);
    struct attn_queries qs = {q.dev, all.dev, NULL};
    struct attn_keys ks[2] = {{k.dev, v.dev, N}, {k.dev, v.dev, N - CUT}};
    struct op_attention a = {.queries = &qs, .n_queries = 1, .keys = ks, .n_keys = 1};
    struct err e = ERR_INIT;
    struct tensor whole, part;
    double differ = 0.0;

    a.scale = 0.1f;
    must(ops_attention(r->gpu, r->gpu_q, &a, &e), &e, "attention");
    whole = pair_fetch(r, &all);
    qs.q = tensor_slice(&q.dev, 1, 256, 133);
    qs.o = some.dev;
    ks[0].n = CUT;
    ks[1].k = tensor_slice(&k.dev, 1, CUT, N - CUT);
    ks[1].v = codes ? tensor_slice(&v.dev, 2, CUT, PAD - CUT)
                    : tensor_slice(&v.dev, 1, CUT, N - CUT);
    a.n_keys = 2;
    must(ops_attention(r->gpu, r->gpu_q, &a, &e), &e, "attention");
    part = pair_fetch(r, &some);
    for (int64_t i = 0; i < 133 * H * D; i++)
        differ += ((const uint16_t *)whole.data)[256 * H * D + i] !=
                  ((const uint16_t *)part.data)[i];
    table_row(codes ? "attention I8: values that depend on the cut"
                    : "attention BF16: values that depend on the cut",
              differ, 0.0);
}

/* ---- attention with biases by distance ------------------------------------------ */

static const struct slim_case {
    int64_t dim, queries[2], keys[2], reach;
    enum dtype o;
    bool biased, add;
} slims[] = {
    {64, {512, 0}, {512, 0}, 128, DT_BF16, false, false},
    {64, {100, 0}, {100, 0}, 128, DT_BF16, false, false},
    {64, {7, 0}, {7, 0}, 128, DT_BF16, false, false},
    {64, {70, 133}, {128, 203}, 50, DT_F32, false, false},
    {64, {70, 133}, {13, 203}, 50, DT_F32, true, true},
    {40, {70, 33}, {128, 77}, 3, DT_F32, true, false},
    {24, {130, 0}, {65, 0}, 0, DT_E4M3, true, false},
    {8, {130, 0}, {65, 64}, 700, DT_BF16, false, false},
    {64, {130, 0}, {65, 64}, -1, DT_BF16, false, false},
};

/* A negative reach: no biases by distance. */
static void slim_one(struct rig *r, const struct slim_case *c)
{
    enum { H = 3 };
    int parts = c->queries[1] ? 2 : 1;
    struct attn_queries hq[2], dq[2];
    struct attn_keys hk[2], dk[2];
    struct pair o[2];
    struct pair bias = pair_random(r, DT_F32, 1, SHAPE(c->keys[0] + c->keys[1]), 0, 0);
    struct pair rel = random2(r, DT_F32, H, c->reach < 0 ? 1 : 2 * c->reach + 1);
    struct op_attention host = {.queries = hq, .n_queries = parts, .keys = hk}, dev;
    char name[64];

    host.n_keys = c->keys[1] ? 2 : 1;
    for (int p = 0; p < 2; p++) {
        struct pair q = pair_random(r, DT_BF16, 3, SHAPE(H, c->queries[p], c->dim), 0,
                                    0);
        struct pair k = pair_random(r, DT_BF16, 3, SHAPE(H, c->keys[p], c->dim), 0, 0);
        struct pair v = pair_random(r, DT_BF16, 3, SHAPE(H, c->keys[p], c->dim), 0, 0);

        o[p] = pair_random(r, c->o, 3, SHAPE(c->queries[p], H, c->dim), 0, 0);
        hq[p] = (struct attn_queries){q.host, o[p].host, NULL};
        dq[p] = (struct attn_queries){q.dev, o[p].dev, NULL};
        hk[p] = (struct attn_keys){k.host, v.host, c->keys[p]};
        dk[p] = (struct attn_keys){k.dev, v.dev, c->keys[p]};
    }
    host.scale = 0.3f;
    host.add = c->add;
    dev = host;
    dev.queries = dq;
    dev.keys = dk;
    host.key_bias = c->biased ? &bias.host : NULL;
    dev.key_bias = c->biased ? &bias.dev : NULL;
    host.rel_bias = c->reach < 0 ? NULL : &rel.host;
    dev.rel_bias = c->reach < 0 ? NULL : &rel.dev;
    BOTH(r, attention, &host, &dev);
    snprintf(name, sizeof(name), "attention of %d, distances to %d, %d keys -> %s",
             (int)c->dim, (int)c->reach, (int)(c->keys[0] + c->keys[1]),
             dtype_name(c->o));
    for (int p = 0; p < parts; p++) {
        if (c->o == DT_E4M3)
            table_compare_l1(r, name, &o[p], TOL_ATTENTION_CODES);
        else
            table_compare(r, name, &o[p], TOL_ATTENTION_BF16);
    }
}

/* One layer of the text encoder; and the first 70 of its 512 queries give what all
 * give. */
static void slim_layer(struct rig *r)
{
    enum { H = 64, S = 512, SOME = 70, D = 64, TIMES = 20 };
    struct pair q = pair_random(r, DT_BF16, 3, SHAPE(H, S, D), 0, 0);
    struct pair k = pair_random(r, DT_BF16, 3, SHAPE(H, S, D), 0, 0);
    struct pair v = pair_random(r, DT_BF16, 3, SHAPE(H, S, D), 0, 0);
    struct pair rel = random2(r, DT_F32, H, 257);
    struct pair all = pair_make(r, DT_BF16, 3, SHAPE(S, H, D), 0, 0);
    struct pair some = pair_make(r, DT_BF16, 3, SHAPE(SOME, H, D), 0, 0);
    struct attn_queries qs = {q.dev, all.dev, NULL};
    struct attn_keys ks = {k.dev, v.dev, S};
    struct op_attention a = {.queries = &qs,
                             .n_queries = 1,
                             .keys = &ks,
                             .n_keys = 1,
                             .rel_bias = &rel.dev,
                             .scale = 1.0f};
    struct err e = ERR_INIT;
    struct tensor whole, part;
    double begin = 0.0, differ = 0.0;

    for (int i = 0; i <= TIMES; i++) {
        if (i == 1) {
            rig_wait(r);
            begin = now_ms();
        }
        must(ops_attention(r->gpu, r->gpu_q, &a, &e), &e, "attention");
    }
    rig_wait(r);
    printf("attention of a layer of the text encoder: %.3f ms\n",
           (now_ms() - begin) / TIMES);
    whole = pair_fetch(r, &all);
    qs.q = tensor_slice(&q.dev, 1, 0, SOME);
    qs.o = some.dev;
    must(ops_attention(r->gpu, r->gpu_q, &a, &e), &e, "attention");
    part = pair_fetch(r, &some);
    for (int64_t i = 0; i < SOME * H * D; i++)
        differ += ((const uint16_t *)whole.data)[i] != ((const uint16_t *)part.data)[i];
    table_row("attention of 64: values that depend on the number of queries", differ,
              0.0);
}

/* ---- convolution --------------------------------------------------------------- */

static const struct conv_case {
    int64_t t, h, w, c, o, k[3];
    int lo[3], hi[3], stride[3], up;
    enum dtype x, weight, y;
    bool residual;
} convs[] = {
    {5,
     7,
     9,
     16,
     24,
     {3, 3, 3},
     {2, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     1,
     DT_F32,
     DT_F32,
     DT_F32,
     false},
    {5,
     7,
     9,
     16,
     24,
     {3, 3, 3},
     {2, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     1,
     DT_BF16,
     DT_BF16,
     DT_BF16,
     true},
    {3,
     6,
     5,
     20,
     3,
     {1, 3, 3},
     {0, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     2,
     DT_BF16,
     DT_F32,
     DT_F32,
     false},
    {2,
     9,
     8,
     12,
     16,
     {1, 3, 3},
     {0, 0, 0},
     {0, 1, 1},
     {1, 2, 2},
     1,
     DT_F32,
     DT_F32,
     DT_BF16,
     true},
    {4,
     5,
     6,
     96,
     192,
     {1, 1, 1},
     {0, 0, 0},
     {0, 0, 0},
     {1, 1, 1},
     1,
     DT_F32,
     DT_BF16,
     DT_F32,
     true},
    {7,
     4,
     4,
     8,
     8,
     {3, 1, 1},
     {2, 0, 0},
     {0, 0, 0},
     {2, 1, 1},
     1,
     DT_F32,
     DT_F32,
     DT_F32,
     false},
};

static void conv_one(struct rig *r, const struct conv_case *c)
{
    struct pair x = pair_random(r, c->x, 4, SHAPE(c->t, c->h, c->w, c->c), 0, 0);
    struct pair w = pair_random(r, c->weight, 5,
                                SHAPE(c->o, c->k[0], c->k[1], c->k[2], c->c), 0, 0);
    struct pair bias = pair_random(r, DT_F32, 1, SHAPE(c->o), 0, 0);
    struct op_conv host = {.upsample = c->up}, dev;
    const int64_t in[3] = {c->t, c->h * c->up, c->w * c->up};
    int64_t y_shape[4] = {0, 0, 0, c->o};
    struct pair y, res;

    for (int i = 0; i < 3; i++) {
        host.pad_lo[i] = c->lo[i];
        host.pad_hi[i] = c->hi[i];
        host.stride[i] = c->stride[i];
        y_shape[i] = (in[i] + c->lo[i] + c->hi[i] - c->k[i]) / c->stride[i] + 1;
    }
    y = pair_make(r, c->y, 4, y_shape, 0, 0);
    res = pair_random(r, c->y, 4, y_shape, 0, 0);
    dev = host;
    host.y = &y.host;
    host.x = &x.host;
    host.weight = &w.host;
    host.bias = &bias.host;
    host.residual = c->residual ? &res.host : NULL;
    dev.y = &y.dev;
    dev.x = &x.dev;
    dev.weight = &w.dev;
    dev.bias = &bias.dev;
    dev.residual = c->residual ? &res.dev : NULL;
    BOTH(r, conv, &host, &dev);
    table_compare(r, "conv", &y, out_limit(c->y));
}

/* ---- small things -------------------------------------------------------------- */

static void convert_all(struct rig *r)
{
    static const enum dtype from[] = {DT_F32, DT_BF16, DT_F16, DT_F64};

    for (int i = 0; i < 16; i++) {
        struct pair src = random2(r, from[i / 4], 77, 130);
        struct pair dst = pair2(r, outs[i % 4], 77, 130);
        char name[64];

        BOTH(r, convert, (&(struct op_convert){&dst.host, &src.host}),
             (&(struct op_convert){&dst.dev, &src.dev}));
        snprintf(name, sizeof(name), "convert %s -> %s", dtype_name(from[i / 4]),
                 dtype_name(outs[i % 4]));
        table_compare(r, name, &dst, 0.0);
    }
}

/* Weights to codes must be the host's bit for bit, and so must what is said of rows
 * that are not finite. */
static void quantise_one(struct rig *r, const struct pair *src, enum dtype dt,
                         const char *what)
{
    struct pair dst = pair2(r, dt, src->host.shape[0], src->host.shape[1]);
    struct pair spoilt = pair_make(r, DT_I64, 1, SHAPE(1), 0, 0);
    struct op_quantise host = {&dst.host, &src->host, &spoilt.host, 100};
    struct op_quantise dev = {&dst.dev, &src->dev, &spoilt.dev, 100};
    struct tensor found;
    char name[64];

    *(int64_t *)spoilt.host.data = INT64_MAX;
    pair_send(r, &spoilt);
    BOTH(r, quantise, &host, &dev);
    snprintf(name, sizeof(name), "weights %s -> %s, %s", dtype_name(src->host.dtype),
             dtype_name(dt), what);
    table_compare(r, name, &dst, 0.0);
    found = pair_fetch(r, &spoilt);
    table_row("  its spoilt row differs",
              *(int64_t *)found.data != *(int64_t *)spoilt.host.data, 0.0);
}

/* Every bf16 number: in rows of neighbours, some of which are not finite, and beside a
 * largest one that makes the scale 1. */
static struct pair every_bf16(struct rig *r, float top)
{
    struct pair src = pair2(r, DT_BF16, 1024, 132);
    uint16_t *v = src.host.data;

    for (int i = 0; i < 65536; i++) {
        uint16_t *to = v + i / 128 * 132 + i % 128;

        *to = (uint16_t)i;
        to[512 * 132] = fabsf(bf16_to_f32((uint16_t)i)) <= top ? (uint16_t)i : 0;
    }
    for (int row = 512; row < 1024; row++)
        v[row * 132 + 128] = f32_to_bf16(top);
    pair_send(r, &src);
    return src;
}

void quantise_all(struct rig *r)
{
    static const enum dtype from[] = {DT_F32, DT_BF16, DT_F16, DT_F64};
    static const int64_t cols[] = {5120, 131, 13824, 64};

    for (int i = 0; i < 32; i++) {
        struct pair src = random2(r, from[i / 8], 37, cols[i % 4]);
        char what[32];

        snprintf(what, sizeof(what), "%d wide", (int)cols[i % 4]);
        quantise_one(r, &src, i & 4 ? DT_I8 : DT_E4M3, what);
    }
    for (int k = 0; k < 2; k++) {
        struct pair src = every_bf16(r, k ? 127.0f : 448.0f);

        quantise_one(r, &src, k ? DT_I8 : DT_E4M3, "every number");
    }
    pairs_clear(r);
}

/* Axes swapped: strides on both sides. */
static void convert_strided(struct rig *r)
{
    struct pair src = pair_random(r, DT_F32, 3, SHAPE(6, 7, 11), 0, 0);
    struct pair dst = pair_make(r, DT_BF16, 3, SHAPE(7, 6, 11), 0, 0);
    struct tensor host = dst.host, dev = dst.dev;

    host.shape[0] = dev.shape[0] = 6;
    host.shape[1] = dev.shape[1] = 7;
    host.stride[0] = dev.stride[0] = dst.host.stride[1];
    host.stride[1] = dev.stride[1] = dst.host.stride[0];
    BOTH(r, convert, (&(struct op_convert){&host, &src.host}),
         (&(struct op_convert){&dev, &src.dev}));
    table_compare(r, "convert with swapped axes", &dst, 0.0);
}

static void rows_and_sinusoids(struct rig *r)
{
    struct pair table = random2(r, DT_BF16, 50, 40), out = pair2(r, DT_F32, 9, 40);
    struct pair ids = pair_make(r, DT_I32, 1, SHAPE(9), 0, 0);
    struct pair t = pair_random(r, DT_F32, 1, SHAPE(7), 0, 0);
    struct pair waves = pair2(r, DT_F32, 7, 256);

    for (int i = 0; i < 9; i++)
        ((int32_t *)ids.host.data)[i] = i * 31 % 50;
    for (int i = 0; i < 7; i++)
        ((float *)t.host.data)[i] *= 500.0f;
    pair_send(r, &ids);
    pair_send(r, &t);
    BOTH(r, rows, (&(struct op_rows){&out.host, &table.host, &ids.host}),
         (&(struct op_rows){&out.dev, &table.dev, &ids.dev}));
    BOTH(r, sinusoid, (&(struct op_sinusoid){&waves.host, &t.host}),
         (&(struct op_sinusoid){&waves.dev, &t.dev}));
    table_compare(r, "rows", &out, 0.0);
    table_compare(r, "sinusoid", &waves, TOL_OP_F32);
}

static void combine_and_pixels(struct rig *r)
{
    struct pair x = random2(r, DT_F32, 60, 64), out = pair2(r, DT_F32, 60, 64);
    struct pair y = random2(r, DT_F32, 60, 64), coef = random2(r, DT_F32, 3, 2);
    struct pair film = random2(r, DT_F32, 60, 64), bytes = pair2(r, DT_U8, 60, 64);
    struct op_combine host = {.out = &x.host,
                              .in = {&x.host, &y.host},
                              .n = 2,
                              .coef = &coef.host,
                              .first_token = 3,
                              .tokens_per_frame = 25};
    struct op_combine dev = host;

    bytes.host.scales.kind = bytes.dev.scales.kind = SCALE_NONE;
    dev.out = &x.dev;
    dev.in[0] = &x.dev;
    dev.in[1] = &y.dev;
    dev.coef = &coef.dev;
    BOTH(r, unpatch, (&(struct op_unpatch){&out.host, &y.host}),
         (&(struct op_unpatch){&out.dev, &y.dev}));
    BOTH(r, combine, &host, &dev);
    BOTH(r, pixels, (&(struct op_pixels){&bytes.host, &film.host}),
         (&(struct op_pixels){&bytes.dev, &film.dev}));
    table_compare(r, "unpatch", &out, 0.0);
    table_compare(r, "combine in place", &x, 0.0);
    table_compare(r, "pixels", &bytes, 0.0);
}

/* Not from the beginning of a group of four. */
static void normals(struct rig *r)
{
    for (int i = 0; i < 2; i++) {
        struct pair out = pair2(r, i ? DT_BF16 : DT_F32, 33, 1001);
        struct op_normal host = {&out.host, 1.0f, 0.5f, 42, (uint64_t)1 << 40, 5};
        struct op_normal dev = host;

        dev.out = &out.dev;
        BOTH(r, normal, &host, &dev);
        table_compare(r, i ? "normals in bf16" : "normals", &out,
                      i ? TOL_OP_BF16 : TOL_OP_F32);
    }
}

/* More than fits the pinned slots, both ways. */
static void copy_large(struct rig *r)
{
    struct pair p = random2(r, DT_F32, 3000, 5003);

    table_compare(r, "60 MB to the GPU and back", &p, 0.0);
}

void residual_small(struct rig *r)
{
    for (int i = 0; i < 4; i++)
        residual_one(r, i);
}

void values_small(struct rig *r)
{
    for (int i = 0; i < 3; i++)
        values_one(r, i);
    key_sum_one(r, 5, 16);
}

void odds_small(struct rig *r)
{
    struct pair src[2] = {random2(r, DT_BF16, 37, 512), random2(r, DT_F32, 37, 1031)};

    merge_one(r);
    convert_all(r);
    convert_strided(r);
    for (int i = 0; i < 4; i++)
        quantise_one(r, &src[i % 2], i / 2 ? DT_I8 : DT_E4M3, "few");
    rows_and_sinusoids(r);
    combine_and_pixels(r);
    normals(r);
    conv_one(r, &convs[0]);
    conv_one(r, &convs[3]);
}

/* Attention with heads of 128 in floats, of few and many keys, and codes, and of 64. */
void matrix_small(struct rig *r)
{
    fast_one(r, &fasts[1]);
    fast_one(r, &fasts[8]);
    fast_one(r, &fasts[9]);
    fast_one(r, &fasts[10]);
    slim_one(r, &slims[3]);
    slim_one(r, &slims[6]);
}

void matrix_all(struct rig *r)
{
    for (size_t i = 0; i < sizeof(fasts) / sizeof(fasts[0]); i++)
        fast_one(r, &fasts[i]);
    fast_cut(r, false);
    fast_cut(r, true);
    pairs_clear(r);
    for (size_t i = 0; i < sizeof(slims) / sizeof(slims[0]); i++)
        slim_one(r, &slims[i]);
    slim_layer(r);
    pairs_clear(r);
    for (size_t i = 0; i < sizeof(convs) / sizeof(convs[0]); i++)
        conv_one(r, &convs[i]);
    pairs_clear(r);
}

void rest_all(struct rig *r)
{
    for (int i = 0; i < 12; i++)
        residual_one(r, i);
    pairs_clear(r);
    for (int i = 0; i < 12; i++)
        values_one(r, i);
    key_sum_one(r, 0, 1);
    key_sum_one(r, 5, 16);
    merge_one(r);
    pairs_clear(r);
    matrix_all(r);
    convert_all(r);
    convert_strided(r);
    rows_and_sinusoids(r);
    combine_and_pixels(r);
    normals(r);
    copy_large(r);
    pairs_clear(r);
}
