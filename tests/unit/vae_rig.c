/* vae_rig.c - made-up autoencoders and whole clips, for the tests */
#include "tests/unit/vae_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/rng.h"

#define OK(call)                             \
    do {                                     \
        enum status ok_status_ = (call);     \
        if (ok_status_ != ST_OK)             \
            print_message("%s\n", e.text);   \
        assert_int_equal(ok_status_, ST_OK); \
    } while (0)

float *rig_noise(uint64_t stream, int64_t n)
{
    float *p = rig_zeros(n);

    noise_philox(7, stream, 0, (size_t)n, p);
    return p;
}

float *rig_zeros(int64_t n)
{
    float *p = calloc((size_t)n + 1, sizeof(*p));

    assert_non_null(p);
    return p;
}

/* ---- made-up weights ------------------------------------------------------------ */

struct entries {
    struct weights_entry *list;
    float **data;
    int n;
};

/* A tensor of normal numbers times `scale` plus `shift`. */
static void entry_add(struct entries *all, const char *layer, const char *part,
                      const char *suffix, int rank, const int64_t *shape, float scale,
                      float shift)
{
    char name[128];
    struct tensor t = tensor_make(NULL, DT_F32, MEM_HOST, rank, shape);
    int64_t n = tensor_count(&t);
    float *p = rig_noise((uint64_t)all->n + 1000, n);

    for (int64_t i = 0; i < n; i++)
        p[i] = p[i] * scale + shift;
    snprintf(name, sizeof(name), "%s%s%s%s", layer, *part ? "." : "", part, suffix);
    t.data = p;
    all->data[all->n] = p;
    all->list[all->n] = (struct weights_entry){strdup(name), t};
    assert_non_null(all->list[all->n].name);
    all->n++;
}

static void layer_entries(struct entries *all, const struct layer *l)
{
    for (int k = 0; k < LAYER_CONVS; k++) {
        const struct layer_conv *c = &l->conv[k];
        const int64_t *s = c->weight.shape;

        if (!c->name)
            continue;
        entry_add(all, l->name, c->name, ".weight", 5, s,
                  1.0f / sqrtf((float)(s[1] * s[2] * s[3] * s[4])), 0.0f);
        entry_add(all, l->name, c->name, ".bias", 1, s, 0.2f, 0.0f);
    }
    for (int k = 0; k < LAYER_NORMS; k++) {
        const struct layer_norm *n = &l->norm[k];

        if (n->name)
            entry_add(all, l->name, n->name, "", n->rank,
                      (int64_t[]){n->gamma.shape[0], 1, 1, 1}, 0.25f, 1.0f);
    }
}

static void side_entries(struct entries *all, const struct vae_config *config,
                         enum vae_side side)
{
    struct err e = ERR_INIT;
    struct net net;

    OK(net_build(config, side, DT_F32, MEM_HOST, &net, &e));
    for (int i = 0; i < net.n_layers; i++)
        layer_entries(all, &net.layers[i]);
    net_release(&net);
}

void rig_make(struct rig *r, const char *backend, const struct vae_config *config)
{
    enum { ROOM = 1024 };
    struct entries all = {calloc(ROOM, sizeof(*all.list)),
                          calloc(ROOM, sizeof(float *)), 0};
    struct err e = ERR_INIT;
    struct weights *weights;
    struct ops *ops;

    assert_non_null(all.list);
    assert_non_null(all.data);
    side_entries(&all, config, VAE_ENCODE);
    side_entries(&all, config, VAE_DECODE);
    OK(ops_open(backend, &(struct ops_options){.threads = 2}, &ops, &e));
    OK(weights_from_entries(all.list, all.n, &weights, &e));
    for (int i = 0; i < all.n; i++)
        free((void *)(uintptr_t)all.list[i].name);
    free(all.list);
    rig_take(r, config, ops, weights);
    r->data = all.data;
    r->n_data = all.n;
}

void rig_take(struct rig *r, const struct vae_config *config, struct ops *ops,
              struct weights *weights)
{
    struct err e = ERR_INIT;

    *r = (struct rig){.config = *config, .ops = ops, .weights = weights};
    OK(vae_create(config, weights, ops, &r->vae, &e));
}

void rig_release(struct rig *r)
{
    vae_destroy(r->vae);
    weights_close(r->weights);
    ops_close(r->ops);
    for (int i = 0; i < r->n_data; i++)
        free(r->data[i]);
    free(r->data);
}

/* ---- whole clips ---------------------------------------------------------------- */

/* Exactly the memory that the plan asks for. */
struct room {
    void *arena_mem, *workspace;
    struct arena arena;
    struct queue *queue;
};

