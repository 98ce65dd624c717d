/* read_dit.c - the transformer: tensors (dit-and-sampling 2), variants (1.2) */
#include <string.h>

#include "engine/weights/read_config.h"

enum { D = -1, FFN = -2, SIX_D = -3, IN = -4, HEAD = -5, FREQ = -6, TEXT = -7 };

#define LINEAR(name, n_out, n_in)       \
    {name ".weight", 2, {n_out, n_in}}, \
    {                                   \
        name ".bias", 1,                \
        {                               \
            n_out                       \
        }                               \
    }
#define ATTENTION(name)                                                        \
    LINEAR(name ".q", D, D), LINEAR(name ".k", D, D), LINEAR(name ".v", D, D), \
        LINEAR(name ".o", D, D), {name ".norm_q.weight", 1, {D}},              \
    {                                                                          \
        name ".norm_k.weight", 1,                                              \
        {                                                                      \
            D                                                                  \
        }                                                                      \
    }

static const struct expect_row rows[] = {
    {"patch_embedding.weight", 5, {D, IN, 1, 2, 2}},
    {"patch_embedding.bias", 1, {D}},
    LINEAR("text_embedding.0", D, TEXT),
    LINEAR("text_embedding.2", D, D),
    LINEAR("time_embedding.0", D, FREQ),
    LINEAR("time_embedding.2", D, D),
    LINEAR("time_projection.1", SIX_D, D),
    {"blocks.#.modulation", 3, {1, 6, D}},
    ATTENTION("blocks.#.self_attn"),
    {"blocks.#.norm3.weight", 1, {D}},
    {"blocks.#.norm3.bias", 1, {D}},
    ATTENTION("blocks.#.cross_attn"),
    LINEAR("blocks.#.ffn.0", FFN, D),
    LINEAR("blocks.#.ffn.2", D, FFN),
    {"head.modulation", 3, {1, 2, D}},
    LINEAR("head.head", HEAD, D),
};

static const struct expect_row fps_rows[] = {
    {"fps_embedding.weight", 2, {2, D}},
    LINEAR("fps_projection.0", D, D),
    LINEAR("fps_projection.2", SIX_D, D),
};

/* Model types of config.json that are known and not built. */
static const struct {
    const char *type, *what;
} other_types[] = {
    {"i2v", "an image-to-video model"},
    {"flf2v", "a first-and-last-frame model"},
    {"ti2v", "Wan2.2 TI2V"},
    {"vace", "a VACE model"},
};

static const char *kind_by_type(const char *type)
{
    for (size_t i = 0; i < sizeof(other_types) / sizeof(other_types[0]); i++)
        if (strcmp(type, other_types[i].type) == 0)
            return other_types[i].what;
    return NULL;
}

static const char *kind_by_tensors(const struct component *c, int64_t in_channels)
{
    if (component_find(c, "img_emb.emb_pos"))
        return "a first-and-last-frame model";
    if (component_find(c, "vace_patch_embedding.weight"))
        return "a VACE model";
    if (component_find(c, "img_emb.proj.1.weight"))
        return "an image-to-video model";
    if (in_channels == 48)
        return "Wan2.2 TI2V";
    return in_channels == 36 ? "an image-to-video model" : NULL;
}

enum status read_dit_kind(const struct component *c, struct json_value config,
                          struct dit_kind *out, struct err *e)
{
    const struct stored *patch;
    const char *type = "t2v";
    struct dit_kind k = {.has_fps = component_find(c, "fps_embedding.weight") != NULL};

    TRY(component_get(c, "patch_embedding.weight", 5, &patch, e));
    TRY(json_opt_string(config, "model_type", &type, e));
    k.dim = patch->dims[0];
    k.in_channels = patch->dims[1];
    k.layers = component_layers(c, "blocks.");
    k.unbuilt = kind_by_tensors(c, k.in_channels);
    if (!k.unbuilt)
        k.unbuilt = kind_by_type(type);
    if (!k.unbuilt && strcmp(type, "t2v") != 0)
        return json_refuse(json_find(config, "model_type"), e,
                           "is '%.40s', must be 't2v'", type);
    *out = k;
    return ST_OK;
}

static enum status shapes_read(const struct component *c, struct dit_config *d,
                               struct err *e)
{
    const struct stored *patch, *head, *ffn, *text, *time;

