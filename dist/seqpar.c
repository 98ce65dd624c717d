/* seqpar.c - attention inputs per rank, filled by scatter and read back by gather
 *
 * Inputs and results of attention, one entry per rank r of the group whose tokens they
 * are (n_r of them), all for the own heads h:
 *
 *     q, k   [h, n_r, head_dim]
 *     v      [h, n_r, head_dim], or e4m3 [h, head_dim, n_r rounded up to 128]
 *     o      [n_r, h, head_dim]
 *
 * A destination's part of q, k and v has the same shape with its heads and the own
 * tokens. The part for the own rank is the entry of the own rank; the parts for others
 * are what an exchange sends, and the entries of others are what it receives: the ends
 * of put_v, put_k, put_q and attend are where a transport starts to move them, the
 * beginnings of attend and get_o where it must have arrived.
 */
#include "dist/seqpar.h"

#include <math.h>
#include <stdlib.h>

enum {
    KEY_MEAN_EVERY = 16, /* tokens that make the mean of k: divides every granule */
    KEY_GROUP = 4,       /* tokens of k that share a scale */
    VALUE_GROUP = 128,   /* tokens of v that share a scale of a channel */
};

struct seqpar {
    struct seqpar_layout layout;
    struct ops *ops;
    struct span tokens; /* own */
    struct span heads;  /* own */

    struct tensor key_sum; /* i64 [heads*head_dim + 1]: sums, then the count */
    struct tensor zero;    /* i64, the same length */

    struct head_part *q_to, *k_to, *v_to; /* per destination: own tokens */
    struct head_part *o_from;             /* per head owner: own tokens */
    struct attn_queries *queries;         /* per source: own heads */
    struct attn_keys *keys;
};

static bool formats_valid(const struct seqpar_formats *f)
{
    bool wide = f->qk == DT_F32 || f->qk == DT_BF16;
    bool o = f->o == DT_F32 || f->o == DT_BF16 || f->o == DT_E4M3;

    return o && ((wide && f->v == f->qk) || (f->qk == DT_I8 && f->v == DT_E4M3));
}

struct span seqpar_tokens(const struct seqpar_group *group, const struct ops *ops,
                          int64_t tokens)
{
    return shard_tokens(tokens, ops_facts(ops)->granule_tokens, group->size,
                        group->rank);
}

struct span seqpar_heads(const struct seqpar_group *group, int64_t heads)
{
    return shard_heads(heads, group->size, group->rank);
}

enum status seqpar_create(const struct seqpar_layout *layout, struct ops *ops,
                          struct seqpar **out, struct err *e)
{
    size_t n = (size_t)layout->group.size;
    struct seqpar *sp;

    if (!formats_valid(&layout->formats))
        return err_set(e, ST_USAGE, "cannot attend with %s keys, %s values to %s",
                       dtype_name(layout->formats.qk), dtype_name(layout->formats.v),
                       dtype_name(layout->formats.o));
    if (n != 1)
        return err_set(e, ST_UNBUILT,
                       "cannot share a sequence among %d ranks: not built yet",
                       layout->group.size);
    sp = calloc(1, sizeof(*sp));
    if (!sp)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    sp->layout = *layout;
    sp->ops = ops;
    sp->tokens = seqpar_tokens(&layout->group, ops, layout->tokens);
    sp->heads = seqpar_heads(&layout->group, layout->heads);
    sp->q_to = calloc(n, sizeof(*sp->q_to));
    sp->k_to = calloc(n, sizeof(*sp->k_to));
    sp->v_to = calloc(n, sizeof(*sp->v_to));
    sp->o_from = calloc(n, sizeof(*sp->o_from));
    sp->queries = calloc(n, sizeof(*sp->queries));
    sp->keys = calloc(n, sizeof(*sp->keys));
    if (!sp->q_to || !sp->k_to || !sp->v_to || !sp->o_from || !sp->queries ||
        !sp->keys) {
        seqpar_destroy(sp);
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    }
    *out = sp;
    return ST_OK;
}

void seqpar_destroy(struct seqpar *sp)
{
    if (!sp)
        return;
    free(sp->q_to);
    free(sp->k_to);
    free(sp->v_to);
    free(sp->o_from);
    free(sp->queries);
    free(sp->keys);
    free(sp);
}

