/* patch.c - one index rule, walked in both directions */
#include "engine/dit/patch.h"

/* Where the two elements of row i of channel c's patch of token l lie. */
static int64_t latent_index(const struct latent_size *n, int64_t l, int64_t c,
                            int64_t i)
{
    int64_t grid_h = n->height / 2, grid_w = n->width / 2;
    int64_t f = l / (grid_h * grid_w);
    int64_t h = l / grid_w % grid_h;
    int64_t w = l % grid_w;

    return ((c * n->frames + f) * n->height + 2 * h + i) * n->width + 2 * w;
}

void patch_from_latent(float *rows, const float *latent, const struct latent_size *n,
                       struct span tokens)
{
    for (int64_t r = 0; r < tokens.count; r++) {
        for (int64_t ci = 0; ci < 2 * n->channels; ci++) {
            const float *from = latent +
                                latent_index(n, tokens.begin + r, ci / 2, ci % 2);

            *rows++ = from[0];
            *rows++ = from[1];
        }
    }
}

void latent_from_patch(float *latent, const float *rows, const struct latent_size *n,
                       struct span tokens)
{
    for (int64_t r = 0; r < tokens.count; r++) {
        for (int64_t ci = 0; ci < 2 * n->channels; ci++) {
            float *to = latent + latent_index(n, tokens.begin + r, ci / 2, ci % 2);

            to[0] = *rows++;
            to[1] = *rows++;
        }
    }
}
