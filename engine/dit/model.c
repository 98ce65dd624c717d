/* model.c - finds the transformer's tensors by their canonical names
 *
 * Shapes follow from the configuration alone (dit-and-sampling 2), so a file that does
 * not fit is refused here, by name, before anything runs.
 */
#include "engine/dit/model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct dit_precision dit_fp32 = {DT_F32, DT_F32, {DT_F32, DT_F32, DT_F32}};
const struct dit_precision dit_bf16 = {DT_BF16, DT_BF16, {DT_BF16, DT_BF16, DT_BF16}};
const struct dit_precision dit_fp8 = {DT_E4M3, DT_BF16, {DT_I8, DT_E4M3, DT_E4M3}};
const struct dit_precision dit_int8 = {DT_I8, DT_BF16, {DT_I8, DT_E4M3, DT_BF16}};

enum { NAME_BYTES = 96 };

bool dit_quantised(const char *name)
{
    static const char *const parts[] = {"self_attn.", "cross_attn.", "ffn."};
    size_t n = strlen(name);
    const char *part;

    if (strncmp(name, "blocks.", 7) != 0 || n < 7 || strstr(name, ".norm") ||
        strcmp(name + n - 7, ".weight") != 0)
        return false;
    part = name + 7 + strspn(name + 7, "0123456789");
    for (int i = 0; i < 3 && *part == '.'; i++) {
        if (strncmp(part + 1, parts[i], strlen(parts[i])) == 0)
            return true;
    }
    return false;
}

/* Names of one part of the model are found under its prefix. */
struct finder {
    const struct weights *w;
    char prefix[32];
    struct err *e;
};

static enum status find(const struct finder *f, const char *name, const char *suffix,
                        int rank, const int64_t *shape, struct tensor *out)
{
    char full[2 * NAME_BYTES];

    snprintf(full, sizeof(full), "%s%s%s", f->prefix, name, suffix);
    return weights_find(f->w, full, rank, shape, out, f->e);
}

static enum status find_vector(const struct finder *f, const char *name, int64_t n,
                               struct tensor *out)
{
    return find(f, name, "", 1, &n, out);
}

static enum status find_linear(const struct finder *f, const char *name, int64_t n_out,
                               int64_t n_in, struct dit_linear *l)
{
    TRY(find(f, name, ".weight", 2, (int64_t[]){n_out, n_in}, &l->w));
    return find(f, name, ".bias", 1, &n_out, &l->b);
}

/* [1, rows, d] as one vector of its values, or as rows. */
static enum status find_modulation(const struct finder *f, const char *name,
                                   int64_t rows, int64_t d, int rank,
                                   const int64_t *view, struct tensor *out)
{
    struct tensor t;

    TRY(find(f, name, "", 3, (int64_t[]){1, rows, d}, &t));
    *out = tensor_reshape(&t, rank, view);
    return ST_OK;
}

static enum status find_attention(const struct finder *f, const char *name, int64_t d,
                                  struct dit_attention *a)
{
    struct {
        const char *suffix;
        struct dit_linear *to;
    } linears[] = {{"q", &a->q}, {"k", &a->k}, {"v", &a->v}, {"o", &a->o}};
    char part[NAME_BYTES];

    for (int i = 0; i < 4; i++) {
        snprintf(part, sizeof(part), "%s.%s", name, linears[i].suffix);
        TRY(find_linear(f, part, d, d, linears[i].to));
    }
    snprintf(part, sizeof(part), "%s.norm_q.weight", name);
    TRY(find_vector(f, part, d, &a->norm_q));
    snprintf(part, sizeof(part), "%s.norm_k.weight", name);
    return find_vector(f, part, d, &a->norm_k);
}

static enum status find_block(struct dit *m, int64_t i, struct err *e)
{
    int64_t d = m->config.dim, ffn = m->config.ffn_dim, six_d = 6 * d;
    struct dit_block *b = &m->blocks[i];
    struct finder f = {m->weights, "", e};

    snprintf(f.prefix, sizeof(f.prefix), "blocks.%lld.", (long long)i);
    TRY(find_modulation(&f, "modulation", 6, d, 1, &six_d, &b->modulation));
    TRY(find_vector(&f, "norm3.weight", d, &b->norm3_w));
    TRY(find_vector(&f, "norm3.bias", d, &b->norm3_b));
    TRY(find_attention(&f, "self_attn", d, &b->self));
    TRY(find_attention(&f, "cross_attn", d, &b->cross));
    TRY(find_linear(&f, "ffn.0", ffn, d, &b->ffn_in));
    return find_linear(&f, "ffn.2", d, ffn, &b->ffn_out);
}

static enum status find_patch(struct dit *m, struct err *e)
{
    const struct dit_config *c = &m->config;
    struct finder f = {m->weights, "patch_embedding", e};
    struct tensor t;

    TRY(find(&f, "", ".weight", 5, (int64_t[]){c->dim, c->in_channels, 1, 2, 2}, &t));
    m->patch.w = tensor_reshape(&t, 2,
                                (int64_t[]){c->dim, patch_columns(c->in_channels)});
    return find(&f, "", ".bias", 1, &c->dim, &m->patch.b);
}