static int64_t groups_of(int64_t n, int64_t group)
{
    return (n + group - 1) / group;
}

static enum mem_space space_of(const struct seqpar *sp)
{
    return ops_facts(sp->ops)->space;
}

static int64_t width_of(const struct seqpar *sp)
{
    return sp->layout.heads * sp->layout.head_dim;
}

static struct tensor cut3(const struct seqpar *sp, struct arena *a, enum dtype dt,
                          int64_t n, int64_t rows, int64_t cols)
{
    return tensor_cut(a, dt, space_of(sp), 3, (int64_t[]){n, rows, cols});
}

static float *cut_floats(struct arena *a, int64_t n)
{
    return arena_cut(a, (size_t)n * sizeof(float));
}

/* q or k [heads, tokens, head_dim], `group` tokens to a scale. */
static struct tensor cut_qk(const struct seqpar *sp, struct arena *a, int64_t heads,
                            int64_t tokens, int group)
{
    struct tensor t = cut3(sp, a, sp->layout.formats.qk, heads, tokens,
                           sp->layout.head_dim);
    int64_t n = groups_of(tokens, group);

    if (t.dtype == DT_I8)
        t.scales = (struct scales){
            .kind = group == 1 ? SCALE_ROW : SCALE_GROUP,
            .data = cut_floats(a, heads * n),
            .rows = group,
            .cols = sp->layout.head_dim,
            .stride = {n, 1},
        };
    return t;
}

static struct tensor cut_v(const struct seqpar *sp, struct arena *a, int64_t heads,
                           int64_t tokens)
{
    int64_t dim = sp->layout.head_dim;
    int64_t n = groups_of(tokens, VALUE_GROUP);
    struct tensor t;

    if (sp->layout.formats.v != DT_E4M3)
        return cut3(sp, a, sp->layout.formats.v, heads, tokens, dim);
    t = cut3(sp, a, DT_E4M3, heads, dim, n * VALUE_GROUP);
    t.scales = (struct scales){
        .kind = SCALE_GROUP,
        .data = cut_floats(a, heads * dim * n),
        .rows = 1,
        .cols = VALUE_GROUP,
        .stride = {dim * n, n},
    };
    return t;
}

static struct tensor cut_o(const struct seqpar *sp, struct arena *a, int64_t tokens,
                           int64_t heads)
{
    struct tensor t = cut3(sp, a, sp->layout.formats.o, tokens, heads,
                           sp->layout.head_dim);

    if (t.dtype == DT_E4M3)
        t.scales = (struct scales){.kind = SCALE_ROW,
                                   .data = cut_floats(a, tokens * heads),
                                   .stride = {heads, 0}};
    return t;
}

/* The part that stays on this rank is its own attention input and result. */
static void keep_own_part(struct seqpar *sp, int r)
{
    struct head_part part = {(int)sp->heads.begin, (int)sp->heads.count, {0}};

    part.t = sp->queries[r].q;
    sp->q_to[r] = part;
    part.t = sp->keys[r].k;
    sp->k_to[r] = part;
    part.t = sp->keys[r].v;
    sp->v_to[r] = part;
    part.t = sp->queries[r].o;
    sp->o_from[r] = part;
}

void seqpar_cut(struct seqpar *sp, struct arena *a)
{
    const struct seqpar_group *g = &sp->layout.group;
    int64_t heads = sp->heads.count;
    struct span t;

    for (int r = 0; r < g->size; r++) {
        t = shard_tokens(sp->layout.tokens, ops_facts(sp->ops)->granule_tokens, g->size,
                         r);
        sp->queries[r].q = cut_qk(sp, a, heads, t.count, 1);
        sp->keys[r].k = cut_qk(sp, a, heads, t.count, KEY_GROUP);
        sp->keys[r].v = cut_v(sp, a, heads, t.count);
        sp->keys[r].n = t.count;
        sp->queries[r].o = cut_o(sp, a, t.count, heads);
    }
    keep_own_part(sp, g->rank);
}

