/* bench_forward.c - seconds of one forward pass of the 14B shape, split by operation
 *
 *     bench_forward [TOKENS]           51000 when not given (544x960x97)
 *
 * 40 blocks of 5120 x 13824 with 40 heads, 512 rows of text, in bf16 and in fp8 (e4m3
 * products, i8 and e4m3 attention), as engine/dit/forward.c puts them on the queue. All
 * blocks share one block's made-up weights: normals of a pattern of a few million, in
 * their usual sizes. Time embedding, patches and head (under 1 %) are left out. The
 * split waits after every op; the seconds of the whole pass come from runs that do not.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/rng.h"
#include "tests/gpu/gpu_rig.h"

enum {
    D = 5120,
    FFN = 13824,
    HEADS = 40,
    DIM = 128,
    TEXT = 512,
    LAYERS = 40,
    FRAMES = 25,
    RUNS = 3,
    PATTERN = 1 << 22
};

enum part { LINEAR, SELF, CROSS, NORMS, SCATTER, VALUES, SUMS, GATHER, ACT, PARTS };

static const char *const part_names[PARTS] = {
    "linear", "self attention", "cross attention", "norm and residual",
    "heads",  "values",         "key sum",         "gather",
    "act",
};

/* The tensors of a pass; w: v k q o, cross q o, in, out. */
enum { W_V, W_K, W_Q, W_O, W_CROSS_Q, W_CROSS_O, W_IN, W_OUT, WEIGHTS };

struct bench {
    struct ops *ops;
    struct queue *q;
    void *workspace;
    size_t workspace_bytes, bytes;
    int64_t tokens;
    bool fp8, split;
    double ms[PARTS];
    float *pattern;
    struct tensor x, u, y, hidden, act, w[WEIGHTS], bias, norm_w, table, key_sum, count;
    struct tensor q8, k8, v8, o, ctx_k, ctx_v, ctx_q, key_bias;
    struct rope rope;
};

/* ---- tensors ------------------------------------------------------------------- */

static void *room(struct bench *b, size_t bytes)
{
    struct err e = ERR_INIT;
    void *p;

    must(ops_mem_alloc(b->ops, bytes, &p, &e), &e, "memory");
    b->bytes += bytes;
    return p;
}

/* Fill with the pattern, times `unit`, in the tensor's type. */
static void fill(struct bench *b, const struct tensor *t, float unit)
{
    size_t size = dtype_bytes(t->dtype);
    int64_t n = tensor_count(t);
    float *scaled = malloc(PATTERN * sizeof(float));
    char *host = malloc(PATTERN * size);
    struct err e = ERR_INIT;

    for (int64_t i = 0; i < PATTERN; i++)
        scaled[i] = b->pattern[i] * unit;
    dtype_convert(host, t->dtype, scaled, DT_F32, PATTERN);
    for (int64_t at = 0; at < n; at += PATTERN) {
        int64_t count = n - at < PATTERN ? n - at : PATTERN;
        struct tensor from = tensor_make1(host, t->dtype, MEM_HOST, count);
        struct tensor to = tensor_make1((char *)t->data + (size_t)at * size, t->dtype,
                                        MEM_DEVICE, count);

        must(ops_copy(b->ops, b->q, &to, &from, &e), &e, "copy");
    }
    must(ops_queue_wait(b->ops, b->q, &e), &e, "wait");
    free(scaled);
    free(host);
}

static struct tensor made(struct bench *b, enum dtype dt, int rank,
                          const int64_t *shape)
{
    struct tensor t = tensor_make(NULL, dt, MEM_DEVICE, rank, shape);

    t.data = room(b, (size_t)tensor_count(&t) * dtype_bytes(dt));
    return t;
}

static struct tensor floats(struct bench *b, int rank, const int64_t *shape, float unit)
{
    struct tensor t = made(b, DT_F32, rank, shape);

    fill(b, &t, unit);
    return t;
}

/* An operand, or weights when unit > 0: values of that size. */
static struct tensor operand(struct bench *b, int64_t rows, int64_t cols, float unit)
{
    struct tensor t = made(b, b->fp8 ? DT_E4M3 : DT_BF16, 2, SHAPE(rows, cols));

