/* vae.c - the autoencoder as one object, and both ways through it step by step
 *
 * Latents change layout and normalisation on the host: they are small. Pictures are
 * channels last everywhere. */
#include "engine/vae/vae.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/vae/shape.h"

struct vae {
    struct vae_config config;
    struct ops *ops;
    struct net net[2]; /* by enum vae_side; no layers when its weights are missing */
};

/* Both ways share everything but the direction. */
struct way {
    struct vae *vae;
    struct vae_shape shape;
    struct coder coder;
    struct tensor stage; /* f32, device */
    float *host;         /* latents of a step [n,h,w,c], dense */
    bool begun;          /* the first frame is through */
};

struct vae_decode {
    struct way way;
    struct tensor frames; /* that the step under way will fill */
};

struct vae_encode {
    struct way way;
};

/* ---- the object ----------------------------------------------------------------- */

static enum status side_open(struct vae *v, enum vae_side side, const struct weights *w,
                             struct err *e)
{
    static const char *const first[] = {
        [VAE_ENCODE] = "encoder.conv1.weight",
        [VAE_DECODE] = "decoder.conv1.weight",
    };

    if (!weights_has(w, first[side]))
        return ST_OK;
    TRY(net_build(&v->config, side, DT_F32, ops_facts(v->ops)->space, &v->net[side],
                  e));
    return net_bind(&v->net[side], w, e);
}

enum status vae_create(const struct vae_config *config, const struct weights *weights,
                       struct ops *ops, struct vae **out, struct err *e)
{
    struct vae *v = calloc(1, sizeof(*v));
    enum status st;

    if (!v)
        return err_set(e, ST_RESOURCE, "no memory for the autoencoder");
    v->config = *config;
    v->ops = ops;
    TRY_GOTO(st, side_open(v, VAE_ENCODE, weights, e), err_destroy);
    TRY_GOTO(st, side_open(v, VAE_DECODE, weights, e), err_destroy);
    *out = v;
    return ST_OK;

err_destroy:
    vae_destroy(v);
    return st;
}

void vae_destroy(struct vae *v)
{
    if (!v)
        return;
    net_release(&v->net[VAE_ENCODE]);
    net_release(&v->net[VAE_DECODE]);
    free(v);
}

/* ---- begin and end -------------------------------------------------------------- */

static enum status way_begin(struct way *way, struct vae *v, enum vae_side side,
                             const struct vae_shape *shape, struct queue *queue,
                             struct arena *arena, struct err *e)
{
    size_t slot_bytes;

    if (!v->net[side].layers)
        return err_set(e, ST_INPUT, "the autoencoder has no tensors of its %s",
                       side == VAE_ENCODE ? "encoder" : "decoder");
    way->vae = v;
    way->shape = *shape;
    TRY(coder_open(&way->coder, &v->config, &v->net[side], v->ops, side, shape, arena,
                   &way->stage, &slot_bytes, e));
    way->coder.queue = queue;
    way->host = malloc((size_t)host_count(&v->config, shape) * sizeof(float));
    if (way->host)
        return ST_OK;
    coder_release(&way->coder);
    return err_set(e, ST_RESOURCE, "no memory for latents of the autoencoder");
}

static void way_end(struct way *way)
{
    coder_release(&way->coder);
    free(way->host);
}

enum status vae_decode_begin(struct vae *v, const struct vae_shape *shape,
                             struct queue *queue, struct arena *arena,
                             struct vae_decode **out, struct err *e)
{
    struct vae_decode *d = calloc(1, sizeof(*d));
    enum status st;

    if (!d)
        return err_set(e, ST_RESOURCE, "no memory to decode");
    TRY_GOTO(st, way_begin(&d->way, v, VAE_DECODE, shape, queue, arena, e), err_free);
    *out = d;
    return ST_OK;

err_free:
    free(d);
    return st;
}

enum status vae_encode_begin(struct vae *v, const struct vae_shape *shape,
                             struct queue *queue, struct arena *arena,
                             struct vae_encode **out, struct err *e)
{
    struct vae_encode *d = calloc(1, sizeof(*d));
    enum status st;

    if (!d)
        return err_set(e, ST_RESOURCE, "no memory to encode");
    TRY_GOTO(st, way_begin(&d->way, v, VAE_ENCODE, shape, queue, arena, e), err_free);
    *out = d;
    return ST_OK;

err_free:
    free(d);
    return st;
}

