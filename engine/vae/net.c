/* net.c - builds the list of layers and finds their weights
 *
 *     encoder: conv1, stages of res_blocks + down, middle, head, top-level conv1
 *     decoder: top-level conv2, conv1, middle, stages of res_blocks + 1 and up, head
 *
 * Stage widths are base_dim * dim_mult; the decoder goes through them backwards, and a
 * spatial doubling halves the channels, so its later stages begin with half the width
 * that the stage before ended with. */
#include "engine/vae/net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct builder {
    struct net *net;
    enum dtype weight_dtype;
    enum mem_space space;
    int64_t width; /* channels that the last layer gives */
};

/* ---- one layer ------------------------------------------------------------------ */

static void conv_add(const struct builder *b, struct layer_conv *c, const char *name,
                     int64_t out, int kt, int k, int64_t in)
{
    c->name = name;
    c->weight = tensor_make(NULL, b->weight_dtype, b->space, 5,
                            (int64_t[]){out, kt, k, k, in});
    c->bias = tensor_make1(NULL, DT_F32, b->space, out);
}

static void norm_add(const struct builder *b, struct layer_norm *n, const char *name,
                     int rank, int64_t channels)
{
    n->name = name;
    n->rank = rank;
    n->gamma = tensor_make1(NULL, DT_F32, b->space, channels);
}

static void res_parts(const struct builder *b, struct layer *l)
{
    norm_add(b, &l->norm[0], "residual.0.gamma", 4, l->in);
    conv_add(b, &l->conv[0], "residual.2", l->out, 3, 3, l->in);
    norm_add(b, &l->norm[1], "residual.3.gamma", 4, l->out);
    conv_add(b, &l->conv[1], "residual.6", l->out, 3, 3, l->out);
    if (l->in != l->out)
        conv_add(b, &l->conv[2], "shortcut", l->out, 1, 1, l->in);
}

static void attn_parts(const struct builder *b, struct layer *l)
{
    norm_add(b, &l->norm[0], "norm.gamma", 3, l->in);
    conv_add(b, &l->conv[0], "to_qkv", 3 * l->in, 1, 1, l->in);
    conv_add(b, &l->conv[1], "proj", l->in, 1, 1, l->in);
}

static void layer_parts(const struct builder *b, struct layer *l)
{
    switch (l->kind) {
    case LAYER_POINT:
        conv_add(b, &l->conv[0], "", l->out, 1, 1, l->in);
        break;
    case LAYER_CAUSAL:
        conv_add(b, &l->conv[0], "", l->out, 3, 3, l->in);
        break;
    case LAYER_RES:
        res_parts(b, l);
        break;
    case LAYER_ATTN:
        attn_parts(b, l);
        break;
    case LAYER_DOWN_T:
        conv_add(b, &l->conv[1], "time_conv", l->in, 3, 1, l->in);
        conv_add(b, &l->conv[0], "resample.1", l->out, 1, 3, l->in);
        break;
    case LAYER_UP_T:
        conv_add(b, &l->conv[1], "time_conv", 2 * l->in, 3, 1, l->in);
        conv_add(b, &l->conv[0], "resample.1", l->out, 1, 3, l->in);
        break;
    case LAYER_DOWN:
    case LAYER_UP:
        conv_add(b, &l->conv[0], "resample.1", l->out, 1, 3, l->in);
        break;
    case LAYER_HEAD:
        norm_add(b, &l->norm[0], "0.gamma", 4, l->in);
        conv_add(b, &l->conv[0], "2", l->out, 3, 3, l->in);
        break;
    }
}

static int layer_slots(enum layer_kind kind)
{
    static const int slots[] = {
        [LAYER_CAUSAL] = 1, [LAYER_RES] = 2,  [LAYER_DOWN_T] = 1,
        [LAYER_UP_T] = 1,   [LAYER_HEAD] = 1,
    };

    return slots[kind];
}

/* Append a layer; `index` < 0 leaves the name as it is. */
static void layer_add(struct builder *b, enum layer_kind kind, const char *name,
                      int index, int64_t out)
{
    struct layer *l = &b->net->layers[b->net->n_layers++];

    l->kind = kind;
    if (index < 0)
        snprintf(l->name, sizeof(l->name), "%s", name);
    else
        snprintf(l->name, sizeof(l->name), "%s.%d", name, index);
    l->in = b->width;
    l->out = out;
    l->slot = b->net->n_slots;
    b->net->n_slots += layer_slots(kind);
    b->width = out;
    layer_parts(b, l);
}

/* ---- both sides ----------------------------------------------------------------- */

