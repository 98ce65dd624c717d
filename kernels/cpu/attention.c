/* attention.c - softmax(q k^T) v on tiles of 128 queries by KEY_TILE keys
 *
 * An item is one query tile of one head. It walks over the key tiles, which are counted
 * from the first key of the first part whatever the parts are, so that cutting the keys
 * elsewhere changes nothing. Per tile: logits by one product, the running softmax row
 * by row, and one product added to the unscaled result:
 *
 *     S [128, n] = Q K^T;  m' = max(m, max S);  P = exp(S - m')
 *     l = l exp(m - m') + sum P;  O = O exp(m - m') + P V;  at the end o = O / l
 *
 * Query tiles shorter than 128 are padded with zero rows. 8-bit q and k are multiplied
 * as codes (their sums are exact in fp32 up to head_dim 1040) and scaled in the logits;
 * 8-bit v is decoded with its scales, and P is then rounded to e4m3.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/softmax.h"
#include "kernels/cpu/span.h"

enum { KEY_TILE = 512 };

struct attn_plan {
    int64_t heads, dim, keys, items;
    bool codes;   /* 8-bit inputs */
    size_t bytes; /* scratch of one thread */
};

struct attn_job {
    const struct op_attention *a;
    const struct queue *q;
    struct attn_plan p;
};

/* One thread's scratch; rows of q, o are `dim` apart, rows of s KEY_TILE. */
struct attn_work {
    double l[TILE_ROWS];
    float m[TILE_ROWS], q_scale[TILE_ROWS], k_scale[KEY_TILE], bias[KEY_TILE];
    float *q, *o, *s, *k, *v;
};

/* A tile of keys or values: in place, or in scratch. */
struct attn_rows {
    const float *data;
    int64_t stride;
};

static bool is_code(enum dtype dt)
{
    return dtype_bytes(dt) == 1;
}

