/* cut.c - arithmetic of tiles */
#include "engine/pipeline/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 8, SIDE_MIN = 128, SIDE_MAX = 65536, BORDER = 64 };

/* What a border costs, in latent pixels. */
enum { BORDER_THIRDS = 5 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t longer(const struct vae_shape *shape)
{
    return shape->width < shape->height ? shape->height : shape->width;
}

static int64_t parts(int64_t whole, int64_t part)
{
    return (whole + part - 1) / part;
}

/* ---- the wish -------------------------------------------------------------------- */

static enum status side_check(const char *text, const char *name, int64_t n,
                              struct err *e)
{
    int64_t low = n / STEP * STEP;

    if (n >= STEP && n <= SIDE_MAX && n % STEP == 0)
        return ST_OK;
    if (n < STEP || n > SIDE_MAX)
        return err_set(e, ST_USAGE,
                       "impossible vae_tile '%s': %s %lld is not in %d..%d", text, name,
                       (long long)n, STEP, SIDE_MAX);
    return err_set(
        e, ST_USAGE,
        "impossible vae_tile '%s': %s %lld must be a multiple of %d, such as "
        "%lld or %lld",
        text, name, (long long)n, STEP, (long long)low, (long long)(low + STEP));
}

enum status cut_parse(const char *text, struct cut_wish *out, struct err *e)
{
    struct cut_wish wish = {.mode = CUT_GIVEN};
    char *end;

    if (!text || strcmp(text, "auto") == 0 || strcmp(text, "0") == 0) {
        *out = (struct cut_wish){.mode = text && text[0] == '0' ? CUT_NEVER : CUT_AUTO};
        return ST_OK;
    }
    wish.given.width = strtoll(text, &end, 10);
    if (end == text || (*end != 'x' && *end != 'X') || end[1] < '0' || end[1] > '9')
        return err_set(e, ST_USAGE,
                       "impossible vae_tile '%s': it is auto, 0 or WIDTHxHEIGHT", text);
    wish.given.height = strtoll(end + 1, &end, 10);
    if (*end)
        return err_set(e, ST_USAGE,
                       "impossible vae_tile '%s': it is auto, 0 or WIDTHxHEIGHT", text);
    TRY(side_check(text, "width", wish.given.width, e));
    TRY(side_check(text, "height", wish.given.height, e));
    *out = wish;
    return ST_OK;
}

struct cut cut_of(const struct cut_wish *wish, const struct vae_shape *shape, int ranks)
{
    struct cut cut = {smaller(wish->given.height, shape->height),
                      smaller(wish->given.width, shape->width), 0};
    int64_t strips = smaller(ranks, longer(shape) / STEP);

    if (wish->mode == CUT_GIVEN &&
        (cut.height < shape->height || cut.width < shape->width))
        return cut;
    return (struct cut){0, 0, strips > 1 ? (int)strips : 0};
}

/* One part more of a side, in steps of 8 pixels; false: parts would be too small. */
static bool side_smaller(int64_t whole, int64_t *side)
{
    int64_t n = parts(whole, *side) + 1;
    int64_t next = parts(parts(whole, n), STEP) * STEP;

    if (next < SIDE_MIN || next >= *side)
        return false;
    *side = next;
    return true;
}

bool cut_smaller(const struct vae_shape *shape, struct cut *cut)
{
    int before = cut_count(shape, cut);
    struct cut c = *cut;

    if (!c.height)
        c = (struct cut){shape->height, shape->width, 0};
    do {
        if (!side_smaller(shape->width, &c.width) &&
            !side_smaller(shape->height, &c.height))
            return false;
    } while (cut_count(shape, &c) <= before);
    *cut = c;
    return true;
}

/* ---- tiles ----------------------------------------------------------------------- */

/* Where strip k of n begins on a side of `whole` latent pixels. With a border of b the
 * work of all is whole + 2 b (n - 1); each takes an n-th, an edge with one border, the
 * others with two. Strips not much wider than that share the side evenly. */
static int64_t strip_at(int64_t whole, int64_t n, int64_t k)
{
    int64_t b = BORDER_THIRDS, thirds;

    if (k == 0 || k == n)
        return k ? whole : 0;
    if (3 * whole - 2 * b < 6 * n)
        return parts(k * whole, n);
    thirds = k * (3 * whole + 2 * b * (n - 1)) - (2 * k - 1) * b * n;
    return (2 * thirds + 3 * n) / (6 * n); /* rounded */
}

static struct vae_tile strip_of(const struct vae_shape *shape, int64_t n, int64_t k)
{
    int64_t at = STEP * strip_at(longer(shape) / STEP, n, k);
    int64_t side = STEP * strip_at(longer(shape) / STEP, n, k + 1) - at;

