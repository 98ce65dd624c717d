/* test_big_gpu.c - ops on tensors of more than 2^31 elements
 *
 *     test_big_gpu [BACKEND [ROWS]]      default: cuda, 419456 rows of 5120
 *
 * A row's bytes do not depend on how many rows there are, and those of a part of a
 * picture or of keys not on where it is cut. So the end of each large result must be
 * what the same op makes of the end of its inputs alone, which the other tests hold to
 * the reference. An offset of 32 bits anywhere on the way breaks it. With a backend and
 * few rows the program tries itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/gpu/gpu_rig.h"

enum { D = 5120, HEADS = 40, DIM = 128, TAIL = 128, FRAMES = 3, CHANNELS = 96 };

/* Combining reads and writes f32: two tensors of 8.6 GB. */
static const size_t ROOM = (size_t)20 << 30;

struct big {
    struct ops *ops;
    struct queue *q;
    enum mem_space space;
    void *room, *workspace;
    size_t workspace_bytes;
    struct arena a;
    bool broken;     /* something failed since the last row of the table */
    int64_t rows;    /* rows * D > 2^31 */
    int64_t streams; /* of random numbers, so far */
};

/* A case that fails is said and costs its row, not those of the cases behind it. */
static void tried(struct big *b, enum status st, const struct err *e, const char *what)
{
    if (st == ST_OK)
        return;
    if (!b->broken)
        fprintf(stderr, "%s: %s\n", what, e->text);
    b->broken = true;
}

/* A row of the table: bytes that differ. Gives the case's memory back. */
static void case_end(struct big *b, const char *name, int64_t differ)
{
    table_row(name, b->broken ? NAN : (double)differ, 0.0);
    b->broken = false;
    arena_reset(&b->a, 0);
}

/* ---- tensors --------------------------------------------------------------------- */

/* Random numbers unless it is codes. */
static struct tensor cut(struct big *b, enum dtype dt, int rank, const int64_t *shape)
{
    struct tensor t = tensor_cut(&b->a, dt, b->space, rank, shape);
    struct op_normal a = {&t, 0.0f, 1.0f, 7, (uint64_t)b->streams++, 0};
    struct err e = ERR_INIT;

    if (dt == DT_F32 || dt == DT_BF16)
        tried(b, ops_normal(b->ops, b->q, &a, &e), &e, "normal");
    return t;
}

static struct tensor rows_cut(struct big *b, enum dtype dt, int64_t rows, int64_t cols)
{
    return cut(b, dt, 2, SHAPE(rows, cols));
}

/* An operand made of random rows. */
static struct tensor codes_of(struct big *b, enum dtype dt, const struct tensor *from)
{
    struct tensor t = operand_cut(&b->a, dt, b->space, from->shape[0], from->shape[1]);
    struct op_convert a = {&t, from};
    struct err e = ERR_INIT;

    tried(b, ops_convert(b->ops, b->q, &a, &e), &e, "convert");
    return t;
}

static struct tensor out_cut(struct big *b, enum dtype dt, int64_t rows)
{
    return operand_cut(&b->a, dt, b->space, rows, D);
}

static struct tensor tail_of(const struct tensor *t)
{
    return tensor_slice(t, 0, t->shape[0] - TAIL, TAIL);
}

static void bytes_fetch(struct big *b, void *to, const void *from, size_t bytes)
{
    struct tensor dst = tensor_make1(to, DT_U8, MEM_HOST, (int64_t)bytes);
    struct tensor src = tensor_make1((void *)(uintptr_t)from, DT_U8, b->space,
                                     (int64_t)bytes);
    struct err e = ERR_INIT;

    tried(b, ops_copy(b->ops, b->q, &dst, &src, &e), &e, "copy");
    tried(b, ops_queue_wait(b->ops, b->q, &e), &e, "wait");
}

/* Bytes that differ between two stretches of the backend's memory. */
static int64_t differing(struct big *b, const void *one, const void *other,
                         size_t bytes)
{
    char *x = calloc(1, bytes), *y = calloc(1, bytes);
    int64_t n = 0;

    bytes_fetch(b, x, one, bytes);
    bytes_fetch(b, y, other, bytes);
    for (size_t i = 0; i < bytes; i++)
        n += x[i] != y[i];
    free(x);
    free(y);
    return n;
}

