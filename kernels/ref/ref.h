/* ref.h - what the files of the reference backend share
 *
 * The oracle that faster backends are compared with: plain loops, one thread, nothing
 * clever. The arithmetic that 8-bit codes depend on is fixed here, so that any backend
 * can repeat it bit for bit:
 *
 * - sums (products, means, squares, softmax) are made in double;
 * - a row's statistics become floats once: mean, and 1 / sqrt(var + eps);
 * - everything after that is fp32, one rounded operation after another in the order in
 *   which ops.h writes the formula, without fused multiply-add;
 * - an activation is computed in double and rounded once.
 *
 * Work on a queue is done before the call returns.
 */
#ifndef KERNELS_REF_REF_H
#define KERNELS_REF_REF_H

#include "kernels/host.h"

#define REF_PROTO(op)                                                          \
    enum status op##_ref(void *self, struct queue *q, const struct op_##op *a, \
                         struct err *e);
OPS_LIST(REF_PROTO)
#undef REF_PROTO

size_t linear_workspace_ref(const void *self, const struct op_linear *a);
size_t conv_workspace_ref(const void *self, const struct op_conv *a);
size_t attention_workspace_ref(const void *self, const struct op_attention *a);

/* ---- elements -------------------------------------------------------------------- */

/* Address of element `at` of the tensor's storage. */
void *ref_at(const struct tensor *t, int64_t at);

/* The stored value as a float; codes without their scale. */
float ref_load(const struct tensor *t, int64_t at);

/* Store into a float type (f32, bf16, f16, f64), rounding to nearest even. */
void ref_store(const struct tensor *t, int64_t at, float v);

/* sum a[i] * b[i] in double */
double ref_dot(const float *a, const float *b, int64_t n);

/* True for types whose values are codes times a scale. */
static inline bool is_code(enum dtype dt)
{
    return dt == DT_E4M3 || dt == DT_E5M2 || dt == DT_I8;
}

/* ---- rows ------------------------------------------------------------------------ */

/* Value (row, col) of a matrix: scales and everything pending applied, in the order
 * row scale, column scale, bias. */
float ref_value(const struct tensor *t, int64_t row, int64_t col);

/* Computes value (row, col) of what is to be written. */
typedef float value_fn(const void *ctx, int64_t row, int64_t col);

/* Write row `row` of `out` [rows, cols]: a float tensor, or codes and their scale.
 * For codes `fn` is asked twice for each value. */
void ref_emit(const struct tensor *out, int64_t row, value_fn *fn, const void *ctx);

/* The frame of a row of a shard: 0 when the table has one row. */
int64_t ref_frame(const struct tensor *table, int64_t row, int64_t first_token,
                  int64_t tokens_per_frame);

/* ---- quantising ------------------------------------------------------------------ */

/* The scale of a row or group whose largest magnitude is `absmax` (rule in ops.h), and
 * the code of one value. dt: e4m3 or i8. */
float ref_scale(enum dtype dt, float absmax);
void ref_code_store(const struct tensor *t, int64_t at, float v, float scale);

/* The larger of `top` and |v|; NaN is passed over. */
static inline float absmax_of(float top, float v)
{
    float a = v < 0.0f ? -v : v;

    return a > top ? a : top;
}

/* ---- norms ----------------------------------------------------------------------- */

struct row_stats {
    float mean;   /* taken off first; 0 but for NORM_LAYER */
    float factor; /* then multiplied by this */
};

/* Statistics of one row of x, pending included. */
struct row_stats ref_stats(const struct tensor *x, int64_t row, enum norm_kind kind,
                           float eps);

/* act(v), computed in double and rounded once */
float ref_act(enum act_kind act, float v);

#endif
