/* launch.h - the launchers: what a .cu file offers to the C files
 *
 * Each puts one kernel (or a few) on `stream`, without waiting, and returns what CUDA
 * says about the launch. Tensors are views of device memory, passed to the kernel by
 * value. Arguments were checked by ops.c.
 */
#ifndef KERNELS_CUDA_LAUNCH_H
#define KERNELS_CUDA_LAUNCH_H

#include <cuda_runtime_api.h>

#include "kernels/ops.h"

/* How many parts one kernel can carry in its arguments. */
enum { LAUNCH_PARTS_MAX = 16 };

#ifdef __cplusplus
extern "C" {
#endif

/* y = x w^T, one thread per element, any types of op_linear. `apply`: with the row
 * scales of x and w and the bias. */
cudaError_t linear_plain_launch(const struct tensor *y, const struct tensor *x,
                                const struct tensor *w, const struct tensor *bias,
                                bool apply, cudaStream_t stream);

/* y = sums * x row scale * w scales + bias; sums f32 [s,d] dense, or y itself. */
cudaError_t linear_finish_launch(const struct tensor *y, const float *sums,
                                 const struct tensor *x, const struct tensor *w,
                                 const struct tensor *bias, cudaStream_t stream);

cudaError_t norm_launch(const struct op_norm *a, cudaStream_t stream);
cudaError_t act_launch(const struct op_act *a, cudaStream_t stream);
cudaError_t heads_launch(const struct op_heads *a, cudaStream_t stream);

/* At most LAUNCH_PARTS_MAX parts of keys. */
cudaError_t attention_launch(const struct op_attention *a, cudaStream_t stream);

/* At most LAUNCH_PARTS_MAX parts, and as many to add. */
cudaError_t gather_launch(const struct op_gather *a, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
