/* test_vae_gpu.c - what the autoencoder runs on: convolution, norm, wide attention
 *
 * The kernels for the matrix unit against the reference, in the channels that the
 * published network has, with ragged sizes; and the law that a part of a picture has
 * the bytes of the whole.
 *
 *     test_vae_gpu                   all of it
 *     test_vae_gpu --small [PART]    few small cases without the reference, for
 *                                    sanitizers; parts: see below
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/gpu/gpu_rig.h"
#include "tests/tolerance.h"

/* ---- convolution --------------------------------------------------------------- */

/* Before the names of rows. */
static const char *prefix = "";

struct conv_case {
    const char *name;
    int64_t size[3], c, o;
    int k[3], lo[3], hi[3], stride[3], up;
    bool residual, f32;
};

#define CUBE    \
    {           \
        3, 3, 3 \
    }
#define SQUARE  \
    {           \
        1, 3, 3 \
    }
#define POINT   \
    {           \
        1, 1, 1 \
    }
#define SIDES   \
    {           \
        0, 1, 1 \
    }
#define NONE    \
    {           \
        0, 0, 0 \
    }

static const struct conv_case cases[] = {
    {"96 of 96, two frames in front",
     {4, 20, 37},
     96,
     96,
     CUBE,
     SIDES,
     SIDES,
     POINT,
     1,
     true,
     false},
    {"96 of 192, doubled",
     {2, 9, 19},
     192,
     96,
     SQUARE,
     SIDES,
     SIDES,
     POINT,
     2,
     false,
     false},
    {"192 of 192, a frame of zeros",
     {2, 18, 33},
     192,
     192,
     CUBE,
     {1, 1, 1},
     SIDES,
     POINT,
     1,
     true,
     false},
    {"384 of 384", {3, 8, 17}, 384, 384, CUBE, SIDES, SIDES, POINT, 1, true, true},
    {"384 of 192, within pixels",
     {2, 17, 16},
     192,
     384,
     POINT,
     NONE,
     NONE,
     POINT,
     1,
     false,
     true},
    {"384 of 16, two frames of zeros",
     {1, 12, 20},
     16,
     384,
     CUBE,
     {2, 1, 1},
     SIDES,
     POINT,
     1,
     false,
     false},
    {"192 of 384, in time",
     {4, 5, 18},
     384,
     192,
     {3, 1, 1},
     NONE,
     NONE,
     POINT,
     1,
     false,
     false},
    {"3 of 96", {3, 19, 21}, 96, 3, CUBE, SIDES, SIDES, POINT, 1, false, false},
    {"3 of 96, f32", {3, 19, 21}, 96, 3, CUBE, SIDES, SIDES, POINT, 1, true, true},
    {"96 of 96, halved",
     {2, 20, 34},
     96,
     96,
     SQUARE,
     NONE,
     SIDES,
     {1, 2, 2},
     1,
     false,
     false},
    {"16 of 16, within pixels",
     {2, 9, 30},
     16,
     16,
     POINT,
     NONE,
     NONE,
     POINT,
     1,
     false,
     true},
    {"24 of 40, every second frame",
     {7, 6, 9},
     40,
     24,
     CUBE,
     {2, 1, 1},
     SIDES,
     {2, 1, 1},
     1,
     true,
     false},
};

struct conv_tensors {
    struct pair x, w, bias, res, y;
    struct op_conv host, dev;
};

