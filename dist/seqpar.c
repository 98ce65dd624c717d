/* seqpar.c - puts scatter and send, attention runs on what arrived, results go back
 *
 * An exchange of one kind of parts has two sides, and a part of the own tokens for the
 * own heads, which is the same memory on both:
 *
 *     token side   per head owner p: heads of p, own tokens
 *     head side    per token owner r: own heads, tokens of r
 *
 * q, k and v go from the token side to the head side, results go back. The head side
 * lies in the ring (ring.h), where attention reads and writes it.
 */
#include "dist/seqpar.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dist/ring.h"

enum {
    KEY_MEAN_EVERY = 16
}; /* tokens that make the mean of k: divides every granule */

struct swap {
    struct head_part *parts; /* token side */
    struct comm_piece *token_side, *head_side;
    struct comm_flight **flight; /* [flights_of(kind)] */
};

struct seqpar {
    struct seqpar_layout layout;
    struct part_formats formats;
    struct ops *ops;
    struct span tokens; /* own */
    int head_owners;    /* ranks that have heads: the first ones */
    struct ring *ring;
    struct swap swap[PART_KINDS];
    struct comm_piece *sent, *received; /* [ulysses], of one stage */

    struct tensor key_sum;      /* i64 [heads*head_dim + 1]: sums, then the count */
    struct tensor zero;         /* i64, the same length */
    struct comm_flight *adding; /* of key_sum; NULL: one rank */
};

/* ---- groups --------------------------------------------------------------------- */

static int size_of(const struct seqpar_group *g)
{
    return g->ulysses * g->ring;
}

struct seqpar_group seqpar_group_of(const struct mesh_comms *comms)
{
    return (struct seqpar_group){comms->mesh.ulysses, comms->mesh.ring,
                                 comms->place.sequence, comms};
}

struct seqpar_group seqpar_group_planned(const struct mesh *mesh, int rank)
{
    return (struct seqpar_group){mesh->ulysses, mesh->ring,
                                 mesh_place_of(mesh, rank).sequence, NULL};
}

static struct span shard_of(const struct seqpar_group *g, const struct ops *ops,
                            int64_t tokens, int rank)
{
    return shard_tokens(tokens, ops_facts(ops)->granule_tokens, size_of(g), rank);
}

struct span seqpar_tokens(const struct seqpar_group *group, const struct ops *ops,
                          int64_t tokens)
{
    return shard_of(group, ops, tokens, group->rank);
}

struct span seqpar_queries(const struct seqpar_group *group, const struct ops *ops,
                           int64_t tokens)
{
    int first = group->rank / group->ulysses * group->ulysses;
    struct span block = shard_of(group, ops, tokens, first);

    for (int i = 1; i < group->ulysses; i++)
        block.count += shard_of(group, ops, tokens, first + i).count;
    return block;
}

static struct span heads_of(const struct seqpar_layout *l, int ulysses_index)
{
    return shard_heads(l->heads, l->group.ulysses, ulysses_index);
}

struct span seqpar_heads(const struct seqpar_group *group, int64_t heads)
{
    return shard_heads(heads, group->ulysses, group->rank % group->ulysses);
}

/* ---- stages --------------------------------------------------------------------- */

static int stages_of(const struct seqpar *sp)
{
    return sp->layout.group.ulysses - 1;
}

/* v and k go to all at once. */
static int flights_of(const struct seqpar *sp, enum part_kind kind)
{
    int stages = stages_of(sp);

    return kind == PART_Q || kind == PART_O || stages == 0 ? stages : 1;
}

/* Whose tokens are attended for in stage i; the own ones behind the last stage. */
static int source_at(const struct seqpar *sp, int i)
{
    int u = sp->layout.group.ulysses, own = sp->layout.group.rank % u;

    return (own + i + 1) % u;
}

/* Who attends for the own tokens in stage i. */
static int owner_at(const struct seqpar *sp, int i)
{
    int u = sp->layout.group.ulysses, own = sp->layout.group.rank % u;

    return (own + u - i - 1) % u;
}

/* ---- making --------------------------------------------------------------------- */

static bool formats_valid(const struct seqpar_formats *f)
{
    bool wide = f->qk == DT_F32 || f->qk == DT_BF16;
    bool o = f->o == DT_F32 || f->o == DT_BF16 || f->o == DT_E4M3;

    return o && ((wide && f->v == f->qk) || (f->qk == DT_I8 && f->v == DT_E4M3));
}

