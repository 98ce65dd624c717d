/* attention_wide.c - attention by whole products, for heads wider than 128
 *
 * (The autoencoder's have 384.) For some queries of a head at a time
 *
 *     S[s,n] = q k^T          f32
 *     P[s,n] = softmax(scale S), in the type of q
 *     o[s,d] = P v            as a product with v^T [d,n]
 *
 * through the op of matrix products. Workspace: v^T, S, P, then that op's own. One part
 * of keys, whose number is a multiple of 16.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.h"

enum { LOGITS_MAX = 16 << 20, KEYS_MAX = 48 << 10, KEYS_MIN = 64 };

/* The pieces for one head; addresses are NULL while planning. */
struct pieces {
    struct tensor turned, logits, p;
    size_t bytes;
};

static bool float_alike(const struct op_attention *a)
{
    enum dtype dt = a->queries[0].q.dtype;
    const struct attn_keys *k = &a->keys[0];

    return (dt == DT_BF16 || dt == DT_F32) && k->k.dtype == dt && k->v.dtype == dt;
}

static bool rows_fit(const struct tensor *t, int axis)
{
    return t->stride[0] % 16 == 0 && t->stride[1] % 16 == 0 && t->shape[axis] > 0 &&
           (uintptr_t)t->data % 16 == 0;
}

bool attention_wide_fits(const struct op_attention *a)
{
    const struct tensor *q = &a->queries[0].q;
    int64_t n = a->n_keys == 1 ? a->keys[0].n : 0;

    if (n < KEYS_MIN || n > KEYS_MAX || n % 16 || a->add || !float_alike(a) ||
        q->shape[2] <= 128 || q->shape[2] % 16 || a->key_bias || a->rel_bias)
        return false;
    for (int i = 0; i < a->n_queries; i++) {
        const struct attn_queries *qs = &a->queries[i];

        if (qs->lse || !rows_fit(&qs->q, 1) || !rows_fit(&qs->o, 0) ||
            (qs->o.dtype != DT_F32 && qs->o.dtype != DT_BF16))
            return false;
    }
    return a->n_queries == 1 && rows_fit(&a->keys[0].k, 1);
}

static size_t padded(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

/* How many queries at a time; depends on the number of keys alone. */
static int64_t rows_of(const struct op_attention *a)
{
    int64_t rows = LOGITS_MAX / a->keys[0].n / 128 * 128;
    int64_t all = a->queries[0].q.shape[1];

    rows = rows < 128 ? 128 : rows;
    return rows < all ? rows : all;
}

static struct pieces pieces_cut(const struct op_attention *a, int64_t rows, char *at)
{
    const struct tensor *q = &a->queries[0].q;
    int64_t n = a->keys[0].n, d = q->shape[2];
    size_t turned = padded((size_t)(n * d) * dtype_bytes(q->dtype));
    size_t logits = padded((size_t)(rows * n) * sizeof(float));
    size_t p = padded((size_t)(rows * n) * dtype_bytes(q->dtype));

    return (struct pieces){
        tensor_make2(at, q->dtype, MEM_DEVICE, d, n),
        tensor_make2(at ? at + turned : NULL, DT_F32, MEM_DEVICE, rows, n),
        tensor_make2(at ? at + turned + logits : NULL, q->dtype, MEM_DEVICE, rows, n),
        turned + logits + p,
    };
}

/* Rows of a head as a matrix. */
static struct tensor head_of(const struct tensor *t, int64_t head, int64_t first,
                             int64_t rows)
{
    size_t size = dtype_bytes(t->dtype);
    int64_t at = head * t->stride[0] + first * t->stride[1];
    struct tensor m = tensor_make2(t->data ? (char *)t->data + at * (int64_t)size
                                           : NULL,
                                   t->dtype, MEM_DEVICE, rows, t->shape[2]);

    m.stride[0] = t->stride[1];
    return m;
}

/* The same of a result, [s, heads, d]. */
static struct tensor result_of(const struct tensor *t, int64_t head, int64_t first,
                               int64_t rows)
{
    struct tensor turned = *t;

    turned.stride[0] = t->stride[1];
    turned.stride[1] = t->stride[0];
    return head_of(&turned, head, first, rows);
}

size_t attention_wide_workspace(const void *self, const struct op_attention *a)
{
    int64_t rows = rows_of(a);
    struct pieces w = pieces_cut(a, rows, NULL);
    struct tensor q = head_of(&a->queries[0].q, 0, 0, rows);
    struct tensor k = head_of(&a->keys[0].k, 0, 0, a->keys[0].n);
    struct tensor o = result_of(&a->queries[0].o, 0, 0, rows);
    size_t first = linear_workspace_cuda(
        self, &(struct op_linear){.y = &w.logits, .x = &q, .w = &k});
    size_t second = linear_workspace_cuda(
        self, &(struct op_linear){.y = &o, .x = &w.p, .w = &w.turned});

    return w.bytes + (first > second ? first : second);
}

static enum status rows_attend(struct cuda *c, struct queue *q,
                               const struct op_attention *a, int64_t head,
                               int64_t first, int64_t rows, struct err *e)
{
    struct pieces w = pieces_cut(a, rows, q->workspace);
    struct tensor x = head_of(&a->queries[0].q, head, first, rows);
    struct tensor k = head_of(&a->keys[0].k, head, 0, a->keys[0].n);
    struct tensor o = result_of(&a->queries[0].o, head, first, rows);
    size_t mine = pieces_cut(a, rows_of(a), NULL).bytes;
    struct queue rest = *q;

    rest.workspace += mine;
    rest.bytes -= mine;
    TRY(linear_cuda(c, &rest, &(struct op_linear){.y = &w.logits, .x = &x, .w = &k},
                    e));
    TRY(cuda_said(softmax_launch(&w.p, w.logits.data, a->scale, q->stream), "attention",
                  e));
    return linear_cuda(c, &rest,
                       &(struct op_linear){.y = &o, .x = &w.p, .w = &w.turned}, e);
}

enum status attention_wide_cuda(struct cuda *c, struct queue *q,
                                const struct op_attention *a, struct err *e)
{
    int64_t all = a->queries[0].q.shape[1], step = rows_of(a);
    size_t bytes = attention_wide_workspace(c, a);
    struct tensor turned = pieces_cut(a, step, q->workspace).turned;

    if (bytes > q->bytes)
        return err_set(e, ST_RESOURCE,
                       "attention: needs %zu bytes of workspace, has %zu", bytes,
                       q->bytes);
    for (int64_t head = 0; head < a->queries[0].q.shape[0]; head++) {
        struct tensor v = head_of(&a->keys[0].v, head, 0, a->keys[0].n);

        TRY(cuda_said(turn_launch(&turned, &v, q->stream), "attention", e));
        for (int64_t at = 0; at < all; at += step)
            TRY(rows_attend(c, q, a, head, at, all - at < step ? all - at : step, e));
    }
    return ST_OK;
}
