/* block.c - the block, byte by byte */
#include "engine/checkpoint/block.h"

#include <string.h>

#define MAGIC "FFCKPT01"
#define ORDER_MARK 0x01020304u

enum {
    AT_MARK = 8,
    AT_SIZE = 12,
    AT_LENGTH = 16,
    AT_SEGMENT = 24,
    AT_ROW = 32,
    AT_INCARNATION = 40,
    AT_DIGEST = 48,
    AT_CRC = BLOCK_BYTES - 4
};

/* Bit by bit: 508 bytes are not worth a table. */
static uint32_t crc32_of(const unsigned char *at, size_t n)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void put(unsigned char *at, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get(const unsigned char *at, int bytes)
{
    uint64_t v = 0;

    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | at[i];
    return v;
}

void block_encode(const struct block *b, unsigned char out[BLOCK_BYTES])
{
    memset(out, 0, BLOCK_BYTES);
    memcpy(out, MAGIC, sizeof(MAGIC) - 1);
    put(out + AT_MARK, ORDER_MARK, 4);
    put(out + AT_SIZE, BLOCK_BYTES, 4);
    put(out + AT_LENGTH, (uint64_t)b->file_bytes, 8);
    put(out + AT_SEGMENT, (uint64_t)b->segment, 8);
    put(out + AT_ROW, (uint64_t)b->row, 8);
    put(out + AT_INCARNATION, (uint64_t)b->incarnation, 8);
    memcpy(out + AT_DIGEST, b->digest, DIGEST_HEX - 1);
    put(out + AT_CRC, crc32_of(out, AT_CRC), 4);
}

enum status block_decode(const unsigned char in[BLOCK_BYTES], struct block *b,
                         struct err *e)
{
    struct block got = {
        .file_bytes = (int64_t)get(in + AT_LENGTH, 8),
        .segment = (int64_t)get(in + AT_SEGMENT, 8),
        .row = (int64_t)get(in + AT_ROW, 8),
        .incarnation = (int64_t)get(in + AT_INCARNATION, 8),
    };

    if (memcmp(in, MAGIC, sizeof(MAGIC) - 1) != 0)
        return err_set(e, ST_INPUT, "not a checkpoint of this program");
    if (get(in + AT_CRC, 4) != crc32_of(in, AT_CRC))
        return err_set(e, ST_INPUT, "its first %d bytes are damaged", BLOCK_BYTES);
    if (get(in + AT_MARK, 4) != ORDER_MARK || get(in + AT_SIZE, 4) != BLOCK_BYTES ||
        got.file_bytes < 0 || got.segment < 0 || got.row < 0 || got.incarnation < 0)
        return err_set(e, ST_INPUT, "its first %d bytes make no sense", BLOCK_BYTES);
    memcpy(got.digest, in + AT_DIGEST, DIGEST_HEX - 1);
    got.digest[DIGEST_HEX - 1] = '\0';
    *b = got;
    return ST_OK;
}
