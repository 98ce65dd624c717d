/* norm.cu - norm + modulate -> operand, and activations -> operand: a block per row */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

/* ---- norm ---------------------------------------------------------------------- */

/* struct norm with its tensors by value; data NULL: not there. */
struct norm_view {
    enum norm_kind kind;
    enum act_kind act;
    float eps;
    struct tensor weight, bias, scale, shift;
    int64_t first_token, tokens_per_frame;
};

static __device__ float table_value(const struct tensor &t, const struct norm_view &n,
                                    int64_t row, int64_t col)
{
    int64_t f = t.shape[0] == 1 ? 0 : (n.first_token + row) / n.tokens_per_frame;

    return ((const float *)t.data)[f * t.stride[0] + col];
}

/* Sum over the row of x, or of (x - mean)^2. */
static __device__ double row_total(const struct tensor &x, int64_t row, bool squares,
                                   double mean)
{
    double sum = 0.0;

    for (int64_t c = threadIdx.x; c < x.shape[1]; c += BLOCK) {
        double v = (double)row_value(x, row, c) - mean;

        sum += squares ? v * v : v;
    }
    return block_join<add_op, BLOCK>(sum);
}

static __device__ float norm_value(const struct tensor &x, const struct norm_view &n,
                                   int64_t row, int64_t col, float mean, float factor)
{
    float v = (row_value(x, row, col) - mean) * factor;

    if (n.weight.data)
        v *= ((const float *)n.weight.data)[col];
    if (n.bias.data)
        v += ((const float *)n.bias.data)[col];
    v = act_value(n.act, v);
    if (n.scale.data)
        v *= 1.0f + table_value(n.scale, n, row, col);
    if (n.shift.data)
        v += table_value(n.shift, n, row, col);
    return v;
}

static __global__ void norm_kernel(struct tensor out, struct tensor x,
                                   struct norm_view n)
{
    int64_t row = blockIdx.x;
    double d = (double)x.shape[1];
    double mean = 0.0, squares, factor;

    if (n.kind == NORM_LAYER)
        mean = row_total(x, row, false, 0.0) / d;
    squares = row_total(x, row, true, mean);
    if (n.kind == NORM_L2)
        factor = sqrt(d) / fmax(sqrt(squares), (double)n.eps);
    else
        factor = 1.0 / sqrt(squares / d + (double)n.eps);
    row_emit(out, row, [&](int64_t c) {
        return norm_value(x, n, row, c, (float)mean, (float)factor);
    });
}

static struct tensor view_of(const struct tensor *t)
{
    struct tensor none = {};

    return t ? *t : none;
}

extern "C" cudaError_t norm_launch(const struct op_norm *a, cudaStream_t stream)
{
    const struct norm *n = &a->norm;
    struct norm_view v = {n->kind,
                          n->act,
                          n->eps,
                          view_of(n->weight),
                          view_of(n->bias),
                          view_of(n->scale),
                          view_of(n->shift),
                          n->first_token,
                          n->tokens_per_frame};

    norm_kernel<<<(unsigned)a->x->shape[0], BLOCK, 0, stream>>>(*a->out, *a->x, v);
    return cudaGetLastError();
}

/* ---- act ----------------------------------------------------------------------- */

static __global__ void act_kernel(struct tensor out, struct tensor x,
                                  struct tensor gated, enum act_kind act)
{
    int64_t row = blockIdx.x;

    row_emit(out, row, [&](int64_t c) {
        float v = act_value(act, row_value(x, row, c));

        return gated.data ? v * row_value(gated, row, c) : v;
    });
}

extern "C" cudaError_t act_launch(const struct op_act *a, cudaStream_t stream)
{
    act_kernel<<<(unsigned)a->x->shape[0], BLOCK, 0, stream>>>(
        *a->out, *a->x, view_of(a->gated), a->act);
    return cudaGetLastError();
}
