/* read_vae.c - the Wan VAE (encoders-vae-formats 4.1, 4.3, appendix A)
 *
 * The list of layers is fixed: four stages, two residual blocks in each of the encoder
 * and three in each of the decoder, one attention in the middle. Widths are read off
 * the encoder, temporal halving off the presence of time convolutions.
 */
#include <stdio.h>
#include <string.h>

#include "engine/weights/read_config.h"

/* encoders-vae-formats 4.8 */
static const float wan_mean[16] = {
    -0.7571f, -0.7089f, -0.9113f, 0.1075f,  -0.1745f, 0.9653f,  -0.1517f, 1.5508f,
    0.4134f,  -0.0715f, 0.5517f,  -0.3632f, -0.1922f, -0.9497f, 0.2503f,  -0.2921f};
static const float wan_std[16] = {2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f,
                                  2.6052f, 2.0743f, 3.2687f, 2.1526f, 2.8652f, 1.5579f,
                                  1.6382f, 1.1253f, 2.8251f, 1.9160f};

enum { RES_BLOCKS = 2, STRIDE = RES_BLOCKS + 1, UP_STRIDE = RES_BLOCKS + 2 };

/* ---- what must be there --------------------------------------------------------- */

static void expect_conv(struct expect_list *l, const char *name, int64_t n_out,
                        int64_t n_in, int rank, const int64_t *kernel)
{
    int64_t dims[5] = {n_out, n_in};

    memcpy(dims + 2, kernel, (size_t)(rank - 2) * sizeof(*kernel));
    expect_add(l, rank, dims, "%s.weight", name);
    expect_add(l, 1, &n_out, "%s.bias", name);
}

static const int64_t k333[] = {3, 3, 3}, k111[] = {1, 1, 1}, k311[] = {3, 1, 1},
                     k33[] = {3, 3}, k11[] = {1, 1};

static void expect_residual(struct expect_list *l, const char *prefix, int64_t n_in,
                            int64_t n_out)
{
    char name[64];

    expect_add(l, 4, (int64_t[]){n_in, 1, 1, 1}, "%s.residual.0.gamma", prefix);
    snprintf(name, sizeof(name), "%s.residual.2", prefix);
    expect_conv(l, name, n_out, n_in, 5, k333);
    expect_add(l, 4, (int64_t[]){n_out, 1, 1, 1}, "%s.residual.3.gamma", prefix);
    snprintf(name, sizeof(name), "%s.residual.6", prefix);
    expect_conv(l, name, n_out, n_out, 5, k333);
    if (n_in == n_out)
        return;
    snprintf(name, sizeof(name), "%s.shortcut", prefix);
    expect_conv(l, name, n_out, n_in, 5, k111);
}

static void expect_middle(struct expect_list *l, const char *half, int64_t c)
{
    char name[64];

    for (int i = 0; i <= 2; i += 2) {
        snprintf(name, sizeof(name), "%s.middle.%d", half, i);
        expect_residual(l, name, c, c);
    }
    expect_add(l, 3, (int64_t[]){c, 1, 1}, "%s.middle.1.norm.gamma", half);
    snprintf(name, sizeof(name), "%s.middle.1.to_qkv", half);
    expect_conv(l, name, 3 * c, c, 4, k11);
    snprintf(name, sizeof(name), "%s.middle.1.proj", half);
    expect_conv(l, name, c, c, 4, k11);
}

static void expect_head(struct expect_list *l, const char *half, int64_t c,
                        int64_t n_out)
{
    char name[64];

    expect_add(l, 4, (int64_t[]){c, 1, 1, 1}, "%s.head.0.gamma", half);
    snprintf(name, sizeof(name), "%s.head.2", half);
    expect_conv(l, name, n_out, c, 5, k333);
}

static void expect_resample(struct expect_list *l, const char *prefix, int64_t n_in,
                            int64_t n_out, int64_t time_out)
{
    char name[64];

    snprintf(name, sizeof(name), "%s.resample.1", prefix);
    expect_conv(l, name, n_out, n_in, 4, k33);
    if (!time_out)
        return;
    snprintf(name, sizeof(name), "%s.time_conv", prefix);
    expect_conv(l, name, time_out, n_in, 5, k311);
}

static void expect_encoder(struct expect_list *l, const struct vae_config *v)
{
    int64_t c = v->base_dim;
    char name[64];

    expect_conv(l, "encoder.conv1", c, 3, 5, k333);
    for (int s = 0; s < VAE_STAGES; s++) {
        int64_t wide = v->base_dim * v->dim_mult[s];

        for (int r = 0; r < RES_BLOCKS; r++, c = wide) {
            snprintf(name, sizeof(name), "encoder.downsamples.%d", s * STRIDE + r);
            expect_residual(l, name, c, wide);
        }
        snprintf(name, sizeof(name), "encoder.downsamples.%d", s * STRIDE + RES_BLOCKS);
        if (s + 1 < VAE_STAGES)
            expect_resample(l, name, c, c, v->temporal_down[s] ? c : 0);
    }
    expect_middle(l, "encoder", c);
    expect_head(l, "encoder", c, 2 * v->z_dim);
}

