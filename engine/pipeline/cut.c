/* cut.c - arithmetic of tiles */
#include "engine/pipeline/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 8, SIDE_MIN = 128, SIDE_MAX = 65536, BORDER = 64 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
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

struct cut cut_of(const struct cut_wish *wish, const struct vae_shape *shape)
{
    struct cut cut = {smaller(wish->given.height, shape->height),
                      smaller(wish->given.width, shape->width)};

    if (wish->mode != CUT_GIVEN ||
        (cut.height == shape->height && cut.width == shape->width))
        return (struct cut){0, 0};
    return cut;
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
    struct cut c = *cut;

    if (!c.height)
        c = (struct cut){shape->height, shape->width};
    if (!side_smaller(shape->width, &c.width) &&
        !side_smaller(shape->height, &c.height))
        return false;
    *cut = c;
    return true;
}

/* ---- tiles ----------------------------------------------------------------------- */

int cut_count(const struct vae_shape *shape, const struct cut *cut)
{
    if (!cut->height)
        return 1;
    return (int)(parts(shape->height, cut->height) * parts(shape->width, cut->width));
}

struct vae_tile cut_tile(const struct vae_shape *shape, const struct cut *cut, int i)
{
    int64_t columns, y, x;

    if (!cut->height)
        return (struct vae_tile){0, 0, shape->height, shape->width};
    columns = parts(shape->width, cut->width);
    y = i / columns * cut->height;
    x = i % columns * cut->width;
    return (struct vae_tile){y, x, smaller(cut->height, shape->height - y),
                             smaller(cut->width, shape->width - x)};
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
        const struct vae_tile t = cut_tile(shape, cut, i);

        if (repeats(t.y, t.height, cut->height, shape->height) ||
            repeats(t.x, t.width, cut->width, shape->width))
            continue;
        s.tile = t;
        TRY(vae_plan(config, ops, VAE_DECODE, &s, &one, e));
        plan_raise(&most, &one);
    }
    *out = most;
    return ST_OK;
}

void cut_print(const struct vae_shape *shape, const struct cut *cut,
               char out[CUT_TEXT_BYTES])
{
    if (!cut->height)
        snprintf(out, CUT_TEXT_BYTES, "whole frames");
    else
        snprintf(out, CUT_TEXT_BYTES, "%d tiles of %lldx%lld", cut_count(shape, cut),
                 (long long)cut->width, (long long)cut->height);
}
