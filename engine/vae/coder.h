/* coder.h - a net at work: buffers, slots, and the walk that plans and runs
 *
 * Inside engine/vae only. The same walk over the layers either measures (no queue: it
 * notes how large buffers, slots and workspace must be) or runs, so that the plan is
 * what happens.
 *
 * Memory of a coder:
 *
 *     slots    one per causal convolution: the last frames it read, in its own width
 *     A, B     the picture in flight; layers read one and write the other
 *     work     [2 + n,h,w,c]: what a convolution in time reads. The two frames in front
 *              are filled from its slot, the rest is written by the norm before it, and
 *              the last two go back to the slot: nothing is padded or joined
 *     stage    frames or latents in f32, on their way from or to the host
 *
 * Slot rule. A slot knows how many frames it has (0 at the start, then 1, then 2).
 * Missing frames are zeros before the clip, which the convolution adds as padding. */
#ifndef ENGINE_VAE_CODER_H
#define ENGINE_VAE_CODER_H

#include "engine/vae/area.h"

enum { BUFFER_A, BUFFER_B, BUFFER_WORK, BUFFERS };

struct slot {
    struct tensor t; /* [1 or 2,h,w,c] */
    int64_t have;    /* frames in it, at its beginning */
};

struct coder {
    struct ops *ops;
    struct queue *queue; /* NULL: measure */
    const struct net *net;
    enum dtype dtype;
    enum mem_space space;
    struct slot *slots;
    void *buffer[BUFFERS];
    size_t buffer_bytes[BUFFERS];
    size_t workspace_bytes;
    double flop;      /* of the last walk that measured */
    int at;           /* BUFFER_A or BUFFER_B, where x lies */
    struct tensor x;  /* [n,h,w,c], the picture in flight */
    struct area area; /* that it covers */
    struct area tile; /* that is wanted in the end, decoding */
    bool first;       /* this walk is over the first frame of the clip */
};

enum status coder_init(struct coder *k, const struct net *net, struct ops *ops,
                       const struct vae_shape *shape, struct err *e);
void coder_release(struct coder *k);

/* Walk without a queue through every step that can happen: `per_latent` input frames
 * per latent frame, pictures of h x w. */
enum status coder_measure(struct coder *k, const struct vae_shape *shape, int64_t h,
                          int64_t w, int64_t per_latent, struct err *e);

/* Cut what was measured; returns the bytes of the slots. */
size_t coder_cut(struct coder *k, struct arena *arena);

/* Forget the clip: all slots are empty. */
void coder_reset(struct coder *k);

/* k->x = a whole picture of this size in buffer A, for the caller to fill. */
void coder_input(struct coder *k, int64_t n, int64_t h, int64_t w);

/* Send k->x through all layers; k->x is the result. */
enum status coder_walk(struct coder *k, bool first, struct err *e);

/* One layer: k->x in, k->x out (layers.c). */
enum status layer_run(struct coder *k, const struct layer *l, struct err *e);

/* k->x = the part `want` of itself. */
enum status picture_crop(struct coder *k, const struct area *want, struct err *e);

/* A tensor of this shape in a buffer; measuring, the buffer grows to hold it. */
struct tensor coder_take(struct coder *k, int buffer, int64_t n, int64_t h, int64_t w,
                         int64_t c);

#endif
