/* linear.c - y = x w^T on fixed tiles: 128 rows of x by PANEL rows of w
 *
 * An item is one panel of w and a run of row tiles. The panel is decoded to f32 once
 * per item (or used where it lies when it is f32), then every tile is one product over
 * the whole of k. Only full-height tiles are multiplied: the last rows of x are padded
 * with zeros in scratch. 8-bit operands are multiplied as codes, summed in fp32, and
 * scaled afterwards: y = sum * row scale * column scale + bias.
 */
#include "kernels/cpu/blas.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"
#include <string.h>

enum { PANEL = 256 };

struct linear_plan {
    int64_t s, d, k;
    int64_t panels, tiles, tiles_per_item, items_per_panel;
    size_t w_floats, x_floats, y_floats; /* scratch of one thread, 0: not needed */
    size_t bytes;
};

struct linear_job {
    const struct op_linear *a;
    const struct queue *q;
    struct linear_plan p;
};

static size_t floats_aligned(int64_t n)
{
    int64_t step = ARENA_ALIGN / (int64_t)sizeof(float);

    return (size_t)(ceil_div(n, step) * step);
}

static bool dense_f32(const struct tensor *t)
{
    return t->dtype == DT_F32 && t->stride[1] == 1;
}

static void linear_plan_make(const struct cpu *cpu, const struct op_linear *a,
                             struct linear_plan *p)
{
    p->s = a->x->shape[0];
    p->k = a->x->shape[1];
    p->d = a->w->shape[0];
    p->panels = ceil_div(p->d, PANEL);
    p->tiles = ceil_div(p->s, TILE_ROWS);
    p->items_per_panel = p->panels ? ceil_div(4 * (int64_t)cpu->threads, p->panels) : 1;
    p->items_per_panel = min_i64(p->items_per_panel, p->tiles > 0 ? p->tiles : 1);
    p->tiles_per_item = ceil_div(p->tiles, p->items_per_panel);
    p->w_floats = dense_f32(a->w) ? 0 : floats_aligned(PANEL * p->k);
    p->x_floats = dense_f32(a->x) && p->s % TILE_ROWS == 0
                      ? 0
                      : floats_aligned(TILE_ROWS * p->k);
    p->y_floats = TILE_ROWS * PANEL;
    p->bytes = (p->w_floats + p->x_floats + p->y_floats) * sizeof(float);
}

/* ---- operands ----------------------------------------------------------------- */

/* Rows [begin, begin + n) as f32 rows of k, then zero rows up to `full`. */
static void rows_decode(const struct tensor *t, int64_t begin, int64_t n, int64_t full,
                        int64_t k, float *out)
{
    for (int64_t r = 0; r < n; r++) {
        const void *src = span_at(t->data, t->dtype, (begin + r) * t->stride[0]);

        span_load(src, t->dtype, k, out + r * k);
    }
    memset(out + n * k, 0, (size_t)((full - n) * k) * sizeof(*out));
}

/* Where the tile's or panel's floats are: in place, or decoded into `scratch`. */
static const float *rows_borrow(const struct tensor *t, int64_t begin, int64_t n,
                                int64_t full, int64_t k, float *scratch,
                                int64_t *stride)
{
    if (dense_f32(t) && n == full) {
        *stride = t->stride[0];
        return (const float *)t->data + begin * t->stride[0];
    }
    rows_decode(t, begin, n, full, k, scratch);
    *stride = k;
    return scratch;
}

/* ---- after the product -------------------------------------------------------- */

static float scalar_scale(const struct tensor *t)
{
    return t->scales.kind == SCALE_TENSOR ? t->scales.data[0] : 1.0f;
}

FF_CLONES static void finish_row(float *restrict v, int64_t n, float row,
                                 const float *restrict col, const float *restrict bias)
{
    if (row != 1.0f) {
        for (int64_t i = 0; i < n; i++)
            v[i] *= row;
    }
    if (col) {
        for (int64_t i = 0; i < n; i++)
            v[i] *= col[i];
    }
    if (bias) {
        for (int64_t i = 0; i < n; i++)
            v[i] += bias[i];
    }
}