static enum status find_fps(struct dit *m, struct err *e)
{
    int64_t d = m->config.dim;
    struct finder f = {m->weights, "fps_", e};

    TRY(find(&f, "embedding", ".weight", 2, (int64_t[]){2, d}, &m->fps_table));
    TRY(find_linear(&f, "projection.0", d, d, &m->fps_in));
    return find_linear(&f, "projection.2", 6 * d, d, &m->fps_out);
}

static enum status find_outside_blocks(struct dit *m, struct err *e)
{
    const struct dit_config *c = &m->config;
    int64_t d = c->dim;
    struct finder f = {m->weights, "", e};

    TRY(find_patch(m, e));
    TRY(find_linear(&f, "text_embedding.0", d, c->text_dim, &m->text_in));
    TRY(find_linear(&f, "text_embedding.2", d, d, &m->text_out));
    TRY(find_linear(&f, "time_embedding.0", d, c->freq_dim, &m->time_in));
    TRY(find_linear(&f, "time_embedding.2", d, d, &m->time_out));
    TRY(find_linear(&f, "time_projection.1", 6 * d, d, &m->time_proj));
    TRY(find_linear(&f, "head.head", patch_columns(c->out_channels), d, &m->head));
    TRY(find_modulation(&f, "head.modulation", 2, d, 2, (int64_t[]){2, d},
                        &m->head_modulation));
    return c->has_fps ? find_fps(m, e) : ST_OK;
}

/* 8-bit operands meet weights of their own type only. */
static enum status check_stored(const struct dit *m, struct err *e)
{
    enum dtype want = m->precision.operand;

    if (dtype_bytes(want) != 1)
        return ST_OK;
    for (int64_t i = 0; i < m->config.layers; i++) {
        const struct dit_block *b = &m->blocks[i];
        const struct dit_linear *all[] = {
            &b->self.q,  &b->self.k,  &b->self.v,  &b->self.o, &b->cross.q,
            &b->cross.k, &b->cross.v, &b->cross.o, &b->ffn_in, &b->ffn_out,
        };

        for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++) {
            if (all[j]->w.dtype != want)
                return err_set(e, ST_USAGE,
                               "cannot run block %lld with %s operands: its weights "
                               "are loaded as %s",
                               (long long)i, dtype_name(want),
                               dtype_name(all[j]->w.dtype));
        }
    }
    return ST_OK;
}

static enum status check_precision(const struct dit *m, struct err *e)
{
    const struct ops_facts *facts = ops_facts(m->ops);
    const enum dtype used[] = {m->precision.operand, m->precision.real, DT_F32};

    for (int i = 0; i < 3; i++) {
        if (!(facts->operand_dtypes & 1u << used[i]))
            return err_set(e, ST_USAGE, "backend '%s' does not multiply %s operands",
                           facts->name, dtype_name(used[i]));
    }
    return ST_OK;
}

static enum status check_config(const struct dit_config *c, struct err *e)
{
    if (c->dim % c->heads != 0 || c->dim / c->heads % 2 != 0 || c->dim / c->heads < 6)
        return err_set(e, ST_INPUT,
                       "cannot split width %lld into %lld heads of an even size of 6 "
                       "or more",
                       (long long)c->dim, (long long)c->heads);
    return ST_OK;
}

enum status dit_create(const struct dit_config *config,
                       const struct dit_precision *precision, struct weights *weights,
                       struct ops *ops, struct dit **out, struct err *e)
{
    struct dit *m;
    enum status st;

    TRY(check_config(config, e));
    m = calloc(1, sizeof(*m));
    if (m)
        m->blocks = calloc((size_t)config->layers, sizeof(*m->blocks));
    if (!m || !m->blocks) {
        free(m);
        return err_set(e, ST_RESOURCE, "out of host memory for a transformer");
    }
    m->config = *config;
    m->precision = *precision;
    m->weights = weights;
    m->ops = ops;
    TRY_GOTO(st, check_precision(m, e), err_destroy);
    TRY_GOTO(st, find_outside_blocks(m, e), err_destroy);
    for (int64_t i = 0; i < config->layers; i++)
        TRY_GOTO(st, find_block(m, i, e), err_destroy);
    TRY_GOTO(st, check_stored(m, e), err_destroy);
    *out = m;
    return ST_OK;

err_destroy:
    dit_destroy(m);
    return st;
}

void dit_destroy(struct dit *m)
{
    if (!m)
        return;
    free(m->blocks);
    free(m);
}

enum status dit_product(const struct dit *m, struct queue *q, struct tensor *y,
                        const struct tensor *x, const struct dit_linear *l,
                        bool pending, struct err *e)
{
    struct op_linear a = {
        .y = y, .x = x, .w = &l->w, .bias = &l->b, .pending = pending};

    return ops_linear(m->ops, q, &a, e);
}

enum status dit_act(const struct dit *m, struct queue *q, struct tensor *out,
                    const struct tensor *x, const struct tensor *bias,
                    enum act_kind act, struct err *e)
{
    struct tensor in = *x;
    struct op_act a = {.out = out, .x = &in, .act = act};

    if (bias) {
        assert(!in.pending.bias);
        in.pending.bias = bias->data;
    }
    return ops_act(m->ops, q, &a, e);
}
