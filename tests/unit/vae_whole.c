/* vae_whole.c - plain loops over whole clips */
#include "tests/unit/vae_whole.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct clip {
    int64_t n, h, w, c;
    double *v;
};

static struct clip clip_make(int64_t n, int64_t h, int64_t w, int64_t c)
{
    struct clip x = {n, h, w, c, calloc((size_t)(n * h * w * c), sizeof(double))};

    assert_non_null(x.v);
    return x;
}

/* Frames [from, x.n), a copy. */
static struct clip clip_tail(const struct clip *x, int64_t from)
{
    struct clip y = clip_make(x->n - from, x->h, x->w, x->c);
    int64_t frame = x->h * x->w * x->c;

    memcpy(y.v, x->v + from * frame, sizeof(double) * (size_t)(y.n * frame));
    return y;
}

static void clip_replace(struct clip *x, struct clip y)
{
    free(x->v);
    *x = y;
}

struct how {
    int64_t lo[3], hi[3], stride[3], up;
};

/* The pads of a causal convolution of this size. */
static struct how causal_how(const struct layer_conv *c)
{
    const int64_t *s = c->weight.shape;

    return (struct how){
        {s[1] - 1, s[2] / 2, s[3] / 2}, {0, s[2] / 2, s[3] / 2}, {1, 1, 1}, 1};
}

static double tap(const struct clip *x, const float *weight, int64_t t, int64_t i,
                  int64_t j, int64_t up)
{
    const double *p;
    double sum = 0.0;

    if (t < 0 || t >= x->n || i < 0 || i >= x->h * up || j < 0 || j >= x->w * up)
        return 0.0;
    p = x->v + ((t * x->h + i / up) * x->w + j / up) * x->c;
    for (int64_t k = 0; k < x->c; k++)
        sum += p[k] * weight[k];
    return sum;
}

static double convolve_at(const struct clip *x, const struct layer_conv *c,
                          const struct how *how, int64_t t, int64_t i, int64_t j,
                          int64_t o)
{
    const int64_t *s = c->weight.shape;
    const float *weight = (const float *)c->weight.data + o * s[1] * s[2] * s[3] * s[4];
    double sum = ((const float *)c->bias.data)[o];

    for (int64_t a = 0; a < s[1] * s[2] * s[3]; a++)
        sum += tap(x, weight + a * s[4],
                   t * how->stride[0] + a / s[3] / s[2] - how->lo[0],
                   i * how->stride[1] + a / s[3] % s[2] - how->lo[1],
                   j * how->stride[2] + a % s[3] - how->lo[2], how->up);
    return sum;
}

static struct clip convolve(const struct clip *x, const struct layer_conv *c,
                            struct how how)
{
    const int64_t *s = c->weight.shape;
    const int64_t in[3] = {x->n, x->h * how.up, x->w * how.up};
    int64_t size[3];
    struct clip y;

    for (int k = 0; k < 3; k++)
        size[k] = (in[k] + how.lo[k] + how.hi[k] - s[1 + k]) / how.stride[k] + 1;
    y = clip_make(size[0], size[1], size[2], s[0]);
    for (int64_t at = 0; at < y.n * y.h * y.w; at++) {
        for (int64_t o = 0; o < y.c; o++)
            y.v[at * y.c + o] = convolve_at(x, c, &how, at / y.w / y.h, at / y.w % y.h,
                                            at % y.w, o);
    }
    return y;
}

static struct clip normalise(const struct clip *x, const struct layer_norm *n, int silu)
{
    struct clip y = clip_make(x->n, x->h, x->w, x->c);

    for (int64_t p = 0; p < x->n * x->h * x->w; p++) {
        const double *in = x->v + p * x->c;
        double sum = 0.0;

        for (int64_t k = 0; k < x->c; k++)
            sum += in[k] * in[k];
        for (int64_t k = 0; k < x->c; k++) {
            double u = in[k] / fmax(sqrt(sum), 1e-12) * sqrt((double)x->c) *
                       ((const float *)n->gamma.data)[k];

            y.v[p * x->c + k] = silu ? u / (1.0 + exp(-u)) : u;
        }
    }
    return y;
}

static void add(struct clip *x, const struct clip *y)
{
    for (int64_t i = 0; i < x->n * x->h * x->w * x->c; i++)
        x->v[i] += y->v[i];
}

static void norm_convolve(struct clip *x, const struct layer_norm *n,
                          const struct layer_conv *c)
{
    clip_replace(x, normalise(x, n, 1));
    clip_replace(x, convolve(x, c, causal_how(c)));
}

static void residual(struct clip *x, const struct layer *l)
{
    struct clip y = clip_tail(x, 0);

    norm_convolve(&y, &l->norm[0], &l->conv[0]);
    norm_convolve(&y, &l->norm[1], &l->conv[1]);
    if (l->in != l->out)
        clip_replace(x, convolve(x, &l->conv[2], causal_how(&l->conv[2])));
    add(x, &y);
    free(y.v);
}

/* out[c] = softmax over the pixels of one frame, for the query pixel q. */
static void attend_at(const double *qkv, int64_t s, int64_t c, int64_t q, double *out)
{
    double most = -INFINITY, total = 0.0;
    double *logit = calloc((size_t)s, sizeof(double));

    assert_non_null(logit);
    for (int64_t k = 0; k < s; k++) {
        for (int64_t i = 0; i < c; i++)
            logit[k] += qkv[q * 3 * c + i] * qkv[k * 3 * c + c + i] / sqrt((double)c);
        most = fmax(most, logit[k]);
    }
    for (int64_t k = 0; k < s; k++)
        total += logit[k] = exp(logit[k] - most);
    for (int64_t k = 0; k < s; k++) {
        for (int64_t i = 0; i < c; i++)
            out[i] += logit[k] / total * qkv[k * 3 * c + 2 * c + i];
    }
    free(logit);
}

