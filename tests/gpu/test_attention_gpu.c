/* test_attention_gpu.c - attention over bf16 heads of 128, at every edge of its kernels
 *
 * Parts of queries and keys that fill no tile, one key, biases of keys, every type of
 * result, a result that is added, either side of the number of keys from which another
 * form of the kernel is chosen (15 tiles of 128); the same bytes of both forms; then so
 * many queries that a thread block works on several tiles: there a few rows against the
 * reference, and their bytes against those that the same rows make alone.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/gpu/gpu_rig.h"
#include "tests/tolerance.h"

enum { DIM = 128, PARTS = 4 };

struct attention_case {
    int64_t heads, q[PARTS], k[PARTS]; /* rows of parts, up to the first zero */
    enum dtype out;
    bool add, biased;
};

static const struct attention_case cases[] = {
    {2, {1, 64, 65}, {512}, DT_BF16, false, true},
    {2, {127, 128, 129}, {384}, DT_F32, false, false},
    {3, {130, 2, 63}, {128, 203}, DT_F32, true, true},
    {2, {130, 127}, {5, 256, 77}, DT_E4M3, false, true},
    {2, {66}, {5, 256, 77}, DT_BF16, false, false},
    {1, {200}, {1}, DT_BF16, false, false},
    {4, {300}, {127}, DT_E4M3, false, false},
    {1, {260}, {3000}, DT_E4M3, false, false},
    {2, {130, 1, 127}, {2048, 77}, DT_F32, true, true},
    {2, {130, 1}, {1920}, DT_BF16, false, true},
    {2, {130, 1}, {1921}, DT_BF16, false, true},
    {2, {191, 192, 193}, {640}, DT_BF16, false, false},
    {1, {191, 192, 193}, {2000, 500}, DT_BF16, false, false},
    {2, {127}, {900, 20, 1000}, DT_F32, false, true},
    {2, {500}, {640, 204}, DT_BF16, false, true},
};

static int parts_of(const int64_t *rows)
{
    int n = 0;

    while (n < PARTS && rows[n] > 0)
        n++;
    return n;
}

/* Keys and values of a case, and the bias of every key. */
struct context {
    struct attn_keys host[PARTS], dev[PARTS];
    struct pair bias;
    int n;
};

static void context_make(struct rig *r, const struct attention_case *c,
                         struct context *to)
{
    int64_t keys = 0;

    to->n = parts_of(c->k);
    for (int p = 0; p < to->n; p++) {
        int64_t n = c->k[p];
        struct pair k = pair_random(r, DT_BF16, 3, SHAPE(c->heads, n + 3, DIM), 0, 0);
        struct pair v = pair_random(r, DT_BF16, 3, SHAPE(c->heads, n + 3, DIM), 0, 0);

        to->host[p] = (struct attn_keys){k.host, v.host, n};
        to->dev[p] = (struct attn_keys){k.dev, v.dev, n};
        keys += n;
    }
    to->bias = pair_random(r, DT_F32, 1, SHAPE(keys), 0, 0);
}

static struct op_attention attention_of(const struct attention_case *c,
                                        const struct context *keys, bool dev)
{
    return (struct op_attention){
        .keys = dev ? keys->dev : keys->host,
        .n_keys = keys->n,
        .key_bias = !c->biased ? NULL
                    : dev      ? &keys->bias.dev
                               : &keys->bias.host,
        .scale = 1.0f / sqrtf((float)DIM),
        .add = c->add,
    };
}

static void result_compare(struct rig *r, const char *name, enum dtype dt,
                           const struct pair *o)
{
    if (dt == DT_E4M3)
        table_compare_l1(r, name, o, TOL_ATTENTION_CODES);
    else
        table_compare(r, name, o, TOL_ATTENTION_BF16);
}

static void case_run(struct rig *r, const struct attention_case *c)
{
    struct attn_queries hq[PARTS], dq[PARTS];
    struct pair o[PARTS], lse[PARTS];
    int n = parts_of(c->q);
    struct context keys;
    struct op_attention host, dev;

    context_make(r, c, &keys);
    host = attention_of(c, &keys, false);
    dev = attention_of(c, &keys, true);
    for (int p = 0; p < n; p++) {
        struct pair q = pair_random(r, DT_BF16, 3, SHAPE(c->heads, c->q[p], DIM), 0, 0);
        const int64_t shape[3] = {c->q[p], c->heads, DIM};

        o[p] = c->add ? pair_random(r, c->out, 3, shape, 0, 0)
                      : pair_make(r, c->out, 3, shape, 0, 0);
        lse[p] = pair2(r, DT_F32, c->heads, c->q[p]);
        hq[p] = (struct attn_queries){q.host, o[p].host, &lse[p].host};
        dq[p] = (struct attn_queries){q.dev, o[p].dev, &lse[p].dev};
    }
    host.queries = hq;
    dev.queries = dq;
    host.n_queries = dev.n_queries = n;
    BOTH(r, attention, &host, &dev);
    for (int p = 0; p < n; p++) {
        char name[64];

        snprintf(name, sizeof(name), "attention bf16, %d of %d x %d keys in %d%s -> %s",
                 (int)c->heads, (int)c->q[p], (int)keys.bias.host.shape[0], keys.n,
                 c->add ? " added" : "", dtype_name(c->out));
        result_compare(r, name, c->out, &o[p]);
        table_compare(r, "  its log-sum-exp", &lse[p], TOL_GEMM_BF16);
    }
}

