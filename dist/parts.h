/* parts.h - what travels in attention: a tensor and its scales as one message
 *
 * A part holds some heads of some tokens, in the layout that attention reads or writes,
 * so that what arrives is used as it lies:
 *
 *     q   [heads, tokens, head_dim]      8 bit: a scale per token and head
 *     k   [heads, tokens, head_dim]      8 bit: a scale per 4 tokens and head
 *     v   [heads, tokens, head_dim], or e4m3 [heads, head_dim, tokens up to 128]:
 *                                        a scale per channel and 128 tokens
 *     o   [tokens, heads, head_dim]      e4m3: a scale per token and head
 *
 * Its message is the codes and then, from the next multiple of 16 bytes on, the scales.
 *
 * Not collective: no function here talks to another rank.
 */
#ifndef DIST_PARTS_H
#define DIST_PARTS_H

#include "dist/comm.h"
#include "kernels/base/arena.h"
#include "kernels/tensor.h"

enum { PART_ALIGN = 16 };

enum part_kind { PART_Q, PART_K, PART_V, PART_O, PART_KINDS };

struct part_formats {
    enum dtype qk, v, o;
    int64_t head_dim;
    enum mem_space space;
};

struct part {
    struct tensor t;
    struct comm_piece message;
};

/* The part at `base`, which may be NULL to learn its bytes. */
struct part part_lay(const struct part_formats *f, enum part_kind kind, int64_t heads,
                     int64_t tokens, void *base);

/* The same in memory of its own. */
struct part part_cut(const struct part_formats *f, enum part_kind kind, int64_t heads,
                     int64_t tokens, struct arena *a);

/* `bytes` up to the next multiple of PART_ALIGN. */
size_t part_round(size_t bytes);

#endif