    if (shape->width < shape->height)
        return (struct vae_tile){at, 0, side, shape->width};
    return (struct vae_tile){0, at, shape->height, side};
}

int cut_count(const struct vae_shape *shape, const struct cut *cut)
{
    if (!cut->height)
        return cut->strips ? cut->strips : 1;
    return (int)(parts(shape->height, cut->height) * parts(shape->width, cut->width));
}

struct vae_tile cut_tile(const struct vae_shape *shape, const struct cut *cut, int i)
{
    int64_t columns, y, x;

    if (!cut->height)
        return strip_of(shape, cut->strips ? cut->strips : 1, i);
    columns = parts(shape->width, cut->width);
    y = i / columns * cut->height;
    x = i % columns * cut->width;
    return (struct vae_tile){y, x, smaller(cut->height, shape->height - y),
                             smaller(cut->width, shape->width - x)};
}

int cut_rounds(const struct vae_shape *shape, const struct cut *cut, int ranks)
{
    return (int)parts(cut_count(shape, cut), ranks);
}

static bool is_inner(int64_t at, int64_t n, int64_t whole)
{
    return at >= BORDER && at + n + BORDER <= whole;
}

/* Do this tile and the one before it have their borders inside the frame? Then they
 * need the same. */
static bool repeats(int64_t at, int64_t n, int64_t before, int64_t whole)
{
    return n == before && is_inner(at - before, before, whole) &&
           is_inner(at, n, whole);
}

static bool tile_repeats(const struct vae_shape *shape, const struct cut *cut, int i)
{
    const struct vae_tile t = cut_tile(shape, cut, i);
    struct vae_tile last = {0, 0, cut->height, cut->width};

    if (cut->strips && i > 0)
        last = cut_tile(shape, cut, i - 1);
    return repeats(t.y, t.height, last.height, shape->height) ||
           repeats(t.x, t.width, last.width, shape->width);
}

static void plan_raise(struct vae_plan *most, const struct vae_plan *p)
{
    size_t *to[] = {&most->arena_bytes, &most->slot_bytes, &most->workspace_bytes,
                    &most->host_bytes};
    const size_t from[] = {p->arena_bytes, p->slot_bytes, p->workspace_bytes,
                           p->host_bytes};

    for (int i = 0; i < 4; i++) {
        if (from[i] > *to[i])
            *to[i] = from[i];
    }
}

enum status cut_plan(const struct vae_config *config, const struct ops *ops,
                     const struct vae_shape *shape, const struct cut *cut,
                     struct vae_plan *out, struct err *e)
{
    struct vae_plan most = {0}, one;
    struct vae_shape s = *shape;

    for (int i = 0; i < cut_count(shape, cut); i++) {
        if (tile_repeats(shape, cut, i))
            continue;
        s.tile = cut_tile(shape, cut, i);
        TRY(vae_plan(config, ops, VAE_DECODE, &s, &one, e));
        plan_raise(&most, &one);
    }
    *out = most;
    return ST_OK;
}

enum status cut_share(const struct vae_config *config, const struct ops *ops,
                      const struct vae_shape *shape, const struct cut *cut, int ranks,
                      double *out, struct err *e)
{
    struct vae_shape s = *shape;
    struct vae_plan whole, one;
    double most = 0.0;

    TRY(vae_plan(config, ops, VAE_DECODE, shape, &whole, e));
    for (int r = 0; r < ranks; r++) {
        double sum = 0.0;

        for (int i = r; i < cut_count(shape, cut); i += ranks) {
            s.tile = cut_tile(shape, cut, i);
            TRY(vae_plan(config, ops, VAE_DECODE, &s, &one, e));
            sum += one.latent_flop;
        }
        most = sum > most ? sum : most;
    }
    *out = most / whole.latent_flop;
    return ST_OK;
}

void cut_print(const struct vae_shape *shape, const struct cut *cut,
               char out[CUT_TEXT_BYTES])
{
    struct vae_tile first = cut_tile(shape, cut, 0);

    if (!cut->height && !cut->strips)
        snprintf(out, CUT_TEXT_BYTES, "whole frames");
    else
        snprintf(out, CUT_TEXT_BYTES, "%d %s of %lldx%lld", cut_count(shape, cut),
                 cut->strips ? "strips" : "tiles", (long long)first.width,
                 (long long)first.height);
}
