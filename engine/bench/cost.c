/* cost.c - name, work and bytes of one call of an op */
#include <stdio.h>
#include <string.h>

#include "engine/bench/watch.h"

static double bytes_of(const struct tensor *t)
{
    return t && t->data ? (double)tensor_count(t) * (double)dtype_bytes(t->dtype) : 0.0;
}

static double bytes_of_parts(const struct head_part *parts, int n)
{
    double sum = 0.0;

    for (int i = 0; i < n; i++)
        sum += bytes_of(&parts[i].t);
    return sum;
}

/* "op 3x4x5 BF16" */
static void name_set(struct watch_cost *c, const char *op, const struct tensor *t)
{
    size_t at = (size_t)snprintf(c->name, sizeof(c->name), "%s ", op);

    for (int i = 0; i < t->rank && at < sizeof(c->name); i++)
        at += (size_t)snprintf(c->name + at, sizeof(c->name) - at, "%s%lld",
                               i ? "x" : "", (long long)t->shape[i]);
    if (at < sizeof(c->name))
        snprintf(c->name + at, sizeof(c->name) - at, " %s", dtype_name(t->dtype));
}

static void linear_cost(const void *args, struct watch_cost *c)
{
    const struct op_linear *a = args;
    long long s = a->x->shape[0], k = a->x->shape[1], d = a->w->shape[0];

    snprintf(c->name, sizeof(c->name), "linear %lldx%lldx%lld %s", s, k, d,
             dtype_name(a->x->dtype));
    c->group = WATCH_LINEAR;
    c->flop = 2.0 * (double)s * (double)k * (double)d;
    c->bytes = bytes_of(a->x) + bytes_of(a->w) + bytes_of(a->y);
}

static void conv_cost(const void *args, struct watch_cost *c)
{
    const struct op_conv *a = args;
    const int64_t *y = a->y->shape, *w = a->weight->shape;
    int64_t taps = w[1] * w[2] * w[3];

    snprintf(c->name, sizeof(c->name), "conv %lldx%lldx%lld %lld->%lld %lld%lld%lld%s",
             (long long)y[0], (long long)y[1], (long long)y[2], (long long)w[4],
             (long long)w[0], (long long)w[1], (long long)w[2], (long long)w[3],
             a->upsample == 2 ? " doubled" : "");
    c->group = WATCH_CONV;
    c->flop = 2.0 * (double)tensor_count(a->y) * (double)(taps * w[4]);
    c->bytes = bytes_of(a->x) + bytes_of(a->weight) + bytes_of(a->y) +
               bytes_of(a->residual);
}

static void attention_cost(const void *args, struct watch_cost *c)
{
    const struct op_attention *a = args;
    const struct tensor *q = &a->queries[0].q;
    int64_t queries = 0, keys = 0;

    for (int i = 0; i < a->n_queries; i++) {
        queries += a->queries[i].q.shape[1];
        c->bytes += bytes_of(&a->queries[i].q) + bytes_of(&a->queries[i].o);
    }
    for (int i = 0; i < a->n_keys; i++) {
        keys += a->keys[i].n;
        c->bytes += bytes_of(&a->keys[i].k) + bytes_of(&a->keys[i].v);
    }
    snprintf(c->name, sizeof(c->name), "attention %lldx%lldx%lldx%lld %s",
             (long long)q->shape[0], (long long)queries, (long long)keys,
             (long long)q->shape[2], dtype_name(q->dtype));
    c->group = WATCH_ATTENTION;
    c->flop = 4.0 * (double)(q->shape[0] * q->shape[2]) * (double)queries *
              (double)keys;
}

static void merge_cost(const void *args, struct watch_cost *c)
{
    const struct op_attn_merge *a = args;

    name_set(c, "attn_merge", a->o);
    c->group = WATCH_ATTENTION;
    c->bytes = 2.0 * bytes_of(a->o) + bytes_of(a->o_part);
}

static void norm_cost(const void *args, struct watch_cost *c)
{
    const struct op_norm *a = args;

    name_set(c, "norm", a->out);
    c->bytes = bytes_of(a->x) + bytes_of(a->out);
}

