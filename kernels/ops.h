/* ops.h - the table of operations: the one contract every backend implements
 *
 * The model is written once, against this table. `ref` (plain loops, double sums: the
 * oracle), `cpu` (OpenBLAS and threads) and `cuda` implement it; `check` wraps another
 * backend, poisons outputs and guards inputs. Callers use the ops_… functions, which
 * check shapes, dtypes and spaces once; backends trust them.
 *
 * Life:
 *
 *     struct ops *ops;
 *     struct queue *q;
 *     TRY(ops_open("cpu", &(struct ops_options){.threads = 0}, &ops, e));
 *     bytes = ops_linear_workspace(ops, &a);            pure, tensors may lack data
 *     TRY(ops_queue_open(ops, workspace, bytes, &q, e));
 *     TRY(ops_linear(ops, q, &a, e));                   enqueued
 *     TRY(ops_queue_wait(ops, q, e));                   device errors surface here
 *     ops_queue_close(ops, q);
 *     ops_close(ops);
 *
 * Rules for every op:
 * - it is put on a queue: immediate on the CPU, a stream on a device. It never waits
 *   and never allocates; scratch memory is the queue's workspace, whose size the
 *   pure ops_…_workspace calls plan. One op at a time uses it, in queue order.
 * - inputs and outputs never overlap, unless an op's text says "in place".
 * - whatever changes from step to step (timesteps, coefficients, lengths) is a tensor
 *   or a value of the args that stays equal when a recorded graph is replayed.
 * - a row's result does not depend on how many rows there are, on the number of
 *   threads, or on padding. No float atomics.
 * - "operand" means an input of a matrix product: [rows, cols], dense rows, f32 or
 *   bf16 without scales, or e4m3 or i8 with SCALE_ROW scales that the op which writes
 *   the operand computes:
 *       e4m3: scale = max(absmax / 448, 1 / (448 * 512)), code = e4m3(v / scale)
 *       i8:   scale = max(absmax / 127, 1e-7), code = rint(v / scale)
 *   in fp32 with true division (quantization-and-attention 1.3.1, vLLM's rule).
 * - "float tensor" means f32 or bf16. Sums run in fp32 or wider.
 * - token rows are numbered globally: row r of a shard is token first_token + r, and
 *   its latent frame is token / tokens_per_frame.
 */
#ifndef KERNELS_OPS_H
#define KERNELS_OPS_H

#include "kernels/base/err.h"
#include "kernels/tensor.h"

struct ops;   /* a backend that is open */
struct queue; /* where its work is put */
struct event; /* a point in a queue that another queue can wait for */

/* ---- opening -------------------------------------------------------------------- */

/* Which kernels a GPU backend may choose from; all but the first are for tests. */
enum ops_kernels {
    OPS_BEST,     /* all: for each shape the one made for it, where there is one */
    OPS_PORTABLE, /* of these, what every GPU runs */
    OPS_SIMPLE,   /* what holds for every shape, to compare others with */
};

struct ops_options {
    int threads;            /* worker threads of a CPU backend, 0: all cores */
    int device;             /* device index of a GPU backend */
    const char *algorithms; /* file of a GPU backend's ways of products, beside those
                             * that it knows by itself; NULL: none */
    enum ops_kernels kernels;
    bool fast_sums; /* sums of e4m3 products may stay in the matrix unit, which keeps
                     * fewer bits of them than fp32 has (quantization-and-attention
                     * 1.4.2): other bytes, the same for any number of rows */
};

struct ops_facts {
    const char *name;        /* "ref", "cpu", "cuda" … */
    enum mem_space space;    /* where tensors of this backend live */
    int64_t granule_tokens;  /* shard boundaries are multiples of this */
    int64_t busy_tokens;     /* a multiple of that: rows of a product that leave no
                              * processor idle, so that doing multiples of them one
                              * after another takes no longer than all at once */
    unsigned operand_dtypes; /* bit 1 << dtype for each operand type it runs */
    bool loads;              /* weights get their final form here while they arrive,
                              * by ops_quantise and ops_convert, not on the host */
    const char *device;      /* what tells its device from all others, also on other
                              * machines ("GPU-6a0b…"); NULL: the host */
    const char *chooses;     /* by what it chooses between ways of a product: the same
                              * words, the same choice; NULL: there is one way */
};

