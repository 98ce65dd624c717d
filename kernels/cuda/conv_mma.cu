/* conv_mma.cu - convolution on any gpu: bf16 on the matrix unit, fp32 beside it
 *
 * For architectures that have no kernel of their own, and for fp32 on all. A block's
 * eight warps share a tile: with 96 outputs four by two, 64 pixels by 48 outputs each;
 * up to 8 outputs, 32 pixels each. Both types hold sums as a product of the matrix unit
 * does (mma.cuh), so that they are written alike.
 *
 * The order of a value's sum depends on the kernel and its channels alone: with 3 x 3
 * neighbours by frame, 64 bytes of channels, tap; else by tap, 64 bytes of channels.
 */
#include "kernels/cuda/conv_steps.cuh"
#include "kernels/cuda/mma.cuh"

/* ---- products ------------------------------------------------------------------ */

/* What a lane's addresses begin with, in a row of 16 pixels and in the rows of 8
 * outputs, and bytes on. */
template <typename T>
struct lanes;

/* Of four matrices, which are 16 pixels by 16 channels, or 8 outputs by 32. */
template <>
struct lanes<__nv_bfloat16> {
    int pixel, pixel_on, output, output_on;

    __device__ __forceinline__ lanes(int lane)
        : pixel(lane % 16), pixel_on(lane / 16 * 16), output(lane % 8),
          output_on(lane / 8 * 16)
    {
    }
};

/* Of this lane's own first pixel and output. */
template <>
struct lanes<float> {
    int pixel, pixel_on, output, output_on;

    __device__ __forceinline__ lanes(int lane)
        : pixel(lane / 4), pixel_on(0), output(lane % 4 * 2), output_on(0)
    {
    }
};

/* One tap of a step; `weights`: what this lane has of the first 8 outputs. */
template <int WIDTH, int WINDOW>
static __device__ __forceinline__ void tap_multiply(
    const struct lookup<__nv_bfloat16, WIDTH, WINDOW> &look, int tap, uint32_t weights,
    float (&d)[kind<__nv_bfloat16, WIDTH, WINDOW>::ROWS]
              [kind<__nv_bfloat16, WIDTH, WINDOW>::SPAN / 2])
{
    typedef struct kind<__nv_bfloat16, WIDTH, WINDOW> k;
    uint32_t b[k::SPAN / 8][4];

#pragma unroll
    for (int j = 0; j < k::SPAN / 8; j++)
        matrices_load(b[j], weights + j * 8 * k::WEIGHT_PITCH + tap * PIECES * 16);
#pragma unroll
    for (int m = 0; m < k::ROWS; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t x[4];

            matrices_load(x, look.at(m, tap) + half * 32);
#pragma unroll
            for (int j = 0; j < k::SPAN / 8; j++)
                product_bf16(d[m] + 4 * j, x, b[j][2 * half], b[j][2 * half + 1]);
        }
    }
}

static __device__ __forceinline__ float4 floats_load(uint32_t at)
{
    float4 v;

    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(at));
    return v;
}

/* Four channels at a time. */
template <int WIDTH, int WINDOW>
static __device__ __forceinline__ void tap_multiply(
    const struct lookup<float, WIDTH, WINDOW> &look, int tap, uint32_t weights,
    float (&d)[kind<float, WIDTH, WINDOW>::ROWS][kind<float, WIDTH, WINDOW>::SPAN / 2])
{
    typedef struct kind<float, WIDTH, WINDOW> k;

#pragma unroll 1
    for (int piece = 0; piece < PIECES; piece++) {
        float4 b[k::SPAN / 4];

#pragma unroll
        for (int j = 0; j < k::SPAN / 4; j++)
            b[j] = floats_load(weights + (j / 2 * 8 + j % 2) * k::WEIGHT_PITCH +
                               (tap * PIECES + piece) * 16);
#pragma unroll
        for (int i = 0; i < 2 * k::ROWS; i++) {
            float4 x = floats_load(look.at(i / 2, tap) + i % 2 * look.AFTER +
                                   piece * 16);

#pragma unroll
            for (int j = 0; j < k::SPAN / 4; j++) {
                float *to = &d[i / 2][j / 2 * 4 + i % 2 * 2 + j % 2];

                *to = __fmaf_rn(x.x, b[j].x, *to);
                *to = __fmaf_rn(x.y, b[j].y, *to);
                *to = __fmaf_rn(x.z, b[j].z, *to);
                *to = __fmaf_rn(x.w, b[j].w, *to);
            }
        }
    }
}

/* ---- tiles --------------------------------------------------------------------- */