static const char *at(const struct tensor *t, int64_t element)
{
    return (const char *)t->data + element * (int64_t)dtype_bytes(t->dtype);
}

/* A row of the table: the last rows of [.., rows, cols], and their scales, against all
 * of `few`. */
static void compare(struct big *b, const char *name, const struct tensor *big,
                    const struct tensor *few)
{
    int r = big->rank - 2;
    int64_t slices = r > 0 ? big->shape[0] : 1, n = 0;

    for (int64_t i = 0; i < slices; i++) {
        int64_t first = (r > 0 ? i * big->stride[0] : 0) +
                        (big->shape[r] - TAIL) * big->stride[r];

        n += differing(b, at(big, first), at(few, r > 0 ? i * few->stride[0] : 0),
                       (size_t)(TAIL * big->shape[r + 1]) * dtype_bytes(big->dtype));
        if (big->scales.kind == SCALE_ROW)
            n += differing(
                b, big->scales.data + i * big->scales.stride[0] + big->shape[r] - TAIL,
                few->scales.data + i * few->scales.stride[0], TAIL * sizeof(float));
    }
    case_end(b, name, n);
}

#define RUN(b, op, args)                                               \
    do {                                                               \
        struct err err_ = ERR_INIT;                                    \
                                                                       \
        tried(b, ops_##op((b)->ops, (b)->q, args, &err_), &err_, #op); \
    } while (0)

/* A queue with at least this workspace: what an op has asked for. */
static void workspace_grow(struct big *b, size_t bytes)
{
    struct err e = ERR_INIT;

    if (bytes <= b->workspace_bytes)
        return;
    tried(b, ops_queue_wait(b->ops, b->q, &e), &e, "wait");
    ops_queue_close(b->ops, b->q);
    ops_mem_free(b->ops, b->workspace);
    must(ops_mem_alloc(b->ops, bytes, &b->workspace, &e), &e, "workspace");
    must(ops_queue_open(b->ops, b->workspace, bytes, &b->q, &e), &e, "queue");
    b->workspace_bytes = bytes;
}

/* RUN of an op that may want workspace. */
#define RUN_IN(b, op, args)                                      \
    do {                                                         \
        workspace_grow(b, ops_##op##_workspace((b)->ops, args)); \
        RUN(b, op, args);                                        \
    } while (0)

/* ---- rows ------------------------------------------------------------------------ */

static struct norm modulated(struct big *b, struct tensor part[2], int64_t first)
{
    return (struct norm){.kind = NORM_LAYER,
                         .eps = 1e-6f,
                         .scale = &part[0],
                         .shift = &part[1],
                         .first_token = first,
                         .tokens_per_frame = b->rows / (FRAMES - 1)};
}

static void norm_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_F32, b->rows, D), few = tail_of(&x);
    struct tensor part[2] = {rows_cut(b, DT_F32, FRAMES, D),
                             rows_cut(b, DT_F32, FRAMES, D)};
    struct tensor out[2] = {out_cut(b, DT_E4M3, b->rows), out_cut(b, DT_E4M3, TAIL)};
    struct norm all = modulated(b, part, 0), end = modulated(b, part, b->rows - TAIL);

    RUN(b, norm, (&(struct op_norm){&out[0], &x, all}));
    RUN(b, norm, (&(struct op_norm){&out[1], &few, end}));
    compare(b, "norm f32 -> e4m3", &out[0], &out[1]);
}

/* Changes x, so the end of it is copied first. */
static void residual_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_F32, b->rows, D), end = tail_of(&x);
    struct tensor few = rows_cut(b, DT_F32, TAIL, D);
    struct tensor y = rows_cut(b, DT_BF16, b->rows, D), few_y;
    struct tensor part[2] = {rows_cut(b, DT_F32, FRAMES, D),
                             rows_cut(b, DT_F32, FRAMES, D)};
    struct tensor scale = rows_cut(b, DT_F32, 1, b->rows);
    struct tensor out[2] = {out_cut(b, DT_E4M3, b->rows), out_cut(b, DT_E4M3, TAIL)};
    struct norm all = modulated(b, part, 0), last = modulated(b, part, b->rows - TAIL);
    struct err e = ERR_INIT;

    y.pending.row_scale = scale.data;
    few_y = tail_of(&y);
    tried(b, ops_copy(b->ops, b->q, &few, &end, &e), &e, "copy");
    RUN(b, residual, (&(struct op_residual){&x, &y, &part[0], &out[0], all}));
    RUN(b, residual, (&(struct op_residual){&few, &few_y, &part[0], &out[1], last}));
    table_row("residual: bytes of x that differ",
              (double)differing(b, end.data, few.data, TAIL * D * sizeof(float)), 0.0);
    compare(b, "residual f32 + bf16 -> e4m3", &out[0], &out[1]);
}

