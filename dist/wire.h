/* wire.h - bytes that attention moves between ranks, by formula
 *
 * With L tokens, width D, U x R ranks that divide both evenly, and e bytes per element,
 * every rank sends per block (quantization-and-attention 4.1):
 *
 *     Ulysses   4 * (L / (U R)) * D * e * (U - 1) / U      q, k, v there, o back
 *     ring      2 * (L / (U R)) * D * e * (R - 1)          k and v
 *
 * The counts here are exact for uneven cuts as well, and know the formats: an 8-bit
 * element carries its share of a scale (q and o 4/head_dim, k 1/head_dim, v 4/128
 * bytes), v is padded to 128 tokens, and what follows codes or scales in a message
 * begins at a multiple of 16 bytes. With 8-bit keys the ranks add up 8 (D + 1) bytes of
 * sums for their mean.
 *
 * Not collective: arithmetic for plans, and the measure of what was really sent.
 */
#ifndef DIST_WIRE_H
#define DIST_WIRE_H

#include "dist/seqpar.h"

struct wire {
    uint64_t ulysses_bytes, ring_bytes, sum_bytes; /* sent by this rank */
    uint64_t messages;
};

/* What rank layout->group.rank sends in one attention, tokens cut on multiples of
 * `granule`. */
struct wire wire_of(const struct seqpar_layout *layout, int64_t granule);

/* What the transport of a device takes of its memory for itself, estimated: NCCL has
 * buffers for each peer of a communicator that is used, about 128 MiB for channels of
 * its default sizes. */
size_t wire_buffer_bytes(const struct mesh *mesh);

#endif
