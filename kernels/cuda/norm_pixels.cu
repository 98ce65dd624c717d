/* norm_pixels.cu - norm of narrow bf16 rows into bf16, as the autoencoder has them
 *
 * A team of 16 or 32 lanes takes a row, 8 columns a lane, and several rows one after
 * another, all read before the first is worked on. Sums and values are fp32: what is
 * written are no codes, and bf16 rounds away the difference.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

enum { ROWS = 4 /* of a team */, PER_LANE = 8 };

struct pixels_view {
    const __nv_bfloat16 *x;
    __nv_bfloat16 *out;
    int64_t rows, x_stride, out_stride;
    const float *weight;
    float eps;
    int cols;
    bool silu;
};

static __device__ __forceinline__ void eight_unpack(const uint4 &from, float (&v)[8])
{
    const uint32_t word[4] = {from.x, from.y, from.z, from.w};

#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i] = __uint_as_float(word[i] << 16);
        v[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
    }
}

static __device__ __forceinline__ uint4 eight_pack(const float (&v)[8])
{
    uint32_t word[4];

#pragma unroll
    for (int i = 0; i < 4; i++) {
        __nv_bfloat162 two = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);

        word[i] = *(uint32_t *)&two;
    }
    return make_uint4(word[0], word[1], word[2], word[3]);
}

/* The sum of squares of a row whose lanes hold `packs` times 8 of it. */
template <int TEAM, int PACKS>
static __device__ __forceinline__ float squares_of(const uint4 (&row)[PACKS])
{
    float sum = 0.0f;

#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        float v[8];

        eight_unpack(row[k], v);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += v[i] * v[i];
    }
#pragma unroll
    for (int i = TEAM / 2; i > 0; i /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, i);
    return sum;
}

template <int TEAM, int PACKS>
static __global__ void __launch_bounds__(BLOCK) pixels_kernel(struct pixels_view a)
{
    int64_t first = ((int64_t)blockIdx.x * (BLOCK / TEAM) + threadIdx.x / TEAM) * ROWS;
    int col = threadIdx.x % TEAM * PER_LANE;
    uint4 row[ROWS][PACKS];

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            int at = col + k * TEAM * PER_LANE;

            row[r][k] = make_uint4(0, 0, 0, 0);
            if (first + r < a.rows && at < a.cols)
                row[r][k] = *(const uint4 *)(a.x + (first + r) * a.x_stride + at);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float squares = squares_of<TEAM, PACKS>(row[r]);
        float factor = sqrtf((float)a.cols) / fmaxf(sqrtf(squares), a.eps);

#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            int at = col + k * TEAM * PER_LANE;
            float v[8];

            if (first + r >= a.rows || at >= a.cols)
                continue;
            eight_unpack(row[r][k], v);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                v[i] *= factor;
                if (a.weight)
                    v[i] *= a.weight[at + i];
                if (a.silu)
                    v[i] = v[i] / (1.0f + expf(-v[i]));
            }
            *(uint4 *)(a.out + (first + r) * a.out_stride + at) = eight_pack(v);
        }
    }
}

static bool rows_fit(const struct tensor *t)
{
    return t->dtype == DT_BF16 && t->stride[1] == 1 && t->stride[0] % 8 == 0 &&
           (uintptr_t)t->data % 16 == 0 && !t->pending.row_scale &&
           !t->pending.col_scale && !t->pending.bias;
}

extern "C" bool norm_pixels_fits(const struct op_norm *a)
{
    const struct norm *n = &a->norm;

    return n->kind == NORM_L2 && (n->act == ACT_NONE || n->act == ACT_SILU) &&
           !n->bias && !n->scale && !n->shift && a->x->shape[1] % PER_LANE == 0 &&
           a->x->shape[1] <= 2 * WARP * PER_LANE && rows_fit(a->x) && rows_fit(a->out);
}

template <int TEAM, int PACKS>
static cudaError_t team_launch(const struct pixels_view *v, cudaStream_t stream)
{
    int64_t per = BLOCK / TEAM * ROWS;

    pixels_kernel<TEAM, PACKS>
        <<<(unsigned)((v->rows + per - 1) / per), BLOCK, 0, stream>>>(*v);
    return cudaGetLastError();
}

extern "C" cudaError_t norm_pixels_launch(const struct op_norm *a, cudaStream_t stream)
{
    struct pixels_view v = {(const __nv_bfloat16 *)a->x->data,
                            (__nv_bfloat16 *)a->out->data,
                            a->x->shape[0],
                            a->x->stride[0],
                            a->out->stride[0],
                            NULL,
                            a->norm.eps,
                            (int)a->x->shape[1],
                            a->norm.act == ACT_SILU};

    if (a->norm.weight)
        v.weight = (const float *)a->norm.weight->data;
    if (v.cols <= 16 * PER_LANE)
        return team_launch<16, 1>(&v, stream);
    if (v.cols <= WARP * PER_LANE)
        return team_launch<WARP, 1>(&v, stream);
    return team_launch<WARP, 2>(&v, stream);
}
