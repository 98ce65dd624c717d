/* small.cu - conversions, table rows, sinusoids, patch order, sums of the sampler
 *
 * One thread per element and a loop over the grid, but for conversions to an operand,
 * where a block takes a row.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

/* for every element of n, spread over the grid */
#define EACH_ELEMENT(i, n)                                               \
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < (n); \
         i += (int64_t)gridDim.x * BLOCK)

static unsigned grid_for(int64_t n)
{
    const int64_t most = 65536;
    int64_t blocks = (n + BLOCK - 1) / BLOCK;

    return (unsigned)(blocks < most ? blocks : most);
}

/* ---- convert ------------------------------------------------------------------- */

template <int TEAM, int N>
static __global__ void __launch_bounds__(BLOCK)
    quantise_kernel(struct tensor dst, struct tensor src)
{
    int64_t row = team_row<TEAM>();
    float *cache = team_cache<TEAM>(dst.shape[1]);

    if (row >= dst.shape[0])
        return;
    row_emit<TEAM, N>(dst, row, cache, [&](int c) {
        int64_t at = row * src.stride[0] + c * src.stride[1];
        struct pack<N> p;

        if (src.dtype != DT_F64)
            return elems_load<N>(src, at);
        for (int i = 0; i < N; i++)
            p.v[i] = (float)((const double *)src.data)[at + i];
        return p;
    });
}

/* Storage offset of the i-th element in row-major order. */
static __device__ int64_t offset_of(const struct tensor &t, int64_t i)
{
    int64_t at = 0;

    for (int d = t.rank - 1; d >= 0; d--) {
        at += i % t.shape[d] * t.stride[d];
        i /= t.shape[d];
    }
    return at;
}

/* Doubles are rounded once. */
static __device__ void double_store(const struct tensor &t, int64_t at, double v)
{
    if (t.dtype == DT_F32)
        ((float *)t.data)[at] = (float)v;
    else
        ((__nv_bfloat16 *)t.data)[at] = __double2bfloat16(v);
}

static __global__ void convert_kernel(struct tensor dst, struct tensor src, int64_t n,
                                      bool dense)
{
    EACH_ELEMENT (i, n) {
        int64_t to = dense ? i : offset_of(dst, i);
        int64_t from = dense ? i : offset_of(src, i);

        if (src.dtype == DT_F64)
            double_store(dst, to, ((const double *)src.data)[from]);
        else
            elem_store(dst, to, elem_load(src, from));
    }
}

static bool dense_of(const struct tensor *t)
{
    int64_t step = 1;

    for (int d = t->rank - 1; d >= 0; d--) {
        if (t->shape[d] > 1 && t->stride[d] != step)
            return false;
        step *= t->shape[d];
    }
    return true;
}

static int64_t count_of(const struct tensor *t)
{
    int64_t n = 1;

    for (int d = 0; d < t->rank; d++)
        n *= t->shape[d];
    return n;
}

extern "C" cudaError_t convert_launch(const struct op_convert *a, cudaStream_t stream)
{
    int64_t n = count_of(a->src);

    if (is_code(a->dst->dtype))
        return TEAMS_LAUNCH(quantise_kernel,
                            a->dst->shape[1] % 4 == 0 && a->src->stride[1] == 1 &&
                                in_fours(a->src) && in_fours(a->dst),
                            a->dst->shape[0], a->dst->shape[1], stream, *a->dst,
                            *a->src);
    convert_kernel<<<grid_for(n), BLOCK, 0, stream>>>(
        *a->dst, *a->src, n, dense_of(a->dst) && dense_of(a->src));
    return cudaGetLastError();
}

/* ---- rows, sinusoids, patch order ---------------------------------------------- */

static __global__ void rows_kernel(struct tensor out, struct tensor table,
                                   const int32_t *ids, int64_t n)
{
    EACH_ELEMENT (i, n) {
        int64_t row = i / out.shape[1], col = i % out.shape[1];

        elem_store(out, row * out.stride[0] + col,
                   elem_load(table, ids[row] * table.stride[0] + col));
    }
}

extern "C" cudaError_t rows_launch(const struct op_rows *a, cudaStream_t stream)
{
    int64_t n = count_of(a->out);

    rows_kernel<<<grid_for(n), BLOCK, 0, stream>>>(*a->out, *a->table,
                                                   (const int32_t *)a->ids->data, n);
    return cudaGetLastError();
}

static __global__ void sinusoid_kernel(struct tensor out, const float *t, int64_t n)
{
    int64_t half = out.shape[1] / 2;

    EACH_ELEMENT (i, n) {
        int64_t f = i / half, c = i % half;
        double angle = (double)t[f] * pow(10000.0, -(double)c / (double)half);
        float *row = (float *)out.data + f * out.stride[0];

        row[c] = (float)cos(angle);
        row[half + c] = (float)sin(angle);
    }
}