    if (b->fp8) {
        struct tensor scales = made(b, DT_F32, 1, SHAPE(rows));
        float *host = malloc((size_t)rows * sizeof(float));
        struct tensor from = tensor_make1(host, DT_F32, MEM_HOST, rows);
        struct err e = ERR_INIT;

        for (int64_t i = 0; i < rows; i++)
            host[i] = unit / 100.0f;
        must(ops_copy(b->ops, b->q, &scales, &from, &e), &e, "copy");
        must(ops_queue_wait(b->ops, b->q, &e), &e, "wait");
        free(host);
        t.scales = (struct scales){SCALE_ROW, scales.data, 0, 0, {rows, 0}};
    }
    if (unit > 0.0f)
        fill(b, &t, b->fp8 ? 100.0f : unit);
    return t;
}

static struct tensor grouped(struct bench *b, struct tensor t, int64_t rows,
                             int64_t cols)
{
    int64_t across = (t.shape[2] + cols - 1) / cols;
    int64_t n = (t.shape[1] + rows - 1) / rows * across;

    t.scales = (struct scales){
        rows == 1 && cols == DIM && t.dtype == DT_I8 ? SCALE_ROW : SCALE_GROUP,
        NULL,
        rows,
        cols,
        {n, across}};
    t.scales.data = room(b, (size_t)(t.shape[0] * n) * sizeof(float));
    return t;
}

static void heads_make(struct bench *b)
{
    int64_t s = b->tokens, padded = (s + 127) / 128 * 128;
    enum dtype dt = b->fp8 ? DT_I8 : DT_BF16;

    b->q8 = made(b, dt, 3, SHAPE(HEADS, s, DIM));
    b->k8 = made(b, dt, 3, SHAPE(HEADS, s, DIM));
    if (b->fp8) {
        b->q8 = grouped(b, b->q8, 1, DIM);
        b->k8 = grouped(b, b->k8, 4, DIM);
        b->v8 = grouped(b, made(b, DT_E4M3, 3, SHAPE(HEADS, DIM, padded)), 1, 128);
    } else {
        b->v8 = made(b, DT_BF16, 3, SHAPE(HEADS, s, DIM));
    }
    b->o = made(b, DT_BF16, 3, SHAPE(s, HEADS, DIM));
    b->ctx_q = made(b, DT_BF16, 3, SHAPE(HEADS, s, DIM));
    b->ctx_k = made(b, DT_BF16, 3, SHAPE(HEADS, TEXT, DIM));
    b->ctx_v = made(b, DT_BF16, 3, SHAPE(HEADS, TEXT, DIM));
    fill(b, &b->ctx_k, 1.0f);
    fill(b, &b->ctx_v, 1.0f);
    b->key_bias = floats(b, 1, SHAPE(TEXT), 0.1f);
    b->key_sum = made(b, DT_I64, 1, SHAPE(D));
    b->count = made(b, DT_I64, 1, SHAPE(1));
}

static void tensors_make(struct bench *b)
{
    static const int64_t sides[WEIGHTS][2] = {{D, D}, {D, D}, {D, D},   {D, D},
                                              {D, D}, {D, D}, {FFN, D}, {D, FFN}};

    b->x = floats(b, 2, SHAPE(b->tokens, D), 1.0f);
    b->u = operand(b, b->tokens, D, 0.0f);
    b->y = made(b, DT_BF16, 2, SHAPE(b->tokens, D));
    b->hidden = made(b, DT_BF16, 2, SHAPE(b->tokens, FFN));
    b->act = operand(b, b->tokens, FFN, 0.0f);
    for (int i = 0; i < WEIGHTS; i++)
        b->w[i] = operand(b, sides[i][0], sides[i][1], 0.02f);
    b->bias = floats(b, 1, SHAPE(FFN), 0.1f);
    b->norm_w = floats(b, 1, SHAPE(D), 1.0f);
    b->table = floats(b, 2, SHAPE(1, D), 0.1f);
    b->rope.f = floats(b, 3, SHAPE(1024, 22, 2), 0.7f);
    b->rope.h = floats(b, 3, SHAPE(1024, 21, 2), 0.7f);
    b->rope.w = floats(b, 3, SHAPE(1024, 21, 2), 0.7f);
    b->rope.grid_h = 34;
    b->rope.grid_w = 60;
    heads_make(b);
}

