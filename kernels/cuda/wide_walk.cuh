/* wide_walk.cuh - rows of a product of which nothing is needed but their scale
 *
 * A thread has eight columns of SOME rows, and their scale and bias in registers; it
 * fetches FLYING rows before it works on the first.
 */
#ifndef KERNELS_CUDA_WIDE_WALK_CUH
#define KERNELS_CUDA_WIDE_WALK_CUH

#include "kernels/cuda/wide.cuh"

enum { THREADS = 128, SOME = 16, FLYING = 4 };

/* The first of a thread's columns. */
static __device__ __forceinline__ int walk_column(void)
{
    return ((int)blockIdx.y * THREADS + (int)threadIdx.x) * EIGHT;
}

/* put(row, values) for rows of `a`: rows, cols, row_scale, col_scale, bias. fetch(row)
 * has what belongs to a row in memory, floats() makes values of that, to which
 * everything pending is then applied; change() works on these. */
template <typename Work, typename Fetch, typename Floats, typename Change, typename Put>
static __device__ __forceinline__ void rows_walk(const Work &a, int col, Fetch fetch,
                                                 Floats floats, Change change, Put put)
{
    int64_t begin = (int64_t)blockIdx.x * SOME;
    int64_t end = min(begin + SOME, (int64_t)a.rows);
    struct eight scale, bias;

    if (col >= a.cols)
        return;
    scale = columns_fetch(a.col_scale, col, col + HALF, 1.0f);
    bias = columns_fetch(a.bias, col, col + HALF, -0.0f);
    for (int64_t at = begin; at < end; at += FLYING) {
        decltype(fetch(at)) raw[FLYING];
        float by[FLYING];

#pragma unroll
        for (int r = 0; r < FLYING; r++) {
            int64_t row = min(at + r, end - 1);

            raw[r] = fetch(row);
            by[r] = a.row_scale ? a.row_scale[row] : 1.0f;
        }
#pragma unroll
        for (int r = 0; r < FLYING; r++) {
            struct eight e = eight_finish(floats(raw[r]), by[r], scale, bias);

            change(e);
            if (at + r < end)
                put(at + r, eight_bf16(e));
        }
    }
}

static inline dim3 walk_grid(int rows, int cols)
{
    return dim3((unsigned)((rows + SOME - 1) / SOME),
                (unsigned)((cols + THREADS * EIGHT - 1) / (THREADS * EIGHT)));
}

/* Can such rows be counted in 32 bits? */
static inline bool walk_fits(const struct tensor *t)
{
    return t->shape[1] % EIGHT == 0 && t->shape[0] < (int64_t)1 << 30 &&
           t->shape[1] < (int64_t)1 << 20;
}

#endif
