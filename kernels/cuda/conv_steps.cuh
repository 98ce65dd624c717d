/* conv_steps.cuh - convolution by warps that fetch between products
 *
 * An implicit product: rows are the pixels of a tile (conv.cuh), columns outputs, and
 * the depth is every tap of the kernel with its channels, 64 bytes of them at a time. A
 * block goes on from tile to tile; eight warps multiply, and ask between products for
 * what the step after needs.
 *
 *     picture   64 bytes of channels of the pixels that a tile reads, 80 bytes apart
 *               (so that 8 neighbours lie in different banks)
 *     weights   64 bytes of channels of some taps, as rows with a gap
 *
 * Where the kernel has 3 x 3 neighbours (NEAR), a picture is 18 x 18 pixels of a frame,
 * fetched once for nine taps (10 x 10 of a picture that is read DOUBLED), and operands
 * are loaded from it, shifted by the tap; a step is three taps in a row. Else (APART)
 * every tap is a step and a picture of its own, and pads and strides are read through
 * the copies.
 */
#ifndef KERNELS_CUDA_CONV_STEPS_CUH
#define KERNELS_CUDA_CONV_STEPS_CUH

#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/shared.cuh"

enum {
    PIECES = 4, /* of 16 bytes that the channels of a picture are */
    PITCH = PIECES * 16 + 16,
    WARPS = 8,
    THREADS = WARPS * WARP
};

enum window { APART, NEAR, DOUBLED };

/* TAPS: of a step. STEPS: of a picture. LAG: steps on their way. ACROSS: warps beside
 * each other over outputs, each with SPAN of them; ROWS: of 16 pixels that a warp has.
 */
template <typename T, int WIDTH, int WINDOW>
struct kind {
    enum {
        EACH = 16 / sizeof(T), /* channels of a piece */
        CHANNELS = PIECES * EACH,
        TAPS = WINDOW == APART ? 1 : 3,
        STEPS = WINDOW == APART ? 1 : 3,
        LAG = WINDOW == APART ? 2 : 1,
        STAGES = LAG + 1,
        WIDE = WINDOW == APART  ? SIDE
               : WINDOW == NEAR ? SIDE + 2
                                : SIDE / 2 + 2,
        PICTURE_PIECES = WIDE * WIDE * PIECES,
        PICTURE_BYTES = WIDE * WIDE * PITCH,
        WEIGHT_PITCH = TAPS * PIECES * 16 + 16,
        WEIGHT_BYTES = WIDTH * WEIGHT_PITCH,
        SHARED = STAGES * (PICTURE_BYTES + WEIGHT_BYTES),
        ACROSS = WIDTH > 8 ? 2 : 1,
        SPAN = WIDTH / ACROSS,
        ROWS = SIDE * ACROSS / WARPS
    };
};

/* ---- steps --------------------------------------------------------------------- */

/* A step of a tile: `group` is a frame of the kernel (APART: a tap), `chunk` some of
 * the channels, `line` a row of taps. */
struct cursor {
    int64_t tile;
    struct place p;
    int group, chunk, line;
};

template <int WIDTH>
static __device__ __forceinline__ void cursor_place(const struct conv_view &a,
                                                    struct cursor &c)
{
    c.group = c.chunk = c.line = 0;
    if (c.tile < a.tiles)
        c.p = place_of<WIDTH>(a, c.tile);
}

template <int WINDOW>
static __device__ __forceinline__ int groups_of(const struct conv_view &a)
{
    return WINDOW == APART ? a.kernel[0] * a.kernel[1] * a.kernel[2] : a.kernel[0];
}

/* On to the next picture. */
template <typename T, int WIDTH, int WINDOW>
static __device__ __forceinline__ void picture_next(const struct conv_view &a,
                                                    struct cursor &c)
{
    c.line = 0;
    if (++c.chunk * kind<T, WIDTH, WINDOW>::CHANNELS < a.channels)
        return;
    c.chunk = 0;
    if (++c.group < groups_of<WINDOW>(a))
        return;
    c.tile += gridDim.x;
    cursor_place<WIDTH>(a, c);
}