static enum status make_ring(struct seqpar *sp, struct err *e)
{
    const struct seqpar_group *g = &sp->layout.group;
    int64_t *tokens = calloc((size_t)size_of(g), sizeof(*tokens));
    struct ring_shape shape = {
        .size = g->ring,
        .rank = g->rank / g->ulysses,
        .shards = g->ulysses,
        .heads = seqpar_heads(g, sp->layout.heads).count,
        .tokens = tokens,
        .formats = sp->formats,
    };
    enum status st;

    if (!tokens)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    for (int r = 0; r < size_of(g); r++)
        tokens[r] = shard_of(g, sp->ops, sp->layout.tokens, r).count;
    st = ring_create(&shape, sp->ops, &sp->ring, e);
    free(tokens);
    return st;
}

static enum status make_swaps(struct seqpar *sp, struct err *e)
{
    size_t n = (size_t)sp->layout.group.ulysses;

    for (int k = 0; k < PART_KINDS; k++) {
        struct swap *s = &sp->swap[k];

        s->parts = calloc(n, sizeof(*s->parts));
        s->token_side = calloc(n, sizeof(*s->token_side));
        s->head_side = calloc(n, sizeof(*s->head_side));
        s->flight = calloc(n, sizeof(struct comm_flight *));
        if (!s->parts || !s->token_side || !s->head_side || !s->flight)
            return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    }
    sp->sent = calloc(n, sizeof(*sp->sent));
    sp->received = calloc(n, sizeof(*sp->received));
    if (!sp->sent || !sp->received)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    return ST_OK;
}

enum status seqpar_create(const struct seqpar_layout *layout, struct ops *ops,
                          struct seqpar **out, struct err *e)
{
    const struct seqpar_formats *f = &layout->formats;
    struct seqpar *sp;
    enum status st;

    if (!formats_valid(f))
        return err_set(e, ST_USAGE, "cannot attend with %s keys, %s values to %s",
                       dtype_name(f->qk), dtype_name(f->v), dtype_name(f->o));
    sp = calloc(1, sizeof(*sp));
    if (!sp)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    sp->layout = *layout;
    sp->formats = (struct part_formats){f->qk, f->v, f->o, layout->head_dim,
                                        ops_facts(ops)->space};
    sp->ops = ops;
    sp->tokens = seqpar_tokens(&layout->group, ops, layout->tokens);
    for (int p = 0; p < layout->group.ulysses; p++)
        sp->head_owners += heads_of(layout, p).count > 0;
    TRY_GOTO(st, make_ring(sp, e), err_destroy);
    TRY_GOTO(st, make_swaps(sp, e), err_destroy);
    *out = sp;
    return ST_OK;

err_destroy:
    seqpar_destroy(sp);
    return st;
}

void seqpar_destroy(struct seqpar *sp)
{
    if (!sp)
        return;
    for (int k = 0; k < PART_KINDS; k++) {
        struct swap *s = &sp->swap[k];

        for (int i = 0; s->flight && i < flights_of(sp, (enum part_kind)k); i++)
            comm_flight_destroy(s->flight[i]);
        free(s->flight);
        free(s->parts);
        free(s->token_side);
        free(s->head_side);
    }
    free(sp->sent);
    free(sp->received);
    comm_flight_destroy(sp->adding);
    ring_destroy(sp->ring);
    free(sp);
}

/* ---- memory --------------------------------------------------------------------- */

static int64_t width_of(const struct seqpar *sp)
{
    return sp->layout.heads * sp->layout.head_dim;
}

/* One kind: the head side is in the ring already. */
static void cut_swap(struct seqpar *sp, enum part_kind kind,
                     struct part (*in_ring)(const struct ring *, int), struct arena *a)
{
    const struct seqpar_layout *l = &sp->layout;
    struct swap *s = &sp->swap[kind];

    for (int p = 0; p < l->group.ulysses; p++) {
        struct span heads = heads_of(l, p);
        struct part part = in_ring(sp->ring, p);

        s->head_side[p] = part.message;
        if (p != l->group.rank % l->group.ulysses)
            part = part_cut(&sp->formats, kind, heads.count, sp->tokens.count, a);
        s->parts[p] = (struct head_part){(int)heads.begin, (int)heads.count, part.t};
        s->token_side[p] = part.message;
    }
}

