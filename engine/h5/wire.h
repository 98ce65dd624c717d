/* wire.h - what travels between h5_read and its child
 *
 * The request goes to the child as arguments, one string per field:
 *
 *     framefleet --h5-read  a <what> <rank> <dim>… <max_count> <path>  …
 *                           t <kind> <text_bytes> <object> <name>  …
 *
 * what: 1 when values are wanted and not only the shape, plus 2 for integers.
 *
 * The answer comes back through a pipe as frames: tag, length of the payload (u32,
 * native order), payload. In the order of the request:
 *
 *     array   'n'                      it is not there
 *             's' i64[rank]            its shape, and if values were asked for then
 *             'd' f32[…] or i64[…] …   pieces of at most WIRE_PIECE bytes
 *     attr    'n' | 'v' value          i64, double, or text without NUL
 *     last    'z'
 *
 * 'e' text may come instead of any frame and is the last one. The parent believes
 * nothing: order, lengths and shapes are checked on its side too.
 */
#ifndef ENGINE_H5_WIRE_H
#define ENGINE_H5_WIRE_H

#include "engine/h5/h5.h"
#include "kernels/base/buf.h"

#define WIRE_ARGUMENT "--h5-read"

enum { WIRE_PIECE = 1 << 20, WIRE_WANTS_MAX = 64 };

enum wire_tag {
    WIRE_ABSENT = 'n',
    WIRE_SHAPE = 's',
    WIRE_DATA = 'd',
    WIRE_VALUE = 'v',
    WIRE_ERROR = 'e',
    WIRE_END = 'z'
};

struct wire_head {
    uint32_t tag;
    uint32_t bytes;
};

/* The child's view of a request. `data`, `ints` and `text` of the entries are not
 * memory there, only flags: NULL or not. */
struct wire_request {
    struct h5_array arrays[WIRE_WANTS_MAX];
    struct h5_attr attrs[WIRE_WANTS_MAX];
    int n_arrays, n_attrs;
};

enum { WIRE_VALUES = 1, WIRE_INTEGERS = 2 };

/* Bytes of an element, and is it asked for? */
size_t wire_item_bytes(const struct h5_array *a);
bool wire_values_wanted(const struct h5_array *a);

/* Append the arguments, each with its NUL, to `out`; returns how many. */
int wire_pack(const struct h5_array *arrays, int n_arrays, const struct h5_attr *attrs,
              int n_attrs, struct buf *out);

/* Read the arguments after WIRE_ARGUMENT; false when they are not ours. The strings of
 * the request point into argv. */
bool wire_unpack(int argc, char **argv, struct wire_request *rq);

#endif
