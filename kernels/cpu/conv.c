/* conv.c - convolution as products of gathered pixels with the weight
 *
 * Output pixels get slots, t, h, w in order, and slots are cut into tiles of PIXELS; a
 * tile is one item. The taps of the kernel are worked through in chunks of about CHUNK
 * values per pixel: gather [PIXELS, taps * C], multiply with those columns of the
 * weight, add up in y [PIXELS, O]. Scratch depends on C, O and the kernel alone, not on
 * T, H, W. Chunks keep the gathered values in the second-level cache.
 *
 * OpenBLAS may round a row of a product otherwise than the next one: its Haswell kernel
 * works on 12 rows at once, and the first 6 of them add in another order than the last
 * 6 (0.3.21; its other kernels treat all rows alike). So every line of
 * a picture takes a multiple of PERIOD slots, and a pixel of column w stands in slot w
 * of the whole picture modulo PERIOD: its bytes depend on what it reads and on that,
 * not on how many pixels are computed with it. Slots without a pixel are rows of zeros.
 */
#include "kernels/cpu/blas.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/span.h"
#include <string.h>

enum { PERIOD = 12, PIXELS = 20 * PERIOD, CHUNK = 1024 };

struct conv_plan {
    int64_t channels, outputs, taps;
    int64_t k;     /* columns of the weight: taps * channels */
    int64_t chunk; /* taps per product */
    int64_t phase; /* slots of a line before its first pixel */
    int64_t line;  /* slots of a line */
    int64_t slots; /* of all lines */
    size_t x_floats, w_floats, y_floats;
    size_t bytes;
};

struct conv_job {
    const struct op_conv *a;
    const struct queue *q;
    struct conv_plan p;
};

/* Position of a pixel on t, h, w; of the first tap that it reads, before clipping. */
struct corner {
    int64_t at[3];
};

static size_t aligned_floats(int64_t n)
{
    int64_t step = ARENA_ALIGN / (int64_t)sizeof(float);

    return (size_t)(ceil_div(n, step) * step);
}

static void conv_plan_make(const struct op_conv *a, struct conv_plan *p)
{
    const int64_t *w = a->weight->shape;

    p->outputs = w[0];
    p->taps = w[1] * w[2] * w[3];
    p->channels = w[4];
    p->k = p->taps * p->channels;
    p->chunk = CHUNK / (p->channels > 0 ? p->channels : 1);
    p->chunk = min_i64(p->chunk > 0 ? p->chunk : 1, p->taps);
    p->phase = a->column % PERIOD;
    p->line = ceil_div(p->phase + a->y->shape[2], PERIOD) * PERIOD;
    p->slots = a->y->shape[0] * a->y->shape[1] * p->line;
    p->x_floats = aligned_floats(PIXELS * p->chunk * p->channels + p->outputs);
    p->w_floats = a->weight->dtype == DT_F32
                      ? 0
                      : aligned_floats(p->outputs * p->chunk * p->channels);
    p->y_floats = aligned_floats(PIXELS * p->outputs);
    p->bytes = (p->x_floats + p->w_floats + p->y_floats) * sizeof(float);
}

/* ---- gathering ---------------------------------------------------------------- */

/* The output pixel of a slot; false: it has none. */
static bool slot_pixel(const struct conv_job *j, int64_t slot, struct corner *out)
{
    const int64_t *shape = j->a->y->shape;
    int64_t line = slot / j->p.line;

    out->at[0] = line / shape[1];
    out->at[1] = line % shape[1];
    out->at[2] = slot % j->p.line - j->p.phase;
    return slot < j->p.slots && out->at[2] >= 0 && out->at[2] < shape[2];
}

/* Where the pixel of a slot reads its first tap; one that is not there reads before
 * the clip, which is zeros. */
static struct corner corner_of(const struct conv_job *j, int64_t slot)
{
    struct corner c;

    if (!slot_pixel(j, slot, &c))
        return (struct corner){{INT32_MIN, 0, 0}};
    for (int i = 0; i < 3; i++)
        c.at[i] = c.at[i] * j->a->stride[i] - j->a->pad_lo[i];
    return c;
}

/* The C values that a tap at t, h, w reads, as f32; zeros outside the picture. */
static void tap_load(const struct op_conv *a, int64_t t, int64_t h, int64_t w,
                     int64_t channels, float *out)
{
    const struct tensor *x = a->x;
    int64_t up = a->upsample > 1 ? a->upsample : 1;
    bool inside = t >= 0 && t < x->shape[0] && h >= 0 && h < x->shape[1] * up &&
                  w >= 0 && w < x->shape[2] * up;
    int64_t at;

    if (!inside) {
        memset(out, 0, (size_t)channels * sizeof(*out));
        return;
    }
    at = t * x->stride[0] + h / up * x->stride[1] + w / up * x->stride[2];
    span_load(span_at(x->data, x->dtype, at), x->dtype, channels, out);
}