void vae_decode_end(struct vae_decode *d)
{
    if (!d)
        return;
    way_end(&d->way);
    free(d);
}

void vae_encode_end(struct vae_encode *d)
{
    if (!d)
        return;
    way_end(&d->way);
    free(d);
}

/* ---- between host and device ---------------------------------------------------- */

/* The first elements of the stage as a tensor of this shape. */
static struct tensor stage_view(const struct way *way, enum dtype dt,
                                const struct tensor *like)
{
    return tensor_make(way->stage.data, dt, way->stage.space, like->rank, like->shape);
}

/* Host tensor -> stage -> coder's x. */
static enum status picture_put(struct way *way, const struct tensor *host,
                               struct err *e)
{
    struct coder *k = &way->coder;
    struct tensor stage = stage_view(way, DT_F32, host);

    coder_input(k, host->shape[0], host->shape[1], host->shape[2]);
    assert(host->shape[3] == k->x.shape[3]);
    TRY(ops_copy(k->ops, k->queue, &stage, host, e));
    return ops_convert(k->ops, k->queue,
                       &(struct op_convert){.dst = &k->x, .src = &stage}, e);
}

/* Coder's x -> stage, f32 or u8 as `host` is. */
static enum status picture_stage(struct way *way, const struct tensor *host,
                                 struct err *e)
{
    struct coder *k = &way->coder;
    struct tensor stage = stage_view(way, host->dtype, host);

    assert(tensor_same_shape(host, &k->x));
    if (host->dtype == DT_U8)
        return ops_pixels(k->ops, k->queue,
                          &(struct op_pixels){.out = &stage, .x = &k->x}, e);
    return ops_convert(k->ops, k->queue,
                       &(struct op_convert){.dst = &stage, .src = &k->x}, e);
}

/* Stage -> host tensor; waits. */
static enum status picture_take(struct way *way, const struct tensor *host,
                                struct err *e)
{
    struct coder *k = &way->coder;
    struct tensor stage = stage_view(way, host->dtype, host);

    TRY(ops_copy(k->ops, k->queue, host, &stage, e));
    return ops_queue_wait(k->ops, k->queue, e);
}

/* Where element (c, t, y, x) of [z,n,h,w] lies. */
static float *latent_at(const struct tensor *t, int64_t c, int64_t f, int64_t y,
                        int64_t x)
{
    return (float *)t->data + c * t->stride[0] + f * t->stride[1] + y * t->stride[2] +
           x * t->stride[3];
}

/* The step's latents as the host tensor [n,h,w,channels] that way->host holds. */
static struct tensor host_view(const struct way *way, int64_t n, int64_t channels)
{
    return tensor_make(way->host, DT_F32, MEM_HOST, 4,
                       (int64_t[]){n, way->shape.height / SPACE_FACTOR,
                                   way->shape.width / SPACE_FACTOR, channels});
}

/* ---- decoding ------------------------------------------------------------------- */

int64_t vae_decode_frames(const struct vae_decode *d, int64_t n)
{
    int64_t f = time_factor(&d->way.vae->config);

    return d->way.begun ? f * n : f * (n - 1) + 1;
}

/* [z,n,h,w] normalised to [n,h,w,z] as the network wants it. */
static void latents_scale(const struct way *way, const struct tensor *latents,
                          const struct tensor *host)
{
    const struct vae_config *c = &way->vae->config;
    float *p = host->data;

    for (int64_t f = 0; f < host->shape[0]; f++)
        for (int64_t y = 0; y < host->shape[1]; y++)
            for (int64_t x = 0; x < host->shape[2]; x++)
                for (int64_t i = 0; i < host->shape[3]; i++)
                    *p++ = *latent_at(latents, i, f, y, x) * c->std[i] + c->mean[i];
}

static void frames_clamp(const struct tensor *frames)
{
    float *p = frames->data;
    int64_t n = tensor_count(frames);

    for (int64_t i = 0; i < n; i++)
        p[i] = p[i] < -1.0f ? -1.0f : p[i] > 1.0f ? 1.0f : p[i];
}

/* Frames of the same kind, the first one or any number of later ones, up to the stage.
 */
