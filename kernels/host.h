/* host.h - memory, queues and events of the backends that run on the host
 *
 * Everything is done when a call returns, so a queue is its workspace and nothing else,
 * events are always reached, and waiting is free. `ref` and `cpu` put HOST_SLOTS into
 * their tables.
 */
#ifndef KERNELS_HOST_H
#define KERNELS_HOST_H

#include "kernels/backend.h"

struct queue {
    char *workspace;
    size_t bytes;
};

enum status host_mem_alloc(void *self, size_t bytes, void **out, struct err *e);
void host_mem_free(void *self, void *p);
enum status host_pinned_alloc(void *self, size_t bytes, void **out, struct err *e);
void host_pinned_free(void *self, void *p);
size_t host_mem_left(const void *self);
enum status host_queue_open(void *self, void *workspace, size_t bytes,
                            struct queue **out, struct err *e);
void host_queue_close(void *self, struct queue *q);
enum status host_queue_wait(void *self, struct queue *q, struct err *e);
enum status host_event_open(void *self, struct event **out, struct err *e);
void host_event_close(void *self, struct event *ev);
enum status host_event_pass(void *self, struct queue *q, struct event *ev,
                            struct err *e);
enum status host_event_wait(void *self, struct event *ev, struct err *e);
enum status host_copy(void *self, struct queue *q, const struct tensor *dst,
                      const struct tensor *src, struct err *e);

#define HOST_SLOTS                                                                     \
    .mem_alloc = host_mem_alloc, .mem_free = host_mem_free, .mem_left = host_mem_left, \
    .pinned_alloc = host_pinned_alloc, .pinned_free = host_pinned_free,                \
    .event_wait = host_event_wait, .queue_open = host_queue_open,                      \
    .queue_close = host_queue_close, .queue_wait = host_queue_wait,                    \
    .event_open = host_event_open, .event_close = host_event_close,                    \
    .event_record = host_event_pass, .event_await = host_event_pass, .copy = host_copy

#endif