extern "C" cudaError_t sinusoid_launch(const struct op_sinusoid *a, cudaStream_t stream)
{
    int64_t n = count_of(a->out) / 2;

    sinusoid_kernel<<<grid_for(n), BLOCK, 0, stream>>>(*a->out,
                                                       (const float *)a->t->data, n);
    return cudaGetLastError();
}

static __global__ void unpatch_kernel(struct tensor out, struct tensor x, int64_t n)
{
    int64_t channels = x.shape[1] / 4;

    EACH_ELEMENT (i, n) {
        int64_t row = i / x.shape[1], col = i % x.shape[1];

        ((float *)out.data)[row * out.stride[0] + col] =
            ((const float *)x.data)[row * x.stride[0] + col % 4 * channels + col / 4];
    }
}

extern "C" cudaError_t unpatch_launch(const struct op_unpatch *a, cudaStream_t stream)
{
    int64_t n = count_of(a->x);

    unpatch_kernel<<<grid_for(n), BLOCK, 0, stream>>>(*a->out, *a->x, n);
    return cudaGetLastError();
}

/* ---- combine, pixels ----------------------------------------------------------- */

struct combine_view {
    struct tensor out, coef, in[COMBINE_MAX];
    int n;
    int64_t first_token, tokens_per_frame;
};

static __global__ void combine_kernel(struct combine_view a, int64_t n)
{
    EACH_ELEMENT (i, n) {
        int64_t row = i / a.out.shape[1], col = i % a.out.shape[1];
        int64_t f = a.coef.shape[0] == 1 ? 0
                                         : (a.first_token + row) / a.tokens_per_frame;
        const float *coef = (const float *)a.coef.data + f * a.coef.stride[0];
        float v = 0.0f;

        for (int j = 0; j < COMBINE_MAX; j++) {
            if (j < a.n && coef[j] != 0.0f)
                v += coef[j] *
                     ((const float *)a.in[j].data)[row * a.in[j].stride[0] + col];
        }
        ((float *)a.out.data)[row * a.out.stride[0] + col] = v;
    }
}

extern "C" cudaError_t combine_launch(const struct op_combine *a, cudaStream_t stream)
{
    int64_t n = count_of(a->out);
    struct combine_view v = {};

    v.out = *a->out;
    v.coef = *a->coef;
    for (int i = 0; i < a->n; i++)
        v.in[i] = *a->in[i];
    v.n = a->n;
    v.first_token = a->first_token;
    v.tokens_per_frame = a->tokens_per_frame;
    combine_kernel<<<grid_for(n), BLOCK, 0, stream>>>(v, n);
    return cudaGetLastError();
}

static __global__ void pixels_kernel(uint8_t *out, struct tensor x, int64_t n)
{
    EACH_ELEMENT (i, n) {
        float v = elem_load(x, i) * 0.5f + 0.5f;

        out[i] = (uint8_t)(fminf(fmaxf(v, 0.0f), 1.0f) * 255.0f);
    }
}

extern "C" cudaError_t pixels_launch(const struct op_pixels *a, cudaStream_t stream)
{
    int64_t n = count_of(a->x);

    pixels_kernel<<<grid_for(n), BLOCK, 0, stream>>>((uint8_t *)a->out->data, *a->x, n);
    return cudaGetLastError();
}

/* ---- merging partial attention ------------------------------------------------- */

struct merge_view {
    struct tensor o, lse, o_part, lse_part;
};

/* A warp per token and head. */
static __global__ void merge_kernel(struct merge_view a, int64_t n)
{
    int lane = threadIdx.x % 32;
    int64_t i = (int64_t)blockIdx.x * (BLOCK / 32) + threadIdx.x / 32;
    int64_t s = i / a.o.shape[1], h = i % a.o.shape[1];
    float *mine, *o;
    const float *part;
    double x, y, top, wx, wy;

    if (i >= n)
        return;
    mine = (float *)a.lse.data + h * a.lse.stride[0] + s;
    x = (double)*mine;
    y = (double)((const float *)a.lse_part.data)[h * a.lse_part.stride[0] + s];
    top = fmax(x, y);
    if (isinf(top))
        return;
    wx = exp(x - top);
    wy = exp(y - top);
    o = (float *)a.o.data + s * a.o.stride[0] + h * a.o.stride[1];
    part = (const float *)a.o_part.data + s * a.o_part.stride[0] +
           h * a.o_part.stride[1];
    for (int64_t c = lane; c < a.o.shape[2]; c += 32)
        o[c] = (float)((wx * (double)o[c] + wy * (double)part[c]) / (wx + wy));
    __syncwarp();
    if (lane == 0)
        *mine = (float)(top + log(wx + wy));
}

extern "C" cudaError_t attn_merge_launch(const struct op_attn_merge *a,
                                         cudaStream_t stream)
{
    struct merge_view v = {*a->o, *a->lse, *a->o_part, *a->lse_part};
    int64_t n = a->o->shape[0] * a->o->shape[1];

    merge_kernel<<<(unsigned)((n + BLOCK / 32 - 1) / (BLOCK / 32)), BLOCK, 0, stream>>>(
        v, n);
    return cudaGetLastError();
}
