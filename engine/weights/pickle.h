/* pickle.h - runs the pickle of a torch state dict over a closed set of values
 *
 * Private to the .pth reader. The interpreter knows 31 operations of protocol 2 and the
 * names below; everything else is refused by name. It never calls anything: REDUCE with
 * a known name builds one of our own values.
 *
 *     collections.OrderedDict, torch.Size
 *     torch._utils._rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3,
 *         _rebuild_parameter
 *     torch.FloatStorage … BoolStorage, torch.storage.UntypedStorage
 *     torch.float8_e4m3fn, torch.float8_e5m2
 *
 * Memory: values come from a pool of at most 24 MiB; the stack and the memo hold at
 * most 262,144 entries, strings at most 4 KiB.
 */
#ifndef ENGINE_WEIGHTS_PICKLE_H
#define ENGINE_WEIGHTS_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/weights/stored.h"

/* Element types that torch has and we may not; the readable ones are dtypes. */
struct pickle_tensor {
    const char *name;    /* in the state dict */
    const char *storage; /* key: the entry <top>/data/<key> */
    const char *type;    /* of the elements, for messages */
    int dtype;           /* enum dtype, or -1: one that we do not read */
    int item_bytes;
    int64_t storage_bytes; /* what the pickle says */
    int64_t offset_bytes;  /* in the storage */
    int rank;
    int64_t dims[STORED_RANK_MAX];
    int64_t bytes;
};

/* Run `text`, which must be one state dict, and call `visit` for each of its tensors in
 * order. Strings are valid during the call. `path` is for messages. */
enum status pickle_run(const char *path, const void *text, size_t bytes,
                       enum status (*visit)(void *self, const struct pickle_tensor *t,
                                            struct err *e),
                       void *self, struct err *e);

#endif
