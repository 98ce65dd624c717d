/* layers.c - what each kind of layer does, on the table of operations
 *
 * While measuring (k->queue is NULL) the put_… helpers only note workspace and work;
 * everything else is the same code. */
#include <math.h>

#include "engine/vae/coder.h"

/* ---- putting work on the queue -------------------------------------------------- */

static void workspace_note(struct coder *k, size_t bytes)
{
    if (bytes > k->workspace_bytes)
        k->workspace_bytes = bytes;
}

static enum status put_conv(struct coder *k, const struct op_conv *a, struct err *e)
{
    if (k->queue)
        return ops_conv(k->ops, k->queue, a, e);
    workspace_note(k, ops_conv_workspace(k->ops, a));
    k->flop += 2.0 * (double)tensor_count(a->y) * (double)tensor_count(a->weight) /
               (double)a->weight->shape[0];
    return ST_OK;
}

static enum status put_linear(struct coder *k, const struct op_linear *a, struct err *e)
{
    if (k->queue)
        return ops_linear(k->ops, k->queue, a, e);
    workspace_note(k, ops_linear_workspace(k->ops, a));
    k->flop += 2.0 * (double)tensor_count(a->y) * (double)a->x->shape[1];
    return ST_OK;
}

static enum status put_attention(struct coder *k, const struct op_attention *a,
                                 struct err *e)
{
    if (k->queue)
        return ops_attention(k->ops, k->queue, a, e);
    workspace_note(k, ops_attention_workspace(k->ops, a));
    k->flop += 4.0 * (double)tensor_count(&a->queries->q) * (double)a->keys->n;
    return ST_OK;
}

static enum status put_copy(struct coder *k, const struct tensor *dst,
                            const struct tensor *src, struct err *e)
{
    return k->queue ? ops_copy(k->ops, k->queue, dst, src, e) : ST_OK;
}

/* [n,h,w,c] as rows of pixels. */
static struct tensor pixel_rows(const struct tensor *t)
{
    int64_t c = t->shape[3];

    return tensor_reshape(t, 2, (int64_t[]){tensor_count(t) / c, c});
}

/* out = act(norm(x) * gamma) for every row. */
static struct op_norm norm_of(struct tensor *out, const struct tensor *x,
                              const struct layer_norm *n, enum act_kind act)
{
    return (struct op_norm){
        .out = out,
        .x = x,
        .norm = {.kind = NORM_L2, .act = act, .eps = 1e-12f, .weight = &n->gamma},
    };
}

static enum status put_norm(struct coder *k, const struct op_norm *a, struct err *e)
{
    return k->queue ? ops_norm(k->ops, k->queue, a, e) : ST_OK;
}

/* out = silu(norm(x)) at every pixel. */
static enum status put_norm_silu(struct coder *k, const struct tensor *out,
                                 const struct tensor *x, const struct layer_norm *n,
                                 struct err *e)
{
    struct tensor x_rows = pixel_rows(x), out_rows = pixel_rows(out);
    struct op_norm a = norm_of(&out_rows, &x_rows, n, ACT_SILU);

    return put_norm(k, &a, e);
}

/* ---- pieces that layers share --------------------------------------------------- */

static int other(const struct coder *k)
{
    return k->at == BUFFER_A ? BUFFER_B : BUFFER_A;
}

/* y, in the other buffer, is the picture now, and covers `a`. */
static void advance(struct coder *k, const struct tensor *y, const struct area *a)
{
    k->at = other(k);
    k->x = *y;
    k->area = *a;
}

/* What a convolution in time reads, for the frames of `like` with `front` before them.
 */
static struct tensor work_take(struct coder *k, const struct tensor *like,
                               int64_t front)
{
    return coder_take(k, BUFFER_WORK, front + like->shape[0], like->shape[1],
                      like->shape[2], like->shape[3]);
}

/* The part of `work` behind the front. */
static struct tensor work_body(const struct tensor *work, int64_t front)
{
    return tensor_slice(work, 0, front, work->shape[0] - front);
}

