/* vae_rig.h - what the tests of the autoencoder share: made-up models, whole clips
 *
 * A rig holds a backend, weights and an autoencoder; rig_decode and rig_encode send a
 * clip through in given steps, with memory that is exactly what the plan says. Failures
 * are cmocka assertions. */
#ifndef TESTS_UNIT_VAE_RIG_H
#define TESTS_UNIT_VAE_RIG_H

#include "engine/vae/net.h"
#include "engine/vae/vae.h"

struct rig {
    struct vae_config config;
    struct ops *ops;
    struct weights *weights;
    struct vae *vae;
    float **data; /* values of made-up weights */
    int n_data;
};

/* Open a backend and make random weights for `config`. */
void rig_make(struct rig *r, const char *backend, const struct vae_config *config);
/* The same with weights that are there already; takes both over. */
void rig_take(struct rig *r, const struct vae_config *config, struct ops *ops,
              struct weights *weights);
void rig_release(struct rig *r);

/* Normal numbers from a stream of their own, in memory to be freed. */
float *rig_noise(uint64_t stream, int64_t n);
float *rig_zeros(int64_t n);

/* [z,T,h,w] -> [F,8h,8w,3] f32 or u8. steps: latent frames per step, 0 ends the list
 * and its last number is used for the rest. */
void rig_decode(const struct rig *r, const float *latents, int64_t T, int64_t h,
                int64_t w, enum dtype dtype, const int64_t *steps, enum dtype out_type,
                void *frames);

/* The same of a tile alone, which all frames are then of. */
void rig_decode_tile(const struct rig *r, const float *latents, int64_t T, int64_t h,
                     int64_t w, enum dtype dtype, const int64_t *steps,
                     const struct vae_tile *tile, enum dtype out_type, void *frames);

/* [F,H,W,3] -> [z,T,h,w]; steps in latent frames. */
void rig_encode(const struct rig *r, const float *frames, int64_t T, int64_t h,
                int64_t w, enum dtype dtype, const int64_t *steps, float *latents);

/* sqrt(sum (a - b)^2 / sum b^2). */
double rig_distance(const float *a, const float *b, int64_t n);

/* [C,N,H,W] -> [N,H,W,C] (the layout of golden videos). */
void rig_channels_last(float *out, const float *in, int64_t c, int64_t n, int64_t h,
                       int64_t w);

#endif
