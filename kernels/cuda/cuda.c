/* cuda.c - the CUDA backend: its state, memory, streams and table of ops */
#include "kernels/cuda/cuda.h"

#include <inttypes.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/base/clock.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/stream.h"

enum status cuda_said(cudaError_t code, const char *what, struct err *e)
{
    if (code == cudaSuccess)
        return ST_OK;
    if (code == cudaErrorMemoryAllocation)
        return err_set(e, ST_RESOURCE, "%s: not enough memory on the gpu", what);
    return err_set(e, ST_DEVICE, "%s: %s", what, cudaGetErrorString(code));
}

enum status device_enter(const struct cuda *c, const char *what, struct err *e)
{
    return cuda_said(cudaSetDevice(c->device), what, e);
}

/* ---- memory -------------------------------------------------------------------- */

static enum status cuda_mem_alloc(void *self, size_t bytes, void **out, struct err *e)
{
    cudaError_t code;
    void *p;

    TRY(device_enter(self, "memory", e));
    code = cudaMalloc(&p, bytes ? bytes : ARENA_ALIGN);
    if (code == cudaErrorMemoryAllocation)
        return err_set(e, ST_RESOURCE, "cannot allocate %.1f MiB on the gpu",
                       (double)bytes / 1048576.0);
    TRY(cuda_said(code, "memory", e));
    *out = p;
    return ST_OK;
}

static void cuda_mem_free(void *self, void *p)
{
    (void)self;
    cudaFree(p);
}

static enum status cuda_pinned_alloc(void *self, size_t bytes, void **out,
                                     struct err *e)
{
    cudaError_t code;
    void *p;

    TRY(device_enter(self, "pinned memory", e));
    code = cudaMallocHost(&p, bytes ? bytes : ARENA_ALIGN);
    if (code == cudaErrorMemoryAllocation)
        return err_set(e, ST_RESOURCE, "cannot pin %.1f MiB of host memory",
                       (double)bytes / 1048576.0);
    TRY(cuda_said(code, "pinned memory", e));
    *out = p;
    return ST_OK;
}

static void cuda_pinned_free(void *self, void *p)
{
    (void)self;
    cudaFreeHost(p);
}

static size_t cuda_mem_left(const void *self)
{
    const struct cuda *c = self;
    size_t left, all;

    if (cudaSetDevice(c->device) != cudaSuccess ||
        cudaMemGetInfo(&left, &all) != cudaSuccess)
        return SIZE_MAX;
    return left;
}

/* ---- queues and events --------------------------------------------------------- */

static enum status cuda_queue_open(void *self, void *workspace, size_t bytes,
                                   struct queue **out, struct err *e)
{
    struct queue *q = calloc(1, sizeof(*q));
    enum status st;

    if (!q)
        return err_set(e, ST_RESOURCE, "no memory for a queue");
    q->workspace = workspace;
    q->bytes = bytes;
    TRY_GOTO(st, device_enter(self, "queue", e), err_free);
    TRY_GOTO(st,
             cuda_said(cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking),
                       "queue", e),
             err_free);
    TRY_GOTO(st, stage_open(&q->stage, e), err_stream);
    *out = q;
    return ST_OK;

err_stream:
    cudaStreamDestroy(q->stream);
err_free:
    free(q);
    return st;
}

static void cuda_queue_close(void *self, struct queue *q)
{
    (void)self;
    cudaStreamSynchronize(q->stream);
    stage_close(&q->stage);
    cudaStreamDestroy(q->stream);
    free(q);
}