void seqpar_cut_kept(struct seqpar *sp, struct arena *a)
{
    int64_t n = width_of(sp) + 1;

    if (sp->layout.formats.qk != DT_I8)
        return;
    sp->key_sum = tensor_cut(a, DT_I64, space_of(sp), 1, &n);
    sp->zero = tensor_cut(a, DT_I64, space_of(sp), 1, &n);
}

static struct op_attention attention_of(const struct seqpar *sp)
{
    return (struct op_attention){
        .queries = sp->queries,
        .n_queries = sp->layout.group.size,
        .keys = sp->keys,
        .n_keys = sp->layout.group.size,
        .scale = 1.0f / sqrtf((float)sp->layout.head_dim),
    };
}

size_t seqpar_workspace(const struct seqpar *sp)
{
    struct op_attention a = attention_of(sp);

    return ops_attention_workspace(sp->ops, &a);
}

enum status seqpar_start(struct seqpar *sp, struct queue *q, struct err *e)
{
    int64_t n = width_of(sp) + 1;
    struct tensor host;
    enum status st;

    if (sp->layout.formats.qk != DT_I8)
        return ST_OK;
    host = tensor_make1(calloc((size_t)n, sizeof(int64_t)), DT_I64, MEM_HOST, n);
    if (!host.data)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    TRY_GOTO(st, ops_copy(sp->ops, q, &sp->zero, &host, e), out_free);
    st = ops_queue_wait(sp->ops, q, e);

out_free:
    free(host.data);
    return st;
}

enum status seqpar_put_v(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         struct err *e)
{
    struct op_values a = {
        .parts = sp->v_to,
        .n_parts = sp->layout.group.size,
        .y = rows,
        .head_dim = (int)sp->layout.head_dim,
    };

    return ops_values(sp->ops, q, &a, e);
}

static struct op_heads heads_of(const struct seqpar *sp, const struct head_part *parts,
                                const struct tensor *rows,
                                const struct seqpar_norm *norm)
{
    return (struct op_heads){
        .parts = parts,
        .n_parts = sp->layout.group.size,
        .y = rows,
        .weight = norm->weight,
        .rope = norm->rope,
        .eps = norm->eps,
        .head_dim = (int)sp->layout.head_dim,
        .first_token = sp->tokens.begin,
    };
}

/* Sums of k over the token subset, for the mean that is taken off. */
static enum status key_sum(struct seqpar *sp, struct queue *q, const struct op_heads *k,
                           struct tensor *acc, struct tensor *count, struct err *e)
{
    struct op_key_sum a = {
        .y = k->y,
        .weight = k->weight,
        .rope = k->rope,
        .eps = k->eps,
        .head_dim = k->head_dim,
        .first_token = k->first_token,
        .every = KEY_MEAN_EVERY,
    };

    *acc = tensor_slice(&sp->key_sum, 0, 0, width_of(sp));
    *count = tensor_slice(&sp->key_sum, 0, width_of(sp), 1);
    a.acc = acc;
    a.count = count;
    TRY(ops_copy(sp->ops, q, &sp->key_sum, &sp->zero, e));
    return ops_key_sum(sp->ops, q, &a, e);
}

enum status seqpar_put_k(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         const struct seqpar_norm *norm, struct err *e)
{
    struct op_heads a = heads_of(sp, sp->k_to, rows, norm);
    struct tensor acc, count;

    if (sp->layout.formats.qk == DT_I8) {
        TRY(key_sum(sp, q, &a, &acc, &count, e));
        a.mean_acc = &acc;
        a.mean_count = &count;
    }
    return ops_heads(sp->ops, q, &a, e);
}

enum status seqpar_put_q(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         const struct seqpar_norm *norm, struct err *e)
{
    struct op_heads a = heads_of(sp, sp->q_to, rows, norm);

    return ops_heads(sp->ops, q, &a, e);
}

enum status seqpar_attend(struct seqpar *sp, struct queue *q, struct err *e)
{
    struct op_attention a = attention_of(sp);

    return ops_attention(sp->ops, q, &a, e);
}

enum status seqpar_get_o(struct seqpar *sp, struct queue *q, struct tensor *rows,
                         struct err *e)
{
    struct op_gather a = {
        .out = rows,
        .parts = sp->o_from,
        .n_parts = sp->layout.group.size,
    };

    return ops_gather(sp->ops, q, &a, e);
}