/* Backwards through the stages; each doubling halves the channels. */
static void expect_decoder(struct expect_list *l, const struct vae_config *v)
{
    int64_t c = v->base_dim * v->dim_mult[VAE_STAGES - 1];
    char name[64];

    expect_conv(l, "decoder.conv1", c, v->z_dim, 5, k333);
    expect_middle(l, "decoder", c);
    for (int s = 0; s < VAE_STAGES; s++) {
        int64_t wide = v->base_dim * v->dim_mult[VAE_STAGES - 1 - s];

        for (int r = 0; r <= RES_BLOCKS; r++, c = wide) {
            snprintf(name, sizeof(name), "decoder.upsamples.%d", s * UP_STRIDE + r);
            expect_residual(l, name, c, wide);
        }
        snprintf(name, sizeof(name), "decoder.upsamples.%d",
                 s * UP_STRIDE + RES_BLOCKS + 1);
        if (s + 1 == VAE_STAGES)
            break;
        expect_resample(l, name, c, c / 2,
                        v->temporal_down[VAE_STAGES - 2 - s] ? 2 * c : 0);
        c /= 2;
    }
    expect_head(l, "decoder", c, 3);
}

void expect_vae(struct expect_list *l, const struct vae_config *v)
{
    expect_encoder(l, v);
    expect_conv(l, "conv1", 2 * v->z_dim, 2 * v->z_dim, 5, k111);
    expect_conv(l, "conv2", v->z_dim, v->z_dim, 5, k111);
    expect_decoder(l, v);
}

/* ---- configuration -------------------------------------------------------------- */

static enum status shapes_read(const struct component *c, struct vae_config *v,
                               struct err *e)
{
    const struct stored *first, *latent, *t;

    TRY(component_get(c, "encoder.conv1.weight", 5, &first, e));
    TRY(component_get(c, "conv2.weight", 5, &latent, e));
    v->base_dim = first->dims[0];
    v->z_dim = latent->dims[0];
    v->res_blocks = RES_BLOCKS;
    TRY(config_dim(c, "base width", v->base_dim, 65536, e));
    TRY(config_dim(c, "latent channels", v->z_dim, VAE_CHANNELS_MAX, e));
    for (int s = 0; s < VAE_STAGES; s++) {
        char name[64];

        snprintf(name, sizeof(name), "encoder.downsamples.%d.residual.2.weight",
                 s * STRIDE);
        TRY(component_get(c, name, 5, &t, e));
        if (t->dims[0] % v->base_dim)
            return err_set(
                e, ST_INPUT,
                "'%s': tensor '%s' has %lld channels, not a multiple of %lld",
                source_path(c->source), t->name, (long long)t->dims[0],
                (long long)v->base_dim);
        v->dim_mult[s] = t->dims[0] / v->base_dim;
        TRY(config_dim(c, "stage multiplier", v->dim_mult[s], 256, e));
        snprintf(name, sizeof(name), "encoder.downsamples.%d.time_conv.weight",
                 s * STRIDE + RES_BLOCKS);
        if (s + 1 < VAE_STAGES)
            v->temporal_down[s] = component_find(c, name) != NULL;
    }
    return ST_OK;
}

static enum status config_check(struct json_value config, const struct vae_config *v,
                                struct err *e)
{
    struct json_value down = json_find(config, "temperal_downsample");
    int i = 0;

    TRY(config_agrees(config, "base_dim", v->base_dim, e));
    TRY(config_agrees(config, "z_dim", v->z_dim, e));
    TRY(config_agrees(config, "num_res_blocks", v->res_blocks, e));
    TRY(config_is_list(config, "dim_mult", VAE_STAGES, v->dim_mult, e));
    TRY(config_is_list(config, "attn_scales", 0, v->dim_mult, e));
    if (json_kind(down) <= JSON_NULL)
        return ST_OK;
    if (json_kind(down) != JSON_ARRAY || json_count(down) != VAE_STAGES - 1)
        return json_refuse(down, e, "must be a list of %d", VAE_STAGES - 1);
    for (struct json_value x = json_first(down); json_exists(x);
         x = json_next(x), i++) {
        bool given;

        TRY(json_bool(x, &given, e));
        if (given != v->temporal_down[i])
            return json_refuse(down, e, "does not agree with the tensors");
    }
    return ST_OK;
}

static enum status statistics_read(const struct component *c, struct json_value config,
                                   struct vae_config *v, struct err *e)
{
    double mean[VAE_CHANNELS_MAX], std[VAE_CHANNELS_MAX];
    struct json_value m = json_find(config, "latents_mean");
    struct json_value s = json_find(config, "latents_std");
    int n = (int)v->z_dim;

    if (!json_exists(m) && !json_exists(s)) {
        if (n != 16)
            return err_set(e, ST_INPUT,
                           "'%s': %d latent channels, and no config.json with "
                           "latents_mean and latents_std",
                           source_path(c->source), n);
        memcpy(v->mean, wan_mean, sizeof(wan_mean));
        memcpy(v->std, wan_std, sizeof(wan_std));
        return ST_OK;
    }
    TRY(json_get(config, "latents_mean", JSON_ARRAY, &m, e));
    TRY(json_get(config, "latents_std", JSON_ARRAY, &s, e));
    TRY(json_doubles(m, -1e6, 1e6, n, mean, e));
    TRY(json_doubles(s, 1e-6, 1e6, n, std, e));
    for (int i = 0; i < n; i++) {
        v->mean[i] = (float)mean[i];
        v->std[i] = (float)std[i];
    }
    return ST_OK;
}

enum status read_vae(const struct component *c, struct json_value config,
                     struct vae_config *out, struct err *e)
{
    struct vae_config v = {0};
    struct expect_list l = EXPECT_LIST_INIT;
    enum status st;

    TRY(shapes_read(c, &v, e));
    TRY(config_check(config, &v, e));
    TRY(statistics_read(c, config, &v, e));
    expect_vae(&l, &v);
    st = component_check(c, &l, e);
    expect_release(&l);
    if (st == ST_OK)
        *out = v;
    return st;
}
