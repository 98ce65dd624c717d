/* walk.h - take the wanted values out of an open HDF5 file, trusting nothing in it
 *
 * Runs in the child process (and in the fuzz target). Everything a file declares is
 * checked before memory or time is spent on it, in this order: the links on the way
 * are hard, the object is what it should be, the element type is one of four floats,
 * rank and dimensions are the wanted ones, storage is inside the file, filters are
 * allowed, chunks are small and all there. Only the wanted names are ever looked up.
 */
#ifndef ENGINE_H5_WALK_H
#define ENGINE_H5_WALK_H

#include <hdf5.h>

#include "engine/h5/wire.h"

/* Where the frames go. */
struct h5_sink {
    enum status (*put)(void *self, enum wire_tag tag, const void *bytes, size_t n,
                       struct err *e);
    void *self;
};

/* Answer the whole request but the closing WIRE_END. ST_INPUT when the file is not as
 * wanted; the text names the dataset or attribute, not the file. */
enum status h5_walk(hid_t file, const struct wire_request *rq, struct h5_sink *sink,
                    struct err *e);

#endif