static void attention(struct clip *x, const struct layer *l)
{
    struct clip u = normalise(x, &l->norm[0], 0);
    struct clip qkv = convolve(&u, &l->conv[0], causal_how(&l->conv[0]));
    struct clip o = clip_make(x->n, x->h, x->w, x->c);
    int64_t s = x->h * x->w;

    for (int64_t p = 0; p < x->n * s; p++)
        attend_at(qkv.v + p / s * s * qkv.c, s, x->c, p % s, o.v + p * x->c);
    clip_replace(&u, convolve(&o, &l->conv[1], causal_how(&l->conv[1])));
    add(x, &u);
    free(u.v);
    free(qkv.v);
    free(o.v);
}

static void halve_rate(struct clip *x, const struct layer *l)
{
    struct how how = {{0, 0, 0}, {0, 0, 0}, {2, 1, 1}, 1};
    struct clip y = clip_make((x->n - 1) / 2 + 1, x->h, x->w, x->c);
    int64_t frame = x->h * x->w * x->c;
    struct clip later;

    memcpy(y.v, x->v, sizeof(double) * (size_t)frame);
    if (x->n > 1) {
        later = convolve(x, &l->conv[1], how);
        memcpy(y.v + frame, later.v, sizeof(double) * (size_t)(later.n * frame));
        free(later.v);
    }
    clip_replace(x, y);
}

static void double_rate(struct clip *x, const struct layer *l)
{
    struct clip tail = clip_tail(x, 1);
    struct clip y = clip_make(2 * x->n - 1, x->h, x->w, x->c);
    struct clip both = convolve(&tail, &l->conv[1], causal_how(&l->conv[1]));
    int64_t pixels = x->h * x->w, c = x->c;

    memcpy(y.v, x->v, sizeof(double) * (size_t)(pixels * c));
    for (int64_t t = 1; t < y.n; t++) {
        for (int64_t p = 0; p < pixels; p++)
            memcpy(y.v + (t * pixels + p) * c,
                   both.v + ((t - 1) / 2 * pixels + p) * 2 * c + (t - 1) % 2 * c,
                   sizeof(double) * (size_t)c);
    }
    free(tail.v);
    free(both.v);
    clip_replace(x, y);
}

static void layer_whole(struct clip *x, const struct layer *l)
{
    const struct how down = {{0, 0, 0}, {0, 1, 1}, {1, 2, 2}, 1};
    const struct how up = {{0, 1, 1}, {0, 1, 1}, {1, 1, 1}, 2};

    switch (l->kind) {
    case LAYER_POINT:
    case LAYER_CAUSAL:
        clip_replace(x, convolve(x, &l->conv[0], causal_how(&l->conv[0])));
        break;
    case LAYER_RES:
        residual(x, l);
        break;
    case LAYER_ATTN:
        attention(x, l);
        break;
    case LAYER_DOWN:
    case LAYER_DOWN_T:
        clip_replace(x, convolve(x, &l->conv[0], down));
        if (l->kind == LAYER_DOWN_T)
            halve_rate(x, l);
        break;
    case LAYER_UP:
    case LAYER_UP_T:
        if (l->kind == LAYER_UP_T && x->n > 1)
            double_rate(x, l);
        clip_replace(x, convolve(x, &l->conv[0], up));
        break;
    case LAYER_HEAD:
        norm_convolve(x, &l->norm[0], &l->conv[0]);
        break;
    }
}

static void net_whole(const struct rig *r, enum vae_side side, struct clip *x)
{
    struct err e = ERR_INIT;
    struct net net;

    assert_int_equal(net_build(&r->config, side, DT_F32, MEM_HOST, &net, &e), ST_OK);
    assert_int_equal(net_bind(&net, r->weights, &e), ST_OK);
    for (int i = 0; i < net.n_layers; i++)
        layer_whole(x, &net.layers[i]);
    net_release(&net);
}

void whole_decode(const struct rig *r, const float *latents, int64_t T, int64_t h,
                  int64_t w, float *frames)
{
    const struct vae_config *c = &r->config;
    struct clip x = clip_make(T, h, w, c->z_dim);
    int64_t pixels = T * h * w;

    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t k = 0; k < x.c; k++)
            x.v[p * x.c + k] = (double)latents[k * pixels + p] * c->std[k] + c->mean[k];
    }
    net_whole(r, VAE_DECODE, &x);
    for (int64_t i = 0; i < x.n * x.h * x.w * x.c; i++)
        frames[i] = (float)fmin(1.0, fmax(-1.0, x.v[i]));
    free(x.v);
}

void whole_encode(const struct rig *r, const float *frames, int64_t T, int64_t h,
                  int64_t w, float *latents)
{
    const struct vae_config *c = &r->config;
    struct clip x = clip_make(vae_frames(c, T), 8 * h, 8 * w, 3);
    int64_t pixels = T * h * w;

    for (int64_t i = 0; i < x.n * x.h * x.w * 3; i++)
        x.v[i] = frames[i];
    net_whole(r, VAE_ENCODE, &x);
    assert_int_equal(x.n, T);
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t k = 0; k < c->z_dim; k++)
            latents[k * pixels + p] = (float)((x.v[p * x.c + k] - c->mean[k]) /
                                              c->std[k]);
    }
    free(x.v);
}