/* Devices that the named backend can be opened on here; 0: it works on the host. */
enum status ops_devices(const char *name, int *out, struct err *e);

/* Open a backend by name: "ref", "cpu", "check:ref", "check:cpu", "cuda";
 * "cuda:portable" and "cuda:simple" are "cuda" with those kernels, whatever `opt` says.
 * One that is not compiled in gives ST_UNBUILT, an unknown name ST_USAGE.
 * ops_close(NULL) is fine. */
enum status ops_open(const char *name, const struct ops_options *opt, struct ops **out,
                     struct err *e);
void ops_close(struct ops *ops);
const struct ops_facts *ops_facts(const struct ops *ops);

/* What computes, as far as bytes depend on it: model of the GPU, libraries, kernels
 * that they choose by processor. "" when nothing but our own code does. */
enum { OPS_MACHINE_BYTES = 48 };
const char *ops_machine(const struct ops *ops);

/* ---- memory and queues ---------------------------------------------------------- */

/* Memory in the backend's space, 256-byte aligned; only set-up code calls this. */
enum status ops_mem_alloc(struct ops *ops, size_t bytes, void **out, struct err *e);
void ops_mem_free(struct ops *ops, void *p);

/* Memory of the host that copies to and from the backend's space go through as it is
 * (pinned), page aligned; only set-up code calls this. */
enum status ops_pinned_alloc(struct ops *ops, size_t bytes, void **out, struct err *e);
void ops_pinned_free(struct ops *ops, void *p);

/* Bytes of the backend's space that are free now, SIZE_MAX when nobody says: a fact to
 * refuse a plan by, not a reservation. */
size_t ops_mem_left(const struct ops *ops);

/* `workspace` is borrowed until the queue is closed; backend's space. */
enum status ops_queue_open(struct ops *ops, void *workspace, size_t bytes,
                           struct queue **out, struct err *e);
void ops_queue_close(struct ops *ops, struct queue *q);

/* Wait for everything put on `q`; the first error of any op on it comes out here. */
enum status ops_queue_wait(struct ops *ops, struct queue *q, struct err *e);

enum status ops_event_open(struct ops *ops, struct event **out, struct err *e);
void ops_event_close(struct ops *ops, struct event *ev);
/* `record`: ev is reached when the work put on q so far is done. `await`: later work
 * on q starts after ev. Neither waits on the host. */
enum status ops_event_record(struct ops *ops, struct queue *q, struct event *ev,
                             struct err *e);
enum status ops_event_await(struct ops *ops, struct queue *q, struct event *ev,
                            struct err *e);

/* Wait on the host until `ev` is reached, as an event is that was never recorded.
 * Errors of the queue's ops still come out where the queue is waited for. Any thread
 * may call this. */
enum status ops_event_wait(struct ops *ops, struct event *ev, struct err *e);

/* Bytes between the host and the backend's space, or within it; dense tensors of equal
 * dtype and count. Host memory must stay valid until the queue is waited for. */
enum status ops_copy(struct ops *ops, struct queue *q, const struct tensor *dst,
                     const struct tensor *src, struct err *e);

/* ---- matrix products ------------------------------------------------------------ */

/* y[s,d] = x[s,k] w[d,k]^T + bias[d].
 * x: operand. w: f32, bf16, f16 (converted per tile), or e4m3/i8/e5m2 with SCALE_ROW,
 * SCALE_TENSOR or SCALE_NONE scales; 8-bit x needs 8-bit w of the same type.
 * bias: f32 or NULL. y: float tensor, dense rows.
 * pending: leave x's row scales, w's scales (SCALE_ROW) and the bias to the reader:
 * y gets the raw sums, and y->pending is filled in before the call returns. */
