/* ring.c - blocks in two buffers, partial attention, merging */
#include "dist/ring.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ring {
    struct ring_shape shape; /* tokens: own copy */
    struct ops *ops;
    struct comm_flight *flight;

    void *buffer[2];
    size_t *bytes;              /* [size]: of the block of step i */
    struct attn_keys *keys;     /* [size][shards]: of step i, in buffer i % 2 */
    struct part *own_k, *own_v; /* [shards], step 0 */
    struct part *q, *result;    /* [shards] */

    /* [shards]: what attention writes first, and what later steps write. With one rank
     * `first` is the result and the others are not used. */
    struct attn_queries *first, *later;
    struct tensor *first_lse, *later_lse;
};

/* ---- arithmetic ----------------------------------------------------------------- */

/* The block that is used at step i. */
static int block_at(const struct ring *r, int i)
{
    return (r->shape.rank - i + r->shape.size) % r->shape.size;
}

static int64_t shard_tokens_of(const struct ring *r, int block, int shard)
{
    return r->shape.tokens[block * r->shape.shards + shard];
}

static int64_t block_tokens(const struct ring *r, int block)
{
    int64_t n = 0;

    for (int i = 0; i < r->shape.shards; i++)
        n += shard_tokens_of(r, block, i);
    return n;
}

/* A part of a block at *at bytes from `base`; moves *at behind it. */
static struct part lay(const struct ring *r, enum part_kind kind, int64_t tokens,
                       char *base, size_t *at)
{
    struct part p = part_lay(&r->shape.formats, kind, r->shape.heads, tokens,
                             base ? base + *at : NULL);

    *at += part_round(p.message.bytes);
    return p;
}

/* All of the block of step i at `base`; returns its bytes. */
static size_t lay_block(struct ring *r, int i, char *base)
{
    struct attn_keys *keys = &r->keys[i * r->shape.shards];
    size_t at = 0;

    for (int s = 0; s < r->shape.shards; s++) {
        int64_t n = shard_tokens_of(r, block_at(r, i), s);
        struct part k = lay(r, PART_K, n, base, &at);

        keys[s].k = k.t;
        keys[s].n = n;
        if (i == 0)
            r->own_k[s] = k;
    }
    for (int s = 0; s < r->shape.shards; s++) {
        struct part v = lay(r, PART_V, keys[s].n, base, &at);

        keys[s].v = v.t;
        if (i == 0)
            r->own_v[s] = v;
    }
    return at;
}

/* ---- making --------------------------------------------------------------------- */

static enum status ring_arrays(struct ring *r, const struct ring_shape *shape,
                               struct err *e)
{
    size_t shards = (size_t)shape->shards, all = shards * (size_t)shape->size;
    int64_t *tokens = calloc(all, sizeof(*tokens));

    r->shape.tokens = tokens;
    r->bytes = calloc((size_t)shape->size, sizeof(*r->bytes));
    r->keys = calloc(all, sizeof(*r->keys));
    r->own_k = calloc(shards, sizeof(*r->own_k));
    r->own_v = calloc(shards, sizeof(*r->own_v));
    r->q = calloc(shards, sizeof(*r->q));
    r->result = calloc(shards, sizeof(*r->result));
    r->first = calloc(shards, sizeof(*r->first));
    r->later = calloc(shards, sizeof(*r->later));
    r->first_lse = calloc(shards, sizeof(*r->first_lse));
    r->later_lse = calloc(shards, sizeof(*r->later_lse));
    if (!tokens || !r->bytes || !r->keys || !r->own_k || !r->own_v || !r->q ||
        !r->result || !r->first || !r->later || !r->first_lse || !r->later_lse)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    memcpy(tokens, shape->tokens, all * sizeof(*tokens));
    return ST_OK;
}

enum status ring_create(const struct ring_shape *shape, struct ops *ops,
                        struct ring **out, struct err *e)
{
    struct ring *r = calloc(1, sizeof(*r));
    enum status st;

