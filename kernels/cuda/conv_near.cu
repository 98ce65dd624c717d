/* conv_near.cu - convolution of 3 x 3 neighbours on Hopper's matrix unit
 *
 * What conv_hopper.cu does for any kernel, for those that most of the autoencoder's
 * work goes into: 1 or 3 frames by 3 x 3 pixels, whole steps of 32 channels. There
 * every tap fetches its pixels, and the second-level cache bounds it. Here the 18 x 18
 * pixels that a tile reads are fetched once for nine taps (10 x 10 of a picture that is
 * read doubled), and each warp loads its operands from them, shifted by the tap.
 *
 *     picture   32 channels of the pixels of one frame, 80 bytes each (64 and a gap, so
 *               that 8 neighbours lie in different banks)
 *     weights   tiles of 64 of the depth, as rows of 128 bytes; the order of the depth
 *               is frame, 32 channels, tap
 *
 * Both arrive in rings of their own. The order of a value's sum depends on the channels
 * alone.
 */
#include "kernels/cuda/conv_hopper.cuh"

enum {
    CHANNELS = 32,           /* of a picture */
    TAPS = 9,                /* of a frame */
    DEPTH = TAPS * CHANNELS, /* of a picture */
    STEPS = DEPTH / 16,      /* of products */
    PITCH = 80,              /* bytes from pixel to pixel */
    PICTURES = 3,            /* in the ring */
    PICTURE_BYTES = (SIDE + 2) * (SIDE + 2) * PITCH,
    LAG = 4 /* pictures and tiles on their way */
};

template <int WIDTH>
struct kind {
    enum {
        TILES = 8,
        TILE_BYTES = WIDTH * 128,
        SHARED = TILES * (TILE_BYTES + 16) + PICTURES * (PICTURE_BYTES + 16) + 1024
    };
};

/* The block's shared memory, as addresses. */
template <int WIDTH>
struct room {
    uint32_t tiles, pictures;
    uint32_t tile_full, tile_empty, picture_full, picture_empty;

    __device__ room(const char *begin)
    {
        typedef struct kind<WIDTH> k;

        tiles = (shared_at(begin) + 1023u) & ~1023u;
        pictures = tiles + k::TILES * k::TILE_BYTES;
        tile_full = pictures + PICTURES * PICTURE_BYTES;
        tile_empty = tile_full + 8 * k::TILES;
        picture_full = tile_empty + 8 * k::TILES;
        picture_empty = picture_full + 8 * PICTURES;
    }
};

/* Pictures that a tile needs, and tiles of weights. */
static __device__ __forceinline__ int pictures_of(const struct conv_view &a)
{
    return a.depth / DEPTH;
}

/* ---- fetching ------------------------------------------------------------------ */

/* What is on its way, oldest first: the barriers that it is for, 0 for nothing. */
struct flight {
    uint32_t due[LAG];
};

static __device__ __forceinline__ void flight_add(struct flight &f, uint32_t full)
{
    copies_commit();
    copies_wait<LAG>();
    shared_publish();
    if (f.due[0])
        barrier_arrive(f.due[0]);
#pragma unroll
    for (int i = 0; i + 1 < LAG; i++)
        f.due[i] = f.due[i + 1];
    f.due[LAG - 1] = full;
}

static __device__ __forceinline__ void flight_end(struct flight &f)
{
    copies_wait<0>();
    shared_publish();
#pragma unroll
    for (int i = 0; i < LAG; i++) {
        if (f.due[i])
            barrier_arrive(f.due[i]);
        f.due[i] = 0;
    }
}

/* Wait until place n mod `count` of a ring is free. */
static __device__ __forceinline__ void place_take(struct flight &f, uint32_t empty,
                                                  int64_t n, int count)
{
    uint32_t at = empty + 8 * (uint32_t)(n % count);
    int parity = (int)(n / count - 1) & 1;

    if (n >= count && !barrier_passed(at, parity)) {
        flight_end(f);
        barrier_wait(at, parity);
    }
}

