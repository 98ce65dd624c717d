/* norm.cu - norm, gated residual and norm, activations -> operand: rows by teams
 *
 * A row is read once into shared memory; a warp takes a narrow one, a block a wide one.
 */
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

/* Sum over the row, or of (value - mean)^2. */
template <int TEAM>
static __device__ double row_total(const float *cache, int64_t cols, bool squares,
                                   double mean)
{
    double sum = 0.0;

    for (int64_t c = threadIdx.x % TEAM; c < cols; c += TEAM) {
        double v = (double)cache[c] - mean;

        sum += squares ? v * v : v;
    }
    return team_join<add_op, TEAM>(sum);
}

static __device__ float norm_value(float v, const struct norm_view &n, int64_t row,
                                   int64_t col, float mean, float factor)
{
    v = (v - mean) * factor;
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

/* out = norm of the row in `cache`, where each thread put the columns it visits. */
template <int TEAM>
static __device__ void norm_row(const struct tensor &out, const struct norm_view &n,
                                int64_t row, float *cache)
{
    double d = (double)out.shape[1];
    double mean = 0.0, squares, factor;

    if (n.kind == NORM_LAYER)
        mean = row_total<TEAM>(cache, out.shape[1], false, 0.0) / d;
    squares = row_total<TEAM>(cache, out.shape[1], true, mean);
    if (n.kind == NORM_L2)
        factor = sqrt(d) / fmax(sqrt(squares), (double)n.eps);
    else
        factor = 1.0 / sqrt(squares / d + (double)n.eps);
    row_emit<TEAM>(out, row, cache, [&](int64_t c) {
        return norm_value(cache[c], n, row, c, (float)mean, (float)factor);
    });
}

template <int TEAM>
static __global__ void __launch_bounds__(BLOCK)
    norm_kernel(struct tensor out, struct tensor x, struct norm_view n)
{
    int64_t row = team_row<TEAM>();
    float *cache = team_cache<TEAM>(x.shape[1]);

    if (row >= x.shape[0])
        return;
    for (int64_t c = threadIdx.x % TEAM; c < x.shape[1]; c += TEAM)
        cache[c] = row_value(x, row, c);
    norm_row<TEAM>(out, n, row, cache);
}

static struct tensor view_of(const struct tensor *t)
{
    struct tensor none = {};

    return t ? *t : none;
}

static struct norm_view norm_view_of(const struct norm *n)
{
    return {n->kind,           n->act,
            n->eps,            view_of(n->weight),
            view_of(n->bias),  view_of(n->scale),
            view_of(n->shift), n->first_token,
            n->tokens_per_frame};
}

extern "C" cudaError_t norm_launch(const struct op_norm *a, cudaStream_t stream)
{
    return teams_launch(norm_kernel<WARP>, norm_kernel<BLOCK>, a->x->shape[0],
                        a->x->shape[1], stream, *a->out, *a->x,
                        norm_view_of(&a->norm));
}

/* ---- residual ------------------------------------------------------------------ */

/* The new x is rounded to its type before it is normalised. */
template <int TEAM>
static __global__ void __launch_bounds__(BLOCK)
    residual_kernel(struct tensor x, struct tensor y, struct tensor gate,
                    struct tensor out, struct norm_view n)
{
    int64_t row = team_row<TEAM>();
    float *cache = team_cache<TEAM>(x.shape[1]);

    if (row >= x.shape[0])
        return;
    for (int64_t c = threadIdx.x % TEAM; c < x.shape[1]; c += TEAM) {
        int64_t at = row * x.stride[0] + c;
        float v = row_value(y, row, c);

        if (gate.data)
            v *= table_value(gate, n, row, c);
        v += elem_load(x, at);
        elem_store(x, at, v);
        cache[c] = x.dtype == DT_F32 ? v : __bfloat162float(__float2bfloat16_rn(v));
    }
    if (out.data)
        norm_row<TEAM>(out, n, row, cache);
}

extern "C" cudaError_t residual_launch(const struct op_residual *a, cudaStream_t stream)
{
    return teams_launch(residual_kernel<WARP>, residual_kernel<BLOCK>, a->x->shape[0],
                        a->x->shape[1], stream, *a->x, *a->y, view_of(a->gate),
                        view_of(a->out), norm_view_of(&a->norm));
}

/* ---- act ----------------------------------------------------------------------- */

template <int TEAM>
static __global__ void __launch_bounds__(BLOCK)
    act_kernel(struct tensor out, struct tensor x, struct tensor gated,
               enum act_kind act)
{
    int64_t row = team_row<TEAM>();
    float *cache = team_cache<TEAM>(x.shape[1]);

    if (row >= x.shape[0])
        return;
    row_emit<TEAM>(out, row, cache, [&](int64_t c) {
        float v = act_value(act, row_value(x, row, c));

        return gated.data ? v * row_value(gated, row, c) : v;
    });
}

extern "C" cudaError_t act_launch(const struct op_act *a, cudaStream_t stream)
{
    return teams_launch(act_kernel<WARP>, act_kernel<BLOCK>, a->x->shape[0],
                        a->x->shape[1], stream, *a->out, *a->x, view_of(a->gated),
                        a->act);
}
