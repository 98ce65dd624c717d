/* forward.c - the blocks of the transformer, one phase at a time
 *
 * The norm before a product is worked out by the op that adds the residual before it,
 * so the stream x is read and written once per sub-layer. Raw products keep their
 * scales and bias pending for the op that reads them.
 */
#include "engine/dit/forward.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "engine/dit/inside.h"

struct dit_forward {
    const struct dit *m;
    struct dit_dims dims;
    struct span tokens;
    struct seqpar *sp;
    struct dit_buffers b;
    struct dit_input in;
    struct time_path time;
    int64_t block;
    int phase;
};

/* ---- making --------------------------------------------------------------------- */

static enum status put_rope(struct dit_forward *fw, struct queue *q, struct tensor *to,
                            struct err *e)
{
    struct tensor host = *to;
    enum status st;

    host.space = MEM_HOST;
    host.data = malloc((size_t)tensor_count(to) * sizeof(float));
    if (!host.data)
        return err_set(e, ST_RESOURCE, "out of host memory for rope tables");
    rope_fill(host.data, to->shape[0], to->shape[1]);
    TRY_GOTO(st, ops_copy(fw->m->ops, q, to, &host, e), out_free);
    st = ops_queue_wait(fw->m->ops, q, e);

out_free:
    free(host.data);
    return st;
}

static enum status put_constants(struct dit_forward *fw, struct queue *q, int fps,
                                 struct err *e)
{
    TRY(put_rope(fw, q, &fw->b.rope.f, e));
    TRY(put_rope(fw, q, &fw->b.rope.h, e));
    TRY(put_rope(fw, q, &fw->b.rope.w, e));
    TRY(seqpar_start(fw->sp, q, e));
    if (fw->m->config.has_fps)
        TRY(time_fps(fw->m, q, &fw->b, fps, e));
    return ops_queue_wait(fw->m->ops, q, e);
}

enum status dit_forward_create(const struct dit *m, const struct dit_shape *shape,
                               struct arena *a, struct queue *q,
                               struct dit_forward **out, struct err *e)
{
    struct seqpar_layout layout = seqpar_layout_of(&m->config, &m->precision, shape);
    struct dit_forward *fw = calloc(1, sizeof(*fw));
    size_t mark = arena_mark(a);
    enum status st;

    if (!fw)
        return err_set(e, ST_RESOURCE, "out of host memory for a forward pass");
    fw->m = m;
    fw->dims = dims_of(&m->config, &m->precision, shape, m->ops);
    fw->tokens = seqpar_tokens(&shape->group, m->ops, layout.tokens);
    fw->block = m->config.layers;
    TRY_GOTO(st, seqpar_create(&layout, m->ops, &fw->sp, e), err_destroy);
    buffers_cut(&fw->dims, fw->sp, a, &fw->b, NULL, NULL);
    TRY_GOTO(st, put_constants(fw, q, shape->fps, e), err_destroy);
    *out = fw;
    return ST_OK;

err_destroy:
    arena_reset(a, mark);
    dit_forward_destroy(fw);
    return st;
}

void dit_forward_destroy(struct dit_forward *fw)
{
    if (!fw)
        return;
    seqpar_destroy(fw->sp);
    free(fw);
}

struct span dit_forward_tokens(const struct dit_forward *fw)
{
    return fw->tokens;
}

/* ---- shared steps --------------------------------------------------------------- */

/* Layer norm, then shift and scale per frame (NULL: none). */
static struct norm norm_of(const struct dit_forward *fw, const struct tensor *shift,
                           const struct tensor *scale)
{
    return (struct norm){
        .kind = NORM_LAYER,
        .eps = fw->m->config.eps,
        .shift = shift,
        .scale = scale,
        .first_token = fw->tokens.begin,
        .tokens_per_frame = fw->dims.grid_h * fw->dims.grid_w,
    };
}

/* The norm before self attention of block i. */
static struct norm self_norm(const struct dit_forward *fw, int64_t i)
{
    const struct tensor *part = fw->time.part[i % 2];

    return norm_of(fw, &part[PART_SHIFT], &part[PART_SCALE]);
}

/* x += gate * (operand w^T + b), then u = norm(x) when `norm` is not NULL, for the rows
 * from `first` on that `operand` has. */
static enum status add_product(struct dit_forward *fw, struct queue *q, int64_t first,
                               const struct tensor *operand, const struct dit_linear *l,
                               const struct tensor *gate, const struct norm *norm,
                               struct err *e)
{
    int64_t rows = operand->shape[0];
    struct tensor x = tensor_slice(&fw->b.x, 0, first, rows);
    struct tensor u = tensor_slice(&fw->b.u, 0, first, rows);
    struct tensor y = tensor_slice(&fw->b.y, 0, 0, rows);
    struct op_residual a = {.x = &x, .y = &y, .gate = gate};

    a.out = norm ? &u : NULL;
    a.norm = norm ? *norm : norm_of(fw, NULL, NULL);
    a.norm.first_token += first;
    TRY(dit_product(fw->m, q, &y, operand, l, true, e));
    return ops_residual(fw->m->ops, q, &a, e);
}