/* Picture s of a tile: all pixels that its nine taps read. */
template <bool UP>
static __device__ __forceinline__ void picture_fetch(const struct conv_view &a,
                                                     const struct place &p, int s,
                                                     uint32_t to)
{
    enum { WIDE = UP ? SIDE / 2 + 2 : SIDE + 2, PIECES = 4 };
    int lane = threadIdx.x % GROUP, piece = lane % PIECES;
    int chunks = a.channels / CHANNELS;
    int t = p.t * a.stride[0] - a.pad[0] + s / chunks;
    int h = (p.h - a.pad[1]) >> UP, w = (p.w - a.pad[2]) >> UP;
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)a.x.data;
    const __nv_bfloat16 *from = x + s % chunks * CHANNELS + piece * 8;
    bool there = t >= 0 && t < a.in[0];

    if (there)
        from += t * a.x.stride[0];
#pragma unroll 4
    for (int cell = lane / PIECES; cell < WIDE * WIDE; cell += GROUP / PIECES) {
        int row = h + cell / WIDE, col = w + cell % WIDE;
        bool inside = there && row >= 0 && row < (int)a.x.shape[1] && col >= 0 &&
                      col < (int)a.x.shape[2];

        copy16(to + cell * PITCH + piece * 16,
               inside ? from + row * a.x.stride[1] + col * a.x.stride[2] : x, inside);
    }
}

/* Tile i of the weights of a tile's outputs. */
template <int WIDTH>
static __device__ __forceinline__ void tile_fetch(const struct conv_view &a,
                                                  const struct place &p, int i,
                                                  uint32_t to)
{
    int piece = threadIdx.x % 8, row = threadIdx.x % GROUP / 8;
    int at = 64 * i + 8 * piece, s = at / DEPTH, in = at % DEPTH;
    int chunks = a.channels / CHANNELS;
    int column = (s / chunks * TAPS + in / CHANNELS) * a.channels +
                 s % chunks * CHANNELS + in % CHANNELS;
    const __nv_bfloat16 *from = a.weight + (int64_t)(p.o + row) * a.depth + column;

#pragma unroll
    for (int k = 0; k < (WIDTH + 15) / 16; k++, from += 16 * (int64_t)a.depth) {
        bool inside = at < a.depth && p.o + row + 16 * k < a.outputs;

        if (WIDTH % 16 == 0 || row + 16 * k < WIDTH)
            copy16(tile_at(to, row, piece) + k * 16 * 128, inside ? from : a.weight,
                   inside);
    }
}

/* What has been asked for so far, over all tiles. */
struct asked {
    int64_t pictures, tiles;
};

template <int WIDTH, bool UP>
static __device__ __forceinline__ void picture_ask(const struct conv_view &a,
                                                   const struct room<WIDTH> &r,
                                                   const struct place &p, int s,
                                                   struct asked &n, struct flight &f)
{
    uint32_t at = (uint32_t)(n.pictures % PICTURES);

    place_take(f, r.picture_empty, n.pictures, PICTURES);
    picture_fetch<UP>(a, p, s, r.pictures + at * PICTURE_BYTES);
    flight_add(f, r.picture_full + 8 * at);
    n.pictures++;
}

/* Two pictures ahead of the weights. */
template <int WIDTH, bool UP>
static __device__ void fetch_all(const struct conv_view &a, const struct room<WIDTH> &r)
{
    typedef struct kind<WIDTH> k;
    int pictures = pictures_of(a), tiles = (a.depth + 63) / 64;
    struct flight f = {};
    struct asked n = {0, 0};

    for (int64_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
        struct place p = place_of<WIDTH>(a, tile);
        int next = 0;

        for (int s = 0; s < 2 && s < pictures; s++)
            picture_ask<WIDTH, UP>(a, r, p, s, n, f);
        for (int i = 0; i < tiles; i++) {
            uint32_t at = (uint32_t)(n.tiles % k::TILES);

            place_take(f, r.tile_empty, n.tiles, k::TILES);
            tile_fetch<WIDTH>(a, p, i, r.tiles + at * k::TILE_BYTES);
            flight_add(f, r.tile_full + 8 * at);
            n.tiles++;
            if (64 * (i + 1) < DEPTH * (next + 1))
                continue;
            next++;
            if (next + 1 < pictures)
                picture_ask<WIDTH, UP>(a, r, p, next + 1, n, f);
        }
    }
    flight_end(f);
}

