/* part_vae.c - the video autoencoder's 194 tensors, in the order the modules run */
#include <stdio.h>

#include "tests/demo-model/parts.h"

static const int64_t cube[] = {3, 3, 3}, point[] = {1, 1, 1}, square[] = {3, 3},
                     dot[] = {1, 1};

/* Widths of the four stages. */
static const int64_t wide[] = {VAE_BASE, 2 * VAE_BASE, 4 * VAE_BASE, 4 * VAE_BASE};

static void conv(struct made *m, const char *at, const char *name, int64_t out,
                 int64_t in, int axes, const int64_t *kernel, float gain)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "%.64s.%.24s", at, name);
    made_conv(m, full, out, in, axes, kernel, gain);
}

static void time_conv(struct made *m, const char *at, int64_t out, int64_t in)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "%.64s.time_conv", at);
    made_time_conv(m, full, out, in, 0.3f);
}

static void gamma(struct made *m, const char *at, const char *name, int64_t c, int rank)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "%.64s.%.24s", at, name);
    made_const(m, full, 1.0f, rank, (int64_t[]){c, 1, 1, 1});
}

static void residual(struct made *m, const char *at, int64_t in, int64_t out)
{
    gamma(m, at, "residual.0.gamma", in, 4);
    conv(m, at, "residual.2", out, in, 3, cube, 1.0f);
    gamma(m, at, "residual.3.gamma", out, 4);
    conv(m, at, "residual.6", out, out, 3, cube, 0.5f);
    if (in != out)
        conv(m, at, "shortcut", out, in, 3, point, 1.0f);
}

static void middle(struct made *m, const char *side, int64_t c)
{
    char at[MADE_NAME_MAX];

    snprintf(at, sizeof(at), "%s.middle.0", side);
    residual(m, at, c, c);
    snprintf(at, sizeof(at), "%s.middle.1", side);
    gamma(m, at, "norm.gamma", c, 3);
    conv(m, at, "to_qkv", 3 * c, c, 2, dot, 1.0f);
    conv(m, at, "proj", c, c, 2, dot, 0.5f);
    snprintf(at, sizeof(at), "%s.middle.2", side);
    residual(m, at, c, c);
}

static void head(struct made *m, const char *side, int64_t in, int64_t out, float gain)
{
    char at[MADE_NAME_MAX];

    snprintf(at, sizeof(at), "%s.head", side);
    gamma(m, at, "0.gamma", in, 4);
    conv(m, at, "2", out, in, 3, cube, gain);
}

/* Two residual blocks per stage; halving after all but the last, in time too after the
 * second and third. */
static void encoder(struct made *m)
{
    char at[MADE_NAME_MAX];
    int64_t in = wide[0];
    int n = 0;

    made_conv(m, "encoder.conv1", wide[0], 3, 3, cube, 1.0f);
    for (int stage = 0; stage < 4; stage++) {
        for (int i = 0; i < 2; i++) {
            snprintf(at, sizeof(at), "encoder.downsamples.%d", n++);
            residual(m, at, in, wide[stage]);
            in = wide[stage];
        }
        if (stage == 3)
            break;
        snprintf(at, sizeof(at), "encoder.downsamples.%d", n++);
        conv(m, at, "resample.1", in, in, 2, square, 1.0f);
        if (stage > 0)
            time_conv(m, at, in, in);
    }
    middle(m, "encoder", in);
    head(m, "encoder", in, 2 * VAE_Z, 1.0f);
}

/* Three residual blocks per stage; doubling halves the channels, in time too after the
 * first two. */
static void decoder(struct made *m)
{
    char at[MADE_NAME_MAX];
    int64_t in = wide[3];
    int n = 0;

    made_conv(m, "decoder.conv1", in, VAE_Z, 3, cube, 1.0f);
    middle(m, "decoder", in);
    for (int stage = 0; stage < 4; stage++) {
        int64_t out = wide[3 - stage];

        for (int i = 0; i < 3; i++) {
            snprintf(at, sizeof(at), "decoder.upsamples.%d", n++);
            residual(m, at, in, out);
            in = out;
        }
        if (stage == 3)
            break;
        snprintf(at, sizeof(at), "decoder.upsamples.%d", n++);
        conv(m, at, "resample.1", in / 2, in, 2, square, 1.0f);
        if (stage < 2)
            time_conv(m, at, 2 * in, in);
        in /= 2;
    }
    head(m, "decoder", in, 3, 0.8f);
}

void made_vae(struct made *m)
{
    encoder(m);
    made_conv(m, "conv1", 2 * VAE_Z, 2 * VAE_Z, 3, point, 1.0f);
    made_conv(m, "conv2", VAE_Z, VAE_Z, 3, point, 1.0f);
    decoder(m);
}
