/* hopper.cuh - Hopper's matrix unit and barriers: one function per instruction
 *
 * A warpgroup (4 warps) multiplies a 64-row A by a 128-column B. Operands in shared
 * memory are tiles of rows of 128 bytes whose 16-byte pieces lie at place
 * piece ^ (row mod 8); a tile begins at a multiple of 1024 bytes. Thread t of warp w
 * holds, of the 64 x 128 result, d[4 j + e] = (row 16 w + t / 4 + 8 (e / 2), column
 * 8 j + 2 (t mod 4) + e mod 2).
 */
#ifndef KERNELS_CUDA_HOPPER_CUH
#define KERNELS_CUDA_HOPPER_CUH

#include <cuda.h>
#include <stdint.h>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/shared.cuh"

enum { GROUP = 128 }; /* threads of a warpgroup */

/* ---- addresses ----------------------------------------------------------------- */

/* Where 16-byte piece `piece` of row `row` of a tile lies. */
static __device__ __forceinline__ uint32_t tile_at(uint32_t tile, int row, int piece)
{
    return tile + (uint32_t)row * 128u + (uint32_t)((piece ^ (row & 7)) * 16);
}

/* The matrix at `at`: groups of 8 rows 1024 bytes apart. `leap`: bytes between tiles of
 * 64 columns, for a B that lies with its columns along the rows of the tile. */
static __device__ __forceinline__ uint64_t matrix_at(uint32_t at, uint32_t leap)
{
    return (uint64_t)((at & 0x3ffffu) >> 4) | (uint64_t)(leap >> 4) << 16 |
           (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* ---- copies and barriers ------------------------------------------------------- */

/* What this thread wrote to shared memory is seen by the matrix unit. */
static __device__ __forceinline__ void shared_publish(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* `bar` gets an arrival once all that this thread has asked for so far is there. */
static __device__ __forceinline__ void copies_arrive(uint32_t bar)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(bar)
                 : "memory");
}

/* Boxes of a tensor map, by one thread; `bar` counts their bytes. */
static __device__ __forceinline__ void box3_copy(uint32_t to, const CUtensorMap *map,
                                                 int a, int b, int c, uint32_t bar)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global"
        ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(to),
        "l"(map), "r"(a), "r"(b), "r"(c), "r"(bar)
        : "memory");
}

static __device__ __forceinline__ void box4_copy(uint32_t to, const CUtensorMap *map,
                                                 int a, int b, int c, int d,
                                                 uint32_t bar)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global"
        ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
        "l"(map), "r"(a), "r"(b), "r"(c), "r"(d), "r"(bar)
        : "memory");
}

/* Arrive, and expect bytes of boxes. */
static __device__ __forceinline__ void barrier_expect(uint32_t at, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at),
                 "r"(bytes)
                 : "memory");
}

static __device__ __forceinline__ bool barrier_passed(uint32_t at, int parity)
{
    int done;

    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n"
                 "selp.b32 %0, 1, 0, done;\n"
                 "}"
                 : "=r"(done)
                 : "r"(at), "r"(parity)
                 : "memory");
    return done;
}

/* Two warpgroups take turns: one waits for its turn `id`, the other passes it. */
static __device__ __forceinline__ void turn_wait(int id)
{
    asm volatile("bar.sync %0, 256;" ::"r"(id) : "memory");
}

static __device__ __forceinline__ void turn_pass(int id)
{
    asm volatile("bar.arrive %0, 256;" ::"r"(id) : "memory");
}

/* Wait for the other threads of a warpgroup; id 1 to 15. */
static __device__ __forceinline__ void group_wait(int id)
{
    asm volatile("bar.sync %0, 128;" ::"r"(id) : "memory");
}

