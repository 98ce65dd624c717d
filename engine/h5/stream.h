/* stream.h - the parent's side of the pipe: frames to results, believing nothing */
#ifndef ENGINE_H5_STREAM_H
#define ENGINE_H5_STREAM_H

#include "engine/h5/wire.h"

/* Why reading the stream ended. */
enum stream_end {
    STREAM_WHOLE,   /* everything answered */
    STREAM_REFUSED, /* the child or we refused the file: *e says why */
    STREAM_BROKEN,  /* the pipe closed, fell silent or carried nonsense */
};

/* Read the answers to the request from `fd` into the entries, waiting at most
 * `silence_ms` for each byte. Sets `found`, dims and values in place. */
enum stream_end stream_read(int fd, int silence_ms, struct h5_array *arrays,
                            int n_arrays, struct h5_attr *attrs, int n_attrs,
                            struct err *e);

#endif
