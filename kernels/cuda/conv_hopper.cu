/* conv_hopper.cu - convolution of bf16 pictures on Hopper's matrix unit
 *
 * An implicit product: rows are pixels, columns outputs, and the depth is every tap of
 * the kernel with its channels, in the order of the weight. Nothing is gathered first:
 * pads, strides and the doubled picture are read through the copies to shared memory,
 * which write zeros where there is no pixel.
 *
 *     tile    16 x 16 pixels of one frame by WIDTH outputs
 *     step    64 of the depth: pixels [256, 64] and weights [WIDTH, 64], as rows of
 *             128 bytes (hopper.cuh). A 16-byte piece has 8 channels of one tap
 *
 * One warpgroup fetches steps into a ring of stages, two others multiply 128 pixels
 * each. Blocks go on from tile to tile, so the first steps of the next one arrive while
 * a tile is written. Neighbouring taps read nearly the same pixels, which the
 * first-level cache keeps.
 *
 * A value's bytes depend on what it reads and on nothing else: not on the size of the
 * picture, the place in it, or the number of frames.
 */
#include "kernels/cuda/conv_hopper.cuh"

enum { DEPTH = 64 /* of a step */ };

/* LAG: steps on their way before one is waited for. */
template <int WIDTH>
struct kind {
    enum {
        STAGES = WIDTH > 96 ? 3 : 4,
        LAG = STAGES - 2,
        PIXEL_BYTES = PIXELS * 128,
        STAGE_BYTES = PIXEL_BYTES + WIDTH * 128,
        SHARED = STAGES * (STAGE_BYTES + 16) + 1024,
    };
};

/* The block's shared memory, as addresses. */
template <int WIDTH>
struct room {
    uint32_t stage, full, empty;

    __device__ room(const char *begin)
    {
        typedef struct kind<WIDTH> k;

        stage = (shared_at(begin) + 1023u) & ~1023u;
        full = stage + k::STAGES * k::STAGE_BYTES;
        empty = full + 8 * k::STAGES;
    }
    __device__ uint32_t pixels(int s) const
    {
        return stage + s * kind<WIDTH>::STAGE_BYTES;
    }
    __device__ uint32_t weights(int s) const
    {
        return pixels(s) + kind<WIDTH>::PIXEL_BYTES;
    }
};

static __device__ __forceinline__ int steps_of(const struct conv_view &a)
{
    return (a.depth + DEPTH - 1) / DEPTH;
}

/* ---- fetching ------------------------------------------------------------------ */

/* Through the first-level cache. */
static __device__ __forceinline__ void copy16_near(uint32_t to, const void *from,
                                                   bool there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

/* The tap and channel where a thread's piece of a step begins. */
struct tap {
    int at, t, h, w, channel; /* `at`: in the depth */
};

static __device__ __forceinline__ void tap_move(const struct conv_view &a,
                                                struct tap &p, int by)
{
    p.at += by;
    p.channel += by;
    while (p.channel >= a.channels) {
        p.channel -= a.channels;
        if (++p.w < a.kernel[2])
            continue;
        p.w = 0;
        if (++p.h < a.kernel[1])
            continue;
        p.h = 0;
        p.t++;
    }
}

/* One 16-byte piece of 16 pixels that lie in one column of the tile. */
static __device__ __forceinline__ void pixels_fetch(const struct conv_view &a,
                                                    const struct place &p,
                                                    const struct tap &k, uint32_t to,
                                                    int column)
{
    int t = p.t * a.stride[0] - a.pad[0] + k.t;
    int h = p.h * a.stride[1] - a.pad[1] + k.h;
    int w = (p.w + column) * a.stride[2] - a.pad[2] + k.w;
    bool there = k.at < a.depth && t >= 0 && t < a.in[0] && w >= 0 && w < a.in[2];
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)a.x.data;
    const __nv_bfloat16 *from = x;

    if (there)
        from += t * a.x.stride[0] + (w >> a.up) * a.x.stride[2] + k.channel;
#pragma unroll
    for (int i = 0; i < SIDE; i++, h += a.stride[1]) {
        bool inside = there && h >= 0 && h < a.in[1];

        copy16_near(to + i * SIDE * 128,
                    inside ? from + (h >> a.up) * a.x.stride[1] : x, inside);
    }
}

template <int WIDTH>
static __device__ __forceinline__ void weights_fetch(const struct conv_view &a,
                                                     const struct place &p,
                                                     const struct tap &k, uint32_t to,
                                                     int row)
{
    const __nv_bfloat16 *from = a.weight + (int64_t)(p.o + row) * a.depth + k.at;

#pragma unroll
    for (int i = 0; i < (WIDTH + 15) / 16; i++, from += 16 * (int64_t)a.depth) {
        bool inside = k.at < a.depth && p.o + row + 16 * i < a.outputs;

        if (WIDTH % 16 == 0 || row + 16 * i < WIDTH)
            copy16(to + i * 16 * 128, inside ? from : a.weight, inside);
    }
}

/* Steps that were asked for, and those among them that were handed over. */
struct fetched {
    int64_t steps, handed;
};

/* All but the last LEFT steps that were asked for are there. */
template <int WIDTH, int LEFT>
static __device__ __forceinline__ void steps_hand_over(const struct room<WIDTH> &r,
                                                       struct fetched &f)
{
    copies_wait<LEFT>();
    shared_publish();
    for (; f.handed < f.steps - LEFT; f.handed++)
        barrier_arrive(r.full + 8 * (int)(f.handed % kind<WIDTH>::STAGES));
}

