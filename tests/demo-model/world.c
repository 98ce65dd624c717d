/* world.c - drawing lots for scenes, and where their shapes are */
#include "tests/demo-model/world.h"

#include <math.h>
#include <stdbool.h>

#include "kernels/base/rng.h"

#define PI 3.14159265358979323846

const uint8_t world_rgb[COLOUR_COUNT][3] = {
    [RED] = {220, 40, 45},    [ORANGE] = {250, 140, 30}, [YELLOW] = {250, 230, 60},
    [GREEN] = {50, 185, 70},  [BLUE] = {45, 105, 235},   [PURPLE] = {150, 60, 200},
    [PINK] = {250, 135, 195}, [WHITE] = {245, 245, 245}, [BLACK] = {12, 12, 16},
    [GRAY] = {125, 125, 130}, [NAVY] = {25, 30, 95},     [BROWN] = {105, 65, 35},
    [TEAL] = {15, 105, 115},  [BEIGE] = {220, 205, 165},
};

const double world_radius[SIZE_COUNT] = {9.0, 14.0, 20.0};

const struct world_pace world_pace[SPEED_COUNT] = {
    [SPEED_SLOW] = {10.0, 0.75, 0.25, 0.17},
    [SPEED_STEADY] = {18.0, 1.05, 0.4, 0.28},
    [SPEED_FAST] = {30.0, 1.5, 0.6, 0.42},
};

enum { RADIUS_MIN = 4, RADIUS_MAX = 36, MARGIN = 3 };

/* ---- lots ------------------------------------------------------------------------ */

struct lots {
    uint64_t seed, index;
    uint32_t block, word[4];
    int left;
};

static uint32_t lot(struct lots *l)
{
    if (l->left == 0) {
        const uint32_t counter[4] = {l->block++, 0, (uint32_t)l->index,
                                     (uint32_t)(l->index >> 32)};
        const uint32_t key[2] = {(uint32_t)l->seed, (uint32_t)(l->seed >> 32)};

        philox4x32(counter, key, l->word);
        l->left = 4;
    }
    return l->word[--l->left];
}

static int lot_below(struct lots *l, int n)
{
    return (int)(((uint64_t)lot(l) * (uint64_t)n) >> 32);
}

static double lot_between(struct lots *l, double lo, double hi)
{
    return lo + (hi - lo) * ((double)lot(l) + 0.5) / 4294967296.0;
}

/* ---- motion ---------------------------------------------------------------------- */

static double clamp(double v, double lo, double hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* How far the outermost point of a shape is from its centre, in radii. */
static double reach(enum world_form form)
{
    static const double table[FORM_COUNT] = {1.0, 1.2533, 1.5551, 1.4622};

    return table[form];
}

static double room_needed(const struct world_shape *s, double radius)
{
    return radius * reach(s->form) + MARGIN;
}

/* As world_place, with no edges to the picture. */
static void place_free(const struct world_shape *s, double seconds, double *x,
                       double *y, double *radius)
{
    const struct world_pace *pace = &world_pace[s->speed];
    double r = world_radius[s->size];

    *x = s->x;
    *y = s->y;
    if (s->motion < MOVE_DIRECTIONS) {
        double angle = s->motion * PI / 4, way = pace->pixels * seconds;

        *x += way * cos(angle);
        *y += way * sin(angle);
    } else if (s->motion == MOVE_BOUNCE) {
        *y -= WORLD_HOP_HEIGHT * fabs(sin(PI * pace->hops * seconds));
    } else if (s->motion == MOVE_ORBIT) {
        double angle = s->angle + 2 * PI * pace->turns * seconds;

        *x += WORLD_ORBIT_RADIUS * cos(angle);
        *y += WORLD_ORBIT_RADIUS * sin(angle);
    } else if (s->motion == MOVE_GROW) {
        r *= exp(pace->growth * seconds);
    } else if (s->motion == MOVE_SHRINK) {
        r *= exp(-pace->growth * seconds);
    }
    *radius = clamp(r, RADIUS_MIN, RADIUS_MAX);
}

void world_place(const struct world_shape *s, double seconds, double *x, double *y,
                 double *radius)
{
    double edge;

    place_free(s, seconds, x, y, radius);
    edge = room_needed(s, *radius);
    *x = clamp(*x, edge, WORLD_SIDE - edge);
    *y = clamp(*y, edge, WORLD_SIDE - edge);
}

/* ---- scenes ---------------------------------------------------------------------- */

/* No edge holds the shape up while the clip lasts. */
static bool stays_inside(const struct world_shape *s)
{
    for (int t = 0; t < WORLD_FRAMES; t++) {
        double x, y, r, edge;

        place_free(s, (double)t / WORLD_FPS, &x, &y, &r);
        edge = room_needed(s, r);
        if (fmin(x, y) < edge || fmax(x, y) > WORLD_SIDE - edge)
            return false;
    }
    return true;
}

static bool stay_apart(const struct world_shape *a, const struct world_shape *b)
{
    for (int t = 0; t < WORLD_FRAMES; t++) {
        double ax, ay, ar, bx, by, br;

        world_place(a, (double)t / WORLD_FPS, &ax, &ay, &ar);
        world_place(b, (double)t / WORLD_FPS, &bx, &by, &br);
        if (hypot(ax - bx, ay - by) < room_needed(a, ar) + room_needed(b, br) - MARGIN)
            return false;
    }
    return true;
}

static void attributes_draw(struct lots *l, struct world_shape *s)
{
    s->form = lot_below(l, FORM_COUNT);
    s->colour = lot_below(l, WORLD_PAINTS);
    s->size = lot_below(l, SIZE_COUNT);
    s->motion = lot_below(l, MOVE_COUNT);
    s->speed = s->motion == MOVE_STILL ? SPEED_STEADY : lot_below(l, SPEED_COUNT);
}

static bool place_draw(struct lots *l, struct world_shape *s)
{
    for (int tries = 0; tries < 200; tries++) {
        s->x = lot_between(l, 0, WORLD_SIDE);
        s->y = lot_between(l, 0, WORLD_SIDE);
        s->angle = lot_between(l, 0, 2 * PI);
        if (stays_inside(s))
            return true;
    }
    return false;
}

void world_scene(uint64_t seed, uint64_t index, struct world_scene *out)
{
    struct lots l = {.seed = seed, .index = index};
    int wanted;

    out->background = WORLD_PAINTS + lot_below(&l, COLOUR_COUNT - WORLD_PAINTS);
    wanted = lot_below(&l, 5) < 3 ? 1 : 2;
    for (out->n_shapes = 0; out->n_shapes < wanted;) {
        struct world_shape *s = &out->shape[out->n_shapes];

        attributes_draw(&l, s);
        if (!place_draw(&l, s))
            continue;
        if (out->n_shapes == 1 &&
            (s->colour == out->shape[0].colour || !stay_apart(s, &out->shape[0])))
            continue;
        out->n_shapes++;
    }
}
