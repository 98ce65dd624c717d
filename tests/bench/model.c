/* model.c - names, shapes and numbers of a made-up transformer */
#include "tests/bench/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 64, ENTRIES_MAX = 2048 };

struct maker {
    struct bench_model *m;
    const struct dit_precision *precision;
    struct ops *ops;
    struct queue *q;
    struct err *e;
    struct weights_entry entries[ENTRIES_MAX];
    char names[ENTRIES_MAX][NAME_BYTES];
};

float *bench_numbers(int64_t n, float amplitude)
{
    float *v = malloc((size_t)n * sizeof(*v));
    uint32_t x = 12345;

    for (int64_t i = 0; v && i < n; i++) {
        x = x * 1664525u + 1013904223u;
        v[i] = ((float)(x >> 8) / 8388608.0f - 1.0f) * amplitude;
    }
    return v;
}

/* ---- one tensor --------------------------------------------------------------- */

static enum dtype matrix_dtype(const struct maker *k, const char *name)
{
    enum dtype operand = k->precision->operand;

    if (dtype_bytes(operand) == 1)
        return dit_quantised(name) ? operand : k->precision->real;
    return operand;
}

static enum status tensor_fill(struct maker *k, struct tensor *t, float amplitude)
{
    int64_t n = tensor_count(t);
    struct tensor f = *t;
    struct op_convert a = {.dst = t, .src = &f};
    enum status st;

    t->data = malloc((size_t)n * dtype_bytes(t->dtype));
    f.dtype = DT_F32;
    f.data = bench_numbers(n, amplitude);
    if (dtype_bytes(t->dtype) == 1) {
        t->scales.kind = SCALE_ROW;
        t->scales.data = malloc((size_t)t->shape[0] * sizeof(float));
    }
    if (!t->data || !f.data || (dtype_bytes(t->dtype) == 1 && !t->scales.data))
        st = err_set(k->e, ST_RESOURCE, "no memory for made-up weights");
    else
        st = ops_convert(k->ops, k->q, &a, k->e);
    free(f.data);
    return st;
}

/* Rank 1: a vector of f32; higher ranks: a matrix, its fan in is all but axis 0. */
static enum status add(struct maker *k, const char *name, int rank,
                       const int64_t *shape, bool vector)
{
    struct bench_model *m = k->m;
    struct tensor *t = &m->data[m->n];
    enum dtype dt = vector ? DT_F32 : matrix_dtype(k, name);
    float fan_in;

    if (m->n == ENTRIES_MAX)
        return err_set(k->e, ST_USAGE, "too many layers for the benchmark");
    *t = tensor_make(NULL, dt, MEM_HOST, rank, shape);
    fan_in = (float)tensor_count(t) / (float)shape[0];
    TRY(tensor_fill(k, t, vector ? 0.1f : sqrtf(3.0f / fan_in)));
    snprintf(k->names[m->n], NAME_BYTES, "%s", name);
    k->entries[m->n] = (struct weights_entry){k->names[m->n], *t};
    m->n++;
    return ST_OK;
}

static enum status add_linear(struct maker *k, const char *name, int64_t out,
                              int64_t in)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof(full), "%.*s.weight", NAME_BYTES - 16, name);
    TRY(add(k, full, 2, (int64_t[]){out, in}, false));
    snprintf(full, sizeof(full), "%.*s.bias", NAME_BYTES - 16, name);
    return add(k, full, 1, &out, true);
}

/* ---- the list ----------------------------------------------------------------- */

static enum status add_attention(struct maker *k, const char *name, int64_t d)
{
    static const char *const linears[] = {"q", "k", "v", "o"};
    char full[NAME_BYTES];

    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof(full), "%.*s.%s", 32, name, linears[i]);
        TRY(add_linear(k, full, d, d));
    }
    snprintf(full, sizeof(full), "%.*s.norm_q.weight", 32, name);
    TRY(add(k, full, 1, &d, true));
    snprintf(full, sizeof(full), "%.*s.norm_k.weight", 32, name);
    return add(k, full, 1, &d, true);
}

static enum status add_block(struct maker *k, int64_t i)
{
    int64_t d = k->m->config.dim, ffn = k->m->config.ffn_dim;
    char name[NAME_BYTES];

#define BLOCK_NAME(rest) \
    (snprintf(name, sizeof(name), "blocks.%lld." rest, (long long)i), name)
    TRY(add(k, BLOCK_NAME("modulation"), 3, (int64_t[]){1, 6, d}, true));
    TRY(add(k, BLOCK_NAME("norm3.weight"), 1, &d, true));
    TRY(add(k, BLOCK_NAME("norm3.bias"), 1, &d, true));
    TRY(add_attention(k, BLOCK_NAME("self_attn"), d));
    TRY(add_attention(k, BLOCK_NAME("cross_attn"), d));
    TRY(add_linear(k, BLOCK_NAME("ffn.0"), ffn, d));
    return add_linear(k, BLOCK_NAME("ffn.2"), d, ffn);
#undef BLOCK_NAME
}

static enum status add_all(struct maker *k)
{
    const struct dit_config *c = &k->m->config;
    int64_t d = c->dim;

    TRY(add(k, "patch_embedding.weight", 5, (int64_t[]){d, c->in_channels, 1, 2, 2},
            false));
    TRY(add(k, "patch_embedding.bias", 1, &d, true));
    TRY(add_linear(k, "text_embedding.0", d, c->text_dim));
    TRY(add_linear(k, "text_embedding.2", d, d));
    TRY(add_linear(k, "time_embedding.0", d, c->freq_dim));
    TRY(add_linear(k, "time_embedding.2", d, d));
    TRY(add_linear(k, "time_projection.1", 6 * d, d));
    TRY(add_linear(k, "head.head", 4 * c->out_channels, d));
    TRY(add(k, "head.modulation", 3, (int64_t[]){1, 2, d}, true));
    for (int64_t i = 0; i < c->layers; i++)
        TRY(add_block(k, i));
    return ST_OK;
}

enum status bench_model_init(struct bench_model *m, const struct dit_config *config,
                             const struct dit_precision *precision, struct ops *ops,
                             struct err *e)
{
    struct maker *k = calloc(1, sizeof(*k));
    enum status st;

    memset(m, 0, sizeof(*m));
    m->config = *config;
    m->data = calloc(ENTRIES_MAX, sizeof(*m->data));
    if (!k || !m->data) {
        free(k);
        return err_set(e, ST_RESOURCE, "no memory for made-up weights");
    }
    k->m = m;
    k->precision = precision;
    k->ops = ops;
    k->e = e;
    TRY_GOTO(st, ops_queue_open(ops, NULL, 0, &k->q, e), out_free);
    TRY_GOTO(st, add_all(k), out_close);
    TRY_GOTO(st, weights_from_entries(k->entries, m->n, &m->weights, e), out_close);
    st = dit_create(config, precision, m->weights, ops, &m->dit, e);

out_close:
    ops_queue_close(ops, k->q);
out_free:
    free(k);
    return st;
}

void bench_model_release(struct bench_model *m)
{
    dit_destroy(m->dit);
    if (m->weights)
        weights_close(m->weights);
    for (int i = 0; i < m->n; i++) {
        free(m->data[i].data);
        free(m->data[i].scales.data);
    }
    free(m->data);
}
