/* conv_hopper.cuh - what the convolutions on Hopper's matrix unit share
 *
 * Two warpgroups multiply 128 pixels of a tile (conv.cuh) each. A third one fetches.
 */
#ifndef KERNELS_CUDA_CONV_HOPPER_CUH
#define KERNELS_CUDA_CONV_HOPPER_CUH

#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/hopper.cuh"

enum {
    WORKERS = 2, /* warpgroups that multiply */
    HALVES = PIXELS / WORKERS / 64,
    THREADS = (WORKERS + 1) * GROUP,
    RELEASES = WORKERS * GROUP / WARP * WARP_ARRIVALS /* of a stage */
};

/* ---- sums and results ---------------------------------------------------------- */

#define REGS_96                                                              \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "     \
    "%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, " \
    "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, " \
    "%43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, " \
    "%57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, " \
    "%71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, " \
    "%85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}"

#define REGS_48                                                              \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "     \
    "%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, " \
    "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, " \
    "%43, %44, %45, %46, %47}"
#define REGS_4 "{%0, %1, %2, %3}"
#define OPS_48(c, d)                                                                   \
    OPS_8(c, d, 0), OPS_8(c, d, 8), OPS_8(c, d, 16), OPS_8(c, d, 24), OPS_8(c, d, 32), \
        OPS_8(c, d, 40)
#define OPS_96(c, d)                                                                  \
    OPS_48(c, d), OPS_8(c, d, 48), OPS_8(c, d, 56), OPS_8(c, d, 64), OPS_8(c, d, 72), \
        OPS_8(c, d, 80), OPS_8(c, d, 88)
#define OPS_4(c, d) c(d[0]), c(d[1]), c(d[2]), c(d[3])

template <int WIDTH>
static __device__ __forceinline__ void tile_store(const struct conv_view &a,
                                                  const struct place &p, int group,
                                                  const float (&d)[HALVES][WIDTH / 2])
{
    int warp = threadIdx.x % GROUP / WARP, lane = threadIdx.x % WARP;
    int o = p.o + 2 * (lane % 4);

#pragma unroll
    for (int m = 0; m < HALVES; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = (group * HALVES + m) * 64 + warp * 16 + lane / 4 + 8 * half;

            row_store<WIDTH>(a, p, row, o, half, d[m]);
        }
    }
}

#endif
