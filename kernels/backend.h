/* backend.h - what a backend fills in: one function per op, same names as ops.h
 *
 * Only ops.c and the backends include this. `self` is the backend's own state. A
 * backend keeps its queue type to itself and casts.
 */
#ifndef KERNELS_BACKEND_H
#define KERNELS_BACKEND_H

#include "kernels/ops.h"

/* clang-format off */
#define OPS_LIST(X)                                                                 \
    X(linear) X(conv) X(norm) X(residual) X(act) X(key_sum) X(heads) X(values)      \
    X(attention) X(gather) X(attn_merge) X(convert) X(rows) X(sinusoid) X(unpatch)  \
    X(combine) X(pixels) X(normal) X(quantise)
/* clang-format on */

struct backend {
    struct ops_facts facts;
    void (*close)(void *self);
    enum status (*mem_alloc)(void *self, size_t bytes, void **out, struct err *e);
    void (*mem_free)(void *self, void *p);
    enum status (*pinned_alloc)(void *self, size_t bytes, void **out, struct err *e);
    void (*pinned_free)(void *self, void *p);
    size_t (*mem_left)(const void *self);
    enum status (*queue_open)(void *self, void *workspace, size_t bytes,
                              struct queue **out, struct err *e);
    void (*queue_close)(void *self, struct queue *q);
    enum status (*queue_wait)(void *self, struct queue *q, struct err *e);
    enum status (*event_open)(void *self, struct event **out, struct err *e);
    void (*event_close)(void *self, struct event *ev);
    enum status (*event_record)(void *self, struct queue *q, struct event *ev,
                                struct err *e);
    enum status (*event_await)(void *self, struct queue *q, struct event *ev,
                               struct err *e);
    enum status (*event_wait)(void *self, struct event *ev, struct err *e);
    enum status (*copy)(void *self, struct queue *q, const struct tensor *dst,
                        const struct tensor *src, struct err *e);
    /* NULL, both: there is one way. */
    enum status (*linear_ways)(void *self, const struct op_linear *a,
                               struct linear_way *ways, int most, int *n,
                               struct err *e);
    enum status (*linear_take)(void *self, const struct op_linear *a,
                               const struct linear_way *way, struct err *e);
    size_t (*linear_workspace)(const void *self, const struct op_linear *a);
    size_t (*conv_workspace)(const void *self, const struct op_conv *a);
    size_t (*attention_workspace)(const void *self, const struct op_attention *a);
#define OPS_SLOT(op)                                                        \
    enum status (*op)(void *self, struct queue *q, const struct op_##op *a, \
                      struct err *e);
    OPS_LIST(OPS_SLOT)
#undef OPS_SLOT
};

struct ops {
    const struct backend *backend;
    void *self;
    char machine[OPS_MACHINE_BYTES];
    const struct ops_watcher *watcher; /* NULL: nobody */
};

/* Each backend folder has one of these; absent.c answers ST_UNBUILT. */
enum status ref_open(const struct ops_options *opt, struct ops *out, struct err *e);
enum status cpu_open(const struct ops_options *opt, struct ops *out, struct err *e);
enum status cuda_open(const struct ops_options *opt, struct ops *out, struct err *e);
enum status cuda_devices(int *out, struct err *e);
/* Takes over `inner`. */
enum status check_open(struct ops *inner, struct ops *out, struct err *e);

#endif