static void bench_open(struct bench *b, bool fp8, int64_t tokens)
{
    struct op_linear widest;
    struct err e = ERR_INIT;

    memset(b, 0, sizeof(*b));
    b->fp8 = fp8;
    b->tokens = tokens;
    b->pattern = malloc(PATTERN * sizeof(float));
    noise_philox(14, 5, 0, PATTERN, b->pattern);
    must(ops_open("cuda", NULL, &b->ops, &e), &e, "cuda");
    must(ops_queue_open(b->ops, NULL, 0, &b->q, &e), &e, "queue");
    tensors_make(b);
    ops_queue_close(b->ops, b->q);
    widest = (struct op_linear){&b->hidden, &b->u, &b->w[W_IN], &b->bias, true};
    b->workspace_bytes = ops_linear_workspace(b->ops, &widest);
    b->workspace = room(b, b->workspace_bytes);
    must(ops_queue_open(b->ops, b->workspace, b->workspace_bytes, &b->q, &e), &e,
         "queue");
}

/* ---- a pass -------------------------------------------------------------------- */

static void done(struct bench *b, enum part part, double begin)
{
    struct err e = ERR_INIT;

    if (!b->split)
        return;
    must(ops_queue_wait(b->ops, b->q, &e), &e, part_names[part]);
    b->ms[part] += now_ms() - begin;
}