/* ---- multiplying --------------------------------------------------------------- */

/* d = a b^T (+ d when `more`), 16 of the depth; a in registers. */
#define PRODUCT(width, sums, a_at, b_at, more_at)                                      \
    static __device__ __forceinline__ void product(                                    \
        float(&d)[sums], const uint32_t(&a)[4], uint64_t b, int more)                  \
    {                                                                                  \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " more_at ", 0;\n"              \
                     "wgmma.mma_async.sync.aligned.m64n" width                         \
                     "k16.f32.bf16.bf16 " REGS_##sums ", {" a_at "}, " b_at            \
                                                      ", p, 1, 1, 0;\n}"               \
                     : OPS_##sums("+f", d)                                             \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(more)); \
    }
PRODUCT("96", 48, "%48, %49, %50, %51", "%52", "%53")
PRODUCT("8", 4, "%4, %5, %6, %7", "%8", "%9")
#undef PRODUCT

static __device__ __forceinline__ void operand_load(uint32_t (&a)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(at)
                 : "memory");
}

/* Where a lane's pixel lies in a picture, for a tap: down[m][y] + across[x]. A lane
 * gives the address of 8 channels of one of its warp's 16 pixels, which are a row. */
template <bool UP>
struct lookup {
    uint32_t down[UP ? HALVES : 1][UP ? 3 : 1], across[UP ? 3 : 1];

    __device__ lookup(const struct conv_view &a, int group)
    {
        enum { WIDE = UP ? SIDE / 2 + 2 : SIDE + 2 };
        int warp = threadIdx.x % GROUP / WARP, lane = threadIdx.x % WARP;
        int w = lane % 16, h = group * HALVES * 4 + warp;

        if constexpr (UP) {
            for (int y = 0; y < 3; y++) {
                across[y] = (uint32_t)((((w + y - a.pad[2]) >> 1) -
                                        ((-a.pad[2]) >> 1)) *
                                           PITCH +
                                       lane / 16 * 16);
                for (int m = 0; m < HALVES; m++)
                    down[m][y] = (uint32_t)((((h + 4 * m + y - a.pad[1]) >> 1) -
                                             ((-a.pad[1]) >> 1)) *
                                            WIDE * PITCH);
            }
        } else {
            down[0][0] = (uint32_t)(h * WIDE * PITCH);
            across[0] = (uint32_t)(w * PITCH + lane / 16 * 16);
        }
    }
    /* of step j of a picture: tap j / 2, channels 16 (j mod 2) and on */
    __device__ __forceinline__ uint32_t at(int m, int j) const
    {
        int y = j / 2 / 3, x = j / 2 % 3;

        if constexpr (UP)
            return down[m][y] + across[x] + j % 2 * 32;
        else
            return down[0][0] + across[0] + ((4 * m + y) * (SIDE + 2) + x) * PITCH +
                   j % 2 * 32;
    }
};

static __device__ __forceinline__ void place_free(uint32_t empty, int64_t n, int count)
{
    warp_arrive(empty + 8 * (uint32_t)(n % count));
}

