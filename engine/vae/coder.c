/* coder.c - measures, cuts and walks */
#include "engine/vae/coder.h"

#include <assert.h>
#include <stdlib.h>

enum status coder_init(struct coder *k, const struct net *net, struct ops *ops,
                       const struct vae_shape *shape, struct err *e)
{
    struct slot *slots = calloc((size_t)net->n_slots, sizeof(*slots));

    if (!slots)
        return err_set(e, ST_RESOURCE, "no memory for the slots of the autoencoder");
    *k = (struct coder){
        .ops = ops,
        .net = net,
        .dtype = shape->dtype,
        .space = ops_facts(ops)->space,
        .slots = slots,
    };
    return ST_OK;
}

void coder_release(struct coder *k)
{
    free(k->slots);
    k->slots = NULL;
}

struct tensor coder_take(struct coder *k, int buffer, int64_t n, int64_t h, int64_t w,
                         int64_t c)
{
    struct tensor t = tensor_make(k->buffer[buffer], k->dtype, k->space, 4,
                                  (int64_t[]){n, h, w, c});
    size_t bytes = (size_t)tensor_count(&t) * dtype_bytes(k->dtype);

    if (!k->queue && bytes > k->buffer_bytes[buffer])
        k->buffer_bytes[buffer] = bytes;
    assert(bytes <= k->buffer_bytes[buffer]);
    return t;
}

void coder_reset(struct coder *k)
{
    for (int i = 0; i < k->net->n_slots; i++)
        k->slots[i].have = 0;
}

void coder_input(struct coder *k, int64_t n, int64_t h, int64_t w)
{
    k->at = BUFFER_A;
    k->x = coder_take(k, BUFFER_A, n, h, w, k->net->layers[0].in);
    k->area = area_whole(h, w);
}

enum status coder_walk(struct coder *k, bool first, struct err *e)
{
    k->first = first;
    k->flop = 0.0;
    for (int i = 0; i < k->net->n_layers; i++)
        TRY(layer_run(k, &k->net->layers[i], e));
    /* a border that reached an edge of the picture has not shrunk there */
    return k->tile.h ? picture_crop(k, &k->tile, e) : ST_OK;
}

/* One clip: the first frame, `lead` latent frames (0: none), twice `n` latent frames.
 */
static enum status clip_measure(struct coder *k, int64_t h, int64_t w,
                                int64_t per_latent, int64_t lead, int64_t n,
                                struct err *e)
{
    const int64_t steps[] = {lead, n, n};

    coder_reset(k);
    coder_input(k, 1, h, w);
    TRY(coder_walk(k, true, e));
    for (int i = 0; i < 3; i++) {
        if (!steps[i])
            continue;
        coder_input(k, steps[i] * per_latent, h, w);
        TRY(coder_walk(k, false, e));
    }
    return ST_OK;
}

enum status coder_measure(struct coder *k, const struct vae_shape *shape, int64_t h,
                          int64_t w, int64_t per_latent, struct err *e)
{
    for (int64_t n = 1; n <= shape->chunk; n++) {
        for (int64_t lead = 0; lead < 2; lead++)
            TRY(clip_measure(k, h, w, per_latent, lead, n, e));
    }
    coder_reset(k);
    return ST_OK;
}

size_t coder_cut(struct coder *k, struct arena *arena)
{
    size_t begin = arena->used;
    size_t slot_bytes;

    for (int i = 0; i < k->net->n_slots; i++) {
        struct tensor *t = &k->slots[i].t;

        *t = tensor_cut(arena, t->dtype, t->space, t->rank, t->shape);
    }
    slot_bytes = arena->used - begin;
    for (int i = 0; i < BUFFERS; i++)
        k->buffer[i] = arena_cut(arena, k->buffer_bytes[i]);
    return slot_bytes;
}
