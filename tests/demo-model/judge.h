/* judge.h - what a video shows, by colours and moments; nothing in it is learned
 *
 * A pixel belongs to the nearest of the world's colours. The background is the most
 * frequent of its colours; what is nearer to a shape's colour is a shape, one per
 * connected part. A part's form is the harmonic of its outline that is strongest:
 *
 *     |sum w z^m| / sum w |z|^m,   z = x + iy from the centroid, w = coverage,
 *
 * with m = 3 for triangles, 4 for squares, 5 for stars, and none for circles. Its
 * motion is read from the path of the centroid and the growth of the area.
 */
#ifndef TESTS_DEMO_MODEL_JUDGE_H
#define TESTS_DEMO_MODEL_JUDGE_H

#include <stdbool.h>

#include "tests/demo-model/world.h"

/* What frames u8 RGB [n,128,128,3] show; places stay 0. Shapes that are seen in less
 * than half of the frames do not count. 0 when memory runs out, else 1. */
int judge_see(const uint8_t *rgb, int n, struct world_scene *seen);

/* What is as the caption says; shapes are compared with those of their colour, and a
 * part is right when it is right for every shape. */
struct verdict {
    bool background, colour, form, size, motion, speed;
};

struct verdict judge_compare(const struct world_scene *told,
                             const struct world_scene *seen);

#endif