static void attn_plan_make(const struct op_attention *a, struct attn_plan *p)
{
    int64_t floats;

    memset(p, 0, sizeof(*p));
    if (a->n_queries > 0) {
        p->heads = a->queries[0].q.shape[0];
        p->dim = a->queries[0].q.shape[2];
        p->codes = is_code(a->queries[0].q.dtype);
    }
    for (int i = 0; i < a->n_queries; i++)
        p->items += p->heads * ceil_div(a->queries[i].q.shape[1], TILE_ROWS);
    for (int i = 0; i < a->n_keys; i++) {
        p->keys += a->keys[i].n;
        p->codes = p->codes || is_code(a->keys[i].v.dtype);
    }
    floats = 2 * TILE_ROWS * p->dim + TILE_ROWS * KEY_TILE + 2 * KEY_TILE * p->dim;
    p->bytes = sizeof(struct attn_work) + (size_t)floats * sizeof(float);
    p->bytes = (p->bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

static struct attn_work *attn_work_lay(void *scratch, const struct attn_plan *p)
{
    struct attn_work *w = scratch;

    w->q = (float *)(w + 1);
    w->o = w->q + TILE_ROWS * p->dim;
    w->s = w->o + TILE_ROWS * p->dim;
    w->k = w->s + TILE_ROWS * KEY_TILE;
    w->v = w->k + KEY_TILE * p->dim;
    return w;
}

/* ---- scales of 8-bit inputs --------------------------------------------------- */

/* Scale of element (r, c) of slice h. */
static float scale_at(const struct tensor *t, int64_t h, int64_t r, int64_t c)
{
    const struct scales *s = &t->scales;
    const float *d = s->data + (s->kind == SCALE_TENSOR ? 0 : h * s->stride[0]);

    switch (s->kind) {
    case SCALE_TENSOR:
        return d[0];
    case SCALE_ROW:
        return d[r];
    case SCALE_COLUMN:
        return d[c];
    case SCALE_GROUP:
        return d[r / s->rows * s->stride[1] + c / s->cols];
    default:
        return 1.0f;
    }
}

static float row_scale_at(const struct tensor *t, int64_t h, int64_t r)
{
    return t->scales.kind == SCALE_NONE ? 1.0f : scale_at(t, h, r, 0);
}

/* ---- loading tiles ------------------------------------------------------------ */

static void query_tile_load(const struct attn_job *j, struct attn_work *w,
                            const struct tensor *q, int64_t h, int64_t row,
                            int64_t rows)
{
    int64_t dim = j->p.dim;

    for (int64_t r = 0; r < rows; r++) {
        int64_t at = h * q->stride[0] + (row + r) * q->stride[1];

        span_load(span_at(q->data, q->dtype, at), q->dtype, dim, w->q + r * dim);
        w->q_scale[r] = j->a->scale * row_scale_at(q, h, row + r);
    }
    memset(w->q + rows * dim, 0, (size_t)((TILE_ROWS - rows) * dim) * sizeof(float));
    memset(w->o, 0, (size_t)(TILE_ROWS * dim) * sizeof(float));
    for (int64_t r = 0; r < TILE_ROWS; r++) {
        w->m[r] = -FLT_MAX;
        w->l[r] = 0.0;
    }
}

/* Rows [begin, begin + n) of a part's keys or row-major values, as f32. */
static void rows_fetch(const struct tensor *t, int64_t h, int64_t begin, int64_t n,
                       int64_t dim, float *out)
{
    for (int64_t r = 0; r < n; r++) {
        int64_t at = h * t->stride[0] + (begin + r) * t->stride[1];

        span_load(span_at(t->data, t->dtype, at), t->dtype, dim, out + r * dim);
    }
}

/* Tokens [begin, begin + n) of transposed values [heads, dim, s_pad], with scales. */
static void values_fetch(const struct tensor *t, int64_t h, int64_t begin, int64_t n,
                         int64_t dim, float *out)
{
    float line[TILE_ROWS];

    for (int64_t c = 0; c < dim; c++) {
        for (int64_t i = 0; i < n;) {
            int64_t tok = begin + i;
            int64_t run = min_i64(TILE_ROWS - tok % TILE_ROWS, n - i);
            int64_t at = h * t->stride[0] + c * t->stride[1] + tok;
            float s = t->scales.kind == SCALE_NONE ? 1.0f : scale_at(t, h, c, tok);

            span_load(span_at(t->data, t->dtype, at), t->dtype, run, line);
            for (int64_t r = 0; r < run; r++)
                out[(i + r) * dim + c] = line[r] * s;
            i += run;
        }
    }
}

static bool in_place(const struct tensor *t)
{
    return t->dtype == DT_F32 && t->stride[2] == 1;
}

/* Keys and values [key, key + n), counted over all parts, of head h. */
static void key_tile_load(const struct attn_job *j, struct attn_work *w, int64_t h,
                          int64_t key, int64_t n, struct attn_rows *k,
                          struct attn_rows *v)
{
    int64_t dim = j->p.dim;
    int64_t first = 0;

    *k = (struct attn_rows){w->k, dim};
    *v = (struct attn_rows){w->v, dim};
    for (int i = 0; i < j->a->n_keys; i++) {
        const struct attn_keys *part = &j->a->keys[i];
        int64_t from = key > first ? key - first : 0;
        int64_t to = min_i64(part->n, key + n - first);
        int64_t at = first + from - key;
        bool whole = to - from == n;

        first += part->n;
        if (from >= to)
            continue;
        if (whole && in_place(&part->k)) {
            *k = (struct attn_rows){(const float *)part->k.data +
                                        h * part->k.stride[0] +
                                        from * part->k.stride[1],
                                    part->k.stride[1]};
        } else {
            rows_fetch(&part->k, h, from, to - from, dim, w->k + at * dim);
        }
        for (int64_t r = from; r < to && is_code(part->k.dtype); r++)
            w->k_scale[at + r - from] = row_scale_at(&part->k, h, r);
        if (is_code(part->v.dtype)) {
            values_fetch(&part->v, h, from, to - from, dim, w->v + at * dim);
        } else if (whole && in_place(&part->v)) {
            *v = (struct attn_rows){(const float *)part->v.data +
                                        h * part->v.stride[0] +
                                        from * part->v.stride[1],
                                    part->v.stride[1]};
        } else {
            rows_fetch(&part->v, h, from, to - from, dim, w->v + at * dim);
        }
    }
}

/* ---- biases ------------------------------------------------------------------- */

/* What is added to the logits of query `pos` and keys [key, key + n), or NULL. */
static const float *bias_row(const struct op_attention *a, struct attn_work *w,
                             int64_t h, int64_t pos, int64_t key, int64_t n)
{
    const float *kb = a->key_bias ? (const float *)a->key_bias->data + key : NULL;
    const float *rel;
    int64_t reach;

    if (!a->rel_bias)
        return kb;
    reach = a->rel_bias->shape[1] / 2;
    rel = (const float *)a->rel_bias->data + h * a->rel_bias->stride[0] + reach;
    for (int64_t i = 0; i < n; i++) {
        int64_t away = key + i - pos;

        away = away < -reach ? -reach : away > reach ? reach : away;
        w->bias[i] = rel[away] + (kb ? kb[i] : 0.0f);
    }
    return w->bias;
}

/* ---- writing ------------------------------------------------------------------ */

FF_CLONES static void add_to(float *restrict o, const float *restrict v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        o[i] += v[i];
}

static void row_write(const struct op_attention *a, const struct tensor *o, int64_t row,
                      int64_t h, float *v, int64_t dim)
{
    int64_t at = row * o->stride[0] + h * o->stride[1];
    void *to = span_at(o->data, o->dtype, at);

    if (is_code(o->dtype)) {
        float s = span_quant_scale(o->dtype, span_absmax(v, dim, 0.0f));

        o->scales.data[row * o->scales.stride[0] + h] = s;
        span_quant(to, o->dtype, dim, v, s);
    } else if (a->add) {
        add_to(to, v, dim);
    } else {
        span_store(to, o->dtype, dim, v);
    }
}

static void tile_write(const struct attn_job *j, const struct attn_work *w,
                       const struct attn_queries *qs, int64_t h, int64_t row,
                       int64_t rows)
{
    double unit = j->p.codes ? 448.0 : 1.0;

    for (int64_t r = 0; r < rows; r++) {
        double l = w->l[r];
        float *o = w->o + r * j->p.dim;

        span_scale(o, j->p.dim, l > 0.0 ? (float)(1.0 / (unit * l)) : 0.0f);
        row_write(j->a, &qs->o, row + r, h, o, j->p.dim);
        if (qs->lse) {
            float *lse = (float *)qs->lse->data + h * qs->lse->stride[0];

            lse[row + r] = l > 0.0 ? (float)((double)w->m[r] + log(l)) : -INFINITY;
        }
    }
}

/* ---- items -------------------------------------------------------------------- */

static void key_tile_run(const struct attn_job *j, struct attn_work *w, int64_t h,
                         int64_t pos, int64_t rows, int64_t key)
{
    int64_t n = min_i64(KEY_TILE, j->p.keys - key);
    int64_t dim = j->p.dim;
    bool k_codes = is_code(j->a->keys[0].k.dtype);
    struct attn_rows k, v;

    key_tile_load(j, w, h, key, n, &k, &v);
    blas_nt(TILE_ROWS, n, dim, w->q, dim, k.data, k.stride, false, w->s, KEY_TILE);
    for (int64_t r = 0; r < rows; r++) {
        const float *bias = bias_row(j->a, w, h, pos + r, key, n);
        float *s = w->s + r * KEY_TILE;
        float shrink;

        logits_finish(s, n, w->q_scale[r], k_codes ? w->k_scale : NULL, bias);
        shrink = softmax_row(s, n, j->p.codes, &w->m[r], &w->l[r]);
        if (shrink != 1.0f)
            span_scale(w->o + r * dim, dim, shrink);
    }
    for (int64_t r = rows; r < TILE_ROWS; r++)
        memset(w->s + r * KEY_TILE, 0, (size_t)n * sizeof(float));
    blas_nn(TILE_ROWS, dim, n, w->s, KEY_TILE, v.data, v.stride, true, w->o, dim);
}

static void attn_item(void *ctx, int64_t item, int worker)
{
    const struct attn_job *j = ctx;
    struct attn_work *w = attn_work_lay(scratch_of(j->q, j->p.bytes, worker), &j->p);
    int64_t first = 0; /* position of the first query of entry i */
    int i = 0;
    int64_t tiles, h, row, rows;

    for (;; i++) {
        int64_t s = j->a->queries[i].q.shape[1];

        tiles = ceil_div(s, TILE_ROWS);
        if (item < tiles * j->p.heads)
            break;
        item -= tiles * j->p.heads;
        first += s;
    }
    h = item / tiles;
    row = item % tiles * TILE_ROWS;
    rows = min_i64(TILE_ROWS, j->a->queries[i].q.shape[1] - row);
    query_tile_load(j, w, &j->a->queries[i].q, h, row, rows);
    for (int64_t key = 0; key < j->p.keys; key += KEY_TILE)
        key_tile_run(j, w, h, first + row, rows, key);
    tile_write(j, w, &j->a->queries[i], h, row, rows);
}

size_t attention_workspace_cpu(const void *self, const struct op_attention *a)
{
    const struct cpu *cpu = self;
    struct attn_plan p;

    attn_plan_make(a, &p);
    return p.bytes * (size_t)cpu->threads;
}

enum status attention_cpu(void *self, struct queue *q, const struct op_attention *a,
                          struct err *e)
{
    struct cpu *cpu = self;
    struct attn_job j = {.a = a, .q = q};

    attn_plan_make(a, &j.p);
    TRY(scratch_check(cpu, q, j.p.bytes, e));
    pool_run(cpu->pool, j.p.items, attn_item, &j);
    return ST_OK;
}