static void conv_make(struct rig *r, const struct conv_case *c, struct conv_tensors *t)
{
    enum dtype out = c->f32 ? DT_F32 : DT_BF16;
    int64_t y[4] = {0, 0, 0, c->o};

    memset(&t->host, 0, sizeof(t->host));
    for (int i = 0; i < 3; i++) {
        t->host.pad_lo[i] = c->lo[i];
        t->host.pad_hi[i] = c->hi[i];
        t->host.stride[i] = c->stride[i];
        y[i] = (c->size[i] * (i ? c->up : 1) + c->lo[i] + c->hi[i] - c->k[i]) /
                   c->stride[i] +
               1;
    }
    t->host.upsample = c->up;
    t->x = pair_random(r, DT_BF16, 4, SHAPE(c->size[0], c->size[1], c->size[2], c->c),
                       0, 0);
    t->w = pair_random(r, DT_BF16, 5, SHAPE(c->o, c->k[0], c->k[1], c->k[2], c->c), 0,
                       0);
    t->bias = pair_random(r, DT_F32, 1, SHAPE(c->o), 0, 0);
    t->y = pair_make(r, out, 4, y, 0, 0);
    t->res = pair_random(r, out, 4, y, 0, 0);
    t->dev = t->host;
    t->host.x = &t->x.host;
    t->host.weight = &t->w.host;
    t->host.bias = &t->bias.host;
    t->host.y = &t->y.host;
    t->host.residual = c->residual ? &t->res.host : NULL;
    t->dev.x = &t->x.dev;
    t->dev.weight = &t->w.dev;
    t->dev.bias = &t->bias.dev;
    t->dev.y = &t->y.dev;
    t->dev.residual = c->residual ? &t->res.dev : NULL;
}

static void conv_one(struct rig *r, const struct conv_case *c)
{
    struct conv_tensors t;
    char name[80];

    conv_make(r, c, &t);
    BOTH(r, conv, &t.host, &t.dev);
    snprintf(name, sizeof(name), "%sconv %s", prefix, c->name);
    table_compare(r, name, &t.y, c->f32 ? TOL_CONV_BF16 : TOL_OP_BF16);
    pairs_clear(r);
}

/* Onto its residual, and into every second frame. */
static void conv_in_place(struct rig *r)
{
    struct conv_tensors t;
    struct pair wide = pair_random(r, DT_BF16, 4, SHAPE(6, 20, 37, 96), 0, 0);
    struct tensor host, dev;
    char name[80];

    conv_make(r, &cases[0], &t);
    host = tensor_slice(&wide.host, 0, 1, t.y.host.shape[0]);
    dev = tensor_slice(&wide.dev, 0, 1, t.y.host.shape[0]);
    host.stride[0] *= 2;
    dev.stride[0] *= 2;
    t.host.y = &host;
    t.dev.y = &dev;
    t.host.residual = &host;
    t.dev.residual = &dev;
    BOTH(r, conv, &t.host, &t.dev);
    snprintf(name, sizeof(name), "%sconv onto every second frame", prefix);
    table_compare(r, name, &wide, TOL_OP_BF16);
    pairs_clear(r);
}

/* Share of bytes that differ between the columns of a part and those of the whole. */
static double part_differs(struct rig *r, const struct pair *whole,
                           const struct pair *part, int64_t first)
{
    struct tensor a = pair_fetch(r, whole), b = pair_fetch(r, part);
    int64_t rows = b.shape[0] * b.shape[1], line = b.shape[2] * b.shape[3], bad = 0;

    for (int64_t i = 0; i < rows; i++) {
        const uint16_t *x = (const uint16_t *)a.data +
                            (i * a.shape[2] + first) * a.shape[3];
        const uint16_t *y = (const uint16_t *)b.data + i * line;

        for (int64_t k = 0; k < line; k++)
            bad += x[k] != y[k];
    }
    return (double)bad / (double)(rows * line);
}

