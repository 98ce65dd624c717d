/* gemm.h - raw products by cuBLASLt, and by which of its algorithms
 *
 * cuBLASLt sees column-major matrices: w [d,k] is a k x d matrix to be transposed, x a
 * k x s matrix, and y comes out as d x s. x and w have one type: e4m3, i8 (sums are
 * i32), bf16 or f32 without TF32.
 *
 * The algorithm is settled once per types and [d,k], and used for any number of rows:
 * that of gemm_take, else that of the table (algos.h), else the library's first
 * proposal for 4096 rows. None splits k.
 *
 * Sums of e4m3 products are added up in fp32 registers every few steps, or, with
 * fast_sums of ops.h, all of them in the matrix unit.
 */
#ifndef KERNELS_CUDA_GEMM_H
#define KERNELS_CUDA_GEMM_H

#include "kernels/cuda/cuda.h"

#define GEMM_BYTES                                                     \
    ((size_t)32 << 20) /* cuBLASLt's own workspace, first in a queue's \
                        */

/* Where sums go; `stride` elements from row to row. */
struct gemm_sums {
    char *data;
    enum dtype type;
    int64_t stride;
};

/* Put the sums of a->x and a->w on the queue; nothing else of `a` is looked at. */
enum status gemm_put(struct cuda *c, struct queue *q, const struct op_linear *a,
                     const struct gemm_sums *y, struct err *e);

/* ops_linear_ways, ops_linear_take; a way's text is a row of the table. */
enum status gemm_ways(struct cuda *c, const struct op_linear *a,
                      const struct gemm_sums *y, struct linear_way *ways, int most,
                      int *n, struct err *e);
enum status gemm_take(struct cuda *c, const struct op_linear *a,
                      const struct gemm_sums *y, const struct linear_way *way,
                      struct err *e);

#endif
