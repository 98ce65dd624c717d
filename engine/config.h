/* config.h - what a model is: sizes and switches, as read from a model folder
 *
 * The reader (engine/weights/model.h) fills these from config files and tensor shapes
 * and checks them; the models (engine/dit, engine/text, engine/vae) are built from
 * them. All sizes are checked to be positive and small enough that products of a few
 * of them fit 64 bits.
 */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum model_family { FAMILY_WAN, FAMILY_SKYREELS };

/* Diffusion transformer. head_dim = dim / heads. */
struct dit_config {
    enum model_family family;
    bool diffusion_forcing; /* trained with one timestep per latent frame */
    int64_t dim, ffn_dim, heads, layers;
    int64_t in_channels, out_channels;
    int64_t freq_dim;           /* width of the time sinusoid, 256 */
    int64_t text_dim, text_len; /* 4096, 512 */
    float eps;                  /* 1e-6 */
    bool has_fps;               /* fps_embedding is there */
};

/* UMT5 encoder. */
struct text_config {
    int64_t vocab, dim, head_dim, heads, ffn_dim, layers;
    int64_t buckets, max_distance; /* 32, 128 */
    float eps;                     /* 1e-6 */
};

enum { VAE_CHANNELS_MAX = 64, VAE_STAGES = 4 };

/* Wan VAE: stage multipliers 1, 2, 4, 4, two residual blocks per encoder stage, three
 * per decoder stage, temporal halving after encoder stages 1 and 2. */
struct vae_config {
    int64_t base_dim, z_dim;
    int64_t dim_mult[VAE_STAGES];
    int64_t res_blocks;
    bool temporal_down[VAE_STAGES - 1];
    float mean[VAE_CHANNELS_MAX], std[VAE_CHANNELS_MAX]; /* per latent channel */
};

#endif
