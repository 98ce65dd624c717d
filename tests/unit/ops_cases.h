/* ops_cases.h - making tensors, running ops on several backends, comparing
 *
 * A body is run once for each backend that is built, always through the checking
 * backend, and compares it with the plain reference:
 *
 *     static void norm_body(struct ops *ref, struct ops *test) { … }
 *     static void norm_cases(void **state) { (void)state; each_backend(norm_body); }
 *
 * Tensors come from a pool that is emptied after each body. Random values are standard
 * normals, a function of the order of calls only.
 */
#ifndef TESTS_UNIT_OPS_CASES_H
#define TESTS_UNIT_OPS_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/ops.h"
#include "kernels/tensor.h"

void each_backend(void (*body)(struct ops *ref, struct ops *test));

/* A backend on its own, for laws and error texts; closed by the caller. */
struct ops *backend_open(const char *name);
void pool_clear(void);

/* ---- tensors --------------------------------------------------------------------- */

#define SHAPE(...)  \
    (int64_t[])     \
    {               \
        __VA_ARGS__ \
    }

/* Zeroed memory of this layout; 8-bit [rows, cols] get SCALE_ROW scales. */
struct tensor make(enum dtype dt, int rank, const int64_t *shape);
struct tensor make2(enum dtype dt, int64_t rows, int64_t cols);

/* [rows, cols] whose rows are `stride` elements apart. */
struct tensor make_wide(enum dtype dt, int64_t rows, int64_t cols, int64_t stride);

/* Give the tensor scales: one per row and slice, or per group. */
void scales_rows(struct tensor *t);
void scales_groups(struct tensor *t, int64_t rows, int64_t cols);

/* Fill with `gain` times normals; codes get normals quantised with random scales. */
void fill(const struct tensor *t, float gain);
struct tensor randoms(enum dtype dt, int rank, const int64_t *shape);
struct tensor randoms2(enum dtype dt, int64_t rows, int64_t cols);
float *random_floats(int64_t n);

/* The same layout and values in other memory, scales included. */
struct tensor twin(const struct tensor *t);

/* ---- running --------------------------------------------------------------------- */

/* Run one op on a queue with a workspace of exactly the planned size; fails the test
 * with the error's text. */
void run_linear(struct ops *o, const struct op_linear *a);
void run_conv(struct ops *o, const struct op_conv *a);
void run_norm(struct ops *o, const struct op_norm *a);
void run_residual(struct ops *o, const struct op_residual *a);
void run_act(struct ops *o, const struct op_act *a);
void run_key_sum(struct ops *o, const struct op_key_sum *a);
void run_heads(struct ops *o, const struct op_heads *a);
void run_values(struct ops *o, const struct op_values *a);
void run_attention(struct ops *o, const struct op_attention *a);
void run_gather(struct ops *o, const struct op_gather *a);
void run_attn_merge(struct ops *o, const struct op_attn_merge *a);
void run_convert(struct ops *o, const struct op_convert *a);
void run_rows(struct ops *o, const struct op_rows *a);
void run_sinusoid(struct ops *o, const struct op_sinusoid *a);
void run_unpatch(struct ops *o, const struct op_unpatch *a);
void run_combine(struct ops *o, const struct op_combine *a);
void run_pixels(struct ops *o, const struct op_pixels *a);
void run_normal(struct ops *o, const struct op_normal *a);
void run_quantise(struct ops *o, const struct op_quantise *a);

/* ---- comparing ------------------------------------------------------------------- */

/* Value of element i in row-major order; scales applied. */
double value_of(const struct tensor *t, int64_t i);

/* ||a - b|| / ||b|| over values; and sum |a - b| / sum |b|. */
double relative_l2(const struct tensor *a, const struct tensor *b);
double relative_l1(const struct tensor *a, const struct tensor *b);

/* Floats: relative L2 within the tolerance of their type. Codes: same bytes. */
void expect_close(const struct tensor *a, const struct tensor *b, const char *what);

/* Data and scales are equal bit for bit. */
void expect_same(const struct tensor *a, const struct tensor *b, const char *what);

#endif
