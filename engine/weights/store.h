/* store.h - inside of a weight store
 *
 * Private to weights.c (finding), weights_plan.c (what becomes of each tensor) and the
 * files of load.h (reading).
 */
#ifndef ENGINE_WEIGHTS_STORE_H
#define ENGINE_WEIGHTS_STORE_H

#include "engine/weights/component.h"
#include "engine/weights/weights.h"

/* What is done to the elements on the way. */
enum transform { TRANSFORM_CONVERT, TRANSFORM_QUANTISE, TRANSFORM_CONV };

struct slot {
    char *name;
    struct tensor t;
    const struct stored *stored; /* until loaded */
    enum transform transform;
    size_t data_at, scales_at; /* in the allocation */
    size_t bytes;              /* of data and scales together, from data_at */
    uint64_t checksum;         /* of the stored bytes */
    int round;                 /* of a load by a team */
    enum dtype stored_dtype;
    int stored_rank;
    int64_t stored_dims[STORED_RANK_MAX];
};

struct weights {
    struct slot *slots; /* sorted by name */
    int n;
    struct weights_policy policy;
    const char *label;           /* of the component */
    const struct source *source; /* until loaded */
    size_t bytes;
    struct ops *ops; /* owner of `memory`, unless that is shared */
    void *memory;
    bool shared;
    bool loaded, dropped;
};

/* An empty store of n slots, or NULL. */
struct weights *weights_alloc(int n);

/* Decide transform, dtype, shape and place of every slot. */
enum status weights_plan(struct weights *w, struct err *e);

/* Point the views at w->memory; the store counts as loaded, its source is not used any
 * more. */
void weights_views_settle(struct weights *w);

/* Give back what weights_load has got, if anything. */
void weights_memory_free(struct weights *w);

#endif