/* Convolution within frames and of single frames in time, of a picture that covers
 * `in`.
 */
static struct op_conv conv_of(const struct layer_conv *c, const struct area *in,
                              const struct tensor *x, struct tensor *y,
                              const struct tensor *residual)
{
    struct op_conv a = {
        .y = y,
        .x = x,
        .weight = &c->weight,
        .bias = &c->bias,
        .residual = residual,
        .stride = {1, 1, 1},
        .upsample = 1,
        .column = in->x,
    };

    if (c->weight.shape[2] == 1)
        return a;
    area_pad(in, a.pad_lo, a.pad_hi);
    a.column = area_inner(in).x;
    return a;
}

/* Fill the front of `work` [2 + n,…] from the slot; *x is what the convolution reads
 * and the return value how many frames of zeros are to be thought before it. */
static enum status slot_load(struct coder *k, int index, const struct tensor *work,
                             struct tensor *x, int *zeros, struct err *e)
{
    struct slot *s = &k->slots[index];
    struct tensor front = tensor_slice(work, 0, 2 - s->have, s->have);
    struct tensor kept;

    if (!k->queue)
        s->t = tensor_make(
            NULL, work->dtype, work->space, 4,
            (int64_t[]){2, work->shape[1], work->shape[2], work->shape[3]});
    kept = tensor_slice(&s->t, 0, 0, s->have);
    if (s->have)
        TRY(put_copy(k, &front, &kept, e));
    *x = work_body(work, 2 - s->have);
    *zeros = (int)(2 - s->have);
    return ST_OK;
}

/* Keep the last two frames of `work` that are there. */
static enum status slot_save(struct coder *k, int index, const struct tensor *work,
                             struct err *e)
{
    struct slot *s = &k->slots[index];
    int64_t there = s->have + work->shape[0] - 2;
    int64_t keep = there < 2 ? there : 2;
    struct tensor tail = work_body(work, work->shape[0] - keep);
    struct tensor kept = tensor_slice(&s->t, 0, 0, keep);

    TRY(put_copy(k, &kept, &tail, e));
    s->have = keep;
    return ST_OK;
}

/* y = causal convolution of `work`, which covers `in` and whose body is filled, plus
 * residual. */
static enum status causal(struct coder *k, const struct layer_conv *c, int slot,
                          const struct area *in, const struct tensor *work,
                          struct tensor *y, const struct tensor *residual,
                          struct err *e)
{
    struct tensor x;
    struct op_conv a;
    int zeros;

    TRY(slot_load(k, slot, work, &x, &zeros, e));
    a = conv_of(c, in, &x, y, residual);
    a.pad_lo[0] = zeros;
    TRY(put_conv(k, &a, e));
    return slot_save(k, slot, work, e);
}

/* causal(silu(norm(x))) into y; x covers `in`. */
static enum status norm_causal(struct coder *k, const struct layer_norm *n,
                               const struct layer_conv *c, int slot,
                               const struct area *in, const struct tensor *x,
                               struct tensor *y, struct err *e)
{
    struct tensor work = work_take(k, x, 2);
    struct tensor body = work_body(&work, 2);

    TRY(put_norm_silu(k, &body, x, n, e));
    return causal(k, c, slot, in, &work, y, NULL, e);
}

/* As many frames as x of this area and `c` channels, in the other buffer. */
static struct tensor other_take(struct coder *k, const struct area *a, int64_t c)
{
    return coder_take(k, other(k), k->x.shape[0], a->h, a->w, c);
}

/* ---- the layers ----------------------------------------------------------------- */

static enum status run_point(struct coder *k, const struct layer *l, struct err *e)
{
    struct tensor y = other_take(k, &k->area, l->out);
    struct op_conv a = conv_of(&l->conv[0], &k->area, &k->x, &y, NULL);