    if (!r)
        return err_set(e, ST_RESOURCE, "out of host memory for attention state");
    r->shape = *shape;
    r->shape.tokens = NULL;
    r->ops = ops;
    TRY_GOTO(st, ring_arrays(r, shape, e), err_destroy);
    *out = r;
    return ST_OK;

err_destroy:
    ring_destroy(r);
    return st;
}

void ring_destroy(struct ring *r)
{
    if (!r)
        return;
    comm_flight_destroy(r->flight);
    free((void *)r->shape.tokens);
    free(r->bytes);
    free(r->keys);
    free(r->own_k);
    free(r->own_v);
    free(r->q);
    free(r->result);
    free(r->first);
    free(r->later);
    free(r->first_lse);
    free(r->later_lse);
    free(r);
}

/* ---- memory --------------------------------------------------------------------- */

void ring_cut_blocks(struct ring *r, struct arena *a)
{
    size_t largest = 0;

    for (int i = 0; i < r->shape.size; i++) {
        r->bytes[i] = lay_block(r, i, NULL);
        largest = r->bytes[i] > largest ? r->bytes[i] : largest;
    }
    for (int i = 0; i < 2 && i < r->shape.size; i++)
        r->buffer[i] = arena_cut(a, largest);
    for (int i = 0; i < r->shape.size; i++)
        lay_block(r, i, r->buffer[i % 2]);
}

static struct tensor cut_lse(const struct ring *r, int64_t tokens, struct arena *a)
{
    return tensor_cut(a, DT_F32, r->shape.formats.space, 2,
                      (int64_t[]){r->shape.heads, tokens});
}

void ring_cut_queries(struct ring *r, struct arena *a)
{
    const struct ring_shape *shape = &r->shape;

    for (int s = 0; s < shape->shards; s++) {
        int64_t n = shard_tokens_of(r, shape->rank, s);

        r->q[s] = part_cut(&shape->formats, PART_Q, shape->heads, n, a);
        r->first[s].q = r->later[s].q = r->q[s].t;
    }
}

/* A running result in fp32 beside the one in the wanted format, and a partial one. */
static void cut_running(struct ring *r, int s, int64_t n, struct arena *a)
{
    struct part_formats wide = r->shape.formats;

    wide.o = DT_F32;
    if (r->shape.formats.o != DT_F32)
        r->first[s].o = part_cut(&wide, PART_O, r->shape.heads, n, a).t;
    r->later[s].o = part_cut(&wide, PART_O, r->shape.heads, n, a).t;
    r->first_lse[s] = cut_lse(r, n, a);
    r->later_lse[s] = cut_lse(r, n, a);
    r->first[s].lse = &r->first_lse[s];
    r->later[s].lse = &r->later_lse[s];
}

void ring_cut_results(struct ring *r, struct arena *a)
{
    const struct ring_shape *shape = &r->shape;

    for (int s = 0; s < shape->shards; s++) {
        int64_t n = shard_tokens_of(r, shape->rank, s);

        r->result[s] = part_cut(&shape->formats, PART_O, shape->heads, n, a);
        r->first[s].o = r->later[s].o = r->result[s].t;
        if (shape->size > 1)
            cut_running(r, s, n, a);
    }
}

struct part ring_keys(const struct ring *r, int shard)
{
    return r->own_k[shard];
}

struct part ring_values(const struct ring *r, int shard)
{
    return r->own_v[shard];
}

struct part ring_queries(const struct ring *r, int shard)
{
    return r->q[shard];
}

struct part ring_result(const struct ring *r, int shard)
{
    return r->result[shard];
}

/* ---- attention ------------------------------------------------------------------ */

/* All queries of the block against the keys of step i. */
static struct op_attention attention_at(const struct ring *r, int i)
{
    return (struct op_attention){
        .queries = i == 0 ? r->first : r->later,
        .n_queries = r->shape.shards,
        .keys = &r->keys[i * r->shape.shards],
        .n_keys = r->shape.shards,
        .scale = 1.0f / sqrtf((float)r->shape.formats.head_dim),
    };
}

