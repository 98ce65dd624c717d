/* buffers.c - cuts the memory of a forward pass */
#include "engine/dit/inside.h"

static struct tensor cut2(const struct dit_dims *n, struct arena *a, enum dtype dt,
                          int64_t rows, int64_t cols)
{
    return operand_cut(a, dt, n->space, rows, cols);
}

static struct tensor cut3(const struct dit_dims *n, struct arena *a, enum dtype dt,
                          int64_t s0, int64_t s1, int64_t s2)
{
    return tensor_cut(a, dt, n->space, 3, (int64_t[]){s0, s1, s2});
}

static void rope_cut(const struct dit_dims *n, struct arena *a, struct rope *r)
{
    int64_t pairs[ROPE_AXES];

    rope_split(n->config->dim / n->config->heads, pairs);
    r->f = cut3(n, a, DT_F32, n->frames, pairs[ROPE_F], 2);
    r->h = cut3(n, a, DT_F32, n->grid_h, pairs[ROPE_H], 2);
    r->w = cut3(n, a, DT_F32, n->grid_w, pairs[ROPE_W], 2);
    r->grid_h = n->grid_h;
    r->grid_w = n->grid_w;
}

/* Cut what is missing up to `end`. */
static void reach(struct arena *a, size_t end)
{
    if (arena_mark(a) < end)
        arena_cut(a, end - arena_mark(a));
}

/* Codes lie elsewhere already. */
static void scales_cut(const struct dit_dims *n, struct arena *a, struct tensor *t)
{
    if (dtype_bytes(t->dtype) != 1)
        return;
    t->scales.kind = SCALE_ROW;
    t->scales.data = arena_cut(a, (size_t)n->tokens * sizeof(float));
}

static void operands_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                         struct dit_buffers *b)
{
    const int64_t shape[2] = {n->tokens, n->config->dim};
    size_t mark = arena_mark(a), end;

    b->u = tensor_cut(a, n->precision->operand, n->space, 2, shape);
    b->a = b->u;
    end = arena_mark(a);
    arena_reset(a, mark);
    seqpar_cut_queries(sp, a);
    reach(a, end);
    scales_cut(n, a, &b->u);
    scales_cut(n, a, &b->a);
}

static void kept_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                     struct dit_buffers *b)
{
    int64_t d = n->config->dim;

    b->x = cut2(n, a, DT_F32, n->tokens, d);
    operands_cut(n, sp, a, b);
    b->e = cut2(n, a, DT_F32, n->frames, d);
    b->e0 = cut2(n, a, DT_F32, n->frames, 6 * d);
    b->table[0] = cut2(n, a, DT_F32, n->frames, 6 * d);
    b->table[1] = cut2(n, a, DT_F32, n->frames, 6 * d);
    if (n->config->has_fps)
        b->time_bias = cut2(n, a, DT_F32, 1, 6 * d);
    rope_cut(n, a, &b->rope);
    seqpar_cut_kept(sp, a);
}

static void time_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                     struct dit_buffers *b)
{
    (void)sp;
    b->sinus = cut2(n, a, DT_F32, n->frames, n->config->freq_dim);
    b->time1 = cut2(n, a, DT_F32, n->frames, n->config->dim);
    b->time2 = cut2(n, a, DT_F32, n->frames, n->config->dim);
}

static void patch_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                      struct dit_buffers *b)
{
    (void)sp;
    b->patch = cut2(n, a, n->precision->real, n->tokens,
                    patch_columns(n->config->in_channels));
}

/* The raw product of every row; its end. */
static size_t product_cut(const struct dit_dims *n, struct arena *a,
                          struct dit_buffers *b)
{
    b->y = cut2(n, a, n->precision->real, n->tokens, n->config->dim);
    return arena_mark(a);
}

static void attend_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                       struct dit_buffers *b)
{
    size_t mark = arena_mark(a), end = product_cut(n, a, b);

    arena_reset(a, mark);
    seqpar_cut_results(sp, a);
    reach(a, end);
    seqpar_cut_keys(sp, a);
}