static void room_open(struct room *m, const struct rig *r, enum vae_side side,
                      const struct vae_shape *shape)
{
    struct err e = ERR_INIT;
    struct vae_plan plan;

    OK(vae_plan(&r->config, r->ops, side, shape, &plan, &e));
    OK(ops_mem_alloc(r->ops, plan.arena_bytes, &m->arena_mem, &e));
    OK(ops_mem_alloc(r->ops, plan.workspace_bytes, &m->workspace, &e));
    OK(ops_queue_open(r->ops, m->workspace, plan.workspace_bytes, &m->queue, &e));
    memset(m->arena_mem, 0xff, plan.arena_bytes); /* NaN, wherever nobody wrote */
    arena_init(&m->arena, m->arena_mem, plan.arena_bytes);
}

static void room_close(struct room *m, const struct rig *r)
{
    ops_queue_close(r->ops, m->queue);
    ops_mem_free(r->ops, m->workspace);
    ops_mem_free(r->ops, m->arena_mem);
}

static int64_t largest(const int64_t *steps)
{
    int64_t most = 1;

    for (; *steps; steps++)
        most = *steps > most ? *steps : most;
    return most;
}

/* The length of the next step. */
static int64_t step_next(const int64_t **steps, int64_t left)
{
    int64_t n = **steps < left ? **steps : left;

    if ((*steps)[1])
        (*steps)++;
    return n;
}

void rig_decode(const struct rig *r, const float *latents, int64_t T, int64_t h,
                int64_t w, enum dtype dtype, const int64_t *steps, enum dtype out_type,
                void *frames)
{
    struct vae_tile all = {0, 0, 8 * h, 8 * w};

    rig_decode_tile(r, latents, T, h, w, dtype, steps, &all, out_type, frames);
}

void rig_decode_tile(const struct rig *r, const float *latents, int64_t T, int64_t h,
                     int64_t w, enum dtype dtype, const int64_t *steps,
                     const struct vae_tile *tile, enum dtype out_type, void *frames)
{
    struct vae_shape shape = {8 * h, 8 * w, largest(steps), dtype, *tile};
    struct tensor z = tensor_make((void *)(uintptr_t)latents, DT_F32, MEM_HOST, 4,
                                  (int64_t[]){r->config.z_dim, T, h, w});
    struct tensor out = tensor_make(
        frames, out_type, MEM_HOST, 4,
        (int64_t[]){vae_frames(&r->config, T), tile->height, tile->width, 3});
    struct err e = ERR_INIT;
    struct vae_decode *d;
    struct room m;
    int64_t at = 0;

    room_open(&m, r, VAE_DECODE, &shape);
    OK(vae_decode_begin(r->vae, &shape, m.queue, &m.arena, &d, &e));
    for (int64_t t = 0; t < T;) {
        int64_t n = step_next(&steps, T - t);
        int64_t count = vae_decode_frames(d, n);
        struct tensor part = tensor_slice(&z, 1, t, n);
        struct tensor to = tensor_slice(&out, 0, at, count);

        OK(vae_decode_step(d, &part, &to, &e));
        t += n;
        at += count;
    }
    assert_int_equal(at, out.shape[0]);
    vae_decode_end(d);
    room_close(&m, r);
}

void rig_encode(const struct rig *r, const float *frames, int64_t T, int64_t h,
                int64_t w, enum dtype dtype, const int64_t *steps, float *latents)
{
    struct vae_shape shape = {8 * h, 8 * w, largest(steps), dtype, {0}};
    struct tensor z = tensor_make(latents, DT_F32, MEM_HOST, 4,
                                  (int64_t[]){r->config.z_dim, T, h, w});
    struct tensor in = tensor_make(
        (void *)(uintptr_t)frames, DT_F32, MEM_HOST, 4,
        (int64_t[]){vae_frames(&r->config, T), 8 * h, 8 * w, 3});
    struct err e = ERR_INIT;
    struct vae_encode *d;
    struct room m;
    int64_t at = 0;

    room_open(&m, r, VAE_ENCODE, &shape);
    OK(vae_encode_begin(r->vae, &shape, m.queue, &m.arena, &d, &e));
    for (int64_t t = 0; t < T;) {
        int64_t n = step_next(&steps, T - t);
        int64_t count = vae_frames(&r->config, t + n) - at;
        struct tensor part = tensor_slice(&in, 0, at, count);
        struct tensor to = tensor_slice(&z, 1, t, n);
        int64_t m_latents;

        OK(vae_encode_latents(d, count, &m_latents, &e));
        assert_int_equal(m_latents, n);
        OK(vae_encode_step(d, &part, &to, &e));
        t += n;
        at += count;
    }
    vae_encode_end(d);
    room_close(&m, r);
}

/* ---- numbers -------------------------------------------------------------------- */

double rig_distance(const float *a, const float *b, int64_t n)
{
    double diff = 0.0, norm = 0.0;

    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - b[i];

        diff += d * d;
        norm += (double)b[i] * b[i];
    }
    return sqrt(diff / norm);
}

void rig_channels_last(float *out, const float *in, int64_t c, int64_t n, int64_t h,
                       int64_t w)
{
    int64_t pixels = n * h * w;

    for (int64_t i = 0; i < pixels; i++) {
        for (int64_t k = 0; k < c; k++)
            out[i * c + k] = in[k * pixels + i];
    }
}