static struct op_attention attention_of(const struct ring *r, int shard)
{
    struct op_attention a = attention_at(r, 0);

    a.queries = &r->first[shard];
    a.n_queries = 1;
    return a;
}

static size_t more(const struct ring *r, const struct op_attention *a, size_t bytes)
{
    size_t need = ops_attention_workspace(r->ops, a);

    return need > bytes ? need : bytes;
}

size_t ring_workspace(const struct ring *r)
{
    size_t bytes = 0;

    for (int i = 0; i < r->shape.size; i++) {
        struct op_attention a = attention_at(r, i);

        bytes = more(r, &a, bytes);
    }
    for (int s = 0; s < r->shape.shards; s++) {
        struct op_attention a = attention_of(r, s);

        bytes = more(r, &a, bytes);
    }
    return bytes;
}

enum status ring_start(struct ring *r, struct comm *comm, struct err *e)
{
    return r->shape.size > 1 ? comm_flight_create(comm, &r->flight, e) : ST_OK;
}

static bool idle(const struct ring *r, int i)
{
    return r->shape.heads == 0 || block_tokens(r, r->shape.rank) == 0 ||
           block_tokens(r, block_at(r, i)) == 0;
}

static enum status merge(struct ring *r, struct queue *q, struct err *e)
{
    for (int s = 0; s < r->shape.shards; s++) {
        struct op_attn_merge a = {
            .o = &r->first[s].o,
            .lse = &r->first_lse[s],
            .o_part = &r->later[s].o,
            .lse_part = &r->later_lse[s],
        };

        if (r->first[s].q.shape[1] > 0)
            TRY(ops_attn_merge(r->ops, q, &a, e));
    }
    return ST_OK;
}

/* The block of step i. */
static enum status attend_at(struct ring *r, struct queue *q, int i, struct err *e)
{
    struct op_attention a = attention_at(r, i);

    if (idle(r, i))
        return ST_OK;
    TRY(ops_attention(r->ops, q, &a, e));
    return i == 0 ? ST_OK : merge(r, q, e);
}

enum status ring_attend_shard(struct ring *r, struct queue *q, int shard, struct err *e)
{
    struct op_attention a = attention_of(r, shard);

    assert(r->shape.size == 1);
    if (idle(r, 0) || shard_tokens_of(r, r->shape.rank, shard) == 0)
        return ST_OK;
    return ops_attention(r->ops, q, &a, e);
}

/* The block of step i goes on, that of step i + 1 comes. */
static enum status shift_begin(struct ring *r, struct queue *q, int i, struct err *e)
{
    struct comm_piece send = {r->buffer[i % 2], r->bytes[i]};
    struct comm_piece receive = {r->buffer[(i + 1) % 2], r->bytes[i + 1]};

    return comm_shift_begin(r->flight, q, send, receive, e);
}

/* The running result in fp32 to the wanted format, where that is another. */
static enum status finish(struct ring *r, struct queue *q, struct err *e)
{
    for (int s = 0; s < r->shape.shards; s++) {
        struct tensor from = r->first[s].o, to = r->result[s].t;
        int64_t rows[2] = {from.shape[0] * from.shape[1], from.shape[2]};
        struct scales scales = to.scales;
        struct op_convert a = {.dst = &to, .src = &from};

        if (to.data == from.data || rows[0] == 0)
            continue;
        from = tensor_reshape(&from, 2, rows);
        to = tensor_reshape(&to, 2, rows);
        to.scales = scales;
        TRY(ops_convert(r->ops, q, &a, e));
    }
    return ST_OK;
}

enum status ring_attend(struct ring *r, struct queue *q, struct err *e)
{
    for (int i = 0; i < r->shape.size; i++) {
        bool more = i + 1 < r->shape.size;

        if (more)
            TRY(shift_begin(r, q, i, e)); /* block i + 1 travels … */
        TRY(attend_at(r, q, i, e));       /* … while block i is used */
        if (more)
            TRY(comm_end(r->flight, q, e));
    }
    return finish(r, q, e);
}
