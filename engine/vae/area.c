/* area.c - borders, one axis at a time */
#include "engine/vae/area.h"

#include <assert.h>

struct area area_whole(int64_t h, int64_t w)
{
    return (struct area){0, 0, h, w, h, w};
}

bool area_same(const struct area *a, const struct area *b)
{
    return a->y == b->y && a->x == b->x && a->h == b->h && a->w == b->w;
}

/* [*at, *at + *n) loses a pixel at each side that is not an edge. */
static void span_inner(int64_t *at, int64_t *n, int64_t whole)
{
    int64_t lo = *at > 0 ? *at + 1 : 0;
    int64_t hi = *at + *n < whole ? *at + *n - 1 : whole;

    *at = lo;
    *n = hi - lo;
}

static void span_outer(int64_t *at, int64_t *n, int64_t whole)
{
    int64_t lo = *at > 0 ? *at - 1 : 0;
    int64_t hi = *at + *n < whole ? *at + *n + 1 : whole;

    *at = lo;
    *n = hi - lo;
}

static void span_halve(int64_t *at, int64_t *n)
{
    int64_t lo = *at / 2, hi = (*at + *n + 1) / 2;

    *at = lo;
    *n = hi - lo;
}

struct area area_inner(const struct area *a)
{
    struct area r = *a;

    span_inner(&r.y, &r.h, r.whole_h);
    span_inner(&r.x, &r.w, r.whole_w);
    return r;
}

struct area area_outer(const struct area *a)
{
    struct area r = *a;

    span_outer(&r.y, &r.h, r.whole_h);
    span_outer(&r.x, &r.w, r.whole_w);
    return r;
}

struct area area_double(const struct area *a)
{
    return (struct area){2 * a->y, 2 * a->x,       2 * a->h,
                         2 * a->w, 2 * a->whole_h, 2 * a->whole_w};
}

struct area area_halve(const struct area *a)
{
    struct area r = *a;

    span_halve(&r.y, &r.h);
    span_halve(&r.x, &r.w);
    r.whole_h /= 2;
    r.whole_w /= 2;
    return r;
}

void area_pad(const struct area *a, int pad_lo[3], int pad_hi[3])
{
    pad_lo[1] = a->y == 0;
    pad_hi[1] = a->y + a->h == a->whole_h;
    pad_lo[2] = a->x == 0;
    pad_hi[2] = a->x + a->w == a->whole_w;
}

struct tensor area_view(const struct tensor *t, const struct area *have,
                        const struct area *want)
{
    struct tensor rows = tensor_slice(t, 1, want->y - have->y, want->h);

    assert(want->y >= have->y && want->x >= have->x);
    return tensor_slice(&rows, 2, want->x - have->x, want->w);
}

struct area area_needed(const struct net *net, int i, const struct area *tile)
{
    struct area a = *tile;

    for (int l = net->n_layers - 1; l >= i; l--) {
        switch (net->layers[l].kind) {
        case LAYER_RES:
            a = area_outer(&a);
            a = area_outer(&a);
            break;
        case LAYER_HEAD:
            a = area_outer(&a);
            break;
        case LAYER_UP:
        case LAYER_UP_T:
            a = area_outer(&a);
            a = area_halve(&a);
            break;
        default:
            assert(!"a layer behind the first doubling");
            break;
        }
    }
    return a;
}