static enum status part_begin(struct vae_decode *d, const struct tensor *latents,
                              const struct tensor *frames, struct err *e)
{
    struct way *way = &d->way;
    struct tensor host = host_view(way, latents->shape[1], latents->shape[0]);

    latents_scale(way, latents, &host);
    TRY(picture_put(way, &host, e));
    TRY(coder_walk(&way->coder, !way->begun, e));
    TRY(picture_stage(way, frames, e));
    d->frames = *frames;
    way->begun = true;
    return ST_OK;
}

enum status vae_decode_step_end(struct vae_decode *d, struct err *e)
{
    TRY(picture_take(&d->way, &d->frames, e));
    if (d->frames.dtype == DT_F32)
        frames_clamp(&d->frames);
    return ST_OK;
}

enum status vae_decode_step_begin(struct vae_decode *d, const struct tensor *latents,
                                  const struct tensor *frames, struct err *e)
{
    int64_t n = latents->shape[1];
    int64_t first = d->way.begun || n == 1 ? n : 1;
    struct tensor z = tensor_slice(latents, 1, 0, first);
    struct tensor out = tensor_slice(frames, 0, 0, vae_decode_frames(d, first));

    assert(n <= d->way.shape.chunk);
    assert(frames->shape[0] == vae_decode_frames(d, n));
    TRY(part_begin(d, &z, &out, e));
    if (first == n)
        return ST_OK;
    TRY(vae_decode_step_end(d, e));
    z = tensor_slice(latents, 1, 1, n - 1);
    out = tensor_slice(frames, 0, 1, frames->shape[0] - 1);
    return part_begin(d, &z, &out, e);
}

enum status vae_decode_step(struct vae_decode *d, const struct tensor *latents,
                            const struct tensor *frames, struct err *e)
{
    TRY(vae_decode_step_begin(d, latents, frames, e));
    return vae_decode_step_end(d, e);
}

/* ---- encoding ------------------------------------------------------------------- */

enum status vae_encode_latents(const struct vae_encode *d, int64_t n, int64_t *out,
                               struct err *e)
{
    int64_t f = time_factor(&d->way.vae->config);

    if (!d->way.begun)
        return vae_latents(&d->way.vae->config, n, out, e);
    if (n < 1 || n % f != 0)
        return err_set(e, ST_USAGE,
                       "cannot encode %lld more frames: later steps take multiples of "
                       "%lld",
                       (long long)n, (long long)f);
    *out = n / f;
    return ST_OK;
}

/* The means among [n,h,w,2 z] to [z,n,h,w] normalised. */
static void means_scale(const struct way *way, const struct tensor *host,
                        const struct tensor *latents)
{
    const struct vae_config *c = &way->vae->config;
    const float *p = host->data;
    int64_t z = latents->shape[0];

    for (int64_t f = 0; f < host->shape[0]; f++)
        for (int64_t y = 0; y < host->shape[1]; y++)
            for (int64_t x = 0; x < host->shape[2]; x++, p += 2 * z)
                for (int64_t i = 0; i < z; i++)
                    *latent_at(latents, i, f, y, x) = (p[i] - c->mean[i]) / c->std[i];
}

static enum status encode_part(struct way *way, const struct tensor *frames,
                               const struct tensor *latents, struct err *e)
{
    struct tensor host = host_view(way, latents->shape[1], 2 * latents->shape[0]);

    TRY(picture_put(way, frames, e));
    TRY(coder_walk(&way->coder, !way->begun, e));
    TRY(picture_stage(way, &host, e));
    TRY(picture_take(way, &host, e));
    means_scale(way, &host, latents);
    way->begun = true;
    return ST_OK;
}

enum status vae_encode_step(struct vae_encode *d, const struct tensor *frames,
                            const struct tensor *latents, struct err *e)
{
    int64_t n = frames->shape[0];
    int64_t first = d->way.begun ? n : 1;
    int64_t m;
    struct tensor in = tensor_slice(frames, 0, 0, first);
    struct tensor z;

    TRY(vae_encode_latents(d, n, &m, e));
    assert(m == latents->shape[1] && m <= d->way.shape.chunk);
    z = tensor_slice(latents, 1, 0, d->way.begun ? m : 1);
    TRY(encode_part(&d->way, &in, &z, e));
    if (first == n)
        return ST_OK;
    in = tensor_slice(frames, 0, 1, n - 1);
    z = tensor_slice(latents, 1, 1, m - 1);
    return encode_part(&d->way, &in, &z, e);
}
