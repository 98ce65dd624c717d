/* gpu_rig.h - tensors on the host and on the GPU, and a table of comparisons
 *
 * Each op runs twice: on the host with `ref`, on the GPU with `cuda`, behind the same
 * table. A `pair` is one tensor in both places. Any error ends the program. A rig may
 * lack `ref`: then results must be numbers, and no more is known of them.
 *
 * With BACKEND in the environment another backend stands for the GPU's, so that
 * programs can be tried without one.
 */
#ifndef TESTS_GPU_GPU_RIG_H
#define TESTS_GPU_GPU_RIG_H

#include "kernels/ops.h"
#include "kernels/tensor.h"

struct rig {
    struct ops *ref, *gpu; /* ref may be NULL */
    enum mem_space space;  /* of gpu */
    struct queue *ref_q, *gpu_q;
    void *ref_ws, *gpu_ws;
};

struct pair {
    struct tensor host, dev;
};

#define SHAPE(...)    \
    (const int64_t[]) \
    {                 \
        __VA_ARGS__   \
    }

/* Call an op on both sides; `host` and `dev` are its args. */
#define BOTH(r, op, host, dev)                                                       \
    do {                                                                             \
        struct err err_ = ERR_INIT;                                                  \
                                                                                     \
        if ((r)->ref)                                                                \
            must(ops_##op((r)->ref, (r)->ref_q, host, &err_), &err_, #op " on ref"); \
        must(ops_##op((r)->gpu, (r)->gpu_q, dev, &err_), &err_, #op " on cuda");     \
    } while (0)

/* test_attention_gpu.c */
void attention_edges_all(struct rig *r);

/* test_rest_gpu.c */
void rest_all(struct rig *r);

/* test_wide_gpu.c, of a rig opened as OPS_BEST */
void wide_all(struct rig *r);

/* Stored weights to codes. */
void quantise_all(struct rig *r);

/* What there is more than one kernel for: attention with heads of 128 and of 64,
 * convolution. */
void matrix_all(struct rig *r);

/* test_ways_gpu.c */
void ways_all(struct rig *r);

/* Few small cases of the same, for sanitizers: each kernel behind these ops that the
 * rig's choice of kernels has. They want no reference. */
void residual_small(struct rig *r);
void values_small(struct rig *r);
void odds_small(struct rig *r);
void matrix_small(struct rig *r);
void wide_small(struct rig *r);

/* A part of a program's small cases, in a process of its own under a sanitizer. */
struct small_part {
    const char *name;
    enum ops_kernels kernels;
    void (*run)(struct rig *r);
};

/* Those named `name`, NULL: all; returns the program's exit code. */
int small_main(const struct small_part *parts, int n, const char *name);

/* Ends the program with the text unless `st` is ST_OK. */
void must(enum status st, const struct err *e, const char *what);

/* What the GPU's backend is called. */
const char *rig_backend(void);

/* Both backends, each with a queue that has `workspace` bytes; …_alone: without ref. */
void rig_open_alone(struct rig *r, size_t workspace, enum ops_kernels kernels);
void rig_open(struct rig *r, size_t workspace, enum ops_kernels kernels);

/* As OPS_BEST, with fast_sums. */
void rig_open_fast(struct rig *r, size_t workspace);
void rig_close(struct rig *r);
void rig_wait(struct rig *r);

/* Zeros, or normals (codes: normals quantised, with random scales), in both places.
 * 8-bit types get a scale per row, or per group when rows > 0. */
struct pair pair_make(struct rig *r, enum dtype dt, int rank, const int64_t *shape,
                      int64_t group_rows, int64_t group_cols);
struct pair pair_random(struct rig *r, enum dtype dt, int rank, const int64_t *shape,
                        int64_t group_rows, int64_t group_cols);
struct pair pair2(struct rig *r, enum dtype dt, int64_t rows, int64_t cols);
struct pair random2(struct rig *r, enum dtype dt, int64_t rows, int64_t cols);

/* Send the host's bytes to the GPU. */
void pair_send(struct rig *r, const struct pair *p);

/* The same values lie pending on both: random row scale, column scale and bias. */
void pair_pending(struct rig *r, struct pair *p);

/* The GPU's bytes, fetched to the host; waits. */
struct tensor pair_fetch(struct rig *r, const struct pair *p);

/* Give back all tensors. */
void pairs_clear(struct rig *r);

/* ---- the table ----------------------------------------------------------------- */

/* Compare the GPU's result with the host's. Floats: relative L2 at most `limit`; codes:
 * the share of codes and scales that differ, at most `limit`. */
void table_compare(struct rig *r, const char *name, const struct pair *p, double limit);

/* Relative L1 of values, for 8-bit attention. */
void table_compare_l1(struct rig *r, const char *name, const struct pair *p,
                      double limit);

/* A row of its own: `value` must be at most `limit`. */
void table_row(const char *name, double value, double limit);

/* Print it; returns the number of rows that failed. */
int table_print(void);

double now_ms(void);

#endif
