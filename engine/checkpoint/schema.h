/* schema.h - a checkpoint as an HDF5 file, and back
 *
 * The file is built in memory (engine/h5) and parsed by HDF5 in a child process.
 */
#ifndef ENGINE_CHECKPOINT_SCHEMA_H
#define ENGINE_CHECKPOINT_SCHEMA_H

#include "engine/checkpoint/checkpoint.h"

/* The whole file, BLOCK_BYTES of zeros first; the caller frees *image. */
enum status schema_build(const struct checkpoint *ck, const char *name, void **image,
                         size_t *bytes, struct err *e);

/* Read from the open file `fd` of `file_bytes`, whose name for errors is `name`. No
 * array may have more elements than the file has room for. `ck` is empty before; on
 * failure it stays so. */
enum status schema_read(int fd, const char *name, int64_t file_bytes,
                        struct checkpoint *ck, struct err *e);

#endif