/* ---- phases of a block ---------------------------------------------------------- */

static enum status phase_put(struct dit_forward *fw, struct queue *q, struct err *e)
{
    const struct dit_attention *self = &fw->m->blocks[fw->block].self;
    struct seqpar_norm norm = {NULL, &fw->b.rope, fw->m->config.eps};
    struct tensor y = fw->b.y;

    TRY(dit_product(fw->m, q, &y, &fw->b.u, &self->v, true, e));
    TRY(seqpar_put_v(fw->sp, q, &y, e));
    y = fw->b.y;
    TRY(dit_product(fw->m, q, &y, &fw->b.u, &self->k, true, e));
    norm.weight = &self->norm_k;
    TRY(seqpar_put_k(fw->sp, q, &y, &norm, e));
    y = fw->b.y;
    TRY(dit_product(fw->m, q, &y, &fw->b.u, &self->q, true, e));
    norm.weight = &self->norm_q;
    return seqpar_put_q(fw->sp, q, &y, &norm, e);
}

static enum status phase_attend(struct dit_forward *fw, struct queue *q, struct err *e)
{
    return seqpar_attend(fw->sp, q, e);
}

static enum status phase_close(struct dit_forward *fw, struct queue *q, struct err *e)
{
    const struct dit_block *block = &fw->m->blocks[fw->block];
    const struct tensor *part = fw->time.part[fw->block % 2];
    struct norm norm = norm_of(fw, NULL, NULL);

    norm.weight = &block->norm3_w;
    norm.bias = &block->norm3_b;
    TRY(seqpar_get_o(fw->sp, q, &fw->b.a, e));
    return add_product(fw, q, 0, &fw->b.a, &block->self.o, &part[PART_GATE], &norm, e);
}

static enum status cross_queries(struct dit_forward *fw, struct queue *q, struct err *e)
{
    const struct dit_attention *cross = &fw->m->blocks[fw->block].cross;
    struct head_part part = {0, (int)fw->m->config.heads, fw->b.q};
    struct tensor y = fw->b.y;
    struct op_heads a = {
        .parts = &part,
        .n_parts = 1,
        .y = &y,
        .weight = &cross->norm_q,
        .eps = fw->m->config.eps,
        .head_dim = (int)fw->b.q.shape[2],
        .first_token = fw->tokens.begin,
    };

    TRY(dit_product(fw->m, q, &y, &fw->b.u, &cross->q, true, e));
    return ops_heads(fw->m->ops, q, &a, e);
}

/* One softmax per context; their results add up. */
static enum status cross_attend(struct dit_forward *fw, struct queue *q, struct err *e)
{
    struct attn_queries queries = {.q = fw->b.q, .o = fw->b.o};
    struct attn_keys keys;
    struct op_attention a = {
        .queries = &queries,
        .n_queries = 1,
        .keys = &keys,
        .n_keys = 1,
        .scale = 1.0f / sqrtf((float)fw->b.q.shape[2]),
    };

    for (int i = 0; i < fw->dims.contexts; i++) {
        const struct dit_context *c = fw->in.context[i];

        keys = (struct attn_keys){c->k[fw->block], c->v[fw->block], c->rows};
        a.key_bias = &c->key_bias;
        a.add = i > 0;
        TRY(ops_attention(fw->m->ops, q, &a, e));
    }
    return ST_OK;
}

static enum status phase_cross(struct dit_forward *fw, struct queue *q, struct err *e)
{
    const struct tensor *part = fw->time.part[fw->block % 2];
    struct head_part o = {0, (int)fw->m->config.heads, fw->b.o};
    struct op_gather gather = {.out = &fw->b.a, .parts = &o, .n_parts = 1};
    struct norm norm = norm_of(fw, &part[PART_SHIFT2], &part[PART_SCALE2]);

    TRY(cross_queries(fw, q, e));
    TRY(cross_attend(fw, q, e));
    TRY(ops_gather(fw->m->ops, q, &gather, e));
    return add_product(fw, q, 0, &fw->b.a, &fw->m->blocks[fw->block].cross.o, NULL,
                       &norm, e);
}

/* The feed-forward of `n` rows. */
static enum status feed_rows(struct dit_forward *fw, struct queue *q, int64_t first,
                             int64_t n, const struct norm *norm, struct err *e)
{
    const struct dit_block *block = &fw->m->blocks[fw->block];
    const struct tensor *gate = &fw->time.part[fw->block % 2][PART_GATE2];
    struct tensor u = tensor_slice(&fw->b.u, 0, first, n);
    struct tensor hidden = tensor_slice(&fw->b.hidden, 0, 0, n);
    struct tensor act = tensor_slice(&fw->b.act, 0, 0, n);

    TRY(dit_product(fw->m, q, &hidden, &u, &block->ffn_in, true, e));
    TRY(dit_act(fw->m, q, &act, &hidden, NULL, ACT_GELU_TANH, e));
    return add_product(fw, q, first, &act, &block->ffn_out, gate, norm, e);
}

static enum status phase_feed(struct dit_forward *fw, struct queue *q, struct err *e)
{
    int64_t rows = fw->tokens.count, most = fw->b.feed_rows;
    bool last = fw->block + 1 == fw->m->config.layers;
    struct norm norm = norm_of(fw, NULL, NULL);

