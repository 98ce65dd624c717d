/* shape.h - the arithmetic of sizes that encoding, decoding and planning share
 *
 * Inside engine/vae only. */
#ifndef ENGINE_VAE_SHAPE_H
#define ENGINE_VAE_SHAPE_H

#include "engine/vae/coder.h"

enum { SPACE_FACTOR = 1 << (VAE_STAGES - 1) }; /* pixels per latent pixel and side */

/* Frames per latent frame after the first: 2 for every temporal stage. */
int64_t time_factor(const struct vae_config *config);

enum status shape_check(const struct vae_shape *shape, struct err *e);

/* Dense f32 values of one step on the way between host and device. */
int64_t stage_count(const struct vae_config *config, const struct vae_shape *shape);
int64_t host_count(const struct vae_config *config, const struct vae_shape *shape);

/* Measure one side and cut it from `arena`. On success the caller owns k (released with
 * coder_release). */
enum status coder_open(struct coder *k, const struct vae_config *config,
                       const struct net *net, struct ops *ops, enum vae_side side,
                       const struct vae_shape *shape, struct arena *arena,
                       struct tensor *stage, size_t *slot_bytes, struct err *e);

#endif
