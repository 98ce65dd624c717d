/* parts.c - shapes and scales of the four kinds of parts */
#include "dist/parts.h"

enum {
    KEY_GROUP = 4,     /* tokens of k that share a scale */
    VALUE_GROUP = 128, /* tokens of v that share a scale of a channel */
};

static int64_t groups_of(int64_t n, int64_t group)
{
    return (n + group - 1) / group;
}

size_t part_round(size_t bytes)
{
    return (bytes + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

static struct tensor shape3(const struct part_formats *f, enum dtype dt, int64_t n,
                            int64_t rows, int64_t cols)
{
    return tensor_make3(NULL, dt, f->space, n, rows, cols);
}

/* Tensors without memory; *n_scales floats belong to them. */

static struct tensor make_q(const struct part_formats *f, int64_t heads, int64_t tokens,
                            int64_t *n_scales)
{
    struct tensor t = shape3(f, f->qk, heads, tokens, f->head_dim);

    if (t.dtype != DT_I8)
        return t;
    *n_scales = heads * tokens;
    t.scales = (struct scales){
        .kind = SCALE_ROW, .rows = 1, .cols = f->head_dim, .stride = {tokens, 1}};
    return t;
}

static struct tensor make_k(const struct part_formats *f, int64_t heads, int64_t tokens,
                            int64_t *n_scales)
{
    struct tensor t = shape3(f, f->qk, heads, tokens, f->head_dim);
    int64_t n = groups_of(tokens, KEY_GROUP);

    if (t.dtype != DT_I8)
        return t;
    *n_scales = heads * n;
    t.scales = (struct scales){
        .kind = SCALE_GROUP, .rows = KEY_GROUP, .cols = f->head_dim, .stride = {n, 1}};
    return t;
}

static struct tensor make_v(const struct part_formats *f, int64_t heads, int64_t tokens,
                            int64_t *n_scales)
{
    int64_t n = groups_of(tokens, VALUE_GROUP);
    struct tensor t;

    if (f->v != DT_E4M3)
        return shape3(f, f->v, heads, tokens, f->head_dim);
    t = shape3(f, DT_E4M3, heads, f->head_dim, n * VALUE_GROUP);
    *n_scales = heads * f->head_dim * n;
    t.scales = (struct scales){.kind = SCALE_GROUP,
                               .rows = 1,
                               .cols = VALUE_GROUP,
                               .stride = {f->head_dim * n, n}};
    return t;
}

static struct tensor make_o(const struct part_formats *f, int64_t heads, int64_t tokens,
                            int64_t *n_scales)
{
    struct tensor t = shape3(f, f->o, tokens, heads, f->head_dim);

    if (t.dtype != DT_E4M3)
        return t;
    *n_scales = tokens * heads;
    t.scales = (struct scales){.kind = SCALE_ROW, .stride = {heads, 0}};
    return t;
}

static struct tensor (*const make[PART_KINDS])(const struct part_formats *, int64_t,
                                               int64_t, int64_t *) = {
    [PART_Q] = make_q,
    [PART_K] = make_k,
    [PART_V] = make_v,
    [PART_O] = make_o,
};

struct part part_lay(const struct part_formats *f, enum part_kind kind, int64_t heads,
                     int64_t tokens, void *base)
{
    int64_t n_scales = 0;
    struct part p = {.t = make[kind](f, heads, tokens, &n_scales)};
    size_t codes = (size_t)tensor_count(&p.t) * dtype_bytes(p.t.dtype);

    p.t.data = base;
    p.message = (struct comm_piece){base, codes};
    if (n_scales == 0)
        return p;
    codes = part_round(codes);
    p.message.bytes = codes + (size_t)n_scales * sizeof(float);
    if (base)
        p.t.scales.data = (float *)((char *)base + codes);
    return p;
}

struct part part_cut(const struct part_formats *f, enum part_kind kind, int64_t heads,
                     int64_t tokens, struct arena *a)
{
    struct part p = part_lay(f, kind, heads, tokens, NULL);

    return part_lay(f, kind, heads, tokens, arena_cut(a, p.message.bytes));
}
