/* world_draw.c - scenes to pictures: signed distances, smoothed over one pixel
 *
 * Distances are exact near the edges, which is where they count. */
#include <math.h>
#include <string.h>

#include "tests/demo-model/world.h"

#define PI 3.14159265358979323846

static double circle(double x, double y, double r)
{
    return hypot(x, y) - r;
}

static double square(double x, double y, double r)
{
    return fmax(fabs(x), fabs(y)) - r * sqrt(PI) / 2;
}

/* Point up; y grows downward. */
static double triangle(double x, double y, double r)
{
    double outer = 1.5551 * r;

    return fmax(y, fabs(x) * sqrt(3.0) / 2 - y / 2) - outer / 2;
}

/* Five points, the first one up, notches half as far out: the distance from the line
 * through a point and a notch. */
static double star(double x, double y, double r)
{
    double outer = 1.4622 * r, radius = hypot(x, y);
    double sector = 2 * PI / 5, angle = atan2(x, -y);
    double away = fabs(angle - sector * rint(angle / sector));
    double nx = outer * sin(PI / 5) / 2, ny = outer * cos(PI / 5) / 2;
    double px = radius * sin(away), py = radius * cos(away);
    double ex = nx, ey = ny - outer, length = hypot(ex, ey);

    return ((py - outer) * ex - px * ey) / length;
}

static double distance(enum world_form form, double x, double y, double r)
{
    switch (form) {
    case FORM_CIRCLE:
        return circle(x, y, r);
    case FORM_SQUARE:
        return square(x, y, r);
    case FORM_TRIANGLE:
        return triangle(x, y, r);
    default:
        return star(x, y, r);
    }
}

static void background_draw(enum world_colour colour, uint8_t *rgb)
{
    for (int i = 0; i < WORLD_SIDE * WORLD_SIDE; i++)
        memcpy(rgb + (size_t)3 * (size_t)i, world_rgb[colour], 3);
}

static int within(double v)
{
    return v < 0 ? 0 : v > WORLD_SIDE ? WORLD_SIDE : (int)v;
}

static void shape_draw(const struct world_shape *s, double seconds, uint8_t *rgb)
{
    double x, y, r;

    world_place(s, seconds, &x, &y, &r);
    for (int i = within(y - 2 * r); i < within(y + 2 * r + 1); i++) {
        for (int j = within(x - 2 * r); j < within(x + 2 * r + 1); j++) {
            uint8_t *p = rgb + 3 * (i * WORLD_SIDE + j);
            double d = distance(s->form, j + 0.5 - x, i + 0.5 - y, r);
            double cover = fmin(1.0, fmax(0.0, 0.5 - d));

            for (int c = 0; c < 3; c++)
                p[c] = (uint8_t)lrint(p[c] + cover * (world_rgb[s->colour][c] - p[c]));
        }
    }
}

void world_draw(const struct world_scene *s, int frames, uint8_t *rgb)
{
    for (int t = 0; t < frames; t++) {
        uint8_t *picture = rgb + (size_t)t * 3 * WORLD_SIDE * WORLD_SIDE;

        background_draw(s->background, picture);
        for (int i = 0; i < s->n_shapes; i++)
            shape_draw(&s->shape[i], (double)t / WORLD_FPS, picture);
    }
}