    TRY(component_get(c, "patch_embedding.weight", 5, &patch, e));
    TRY(component_get(c, "head.head.weight", 2, &head, e));
    TRY(component_get(c, "blocks.0.ffn.0.weight", 2, &ffn, e));
    TRY(component_get(c, "text_embedding.0.weight", 2, &text, e));
    TRY(component_get(c, "time_embedding.0.weight", 2, &time, e));
    d->dim = patch->dims[0];
    d->in_channels = patch->dims[1];
    d->out_channels = head->dims[0] / 4;
    d->ffn_dim = ffn->dims[0];
    d->text_dim = text->dims[1];
    d->freq_dim = time->dims[1];
    d->layers = component_layers(c, "blocks.");
    d->has_fps = component_find(c, "fps_embedding.weight") != NULL;
    TRY(config_dim(c, "model width", d->dim, DIM_MAX, e));
    TRY(config_dim(c, "input channels", d->in_channels, 4096, e));
    TRY(config_dim(c, "output channels", d->out_channels, 4096, e));
    TRY(config_dim(c, "feed-forward width", d->ffn_dim, DIM_MAX, e));
    TRY(config_dim(c, "text width", d->text_dim, DIM_MAX, e));
    TRY(config_dim(c, "width of the time sinusoid", d->freq_dim, DIM_MAX, e));
    return config_dim(c, "blocks", d->layers, LAYERS_MAX, e);
}

/* Members of both layouts that repeat what shapes say, and constants. */
static enum status config_check(struct json_value config, const struct dit_config *d,
                                struct err *e)
{
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {
        {"dim", d->dim},
        {"ffn_dim", d->ffn_dim},
        {"freq_dim", d->freq_dim},
        {"in_dim", d->in_channels},
        {"in_channels", d->in_channels},
        {"out_dim", d->out_channels},
        {"out_channels", d->out_channels},
        {"num_layers", d->layers},
        {"text_dim", d->text_dim},
        {"rope_max_seq_len", 1024},
        {"num_frame_per_block", 1},
    };
    struct json_value norm = json_find(config, "qk_norm");

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        TRY(config_agrees(config, sizes[i].key, sizes[i].value, e));
    TRY(config_is_list(config, "patch_size", 3, (int64_t[]){1, 2, 2}, e));
    TRY(config_is_list(config, "window_size", 2, (int64_t[]){-1, -1}, e));
    TRY(config_is_true(config, "cross_attn_norm", e));
    if (json_kind(norm) == JSON_BOOL)
        return config_is_true(config, "qk_norm", e);
    return config_is_text(config, "qk_norm", "rms_norm_across_heads", e);
}

/* From the config file, or 128 wide heads as every published model has. */
static enum status heads_read(const struct component *c, struct json_value config,
                              struct dit_config *d, struct err *e)
{
    int64_t head_dim;

    d->heads = d->dim % 128 == 0 ? d->dim / 128 : 0;
    TRY(json_opt_int(config, "num_heads", 1, d->dim, &d->heads, e));
    TRY(json_opt_int(config, "num_attention_heads", 1, d->dim, &d->heads, e));
    if (d->heads == 0)
        return err_set(e, ST_INPUT,
                       "'%s': width %lld is not a multiple of 128, so config.json must "
                       "say num_heads",
                       source_path(c->source), (long long)d->dim);
    head_dim = d->dim / d->heads;
    if (d->dim % d->heads || head_dim % 2)
        return err_set(
            e, ST_INPUT, "'%s': %lld heads do not divide width %lld into even parts",
            json_exists(config) ? json_name(config.doc) : source_path(c->source),
            (long long)d->heads, (long long)d->dim);
    return config_agrees(config, "attention_head_dim", head_dim, e);
}

void expect_dit(struct expect_list *l, const struct dit_config *d)
{
    const int64_t symbols[] = {d->dim,         d->ffn_dim,          6 * d->dim,
                               d->in_channels, 4 * d->out_channels, d->freq_dim,
                               d->text_dim};

    expect_rows(l, rows, sizeof(rows) / sizeof(rows[0]), symbols, d->layers);
    if (d->has_fps)
        expect_rows(l, fps_rows, sizeof(fps_rows) / sizeof(fps_rows[0]), symbols,
                    d->layers);
}

enum status read_dit(const struct component *c, struct json_value config,
                     struct dit_config *out, struct err *e)
{
    struct dit_config d = *out;
    struct expect_list l = EXPECT_LIST_INIT;
    double eps = 1e-6;
    enum status st;

    TRY(shapes_read(c, &d, e));
    TRY(config_check(config, &d, e));
    TRY(heads_read(c, config, &d, e));
    d.text_len = 512;
    TRY(json_opt_int(config, "text_len", 1, 65536, &d.text_len, e));
    TRY(json_opt_double(config, "eps", 1e-12, 0.1, &eps, e));
    d.eps = (float)eps;
    expect_dit(&l, &d);
    st = component_check(c, &l, e);
    expect_release(&l);
    if (st == ST_OK)
        *out = d;
    return st;
}