struct op_linear {
    struct tensor *y;
    const struct tensor *x;
    const struct tensor *w;
    const struct tensor *bias;
    bool pending;
};
size_t ops_linear_workspace(const struct ops *ops, const struct op_linear *a);
enum status ops_linear(struct ops *ops, struct queue *q, const struct op_linear *a,
                       struct err *e);

/* One of the ways that a backend knows to work out a product. */
enum { LINEAR_WAY_BYTES = 256, LINEAR_ABOUT_BYTES = 96 };
struct linear_way {
    char text[LINEAR_WAY_BYTES];    /* what ops_linear_take wants to know, one line */
    char about[LINEAR_ABOUT_BYTES]; /* for people */
};

/* Ways for products of `a`'s types and [d,k], whatever number of rows; the first is the
 * one that ops_linear takes. *n: how many of them, `most` or less; 0: there is no
 * choice. Only set-up code calls these (settle.h). */
enum status ops_linear_ways(struct ops *ops, const struct op_linear *a,
                            struct linear_way *ways, int most, int *n, struct err *e);

/* Take this way for them from now on. One that is not for this product, or that the
 * device does not run, is ST_INPUT. */
enum status ops_linear_take(struct ops *ops, const struct op_linear *a,
                            const struct linear_way *way, struct err *e);

/* Convolution over time, height and width, channels last, cross-correlation as in the
 * frameworks: y[t,h,w,o] = bias[o] + sum x[t',h',w',c] * weight[o,kt,kh,kw,c].
 * x [T,H,W,C], y [T',H',W',O]: f32 or bf16, any strides on the first three axes.
 * weight [O,kt,kh,kw,C] f32 or bf16 dense; bias f32 [O] or NULL.
 * pad_lo, pad_hi: zeros before and after on t, h, w. stride: on t, h, w.
 * upsample: 1, or 2 to read x through nearest-neighbour doubling of h and w (the
 * doubled picture is never stored; pads count in doubled pixels).
 * residual: NULL, or a tensor like y that is added (may be y itself: in place).
 * column: y's first column is that column of a larger picture, of which only a part is
 * computed. The bytes of a value of y depend on what it reads and on its column in the
 * whole picture, not on where the part begins or how large it is. */
struct op_conv {
    struct tensor *y;
    const struct tensor *x;
    const struct tensor *weight;
    const struct tensor *bias;
    const struct tensor *residual;
    int pad_lo[3], pad_hi[3], stride[3];
    int upsample;
    int64_t column;
};
size_t ops_conv_workspace(const struct ops *ops, const struct op_conv *a);
enum status ops_conv(struct ops *ops, struct queue *q, const struct op_conv *a,
                     struct err *e);

/* ---- norms, residuals, activations ---------------------------------------------- */

enum norm_kind {
    NORM_LAYER, /* (x - mean) / sqrt(var + eps), biased variance */
    NORM_RMS,   /* x / sqrt(mean(x^2) + eps) */
    NORM_L2,    /* x / max(||x||, eps) * sqrt(d) */
};

enum act_kind { ACT_NONE, ACT_GELU_TANH, ACT_GELU_ERF, ACT_SILU };

/* How a row is normalised and what is done to the result u:
 *   v = act(u * weight + bias)                  weight, bias [d] f32, NULL: 1 and 0
 *   v = v * (1 + scale[f]) + shift[f]           scale, shift [F,d] f32 rows (row stride
 *                                               free), NULL: skipped; f is the row's
 *                                               frame, or 0 when F is 1 */
struct norm {
    enum norm_kind kind;
    enum act_kind act;
    float eps;
    const struct tensor *weight, *bias;
    const struct tensor *scale, *shift;
    int64_t first_token, tokens_per_frame; /* used when scale has more than one row */
};

/* out = norm(x): x [s,d] float tensor (row stride free), out operand or float [s,d]. */
struct op_norm {
    struct tensor *out;
    const struct tensor *x;
    struct norm norm;
};
enum status ops_norm(struct ops *ops, struct queue *q, const struct op_norm *a,
                     struct err *e);

