/* blas.h - one matrix product on one thread, row major
 *
 * Every call runs on the calling thread alone (cpu_open sets OpenBLAS to one thread):
 * the same shape and numbers then give the same bytes, whatever the strides are and
 * whichever thread calls.
 */
#ifndef KERNELS_CPU_BLAS_H
#define KERNELS_CPU_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Threads of each later call, for the whole process; cpu_open sets 1, and only a
 * benchmark that wants OpenBLAS's own threads says anything else. */
void blas_threads(int n);

/* "OpenBLAS 0.3.21 Haswell": the version, and the processor that its kernels are for.
 */
void blas_name(char *out, size_t bytes);

/* c[m,n] = a[m,k] b[n,k]^T, added to c when `add`. Strides count floats per row. */
void blas_nt(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
             const float *b, int64_t b_stride, bool add, float *c, int64_t c_stride);

/* c[m,n] = a[m,k] b[k,n], added to c when `add`. */
void blas_nn(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
             const float *b, int64_t b_stride, bool add, float *c, int64_t c_stride);

#endif