    if (!last) {
        TRY(time_table(fw->m, q, &fw->time, fw->block + 1, e));
        norm = self_norm(fw, fw->block + 1);
    }
    for (int64_t i = 0; i < rows; i += most)
        TRY(feed_rows(fw, q, i, rows - i < most ? rows - i : most, last ? NULL : &norm,
                      e));
    return ST_OK;
}

static enum status (*const phases[])(struct dit_forward *, struct queue *,
                                     struct err *) = {
    phase_put, phase_attend, phase_close, phase_cross, phase_feed,
};

enum { PHASES = sizeof(phases) / sizeof(phases[0]) };

/* ---- the pass ------------------------------------------------------------------- */

/* The channel groups side by side, times the patch embedding. */
static enum status embed_patches(struct dit_forward *fw, struct queue *q, struct err *e)
{
    int64_t column = 0;

    for (int i = 0; i < fw->in.n_latent; i++) {
        const struct tensor *from = fw->in.latent[i];
        struct tensor to = tensor_slice(&fw->b.patch, 1, column, from->shape[1]);
        struct op_convert a = {.dst = &to, .src = from};

        assert(from->shape[0] == fw->tokens.count);
        TRY(ops_convert(fw->m->ops, q, &a, e));
        column += from->shape[1];
    }
    assert(column == fw->b.patch.shape[1]);
    return dit_product(fw->m, q, &fw->b.x, &fw->b.patch, &fw->m->patch, false, e);
}

/* What the put of the block at hand reads, of a stream that no block has left. */
static enum status first_norm(struct dit_forward *fw, struct queue *q, struct err *e)
{
    struct op_norm a = {
        .out = &fw->b.u, .x = &fw->b.x, .norm = self_norm(fw, fw->block)};

    return ops_norm(fw->m->ops, q, &a, e);
}

enum status dit_forward_begin(struct dit_forward *fw, struct queue *q,
                              const struct dit_input *in, struct err *e)
{
    assert(in->t->shape[0] == 1 || in->t->shape[0] == fw->dims.frames);
    fw->in = *in;
    fw->block = 0;
    fw->phase = 0;
    time_views(&fw->b, in->t->shape[0], &fw->time);
    TRY(time_embed(fw->m, q, &fw->b, &fw->time, in->t, e));
    TRY(time_table(fw->m, q, &fw->time, 0, e));
    TRY(embed_patches(fw, q, e));
    return first_norm(fw, q, e);
}

int64_t dit_forward_left(const struct dit_forward *fw)
{
    return (fw->m->config.layers - fw->block) * PHASES - fw->phase;
}

enum status dit_forward_step(struct dit_forward *fw, struct queue *q, struct err *e)
{
    enum status st;

    assert(dit_forward_left(fw) > 0);
    if (fw->phase == 0)
        TRY(weights_borrow_block(fw->m->weights, fw->block, e));
    st = phases[fw->phase](fw, q, e);
    if (st != ST_OK || fw->phase + 1 == PHASES)
        weights_return_block(fw->m->weights, fw->block);
    TRY(st);
    fw->phase++;
    if (fw->phase == PHASES) {
        fw->phase = 0;
        fw->block++;
    }
    return ST_OK;
}

const struct tensor *dit_forward_stream(const struct dit_forward *fw)
{
    return &fw->b.x;
}

enum status dit_forward_set_stream(struct dit_forward *fw, struct queue *q,
                                   const struct tensor *x, struct err *e)
{
    assert(fw->phase == 0);
    TRY(ops_copy(fw->m->ops, q, &fw->b.x, x, e));
    return dit_forward_left(fw) > 0 ? first_norm(fw, q, e) : ST_OK;
}

enum status dit_forward_end(struct dit_forward *fw, struct queue *q,
                            struct tensor *velocity, struct err *e)
{
    struct tensor shift = tensor_slice(&fw->b.shift, 0, 0, fw->time.rows);
    struct tensor scale = tensor_slice(&fw->b.scale, 0, 0, fw->time.rows);
    struct op_norm norm = {
        .out = &fw->b.head, .x = &fw->b.x, .norm = norm_of(fw, &shift, &scale)};
    struct op_unpatch unpatch = {.out = velocity, .x = &fw->b.outcome};

    assert(dit_forward_left(fw) == 0);
    TRY(time_head(fw->m, q, &fw->time, &shift, &scale, e));
    TRY(ops_norm(fw->m->ops, q, &norm, e));
    TRY(dit_product(fw->m, q, &fw->b.outcome, &fw->b.head, &fw->m->head, false, e));
    return ops_unpatch(fw->m->ops, q, &unpatch, e);
}

enum status dit_forward_run(struct dit_forward *fw, struct queue *q,
                            const struct dit_input *in, struct tensor *velocity,
                            struct err *e)
{
    TRY(dit_forward_begin(fw, q, in, e));
    while (dit_forward_left(fw) > 0)
        TRY(dit_forward_step(fw, q, e));
    return dit_forward_end(fw, q, velocity, e);
}