template <typename T, int WIDTH, int WINDOW>
static __device__ __forceinline__ void tile_store(
    const struct conv_view &a, const struct place &p,
    const float (&d)[kind<T, WIDTH, WINDOW>::ROWS][kind<T, WIDTH, WINDOW>::SPAN / 2])
{
    typedef struct kind<T, WIDTH, WINDOW> k;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int o = p.o + warp % k::ACROSS * k::SPAN + 2 * (lane % 4);

#pragma unroll
    for (int m = 0; m < k::ROWS; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++)
            row_store<k::SPAN>(
                a, p, (warp / k::ACROSS * k::ROWS + m) * SIDE + lane / 4 + 8 * half, o,
                half, d[m]);
    }
}

template <typename T, int WIDTH, int WINDOW>
static __global__ void __launch_bounds__(THREADS, 1)
    conv_mma_kernel(const __grid_constant__ struct conv_view a)
{
    typedef struct kind<T, WIDTH, WINDOW> k;
    extern __shared__ char begin[];
    uint32_t memory = shared_at(begin);
    struct lanes<T> lane(threadIdx.x % WARP);
    uint32_t row = memory + k::STAGES * k::PICTURE_BYTES + lane.output_on +
                   (threadIdx.x / WARP % k::ACROSS * k::SPAN + lane.output) *
                       k::WEIGHT_PITCH;
    int pictures = groups_of<WINDOW>(a) *
                   ((a.channels + k::CHANNELS - 1) / k::CHANNELS);
    bool early = threadIdx.x < THREADS / 2; /* of two warps that share a quarter of a
                                             * multiprocessor one fetches meanwhile */
    int stage = 0, picture = 0;
    struct lookup<T, WIDTH, WINDOW> look(a, lane.pixel, lane.pixel_on);
    struct ahead next;

    ahead_begin<T, WIDTH, WINDOW>(a, memory, next);
    for (int64_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
        float d[k::ROWS][k::SPAN / 2] = {};

        for (int i = 0; i < pictures; i++) {
            for (int line = 0; line < k::STEPS; line++) {
                copies_wait<k::LAG - 1>();
                __syncthreads();
                if (early)
                    step_ask<T, WIDTH, WINDOW>(a, memory, next);
                look.line_begin(a, memory + picture * k::PICTURE_BYTES, line);
#pragma unroll
                for (int tap = 0; tap < k::TAPS; tap++) {
                    tap_multiply(look, tap, row + stage * k::WEIGHT_BYTES, d);
                    if (tap == 0 && !early)
                        step_ask<T, WIDTH, WINDOW>(a, memory, next);
                }
                stage = stage + 1 < k::STAGES ? stage + 1 : 0;
            }
            picture = picture + 1 < k::STAGES ? picture + 1 : 0;
        }
        tile_store<T, WIDTH, WINDOW>(a, place_of<WIDTH>(a, tile), d);
    }
}

/* ---- launching ----------------------------------------------------------------- */

extern "C" bool conv_mma_fits(const struct op_conv *a)
{
    const int64_t *step = a->x->stride;

    return (conv_tiles_fit(a, DT_BF16, 8) || conv_tiles_fit(a, DT_F32, 4)) &&
           a->weight->shape[0] * a->weight->stride[0] <= INT32_MAX &&
           step[1] <= INT32_MAX && step[2] <= INT32_MAX;
}

static bool near_fits(const struct op_conv *a)
{
    const int64_t *k = a->weight->shape;

    return k[2] == 3 && k[3] == 3 && a->stride[1] == 1 && a->stride[2] == 1;
}

template <typename T, int WIDTH, int WINDOW>
static cudaError_t kind_launch(struct conv_view *v, int units, cudaStream_t stream)
{
    return tiles_launch<WIDTH>(conv_mma_kernel<T, WIDTH, WINDOW>, THREADS,
                               kind<T, WIDTH, WINDOW>::SHARED, v, units, stream);
}

template <typename T, int WIDTH>
static cudaError_t width_launch(struct conv_view *v, bool near, int units,
                                cudaStream_t stream)
{
    if (!near)
        return kind_launch<T, WIDTH, APART>(v, units, stream);
    return v->up ? kind_launch<T, WIDTH, DOUBLED>(v, units, stream)
                 : kind_launch<T, WIDTH, NEAR>(v, units, stream);
}

extern "C" cudaError_t conv_mma_launch(const struct op_conv *a, int units,
                                       cudaStream_t stream)
{
    struct conv_view v = conv_view_of(a);

    if (a->x->dtype == DT_F32)
        return v.outputs <= 8
                   ? width_launch<float, 8>(&v, near_fits(a), units, stream)
                   : width_launch<float, 96>(&v, near_fits(a), units, stream);
    return v.outputs <= 8
               ? width_launch<__nv_bfloat16, 8>(&v, near_fits(a), units, stream)
               : width_launch<__nv_bfloat16, 96>(&v, near_fits(a), units, stream);
}
