/* tensor.h - a view of numbers: dtype, shape, strides, memory space and scales
 *
 * A tensor owns nothing. `stride` counts elements, 64 bit, per axis. The last axis is
 * the fastest one unless a stride says otherwise.
 *
 * Scales. The value of an element is code * scale, where the scale that belongs to
 * element (r, c) of the last two axes (leading axes: one set of scales after another,
 * `scales.stride[0]` floats apart) is
 *
 *     SCALE_NONE    1
 *     SCALE_TENSOR  data[0]
 *     SCALE_ROW     data[r]                       token, or output channel of a weight
 *     SCALE_COLUMN  data[c]
 *     SCALE_GROUP   data[(r / rows) * stride[1] + c / cols]
 *
 * with `rows` and `cols` the extent of a group: (4, width) is "four tokens share one",
 * (1, 128) is 1x128 of a row, (128, 128) is the 128-block scheme of weights.
 *
 * Pending. A raw matrix product may leave its scales to the op that reads it:
 *
 *     value(r, c) = raw(r, c) * row_scale[r] * col_scale[c] + bias[c]
 *
 * NULL members count as 1, 1 and 0. Only the ops that say so accept pending inputs.
 */
#ifndef KERNELS_TENSOR_H
#define KERNELS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/arena.h"
#include "kernels/base/dtype.h"

enum { TENSOR_RANK_MAX = 6 };

enum mem_space { MEM_HOST, MEM_DEVICE };

enum scale_kind { SCALE_NONE, SCALE_TENSOR, SCALE_ROW, SCALE_COLUMN, SCALE_GROUP };

struct scales {
    enum scale_kind kind;
    float *data;
    int64_t rows, cols; /* extent of a group, SCALE_GROUP only */
    int64_t stride[2];  /* floats between leading slices, between rows of groups */
};

struct pending {
    const float *row_scale;
    const float *col_scale;
    const float *bias;
};

struct tensor {
    enum dtype dtype;
    enum mem_space space;
    int rank;
    int64_t shape[TENSOR_RANK_MAX];
    int64_t stride[TENSOR_RANK_MAX];
    void *data;
    struct scales scales;
    struct pending pending;
};

/* A dense row-major view of `data` (may be NULL while planning), no scales. */
struct tensor tensor_make(void *data, enum dtype dt, enum mem_space space, int rank,
                          const int64_t *shape);
struct tensor tensor_make1(void *data, enum dtype dt, enum mem_space sp, int64_t n);
struct tensor tensor_make2(void *data, enum dtype dt, enum mem_space sp, int64_t rows,
                           int64_t cols);
struct tensor tensor_make3(void *data, enum dtype dt, enum mem_space sp, int64_t n,
                           int64_t rows, int64_t cols);

/* Cut a dense tensor out of an arena (NULL data while it counts). */
struct tensor tensor_cut(struct arena *a, enum dtype dt, enum mem_space space, int rank,
                         const int64_t *shape);

/* Cut a [rows, cols] operand of a matrix product: 1-byte types get SCALE_ROW scales
 * from the same arena, wider ones get none. */
struct tensor operand_cut(struct arena *a, enum dtype dt, enum mem_space space,
                          int64_t rows, int64_t cols);

/* Elements [begin, begin + count) of one axis; SCALE_ROW and SCALE_COLUMN scales and
 * pending vectors follow when the axis is the one they run over. Cutting an axis
 * through a scale group asserts. */
struct tensor tensor_slice(const struct tensor *t, int axis, int64_t begin,
                           int64_t count);

/* The same elements under another dense shape (the tensor must be dense). */
struct tensor tensor_reshape(const struct tensor *t, int rank, const int64_t *shape);

int64_t tensor_count(const struct tensor *t);
bool tensor_dense(const struct tensor *t);
bool tensor_same_shape(const struct tensor *a, const struct tensor *b);

#endif
