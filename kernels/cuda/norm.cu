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

/* The row of a table for a row's frame. */
static __device__ __forceinline__ const float *table_row(const struct tensor &t,
                                                         const struct norm_view &n,
                                                         int64_t row)
{
    int64_t f = t.shape[0] == 1 ? 0 : (n.first_token + row) / n.tokens_per_frame;

    return t.data ? (const float *)t.data + f * t.stride[0] : NULL;
}

/* Sum over the row, or of (value - mean)^2. */
template <int TEAM, int N>
static __device__ __forceinline__ double row_total(const float *cache, int cols,
                                                   bool squares, double mean)
{
    double sum = 0.0;

    for (int c = threadIdx.x % TEAM * N; c < cols; c += TEAM * N) {
        struct pack<N> p = floats_at<N>(cache + c);

        for (int i = 0; i < N; i++) {
            double v = (double)p.v[i] - mean;

            sum = squares ? __fma_rn(v, v, sum) : sum + v;
        }
    }
    return team_join<add_op, TEAM>(sum);
}

/* What is done to the values of a row after mean and factor are known. */
struct norm_row {
    float mean, factor;
    const float *weight, *bias, *scale, *shift;
    enum act_kind act;
};

template <int N>
static __device__ __forceinline__ struct pack<N> norm_values(struct pack<N> p,
                                                             const struct norm_row &n,
                                                             int col) {
    struct pack<N> more;

    for (int i = 0; i < N; i++)
        p.v[i] = (p.v[i] - n.mean) * n.factor;
    if (n.weight) {
        more = floats_at<N>(n.weight + col);
        for (int i = 0; i < N; i++)
            p.v[i] *= more.v[i];
    }
    if (n.bias) {
        more = floats_at<N>(n.bias + col);
        for (int i = 0; i < N; i++)
            p.v[i] += more.v[i];
    }
    if (n.act != ACT_NONE) {
        for (int i = 0; i < N; i++)
            p.v[i] = act_value(n.act, p.v[i]);
    }
    if (n.scale) {
        more = floats_at<N>(n.scale + col);
        for (int i = 0; i < N; i++)
            p.v[i] *= 1.0f + more.v[i];
    }
    if (n.shift) {
        more = floats_at<N>(n.shift + col);
        for (int i = 0; i < N; i++)
            p.v[i] += more.v[i];
    }
    return p;
}

/* out = norm of the row in `cache`, where each thread put the columns it visits. */
template <int TEAM, int N>
static __device__ __forceinline__ void norm_write(const struct tensor &out,
                                                  const struct norm_view &n,
                                                  int64_t row, float *cache)
{
    int cols = (int)out.shape[1];
    double d = (double)cols, mean = 0.0, squares, factor;
    struct norm_row r;

    if (n.kind == NORM_LAYER)
        mean = row_total<TEAM, N>(cache, cols, false, 0.0) / d;
    squares = row_total<TEAM, N>(cache, cols, true, mean);
    if (n.kind == NORM_L2)
        factor = sqrt(d) / fmax(sqrt(squares), (double)n.eps);
    else
        factor = 1.0 / sqrt(squares / d + (double)n.eps);
    r = {(float)mean,
         (float)factor,
         (const float *)n.weight.data,
         (const float *)n.bias.data,
         table_row(n.scale, n, row),
         table_row(n.shift, n, row),
         n.act};
    row_emit<TEAM, N>(out, row, cache, [&](int c) {
        return norm_values<N>(floats_at<N>(cache + c), r, c);
    });
}

template <int TEAM, int N>
static __global__ void __launch_bounds__(BLOCK)
    norm_kernel(struct tensor out, struct tensor x, struct norm_view n)
{
    int64_t row = team_row<TEAM>();
    int cols = (int)x.shape[1];
    float *cache = team_cache<TEAM>(cols);

    if (row >= x.shape[0])
        return;
    for (int c = threadIdx.x % TEAM * N; c < cols; c += TEAM * N)
        *(struct pack<N> *)(cache + c) = row_values<N>(x, row, c);
    norm_write<TEAM, N>(out, n, row, cache);
}

static struct tensor view_of(const struct tensor *t)
{
    struct tensor none = {};

    return t ? *t : none;
}

