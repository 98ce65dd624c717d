/* attention_wide.cu - the small kernels of attention by whole products
 *
 * Logits to probabilities, a block per row, and values with their axes swapped.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

/* Of the whole block, the same in every thread; `most`: the largest, else the sum. */
static __device__ float block_join(float v, bool most)
{
    __shared__ float part[BLOCK / WARP];

    for (int i = WARP / 2; i > 0; i /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, v, i);

        v = most ? fmaxf(v, other) : v + other;
    }
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = v;
    __syncthreads();
    v = part[0];
    for (int i = 1; i < BLOCK / WARP; i++)
        v = most ? fmaxf(v, part[i]) : v + part[i];
    return v;
}

static __global__ void __launch_bounds__(BLOCK)
    softmax_kernel(struct tensor p, const float *logits, float scale)
{
    extern __shared__ float line[];
    int64_t row = blockIdx.x, n = p.shape[1];
    float top = -INFINITY, sum = 0.0f;

    for (int64_t i = threadIdx.x; i < n; i += BLOCK) {
        line[i] = logits[row * n + i] * scale;
        top = fmaxf(top, line[i]);
    }
    top = block_join(top, true);
    for (int64_t i = threadIdx.x; i < n; i += BLOCK) {
        line[i] = expf(line[i] - top);
        sum += line[i];
    }
    sum = block_join(sum, false);
    for (int64_t i = threadIdx.x; i < n; i += BLOCK)
        elem_store(p, row * n + i, line[i] / sum);
}

extern "C" cudaError_t softmax_launch(const struct tensor *p, const float *logits,
                                      float scale, cudaStream_t stream)
{
    size_t bytes = (size_t)p->shape[1] * sizeof(float);
    cudaError_t st = shared_allow(softmax_kernel, bytes);

    if (st != cudaSuccess)
        return st;
    softmax_kernel<<<(unsigned)p->shape[0], BLOCK, bytes, stream>>>(*p, logits, scale);
    return cudaGetLastError();
}

static __global__ void __launch_bounds__(BLOCK)
    turn_kernel(struct tensor to, struct tensor from, int64_t n)
{
    int64_t step = (int64_t)gridDim.x * BLOCK;

    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += step) {
        int64_t row = i / to.shape[1], col = i % to.shape[1];

        elem_store(to, i, elem_load(from, col * from.stride[0] + row));
    }
}

extern "C" cudaError_t turn_launch(const struct tensor *to, const struct tensor *from,
                                   cudaStream_t stream)
{
    int64_t n = to->shape[0] * to->shape[1], blocks = (n + BLOCK - 1) / BLOCK;

    turn_kernel<<<(unsigned)(blocks < 4096 ? blocks : 4096), BLOCK, 0, stream>>>(
        *to, *from, n);
    return cudaGetLastError();
}
