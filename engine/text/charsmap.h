/* charsmap.h - the character map inside a SentencePiece model, read as HF reads it
 *
 * The map replaces characters and short sequences by others (compatibility forms,
 * kinds of space, control characters). It is a u32 length in bytes, a double array of
 * u32 units of that length (layout of darts-clone), and a pool of NUL-terminated UTF-8
 * replacements. A unit u has
 *
 *     offset  (u >> 10) << ((u & 0x200) >> 6)
 *     label   u & 0x800000FF
 *     leaf    bit 8: the unit at its offset is a value, u & 0x7FFFFFFF, into the pool
 *
 * and the child of unit i for byte b is unit i ^ offset ^ b, if its label is b.
 */
#ifndef ENGINE_TEXT_CHARSMAP_H
#define ENGINE_TEXT_CHARSMAP_H

#include <stdbool.h>

#include "engine/text/runes.h"

struct charsmap {
    const unsigned char *units; /* little-endian, may be unaligned */
    size_t n_units;
    const char *pool;
    size_t pool_bytes;
};

/* View a map (borrowed). False when any unit points outside the array or the pool. */
bool charsmap_init(struct charsmap *m, const void *bytes, size_t n);

/* Append `in` to `out`, normalised as the tokenizers library does: grapheme clusters of
 * less than 6 bytes are looked up whole, everything else character by character; the
 * shortest key that the cluster begins with replaces all of it. */
enum status charsmap_apply(const struct charsmap *m, const struct runes *in,
                           struct runes *out, struct err *e);

#endif