static void cross_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                      struct dit_buffers *b)
{
    int64_t heads = n->config->heads, head_dim = n->config->dim / heads;
    size_t mark = arena_mark(a), end = product_cut(n, a, b);

    (void)sp;
    arena_reset(a, mark);
    /* results of several contexts add up, which attention does in fp32 only */
    b->o = cut3(n, a, n->contexts > 1 ? DT_F32 : n->precision->real, n->tokens, heads,
                head_dim);
    reach(a, end);
    b->q = cut3(n, a, n->precision->real, heads, n->tokens, head_dim);
}

static void feed_cut_rows(const struct dit_dims *n, int64_t rows, struct arena *a,
                          struct dit_buffers *b)
{
    b->feed_y = cut2(n, a, n->precision->real, rows, n->config->dim);
    b->hidden = cut2(n, a, n->precision->real, rows, n->config->ffn_dim);
    b->act = cut2(n, a, n->precision->operand, rows, n->config->ffn_dim);
}

static size_t feed_bytes(const struct dit_dims *n, int64_t rows)
{
    struct dit_buffers unused;
    struct arena a;

    arena_init(&a, NULL, 0);
    feed_cut_rows(n, rows, &a, &unused);
    return a.peak;
}

/* As many rows as go into `room`. */
static int64_t feed_rows(const struct dit_dims *n, size_t room)
{
    int64_t rows = (int64_t)(room / feed_bytes(n, n->busy_tokens)) * n->busy_tokens;

    rows = rows > n->busy_tokens ? rows : n->busy_tokens;
    return rows < n->tokens ? rows : n->tokens;
}

static void feed_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                     struct dit_buffers *b)
{
    (void)sp;
    feed_cut_rows(n, b->feed_rows, a, b);
}

static void head_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                     struct dit_buffers *b)
{
    (void)sp;
    b->shift = cut2(n, a, DT_F32, n->frames, n->config->dim);
    b->scale = cut2(n, a, DT_F32, n->frames, n->config->dim);
    b->head = cut2(n, a, DT_F32, n->tokens, n->config->dim);
    b->outcome = cut2(n, a, DT_F32, n->tokens, patch_columns(n->config->out_channels));
}

static void (*const stages[STAGE_COUNT])(const struct dit_dims *, struct seqpar *,
                                         struct arena *, struct dit_buffers *) = {
    [STAGE_TIME] = time_cut,   [STAGE_PATCH] = patch_cut, [STAGE_ATTEND] = attend_cut,
    [STAGE_CROSS] = cross_cut, [STAGE_FEED] = feed_cut,   [STAGE_HEAD] = head_cut,
};

void buffers_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                 struct dit_buffers *b, size_t *kept_bytes,
                 size_t stage_bytes[STAGE_COUNT])
{
    size_t begin = arena_mark(a);
    size_t largest = 0;
    size_t mark, bytes;

    *b = (struct dit_buffers){0};
    kept_cut(n, sp, a, b);
    mark = arena_mark(a);
    if (kept_bytes)
        *kept_bytes = mark - begin;
    for (int i = 0; i < STAGE_COUNT; i++) {
        if (i == STAGE_FEED)
            b->feed_rows = feed_rows(n, largest);
        stages[i](n, sp, a, b);
        bytes = arena_mark(a) - mark;
        largest = bytes > largest ? bytes : largest;
        if (stage_bytes)
            stage_bytes[i] = bytes;
        arena_reset(a, mark);
    }
    arena_cut(a, largest);
}

struct dit_dims dims_of(const struct dit_config *config,
                        const struct dit_precision *precision,
                        const struct dit_shape *shape, const struct ops *ops)
{
    int64_t tokens = shape->frames * shape->grid_h * shape->grid_w;

    return (struct dit_dims){
        .config = config,
        .precision = precision,
        .space = ops_facts(ops)->space,
        .tokens = seqpar_tokens(&shape->group, ops, tokens).count,
        .busy_tokens = ops_facts(ops)->busy_tokens,
        .frames = shape->frames,
        .grid_h = shape->grid_h,
        .grid_w = shape->grid_w,
        .contexts = shape->contexts,
    };
}

struct seqpar_layout seqpar_layout_of(const struct dit_config *config,
                                      const struct dit_precision *precision,
                                      const struct dit_shape *shape)
{
    return (struct seqpar_layout){
        .group = shape->group,
        .tokens = shape->frames * shape->grid_h * shape->grid_w,
        .heads = config->heads,
        .head_dim = config->dim / config->heads,
        .formats = precision->attention,
    };
}