/* ---- fetching ------------------------------------------------------------------ */

/* The first pixel of a picture, before doubling, and how far on the next ones are. */
struct corner {
    int t, h, w, down, across;
};

template <int WINDOW>
static __device__ __forceinline__ struct corner corner_of(const struct conv_view &a,
                                                          const struct cursor &c)
{
    int taps = a.kernel[1] * a.kernel[2];
    struct corner at = {c.p.t * a.stride[0] - a.pad[0] + c.group, c.p.h - a.pad[1],
                        c.p.w - a.pad[2], 1, 1};

    if (WINDOW == APART) {
        int tap = c.group % taps;

        at.t = c.p.t * a.stride[0] - a.pad[0] + c.group / taps;
        at.h = c.p.h * a.stride[1] - a.pad[1] + tap / a.kernel[2];
        at.w = c.p.w * a.stride[2] - a.pad[2] + tap % a.kernel[2];
        at.down = a.stride[1];
        at.across = a.stride[2];
    } else if (WINDOW == DOUBLED) {
        at.h >>= 1;
        at.w >>= 1;
    }
    return at;
}

/* Pieces [from, to) of a picture. */
template <typename T, int WIDTH, int WINDOW>
static __device__ __forceinline__ void picture_fetch(const struct conv_view &a,
                                                     const struct cursor &c,
                                                     uint32_t picture, int from, int to)
{
    typedef struct kind<T, WIDTH, WINDOW> k;
    struct corner at = corner_of<WINDOW>(a, c);
    int up = WINDOW == APART ? a.up : 0;
    int piece = threadIdx.x % PIECES, channel = c.chunk * k::CHANNELS + piece * k::EACH;
    int rows = (int)a.x.shape[1], columns = (int)a.x.shape[2];
    bool there = at.t >= 0 && at.t < a.in[0] && channel < a.channels;
    const T *x = (const T *)a.x.data;
    const T *begin = x + (there ? at.t * a.x.stride[0] + channel : 0);

    for (int i = from + threadIdx.x; i < to; i += THREADS) {
        int cell = i / PIECES;
        int h = (at.h + cell / k::WIDE * at.down) >> up;
        int w = (at.w + cell % k::WIDE * at.across) >> up;
        bool inside = there && h >= 0 && h < rows && w >= 0 && w < columns;

        copy16(picture + cell * PITCH + piece * 16,
               inside ? begin + (int64_t)h * (int)a.x.stride[1] +
                            (int64_t)w * (int)a.x.stride[2]
                      : x,
               inside);
    }
}

/* The weights of a step. */
template <typename T, int WIDTH, int WINDOW>
static __device__ __forceinline__ void weights_fetch(const struct conv_view &a,
                                                     const struct cursor &c,
                                                     uint32_t weights)
{
    typedef struct kind<T, WIDTH, WINDOW> k;
    enum { OF_ROW = k::TAPS * PIECES };
    int tap = WINDOW == APART ? c.group : (c.group * 3 + c.line) * 3;
    const T *weight = (const T *)a.weight;
    const T *from = weight + c.p.o * a.depth + tap * a.channels;

    for (int i = threadIdx.x; i < WIDTH * OF_ROW; i += THREADS) {
        int row = i / OF_ROW, piece = i % OF_ROW;
        int channel = c.chunk * k::CHANNELS + piece % PIECES * k::EACH;
        bool inside = c.p.o + row < a.outputs && channel < a.channels;

        copy16(weights + row * k::WEIGHT_PITCH + piece * 16,
               inside ? from + row * a.depth + piece / PIECES * a.channels + channel
                      : weight,
               inside);
    }
}

/* What is asked for next: the step at w into place n of the rings, the picture at x,
 * which is one ahead of the step's where pictures serve several. */
struct ahead {
    struct cursor w, x;
    int stage, picture;
};

