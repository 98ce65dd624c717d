/* pickle_value.h - the closed set of values that a weights pickle may build
 *
 * Private to the pickle interpreter. Values live in a pool until it is released. Dicts
 * keep keys and values in turn in `items`. A constructor returns NULL when the pool is
 * full; those with `why` set it when what they are asked for is not allowed.
 */
#ifndef ENGINE_WEIGHTS_PICKLE_VALUE_H
#define ENGINE_WEIGHTS_PICKLE_VALUE_H

#include <stdbool.h>

#include "engine/weights/pickle.h"

enum value_kind {
    V_MARK,
    V_NONE,
    V_BOOL,
    V_INT,
    V_FLOAT,
    V_STRING,
    V_TUPLE,
    V_LIST,
    V_DICT,
    V_GLOBAL,
    V_STORAGE,
    V_TENSOR
};

enum global_kind {
    G_DICT,
    G_SIZE,
    G_TENSOR,
    G_TENSOR_V2,
    G_TENSOR_V3,
    G_PARAMETER,
    G_STORAGE,
    G_DTYPE
};

/* A name that may occur. For storages and dtypes: what their elements are. */
struct global {
    const char *name;
    enum global_kind kind;
    const char *type;
    int dtype; /* enum dtype, or -1: one that we do not read */
    int item_bytes;
};

struct value {
    enum value_kind kind;
    int n, cap; /* items */
    union {
        int64_t number;               /* bool, int; storage: number of elements */
        struct pickle_tensor *tensor; /* tensor: name not yet set */
    };
    const char *string;          /* string; storage: its key */
    const struct global *global; /* global; storage: its class */
    struct value **items;        /* tuple, list, dict */
};

struct pool {
    struct chunk *chunks;
    size_t used; /* in the newest chunk */
    size_t total;
};

const struct global *global_find(const char *name);

struct value *value_create(struct pool *pool, enum value_kind kind);
struct value *value_string(struct pool *pool, const char *text, size_t bytes);
bool value_extend(struct pool *pool, struct value *v, struct value **items, int n);

/* ("storage", class, key, place, count). */
struct value *value_storage(struct pool *pool, const struct value *id,
                            const char **why);

/* What a known name makes of its arguments. */
struct value *value_reduce(struct pool *pool, const struct global *callee,
                           struct value *args, const char **why);

/* The tensor of one item of the state dict. */
enum status value_tensor(const struct value *key, const struct value *v,
                         const char *path, struct pickle_tensor *out, struct err *e);

void pool_release(struct pool *pool);

#endif