/* x += gate[f] * y, in place, then (when out is not NULL) out = norm(x) in the same
 * pass. x [s,d] f32 or bf16. y [s,d] float tensor, pending scales and bias accepted.
 * gate [F,d] f32 rows or NULL for 1; frames as in `norm`, whose first_token and
 * tokens_per_frame are used for the gate too. out: operand or float tensor. */
struct op_residual {
    struct tensor *x;
    const struct tensor *y;
    const struct tensor *gate;
    struct tensor *out;
    struct norm norm;
};
enum status ops_residual(struct ops *ops, struct queue *q, const struct op_residual *a,
                         struct err *e);

/* out = act(x), or act(x) * gated when gated is not NULL. x, gated [s,d] float
 * tensors (row stride free), pending accepted on both. out: operand or float tensor;
 * a float out may be x itself (in place) when x has no pending scales. */
struct op_act {
    struct tensor *out;
    const struct tensor *x;
    const struct tensor *gated;
    enum act_kind act;
};
enum status ops_act(struct ops *ops, struct queue *q, const struct op_act *a,
                    struct err *e);

/* ---- attention: scatter, attend, gather ----------------------------------------- */

/* Rotary embedding of rows that are tokens of a grid [F,Hp,Wp]: token l is
 * f = l / (Hp*Wp), h = l / Wp mod Hp, w = l mod Wp. Pairs are adjacent elements
 * (2i, 2i+1); the first pairs_f pairs of every head turn by table f[position], then
 * h, then w. Tables f32 [positions, pairs, 2] = (cos, sin). */
struct rope {
    struct tensor f, h, w;
    int64_t grid_h, grid_w;
};

/* Heads [head_begin, head_begin + n_heads) of the rows, [n_heads, s, head_dim], any
 * strides on the first two axes: one destination of an exchange, or the only one. */
struct head_part {
    int head_begin, n_heads;
    struct tensor t;
};

/* The column mean that is taken off k before it is quantised: sums of a fixed subset
 * of tokens (every `every`-th global token) as 64-bit integers, value * 2^24 rounded,
 * so that the order of adding does not matter and ranks can add their parts.
 * acc i64 [d]; count i64 [1]; both are added to. y, weight, rope as in op_heads. */
struct op_key_sum {
    struct tensor *acc, *count;
    const struct tensor *y;
    const struct tensor *weight;
    const struct rope *rope;
    float eps;
    int head_dim;
    int64_t first_token, every;
};
enum status ops_key_sum(struct ops *ops, struct queue *q, const struct op_key_sum *a,
                        struct err *e);

/* Raw q or k rows to heads, in one pass: apply pending scales and bias, RMS norm over
 * the whole row times weight[d] (weight NULL: no norm), rope (NULL: none), minus
 * mean = acc / (count * 2^24) (acc NULL: none), convert or quantise, scatter.
 * y [s, d] float tensor; parts cover the heads wanted.
 * Part dtypes: f32, bf16, or i8 with scales over (group_rows tokens, head):
 * SCALE_ROW (one per token) or SCALE_GROUP with cols = head_dim and rows = 4, groups
 * aligned to the part's row 0; or e4m3 with SCALE_ROW. Quantisation as for operands,
 * absmax over the group. */
struct op_heads {
    const struct head_part *parts;
    int n_parts;
    const struct tensor *y;
    const struct tensor *weight;
    const struct rope *rope;
    const struct tensor *mean_acc, *mean_count;
    float eps;
    int head_dim;
    int64_t first_token;
};
enum status ops_heads(struct ops *ops, struct queue *q, const struct op_heads *a,
                      struct err *e);

/* Raw v rows to heads: pending applied, then either f32/bf16 parts
 * [n_heads, s, head_dim], or e4m3 parts transposed for the attention kernel:
 * t [n_heads, head_dim, s_pad] with s_pad >= s a multiple of 128, zero codes past s,
 * and SCALE_GROUP scales rows = 1, cols = 128: one per channel and 128 tokens, absmax
 * / 448 with the floor of operands. */