template <typename T, int WIDTH, int WINDOW>
static __device__ __forceinline__ void step_ask(const struct conv_view &a,
                                                uint32_t memory, struct ahead &n)
{
    typedef struct kind<T, WIDTH, WINDOW> k;
    enum { HALF = k::PICTURE_PIECES / 2 };
    uint32_t weights = memory + k::STAGES * k::PICTURE_BYTES +
                       n.stage * k::WEIGHT_BYTES;
    uint32_t picture = memory + n.picture * k::PICTURE_BYTES;
    int line = n.w.line;

    if (n.w.tile < a.tiles)
        weights_fetch<T, WIDTH, WINDOW>(a, n.w, weights);
    n.stage = n.stage + 1 < k::STAGES ? n.stage + 1 : 0;
    if (++n.w.line == k::STEPS)
        picture_next<T, WIDTH, WINDOW>(a, n.w);
    if (WINDOW != APART && line == 0)
        return copies_commit();
    if (n.x.tile < a.tiles)
        picture_fetch<T, WIDTH, WINDOW>(a, n.x, picture, line == 2 ? HALF : 0,
                                        line == 1 ? HALF : k::PICTURE_PIECES);
    copies_commit();
    if (line == 1)
        return;
    n.picture = n.picture + 1 < k::STAGES ? n.picture + 1 : 0;
    picture_next<T, WIDTH, WINDOW>(a, n.x);
}

/* Everything before the first product. */
template <typename T, int WIDTH, int WINDOW>
static __device__ __forceinline__ void ahead_begin(const struct conv_view &a,
                                                   uint32_t memory, struct ahead &n)
{
    typedef struct kind<T, WIDTH, WINDOW> k;

    n.w.tile = blockIdx.x;
    cursor_place<WIDTH>(a, n.w);
    n.x = n.w;
    n.stage = n.picture = 0;
    if (WINDOW != APART) {
        picture_fetch<T, WIDTH, WINDOW>(a, n.x, memory, 0, k::PICTURE_PIECES);
        picture_next<T, WIDTH, WINDOW>(a, n.x);
        n.picture = 1;
    }
    for (int i = 0; i < k::LAG; i++)
        step_ask<T, WIDTH, WINDOW>(a, memory, n);
}

/* ---- reading ------------------------------------------------------------------- */

/* Where pixel w of a row lies in a picture, and `offset` bytes on: down[row] +
 * across[tap of a line]. AFTER: bytes from there to pixel w + 8. */
template <typename T, int WIDTH, int WINDOW>
struct lookup {
    typedef struct kind<T, WIDTH, WINDOW> k;
    enum { AFTER = (WINDOW == DOUBLED ? 4 : 8) * PITCH };
    uint32_t down[WINDOW == DOUBLED ? k::ROWS : 1], across[WINDOW == DOUBLED ? 3 : 1];

    __device__ __forceinline__ lookup(const struct conv_view &a, int w, int offset)
    {
        if constexpr (WINDOW == DOUBLED) {
            for (int x = 0; x < 3; x++)
                across[x] = (uint32_t)((((w + x - a.pad[2]) >> 1) -
                                        ((-a.pad[2]) >> 1)) *
                                           PITCH +
                                       offset);
        } else {
            across[0] = (uint32_t)(w * PITCH + offset);
        }
    }
    /* For row `line` of taps. */
    __device__ __forceinline__ void line_begin(const struct conv_view &a,
                                               uint32_t picture, int line)
    {
        int h = threadIdx.x / WARP / k::ACROSS * k::ROWS + line;

        if constexpr (WINDOW == DOUBLED) {
            for (int m = 0; m < k::ROWS; m++)
                down[m] = picture +
                          (uint32_t)((((h + m - a.pad[1]) >> 1) - ((-a.pad[1]) >> 1)) *
                                     k::WIDE * PITCH);
        } else {
            down[0] = picture + (uint32_t)(h * k::WIDE * PITCH);
        }
    }
    __device__ __forceinline__ uint32_t at(int m, int tap) const
    {
        if constexpr (WINDOW == DOUBLED)
            return down[m] + across[tap];
        else
            return down[0] + across[0] + (m * k::WIDE + tap) * PITCH;
    }
};

#endif
