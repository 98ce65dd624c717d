/* read_text.c - the UMT5 encoder (encoders-vae-formats 2.1, 2.2) */
#include "engine/weights/read_config.h"

enum { VOCAB = -1, D = -2, INNER = -3, FFN = -4, BUCKETS = -5, HEADS = -6 };

static const struct expect_row rows[] = {
    {"token_embedding.weight", 2, {VOCAB, D}},
    {"blocks.#.norm1.weight", 1, {D}},
    {"blocks.#.attn.q.weight", 2, {INNER, D}},
    {"blocks.#.attn.k.weight", 2, {INNER, D}},
    {"blocks.#.attn.v.weight", 2, {INNER, D}},
    {"blocks.#.attn.o.weight", 2, {D, INNER}},
    {"blocks.#.pos_embedding.embedding.weight", 2, {BUCKETS, HEADS}},
    {"blocks.#.norm2.weight", 1, {D}},
    {"blocks.#.ffn.gate.0.weight", 2, {FFN, D}},
    {"blocks.#.ffn.fc1.weight", 2, {FFN, D}},
    {"blocks.#.ffn.fc2.weight", 2, {D, FFN}},
    {"norm.weight", 1, {D}},
};

static enum status shapes_read(const struct component *c, struct text_config *t,
                               struct err *e)
{
    const struct stored *table, *q, *ffn, *bias;

    TRY(component_get(c, "token_embedding.weight", 2, &table, e));
    TRY(component_get(c, "blocks.0.attn.q.weight", 2, &q, e));
    TRY(component_get(c, "blocks.0.ffn.fc1.weight", 2, &ffn, e));
    TRY(component_get(c, "blocks.0.pos_embedding.embedding.weight", 2, &bias, e));
    t->vocab = table->dims[0];
    t->dim = table->dims[1];
    t->ffn_dim = ffn->dims[0];
    t->buckets = bias->dims[0];
    t->heads = bias->dims[1];
    t->layers = component_layers(c, "blocks.");
    TRY(config_dim(c, "vocabulary", t->vocab, INT64_C(1) << 31, e));
    TRY(config_dim(c, "encoder width", t->dim, DIM_MAX, e));
    TRY(config_dim(c, "feed-forward width", t->ffn_dim, DIM_MAX, e));
    TRY(config_dim(c, "relative position buckets", t->buckets, 4096, e));
    TRY(config_dim(c, "heads", t->heads, 4096, e));
    TRY(config_dim(c, "blocks", t->layers, LAYERS_MAX, e));
    TRY(config_dim(c, "query width", q->dims[0], DIM_MAX, e));
    if (q->dims[0] % t->heads)
        return err_set(e, ST_INPUT, "'%s': %lld heads do not divide query width %lld",
                       source_path(c->source), (long long)t->heads,
                       (long long)q->dims[0]);
    t->head_dim = q->dims[0] / t->heads;
    if (t->buckets % 4)
        return err_set(e, ST_INPUT,
                       "'%s': %lld relative position buckets, must be a multiple of 4",
                       source_path(c->source), (long long)t->buckets);
    return ST_OK;
}

static enum status config_check(struct json_value config, const struct text_config *t,
                                struct err *e)
{
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {
        {"vocab_size", t->vocab},
        {"d_model", t->dim},
        {"d_kv", t->head_dim},
        {"d_ff", t->ffn_dim},
        {"num_heads", t->heads},
        {"num_layers", t->layers},
        {"relative_attention_num_buckets", t->buckets},
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        TRY(config_agrees(config, sizes[i].key, sizes[i].value, e));
    TRY(config_is_text(config, "model_type", "umt5", e));
    return config_is_text(config, "feed_forward_proj", "gated-gelu", e);
}

void expect_text(struct expect_list *l, const struct text_config *t)
{
    const int64_t symbols[] = {t->vocab,   t->dim,     t->heads * t->head_dim,
                               t->ffn_dim, t->buckets, t->heads};

    expect_rows(l, rows, sizeof(rows) / sizeof(rows[0]), symbols, t->layers);
}

enum status read_text(const struct component *c, struct json_value config,
                      struct text_config *out, struct err *e)
{
    struct text_config t = {.max_distance = 128};
    struct expect_list l = EXPECT_LIST_INIT;
    double eps = 1e-6;
    enum status st;

    TRY(shapes_read(c, &t, e));
    TRY(config_check(config, &t, e));
    TRY(json_opt_int(config, "relative_attention_max_distance", t.buckets / 4 + 1,
                     65536, &t.max_distance, e));
    TRY(json_opt_double(config, "layer_norm_epsilon", 1e-12, 0.1, &eps, e));
    t.eps = (float)eps;
    expect_text(&l, &t);
    st = component_check(c, &l, e);
    expect_release(&l);
    if (st == ST_OK)
        *out = t;
    return st;
}
