/* utf8.h - is this UTF-8? */
#ifndef KERNELS_BASE_UTF8_H
#define KERNELS_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed sequence at `p` (1 to 4, RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF), or 0. Reads at most `n` bytes. */
size_t utf8_sequence(const char *p, size_t n);

/* Offset of the first byte that is not well-formed UTF-8, or `n`. */
size_t utf8_valid_bytes(const char *text, size_t n);

#endif
