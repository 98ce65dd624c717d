/* world.h - the world that the demonstration model knows: flat shapes that move
 *
 * A scene has a background of one of 6 colours and one or two shapes of one of 4 forms,
 * 8 colours and 3 sizes, each with one of 13 motions at one of 3 speeds. Scenes are
 * drawn by index, so that training, captions and the judge speak of the same ones:
 * indices below WORLD_HELD_OUT are never trained on.
 *
 * Pictures are u8 RGB [frames,128,128,3] at 16 frames per second, edges smoothed over a
 * pixel. Places are in pixels, x to the right and y down; shapes never leave the
 * picture and never touch one another.
 */
#ifndef TESTS_DEMO_MODEL_WORLD_H
#define TESTS_DEMO_MODEL_WORLD_H

#include <stdint.h>

enum {
    WORLD_SIDE = 128,
    WORLD_FPS = 16,
    WORLD_FRAMES = 49, /* the longest clip that a scene is made for */
    WORLD_SHAPES = 2,
    WORLD_HELD_OUT = 10000
};

enum world_form { FORM_CIRCLE, FORM_SQUARE, FORM_TRIANGLE, FORM_STAR, FORM_COUNT };
enum world_size { SIZE_SMALL, SIZE_MEDIUM, SIZE_LARGE, SIZE_COUNT };
enum world_speed { SPEED_SLOW, SPEED_STEADY, SPEED_FAST, SPEED_COUNT };

/* The first eight are directions, counted clockwise from the right in steps of 45
 * degrees. */
enum world_motion {
    MOVE_RIGHT,
    MOVE_DOWN_RIGHT,
    MOVE_DOWN,
    MOVE_DOWN_LEFT,
    MOVE_LEFT,
    MOVE_UP_LEFT,
    MOVE_UP,
    MOVE_UP_RIGHT,
    MOVE_BOUNCE,
    MOVE_ORBIT,
    MOVE_GROW,
    MOVE_SHRINK,
    MOVE_STILL,
    MOVE_COUNT,
    MOVE_DIRECTIONS = MOVE_BOUNCE
};

/* The first WORLD_PAINTS are shapes' colours, the rest backgrounds'. */
enum world_colour {
    RED,
    ORANGE,
    YELLOW,
    GREEN,
    BLUE,
    PURPLE,
    PINK,
    WHITE,
    BLACK,
    GRAY,
    NAVY,
    BROWN,
    TEAL,
    BEIGE,
    COLOUR_COUNT,
    WORLD_PAINTS = BLACK
};

struct world_shape {
    enum world_form form;
    enum world_colour colour;
    enum world_size size;
    enum world_motion motion;
    enum world_speed speed; /* SPEED_STEADY for MOVE_STILL */
    double x, y;            /* of the centre at the start; of the orbit's centre */
    double angle;           /* on the orbit, at the start */
};

struct world_scene {
    enum world_colour background;
    int n_shapes;
    struct world_shape shape[WORLD_SHAPES];
};

extern const uint8_t world_rgb[COLOUR_COUNT][3];

/* Radius of the circle with a shape's area, in pixels. */
extern const double world_radius[SIZE_COUNT];

/* What a speed means for the motions, in a second: pixels in a direction, hops, turns,
 * and the logarithm by which sides grow. */
struct world_pace {
    double pixels, hops, turns, growth;
};

extern const struct world_pace world_pace[SPEED_COUNT];

/* Pixels. */
enum { WORLD_ORBIT_RADIUS = 26, WORLD_HOP_HEIGHT = 26 };

/* Scene `index` of a seed: the same one every time, anywhere. */
void world_scene(uint64_t seed, uint64_t index, struct world_scene *out);

/* Where a shape is after `seconds`, and its radius. */
void world_place(const struct world_shape *s, double seconds, double *x, double *y,
                 double *radius);

/* Draw the first `frames` frames. */
void world_draw(const struct world_scene *s, int frames, uint8_t *rgb);

#endif
