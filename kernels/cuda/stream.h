/* stream.h - what the exchange between devices must know of the CUDA backend
 *
 * Only dist/comm_nccl.c includes this: NCCL puts its work on streams, next to the work
 * of the backend's queues.
 */
#ifndef KERNELS_CUDA_STREAM_H
#define KERNELS_CUDA_STREAM_H

#include <cuda_runtime_api.h>

#include "kernels/ops.h"

/* Of a "cuda" backend and of its queues. */
int cuda_device_of(const struct ops *ops);
cudaStream_t cuda_stream_of(struct queue *q);

/* From now on waiting for a queue means asking the device, and `look` in between, whose
 * error ends the waiting: work that waits for a peer which is lost never ends by
 * itself. NULL: no more. */
void cuda_watch(struct ops *ops, enum status (*look)(void *self, struct err *e),
                void *self);

#endif
