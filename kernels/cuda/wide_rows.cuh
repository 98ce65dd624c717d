/* wide_rows.cuh - launchers of wide_rows.cu, for the files whose ops it takes part of
 */
#ifndef KERNELS_CUDA_WIDE_ROWS_CUH
#define KERNELS_CUDA_WIDE_ROWS_CUH

#include "kernels/cuda/wide.cuh"

bool act_rows_fits(const struct op_act *a);
cudaError_t act_rows_launch(const struct op_act *a, cudaStream_t stream);

/* Every part of bf16, of heads whose width is a multiple of 8. */
bool values_rows_fits(const struct op_values *a);
cudaError_t values_rows_launch(const struct op_values *a, cudaStream_t stream);

#endif
