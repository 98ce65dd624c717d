/* shape.c - sizes of clips and steps, and the plan made of them */
#include "engine/vae/shape.h"

int64_t time_factor(const struct vae_config *config)
{
    int64_t factor = 1;

    for (int i = 0; i < VAE_STAGES - 1; i++)
        factor *= config->temporal_down[i] ? 2 : 1;
    return factor;
}

int64_t vae_frames(const struct vae_config *config, int64_t latents)
{
    return time_factor(config) * (latents - 1) + 1;
}

enum status vae_latents(const struct vae_config *config, int64_t frames, int64_t *out,
                        struct err *e)
{
    int64_t f = time_factor(config);
    int64_t below;

    if (frames < 1)
        return err_set(e, ST_USAGE, "cannot encode %lld frames, the fewest is 1",
                       (long long)frames);
    below = (frames - 1) / f;
    if (below * f + 1 != frames)
        return err_set(e, ST_USAGE,
                       "cannot encode %lld frames: one more than a multiple of %lld "
                       "is possible, such as %lld and %lld",
                       (long long)frames, (long long)f, (long long)(below * f + 1),
                       (long long)((below + 1) * f + 1));
    *out = below + 1;
    return ST_OK;
}

static bool side_fits(int64_t at, int64_t n, int64_t whole)
{
    return at >= 0 && n >= SPACE_FACTOR && at <= whole - n && at % SPACE_FACTOR == 0 &&
           n % SPACE_FACTOR == 0;
}

static enum status tile_check(const struct vae_shape *shape, struct err *e)
{
    const struct vae_tile *t = &shape->tile;

    if (!t->height && !t->width)
        return ST_OK;
    if (side_fits(t->y, t->height, shape->height) &&
        side_fits(t->x, t->width, shape->width))
        return ST_OK;
    return err_set(e, ST_USAGE,
                   "a tile of %lldx%lld pixels at %lld, %lld is not in the picture of "
                   "%lldx%lld, or not in steps of %d",
                   (long long)t->width, (long long)t->height, (long long)t->x,
                   (long long)t->y, (long long)shape->width, (long long)shape->height,
                   (int)SPACE_FACTOR);
}

enum status shape_check(const struct vae_shape *shape, struct err *e)
{
    const int64_t side[2] = {shape->width, shape->height};
    static const char *const name[2] = {"width", "height"};

    for (int i = 0; i < 2; i++) {
        int64_t below = side[i] / SPACE_FACTOR * SPACE_FACTOR;

        if (side[i] < SPACE_FACTOR || side[i] > 1 << 16)
            return err_set(e, ST_USAGE, "%s of %lld pixels is not in %d..65536",
                           name[i], (long long)side[i], (int)SPACE_FACTOR);
        if (below != side[i])
            return err_set(e, ST_USAGE,
                           "%s of %lld pixels is no multiple of %d, %lld and %lld are",
                           name[i], (long long)side[i], (int)SPACE_FACTOR,
                           (long long)below, (long long)(below + SPACE_FACTOR));
    }
    TRY(tile_check(shape, e));
    if (shape->chunk < 1 || shape->chunk > VAE_CHUNK_MAX)
        return err_set(e, ST_USAGE, "a step of %lld latent frames is not in 1..%d",
                       (long long)shape->chunk, (int)VAE_CHUNK_MAX);
    if (shape->dtype != DT_F32 && shape->dtype != DT_BF16)
        return err_set(e, ST_USAGE, "the autoencoder runs in F32 or BF16, not in %s",
                       dtype_name(shape->dtype));
    return ST_OK;
}

int64_t stage_count(const struct vae_config *config, const struct vae_shape *shape)
{
    bool part = shape->tile.height;
    int64_t pixels = part ? shape->tile.height * shape->tile.width
                          : shape->height * shape->width;
    int64_t frames = time_factor(config) * shape->chunk * pixels * 3;
    int64_t latents = host_count(config, shape);

    return frames > latents ? frames : latents;
}

int64_t host_count(const struct vae_config *config, const struct vae_shape *shape)
{
    /* the encoder gives mean and log-variance */
    return 2 * config->z_dim * shape->chunk * (shape->height / SPACE_FACTOR) *
           (shape->width / SPACE_FACTOR);
}

static struct area tile_area(const struct vae_shape *shape)
{
    const struct vae_tile *t = &shape->tile;

    if (!t->height)
        return area_whole(shape->height, shape->width);
    return (struct area){t->y, t->x, t->height, t->width, shape->height, shape->width};
}

enum status coder_open(struct coder *k, const struct vae_config *config,
                       const struct net *net, struct ops *ops, enum vae_side side,
                       const struct vae_shape *shape, struct arena *arena,
                       struct tensor *stage, size_t *slot_bytes, struct err *e)
{
    bool decode = side == VAE_DECODE;
    enum status st;

    TRY(shape_check(shape, e));
    TRY(coder_init(k, net, ops, shape, e));
    if (decode)
        k->tile = tile_area(shape);
    TRY_GOTO(st,
             coder_measure(k, shape, shape->height / (decode ? SPACE_FACTOR : 1),
                           shape->width / (decode ? SPACE_FACTOR : 1),
                           decode ? 1 : time_factor(config), e),
             err_release);
    *slot_bytes = coder_cut(k, arena);
    *stage = tensor_cut(arena, DT_F32, k->space, 1,
                        (int64_t[]){stage_count(config, shape)});
    return ST_OK;

err_release:
    coder_release(k);
    return st;
}

/* The plan for weights of one dtype. */
static enum status plan_one(const struct vae_config *config, const struct ops *ops,
                            enum vae_side side, const struct vae_shape *shape,
                            enum dtype weight_dtype, struct vae_plan *out,
                            struct err *e)
{
    /* measuring puts nothing on a queue, so the table is only asked */
    struct ops *asked = (struct ops *)ops;
    struct arena arena;
    struct coder k;
    struct net net;
    struct tensor stage;
    enum status st;

    TRY(net_build(config, side, weight_dtype, ops_facts(ops)->space, &net, e));
    arena_init(&arena, NULL, 0);
    TRY_GOTO(st,
             coder_open(&k, config, &net, asked, side, shape, &arena, &stage,
                        &out->slot_bytes, e),
             out);
    out->arena_bytes = arena.peak;
    out->workspace_bytes = k.workspace_bytes;
    out->host_bytes = (size_t)host_count(config, shape) * sizeof(float);
    out->latent_flop = k.flop / (double)shape->chunk;
    coder_release(&k);
out:
    net_release(&net);
    return st;
}

enum status vae_plan(const struct vae_config *config, const struct ops *ops,
                     enum vae_side side, const struct vae_shape *shape,
                     struct vae_plan *out, struct err *e)
{
    struct vae_plan f32, bf16;

    TRY(plan_one(config, ops, side, shape, DT_F32, &f32, e));
    TRY(plan_one(config, ops, side, shape, DT_BF16, &bf16, e));
    *out = f32;
    if (bf16.workspace_bytes > f32.workspace_bytes)
        out->workspace_bytes = bf16.workspace_bytes;
    return ST_OK;
}