/* Polls at first, so that short work is noticed at once, then sleeps in between. */
static void give_way(double waited)
{
    static const double poll_seconds = 200e-6;
    static const struct timespec nap = {0, 50000};

    if (waited < poll_seconds)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

static enum status stream_wait(const struct cuda *c, cudaStream_t stream, struct err *e)
{
    double since = clock_seconds();
    cudaError_t code;

    if (!c->look)
        return cuda_said(cudaStreamSynchronize(stream), "wait", e);
    while ((code = cudaStreamQuery(stream)) == cudaErrorNotReady) {
        cudaGetLastError();
        TRY(c->look(c->look_self, e));
        give_way(clock_seconds() - since);
    }
    return cuda_said(code, "wait", e);
}

static enum status cuda_queue_wait(void *self, struct queue *q, struct err *e)
{
    TRY(device_enter(self, "wait", e));
    TRY(stream_wait(self, q->stream, e));
    stage_deliver(&q->stage);
    return ST_OK;
}

static enum status cuda_event_open(void *self, struct event **out, struct err *e)
{
    struct event *ev = malloc(sizeof(*ev));
    enum status st;

    if (!ev)
        return err_set(e, ST_RESOURCE, "no memory for an event");
    TRY_GOTO(st, device_enter(self, "event", e), err_free);
    TRY_GOTO(st,
             cuda_said(cudaEventCreateWithFlags(&ev->event, cudaEventDisableTiming),
                       "event", e),
             err_free);
    *out = ev;
    return ST_OK;

err_free:
    free(ev);
    return st;
}

static void cuda_event_close(void *self, struct event *ev)
{
    (void)self;
    cudaEventDestroy(ev->event);
    free(ev);
}

static enum status cuda_event_record(void *self, struct queue *q, struct event *ev,
                                     struct err *e)
{
    TRY(device_enter(self, "event", e));
    return cuda_said(cudaEventRecord(ev->event, q->stream), "event", e);
}

static enum status cuda_event_await(void *self, struct queue *q, struct event *ev,
                                    struct err *e)
{
    TRY(device_enter(self, "event", e));
    return cuda_said(cudaStreamWaitEvent(q->stream, ev->event, 0), "event", e);
}

/* Without `look`, which is for one thread: this is not for work that waits for a peer.
 */
static enum status cuda_event_wait(void *self, struct event *ev, struct err *e)
{
    double since = clock_seconds();
    cudaError_t code;

    TRY(device_enter(self, "event", e));
    while ((code = cudaEventQuery(ev->event)) == cudaErrorNotReady) {
        cudaGetLastError();
        give_way(clock_seconds() - since);
    }
    return cuda_said(code, "event", e);
}

/* ---- beside NCCL ---------------------------------------------------------------- */

int cuda_device_of(const struct ops *ops)
{
    return ((const struct cuda *)ops->self)->device;
}

cudaStream_t cuda_stream_of(struct queue *q)
{
    return q->stream;
}

void cuda_watch(struct ops *ops, enum status (*look)(void *self, struct err *e),
                void *self)
{
    struct cuda *c = ops->self;

    c->look = look;
    c->look_self = self;
}

/* ---- ops ----------------------------------------------------------------------- */

/* Ops that need nothing but their launcher; nothing is done for no elements of
 * `size`. */
#define SIMPLE(op, size)                                                               \
    static enum status op##_cuda(void *self, struct queue *q, const struct op_##op *a, \
                                 struct err *e)                                        \
    {                                                                                  \
        if (tensor_count(a->size) == 0)                                                \
            return ST_OK;                                                              \
        TRY(device_enter(self, #op, e));                                               \
        return cuda_said(op##_launch(a, q->stream), #op, e);                           \
    }
SIMPLE(attn_merge, o)
SIMPLE(convert, src)
SIMPLE(rows, out)
SIMPLE(sinusoid, out)
SIMPLE(unpatch, x)
SIMPLE(combine, out)
SIMPLE(pixels, x)
SIMPLE(normal, out)
SIMPLE(quantise, src)
#undef SIMPLE

/* The kernel for a block's shape where the op has one, else the one for all. */
#define CHOSEN(c, a, q, op)                                        \
    cuda_said((c)->mma &&op##_wide_fits(a, &(c)->limits)           \
                  ? op##_wide_launch(a, &(c)->limits, (q)->stream) \
                  : op##_launch(a, (q)->stream),                   \
              #op, e)

/* SIMPLE with such a choice. */
#define BLOCK_OP(op, size)                                                             \
    static enum status op##_cuda(void *self, struct queue *q, const struct op_##op *a, \
                                 struct err *e)                                        \
    {                                                                                  \
        const struct cuda *c = self;                                                   \
                                                                                       \
        if (tensor_count(a->size) == 0)                                                \
            return ST_OK;                                                              \
        TRY(device_enter(c, #op, e));                                                  \
        return CHOSEN(c, a, q, op);                                                    \
    }
BLOCK_OP(residual, x)
BLOCK_OP(act, x)
BLOCK_OP(key_sum, y)
BLOCK_OP(heads, y)
#undef BLOCK_OP

static enum status norm_cuda(void *self, struct queue *q, const struct op_norm *a,
                             struct err *e)
{
    if (tensor_count(a->x) == 0)
        return ST_OK;
    TRY(device_enter(self, "norm", e));
    if (norm_pixels_fits(a))
        return cuda_said(norm_pixels_launch(a, q->stream), "norm", e);
    return cuda_said(norm_launch(a, q->stream), "norm", e);
}

static enum status conv_cuda(void *self, struct queue *q, const struct op_conv *a,
                             struct err *e)
{
    const struct cuda *c = self;

    if (tensor_count(a->y) == 0)
        return ST_OK;
    TRY(device_enter(c, "conv", e));
    if (c->hopper && conv_hopper_fits(a) && conv_near_fits(a))
        return cuda_said(conv_near_launch(a, c->units, q->stream), "conv", e);
    if (c->hopper && conv_hopper_fits(a))
        return cuda_said(conv_hopper_launch(a, c->units, q->stream), "conv", e);
    if (c->mma && conv_mma_fits(a))
        return cuda_said(conv_mma_launch(a, c->units, q->stream), "conv", e);
    return cuda_said(conv_launch(a, q->stream), "conv", e);
}

/* Pads are written even where there is no row. */
static enum status values_cuda(void *self, struct queue *q, const struct op_values *a,
                               struct err *e)
{
    const struct cuda *c = self;

    TRY(device_enter(c, "values", e));
    return CHOSEN(c, a, q, values);
}

static enum status attention_cuda(void *self, struct queue *q,
                                  const struct op_attention *a, struct err *e)
{
    struct cuda *c = self;

    if (a->n_keys > LAUNCH_PARTS_MAX)
        return err_set(e, ST_UNBUILT, "attention: more than %d parts of keys on cuda",
                       LAUNCH_PARTS_MAX);
    if (a->queries[0].q.shape[2] > 1024)
        return err_set(e, ST_UNBUILT, "attention: heads wider than 1024 on cuda");
    TRY(device_enter(self, "attention", e));
    if (c->hopper && attention_codes_fits(a))
        return cuda_said(attention_codes_launch(a, q->stream), "attention", e);
    if (c->hopper && attention_halves_fits(a))
        return cuda_said(attention_halves_launch(a, &c->limits, q->stream), "attention",
                         e);
    if (c->hopper && attention_hopper_fits(a))
        return cuda_said(attention_hopper_launch(a, q->stream), "attention", e);
    if (c->mma && attention_mma_fits(a))
        return cuda_said(attention_mma_launch(a, q->stream), "attention", e);
    if (attention_wide_fits(a))
        return attention_wide_cuda(c, q, a, e);
    return cuda_said(attention_launch(a, q->stream), "attention", e);
}

static size_t attention_workspace_cuda(const void *self, const struct op_attention *a)
{
    return attention_wide_fits(a) ? attention_wide_workspace(self, a) : 0;
}

static enum status gather_cuda(void *self, struct queue *q, const struct op_gather *a,
                               struct err *e)
{
    const struct cuda *c = self;

    if (a->n_parts > LAUNCH_PARTS_MAX || a->n_add > LAUNCH_PARTS_MAX)
        return err_set(e, ST_UNBUILT, "gather: more than %d parts on cuda",
                       LAUNCH_PARTS_MAX);
    if (tensor_count(a->out) == 0)
        return ST_OK;
    TRY(device_enter(c, "gather", e));
    return CHOSEN(c, a, q, gather);
}

static size_t conv_workspace_cuda(const void *self, const struct op_conv *a)
{
    (void)self;
    (void)a;
    return 0;
}

/* ---- the table ----------------------------------------------------------------- */

static void cuda_close(void *self)
{
    struct cuda *c = self;

    cublasLtDestroy(c->blas);
    algo_table_release(&c->algos);
    free(c);
}

static const struct backend cuda_backend = {
    .facts = {.name = "cuda",
              .space = MEM_DEVICE,
              .granule_tokens = 128,
              .operand_dtypes = 1u << DT_F32 | 1u << DT_BF16 | 1u << DT_E4M3 |
                                1u << DT_I8},
    .close = cuda_close,
    .mem_alloc = cuda_mem_alloc,
    .mem_free = cuda_mem_free,
    .pinned_alloc = cuda_pinned_alloc,
    .pinned_free = cuda_pinned_free,
    .mem_left = cuda_mem_left,
    .queue_open = cuda_queue_open,
    .queue_close = cuda_queue_close,
    .queue_wait = cuda_queue_wait,
    .event_open = cuda_event_open,
    .event_close = cuda_event_close,
    .event_record = cuda_event_record,
    .event_await = cuda_event_await,
    .event_wait = cuda_event_wait,
    .copy = copy_cuda,
    .linear_ways = linear_ways_cuda,
    .linear_take = linear_take_cuda,
    .linear_workspace = linear_workspace_cuda,
    .conv_workspace = conv_workspace_cuda,
    .attention_workspace = attention_workspace_cuda,
#define CUDA_FILL(op) .op = op##_cuda,
    OPS_LIST(CUDA_FILL)
#undef CUDA_FILL
};

enum status cuda_devices(int *out, struct err *e)
{
    return cuda_said(cudaGetDeviceCount(out), "cannot count gpus", e);
}

/* The identity as nvidia-smi writes it: GPU-, then 4, 2, 2, 2 and 6 bytes. */
static void device_name(const cudaUUID_t *id, char text[DEVICE_TEXT])
{
    size_t at = (size_t)snprintf(text, DEVICE_TEXT, "GPU");

    for (int i = 0; i < 16; i++) {
        bool dash = i == 0 || i == 4 || i == 6 || i == 8 || i == 10;

        at += (size_t)snprintf(text + at, DEVICE_TEXT - at, "%s%02x", dash ? "-" : "",
                               (unsigned)(unsigned char)id->bytes[i]);
    }
}

/* cuBLASLt's tiles of 8-bit and bf16 products are 128 x 256 or the other way round, one
 * per multiprocessor, and widths of models are multiples of 512: half as many tiles of
 * 128 rows as there are multiprocessors make whole rounds of any width. */
static int64_t busy_rows(int units)
{
    return units % 2 ? (int64_t)128 * units : (int64_t)64 * units;
}

/* The model of the gpu, and the version of the library that chooses algorithms, are
 * what computes; the identity tells this gpu from its like. */
static enum status device_facts(struct cuda *c, const struct ops_options *opt,
                                struct ops *out, struct err *e)
{
    struct cudaDeviceProp prop;

    TRY(device_enter(c, "cannot open the gpu", e));
    TRY(cuda_said(cudaGetDeviceProperties(&prop, c->device), "cannot open the gpu", e));
    c->units = prop.multiProcessorCount;
    c->limits = (struct launch_limits){c->units, prop.sharedMemPerBlockOptin};
    c->arch = prop.major * 10 + prop.minor;
    c->hopper = prop.major == 9 && opt->kernels == OPS_BEST;
    c->fast_sums = opt->fast_sums;
    c->mma = prop.major >= 8 && opt->kernels != OPS_SIMPLE;
    device_name(&prop.uuid, c->name);
    c->table = cuda_backend;
    c->table.facts.device = c->name;
    c->table.facts.busy_tokens = busy_rows(c->units);
    c->table.facts.loads = true;
    snprintf(out->machine, sizeof(out->machine), "%.24s, cublasLt %zu", prop.name,
             cublasLtGetVersion());
    return ST_OK;
}

/* The program's own table and the file of the launch. Rows of the file that are not the
 * program's make other bytes: the name of what computes tells them apart. */
static enum status algorithms_open(struct cuda *c, const struct ops_options *opt,
                                   struct ops *out, struct err *e)
{
    size_t at = strlen(out->machine);
    uint64_t shipped, all;

    TRY(algo_table_add(&c->algos, algo_shipped, "of the program", e));
    shipped = algo_table_digest(&c->algos);
    if (opt->algorithms)
        TRY(algo_table_read(&c->algos, opt->algorithms, e));
    all = algo_table_digest(&c->algos);
    if (all != shipped)
        snprintf(out->machine + at, sizeof(out->machine) - at, " %04x",
                 (unsigned)(all & 0xffff));
    snprintf(c->chooses, sizeof(c->chooses), "cublasLt %zu and algorithms %016" PRIx64,
             cublasLtGetVersion(), all);
    c->table.facts.chooses = c->chooses;
    return ST_OK;
}

enum status cuda_open(const struct ops_options *opt, struct ops *out, struct err *e)
{
    struct cuda *c = calloc(1, sizeof(*c));
    enum status st;

    if (!c)
        return err_set(e, ST_RESOURCE, "no memory for the cuda backend");
    c->device = opt->device;
    TRY_GOTO(st, device_facts(c, opt, out, e), err_free);
    TRY_GOTO(st, algorithms_open(c, opt, out, e), err_free);
    if (cublasLtCreate(&c->blas) != CUBLAS_STATUS_SUCCESS) {
        st = err_set(e, ST_DEVICE, "cannot open cuBLASLt on gpu %d", c->device);
        goto err_free;
    }
    out->backend = &c->table;
    out->self = c;
    return ST_OK;

err_free:
    algo_table_release(&c->algos);
    free(c);
    return st;
}
