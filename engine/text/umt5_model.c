/* umt5_model.c - checks the configuration and finds the encoder's tensors by name */
#include <stdio.h>
#include <stdlib.h>

#include "engine/text/umt5_inside.h"

enum { NAME_BYTES = 96, DISTANCE_MAX = 1 << 16 };

enum status umt5_config_check(const struct text_config *c, enum dtype act,
                              const struct ops *ops, struct err *e)
{
    if (c->buckets < 8 || c->buckets % 4 != 0)
        return err_set(e, ST_INPUT,
                       "bad text encoder: %lld position buckets, must be a multiple of "
                       "4 from 8 up",
                       (long long)c->buckets);
    if (c->max_distance <= c->buckets / 4 || c->max_distance > DISTANCE_MAX)
        return err_set(e, ST_INPUT,
                       "bad text encoder: largest distance %lld, must be from %lld to "
                       "%d",
                       (long long)c->max_distance, (long long)c->buckets / 4 + 1,
                       DISTANCE_MAX);
    if ((act != DT_F32 && act != DT_BF16) ||
        !(ops_facts(ops)->operand_dtypes & 1u << act))
        return err_set(e, ST_USAGE, "cannot run the text encoder in %s on backend '%s'",
                       dtype_name(act), ops_facts(ops)->name);
    return ST_OK;
}

/* A tensor that must be there: `name` in block `i`, or outside the blocks (-1). */
struct wanted {
    const char *name;
    int rank;
    int64_t shape[2];
    struct tensor *to;
};

static enum status find_all(const struct umt5 *m, int64_t i, const struct wanted *list,
                            int n, struct err *e)
{
    char name[NAME_BYTES];

    for (int k = 0; k < n; k++) {
        if (i < 0)
            snprintf(name, sizeof(name), "%s.weight", list[k].name);
        else
            snprintf(name, sizeof(name), "blocks.%lld.%s.weight", (long long)i,
                     list[k].name);
        TRY(weights_find(m->weights, name, list[k].rank, list[k].shape, list[k].to, e));
        if (list[k].rank == 1 && list[k].to->dtype != DT_F32)
            return err_set(e, ST_INPUT, "bad weight '%s': loaded as %s, must be F32",
                           name, dtype_name(list[k].to->dtype));
    }
    return ST_OK;
}

static enum status find_block(const struct umt5 *m, int64_t i, struct err *e)
{
    const struct text_config *c = &m->config;
    int64_t d = c->dim, inner = c->heads * c->head_dim, ffn = c->ffn_dim;
    struct umt5_block *b = &m->blocks[i];
    const struct wanted list[] = {
        {"norm1", 1, {d}, &b->norm1},
        {"attn.q", 2, {inner, d}, &b->q},
        {"attn.k", 2, {inner, d}, &b->k},
        {"attn.v", 2, {inner, d}, &b->v},
        {"attn.o", 2, {d, inner}, &b->o},
        {"pos_embedding.embedding", 2, {c->buckets, c->heads}, &b->table},
        {"norm2", 1, {d}, &b->norm2},
        {"ffn.gate.0", 2, {ffn, d}, &b->gate},
        {"ffn.fc1", 2, {ffn, d}, &b->up},
        {"ffn.fc2", 2, {d, ffn}, &b->down},
    };

    return find_all(m, i, list, sizeof(list) / sizeof(list[0]), e);
}

static enum status find_everything(struct umt5 *m, struct err *e)
{
    const struct text_config *c = &m->config;
    const struct wanted outside[] = {
        {"token_embedding", 2, {c->vocab, c->dim}, &m->table},
        {"norm", 1, {c->dim}, &m->norm},
    };

    TRY(find_all(m, -1, outside, 2, e));
    for (int64_t i = 0; i < c->layers; i++)
        TRY(find_block(m, i, e));
    return ST_OK;
}

enum status umt5_create(const struct text_config *config, enum dtype act,
                        struct weights *weights, struct ops *ops, struct queue *q,
                        struct umt5 **out, struct err *e)
{
    struct umt5 *m;
    enum status st;

    TRY(umt5_config_check(config, act, ops, e));
    m = calloc(1, sizeof(*m));
    if (m)
        m->blocks = calloc((size_t)config->layers, sizeof(*m->blocks));
    if (!m || !m->blocks) {
        umt5_destroy(m);
        return err_set(e, ST_RESOURCE, "no memory for the text encoder");
    }
    m->config = *config;
    m->act = act;
    m->weights = weights;
    m->ops = ops;
    TRY_GOTO(st, find_everything(m, e), err_destroy);
    TRY_GOTO(st, umt5_bias_read(m, q, e), err_destroy);
    *out = m;
    return ST_OK;

err_destroy:
    umt5_destroy(m);
    return st;
}

void umt5_destroy(struct umt5 *m)
{
    if (!m)
        return;
    free(m->blocks);
    free(m->bias);
    free(m);
}