static void act_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_BF16, b->rows, D), few = tail_of(&x);
    struct tensor out[2] = {out_cut(b, DT_E4M3, b->rows), out_cut(b, DT_E4M3, TAIL)};

    RUN(b, act, (&(struct op_act){&out[0], &x, NULL, ACT_GELU_TANH}));
    RUN(b, act, (&(struct op_act){&out[1], &few, NULL, ACT_GELU_TANH}));
    compare(b, "act bf16 -> e4m3", &out[0], &out[1]);
}

static void linear_big(struct big *b, enum dtype dt, const char *name)
{
    struct tensor raw = rows_cut(b, DT_BF16, b->rows, D);
    struct tensor wide = rows_cut(b, DT_BF16, D, D);
    struct tensor x = dt == DT_BF16 ? raw : codes_of(b, dt, &raw), few = tail_of(&x);
    struct tensor w = dt == DT_BF16 ? wide : codes_of(b, dt, &wide);
    struct tensor y[2] = {rows_cut(b, DT_BF16, b->rows, D),
                          rows_cut(b, DT_BF16, TAIL, D)};

    RUN_IN(b, linear, (&(struct op_linear){&y[0], &x, &w, NULL, true}));
    RUN_IN(b, linear, (&(struct op_linear){&y[1], &few, &w, NULL, true}));
    compare(b, name, &y[0], &y[1]);
}

static void convert_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_F32, b->rows, D), few = tail_of(&x);
    struct tensor y[2] = {rows_cut(b, DT_BF16, b->rows, D),
                          rows_cut(b, DT_BF16, TAIL, D)};

    RUN(b, convert, (&(struct op_convert){&y[0], &x}));
    RUN(b, convert, (&(struct op_convert){&y[1], &few}));
    compare(b, "convert f32 -> bf16", &y[0], &y[1]);
}

static void combine_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_F32, b->rows, D), few = tail_of(&x);
    struct tensor coef = rows_cut(b, DT_F32, FRAMES, 1);
    struct tensor y[2] = {rows_cut(b, DT_F32, b->rows, D),
                          rows_cut(b, DT_F32, TAIL, D)};
    struct op_combine all = {.out = &y[0],
                             .in = {&x},
                             .n = 1,
                             .coef = &coef,
                             .tokens_per_frame = b->rows / (FRAMES - 1)};
    struct op_combine end = all;

    end.out = &y[1];
    end.in[0] = &few;
    end.first_token = b->rows - TAIL;
    RUN(b, combine, &all);
    RUN(b, combine, &end);
    compare(b, "combine f32", &y[0], &y[1]);
}

/* The same numbers by their index; as patches, and as bytes. */
static void small_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_F32, b->rows, D);
    uint64_t stream = (uint64_t)b->streams - 1;
    struct tensor few = rows_cut(b, DT_F32, TAIL, D);

    RUN(b, normal,
        (&(struct op_normal){&few, 0.0f, 1.0f, 7, stream,
                             (uint64_t)(b->rows - TAIL) * D}));
    compare(b, "normal f32", &x, &few);
    x = rows_cut(b, DT_F32, b->rows, D);
    few = tail_of(&x);
    {
        struct tensor y[2] = {rows_cut(b, DT_F32, b->rows, D),
                              rows_cut(b, DT_F32, TAIL, D)};

        RUN(b, unpatch, (&(struct op_unpatch){&y[0], &x}));
        RUN(b, unpatch, (&(struct op_unpatch){&y[1], &few}));
        compare(b, "unpatch", &y[0], &y[1]);
    }
}

