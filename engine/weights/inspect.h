/* inspect.h - what is in a model folder or a file of weights, as text or JSON
 *
 *     struct buf out = BUF_INIT;
 *     TRY(inspect_path(path, &(struct inspect_options){.tensors = true}, &out, e));
 *     fputs(buf_text(&out), stdout);
 *     buf_release(&out);
 *
 * A folder is opened as a model: parts that are missing are left out, models that
 * cannot be run are shown too, and everything that is there must be valid. A file may
 * be any safetensors or .pth file; parts of Wan models are recognised by their tensor
 * names. Only headers are read. Text shows control characters of names as \x1b.
 */
#ifndef ENGINE_WEIGHTS_INSPECT_H
#define ENGINE_WEIGHTS_INSPECT_H

#include <stdbool.h>

#include "kernels/base/buf.h"
#include "kernels/base/err.h"

struct inspect_options {
    bool json;
    bool tensors; /* list every tensor */
};

/* Appends to *out. */
enum status inspect_path(const char *path, const struct inspect_options *options,
                         struct buf *out, struct err *e);

#endif