    TRY(put_conv(k, &a, e));
    advance(k, &y, &k->area);
    return ST_OK;
}

static enum status run_causal(struct coder *k, const struct layer *l, struct err *e)
{
    struct area out = area_inner(&k->area);
    struct tensor work = work_take(k, &k->x, 2);
    struct tensor body = work_body(&work, 2);
    struct tensor y = other_take(k, &out, l->out);

    TRY(put_copy(k, &body, &k->x, e));
    TRY(causal(k, &l->conv[0], l->slot, &k->area, &work, &y, NULL, e));
    advance(k, &y, &out);
    return ST_OK;
}

static enum status run_head(struct coder *k, const struct layer *l, struct err *e)
{
    struct area out = area_inner(&k->area);
    struct tensor y = other_take(k, &out, l->out);

    TRY(norm_causal(k, &l->norm[0], &l->conv[0], l->slot, &k->area, &k->x, &y, e));
    advance(k, &y, &out);
    return ST_OK;
}

/* The first result and what becomes of it share a buffer: the norm between them has
 * read the one before the other is written. */
static enum status run_res(struct coder *k, const struct layer *l, struct err *e)
{
    struct area mid = area_inner(&k->area), out = area_inner(&mid);
    struct tensor y = other_take(k, &mid, l->out), z = other_take(k, &out, l->out);
    struct tensor x = area_view(&k->x, &k->area, &out);
    struct tensor work, body;
    struct op_conv shortcut;

    TRY(norm_causal(k, &l->norm[0], &l->conv[0], l->slot, &k->area, &k->x, &y, e));
    work = work_take(k, &y, 2);
    body = work_body(&work, 2);
    TRY(put_norm_silu(k, &body, &y, &l->norm[1], e));
    if (l->conv[2].name) {
        shortcut = conv_of(&l->conv[2], &out, &x, &z, NULL);
        TRY(put_conv(k, &shortcut, e));
    }
    TRY(causal(k, &l->conv[1], l->slot + 1, &mid, &work, &z, l->conv[2].name ? &z : &x,
               e));
    advance(k, &z, &out);
    return ST_OK;
}

/* y[s,c] = x[s,c] w^T + bias, with rows [begin, begin + c) of the weight. */
static enum status project(struct coder *k, const struct layer_conv *c, int64_t begin,
                           const struct tensor *x, struct tensor *y, struct err *e)
{
    int64_t rows = c->weight.shape[0], cols = c->weight.shape[4];
    struct tensor whole = tensor_reshape(&c->weight, 2, (int64_t[]){rows, cols});
    struct tensor w = tensor_slice(&whole, 0, begin, y->shape[1]);
    struct tensor bias = tensor_slice(&c->bias, 0, begin, y->shape[1]);
    struct op_linear a = {.y = y, .x = x, .w = &w, .bias = &bias};

    return put_linear(k, &a, e);
}

/* o = attention of one head over the pixels of a frame; q, k, v, o [s,c]. */
static enum status attend(struct coder *k, const struct tensor qkv[3],
                          const struct tensor *o, struct err *e)
{
    int64_t s = o->shape[0], c = o->shape[1];
    struct attn_queries queries = {
        .q = tensor_reshape(&qkv[0], 3, (int64_t[]){1, s, c}),
        .o = tensor_reshape(o, 3, (int64_t[]){s, 1, c}),
    };
    struct attn_keys keys = {
        .k = tensor_reshape(&qkv[1], 3, (int64_t[]){1, s, c}),
        .v = tensor_reshape(&qkv[2], 3, (int64_t[]){1, s, c}),
        .n = s,
    };
    struct op_attention a = {
        .queries = &queries,
        .n_queries = 1,
        .keys = &keys,
        .n_keys = 1,
        .scale = (float)(1.0 / sqrt((double)c)),
    };

    return put_attention(k, &a, e);
}

/* One frame [s,c] of x; `room` [4,s,c] is scratch: normalised input, then output of the
 * attention; q, then projected output; k; v. */
