/* blas.c - the only file that sees OpenBLAS */
#include "kernels/cpu/blas.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

void blas_threads(int n)
{
    openblas_set_num_threads(n);
}

void blas_name(char *out, size_t bytes)
{
    const char *config = openblas_get_config(); /* name, version, options … */
    size_t name = strcspn(config, " ");
    size_t version = config[name] ? strcspn(config + name + 1, " ") + 1 : 0;

    snprintf(out, bytes, "%.*s %s", (int)(name + version), config,
             openblas_get_corename());
}

void blas_nt(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
             const float *b, int64_t b_stride, bool add, float *c, int64_t c_stride)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n,
                (blasint)k, 1.0f, a, (blasint)a_stride, b, (blasint)b_stride,
                add ? 1.0f : 0.0f, c, (blasint)c_stride);
}

void blas_nn(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride,
             const float *b, int64_t b_stride, bool add, float *c, int64_t c_stride)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n,
                (blasint)k, 1.0f, a, (blasint)a_stride, b, (blasint)b_stride,
                add ? 1.0f : 0.0f, c, (blasint)c_stride);
}