struct op_values {
    const struct head_part *parts;
    int n_parts;
    const struct tensor *y;
    int head_dim;
};
enum status ops_values(struct ops *ops, struct queue *q, const struct op_values *a,
                       struct err *e);

/* Queries that arrived from (or stay on) one rank, and where their result goes.
 * q [heads, s, head_dim]; o: f32 or bf16 [s, heads, head_dim] (strides free on the
 * first two axes), or e4m3 with one scale per (token, head): o.scales is SCALE_ROW over
 * the last two axes (s slices of `heads` scales, stride[0] floats apart).
 * lse: NULL, or f32 [heads, s], natural log of the sum of exponentials. */
struct attn_queries {
    struct tensor q, o;
    const struct tensor *lse;
};

/* Keys and values of `n` consecutive tokens, in global order of the list.
 * k [heads, n_pad, head_dim], v [heads, n_pad, head_dim] or transposed e4m3; only the
 * first n tokens of each are read. */
struct attn_keys {
    struct tensor k, v;
    int64_t n;
};

/* o = softmax(scale * q k^T + bias) v for every head, over all keys of all parts.
 * q, k: both float of one dtype, or both i8, or both e4m3 (values: code * scale);
 * v: float, or transposed e4m3.
 * key_bias: f32 [total keys] added to every logit of that key, or NULL.
 * rel_bias: f32 [heads, 2*R+1], or NULL: logit += rel_bias[h][clamp(key - query,
 * -R..R) + R], positions counted from the first query and the first key.
 * With 8-bit inputs P is rounded to e4m3 against the running maximum (times 448), as a
 * tensor-core kernel must; results are then compared with a tolerance, but do not
 * depend on the number of threads or on how the keys are cut into parts of multiples of
 * 128 tokens; the sum that o is divided by, and so lse, may then be that of the rounded
 * P, each off by up to 6 %: merging by lse stays exact, whichever it is.
 * add: o += result (f32 o only), for a second context. */
struct op_attention {
    const struct attn_queries *queries;
    int n_queries;
    const struct attn_keys *keys;
    int n_keys;
    const struct tensor *key_bias;
    const struct tensor *rel_bias;
    float scale;
    bool add;
};
size_t ops_attention_workspace(const struct ops *ops, const struct op_attention *a);
enum status ops_attention(struct ops *ops, struct queue *q,
                          const struct op_attention *a, struct err *e);

/* Attention output, as it came back from the ranks, to the operand of the output
 * projection: parts [n_heads at head_begin] with t [s, n_heads, head_dim] f32, bf16 or
 * e4m3 with scales per (token, head); all parts together cover every head once. `add`:
 * parts of a second result that is added (image context), or n_add = 0. */
struct op_gather {
    struct tensor *out;
    const struct head_part *parts;
    int n_parts;
    const struct head_part *add;
    int n_add;
};
enum status ops_gather(struct ops *ops, struct queue *q, const struct op_gather *a,
                       struct err *e);

/* Merge a partial attention result into a running one, by log-sum-exp, in place:
 * o [s, heads, head_dim] f32, lse [heads, s] f32 += the same pair of another set of
 * keys. */
struct op_attn_merge {
    struct tensor *o, *lse;
    const struct tensor *o_part, *lse_part;
};
enum status ops_attn_merge(struct ops *ops, struct queue *q,
                           const struct op_attn_merge *a, struct err *e);

/* ---- small things --------------------------------------------------------------- */

/* dst = src, element by element, any rank and strides, dtypes: float types and f16, f64
 * to float types; or rows [s,d] to an operand of any dtype (quantising). */
struct op_convert {
    struct tensor *dst;
    const struct tensor *src;
};
enum status ops_convert(struct ops *ops, struct queue *q, const struct op_convert *a,
                        struct err *e);

/* out[i, :] = table[ids[i], :]; table [v,d] f32, bf16 or f16, ids i32 [n], out
 * float. */
struct op_rows {
    struct tensor *out;
    const struct tensor *table;
    const struct tensor *ids;
};
enum status ops_rows(struct ops *ops, struct queue *q, const struct op_rows *a,
                     struct err *e);