static void tile_finish(const struct op_linear *a, int64_t row, int64_t rows,
                        int64_t col, int64_t cols, float *v, int64_t stride)
{
    const struct tensor *x = a->x, *w = a->w;
    bool fold = !a->pending;
    const float *xs = fold && x->scales.kind == SCALE_ROW ? x->scales.data : NULL;
    const float *ws = fold && w->scales.kind == SCALE_ROW ? w->scales.data : NULL;
    const float *bias = fold && a->bias ? a->bias->data : NULL;
    float all = scalar_scale(x) * scalar_scale(w);

    for (int64_t r = 0; r < rows; r++) {
        float *vr = v + r * stride;
        int64_t at = (row + r) * a->y->stride[0] + col;
        void *to = span_at(a->y->data, a->y->dtype, at);

        finish_row(vr, cols, (xs ? xs[row + r] : 1.0f) * all, ws ? ws + col : NULL,
                   bias ? bias + col : NULL);
        if (to != (void *)vr)
            span_store(to, a->y->dtype, cols, vr);
    }
}

/* ---- items -------------------------------------------------------------------- */

static void linear_item(void *ctx, int64_t item, int worker)
{
    const struct linear_job *j = ctx;
    const struct linear_plan *p = &j->p;
    const struct op_linear *a = j->a;
    float *w_buf = scratch_of(j->q, p->bytes, worker);
    float *x_buf = w_buf + p->w_floats;
    float *y_buf = x_buf + p->x_floats;
    int64_t col = item / p->items_per_panel * PANEL;
    int64_t cols = min_i64(PANEL, p->d - col);
    int64_t tile = item % p->items_per_panel * p->tiles_per_item;
    int64_t end = min_i64(tile + p->tiles_per_item, p->tiles);
    int64_t w_stride, x_stride;
    const float *w, *x;

    if (tile >= end)
        return;
    w = rows_borrow(a->w, col, cols, cols, p->k, w_buf, &w_stride);
    for (; tile < end; tile++) {
        int64_t row = tile * TILE_ROWS;
        int64_t rows = min_i64(TILE_ROWS, p->s - row);
        bool direct = dense_f32(a->y) && rows == TILE_ROWS;
        float *y = direct ? (float *)a->y->data + row * a->y->stride[0] + col : y_buf;
        int64_t y_stride = direct ? a->y->stride[0] : PANEL;

        x = rows_borrow(a->x, row, rows, TILE_ROWS, p->k, x_buf, &x_stride);
        blas_nt(TILE_ROWS, cols, p->k, x, x_stride, w, w_stride, false, y, y_stride);
        tile_finish(a, row, rows, col, cols, y, y_stride);
    }
}

size_t linear_workspace_cpu(const void *self, const struct op_linear *a)
{
    const struct cpu *cpu = self;
    struct linear_plan p;

    linear_plan_make(cpu, a, &p);
    return p.bytes * (size_t)cpu->threads;
}

enum status linear_cpu(void *self, struct queue *q, const struct op_linear *a,
                       struct err *e)
{
    struct cpu *cpu = self;
    struct linear_job j = {.a = a, .q = q};

    linear_plan_make(cpu, a, &j.p);
    TRY(scratch_check(cpu, q, j.p.bytes, e));
    pool_run(cpu->pool, j.p.panels * j.p.items_per_panel, linear_item, &j);
    a->y->pending = (struct pending){0};
    if (a->pending) {
        a->y->pending.row_scale = a->x->scales.kind == SCALE_ROW ? a->x->scales.data
                                                                 : NULL;
        a->y->pending.col_scale = a->w->scales.kind == SCALE_ROW ? a->w->scales.data
                                                                 : NULL;
        a->y->pending.bias = a->bias ? a->bias->data : NULL;
    }
    return ST_OK;
}