/* A warpgroup's registers per thread; all warpgroups of a block have theirs changed. */
template <int N>
static __device__ __forceinline__ void registers_give(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N>
static __device__ __forceinline__ void registers_take(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

/* ---- products ------------------------------------------------------------------ */

static __device__ __forceinline__ void products_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void products_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All but the last LEFT commits are done. */
template <int LEFT>
static __device__ __forceinline__ void products_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

#define REGS_64                                                                        \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "     \
    "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, " \
    "%33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, " \
    "%49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define REGS_68                                                                        \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "     \
    "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, " \
    "%33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, " \
    "%49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, " \
    "%65, %66, %67}"
#define OPS_8(c, d, i)                                                        \
    c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), \
        c(d[i + 6]), c(d[i + 7])
#define OPS_64(c, d)                                                                   \
    OPS_8(c, d, 0), OPS_8(c, d, 8), OPS_8(c, d, 16), OPS_8(c, d, 24), OPS_8(c, d, 32), \
        OPS_8(c, d, 40), OPS_8(c, d, 48), OPS_8(c, d, 56)
#define OPS_68(c, d) OPS_64(c, d), c(d[64]), c(d[65]), c(d[66]), c(d[67])

/* d = a b^T (+ d when `more`), 32 bytes of each row; a and b in shared memory. */
static __device__ __forceinline__ void product_i8(int (&d)[64], uint64_t a, uint64_t b,
                                                  int more)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 " REGS_64
                 ", %64, %65, p;\n}"
                 : OPS_64("+r", d)
                 : "l"(a), "l"(b), "r"(more));
}

/* d = a b^T. d is not read, and the compiler knows: its registers can serve other ends
 * before. */
static __device__ __forceinline__ void product_i8_first(int (&d)[64], uint64_t a,
                                                        uint64_t b)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 " REGS_64
                 ", %64, %65, p;\n}"
                 : OPS_64("=r", d)
                 : "l"(a), "l"(b));
}

static __device__ __forceinline__ void product_bf16(float (&d)[64], uint64_t a,
                                                    uint64_t b, int more)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " REGS_64
                 ", %64, %65, p, 1, 1, 0, 0;\n}"
                 : OPS_64("+f", d)
                 : "l"(a), "l"(b), "r"(more));
}

/* The same with a in registers: 32 codes, or 16 bf16 values, of the thread's rows. */
static __device__ __forceinline__ void product_e4m3(float (&d)[64],
                                                    const uint32_t (&a)[4], uint64_t b,
                                                    int more)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 " REGS_64
                 ", {%64, %65, %66, %67}, %68, p, 1, 1;\n}"
                 : OPS_64("+f", d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(more));
}

/* The same with 136 columns: the last 8 are d[64..67]. */
static __device__ __forceinline__ void product_e4m3_136(float (&d)[68],
                                                        const uint32_t (&a)[4],
                                                        uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n136k32.f32.e4m3.e4m3 " REGS_68
                 ", {%68, %69, %70, %71}, %72, 1, 1, 1;"
                 : OPS_68("+f", d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* d = a b^T, as product_i8_first() has it. */
static __device__ __forceinline__ void product_e4m3_136_first(float (&d)[68],
                                                              const uint32_t (&a)[4],
                                                              uint64_t b)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n136k32.f32.e4m3.e4m3 " REGS_68
                 ", {%68, %69, %70, %71}, %72, p, 1, 1;\n}"
                 : OPS_68("=f", d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

static __device__ __forceinline__ void product_bf16_first(float (&d)[64], uint64_t a,
                                                          uint64_t b)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " REGS_64
                 ", %64, %65, p, 1, 1, 0, 0;\n}"
                 : OPS_64("=f", d)
                 : "l"(a), "l"(b));
}

/* b lies with its columns along the rows of its tiles. */
static __device__ __forceinline__ void product_bf16_turned(float (&d)[64],
                                                           const uint32_t (&a)[4],
                                                           uint64_t b, int more)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " REGS_64
                 ", {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
                 : OPS_64("+f", d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(more));
}

#endif