void seqpar_cut_queries(struct seqpar *sp, struct arena *a)
{
    ring_cut_queries(sp->ring, a);
    cut_swap(sp, PART_Q, ring_queries, a);
}

void seqpar_cut_results(struct seqpar *sp, struct arena *a)
{
    ring_cut_results(sp->ring, a);
}

/* Results come to the token side when k and v have left it, so they share memory. */
void seqpar_cut_keys(struct seqpar *sp, struct arena *a)
{
    size_t mark, sent, returned;

    ring_cut_blocks(sp->ring, a);
    mark = arena_mark(a);
    cut_swap(sp, PART_K, ring_keys, a);
    cut_swap(sp, PART_V, ring_values, a);
    sent = arena_mark(a);
    arena_reset(a, mark);
    cut_swap(sp, PART_O, ring_result, a);
    returned = arena_mark(a);
    if (sent > returned)
        arena_cut(a, sent - returned);
}

void seqpar_cut(struct seqpar *sp, struct arena *a)
{
    seqpar_cut_queries(sp, a);
    seqpar_cut_results(sp, a);
    seqpar_cut_keys(sp, a);
}

void seqpar_cut_kept(struct seqpar *sp, struct arena *a)
{
    int64_t n = width_of(sp) + 1;

    if (sp->layout.formats.qk != DT_I8)
        return;
    sp->key_sum = tensor_cut(a, DT_I64, sp->formats.space, 1, &n);
    sp->zero = tensor_cut(a, DT_I64, sp->formats.space, 1, &n);
}

size_t seqpar_workspace(const struct seqpar *sp)
{
    return ring_workspace(sp->ring);
}

/* ---- starting ------------------------------------------------------------------- */

static enum status start_flights(struct seqpar *sp, struct err *e)
{
    const struct seqpar_group *g = &sp->layout.group;

    if (size_of(g) == 1)
        return ST_OK;
    if (!g->comms)
        return err_set(e, ST_USAGE, "%d ranks cannot share a sequence without talking",
                       size_of(g));
    if (comm_over_device(g->comms->sequence) != (sp->formats.space != MEM_HOST))
        return err_set(e, ST_USAGE,
                       "%d ranks cannot share a sequence through other memory than "
                       "that of backend '%s'",
                       size_of(g), ops_facts(sp->ops)->name);
    TRY(comm_flight_create(g->comms->sequence, &sp->adding, e));
    for (int k = 0; k < PART_KINDS; k++) {
        for (int i = 0; i < flights_of(sp, (enum part_kind)k); i++)
            TRY(comm_flight_create(g->comms->ulysses, &sp->swap[k].flight[i], e));
    }
    return ring_start(sp->ring, g->comms->ring, e);
}

enum status seqpar_start(struct seqpar *sp, struct queue *q, struct err *e)
{
    int64_t n = width_of(sp) + 1;
    struct tensor host;
    enum status st;

    TRY(start_flights(sp, e));
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

/* ---- the parts of an attention -------------------------------------------------- */

/* k or v, to the owners of the heads. */
static enum status send_all(struct seqpar *sp, enum part_kind kind, struct queue *q,
                            struct err *e)
{
    struct swap *s = &sp->swap[kind];

    if (flights_of(sp, kind) == 0)
        return ST_OK;
    return comm_alltoall_begin(s->flight[0], q, s->token_side, s->head_side, e);
}

/* One piece to a rank, and one from a rank. */
static enum status trade(struct seqpar *sp, struct comm_flight *f, struct queue *q,
                         int to, struct comm_piece send, int from,
                         struct comm_piece receive, struct err *e)
{
    size_t n = (size_t)sp->layout.group.ulysses;

    memset(sp->sent, 0, n * sizeof(*sp->sent));
    memset(sp->received, 0, n * sizeof(*sp->received));
    sp->sent[to] = send;
    sp->received[from] = receive;
    return comm_alltoall_begin(f, q, sp->sent, sp->received, e);
}

/* Queries of stage i, to the owner of the heads. */
static enum status send_queries(struct seqpar *sp, struct queue *q, int i,
                                struct err *e)
{
    struct swap *s = &sp->swap[PART_Q];
    int to = owner_at(sp, i), from = source_at(sp, i);