/* A stage to fill. Who has to wait for it first hands over what is on its way. */
template <int WIDTH>
static __device__ __forceinline__ int stage_take(const struct room<WIDTH> &r,
                                                 struct fetched &f)
{
    typedef struct kind<WIDTH> k;
    int s = (int)(f.steps % k::STAGES), parity = (int)(f.steps / k::STAGES - 1) & 1;

    if (f.steps >= k::STAGES && !barrier_passed(r.empty + 8 * s, parity)) {
        steps_hand_over<WIDTH, 0>(r, f);
        barrier_wait(r.empty + 8 * s, parity);
    }
    return s;
}

template <int WIDTH>
static __device__ void fetch_all(const struct conv_view &a, const struct room<WIDTH> &r)
{
    int piece = threadIdx.x % 8, row = threadIdx.x % GROUP / 8;
    struct fetched f = {0, 0};

    for (int64_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
        struct place p = place_of<WIDTH>(a, tile);
        struct tap k = {0, 0, 0, 0, 0};

        tap_move(a, k, 8 * piece);
        for (int i = 0; i < steps_of(a); i++) {
            int s = stage_take<WIDTH>(r, f);

            pixels_fetch(a, p, k, tile_at(r.pixels(s), row, piece), row);
            weights_fetch<WIDTH>(a, p, k, tile_at(r.weights(s), row, piece), row);
            copies_commit();
            f.steps++;
            steps_hand_over<WIDTH, kind<WIDTH>::LAG>(r, f);
            tap_move(a, k, DEPTH);
        }
    }
    steps_hand_over<WIDTH, 0>(r, f);
}

/* ---- multiplying --------------------------------------------------------------- */

/* d = a b^T (+ d when `more`), 16 of the depth. */
#define PRODUCT(width, sums, a_at, b_at, more_at)                               \
    static __device__ __forceinline__ void product(float(&d)[sums], uint64_t a, \
                                                   uint64_t b, int more)        \
    {                                                                           \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " more_at ", 0;\n"       \
                     "wgmma.mma_async.sync.aligned.m64n" width                  \
                     "k16.f32.bf16.bf16 " REGS_##sums ", " a_at ", " b_at       \
                                                      ", p, 1, 1, 0, 0;\n}"     \
                     : OPS_##sums("+f", d)                                      \
                     : "l"(a), "l"(b), "r"(more));                              \
    }
PRODUCT("192", 96, "%96", "%97", "%98")
PRODUCT("96", 48, "%48", "%49", "%50")
PRODUCT("8", 4, "%4", "%5", "%6")
#undef PRODUCT

template <int WIDTH>
static __device__ void multiply_all(const struct conv_view &a,
                                    const struct room<WIDTH> &r, int group)
{
    typedef struct kind<WIDTH> k;
    float d[HALVES][WIDTH / 2];
    int64_t step = 0;

    for (int64_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
        for (int i = 0; i < steps_of(a); i++, step++) {
            int s = (int)(step % k::STAGES);
            uint32_t rows = r.pixels(s) + group * HALVES * 64 * 128;

            barrier_wait(r.full + 8 * s, (int)(step / k::STAGES) & 1);
            products_begin();
#pragma unroll
            for (int j = 0; j < DEPTH / 16; j++) {
#pragma unroll
                for (int m = 0; m < HALVES; m++)
                    product(d[m], matrix_at(rows + m * 64 * 128 + 32 * j, 16),
                            matrix_at(r.weights(s) + 32 * j, 16), i + j);
            }
            products_commit();
            products_wait<1>();
            if (i > 0)
                warp_arrive(r.empty + 8 * (int)((step - 1) % k::STAGES));
        }
        products_wait<0>();
        warp_arrive(r.empty + 8 * (int)((step - 1) % k::STAGES));
        tile_store<WIDTH>(a, place_of<WIDTH>(a, tile), group, d);
    }
}

template <int WIDTH>
static __global__ void __launch_bounds__(THREADS, 1)
    conv_hopper_kernel(const __grid_constant__ struct conv_view a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ char memory[];
    typedef struct kind<WIDTH> k;
    struct room<WIDTH> r(memory);
    int group = threadIdx.x / GROUP;

    if (threadIdx.x == 0) {
        for (int s = 0; s < k::STAGES; s++) {
            barrier_init(r.full + 8 * s, GROUP);
            barrier_init(r.empty + 8 * s, RELEASES);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (group == WORKERS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        fetch_all<WIDTH>(a, r);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        multiply_all<WIDTH>(a, r, group);
    }
#endif
}

/* ---- launching ----------------------------------------------------------------- */

extern "C" bool conv_hopper_fits(const struct op_conv *a)
{
    return conv_tiles_fit(a, DT_BF16, 8);
}

template <int WIDTH>
static cudaError_t width_launch(struct conv_view *v, int units, cudaStream_t stream)
{
    return tiles_launch<WIDTH>(conv_hopper_kernel<WIDTH>, THREADS, kind<WIDTH>::SHARED,
                               v, units, stream);
}

extern "C" cudaError_t conv_hopper_launch(const struct op_conv *a, int units,
                                          cudaStream_t stream)
{
    struct conv_view v = conv_view_of(a);

    if (v.outputs <= 8)
        return width_launch<8>(&v, units, stream);
    if (v.outputs % 192 == 0)
        return width_launch<192>(&v, units, stream);
    return width_launch<96>(&v, units, stream);
}
