/* quantise.cu - rows of stored weights to codes, while a model is being loaded
 *
 * A warp (narrow rows) or a block takes a row and reads it twice: for the largest
 * magnitude, and for the codes. The second time it comes from the cache, as it arrived
 * a moment ago. The arithmetic is the host's own text (kernels/base/weight_code.h).
 */
#include "kernels/base/weight_code.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

struct quantise_view {
    struct tensor dst, src;
    long long *spoilt;
    int64_t first_row;
};

template <int N>
static __device__ __forceinline__ struct pack<N> weights_load(const struct tensor &t,
                                                              int64_t at) {
    struct pack<N> p;

    if (t.dtype != DT_F64)
        return elems_load<N>(t, at);
    for (int i = 0; i < N; i++)
        p.v[i] = (float)((const double *)t.data)[at + i];
    return p;
}

template <int N>
static __device__ __forceinline__ void weights_store(const struct tensor &t, int64_t at,
                                                     const struct pack<N> &p,
                                                     float scale)
{
    uint8_t *to = (uint8_t *)t.data + at;
    uint32_t all = 0;

    for (int i = 0; i < N; i++) {
        float v = p.v[i] / scale;
        uint32_t code = t.dtype == DT_E4M3 ? weight_code_e4m3(v) : weight_code_i8(v);

        all |= code << (8 * i);
    }
    if constexpr (N == 4)
        *(uint32_t *)to = all;
    else
        *to = (uint8_t)all;
}

/* A row that is not finite is written as if it were zeros. */
template <int TEAM, int N>
static __global__ void __launch_bounds__(BLOCK) weights_kernel(struct quantise_view a)
{
    int64_t row = team_row<TEAM>(), from = row * a.src.stride[0];
    int64_t to = row * a.dst.stride[0];
    int cols = (int)a.dst.shape[1], first = threadIdx.x % TEAM * N;
    uint32_t most = WEIGHT_LEAST;
    bool spoilt;
    float scale;

    if (row >= a.dst.shape[0])
        return;
    for (int c = first; c < cols; c += TEAM * N) {
        struct pack<N> p = weights_load<N>(a.src, from + c);

        for (int i = 0; i < N; i++)
            most = max(most, weight_magnitude(p.v[i]));
    }
    most = team_join<max_op, TEAM>(most);
    spoilt = most >= WEIGHT_INFINITE;
    most = spoilt ? WEIGHT_LEAST : most;
    scale = a.dst.dtype == DT_E4M3 ? weight_scale_e4m3(most) : weight_scale_i8(most);
    for (int c = first; c < cols; c += TEAM * N) {
        struct pack<N> p = weights_load<N>(a.src, from + c);

        for (int i = 0; i < N; i++)
            p.v[i] = spoilt ? 0.0f : p.v[i];
        weights_store<N>(a.dst, to + c, p, scale);
    }
    if (first == 0) {
        a.dst.scales.data[row] = scale;
        if (spoilt)
            atomicMin(a.spoilt, (long long)(a.first_row + row));
    }
}

template <int TEAM>
static cudaError_t weights_put(const struct quantise_view &v, bool fours,
                               cudaStream_t stream)
{
    int64_t per = BLOCK / TEAM;
    unsigned blocks = (unsigned)((v.dst.shape[0] + per - 1) / per);

    if (fours)
        weights_kernel<TEAM, 4><<<blocks, BLOCK, 0, stream>>>(v);
    else
        weights_kernel<TEAM, 1><<<blocks, BLOCK, 0, stream>>>(v);
    return cudaGetLastError();
}

extern "C" cudaError_t quantise_launch(const struct op_quantise *a, cudaStream_t stream)
{
    struct quantise_view v = {*a->dst, *a->src, (long long *)a->spoilt->data,
                              a->first_row};
    bool fours = v.dst.shape[1] % 4 == 0 && in_fours(&v.src) && in_fours(&v.dst);

    return v.dst.shape[1] <= NARROW ? weights_put<WARP>(v, fours, stream)
                                    : weights_put<BLOCK>(v, fours, stream);
}
