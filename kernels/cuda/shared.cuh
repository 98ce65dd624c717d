/* shared.cuh - shared memory: addresses in it, copies to it that run by themselves, and
 * barriers that count */
#ifndef KERNELS_CUDA_SHARED_CUH
#define KERNELS_CUDA_SHARED_CUH

#include <stdint.h>

#include "kernels/cuda/device.cuh"

static __device__ __forceinline__ uint32_t shared_at(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes to shared memory; zeros when `there` is false. */
static __device__ __forceinline__ void copy16(uint32_t to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

static __device__ __forceinline__ void copy8(uint32_t to, const void *from, bool there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 8 : 0)
                 : "memory");
}

static __device__ __forceinline__ void copy4(uint32_t to, const void *from, bool there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 4 : 0)
                 : "memory");
}

static __device__ __forceinline__ void copies_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int LEFT>
static __device__ __forceinline__ void copies_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* ---- barriers that count ------------------------------------------------------- */

static __device__ __forceinline__ void barrier_init(uint32_t at, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count)
                 : "memory");
}

static __device__ __forceinline__ void barrier_arrive(uint32_t at)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory");
}

/* Arrivals of a warp by warp_arrive(). compute-sanitizer's race checker sees an order
 * between a barrier and the lane that arrives, not between it and the others behind
 * __syncwarp(): programs for it are built so that all arrive. */
#ifdef FF_LANES_ARRIVE
#define WARP_ARRIVALS WARP
#else
#define WARP_ARRIVALS 1
#endif

/* All lanes of this warp are done with a place. */
static __device__ __forceinline__ void warp_arrive(uint32_t at)
{
    __syncwarp();
    if (threadIdx.x % WARP < WARP_ARRIVALS)
        barrier_arrive(at);
}

/* Until the phase of this parity is over. */
static __device__ __forceinline__ void barrier_wait(uint32_t at, int parity)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define BARRIER_ASK "try_wait" /* waits a while for itself */
#else
#define BARRIER_ASK "test_wait"
#endif
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier." BARRIER_ASK ".parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra.uni over;\n"
                 "bra.uni again;\n"
                 "over:\n"
                 "}" ::"r"(at),
                 "r"(parity)
                 : "memory");
#undef BARRIER_ASK
}

#endif