static struct norm_view norm_view_of(const struct norm *n)
{
    return {n->kind,
            n->act,
            n->eps,
            view_of(n->weight),
            view_of(n->bias),
            view_of(n->scale),
            view_of(n->shift),
            n->first_token,
            n->tokens_per_frame};
}

/* A vector has one row, whose stride does not matter. */
static bool vector_in_fours(const struct tensor *t)
{
    return (uintptr_t)t->data % 16 == 0;
}

static bool norm_in_fours(const struct norm_view *n)
{
    return vector_in_fours(&n->weight) && vector_in_fours(&n->bias) &&
           in_fours(&n->scale) && in_fours(&n->shift);
}

extern "C" cudaError_t norm_launch(const struct op_norm *a, cudaStream_t stream)
{
    struct norm_view n = norm_view_of(&a->norm);
    bool fours = a->x->shape[1] % 4 == 0 && in_fours(a->x) && in_fours(a->out) &&
                 norm_in_fours(&n);

    return TEAMS_LAUNCH(norm_kernel, fours, a->x->shape[0], a->x->shape[1], stream,
                        *a->out, *a->x, n);
}

/* ---- residual ------------------------------------------------------------------ */

/* The new x is rounded to its type before it is normalised. */
template <int TEAM, int N>
static __global__ void __launch_bounds__(BLOCK)
    residual_kernel(struct tensor x, struct tensor y, struct tensor gate,
                    struct tensor out, struct norm_view n)
{
    int64_t row = team_row<TEAM>();
    int cols = (int)x.shape[1];
    float *cache = team_cache<TEAM>(cols);
    const float *gates = table_row(gate, n, row);

    if (row >= x.shape[0])
        return;
#pragma unroll 4
    for (int c = threadIdx.x % TEAM * N; c < cols; c += TEAM * N) {
        int64_t at = row * x.stride[0] + c;
        struct pack<N> p = row_values<N>(y, row, c), old = elems_load<N>(x, at), g;

        if (gates) {
            g = floats_at<N>(gates + c);
            for (int i = 0; i < N; i++)
                p.v[i] *= g.v[i];
        }
        for (int i = 0; i < N; i++)
            p.v[i] += old.v[i];
        if (x.dtype != DT_F32) {
            for (int i = 0; i < N; i++)
                p.v[i] = __bfloat162float(__float2bfloat16_rn(p.v[i]));
        }
        elems_store<N>(x, at, p);
        *(struct pack<N> *)(cache + c) = p;
    }
    if (out.data)
        norm_write<TEAM, N>(out, n, row, cache);
}

extern "C" cudaError_t residual_launch(const struct op_residual *a, cudaStream_t stream)
{
    struct norm_view n = norm_view_of(&a->norm);
    struct tensor gate = view_of(a->gate), out = view_of(a->out);
    bool fours = a->x->shape[1] % 4 == 0 && in_fours(a->x) && in_fours(a->y) &&
                 in_fours(&gate) && in_fours(&out) && norm_in_fours(&n);

    return TEAMS_LAUNCH(residual_kernel, fours, a->x->shape[0], a->x->shape[1], stream,
                        *a->x, *a->y, gate, out, n);
}

/* ---- act ----------------------------------------------------------------------- */

template <int TEAM, int N>
static __global__ void __launch_bounds__(BLOCK)
    act_kernel(struct tensor out, struct tensor x, struct tensor gated,
               enum act_kind act)
{
    int64_t row = team_row<TEAM>();
    float *cache = team_cache<TEAM>(x.shape[1]);

    if (row >= x.shape[0])
        return;
    row_emit<TEAM, N>(out, row, cache, [&](int c) {
        struct pack<N> p = row_values<N>(x, row, c), g;

        for (int i = 0; i < N; i++)
            p.v[i] = act_value(act, p.v[i]);
        if (gated.data) {
            g = row_values<N>(gated, row, c);
            for (int i = 0; i < N; i++)
                p.v[i] *= g.v[i];
        }
        return p;
    });
}

extern "C" cudaError_t act_launch(const struct op_act *a, cudaStream_t stream)
{
    struct tensor gated = view_of(a->gated);
    bool fours = a->x->shape[1] % 4 == 0 && in_fours(a->x) && in_fours(a->out) &&
                 in_fours(&gated);

    return TEAMS_LAUNCH(act_kernel, fours, a->x->shape[0], a->x->shape[1], stream,
                        *a->out, *a->x, gated, a->act);
}
