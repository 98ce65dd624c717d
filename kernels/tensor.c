/* tensor.c - views: making, slicing and reshaping without touching the numbers */
#include "kernels/tensor.h"

#include <assert.h>
#include <string.h>

static void strides_dense(struct tensor *t)
{
    int64_t step = 1;

    for (int i = t->rank - 1; i >= 0; i--) {
        t->stride[i] = step;
        step *= t->shape[i];
    }
}

struct tensor tensor_make(void *data, enum dtype dt, enum mem_space space, int rank,
                          const int64_t *shape)
{
    struct tensor t;

    assert(rank >= 0 && rank <= TENSOR_RANK_MAX);
    memset(&t, 0, sizeof(t));
    t.dtype = dt;
    t.space = space;
    t.rank = rank;
    t.data = data;
    for (int i = 0; i < rank; i++)
        t.shape[i] = shape[i];
    strides_dense(&t);
    return t;
}

struct tensor tensor_make1(void *data, enum dtype dt, enum mem_space sp, int64_t n)
{
    return tensor_make(data, dt, sp, 1, &n);
}

struct tensor tensor_make2(void *data, enum dtype dt, enum mem_space sp, int64_t rows,
                           int64_t cols)
{
    return tensor_make(data, dt, sp, 2, (int64_t[]){rows, cols});
}

struct tensor tensor_make3(void *data, enum dtype dt, enum mem_space sp, int64_t n,
                           int64_t rows, int64_t cols)
{
    return tensor_make(data, dt, sp, 3, (int64_t[]){n, rows, cols});
}

struct tensor tensor_cut(struct arena *a, enum dtype dt, enum mem_space space, int rank,
                         const int64_t *shape)
{
    struct tensor t = tensor_make(NULL, dt, space, rank, shape);

    t.data = arena_cut(a, (size_t)tensor_count(&t) * dtype_bytes(dt));
    return t;
}

struct tensor operand_cut(struct arena *a, enum dtype dt, enum mem_space space,
                          int64_t rows, int64_t cols)
{
    struct tensor t = tensor_cut(a, dt, space, 2, (int64_t[]){rows, cols});

    if (dtype_bytes(dt) == 1) {
        t.scales.kind = SCALE_ROW;
        t.scales.data = arena_cut(a, (size_t)rows * sizeof(float));
    }
    return t;
}

/* Move the scales along with a slice that starts at `begin` on `axis`. */
static void scales_slice(struct tensor *t, int axis, int64_t begin, int64_t count)
{
    struct scales *s = &t->scales;
    int row_axis = t->rank - 2;
    int col_axis = t->rank - 1;

    if (s->kind == SCALE_NONE || s->kind == SCALE_TENSOR || !s->data)
        return;
    if (axis < row_axis) {
        assert(axis == row_axis - 1);
        s->data += begin * s->stride[0];
    } else if (s->kind == SCALE_ROW && axis == row_axis) {
        s->data += begin;
    } else if (s->kind == SCALE_COLUMN && axis == col_axis) {
        s->data += begin;
    } else if (s->kind == SCALE_GROUP && axis == row_axis) {
        assert(begin % s->rows == 0);
        s->data += begin / s->rows * s->stride[1];
    } else if (s->kind == SCALE_GROUP) {
        assert(begin % s->cols == 0);
        s->data += begin / s->cols;
    }
    (void)count;
}

static void pending_slice(struct tensor *t, int axis, int64_t begin)
{
    struct pending *p = &t->pending;

    if (axis == t->rank - 2 && p->row_scale)
        p->row_scale += begin;
    if (axis == t->rank - 1 && p->col_scale)
        p->col_scale += begin;
    if (axis == t->rank - 1 && p->bias)
        p->bias += begin;
}

struct tensor tensor_slice(const struct tensor *t, int axis, int64_t begin,
                           int64_t count)
{
    struct tensor s = *t;

    assert(axis >= 0 && axis < t->rank);
    assert(begin >= 0 && count >= 0 && begin + count <= t->shape[axis]);
    s.shape[axis] = count;
    if (s.data)
        s.data = (char *)s.data +
                 (size_t)(begin * t->stride[axis]) * dtype_bytes(t->dtype);
    scales_slice(&s, axis, begin, count);
    pending_slice(&s, axis, begin);
    return s;
}

struct tensor tensor_reshape(const struct tensor *t, int rank, const int64_t *shape)
{
    struct tensor r = tensor_make(t->data, t->dtype, t->space, rank, shape);

    assert(tensor_dense(t));
    assert(tensor_count(&r) == tensor_count(t));
    return r;
}

int64_t tensor_count(const struct tensor *t)
{
    int64_t n = 1;

    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

bool tensor_dense(const struct tensor *t)
{
    int64_t step = 1;

    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != step)
            return false;
        step *= t->shape[i];
    }
    return true;
}

bool tensor_same_shape(const struct tensor *a, const struct tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->shape[i] != b->shape[i])
            return false;
    }
    return true;
}