static void residual_cost(const void *args, struct watch_cost *c)
{
    const struct op_residual *a = args;

    name_set(c, a->out ? "residual+norm" : "residual", a->out ? a->out : a->x);
    c->bytes = 2.0 * bytes_of(a->x) + bytes_of(a->y) + bytes_of(a->out);
}

static void act_cost(const void *args, struct watch_cost *c)
{
    const struct op_act *a = args;

    name_set(c, "act", a->out);
    c->bytes = bytes_of(a->x) + bytes_of(a->gated) + bytes_of(a->out);
}

static void key_sum_cost(const void *args, struct watch_cost *c)
{
    const struct op_key_sum *a = args;

    name_set(c, "key_sum", a->y);
    c->bytes = bytes_of(a->y) / (double)(a->every ? a->every : 1);
}

static void heads_cost(const void *args, struct watch_cost *c)
{
    const struct op_heads *a = args;

    name_set(c, "heads", &a->parts[0].t);
    c->bytes = bytes_of(a->y) + bytes_of_parts(a->parts, a->n_parts);
}

static void values_cost(const void *args, struct watch_cost *c)
{
    const struct op_values *a = args;

    name_set(c, "values", &a->parts[0].t);
    c->bytes = bytes_of(a->y) + bytes_of_parts(a->parts, a->n_parts);
}

static void gather_cost(const void *args, struct watch_cost *c)
{
    const struct op_gather *a = args;

    name_set(c, "gather", a->out);
    c->bytes = bytes_of(a->out) + bytes_of_parts(a->parts, a->n_parts) +
               bytes_of_parts(a->add, a->n_add);
}

static void combine_cost(const void *args, struct watch_cost *c)
{
    const struct op_combine *a = args;

    name_set(c, "combine", a->out);
    c->bytes = (double)(a->n + 1) * bytes_of(a->out);
}

static void copy_cost(const void *args, struct watch_cost *c)
{
    const struct op_copy *a = args;
    bool stays = a->dst->space == a->src->space;

    name_set(c, stays ? "copy" : "copy to or from the host", a->dst);
    c->group = WATCH_COPY;
    c->bytes = bytes_of(a->src) + bytes_of(a->dst);
}

/* Ops that read one tensor and write one. */
#define PLAIN_COST(op, from, to)                                  \
    static void op##_cost(const void *args, struct watch_cost *c) \
    {                                                             \
        const struct op_##op *a = args;                           \
                                                                  \
        name_set(c, #op, a->to);                                  \
        c->bytes = bytes_of(a->from) + bytes_of(a->to);           \
    }
PLAIN_COST(convert, src, dst)
PLAIN_COST(sinusoid, t, out)
PLAIN_COST(unpatch, x, out)
PLAIN_COST(pixels, x, out)
PLAIN_COST(rows, out, out)
PLAIN_COST(normal, out, out)
PLAIN_COST(quantise, src, dst)
#undef PLAIN_COST

void bench_watch_cost(const char *op, const void *args, struct watch_cost *out)
{
    static const struct {
        const char *op;
        void (*cost)(const void *args, struct watch_cost *c);
    } table[] = {
        {"linear", linear_cost},
        {"conv", conv_cost},
        {"attention", attention_cost},
        {"attn_merge", merge_cost},
        {"norm", norm_cost},
        {"residual", residual_cost},
        {"act", act_cost},
        {"key_sum", key_sum_cost},
        {"heads", heads_cost},
        {"values", values_cost},
        {"gather", gather_cost},
        {"combine", combine_cost},
        {"copy", copy_cost},
        {"convert", convert_cost},
        {"sinusoid", sinusoid_cost},
        {"unpatch", unpatch_cost},
        {"pixels", pixels_cost},
        {"rows", rows_cost},
        {"normal", normal_cost},
        {"quantise", quantise_cost},
    };

    memset(out, 0, sizeof(*out));
    out->group = WATCH_FUSED;
    snprintf(out->name, sizeof(out->name), "%s", op);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(op, table[i].op) == 0)
            table[i].cost(args, out);
    }
}