static enum status attend_frame(struct coder *k, const struct layer *l,
                                struct tensor *frame, const struct tensor *room,
                                struct err *e)
{
    int64_t s = frame->shape[0], c = frame->shape[1];
    struct tensor part[4];
    struct op_norm norm;
    struct op_residual add;

    for (int i = 0; i < 4; i++) {
        struct tensor slice = tensor_slice(room, 0, i, 1);

        part[i] = tensor_reshape(&slice, 2, (int64_t[]){s, c});
    }
    norm = norm_of(&part[0], frame, &l->norm[0], ACT_NONE);
    TRY(put_norm(k, &norm, e));
    for (int i = 0; i < 3; i++)
        TRY(project(k, &l->conv[0], i * c, &part[0], &part[1 + i], e));
    TRY(attend(k, part + 1, &part[0], e));
    TRY(project(k, &l->conv[1], 0, &part[0], &part[1], e));
    add = (struct op_residual){.x = frame, .y = &part[1]};
    return k->queue ? ops_residual(k->ops, k->queue, &add, e) : ST_OK;
}

static enum status run_attn(struct coder *k, const struct layer *l, struct err *e)
{
    int64_t s = k->x.shape[1] * k->x.shape[2], c = l->in;
    struct tensor work = coder_take(k, BUFFER_WORK, 4, 1, s, c);
    struct tensor room = tensor_reshape(&work, 3, (int64_t[]){4, s, c});

    for (int64_t i = 0; i < k->x.shape[0]; i++) {
        struct tensor slice = tensor_slice(&k->x, 0, i, 1);
        struct tensor frame = tensor_reshape(&slice, 2, (int64_t[]){s, c});

        TRY(attend_frame(k, l, &frame, &room, e));
    }
    return ST_OK;
}

/* A row and a column of zeros below and on the right, none above and on the left. */
static enum status run_down(struct coder *k, const struct layer *l, struct err *e)
{
    struct area out = area_whole(k->area.h / 2, k->area.w / 2);
    struct tensor y = other_take(k, &out, l->out);
    struct op_conv a = conv_of(&l->conv[0], &k->area, &k->x, &y, NULL);

    for (int i = 1; i < 3; i++) {
        a.pad_lo[i] = 0;
        a.stride[i] = 2;
    }
    TRY(put_conv(k, &a, e));
    advance(k, &y, &out);
    return ST_OK;
}

/* The first frame of the clip is only remembered. Later: pairs of frames, each with the
 * frame before it, become one. */
static enum status run_down_time(struct coder *k, const struct layer *l, struct err *e)
{
    struct slot *s = &k->slots[l->slot];
    int64_t n = k->x.shape[0];
    struct tensor last = tensor_slice(&k->x, 0, n - 1, 1);
    struct tensor work, front, body, y;
    struct op_conv a;

    if (!k->queue) {
        s->t = last;
        s->t.data = NULL;
    }
    if (!k->first) {
        work = work_take(k, &k->x, 1);
        front = tensor_slice(&work, 0, 0, 1);
        body = work_body(&work, 1);
        y = coder_take(k, other(k), n / 2, k->x.shape[1], k->x.shape[2], l->in);
        TRY(put_copy(k, &front, &s->t, e));
        TRY(put_copy(k, &body, &k->x, e));
        a = conv_of(&l->conv[1], &k->area, &work, &y, NULL);
        a.stride[0] = 2;
        TRY(put_conv(k, &a, e));
    }
    TRY(put_copy(k, &s->t, &last, e));
    if (!k->first)
        advance(k, &y, &k->area);
    return ST_OK;
}

static enum status run_down_t(struct coder *k, const struct layer *l, struct err *e)
{
    TRY(run_down(k, l, e));
    return run_down_time(k, l, e);
}

static enum status put_convert(struct coder *k, struct tensor *dst,
                               const struct tensor *src, struct err *e)
{
    struct op_convert a = {.dst = dst, .src = src};

    return k->queue ? ops_convert(k->ops, k->queue, &a, e) : ST_OK;
}

