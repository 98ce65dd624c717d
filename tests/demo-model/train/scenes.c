/* scenes.c - many scenes and captions at a time, for training
 *
 * world.py loads this with the world itself. Arrays are dense, in the order given.
 */
#include <string.h>

#include "tests/demo-model/caption.h"
#include "tests/demo-model/world.h"

enum { FACTS = 2 + 5 * WORLD_SHAPES };

/* facts i32 [n,12]: background, shapes, and form, colour, size, motion and speed of
 * each; places f32 [n,2,frames,3]: x, y and radius, 0 of a shape that is not there. */
void scenes_facts(uint64_t seed, const uint64_t *index, int n, int frames,
                  int32_t *facts, float *places)
{
    memset(facts, 0, sizeof(*facts) * FACTS * (size_t)n);
    memset(places, 0, sizeof(*places) * 3 * WORLD_SHAPES * (size_t)n * (size_t)frames);
    for (int i = 0; i < n; i++, facts += FACTS) {
        struct world_scene s;

        world_scene(seed, index[i], &s);
        facts[0] = (int32_t)s.background;
        facts[1] = s.n_shapes;
        for (int k = 0; k < s.n_shapes; k++) {
            const struct world_shape *shape = &s.shape[k];
            const int32_t row[5] = {(int32_t)shape->form, (int32_t)shape->colour,
                                    (int32_t)shape->size, (int32_t)shape->motion,
                                    (int32_t)shape->speed};

            memcpy(facts + 2 + 5 * k, row, sizeof(row));
            for (int t = 0; t < frames; t++) {
                float *at = places + 3 * (((long)i * WORLD_SHAPES + k) * frames + t);
                double x, y, r;

                world_place(shape, (double)t / WORLD_FPS, &x, &y, &r);
                at[0] = (float)x;
                at[1] = (float)y;
                at[2] = (float)r;
            }
        }
    }
}

/* Captions char [n,384]. */
void scenes_captions(uint64_t seed, const uint64_t *index, const uint64_t *phrasing,
                     int n, char *out)
{
    for (int i = 0; i < n; i++) {
        struct world_scene s;

        world_scene(seed, index[i], &s);
        caption_write(&s, phrasing[i], out + (size_t)CAPTION_BYTES * (size_t)i);
    }
}

/* Pictures u8 [n,frames,128,128,3]. */
void scenes_draw(uint64_t seed, const uint64_t *index, int n, int frames, uint8_t *out)
{
    for (int i = 0; i < n; i++) {
        struct world_scene s;

        world_scene(seed, index[i], &s);
        world_draw(&s, frames,
                   out + (size_t)i * (size_t)frames * 3 * WORLD_SIDE * WORLD_SIDE);
    }
}