/* out[f, :] = [cos(t w_i) …, sin(t w_i) …], w_i = 10000^(-i/half), i < half = n/2, in
 * double, cosines first. t f32 [F], out f32 [F, n]. */
struct op_sinusoid {
    struct tensor *out;
    const struct tensor *t;
};
enum status ops_sinusoid(struct ops *ops, struct queue *q, const struct op_sinusoid *a,
                         struct err *e);

/* The columns of a head output row, (i*2 + j)*C + c, to patch order, (c*2 + i)*2 + j:
 * x, out [s, 4*C] f32. */
struct op_unpatch {
    struct tensor *out;
    const struct tensor *x;
};
enum status ops_unpatch(struct ops *ops, struct queue *q, const struct op_unpatch *a,
                        struct err *e);

enum { COMBINE_MAX = 6 };

/* out = sum over i of coef[f, i] * in[i], added in the order of i, fp32. in, out [s, d]
 * f32; coef f32 [F, n] (F = 1: one set for all rows), f the row's frame. Terms with a
 * zero coefficient are not read. out may be one of the inputs (in place). */
struct op_combine {
    struct tensor *out;
    const struct tensor *in[COMBINE_MAX];
    int n;
    const struct tensor *coef;
    int64_t first_token, tokens_per_frame;
};
enum status ops_combine(struct ops *ops, struct queue *q, const struct op_combine *a,
                        struct err *e);

/* Pixels: u8 = trunc(clamp(x / 2 + 0.5, 0, 1) * 255); x float [.., 3], out u8,
 * dense. */
struct op_pixels {
    struct tensor *out;
    const struct tensor *x;
};
enum status ops_pixels(struct ops *ops, struct queue *q, const struct op_pixels *a,
                       struct err *e);

/* out[i] = mean + std * n(first + i): n(j) is the normal of element j of Philox stream
 * `stream` under `seed` (kernels/base/rng.h), in row-major order. out: float, dense.
 * Backends may differ in the last place of a logarithm or a sine. */
struct op_normal {
    struct tensor *out;
    float mean, std;
    uint64_t seed, stream, first;
};
enum status ops_normal(struct ops *ops, struct queue *q, const struct op_normal *a,
                       struct err *e);

/* Rows of a stored weight matrix to codes, by the rule for weights, which is not that
 * of operands: scale = max(absmax of the row, 1e-5) / 448 (i8: / 127), code = src /
 * scale, to nearest, ties to even, in fp32 with true division (kernels/base/
 * weight_code.h, quantization-and-attention 1.3.1). Same bytes on every backend.
 * dst [s,d] e4m3 or i8 with SCALE_ROW scales, src [s,d] f32, bf16, f16 or f64; both
 * dense. spoilt i64 [1]: the first row that holds NaN or infinity, counted from
 * first_row, if that is less than what is there; it is written like a row of zeros. */
struct op_quantise {
    struct tensor *dst;
    const struct tensor *src;
    struct tensor *spoilt;
    int64_t first_row;
};
enum status ops_quantise(struct ops *ops, struct queue *q, const struct op_quantise *a,
                         struct err *e);

/* ---- looking on ----------------------------------------------------------------- */

/* What a watcher is told of a copy; of every other op it gets its struct op_.... */
struct op_copy {
    const struct tensor *dst, *src;
};

/* Somebody who sees every op and copy: `begin` before it is put on the queue, `end`
 * after. `op` is the name without ops_ ("linear"), `args` what the caller gave. Both
 * may wait for the queue, so this is for benchmarks. */
struct ops_watcher {
    void *self;
    enum status (*begin)(void *self, struct queue *q, const char *op, const void *args,
                         struct err *e);
    enum status (*end)(void *self, struct queue *q, const char *op, const void *args,
                       struct err *e);
};

/* `w` is borrowed until another one, or NULL, takes its place. */
void ops_watch(struct ops *ops, const struct ops_watcher *w);

#endif