/* Bytes of rows that differ from those of `all` from its row `first` on. */
static double rows_differing(const struct tensor *all, int64_t first,
                             const struct tensor *alone)
{
    int64_t bytes = tensor_count(alone) * (int64_t)dtype_bytes(alone->dtype);
    const uint8_t *a = (const uint8_t *)all->data + first * bytes / alone->shape[0];
    const uint8_t *b = alone->data;
    int64_t differ = 0;

    for (int64_t i = 0; i < bytes; i++)
        differ += a[i] != b[i];
    return (double)differ;
}

/* ---- the same bytes of both forms ------------------------------------------------ */

/* One tile more, of keys that count for nothing, and the other form is chosen. That the
 * bytes are the same is a law of this kernel, not of every backend. */
static void forms_run(struct rig *r)
{
    enum { HEADS = 3, QUERIES = 200, KEYS = 1920, MORE = KEYS + 128 };
    struct pair q = pair_random(r, DT_BF16, 3, SHAPE(HEADS, QUERIES, DIM), 0, 0);
    struct pair k = pair_random(r, DT_BF16, 3, SHAPE(HEADS, MORE, DIM), 0, 0);
    struct pair v = pair_random(r, DT_BF16, 3, SHAPE(HEADS, MORE, DIM), 0, 0);
    struct pair bias = pair_random(r, DT_F32, 1, SHAPE(MORE), 0, 0);
    struct tensor o[2], lse[2];
    struct err e = ERR_INIT;
    double differ;

    for (int i = KEYS; i < MORE; i++)
        ((float *)bias.host.data)[i] = -INFINITY;
    pair_send(r, &bias);
    for (int i = 0; i < 2; i++) {
        int64_t n = i ? MORE : KEYS;
        struct pair to = pair_make(r, DT_F32, 3, SHAPE(QUERIES, HEADS, DIM), 0, 0);
        struct pair logs = pair2(r, DT_F32, HEADS, QUERIES);
        struct tensor some = tensor_slice(&bias.dev, 0, 0, n);
        struct attn_queries queries = {q.dev, to.dev, &logs.dev};
        struct attn_keys keys = {k.dev, v.dev, n};
        struct op_attention a = {.queries = &queries,
                                 .n_queries = 1,
                                 .keys = &keys,
                                 .n_keys = 1,
                                 .key_bias = &some,
                                 .scale = 1.0f / sqrtf((float)DIM)};

        must(ops_attention(r->gpu, r->gpu_q, &a, &e), &e, "attention in both forms");
        o[i] = pair_fetch(r, &to);
        lse[i] = pair_fetch(r, &logs);
    }
    differ = rows_differing(&o[0], 0, &o[1]) + rows_differing(&lse[0], 0, &lse[1]);
    table_row("attention bf16, 1920 keys and 2048: bytes that differ", differ, 0.0);
}

/* ---- more queries than there are thread blocks ---------------------------------- */

static void many_run(struct rig *r, const struct attention_case *c)
{
    static const int64_t cuts[][2] = {{0, 1}, {127, 130}, {2493, 70}, {2870, 130}};
    int64_t n = c->q[0];
    struct pair q = pair_random(r, DT_BF16, 3, SHAPE(c->heads, n, DIM), 0, 0);
    struct pair all = pair_make(r, c->out, 3, SHAPE(n, c->heads, DIM), 0, 0);
    struct attn_queries queries = {q.dev, all.dev, NULL};
    struct context keys;
    struct op_attention host, dev;
    struct tensor whole;
    struct err e = ERR_INIT;
    double differ = 0.0;
    char name[64];

    context_make(r, c, &keys);
    host = attention_of(c, &keys, false);
    dev = attention_of(c, &keys, true);
    dev.queries = &queries;
    host.n_queries = dev.n_queries = 1;
    must(ops_attention(r->gpu, r->gpu_q, &dev, &e), &e, "attention of many");
    whole = pair_fetch(r, &all);
    snprintf(name, sizeof(name), "attention bf16, rows of %d of %d -> %s",
             (int)c->heads, (int)n, dtype_name(c->out));
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct pair o = pair_make(r, c->out, 3, SHAPE(cuts[i][1], c->heads, DIM), 0, 0);
        struct tensor some = tensor_slice(&q.host, 1, cuts[i][0], cuts[i][1]);
        struct attn_queries hq = {some, o.host, NULL}, dq = {some, o.dev, NULL};
        struct tensor alone;

        dq.q = tensor_slice(&q.dev, 1, cuts[i][0], cuts[i][1]);
        host.queries = &hq;
        dev.queries = &dq;
        BOTH(r, attention, &host, &dev);
        result_compare(r, name, c->out, &o);
        alone = pair_fetch(r, &o);
        differ += rows_differing(&whole, cuts[i][0], &alone);
    }
    table_row("  bytes that differ from those of rows alone", differ, 0.0);
}

void attention_edges_all(struct rig *r)
{
    static const struct attention_case many[] = {
        {40, {3000}, {512}, DT_BF16, false, true},
        {40, {3000}, {100}, DT_E4M3, false, true},
        {13, {3000}, {256, 130}, DT_BF16, false, false},
        {13, {3000}, {1800, 120}, DT_E4M3, false, true},
        {13, {3000}, {1800, 300}, DT_BF16, false, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        case_run(r, &cases[i]);
        pairs_clear(r);
    }
    forms_run(r);
    pairs_clear(r);
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
        many_run(r, &many[i]);
        pairs_clear(r);
    }
}
