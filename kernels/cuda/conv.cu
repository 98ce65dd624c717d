/* conv.cu - plain convolution: a thread per output value, sums in double
 *
 * The threads of a warp take output channels of one pixel, so they read the same
 * inputs. It is what cuDNN's results are held against, and what runs where cuDNN does
 * not fit.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

struct conv_view {
    struct tensor y, x, weight, residual;
    const float *bias;
    int pad[3], stride[3];
    int upsample;
};

/* sum over channels of pixel (t,h,w), of the doubled picture, times a row of weight */
static __device__ double pixel_dot(const struct conv_view &a, int64_t t, int64_t h,
                                   int64_t w, int64_t weight_at)
{
    const struct tensor &x = a.x;
    int up = a.upsample;
    double sum = 0.0;
    int64_t at;

    if (t < 0 || t >= x.shape[0] || h < 0 || h >= x.shape[1] * up || w < 0 ||
        w >= x.shape[2] * up)
        return 0.0;
    at = t * x.stride[0] + h / up * x.stride[1] + w / up * x.stride[2];
    for (int64_t c = 0; c < x.shape[3]; c++)
        sum += (double)elem_load(x, at + c) *
               (double)elem_load(a.weight, weight_at + c);
    return sum;
}

static __global__ void __launch_bounds__(BLOCK)
    conv_kernel(struct conv_view a, int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    const int64_t *k = a.weight.shape;
    int64_t o = i % k[0], w = i / k[0] % a.y.shape[2];
    int64_t h = i / k[0] / a.y.shape[2] % a.y.shape[1];
    int64_t t = i / k[0] / a.y.shape[2] / a.y.shape[1];
    int64_t from = o * k[1] * k[2] * k[3] * k[4];
    double sum = 0.0;
    float v;

    if (i >= n)
        return;
    for (int64_t j = 0; j < k[1] * k[2] * k[3]; j++, from += k[4])
        sum += pixel_dot(a, t * a.stride[0] - a.pad[0] + j / (k[2] * k[3]),
                         h * a.stride[1] - a.pad[1] + j / k[3] % k[2],
                         w * a.stride[2] - a.pad[2] + j % k[3], from);
    v = (float)sum;
    if (a.bias)
        v += a.bias[o];
    if (a.residual.data)
        v += elem_load(a.residual, t * a.residual.stride[0] + h * a.residual.stride[1] +
                                       w * a.residual.stride[2] + o);
    elem_store(a.y, t * a.y.stride[0] + h * a.y.stride[1] + w * a.y.stride[2] + o, v);
}

extern "C" cudaError_t conv_launch(const struct op_conv *a, cudaStream_t stream)
{
    const int64_t *s = a->y->shape;
    int64_t n = s[0] * s[1] * s[2] * s[3];
    struct conv_view v = {};

    v.y = *a->y;
    v.x = *a->x;
    v.weight = *a->weight;
    if (a->residual)
        v.residual = *a->residual;
    v.bias = a->bias ? (const float *)a->bias->data : NULL;
    for (int i = 0; i < 3; i++) {
        v.pad[i] = a->pad_lo[i];
        v.stride[i] = a->stride[i];
    }
    v.upsample = a->upsample;
    conv_kernel<<<(unsigned)((n + BLOCK - 1) / BLOCK), BLOCK, 0, stream>>>(v, n);
    return cudaGetLastError();
}
