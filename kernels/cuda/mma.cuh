/* mma.cuh - the matrix unit of any gpu from 8.0 on: one function per instruction
 *
 * A warp multiplies 16 rows by 8 columns. Thread t holds, of the result,
 * d[e] = (row t / 4 + 8 (e / 2), column 2 (t mod 4) + e mod 2).
 */
#ifndef KERNELS_CUDA_MMA_CUH
#define KERNELS_CUDA_MMA_CUH

#include <stdint.h>

/* Four matrices of 8 rows of 16 bytes, whose rows' addresses the lanes bring. */
static __device__ __forceinline__ void matrices_load(uint32_t (&m)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at));
}

/* d += a b^T, 16 deep. */
static __device__ __forceinline__ void product_bf16(float *d, const uint32_t (&a)[4],
                                                    uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
