/* net.h - the layers of one side of the autoencoder, in the order they run
 *
 * Inside engine/vae only. A net is built from the configuration alone, so that memory
 * can be planned without weights, and bound to weights later. Names are those of the
 * original file: layer "decoder.upsamples.4" has "residual.2.weight" and so on. */
#ifndef ENGINE_VAE_NET_H
#define ENGINE_VAE_NET_H

#include "engine/vae/vae.h"

enum layer_kind {
    LAYER_POINT,  /* 1x1x1 convolution */
    LAYER_CAUSAL, /* 3x3x3 convolution, causal in time */
    LAYER_RES,    /* x + conv(silu(norm(conv(silu(norm(x)))))) */
    LAYER_ATTN,   /* x + proj(attention(norm(x))) within each frame, one head */
    LAYER_DOWN,   /* half size */
    LAYER_DOWN_T, /* half size, half rate */
    LAYER_UP,     /* double size, half the channels */
    LAYER_UP_T,   /* double rate, double size, half the channels */
    LAYER_HEAD,   /* conv(silu(norm(x))) */
};

enum { LAYER_NAME = 48, LAYER_CONVS = 3, LAYER_NORMS = 2, LAYER_SLOTS = 2 };

/* name: behind the layer's own, NULL when the layer has none, "" for the layer itself.
 */
struct layer_conv {
    const char *name;
    struct tensor weight, bias; /* [O,kt,kh,kw,C], [O] */
};

struct layer_norm {
    const char *name;
    int rank;            /* as stored: [C,1,1,1] or [C,1,1] */
    struct tensor gamma; /* [C] */
};

struct layer {
    enum layer_kind kind;
    char name[LAYER_NAME];
    int64_t in, out;                     /* channels */
    struct layer_conv conv[LAYER_CONVS]; /* POINT, CAUSAL, HEAD: 0. RES: first, second,
                                            shortcut. ATTN: qkv, proj. UP, DOWN: in
                                            space, in time */
    struct layer_norm norm[LAYER_NORMS];
    int slot; /* first of the slots it uses */
};

struct net {
    struct layer *layers;
    int n_layers, n_slots;
};

/* Layers with shapes, without data; `weight_dtype` as the weights will have. */
enum status net_build(const struct vae_config *config, enum vae_side side,
                      enum dtype weight_dtype, enum mem_space space, struct net *out,
                      struct err *e);
void net_release(struct net *net);

/* Find every tensor. */
enum status net_bind(struct net *net, const struct weights *weights, struct err *e);

#endif
