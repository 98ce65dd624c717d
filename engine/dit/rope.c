/* rope.c - cosines and sines in fp64, stored as fp32 */
#include "engine/dit/rope.h"

#include <math.h>

void rope_split(int64_t head_dim, int64_t pairs[ROPE_AXES])
{
    pairs[ROPE_H] = pairs[ROPE_W] = head_dim / 6;
    pairs[ROPE_F] = head_dim / 2 - 2 * pairs[ROPE_H];
}

void rope_fill(float *table, int64_t positions, int64_t pairs)
{
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t i = 0; i < pairs; i++) {
            double angle = (double)p * pow(10000.0, -(double)i / (double)pairs);

            *table++ = (float)cos(angle);
            *table++ = (float)sin(angle);
        }
    }
}
