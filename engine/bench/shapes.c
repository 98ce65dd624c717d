/* shapes.c - the sizes of the published models, and of one small enough for tests
 *
 * dit-and-sampling 1.2; encoders-vae-formats 2.1, 4.1. The statistics of latents are
 * left at 0 and 1: made-up latents have them. */
#include "engine/bench/inside.h"

/* What all transformers and text encoders of the family have. */
#define WAN_COMMON                                                           \
    .in_channels = 16, .out_channels = 16, .freq_dim = 256, .text_len = 512, \
    .eps = 1e-6f
#define UMT5_COMMON .head_dim = 64, .buckets = 32, .max_distance = 128, .eps = 1e-6f

static const struct dit_config dit_of[] = {
    [BENCH_14B] = {.family = FAMILY_SKYREELS,
                   .dim = 5120,
                   .ffn_dim = 13824,
                   .heads = 40,
                   .layers = 40,
                   .text_dim = 4096,
                   WAN_COMMON},
    [BENCH_1_3B] = {.family = FAMILY_WAN,
                    .dim = 1536,
                    .ffn_dim = 8960,
                    .heads = 12,
                    .layers = 30,
                    .text_dim = 4096,
                    WAN_COMMON},
    [BENCH_TINY] = {.family = FAMILY_WAN,
                    .dim = 256,
                    .ffn_dim = 512,
                    .heads = 4,
                    .layers = 2,
                    .text_dim = 128,
                    WAN_COMMON},
};

static const struct text_config umt5_xxl = {.vocab = 256384,
                                            .dim = 4096,
                                            .heads = 64,
                                            .ffn_dim = 10240,
                                            .layers = 24,
                                            UMT5_COMMON};
static const struct text_config umt5_tiny = {
    .vocab = 1000, .dim = 128, .heads = 2, .ffn_dim = 256, .layers = 2, UMT5_COMMON};

static struct vae_config vae_of(int64_t base_dim)
{
    struct vae_config v = {.base_dim = base_dim,
                           .z_dim = 16,
                           .dim_mult = {1, 2, 4, 4},
                           .res_blocks = 2,
                           .temporal_down = {false, true, true}};

    for (int i = 0; i < VAE_CHANNELS_MAX; i++)
        v.std[i] = 1.0f;
    return v;
}

struct bench_models bench_models_of(enum bench_shape shape, int64_t layers)
{
    static const char *const names[] = {"14B", "1.3B", "tiny"};
    bool tiny = shape == BENCH_TINY;
    struct bench_models m = {.name = names[shape],
                             .dit = dit_of[shape],
                             .text = tiny ? umt5_tiny : umt5_xxl,
                             .vae = vae_of(tiny ? 8 : 96)};

    if (layers)
        m.dit.layers = layers;
    return m;
}