    return trade(sp, s->flight[i], q, to, s->token_side[to], from, s->head_side[from],
                 e);
}

/* Results of stage i, back to the owner of the tokens. */
static enum status send_results(struct seqpar *sp, struct queue *q, int i,
                                struct err *e)
{
    struct swap *s = &sp->swap[PART_O];
    int to = source_at(sp, i), from = owner_at(sp, i);

    return trade(sp, s->flight[i], q, to, s->head_side[to], from, s->token_side[from],
                 e);
}

static enum status arrive(struct seqpar *sp, enum part_kind kind, struct queue *q,
                          struct err *e)
{
    for (int i = 0; i < flights_of(sp, kind); i++)
        TRY(comm_end(sp->swap[kind].flight[i], q, e));
    return ST_OK;
}

enum status seqpar_put_v(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         struct err *e)
{
    struct op_values a = {
        .parts = sp->swap[PART_V].parts,
        .n_parts = sp->head_owners,
        .y = rows,
        .head_dim = (int)sp->layout.head_dim,
    };

    TRY(ops_values(sp->ops, q, &a, e));
    return send_all(sp, PART_V, q, e);
}

static struct op_heads heads_op(const struct seqpar *sp, const struct swap *s,
                                const struct tensor *rows,
                                const struct seqpar_norm *norm)
{
    return (struct op_heads){
        .parts = s->parts,
        .n_parts = sp->head_owners,
        .y = rows,
        .weight = norm->weight,
        .rope = norm->rope,
        .eps = norm->eps,
        .head_dim = (int)sp->layout.head_dim,
        .first_token = sp->tokens.begin,
    };
}

/* Sums of k over the token subset, of all ranks, for the mean that is taken off. */
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
    TRY(ops_key_sum(sp->ops, q, &a, e));
    if (!sp->adding)
        return ST_OK;
    TRY(comm_sum_begin(sp->adding, q, sp->key_sum.data, width_of(sp) + 1, e));
    return comm_end(sp->adding, q, e);
}

enum status seqpar_put_k(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         const struct seqpar_norm *norm, struct err *e)
{
    struct op_heads a = heads_op(sp, &sp->swap[PART_K], rows, norm);
    struct tensor acc, count;

    if (sp->layout.formats.qk == DT_I8) {
        TRY(key_sum(sp, q, &a, &acc, &count, e));
        a.mean_acc = &acc;
        a.mean_count = &count;
    }
    TRY(ops_heads(sp->ops, q, &a, e));
    return send_all(sp, PART_K, q, e);
}

enum status seqpar_put_q(struct seqpar *sp, struct queue *q, const struct tensor *rows,
                         const struct seqpar_norm *norm, struct err *e)
{
    struct op_heads a = heads_op(sp, &sp->swap[PART_Q], rows, norm);

    TRY(ops_heads(sp->ops, q, &a, e));
    for (int i = 0; i < stages_of(sp); i++)
        TRY(send_queries(sp, q, i, e));
    return ST_OK;
}

/* Stage by stage, results of one on their way while the next is worked on. */
static enum status attend_stages(struct seqpar *sp, struct queue *q, struct err *e)
{
    for (int i = 0; i < stages_of(sp); i++) {
        TRY(comm_end(sp->swap[PART_Q].flight[i], q, e));
        TRY(ring_attend_shard(sp->ring, q, source_at(sp, i), e));
        TRY(send_results(sp, q, i, e));
    }
    return ring_attend_shard(sp->ring, q, source_at(sp, stages_of(sp)), e);
}

enum status seqpar_attend(struct seqpar *sp, struct queue *q, struct err *e)
{
    TRY(arrive(sp, PART_V, q, e));
    TRY(arrive(sp, PART_K, q, e));
    if (sp->layout.group.ring == 1)
        return attend_stages(sp, q, e);
    TRY(arrive(sp, PART_Q, q, e));
    TRY(ring_attend(sp->ring, q, e));
    for (int i = 0; i < stages_of(sp); i++)
        TRY(send_results(sp, q, i, e));
    return ST_OK;
}

enum status seqpar_get_o(struct seqpar *sp, struct queue *q, struct tensor *rows,
                         struct err *e)
{
    struct op_gather a = {
        .out = rows,
        .parts = sp->swap[PART_O].parts,
        .n_parts = sp->head_owners,
    };

    TRY(arrive(sp, PART_O, q, e));
    return ops_gather(sp->ops, q, &a, e);
}