/* What some columns of x give, which lie within it, and what the whole gives. */
static void conv_part(struct rig *r, const struct conv_case *c, int64_t from,
                      int64_t columns)
{
    int64_t first = from * c->up + 1, wide = columns * c->up - 2;
    struct conv_tensors t;
    struct pair part;
    struct tensor x;
    struct op_conv dev;
    struct err e = ERR_INIT;
    char name[80];

    conv_make(r, c, &t);
    t.dev.residual = NULL;
    part = pair_make(r, DT_BF16, 4,
                     SHAPE(t.y.host.shape[0], t.y.host.shape[1], wide, c->o), 0, 0);
    x = tensor_slice(&t.x.dev, 2, from, columns);
    dev = t.dev;
    dev.x = &x;
    dev.y = &part.dev;
    dev.pad_lo[2] = dev.pad_hi[2] = 0;
    dev.column = first;
    must(ops_conv(r->gpu, r->gpu_q, &t.dev, &e), &e, "conv of the whole");
    must(ops_conv(r->gpu, r->gpu_q, &dev, &e), &e, "conv of a part");
    snprintf(name, sizeof(name), "%spart of %s: bytes not the whole's", prefix,
             c->name);
    table_row(name, part_differs(r, &t.y, &part, first), 0.0);
    pairs_clear(r);
}

/* ---- norm ---------------------------------------------------------------------- */

static void norm_one(struct rig *r, int64_t cols, enum act_kind act)
{
    struct pair x = random2(r, DT_BF16, 1001, cols),
                out = pair2(r, DT_BF16, 1001, cols);
    struct pair gamma = pair_random(r, DT_F32, 1, SHAPE(cols), 0, 0);
    struct norm n = {.kind = NORM_L2, .act = act, .eps = 1e-12f, .weight = &gamma.host};
    struct op_norm host = {&out.host, &x.host, n}, dev = {&out.dev, &x.dev, n};
    char name[64];

    dev.norm.weight = &gamma.dev;
    memset(x.host.data, 0, (size_t)cols * 2); /* a row of zeros */
    pair_send(r, &x);
    BOTH(r, norm, &host, &dev);
    snprintf(name, sizeof(name), "norm of %d columns of bf16%s", (int)cols,
             act == ACT_SILU ? ", SiLU" : "");
    table_compare(r, name, &out, TOL_OP_BF16);
    pairs_clear(r);
}

/* ---- attention ----------------------------------------------------------------- */

static void attention_one(struct rig *r, enum dtype dt)
{
    enum { HEADS = 2, QUERIES = 150, KEYS = 208, DIM = 384 };
    struct pair q = pair_random(r, dt, 3, SHAPE(HEADS, QUERIES, DIM), 0, 0);
    struct pair k = pair_random(r, dt, 3, SHAPE(HEADS, KEYS, DIM), 0, 0);
    struct pair v = pair_random(r, dt, 3, SHAPE(HEADS, KEYS, DIM), 0, 0);
    struct pair o = pair_make(r, dt, 3, SHAPE(QUERIES, HEADS, DIM), 0, 0);
    struct attn_queries hq = {q.host, o.host, NULL}, dq = {q.dev, o.dev, NULL};
    struct attn_keys hk = {k.host, v.host, KEYS}, dk = {k.dev, v.dev, KEYS};
    struct op_attention host = {.queries = &hq,
                                .n_queries = 1,
                                .keys = &hk,
                                .n_keys = 1,
                                .scale = 1.0f / sqrtf((float)DIM)};
    struct op_attention dev = host;

    dev.queries = &dq;
    dev.keys = &dk;
    BOTH(r, attention, &host, &dev);
    table_compare(r,
                  dt == DT_F32 ? "attention of 384 wide heads"
                               : "attention of 384 wide heads, bf16",
                  &o, dt == DT_F32 ? TOL_OP_F32 : TOL_ATTENTION_BF16);
    pairs_clear(r);
}

/* ---- speed --------------------------------------------------------------------- */

static struct tensor on_device(struct rig *r, enum dtype dt, int rank,
                               const int64_t *shape)
{
    struct tensor t = tensor_make(NULL, dt, r->space, rank, shape);
    struct op_normal a = {.out = &t, .std = 1.0f};
    struct err e = ERR_INIT;

    must(ops_mem_alloc(r->gpu, (size_t)tensor_count(&t) * dtype_bytes(dt), &t.data, &e),
         &e, "memory");
    must(ops_normal(r->gpu, r->gpu_q, &a, &e), &e, "normal");
    return t;
}

