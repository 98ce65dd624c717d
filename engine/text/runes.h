/* runes.h - a growing row of Unicode code points, and UTF-8 in and out
 *
 *     struct runes r = RUNES_INIT;
 *     TRY_GOTO(st, runes_decode(&r, text, n, e), done);
 *     TRY_GOTO(st, runes_push(&r, 0x2581, e), done);
 *     TRY_GOTO(st, runes_encode(&r, &utf8, &bytes, e), done);
 *   done:
 *     runes_release(&r);
 *
 * The only failure is ST_RESOURCE, when memory runs out.
 */
#ifndef ENGINE_TEXT_RUNES_H
#define ENGINE_TEXT_RUNES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"

enum { RUNE_REPLACEMENT = 0xFFFD };

struct runes {
    uint32_t *v;
    size_t n, cap;
};

/* clang-format off */
#define RUNES_INIT {NULL, 0, 0}
/* clang-format on */

void runes_release(struct runes *r);
enum status runes_push(struct runes *r, uint32_t rune, struct err *e);

/* Append `n` bytes of UTF-8. Every byte that is not part of a valid sequence becomes
 * U+FFFD; surrogates, which UTF-8 forbids but old programs write, come out as they are,
 * for the reader to join or replace. */
enum status runes_decode(struct runes *r, const char *text, size_t n, struct err *e);

/* Write all runes as UTF-8; *out is NUL-terminated, the caller frees it. Surrogates
 * become U+FFFD. */
enum status runes_encode(const struct runes *r, char **out, size_t *bytes,
                         struct err *e);

/* Bytes of one rune in UTF-8, written to `out`. */
int rune_utf8(uint32_t rune, char out[4]);

/* Unicode property White_Space. */
bool rune_is_space(uint32_t rune);

#endif
