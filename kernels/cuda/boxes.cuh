/* boxes.cuh - tensor maps: how the copy engine is told to fetch boxes of a tensor
 */
#ifndef KERNELS_CUDA_BOXES_CUH
#define KERNELS_CUDA_BOXES_CUH

#include <cuda.h>
#include <cuda_runtime_api.h>

typedef CUresult (*map_encode)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                               const cuuint64_t *, const cuuint64_t *,
                               const cuuint32_t *, const cuuint32_t *,
                               CUtensorMapInterleave, CUtensorMapSwizzle,
                               CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function: programs without a GPU must start without the driver. */
static inline cudaError_t map_encode_find(map_encode *to)
{
    cudaDriverEntryPointQueryResult found;
    void *at = NULL;
    cudaError_t st = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &at,
                                                      12000, cudaEnableDefault, &found);

    if (st == cudaSuccess && (found != cudaDriverEntryPointSuccess || !at))
        st = cudaErrorNotSupported;
    *to = (map_encode)at;
    return st;
}

/* A map of `rank` axes, the first of them dense; `strides`, in bytes, of the others; 16
 * divides them and `data`. Boxes have rows of 128 bytes, which come to lie as
 * hopper.cuh has tiles, and zeros where the tensor has nothing. */
static inline cudaError_t map_make(map_encode encode, CUtensorMap *m,
                                   CUtensorMapDataType type, const void *data,
                                   cuuint32_t rank, const cuuint64_t *dims,
                                   const cuuint64_t *strides, const cuuint32_t *box)
{
    static const cuuint32_t ones[4] = {1, 1, 1, 1};

    return encode(m, type, rank, (void *)data, dims, strides, box, ones,
                  CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS
               ? cudaSuccess
               : cudaErrorInvalidValue;
}

#endif