static void pixels_big(struct big *b)
{
    struct tensor x = rows_cut(b, DT_BF16, b->rows * D / 3, 3), few = tail_of(&x);
    struct tensor y[2] = {rows_cut(b, DT_U8, x.shape[0], 3),
                          rows_cut(b, DT_U8, TAIL, 3)};

    RUN(b, pixels, (&(struct op_pixels){&y[0], &x}));
    RUN(b, pixels, (&(struct op_pixels){&y[1], &few}));
    compare(b, "pixels", &y[0], &y[1]);
}

/* ---- heads ----------------------------------------------------------------------- */

static struct tensor heads_cut(struct big *b, enum dtype dt, int64_t rows)
{
    struct tensor t = cut(b, dt, 3, SHAPE(HEADS, rows, DIM));

    if (dtype_bytes(dt) == 1) {
        t.scales = (struct scales){.kind = SCALE_ROW, .stride = {rows, 0}};
        t.scales.data = arena_cut(&b->a, (size_t)(HEADS * rows) * sizeof(float));
    }
    return t;
}

static void heads_big(struct big *b, enum dtype dt, const char *name)
{
    struct tensor y = rows_cut(b, DT_BF16, b->rows, D), few = tail_of(&y);
    struct tensor weight = cut(b, DT_F32, 1, SHAPE(D));
    struct tensor out[2] = {heads_cut(b, dt, b->rows), heads_cut(b, dt, TAIL)};
    struct head_part part[2] = {{0, HEADS, out[0]}, {0, HEADS, out[1]}};
    struct op_heads all = {.parts = &part[0],
                           .n_parts = 1,
                           .y = &y,
                           .weight = &weight,
                           .eps = 1e-6f,
                           .head_dim = DIM};
    struct op_heads end = all;

    end.parts = &part[1];
    end.y = &few;
    end.first_token = b->rows - TAIL;
    RUN(b, heads, &all);
    RUN(b, heads, &end);
    compare(b, name, &out[0], &out[1]);
}

/* Channels of e4m3 values have their tokens side by side, a scale per 128. */
static struct tensor values_cut(struct big *b, int64_t heads, int64_t rows)
{
    struct tensor t = cut(b, DT_E4M3, 3, SHAPE(heads, DIM, rows));

    t.scales = (struct scales){.kind = SCALE_GROUP,
                               .rows = 1,
                               .cols = 128,
                               .stride = {DIM * rows / 128, rows / 128}};
    t.scales.data = arena_cut(&b->a,
                              (size_t)(heads * DIM * rows / 128) * sizeof(float));
    return t;
}

static void values_big(struct big *b)
{
    struct tensor y = rows_cut(b, DT_BF16, b->rows, D), few = tail_of(&y);
    struct tensor out[2] = {values_cut(b, HEADS, b->rows), values_cut(b, HEADS, TAIL)};
    struct head_part part[2] = {{0, HEADS, out[0]}, {0, HEADS, out[1]}};
    int64_t n = 0, groups = b->rows / 128;

    RUN(b, values, (&(struct op_values){&part[0], 1, &y, DIM}));
    RUN(b, values, (&(struct op_values){&part[1], 1, &few, DIM}));
    for (int64_t i = 0; i < HEADS * DIM; i += 37) {
        n += differing(b, at(&out[0], (i + 1) * b->rows - TAIL), at(&out[1], i * TAIL),
                       TAIL);
        n += differing(b, out[0].scales.data + (i + 1) * groups - 1,
                       out[1].scales.data + i, sizeof(float));
    }
    case_end(b, "values bf16 -> e4m3", n);
}

static void gather_big(struct big *b)
{
    struct tensor o = cut(b, DT_BF16, 3, SHAPE(b->rows, HEADS, DIM)), few = tail_of(&o);
    struct head_part part[2] = {{0, HEADS, o}, {0, HEADS, few}};
    struct tensor out[2] = {out_cut(b, DT_E4M3, b->rows), out_cut(b, DT_E4M3, TAIL)};

    RUN(b, gather, (&(struct op_gather){&out[0], &part[0], 1, NULL, 0}));
    RUN(b, gather, (&(struct op_gather){&out[1], &part[1], 1, NULL, 0}));
    compare(b, "gather bf16 -> e4m3", &out[0], &out[1]);
}

