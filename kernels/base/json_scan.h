/* json_scan.h - check a JSON text and count what parsing it will cost
 *
 * Private to the json wrapper.
 */
#ifndef KERNELS_BASE_JSON_SCAN_H
#define KERNELS_BASE_JSON_SCAN_H

#include "kernels/base/json.h"

/* Check `text` against RFC 8259 and `limits`; errors name `name` and the byte offset.
 * On success *memory is what cJSON will allocate for it, at most. */
enum status json_scan(const char *name, const char *text, size_t bytes,
                      const struct json_limits *limits, size_t *memory, struct err *e);

#endif
