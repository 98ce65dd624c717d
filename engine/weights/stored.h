/* stored.h - where a tensor lies in a file: name, element type, shape, byte range
 *
 * Every reader (safetensors, .pth) ends in a list of these. Tensors are dense and
 * row-major, in the byte order of the machine that we run on (little-endian).
 */
#ifndef ENGINE_WEIGHTS_STORED_H
#define ENGINE_WEIGHTS_STORED_H

#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/err.h"

enum {
    STORED_RANK_MAX = 8,
    STORED_NAME_BYTES = 512,  /* longest name, without the NUL */
    STORED_COUNT_MAX = 65536, /* tensors of one file or set of shards */
};

struct stored {
    char *name; /* owned by the list */
    enum dtype dtype;
    int rank;
    int64_t dims[STORED_RANK_MAX];
    int file;       /* which file of a set */
    int64_t offset; /* from the start of the file */
    int64_t bytes;
};

struct stored_list {
    struct stored *items;
    int n, cap;
};

#define STORED_LIST_INIT \
    {                    \
        NULL, 0, 0       \
    }

/* Number of elements (1 for rank 0). */
int64_t stored_elements(const struct stored *t);

/* Elements and bytes of a shape; -1 when either overflows 62 bits. */
int stored_size(enum dtype dtype, int rank, const int64_t *dims, int64_t *elements,
                int64_t *bytes);

/* "[5120, 13824]" into `out`; returns `out`. */
const char *stored_shape(int rank, const int64_t *dims, char *out, size_t bytes);

/* Append a copy of *t with a copy of its name. `path` is for messages. */
enum status stored_add(struct stored_list *list, const struct stored *t,
                       const char *path, struct err *e);

/* Sort by the bytes of the names; stored_find needs it. */
void stored_sort(struct stored_list *list);
const struct stored *stored_find(const struct stored_list *list, const char *name);

void stored_release(struct stored_list *list);

#endif
