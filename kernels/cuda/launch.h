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

/* What a device has: multiprocessors, and bytes of shared memory for a block. */
struct launch_limits {
    int units;
    size_t shared;
};

#ifdef __cplusplus
extern "C" {
#endif

/* y = x w^T, one thread per element, any types of op_linear. `apply`: with the row
 * scales of x and w and the bias. */
cudaError_t linear_plain_launch(const struct tensor *y, const struct tensor *x,
                                const struct tensor *w, const struct tensor *bias,
                                bool apply, cudaStream_t stream);

/* y = sums * x row scale * w scales + bias; sums [s,d] dense, i32 when x is i8, else
 * f32. */
cudaError_t linear_finish_launch(const struct tensor *y, const void *sums,
                                 const struct tensor *x, const struct tensor *w,
                                 const struct tensor *bias, cudaStream_t stream);

/* The same of i32 sums to bf16, for what fits it. */
bool linear_wide_fits(const struct tensor *y, const struct tensor *x,
                      const struct tensor *w, const struct tensor *bias);
cudaError_t linear_wide_launch(const struct tensor *y, const void *sums,
                               const struct tensor *x, const struct tensor *w,
                               const struct tensor *bias, cudaStream_t stream);

/* dst (f32 or bf16) = src, codes without their scales; [rows, cols]. */
cudaError_t linear_cast_launch(const struct tensor *dst, const struct tensor *src,
                               cudaStream_t stream);

/* fp32 rows times bf16 weights, for what fits it; the same bytes of a row whatever
 * number of rows there is. */
bool linear_f32_fits(const struct op_linear *a, const struct launch_limits *l);
cudaError_t linear_f32_launch(const struct op_linear *a, const struct launch_limits *l,
                              cudaStream_t stream);

/* At most LAUNCH_PARTS_MAX parts of keys. */
cudaError_t attention_launch(const struct op_attention *a, cudaStream_t stream);

/* The same on the matrix unit of compute capability 9.0, for codes that fit; with a
 * multiple of 4 keys in each part and without biases they have a kernel of their own.
 */
bool attention_hopper_fits(const struct op_attention *a);
cudaError_t attention_hopper_launch(const struct op_attention *a, cudaStream_t stream);
bool attention_codes_fits(const struct op_attention *a);
cudaError_t attention_codes_launch(const struct op_attention *a, cudaStream_t stream);

/* The same for bf16 without biases by distance, written 16 bytes at a time. */
bool attention_halves_fits(const struct op_attention *a);
cudaError_t attention_halves_launch(const struct op_attention *a,
                                    const struct launch_limits *l, cudaStream_t stream);

/* The same of any gpu from 8.0 on, for codes that fit attention_hopper, for bf16 heads
 * of 128, and for those of up to 64, with or without biases by distance. */
bool attention_mma_fits(const struct op_attention *a);
cudaError_t attention_mma_launch(const struct op_attention *a, cudaStream_t stream);

/* p[s,n] = softmax of scale times logits [s,n] in every row; both dense. */
cudaError_t softmax_launch(const struct tensor *p, const float *logits, float scale,
                           cudaStream_t stream);

/* to[i,j] = from[j,i]; `to` dense. */
cudaError_t turn_launch(const struct tensor *to, const struct tensor *from,
                        cudaStream_t stream);

/* Convolution on the matrix unit of compute capability 9.0, for what fits it; `units`:
 * multiprocessors of the device. */
bool conv_hopper_fits(const struct op_conv *a);
cudaError_t conv_hopper_launch(const struct op_conv *a, int units, cudaStream_t stream);

/* The same for 3 x 3 neighbours, among what fits the above. */
bool conv_near_fits(const struct op_conv *a);
cudaError_t conv_near_launch(const struct op_conv *a, int units, cudaStream_t stream);

/* On the matrix unit of any gpu from 8.0 on. */
bool conv_mma_fits(const struct op_conv *a);
cudaError_t conv_mma_launch(const struct op_conv *a, int units, cudaStream_t stream);

/* Norm of narrow bf16 rows into bf16, for what fits it. */
bool norm_pixels_fits(const struct op_norm *a);
cudaError_t norm_pixels_launch(const struct op_norm *a, cudaStream_t stream);

/* The ops of a transformer block in its common types, for what fits each (wide.cuh). */
#define WIDE_LAUNCHER(op)                                                        \
    bool op##_wide_fits(const struct op_##op *a, const struct launch_limits *l); \
    cudaError_t op##_wide_launch(const struct op_##op *a,                        \
                                 const struct launch_limits *l, cudaStream_t stream)
WIDE_LAUNCHER(residual);
WIDE_LAUNCHER(act);
WIDE_LAUNCHER(key_sum);
WIDE_LAUNCHER(heads);
WIDE_LAUNCHER(values);
WIDE_LAUNCHER(gather);
#undef WIDE_LAUNCHER

/* At most LAUNCH_PARTS_MAX parts, and as many to add. */
cudaError_t gather_launch(const struct op_gather *a, cudaStream_t stream);

#define LAUNCHER(op) \
    cudaError_t op##_launch(const struct op_##op *a, cudaStream_t stream)
LAUNCHER(conv);
LAUNCHER(norm);
LAUNCHER(residual);
LAUNCHER(act);
LAUNCHER(key_sum);
LAUNCHER(heads);
LAUNCHER(values);
LAUNCHER(attn_merge);
LAUNCHER(convert);
LAUNCHER(rows);
LAUNCHER(sinusoid);
LAUNCHER(unpatch);
LAUNCHER(combine);
LAUNCHER(pixels);
LAUNCHER(normal);
LAUNCHER(quantise);
#undef LAUNCHER

#ifdef __cplusplus
}
#endif

#endif
