/* plan.h - bytes and work of the transformer for one shape, before anything is
 * allocated
 *
 * A plan is arithmetic: it needs the configuration and the backend's facts, no weights
 * and no memory on a device, and it counts with the functions that cut the memory
 * later.
 *
 *     TRY(dit_plan(&config, &dit_bf16, &shape, ops, &plan, e));
 *     arena bytes = branches in flight * plan.forward_bytes
 *                 + prompts * plan.context_bytes
 *     (the making of a context, plan.context_scratch_bytes, can use a forward's memory)
 *     queue workspace = plan.workspace_bytes
 */
#ifndef ENGINE_DIT_PLAN_H
#define ENGINE_DIT_PLAN_H

#include "engine/dit/forward.h"

enum { DIT_STAGES = 6 };

struct dit_plan {
    int64_t tokens;               /* of this rank */
    size_t context_bytes;         /* one context of shape.context_rows rows */
    size_t context_scratch_bytes; /* while it is made */
    size_t forward_bytes;         /* one pass in flight: kept + largest stage */
    size_t kept_bytes;
    struct {
        const char *name;
        size_t bytes;
    } stage[DIT_STAGES];    /* they take turns */
    int64_t feed_rows;      /* of the feed-forward at a time */
    size_t workspace_bytes; /* scratch that the queue needs */

    /* Floating point operations of this rank, a multiply-add is 2. */
    double context_flops; /* once per context */
    double linear_flops;  /* per pass */
    double self_flops;
    double cross_flops;
};

/* `ops` is asked for facts and for the workspace of each op. */
enum status dit_plan(const struct dit_config *config,
                     const struct dit_precision *precision,
                     const struct dit_shape *shape, struct ops *ops,
                     struct dit_plan *out, struct err *e);

#endif
