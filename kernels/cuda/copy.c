/* copy.c - bytes between host and device without holding up the host
 *
 * A copy from or to ordinary (pageable) host memory would wait for the stream. So its
 * bytes go through pinned slots in pieces: towards the device they are put in a slot
 * and sent from there; towards the host they land in a slot and are handed out when the
 * queue is waited for. Only when all slots are on their way does the host wait, for the
 * oldest one. Memory that CUDA knows is copied directly.
 */
#include <string.h>

#include "kernels/cuda/cuda.h"

static const size_t slot_bytes = (size_t)4 << 20;

enum status stage_open(struct stage *s, struct err *e)
{
    enum status st;

    TRY(cuda_said(cudaMallocHost((void **)&s->memory, STAGE_SLOTS * slot_bytes),
                  "pinned memory", e));
    for (int i = 0; i < STAGE_SLOTS; i++)
        TRY_GOTO(st,
                 cuda_said(
                     cudaEventCreateWithFlags(&s->slot[i].done, cudaEventDisableTiming),
                     "event", e),
                 err_close);
    return ST_OK;

err_close:
    stage_close(s);
    return st;
}

void stage_close(struct stage *s)
{
    for (int i = 0; i < STAGE_SLOTS; i++) {
        if (s->slot[i].done)
            cudaEventDestroy(s->slot[i].done);
    }
    cudaFreeHost(s->memory);
}

static void slot_deliver(struct stage *s, int i)
{
    struct stage_slot *slot = &s->slot[i];

    if (slot->host)
        memcpy(slot->host, s->memory + (size_t)i * slot_bytes, slot->bytes);
    slot->host = NULL;
    slot->busy = false;
}

void stage_deliver(struct stage *s)
{
    for (int i = 0; i < STAGE_SLOTS; i++)
        slot_deliver(s, (s->next + i) % STAGE_SLOTS);
}

/* The oldest slot, free. */
static enum status slot_take(struct stage *s, int *out, struct err *e)
{
    int i = s->next;

    if (s->slot[i].busy)
        TRY(cuda_said(cudaEventSynchronize(s->slot[i].done), "copy", e));
    slot_deliver(s, i);
    s->next = (i + 1) % STAGE_SLOTS;
    *out = i;
    return ST_OK;
}

/* At most as many bytes as a slot has, to or from the host. */
static enum status piece_put(struct queue *q, char *dst, const char *src, size_t bytes,
                             bool to_host, struct err *e)
{
    struct stage *s = &q->stage;
    char *pinned;
    int i;

    TRY(slot_take(s, &i, e));
    pinned = s->memory + (size_t)i * slot_bytes;
    if (!to_host)
        memcpy(pinned, src, bytes);
    TRY(cuda_said(cudaMemcpyAsync(to_host ? pinned : dst, to_host ? src : pinned, bytes,
                                  cudaMemcpyDefault, q->stream),
                  "copy", e));
    TRY(cuda_said(cudaEventRecord(s->slot[i].done, q->stream), "copy", e));
    s->slot[i].busy = true;
    s->slot[i].host = to_host ? dst : NULL;
    s->slot[i].bytes = bytes;
    return ST_OK;
}

static bool pageable(const void *p)
{
    struct cudaPointerAttributes at;

    return cudaPointerGetAttributes(&at, p) == cudaSuccess &&
           at.type == cudaMemoryTypeUnregistered;
}

enum status copy_cuda(void *self, struct queue *q, const struct tensor *dst,
                      const struct tensor *src, struct err *e)
{
    size_t bytes = (size_t)tensor_count(src) * dtype_bytes(src->dtype), n;
    bool to_host = pageable(dst->data), from_host = pageable(src->data);
    char *to = dst->data;
    const char *from = src->data;

    TRY(device_enter(self, "copy", e));
    if (to_host == from_host)
        return cuda_said(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, q->stream),
                         "copy", e);
    for (size_t at = 0; at < bytes; at += n) {
        n = bytes - at < slot_bytes ? bytes - at : slot_bytes;
        TRY(piece_put(q, to + at, from + at, n, to_host, e));
    }
    return ST_OK;
}
