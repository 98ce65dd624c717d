/* safetensors.h - the safetensors format: read strictly, write simply
 *
 * A file is a u64 (little-endian) with the length of a JSON header, the header, and the
 * data. Everything is checked before anything is trusted: header of at most 16 MiB that
 * begins with '{' and is one JSON object without duplicates; every tensor has exactly
 * dtype, shape and data_offsets with plain integers; counts do not overflow and agree
 * with the byte range; the ranges cover the data without holes, overlaps or rest. Known
 * dtypes: F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I8 U8 I32 I64.
 *
 *     struct source *s;
 *     TRY(safetensors_open("case0.safetensors", &s, e));
 *     TRY_GOTO(st, source_get(s, "latent", 4, NULL, &t, e), …);
 *     float *x = malloc(sizeof(float) * stored_elements(t));
 *     TRY_GOTO(st, source_read_as(s, t, DT_F32, x, e), …);
 *     source_close(s);
 */
#ifndef ENGINE_WEIGHTS_SAFETENSORS_H
#define ENGINE_WEIGHTS_SAFETENSORS_H

#include "engine/weights/file.h"
#include "engine/weights/source.h"
#include "engine/weights/stored.h"

enum { SAFETENSORS_HEADER_MAX = 16 << 20 };

/* Open one file; the caller closes *out with source_close. */
enum status safetensors_open(const char *path, struct source **out, struct err *e);

/* Append the tensors of `f`, which is number `file` of a set, to `list`. */
enum status safetensors_list(const struct file *f, int file, struct stored_list *list,
                             struct err *e);

/* One tensor to write: dense data in host memory. */
struct safetensors_item {
    const char *name;
    enum dtype dtype;
    int rank;
    const int64_t *dims;
    const void *data;
};

/* Write a new file (an existing one is replaced). Tensors are laid out by falling
 * element size, then name, and the data start is a multiple of 8, so every tensor is
 * aligned. `metadata`: pairs of key and value, then NULL; or NULL. */
enum status safetensors_write(const char *path, const struct safetensors_item *items,
                              int n, const char *const *metadata, struct err *e);

#endif
