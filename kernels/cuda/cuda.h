/* cuda.h - what the C files of the CUDA backend share
 *
 * A queue is a stream, an event a CUDA event. Ops put kernels on the stream and return;
 * errors of a kernel come out where the queue is waited for. What this backend does not
 * have (too many parts, too wide heads) is ST_UNBUILT with the op's name.
 */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/backend.h"
#include "kernels/cuda/algos.h"
#include "kernels/cuda/launch.h"

enum { PLANS_MAX = 128 };

/* The algorithm of a product, chosen once for its types and [N, K]. */
struct gemm_plan {
    enum dtype x, y;
    int64_t d, k;
    cublasLtMatmulAlgo_t algo;
};

enum { DEVICE_TEXT = 48, CHOICE_TEXT = 64 };

struct cuda {
    struct backend table; /* the one of all, with this device's facts */
    char name[DEVICE_TEXT];
    char chooses[CHOICE_TEXT];
    enum status (*look)(void *self, struct err *e); /* stream.h; NULL: none */
    void *look_self;
    int device;
    bool hopper; /* compute capability 9.0, and its kernels are wanted */
    int units;   /* multiprocessors */
    bool mma;    /* 8.0 and later */
    struct launch_limits limits;
    cublasLtHandle_t blas;
    int arch; /* compute capability, major * 10 + minor */
    bool fast_sums;
    struct algo_table algos;
    struct gemm_plan plans[PLANS_MAX];
    int n_plans;
};

enum { STAGE_SLOTS = 8 };

/* Pinned memory that copies from and to ordinary host memory go through. */
struct stage {
    char *memory;
    int next;
    struct stage_slot {
        cudaEvent_t done; /* the slot's last copy */
        bool busy;
        void *host; /* where its bytes go when they are there, or NULL */
        size_t bytes;
    } slot[STAGE_SLOTS];
};

struct queue {
    cudaStream_t stream;
    char *workspace;
    size_t bytes;
    struct stage stage;
};

struct event {
    cudaEvent_t event;
};

/* Threads choose their device each for themselves: every entry says which it is. */
enum status device_enter(const struct cuda *c, const char *what, struct err *e);

/* ST_OK, or ST_DEVICE with "what: CUDA's text". */
enum status cuda_said(cudaError_t code, const char *what, struct err *e);

/* copy.c. `deliver`: the stream was waited for; hand out what came to the host. */
enum status stage_open(struct stage *s, struct err *e);
void stage_close(struct stage *s);
void stage_deliver(struct stage *s);
enum status copy_cuda(void *self, struct queue *q, const struct tensor *dst,
                      const struct tensor *src, struct err *e);

enum status linear_cuda(void *self, struct queue *q, const struct op_linear *a,
                        struct err *e);
size_t linear_workspace_cuda(const void *self, const struct op_linear *a);
enum status linear_ways_cuda(void *self, const struct op_linear *a,
                             struct linear_way *ways, int most, int *n, struct err *e);
enum status linear_take_cuda(void *self, const struct op_linear *a,
                             const struct linear_way *way, struct err *e);

/* attention_wide.c */
bool attention_wide_fits(const struct op_attention *a);
size_t attention_wide_workspace(const void *self, const struct op_attention *a);
enum status attention_wide_cuda(struct cuda *c, struct queue *q,
                                const struct op_attention *a, struct err *e);

#endif
