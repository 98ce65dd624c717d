/* block.h - the 512 bytes in front of a checkpoint that vouch for the rest
 *
 * HDF5 lets a file begin with bytes of somebody else's. Ours say how long the file is
 * (finds truncation) and what the SHA-256 of everything behind them is (finds all other
 * damage) before a library parses a byte. Integers are little-endian:
 *
 *        0  "FFCKPT01"
 *        8  u32  0x01020304
 *       12  u32  512
 *       16  u64  length of the file
 *       24  u64  segment
 *       32  u64  rows done
 *       40  u64  incarnation that wrote it
 *       48  SHA-256 of bytes 512 to the end, 64 hex digits
 *      112  zeros
 *      508  u32  CRC-32 (IEEE 802.3) of bytes 0 to 507
 */
#ifndef ENGINE_CHECKPOINT_BLOCK_H
#define ENGINE_CHECKPOINT_BLOCK_H

#include "engine/digest.h"

enum { BLOCK_BYTES = 512 };

struct block {
    int64_t file_bytes, segment, row, incarnation;
    char digest[DIGEST_HEX];
};

void block_encode(const struct block *b, unsigned char out[BLOCK_BYTES]);

/* ST_INPUT says what is wrong, without a file's name. */
enum status block_decode(const unsigned char in[BLOCK_BYTES], struct block *b,
                         struct err *e);

#endif
