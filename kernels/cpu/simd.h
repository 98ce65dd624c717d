/* simd.h - how loops get wide: compiler clones per instruction set, and lanes
 *
 * FF_CLONES before a function makes the compiler build it for the newest instruction
 * sets as well and pick one when the program is loaded. All clones give the same bytes:
 * no contraction to fused multiply-add (a flag of the whole build), and sums that are
 * cut into lanes are cut into LANES of them whatever the register width.
 */
#ifndef KERNELS_CPU_SIMD_H
#define KERNELS_CPU_SIMD_H

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define FF_CLONES \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FF_CLONES
#endif

#define FF_INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

#endif
