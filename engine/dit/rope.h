/* rope.h - the angles of the rotary embedding, per axis of the token grid
 *
 * A head of `head_dim` channels is head_dim/2 pairs of neighbours. Height and width
 * turn 2*floor(head_dim/6) channels each, time the rest, which comes first. Pair i of
 * an axis of `pairs` pairs turns at position p by p * 10000^(-i/pairs)
 * (dit-and-sampling 3.4).
 */
#ifndef ENGINE_DIT_ROPE_H
#define ENGINE_DIT_ROPE_H

#include <stdint.h>

enum { ROPE_F, ROPE_H, ROPE_W, ROPE_AXES };

/* Pairs of each axis. */
void rope_split(int64_t head_dim, int64_t pairs[ROPE_AXES]);

/* table[p][i] = (cos, sin), [positions, pairs, 2], worked out in fp64. */
void rope_fill(float *table, int64_t positions, int64_t pairs);

#endif