#define PUT(b, part, op, ...)                                                          \
    do {                                                                               \
        struct err err_ = ERR_INIT;                                                    \
        double begin_ = now_ms();                                                      \
                                                                                       \
        must(ops_##op((b)->ops, (b)->q, &(struct op_##op){__VA_ARGS__}, &err_), &err_, \
             #op);                                                                     \
        done(b, part, begin_);                                                         \
    } while (0)

static void product(struct bench *b, struct tensor *y, const struct tensor *x, int w)
{
    struct tensor bias = tensor_slice(&b->bias, 0, 0, b->w[w].shape[0]);

    PUT(b, LINEAR, linear, y, x, &b->w[w], &bias, true);
}

/* x += y, u = norm of it */
static void residual(struct bench *b, const struct tensor *y)
{
    PUT(b, NORMS, residual, .x = &b->x, .y = y, .gate = &b->table, .out = &b->u,
        .norm = {.kind = NORM_LAYER,
                 .eps = 1e-6f,
                 .scale = &b->table,
                 .shift = &b->table,
                 .tokens_per_frame = 2040});
}

static void scatter(struct bench *b, const struct tensor *y, const struct tensor *to,
                    bool turned, bool mean)
{
    struct head_part part = {0, HEADS, *to};

    PUT(b, SCATTER, heads, .parts = &part, .n_parts = 1, .y = y, .weight = &b->norm_w,
        .rope = turned ? &b->rope : NULL, .mean_acc = mean ? &b->key_sum : NULL,
        .mean_count = mean ? &b->count : NULL, .eps = 1e-6f, .head_dim = DIM);
}

static void self_attention(struct bench *b)
{
    struct attn_queries qs = {b->q8, b->o, NULL};
    struct attn_keys ks = {b->k8, b->v8, b->tokens};
    struct head_part v = {0, HEADS, b->v8}, o = {0, HEADS, b->o};
    struct tensor y = b->y;

    product(b, &y, &b->u, W_V);
    PUT(b, VALUES, values, &v, 1, &y, DIM);
    y = b->y;
    product(b, &y, &b->u, W_K);
    if (b->fp8)
        PUT(b, SUMS, key_sum, .acc = &b->key_sum, .count = &b->count, .y = &y,
            .weight = &b->norm_w, .rope = &b->rope, .eps = 1e-6f, .head_dim = DIM,
            .every = 16);
    scatter(b, &y, &b->k8, true, b->fp8);
    y = b->y;
    product(b, &y, &b->u, W_Q);
    scatter(b, &y, &b->q8, true, false);
    PUT(b, SELF, attention, .queries = &qs, .n_queries = 1, .keys = &ks, .n_keys = 1,
        .scale = 1.0f / sqrtf((float)DIM));
    PUT(b, GATHER, gather, &b->u, &o, 1, NULL, 0);
    y = b->y;
    product(b, &y, &b->u, W_O);
    residual(b, &y);
}

static void cross_attention(struct bench *b)
{
    struct attn_queries qs = {b->ctx_q, b->o, NULL};
    struct attn_keys ks = {b->ctx_k, b->ctx_v, TEXT};
    struct head_part o = {0, HEADS, b->o};
    struct tensor y = b->y;

    product(b, &y, &b->u, W_CROSS_Q);
    scatter(b, &y, &b->ctx_q, false, false);
    PUT(b, CROSS, attention, .queries = &qs, .n_queries = 1, .keys = &ks, .n_keys = 1,
        .key_bias = &b->key_bias, .scale = 1.0f / sqrtf((float)DIM));
    PUT(b, GATHER, gather, &b->u, &o, 1, NULL, 0);
    y = b->y;
    product(b, &y, &b->u, W_CROSS_O);
    residual(b, &y);
}

static void feed_forward(struct bench *b)
{
    struct tensor hidden = b->hidden, y = b->y;

    product(b, &hidden, &b->u, W_IN);
    PUT(b, ACT, act, &b->act, &hidden, NULL, ACT_GELU_TANH);
    product(b, &y, &b->act, W_OUT);
    residual(b, &y);
}

/* Milliseconds of a pass. */
static double forward(struct bench *b, int layers)
{
    struct err e = ERR_INIT;
    double begin = now_ms();

    PUT(b, NORMS, norm, &b->u, &b->x, {.kind = NORM_LAYER, .eps = 1e-6f});
    for (int i = 0; i < layers; i++) {
        self_attention(b);
        cross_attention(b);
        feed_forward(b);
    }
    must(ops_queue_wait(b->ops, b->q, &e), &e, "forward");
    return now_ms() - begin;
}

/* ---- the table ----------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* FLOP of a part in one pass; 0 where bytes are what counts. */
static double part_flop(const struct bench *b, enum part part)
{
    double s = (double)b->tokens;

    if (part == LINEAR)
        return LAYERS * 2.0 * s * (6.0 * D * D + 2.0 * D * FFN);
    if (part == SELF)
        return LAYERS * 4.0 * s * s * D;
    return part == CROSS ? LAYERS * 4.0 * s * TEXT * D : 0.0;
}

static void print(struct bench *b, const double *ms)
{
    double flop = 0.0;

    for (int i = 0; i < PARTS; i++)
        flop += part_flop(b, (enum part)i);
    printf("14B shape, %lld tokens, %s: %.3f s (%.3f to %.3f), %.0f TFLOP/s, "
           "%.1f GiB with one block's weights\n",
           (long long)b->tokens, b->fp8 ? "fp8" : "bf16", ms[RUNS / 2] * 1e-3,
           ms[0] * 1e-3, ms[RUNS - 1] * 1e-3, flop / ms[RUNS / 2] * 1e-9,
           (double)b->bytes / (1 << 30));
    for (int i = 0; i < PARTS; i++) {
        double f = part_flop(b, (enum part)i);

        printf("    %-24s %8.1f ms", part_names[i], b->ms[i]);
        if (f > 0.0)
            printf(" %8.0f TFLOP/s", f / b->ms[i] * 1e-9);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    int64_t tokens = argc > 1 ? strtoll(argv[1], NULL, 10) : 51000;

    for (int fp8 = 0; fp8 < 2; fp8++) {
        double ms[RUNS];
        struct bench b;

        bench_open(&b, fp8, tokens);
        forward(&b, 1);
        b.split = true;
        forward(&b, LAYERS);
        b.split = false;
        for (int i = 0; i < RUNS; i++)
            ms[i] = forward(&b, LAYERS);
        qsort(ms, RUNS, sizeof(ms[0]), compare);
        print(&b, ms);
        free(b.pattern);
        ops_queue_close(b.ops, b.q);
        ops_close(b.ops);
    }
    return 0;
}