enum status picture_crop(struct coder *k, const struct area *want, struct err *e)
{
    struct tensor x, y;

    if (area_same(want, &k->area))
        return ST_OK;
    x = area_view(&k->x, &k->area, want);
    y = other_take(k, want, k->x.shape[3]);
    TRY(put_convert(k, &y, &x, e));
    advance(k, &y, want);
    return ST_OK;
}

/* Keep of the picture what the tile needs from this layer on. */
static enum status crop(struct coder *k, const struct layer *l, struct err *e)
{
    struct area need = area_needed(k->net, (int)(l - k->net->layers), &k->tile);

    return picture_crop(k, &need, e);
}

static enum status run_up_space(struct coder *k, const struct layer *l, struct err *e)
{
    struct area doubled = area_double(&k->area), out = area_inner(&doubled);
    struct tensor y = other_take(k, &out, l->out);
    struct op_conv a = conv_of(&l->conv[0], &doubled, &k->x, &y, NULL);

    a.upsample = 2;
    TRY(put_conv(k, &a, e));
    advance(k, &y, &out);
    return ST_OK;
}

static enum status run_up(struct coder *k, const struct layer *l, struct err *e)
{
    TRY(crop(k, l, e));
    return run_up_space(k, l, e);
}

/* One half of the channels of the time convolution, to every second frame of y. */
static enum status put_half(struct coder *k, const struct layer_conv *c, int half,
                            const struct tensor *x, int zeros, const struct tensor *y,
                            struct err *e)
{
    int64_t n = y->shape[0] / 2, width = y->shape[3];
    struct layer_conv part = {
        .weight = tensor_slice(&c->weight, 0, half * width, width),
        .bias = tensor_slice(&c->bias, 0, half * width, width),
    };
    struct tensor frames = tensor_slice(y, 0, half, n);
    struct op_conv a;

    frames.stride[0] *= 2;
    a = conv_of(&part, &k->area, x, &frames, NULL);
    a.pad_lo[0] = zeros;
    return put_conv(k, &a, e);
}

/* Every frame becomes two: the first half of the channels is the earlier one. Not for
 * the first frame of the clip, which the convolution never sees. */
static enum status run_up_time(struct coder *k, const struct layer *l, struct err *e)
{
    struct tensor work = work_take(k, &k->x, 2);
    struct tensor body = work_body(&work, 2);
    struct tensor y = coder_take(k, other(k), 2 * k->x.shape[0], k->x.shape[1],
                                 k->x.shape[2], l->in);
    struct tensor x;
    int zeros;

    TRY(put_copy(k, &body, &k->x, e));
    TRY(slot_load(k, l->slot, &work, &x, &zeros, e));
    for (int half = 0; half < 2; half++)
        TRY(put_half(k, &l->conv[1], half, &x, zeros, &y, e));
    TRY(slot_save(k, l->slot, &work, e));
    advance(k, &y, &k->area);
    return ST_OK;
}

static enum status run_up_t(struct coder *k, const struct layer *l, struct err *e)
{
    TRY(crop(k, l, e));
    if (!k->first)
        TRY(run_up_time(k, l, e));
    return run_up_space(k, l, e);
}

enum status layer_run(struct coder *k, const struct layer *l, struct err *e)
{
    static enum status (*const run[])(struct coder *, const struct layer *,
                                      struct err *) = {
        [LAYER_POINT] = run_point, [LAYER_CAUSAL] = run_causal,
        [LAYER_RES] = run_res,     [LAYER_ATTN] = run_attn,
        [LAYER_DOWN] = run_down,   [LAYER_DOWN_T] = run_down_t,
        [LAYER_UP] = run_up,       [LAYER_UP_T] = run_up_t,
        [LAYER_HEAD] = run_head,
    };

    return run[l->kind](k, l, e);
}
