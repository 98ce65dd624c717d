/* linear.cu - a plain product for what cuBLASLt does not take, and what follows one */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

/* sum * row scale * scale of w + bias, in the order of the reference */
static __device__ float finished(float v, const struct tensor &x,
                                 const struct tensor &w, const float *bias, int64_t r,
                                 int64_t d)
{
    if (x.scales.kind == SCALE_ROW)
        v *= x.scales.data[r];
    if (w.scales.kind == SCALE_ROW)
        v *= w.scales.data[d];
    return bias ? v + bias[d] : v;
}

static __device__ float tensor_scale(const struct tensor &w)
{
    return w.scales.kind == SCALE_TENSOR ? w.scales.data[0] : 1.0f;
}

static __device__ float sum_floats(const struct tensor &x, const struct tensor &w,
                                   int64_t r, int64_t d)
{
    float sum = 0.0f;

    for (int64_t k = 0; k < x.shape[1]; k++)
        sum += elem_load(x, r * x.stride[0] + k) * elem_load(w, d * w.stride[0] + k);
    return sum;
}

static __device__ float sum_i8(const struct tensor &x, const struct tensor &w,
                               int64_t r, int64_t d)
{
    const int8_t *a = (const int8_t *)x.data + r * x.stride[0];
    const int8_t *b = (const int8_t *)w.data + d * w.stride[0];
    int sum = 0;

    for (int64_t k = 0; k < x.shape[1]; k++)
        sum += (int)a[k] * (int)b[k];
    return (float)sum;
}

static __global__ void plain_kernel(struct tensor y, struct tensor x, struct tensor w,
                                    const float *bias, bool apply)
{
    int64_t d = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    int64_t r = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    float v;

    if (r >= y.shape[0] || d >= y.shape[1])
        return;
    v = x.dtype == DT_I8 ? sum_i8(x, w, r, d) : sum_floats(x, w, r, d);
    v *= tensor_scale(w);
    elem_store(y, r * y.stride[0] + d, apply ? finished(v, x, w, bias, r, d) : v);
}

template <typename Sum>
static __global__ void finish_kernel(struct tensor y, const Sum *sums, struct tensor x,
                                     struct tensor w, const float *bias)
{
    int64_t d = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    int64_t r = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    float v;

    if (r >= y.shape[0] || d >= y.shape[1])
        return;
    v = (float)sums[r * y.shape[1] + d] * tensor_scale(w);
    elem_store(y, r * y.stride[0] + d, finished(v, x, w, bias, r, d));
}

/* Threads 8 x 32 over [s, d]. */
static dim3 grid_of(const struct tensor *y)
{
    return dim3((unsigned)((y->shape[0] + 7) / 8), (unsigned)((y->shape[1] + 31) / 32));
}

static const float *vector_of(const struct tensor *bias)
{
    return bias ? (const float *)bias->data : NULL;
}

extern "C" cudaError_t linear_plain_launch(const struct tensor *y,
                                           const struct tensor *x,
                                           const struct tensor *w,
                                           const struct tensor *bias, bool apply,
                                           cudaStream_t stream)
{
    plain_kernel<<<grid_of(y), dim3(32, 8), 0, stream>>>(*y, *x, *w, vector_of(bias),
                                                         apply);
    return cudaGetLastError();
}

extern "C" cudaError_t linear_finish_launch(const struct tensor *y, const void *sums,
                                            const struct tensor *x,
                                            const struct tensor *w,
                                            const struct tensor *bias,
                                            cudaStream_t stream)
{
    if (x->dtype == DT_I8)
        finish_kernel<<<grid_of(y), dim3(32, 8), 0, stream>>>(*y, (const int *)sums, *x,
                                                              *w, vector_of(bias));
    else
        finish_kernel<<<grid_of(y), dim3(32, 8), 0, stream>>>(*y, (const float *)sums,
                                                              *x, *w, vector_of(bias));
    return cudaGetLastError();
}

static __global__ void cast_kernel(struct tensor dst, struct tensor src)
{
    int64_t d = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    int64_t r = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;

    if (r < src.shape[0] && d < src.shape[1])
        elem_store(dst, r * dst.stride[0] + d, elem_load(src, r * src.stride[0] + d));
}

extern "C" cudaError_t linear_cast_launch(const struct tensor *dst,
                                          const struct tensor *src, cudaStream_t stream)
{
    cast_kernel<<<grid_of(src), dim3(32, 8), 0, stream>>>(*dst, *src);
    return cudaGetLastError();
}