/* ---- attention: one head with more than 2^31 / 128 tokens ------------------------ */

static int64_t tokens_of(const struct big *b)
{
    return b->rows * HEADS / 128 * 128;
}

/* bf16, or i8 with a scale for every `per` tokens, 1 or 4: [1, n, DIM]. */
static struct tensor tokens_cut(struct big *b, enum dtype dt, int64_t n, int64_t per)
{
    struct tensor y = cut(b, DT_BF16, 2, SHAPE(n, DIM)), t;
    struct head_part part;

    if (dt == DT_BF16)
        return tensor_reshape(&y, 3, SHAPE(1, n, DIM));
    t = cut(b, dt, 3, SHAPE(1, n, DIM));
    t.scales = (struct scales){.kind = SCALE_ROW, .stride = {n / per, 0}};
    if (per > 1)
        t.scales = (struct scales){
            .kind = SCALE_GROUP, .rows = per, .cols = DIM, .stride = {n / per, 1}};
    t.scales.data = arena_cut(&b->a, (size_t)(n / per) * sizeof(float));
    part = (struct head_part){0, 1, t};
    RUN(b, heads,
        (&(struct op_heads){.parts = &part, .n_parts = 1, .y = &y, .head_dim = DIM}));
    return t;
}

static struct tensor token_values(struct big *b, enum dtype dt, int64_t n)
{
    struct tensor y, out;
    struct head_part part;

    if (dt == DT_BF16)
        return tokens_cut(b, DT_BF16, n, 1);
    y = cut(b, DT_BF16, 2, SHAPE(n, DIM));
    out = values_cut(b, 1, n);
    part = (struct head_part){0, 1, out};
    RUN(b, values, (&(struct op_values){&part, 1, &y, DIM}));
    return out;
}

static void attend(struct big *b, const struct tensor *q, const struct tensor *o,
                   const struct attn_keys *keys, int n_keys)
{
    struct attn_queries queries = {*q, *o, NULL};

    RUN_IN(b, attention,
           (&(struct op_attention){.queries = &queries,
                                   .n_queries = 1,
                                   .keys = keys,
                                   .n_keys = n_keys,
                                   .scale = 1.0f / sqrtf((float)DIM)}));
}

/* Many queries: the last ones alone. */
static void queries_big(struct big *b, enum dtype dt, const char *name)
{
    int64_t n = tokens_of(b);
    struct tensor q = tokens_cut(b, dt, n, 1);
    struct tensor few = tensor_slice(&q, 1, n - TAIL, TAIL);
    struct attn_keys keys = {tokens_cut(b, dt, TAIL, 4), token_values(b, dt, TAIL),
                             TAIL};
    struct tensor o[2] = {cut(b, DT_BF16, 3, SHAPE(n, 1, DIM)),
                          cut(b, DT_BF16, 3, SHAPE(TAIL, 1, DIM))};

    attend(b, &q, &o[0], &keys, 1);
    attend(b, &few, &o[1], &keys, 1);
    for (int i = 0; i < 2; i++)
        o[i] = tensor_reshape(&o[i], 2, SHAPE(o[i].shape[0], DIM));
    compare(b, name, &o[0], &o[1]);
}

/* Many keys in one part, and in two: each half is below 2^31 elements. */
static void keys_big(struct big *b, enum dtype dt, const char *name)
{
    int64_t n = tokens_of(b), half = n / 256 * 128;
    struct tensor q = tokens_cut(b, dt, TAIL, 1), k = tokens_cut(b, dt, n, 4);
    struct tensor v = token_values(b, dt, n);
    int axis = dt == DT_BF16 ? 1 : 2;
    struct attn_keys whole = {k, v, n};
    struct attn_keys halves[2] = {
        {tensor_slice(&k, 1, 0, half), tensor_slice(&v, axis, 0, half), half},
        {tensor_slice(&k, 1, half, n - half), tensor_slice(&v, axis, half, n - half),
         n - half}};
    struct tensor o[2] = {rows_cut(b, DT_BF16, TAIL, DIM),
                          rows_cut(b, DT_BF16, TAIL, DIM)};
    struct tensor to[2];

    for (int i = 0; i < 2; i++)
        to[i] = tensor_reshape(&o[i], 3, SHAPE(TAIL, 1, DIM));
    attend(b, &q, &to[0], &whole, 1);
    attend(b, &q, &to[1], halves, 2);
    compare(b, name, &o[0], &o[1]);
}

