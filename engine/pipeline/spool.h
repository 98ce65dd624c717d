/* spool.h - a file without a name, for frames that wait for their other tiles
 *
 * Lies in the folder of the output and has no name there, so that nothing is left of it
 * whatever happens. Written and read anywhere. A full disk is ST_RESOURCE.
 */
#ifndef ENGINE_PIPELINE_SPOOL_H
#define ENGINE_PIPELINE_SPOOL_H

#include "kernels/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct spool {
    int fd;
};

#define SPOOL_INIT \
    {              \
        -1         \
    }

/* Beside the output `path`. spool_close of one that was never opened is fine. */
enum status spool_open(struct spool *s, const char *path, struct err *e);
void spool_close(struct spool *s);

enum status spool_put(const struct spool *s, int64_t at, const void *data, size_t bytes,
                      struct err *e);
enum status spool_get(const struct spool *s, int64_t at, void *data, size_t bytes,
                      struct err *e);

#endif