static void middle_add(struct builder *b, const char *name)
{
    layer_add(b, LAYER_RES, name, 0, b->width);
    layer_add(b, LAYER_ATTN, name, 1, b->width);
    layer_add(b, LAYER_RES, name, 2, b->width);
}

static void encoder_build(struct builder *b, const struct vae_config *c)
{
    static const char stages[] = "encoder.downsamples";
    int n = 0;

    b->width = 3;
    layer_add(b, LAYER_CAUSAL, "encoder.conv1", -1, c->base_dim);
    for (int i = 0; i < VAE_STAGES; i++) {
        for (int64_t k = 0; k < c->res_blocks; k++)
            layer_add(b, LAYER_RES, stages, n++, c->base_dim * c->dim_mult[i]);
        if (i < VAE_STAGES - 1)
            layer_add(b, c->temporal_down[i] ? LAYER_DOWN_T : LAYER_DOWN, stages, n++,
                      b->width);
    }
    middle_add(b, "encoder.middle");
    layer_add(b, LAYER_HEAD, "encoder.head", -1, 2 * c->z_dim);
    layer_add(b, LAYER_POINT, "conv1", -1, 2 * c->z_dim);
}

static void decoder_build(struct builder *b, const struct vae_config *c)
{
    static const char stages[] = "decoder.upsamples";
    int n = 0;

    b->width = c->z_dim;
    layer_add(b, LAYER_POINT, "conv2", -1, c->z_dim);
    layer_add(b, LAYER_CAUSAL, "decoder.conv1", -1,
              c->base_dim * c->dim_mult[VAE_STAGES - 1]);
    middle_add(b, "decoder.middle");
    for (int i = VAE_STAGES - 1; i >= 0; i--) {
        for (int64_t k = 0; k < c->res_blocks + 1; k++)
            layer_add(b, LAYER_RES, stages, n++, c->base_dim * c->dim_mult[i]);
        if (i > 0)
            layer_add(b, c->temporal_down[i - 1] ? LAYER_UP_T : LAYER_UP, stages, n++,
                      b->width / 2);
    }
    layer_add(b, LAYER_HEAD, "decoder.head", -1, 3);
}

enum status net_build(const struct vae_config *config, enum vae_side side,
                      enum dtype weight_dtype, enum mem_space space, struct net *out,
                      struct err *e)
{
    struct net net = {NULL, 0, 0};
    struct builder b = {&net, weight_dtype, space, 0};
    size_t room = (size_t)(6 + VAE_STAGES * (config->res_blocks + 2));

    net.layers = calloc(room, sizeof(*net.layers));
    if (!net.layers)
        return err_set(e, ST_RESOURCE, "no memory for the layers of the autoencoder");
    if (side == VAE_ENCODE)
        encoder_build(&b, config);
    else
        decoder_build(&b, config);
    assert((size_t)net.n_layers <= room);
    *out = net;
    return ST_OK;
}

void net_release(struct net *net)
{
    free(net->layers);
    *net = (struct net){NULL, 0, 0};
}

/* ---- weights -------------------------------------------------------------------- */

static enum status conv_bind(struct layer_conv *c, const char *layer,
                             const struct weights *w, struct err *e)
{
    char name[LAYER_NAME + 32];
    const char *dot = *c->name ? "." : "";

    snprintf(name, sizeof(name), "%s%s%s.weight", layer, dot, c->name);
    TRY(weights_find(w, name, 5, c->weight.shape, &c->weight, e));
    snprintf(name, sizeof(name), "%s%s%s.bias", layer, dot, c->name);
    return weights_find(w, name, 1, c->bias.shape, &c->bias, e);
}

static enum status norm_bind(struct layer_norm *n, const char *layer,
                             const struct weights *w, struct err *e)
{
    char name[LAYER_NAME + 32];
    int64_t channels = n->gamma.shape[0];
    struct tensor t;

    snprintf(name, sizeof(name), "%s.%s", layer, n->name);
    TRY(weights_find(w, name, n->rank, (int64_t[]){channels, 1, 1, 1}, &t, e));
    n->gamma = tensor_reshape(&t, 1, &channels);
    return ST_OK;
}

enum status net_bind(struct net *net, const struct weights *weights, struct err *e)
{
    for (int i = 0; i < net->n_layers; i++) {
        struct layer *l = &net->layers[i];

        for (int k = 0; k < LAYER_CONVS; k++) {
            if (l->conv[k].name)
                TRY(conv_bind(&l->conv[k], l->name, weights, e));
        }
        for (int k = 0; k < LAYER_NORMS; k++) {
            if (l->norm[k].name)
                TRY(norm_bind(&l->norm[k], l->name, weights, e));
        }
    }
    return ST_OK;
}
