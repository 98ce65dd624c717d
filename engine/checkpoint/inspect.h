/* inspect.h - what is in a checkpoint or a folder of them, as text or JSON
 *
 * Files are read as ever: block and digest first, HDF5 in a child process. What they
 * say is a stranger's words: text shows control characters, also those that turn the
 * direction of writing, as \x1b or \u202e.
 */
#ifndef ENGINE_CHECKPOINT_INSPECT_H
#define ENGINE_CHECKPOINT_INSPECT_H

#include "kernels/base/buf.h"
#include "kernels/base/err.h"

/* One file. ST_INPUT with the reason when it is not valid. Appends to *out. */
enum status checkpoint_inspect(const char *path, bool json, struct buf *out,
                               struct err *e);

/* A folder: a line for every generation, newest first, with the reason where one is
 * rejected, then all about the newest valid one. ST_INPUT: no folder, or none in it. */
enum status checkpoint_inspect_folder(const char *path, bool json, struct buf *out,
                                      struct err *e);

#endif