/* Taps [tap, tap + n) of a tile. */
static void tile_gather(const struct conv_job *j, const struct corner *corners,
                        int64_t tap, int64_t n, float *out)
{
    const int64_t *ws = j->a->weight->shape;
    int64_t c = j->p.channels;
    int64_t width = n * c;

    for (int64_t i = 0; i < n; i++) {
        int64_t dw = (tap + i) % ws[3];
        int64_t dh = (tap + i) / ws[3] % ws[2];
        int64_t dt = (tap + i) / ws[3] / ws[2];

        for (int64_t r = 0; r < PIXELS; r++) {
            const int64_t *at = corners[r].at;

            tap_load(j->a, at[0] + dt, at[1] + dh, at[2] + dw, c,
                     out + r * width + i * c);
        }
    }
}

/* Columns [col, col + n) of the weight: in place, or decoded into `scratch`. */
static const float *weight_borrow(const struct conv_job *j, int64_t col, int64_t n,
                                  float *scratch, int64_t *stride)
{
    const struct tensor *w = j->a->weight;

    if (w->dtype == DT_F32) {
        *stride = j->p.k;
        return (const float *)w->data + col;
    }
    for (int64_t o = 0; o < j->p.outputs; o++)
        span_load(span_at(w->data, w->dtype, o * j->p.k + col), w->dtype, n,
                  scratch + o * n);
    *stride = n;
    return scratch;
}

/* ---- writing ------------------------------------------------------------------ */

FF_CLONES static void add_to(float *restrict o, const float *restrict v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        o[i] += v[i];
}

static int64_t pixel_offset(const struct tensor *t, const struct corner *c)
{
    return c->at[0] * t->stride[0] + c->at[1] * t->stride[1] + c->at[2] * t->stride[2];
}

/* y = v + bias + residual for one pixel; v is spoilt, `row` is room for one pixel. */
static void pixel_write(const struct conv_job *j, const struct corner *pixel, float *v,
                        float *row)
{
    const struct op_conv *a = j->a;
    int64_t n = j->p.outputs;

    if (a->bias)
        add_to(v, a->bias->data, n);
    if (a->residual) {
        int64_t at = pixel_offset(a->residual, pixel);

        span_load(span_at(a->residual->data, a->residual->dtype, at),
                  a->residual->dtype, n, row);
        add_to(v, row, n);
    }
    span_store(span_at(a->y->data, a->y->dtype, pixel_offset(a->y, pixel)), a->y->dtype,
               n, v);
}

/* ---- items -------------------------------------------------------------------- */

static void conv_item(void *ctx, int64_t item, int worker)
{
    const struct conv_job *j = ctx;
    const struct conv_plan *p = &j->p;
    float *x_buf = scratch_of(j->q, p->bytes, worker);
    float *w_buf = x_buf + p->x_floats;
    float *y_buf = w_buf + p->w_floats;
    float *row_buf = x_buf + PIXELS * p->chunk * p->channels;
    int64_t slot = item * PIXELS;
    struct corner corners[PIXELS], pixel;

    for (int64_t r = 0; r < PIXELS; r++)
        corners[r] = corner_of(j, slot + r);
    for (int64_t tap = 0; tap < p->taps; tap += p->chunk) {
        int64_t n = min_i64(p->chunk, p->taps - tap);
        int64_t width = n * p->channels;
        int64_t w_stride;
        const float *w;

        tile_gather(j, corners, tap, n, x_buf);
        w = weight_borrow(j, tap * p->channels, width, w_buf, &w_stride);
        blas_nt(PIXELS, p->outputs, width, x_buf, width, w, w_stride, tap > 0, y_buf,
                p->outputs);
    }
    for (int64_t r = 0; r < PIXELS; r++) {
        if (slot_pixel(j, slot + r, &pixel))
            pixel_write(j, &pixel, y_buf + r * p->outputs, row_buf);
    }
}

size_t conv_workspace_cpu(const void *self, const struct op_conv *a)
{
    const struct cpu *cpu = self;
    struct conv_plan p;

    conv_plan_make(a, &p);
    return p.bytes * (size_t)cpu->threads;
}

enum status conv_cpu(void *self, struct queue *q, const struct op_conv *a,
                     struct err *e)
{
    struct cpu *cpu = self;
    struct conv_job j = {.a = a, .q = q};

    conv_plan_make(a, &j.p);
    TRY(scratch_check(cpu, q, j.p.bytes, e));
    pool_run(cpu->pool, ceil_div(j.p.slots, PIXELS), conv_item, &j);
    return ST_OK;
}
