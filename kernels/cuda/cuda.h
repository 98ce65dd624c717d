/* cuda.h - what the C files of the CUDA backend share
 *
 * A queue is a stream, an event a CUDA event. Ops put kernels on the stream and return;
 * errors of a kernel come out where the queue is waited for. An op that this backend
 * does not have yet answers ST_UNBUILT with its name.
 */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/backend.h"

enum { PLANS_MAX = 128 };

/* The algorithm of a product, chosen once for its types and [N, K]. */
struct gemm_plan {
    enum dtype x, y;
    int64_t d, k;
    cublasLtMatmulAlgo_t algo;
};

struct cuda {
    int device;
    cublasLtHandle_t blas;
    struct gemm_plan plans[PLANS_MAX];
    int n_plans;
};

struct queue {
    cudaStream_t stream;
    char *workspace;
    size_t bytes;
};

struct event {
    cudaEvent_t event;
};

/* ST_OK, or ST_DEVICE with "what: CUDA's text". */
enum status cuda_said(cudaError_t code, const char *what, struct err *e);

enum status linear_cuda(void *self, struct queue *q, const struct op_linear *a,
                        struct err *e);
size_t linear_workspace_cuda(const void *self, const struct op_linear *a);

#endif