/* One step of a video of 544 x 960, and how long its convolution takes. */
static void conv_speed(struct rig *r, enum dtype dt, int64_t h, int64_t w, int64_t in,
                       int64_t out)
{
    enum { FRAMES = 4, TIMES = 5 };
    struct tensor x = on_device(r, dt, 4, SHAPE(FRAMES + 2, h, w, in));
    struct tensor k = on_device(r, dt, 5, SHAPE(out, 3, 3, 3, in));
    struct tensor y = on_device(r, dt, 4, SHAPE(FRAMES, h, w, out));
    struct op_conv a = {.y = &y,
                        .x = &x,
                        .weight = &k,
                        .pad_lo = {0, 1, 1},
                        .pad_hi = {0, 1, 1},
                        .stride = {1, 1, 1},
                        .upsample = 1};
    struct err e = ERR_INIT;
    double begin = 0.0, ms;

    for (int i = 0; i <= TIMES; i++) {
        if (i == 1) {
            rig_wait(r);
            begin = now_ms();
        }
        must(ops_conv(r->gpu, r->gpu_q, &a, &e), &e, "conv");
    }
    rig_wait(r);
    ms = (now_ms() - begin) / TIMES;
    printf("%sconv %s %lld of %lld at %lldx%lld: %.3f ms, %.1f TFLOP/s\n", prefix,
           dtype_name(dt), (long long)out, (long long)in, (long long)h, (long long)w,
           ms, 2e-9 * 27.0 * (double)in * (double)tensor_count(&y) / ms);
    ops_mem_free(r->gpu, x.data);
    ops_mem_free(r->gpu, k.data);
    ops_mem_free(r->gpu, y.data);
}

static void conv_all(struct rig *r)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        conv_one(r, &cases[i]);
    conv_in_place(r);
    conv_part(r, &cases[0], 4, 27);
    conv_part(r, &cases[1], 3, 12);
    conv_speed(r, DT_BF16, 544, 960, 96, 96);
    conv_speed(r, DT_BF16, 272, 480, 192, 192);
    conv_speed(r, DT_BF16, 68, 120, 384, 384);
    conv_speed(r, DT_BF16, 544, 960, 96, 3);
    conv_speed(r, DT_F32, 136, 240, 96, 96);
}

/* ---- few of them, for sanitizers ------------------------------------------------- */

/* Pictures for a tile of each width of outputs, near, doubled and apart; the last has
 * fewer channels than a tile takes. */
static void conv_small(struct rig *r)
{
    static const int some[] = {0, 1, 2, 5, 7, 9, 10, 11};

    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        conv_one(r, &cases[some[i]]);
}

static void rows_small(struct rig *r)
{
    norm_one(r, 96, ACT_SILU);
    norm_one(r, 192, ACT_NONE);
    norm_one(r, 384, ACT_SILU);
    attention_one(r, DT_F32);
    attention_one(r, DT_BF16);
}

static const struct small_part parts[] = {
    {"conv", OPS_BEST, conv_small},
    {"portable", OPS_PORTABLE, conv_small},
    {"rows", OPS_BEST, rows_small},
};

/* ---- all ------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static const int64_t cols[] = {8, 96, 192, 384, 512};
    struct rig r;
    int failed;

    if (argc > 1 && strcmp(argv[1], "--small") == 0)
        return small_main(parts, sizeof(parts) / sizeof(parts[0]), argv[2]);
    rig_open(&r, (size_t)256 << 20, OPS_BEST);
    conv_all(&r);
    for (int i = 0; i < 10; i++)
        norm_one(&r, cols[i / 2], i % 2 ? ACT_SILU : ACT_NONE);
    attention_one(&r, DT_F32);
    attention_one(&r, DT_BF16);
    rig_close(&r);
    prefix = "portable: ";
    rig_open(&r, (size_t)256 << 20, OPS_PORTABLE);
    conv_all(&r);
    rig_close(&r);
    failed = table_print();
    return failed ? 1 : 0;
}
