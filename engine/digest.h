/* digest.h - SHA-256 of what must be the same, XXH3 of what is read anyway
 *
 * A checksum (XXH3, 64 bits) is taken of every tensor while it is read; a digest
 * (SHA-256, as 64 lower-case hex digits) names a whole model, configuration or set of
 * inputs (cluster-and-recovery 5.6).
 *
 *     struct digest *d;
 *     TRY(digest_create(&d, e));
 *     digest_add(d, text, bytes);
 *     digest_hex(d, hex);                 once
 *     digest_destroy(d);
 */
#ifndef ENGINE_DIGEST_H
#define ENGINE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/err.h"

enum { DIGEST_HEX = 65 }; /* with the NUL */

struct digest;
enum status digest_create(struct digest **out, struct err *e);
void digest_add(struct digest *d, const void *data, size_t bytes);
void digest_hex(struct digest *d, char hex[DIGEST_HEX]);
void digest_destroy(struct digest *d);

/* Of one piece of memory; "" on failure of the library. */
void digest_of(const void *data, size_t bytes, char hex[DIGEST_HEX]);

struct checksum;
enum status checksum_create(struct checksum **out, struct err *e);
void checksum_reset(struct checksum *c);
void checksum_add(struct checksum *c, const void *data, size_t bytes);
uint64_t checksum_value(const struct checksum *c);
void checksum_destroy(struct checksum *c);

/* Of one piece of memory. */
uint64_t checksum_of(const void *data, size_t bytes);

#endif