/* ---- pictures -------------------------------------------------------------------- */

/* The lowest rows of pictures alone; they read one row above them. */
static void conv_big(struct big *b)
{
    enum { T = 5, WIDTH = 2080, BOTTOM = 16 };
    int64_t height = b->rows * D / ((int64_t)T * WIDTH * CHANNELS) + BOTTOM + 1, n = 0;
    struct tensor x = cut(b, DT_BF16, 4, SHAPE(T, height, WIDTH, CHANNELS));
    struct tensor few = tensor_slice(&x, 1, height - BOTTOM - 1, BOTTOM + 1);
    struct tensor w = cut(b, DT_BF16, 5, SHAPE(CHANNELS, 3, 3, 3, CHANNELS));
    struct tensor y = cut(b, DT_BF16, 4, SHAPE(T, height, WIDTH, CHANNELS));
    struct tensor end = cut(b, DT_BF16, 4, SHAPE(T, BOTTOM, WIDTH, CHANNELS));
    struct op_conv all = {.y = &y,
                          .x = &x,
                          .weight = &w,
                          .pad_lo = {2, 1, 1},
                          .pad_hi = {0, 1, 1},
                          .stride = {1, 1, 1},
                          .upsample = 1};
    struct op_conv part = all;

    part.y = &end;
    part.x = &few;
    part.pad_lo[1] = 0;
    RUN_IN(b, conv, &all);
    RUN_IN(b, conv, &part);
    for (int64_t t = 0; t < T; t++)
        n += differing(b, at(&y, t * y.stride[0] + (height - BOTTOM) * y.stride[1]),
                       at(&end, t * end.stride[0]),
                       (size_t)end.stride[0] * dtype_bytes(DT_BF16));
    case_end(b, "conv bf16 of 96 channels", n);
}

/* ---- all of it ------------------------------------------------------------------- */

static void big_open(struct big *b, const char *backend, size_t room)
{
    struct err e = ERR_INIT;

    must(ops_open(backend, NULL, &b->ops, &e), &e, backend);
    b->space = ops_facts(b->ops)->space;
    must(ops_mem_alloc(b->ops, room, &b->room, &e), &e, "memory");
    must(ops_queue_open(b->ops, NULL, 0, &b->q, &e), &e, "queue");
    arena_init(&b->a, b->room, room);
}

static void big_close(struct big *b)
{
    ops_queue_close(b->ops, b->q);
    ops_mem_free(b->ops, b->room);
    ops_mem_free(b->ops, b->workspace);
    ops_close(b->ops);
}

static void big_all(struct big *b)
{
    norm_big(b);
    residual_big(b);
    act_big(b);
    linear_big(b, DT_BF16, "linear bf16");
    linear_big(b, DT_E4M3, "linear e4m3 raw");
    linear_big(b, DT_I8, "linear i8 raw");
    convert_big(b);
    combine_big(b);
    small_big(b);
    pixels_big(b);
    heads_big(b, DT_BF16, "heads bf16 -> bf16");
    heads_big(b, DT_I8, "heads bf16 -> i8");
    values_big(b);
    gather_big(b);
    queries_big(b, DT_BF16, "attention bf16, queries");
    queries_big(b, DT_I8, "attention i8, queries");
    keys_big(b, DT_BF16, "attention bf16, keys in one part and in two");
    keys_big(b, DT_I8, "attention i8, keys in one part and in two");
    conv_big(b);
}

int main(int argc, char **argv)
{
    const char *backend = argc > 1 ? argv[1] : "cuda";
    int64_t rows = argc > 2 ? strtoll(argv[2], NULL, 10) : 419456;
    size_t room = argc > 2 ? (size_t)1 << 30 : ROOM;
    struct big b = {.rows = rows};

    printf("%lld rows\n", (long long)rows);
    big_open(&b, backend, room);
    big_all(&b);
    big_close(&b);
    return table_print() ? 1 : 0;
}