template <int WIDTH, bool UP>
static __device__ void multiply_all(const struct conv_view &a,
                                    const struct room<WIDTH> &r, int group)
{
    typedef struct kind<WIDTH> k;
    const struct lookup<UP> look(a, group);
    int pictures = pictures_of(a), tiles = (a.depth + 63) / 64;
    float d[HALVES][WIDTH / 2];
    struct asked n = {0, 0};

    for (int64_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
        int step = 0;

        for (int s = 0; s < pictures; s++, n.pictures++) {
            uint32_t at = (uint32_t)(n.pictures % PICTURES);
            uint32_t picture = r.pictures + at * PICTURE_BYTES;
            uint32_t x[2][HALVES][4];

            barrier_wait(r.picture_full + 8 * at, (int)(n.pictures / PICTURES) & 1);
#pragma unroll
            for (int m = 0; m < HALVES; m++)
                operand_load(x[0][m], picture + look.at(m, 0));
#pragma unroll
            for (int j = 0; j < STEPS; j++, step++) {
                int64_t t = n.tiles + step / 4;
                uint32_t place = (uint32_t)(t % k::TILES);
                uint32_t w = r.tiles + place * k::TILE_BYTES + step % 4 * 32;

                if (step % 4 == 0)
                    barrier_wait(r.tile_full + 8 * place, (int)(t / k::TILES) & 1);
                products_begin();
#pragma unroll
                for (int m = 0; m < HALVES; m++)
                    product(d[m], x[j % 2][m], matrix_at(w, 16), step);
                products_commit();
                products_wait<1>();
                if (step % 4 == 0 && step > 0)
                    place_free(r.tile_empty, t - 1, k::TILES);
                if (j == 0 && s > 0)
                    place_free(r.picture_empty, n.pictures - 1, PICTURES);
#pragma unroll
                for (int m = 0; m < HALVES && j + 1 < STEPS; m++)
                    operand_load(x[(j + 1) % 2][m], picture + look.at(m, j + 1));
            }
        }
        products_wait<0>();
        n.tiles += tiles;
        place_free(r.tile_empty, n.tiles - 1, k::TILES);
        place_free(r.picture_empty, n.pictures - 1, PICTURES);
        tile_store<WIDTH>(a, place_of<WIDTH>(a, tile), group, d);
    }
}

template <int WIDTH, bool UP>
static __global__ void __launch_bounds__(THREADS, 1)
    conv_near_kernel(const __grid_constant__ struct conv_view a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ char memory[];
    struct room<WIDTH> r(memory);
    int group = threadIdx.x / GROUP;

    if (threadIdx.x == 0) {
        for (int i = 0; i < kind<WIDTH>::TILES; i++) {
            barrier_init(r.tile_full + 8 * i, GROUP);
            barrier_init(r.tile_empty + 8 * i, RELEASES);
        }
        for (int i = 0; i < PICTURES; i++) {
            barrier_init(r.picture_full + 8 * i, GROUP);
            barrier_init(r.picture_empty + 8 * i, RELEASES);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (group == WORKERS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        fetch_all<WIDTH, UP>(a, r);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        multiply_all<WIDTH, UP>(a, r, group);
    }
#endif
}

/* ---- launching ----------------------------------------------------------------- */

extern "C" bool conv_near_fits(const struct op_conv *a)
{
    const int64_t *k = a->weight->shape;

    return k[2] == 3 && k[3] == 3 && k[4] % CHANNELS == 0 && a->stride[1] == 1 &&
           a->stride[2] == 1 && (k[0] <= 8 || k[0] % 96 == 0);
}

template <int WIDTH>
static cudaError_t width_launch(struct conv_view *v, int units, cudaStream_t stream)
{
    return tiles_launch<WIDTH>(v->up ? conv_near_kernel<WIDTH, true>
                                     : conv_near_kernel<WIDTH, false>,
                               THREADS, kind<WIDTH>::SHARED, v, units, stream);
}

extern "C" cudaError_t conv_near_launch(const struct op_conv *a, int units,
                                        cudaStream_t stream)
{
    struct conv_view v = conv_view_of(a);

    if (v.outputs <= 8)
        return width_launch<8>(&v, units, stream);
    return width_launch<96>(&v, units, stream);
}
