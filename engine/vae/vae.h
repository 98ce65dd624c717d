/* vae.h - the Wan video autoencoder: latents to frames and back, a few frames at a time
 *
 * Latents are [z,T,h,w] f32, normalised: (mean of the encoder - mean[c]) / std[c].
 * Frames are [F,H,W,3] (RGB, channels last) with H = 8 h, W = 8 w, F = 4 (T - 1) + 1:
 * the first latent frame is one picture, every later one four (4 is 2 per temporal
 * stage of the configuration). All tensors of the calls below lie in host memory.
 *
 * A clip goes through in steps. Every causal convolution in time remembers the last two
 * frames that it read (a slot), so memory depends on the picture and on the step, not
 * on the length of the clip, and the result does not depend on the step's length:
 *
 *     TRY(vae_create(&config, weights, ops, &v, e));
 *     struct vae_shape s = {.height = 544, .width = 960, .chunk = 1, .dtype = DT_BF16};
 *     TRY(vae_plan(&config, ops, VAE_DECODE, &s, &plan, e));   pure, before v exists
 *     … arena with plan.arena_bytes, queue with plan.workspace_bytes …
 *     TRY(vae_decode_begin(v, &s, queue, &arena, &d, e));
 *     for (t = 0; t < T; t += 1) {
 *         z = tensor_slice(&latents, 1, t, 1);
 *         n = vae_decode_frames(d, 1);
 *         TRY_GOTO(st, vae_decode_step(d, &z, &frames, e), out);   frames [n,H,W,3]
 *     }
 * out:
 *     vae_decode_end(d);
 *
 * Tiles. With a tile in the shape a decoder takes whole latents and gives only that
 * part of every frame, to the bytes that decoding whole frames gives, in less memory:
 * slots and pictures are those of the tile and a border (area.h). A clip goes through
 * once for each tile.
 *
 * What runs: the published networks (Wan2.1_VAE.pth, AutoencoderKLWan) with any base
 * width, latent width and multipliers. Equal to the diffusers implementation up to
 * rounding; SkyReels-V2 and Wan2.1 use the same network. */
#ifndef ENGINE_VAE_VAE_H
#define ENGINE_VAE_VAE_H

#include "engine/config.h"
#include "engine/weights/weights.h"
#include "kernels/base/arena.h"
#include "kernels/ops.h"

enum { VAE_CHUNK_MAX = 64 };

enum vae_side { VAE_ENCODE, VAE_DECODE };

/* A part of every frame, in pixels, multiples of 8. */
struct vae_tile {
    int64_t y, x, height, width;
};

struct vae_shape {
    int64_t height, width; /* of the frames, multiples of 8 */
    int64_t chunk;         /* largest number of latent frames per step, 1 to 64 */
    enum dtype dtype;      /* of activations: DT_F32 or DT_BF16 */
    struct vae_tile tile;  /* decode only this; zeros: the whole frame */
};

struct vae_plan {
    size_t arena_bytes;     /* cut from the arena by vae_…_begin */
    size_t slot_bytes;      /* the part of it that the slots take */
    size_t workspace_bytes; /* the queue must have */
    size_t host_bytes;      /* allocated on the host by vae_…_begin */
    double latent_flop;     /* work of a latent frame, from the third one on; a
                             * multiply-add is 2 */
};

/* Memory of one side for this shape. Pure. ST_USAGE for an impossible shape. */
enum status vae_plan(const struct vae_config *config, const struct ops *ops,
                     enum vae_side side, const struct vae_shape *shape,
                     struct vae_plan *out, struct err *e);

/* Frames of a clip of `latents` latent frames, and the way back, which refuses what is
 * not 4 n + 1 and names the neighbours that are (ST_USAGE). */
int64_t vae_frames(const struct vae_config *config, int64_t latents);
enum status vae_latents(const struct vae_config *config, int64_t frames, int64_t *out,
                        struct err *e);

struct vae;

/* Look up all tensors of both sides under their original names. Convolution weights are
 * [O,kt,kh,kw,C] (kt = 1 for pictures). `weights` and `ops` are borrowed until
 * vae_destroy. A side whose tensors are not there is refused when it is begun. */
enum status vae_create(const struct vae_config *config, const struct weights *weights,
                       struct ops *ops, struct vae **out, struct err *e);
void vae_destroy(struct vae *v);

/* ---- decoding ------------------------------------------------------------------- */

struct vae_decode;

/* `queue` and the pieces cut from `arena` are borrowed until vae_decode_end. */
enum status vae_decode_begin(struct vae *v, const struct vae_shape *shape,
                             struct queue *queue, struct arena *arena,
                             struct vae_decode **out, struct err *e);

/* How many frames the next step gives for `n` latent frames. */
int64_t vae_decode_frames(const struct vae_decode *d, int64_t n);

/* latents [z,n,h,w] f32, any strides, n at most the chunk. frames [N,H,W,3] dense (of
 * the tile, when there is one), N as vae_decode_frames says: f32 clamped to -1..1, or
 * u8 (ops_pixels: truncated). Waits for the queue, so that `frames` is ready on return.
 */
enum status vae_decode_step(struct vae_decode *d, const struct tensor *latents,
                            const struct tensor *frames, struct err *e);

/* The same in two calls: a device works on the step between them, while the host is
 * free for other things. `latents` are read by the first call; `frames` are written by
 * the second, those of a clip's first step by both. */
enum status vae_decode_step_begin(struct vae_decode *d, const struct tensor *latents,
                                  const struct tensor *frames, struct err *e);
enum status vae_decode_step_end(struct vae_decode *d, struct err *e);

/* vae_decode_end(NULL) is fine. */
void vae_decode_end(struct vae_decode *d);

/* ---- encoding ------------------------------------------------------------------- */

struct vae_encode;

enum status vae_encode_begin(struct vae *v, const struct vae_shape *shape,
                             struct queue *queue, struct arena *arena,
                             struct vae_encode **out, struct err *e);

/* How many latent frames the next step gives for `n` frames: the first step takes
 * 4 m + 1 frames, every later one 4 m; anything else is ST_USAGE, because the network
 * would silently drop the rest. */
enum status vae_encode_latents(const struct vae_encode *d, int64_t n, int64_t *out,
                               struct err *e);

/* frames [n,H,W,3] f32 in -1..1, dense. latents [z,m,h,w] f32, any strides: the
 * normalised mean (never a sample). m at most the chunk. */
enum status vae_encode_step(struct vae_encode *d, const struct tensor *frames,
                            const struct tensor *latents, struct err *e);

void vae_encode_end(struct vae_encode *d);

#endif
