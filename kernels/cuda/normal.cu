/* normal.cu - Gaussian numbers by element index
 *
 * A thread makes the four normals of a group of four elements, as kernels/base/rng.c
 * does: Philox 4x32-10, then Box-Muller in double.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

static __device__ void philox(uint64_t seed, uint64_t stream, uint64_t group,
                              uint32_t word[4])
{
    uint32_t c0 = (uint32_t)group, c1 = (uint32_t)(group >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

struct normal_view {
    struct tensor out;
    float mean, std;
    uint64_t seed, stream, first;
    int64_t n;
};

/* The element of `out` that is element `at` of the stream, if there is one. */
static __device__ void normal_put(const struct normal_view &a, uint64_t at, double v)
{
    if (at >= a.first && at - a.first < (uint64_t)a.n)
        elem_store(a.out, (int64_t)(at - a.first), a.mean + a.std * (float)v);
}

static __global__ void __launch_bounds__(BLOCK)
    normal_kernel(struct normal_view a, uint64_t groups)
{
    uint64_t step = (uint64_t)gridDim.x * BLOCK;

    for (uint64_t i = (uint64_t)blockIdx.x * BLOCK + threadIdx.x; i < groups;
         i += step) {
        uint64_t group = a.first / 4 + i;
        uint32_t word[4];

        philox(a.seed, a.stream, group, word);
        for (int k = 0; k < 4; k += 2) {
            double u = ((double)word[k] + 0.5) * 0x1p-32;
            double turn = 2.0 * ((double)word[k + 1] + 0.5) * 0x1p-32;
            double radius = sqrt(-2.0 * log(u)), sine, cosine;

            sincospi(turn, &sine, &cosine);
            normal_put(a, 4 * group + k, radius * cosine);
            normal_put(a, 4 * group + k + 1, radius * sine);
        }
    }
}

extern "C" cudaError_t normal_launch(const struct op_normal *a, cudaStream_t stream)
{
    const uint64_t most = 65536;
    struct normal_view v = {*a->out, a->mean, a->std, a->seed, a->stream, a->first, 1};
    uint64_t groups, blocks;

    for (int i = 0; i < a->out->rank; i++)
        v.n *= a->out->shape[i];
    groups = (a->first + (uint64_t)v.n - 1) / 4 - a->first / 4 + 1;
    blocks = (groups + BLOCK - 1) / BLOCK;
    normal_kernel<<<(unsigned)(blocks < most ? blocks : most), BLOCK, 0, stream>>>(
        v, groups);
    return cudaGetLastError();
}
