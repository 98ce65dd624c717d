/* test_weights_device.c - weights reach memory that the host cannot write
 *
 * The operations table is replaced by a small one whose memory holds every byte
 * inverted, so that only what goes through its copy arrives as it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/weights/component.h"
#include "engine/weights/weights.h"
#include "kernels/base/quantise_row.h"

/* ---- a backend of one copy ------------------------------------------------------ */

struct ops {
    bool loads;
    int copies, waits, queues, events, pinned, converted, quantised, fail_at, held;
};

struct queue {
    struct ops *ops;
};

const struct ops_facts *ops_facts(const struct ops *ops)
{
    static const struct ops_facts host = {.name = "inverted", .space = MEM_DEVICE};
    static const struct ops_facts own = {
        .name = "inverted", .space = MEM_DEVICE, .loads = true};

    return ops->loads ? &own : &host;
}

enum status ops_mem_alloc(struct ops *ops, size_t bytes, void **out, struct err *e)
{
    (void)e;
    ops->held++;
    *out = calloc(1, bytes);
    return *out ? ST_OK : ST_RESOURCE;
}

void ops_mem_free(struct ops *ops, void *p)
{
    ops->held -= p != NULL;
    free(p);
}

enum status ops_queue_open(struct ops *ops, void *workspace, size_t bytes,
                           struct queue **out, struct err *e)
{
    (void)workspace;
    (void)bytes;
    (void)e;
    *out = malloc(sizeof(**out));
    (*out)->ops = ops;
    ops->queues++;
    return ST_OK;
}

void ops_queue_close(struct ops *ops, struct queue *q)
{
    if (!q)
        return;
    ops->queues--;
    free(q);
}

enum status ops_queue_wait(struct ops *ops, struct queue *q, struct err *e)
{
    (void)q;
    (void)e;
    ops->waits++;
    return ST_OK;
}

enum status ops_pinned_alloc(struct ops *ops, size_t bytes, void **out, struct err *e)
{
    ops->pinned++;
    return ops_mem_alloc(ops, bytes, out, e);
}

void ops_pinned_free(struct ops *ops, void *p)
{
    ops->pinned -= p != NULL;
    ops_mem_free(ops, p);
}

/* An event is 1 while nobody may touch what it stands for. */
struct event {
    bool busy;
};

enum status ops_event_open(struct ops *ops, struct event **out, struct err *e)
{
    (void)e;
    ops->events++;
    *out = calloc(1, sizeof(**out));
    return *out ? ST_OK : ST_RESOURCE;
}

void ops_event_close(struct ops *ops, struct event *ev)
{
    ops->events -= ev != NULL;
    free(ev);
}

enum status ops_event_record(struct ops *ops, struct queue *q, struct event *ev,
                             struct err *e)
{
    (void)e;
    assert_ptr_equal(q->ops, ops);
    ev->busy = true;
    return ST_OK;
}

enum status ops_event_await(struct ops *ops, struct queue *q, struct event *ev,
                            struct err *e)
{
    (void)e;
    assert_ptr_equal(q->ops, ops);
    assert_true(ev->busy);
    return ST_OK;
}

enum status ops_event_wait(struct ops *ops, struct event *ev, struct err *e)
{
    (void)ops;
    (void)e;
    ev->busy = false;
    return ST_OK;
}

enum status ops_copy(struct ops *ops, struct queue *q, const struct tensor *dst,
                     const struct tensor *src, struct err *e)
{
    const uint8_t *from = src->data;
    uint8_t *to = dst->data;

    (void)q;
    assert_int_not_equal(dst->space, src->space);
    assert_int_equal(tensor_count(dst), tensor_count(src));
    if (++ops->copies == ops->fail_at)
        return err_set(e, ST_DEVICE, "cannot copy: the device is gone");
    for (size_t i = 0; i < (size_t)tensor_count(src) * dtype_bytes(src->dtype); i++)
        to[i] = (uint8_t)~from[i];
    return ST_OK;
}

/* Bytes of the device as they are, or the other way. */
static void invert(void *to, const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)to)[i] = (uint8_t) ~((const uint8_t *)from)[i];
}

static int64_t offset_of(const struct tensor *t, int64_t i)
{
    int64_t at = 0;

    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return at;
}

enum status ops_convert(struct ops *ops, struct queue *q, const struct op_convert *a,
                        struct err *e)
{
    size_t from = dtype_bytes(a->src->dtype), to = dtype_bytes(a->dst->dtype);
    char in[8], out[8];

    (void)q;
    (void)e;
    ops->converted++;
    assert_true(tensor_same_shape(a->dst, a->src));
    assert_true(tensor_dense(a->dst));
    for (int64_t i = 0; i < tensor_count(a->src); i++) {
        invert(in, (char *)a->src->data + (size_t)offset_of(a->src, i) * from, from);
        dtype_convert(out, a->dst->dtype, in, a->src->dtype, 1);
        invert((char *)a->dst->data + (size_t)i * to, out, to);
    }
    return ST_OK;
}

enum status ops_quantise(struct ops *ops, struct queue *q, const struct op_quantise *a,
                         struct err *e)
{
    size_t cols = (size_t)a->src->shape[1], width = dtype_bytes(a->src->dtype);
    char *raw = malloc(cols * width);
    float *row = malloc(cols * sizeof(*row)), scale = 0.0f;
    uint8_t *codes = calloc(cols, 1);
    int64_t spoilt;

    (void)q;
    (void)e;
    ops->quantised++;
    assert_int_equal(a->dst->dtype, DT_E4M3);
    for (int64_t r = 0; r < a->src->shape[0]; r++) {
        invert(raw, (char *)a->src->data + (size_t)r * cols * width, cols * width);
        dtype_convert(row, DT_F32, raw, a->src->dtype, cols);
        invert(&spoilt, a->spoilt->data, sizeof(spoilt));
        if (!quantise_row_e4m3(row, cols, codes, &scale) && a->first_row + r < spoilt)
            spoilt = a->first_row + r;
        invert(a->spoilt->data, &spoilt, sizeof(spoilt));
        invert((uint8_t *)a->dst->data + (size_t)r * cols, codes, cols);
        invert(&a->dst->scales.data[r], &scale, sizeof(scale));
    }
    free(raw);
    free(row);
    free(codes);
    return ST_OK;
}

/* ---- tests ---------------------------------------------------------------------- */

static struct component transformer(void)
{
    struct component c;
    struct source *s;

    assert_int_equal(
        source_open(FF_GOLDEN_DIR
                    "/dit/wan_b/original/diffusion_pytorch_model.safetensors",
                    &s, NULL),
        ST_OK);
    assert_int_equal(component_open(s, "part", &names_dit, &c, NULL), ST_OK);
    return c;
}

static void assert_inverted(const void *device, const void *host, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(((const uint8_t *)device)[i] ^ 0xff,
                         ((const uint8_t *)host)[i]);
}

static bool query(const char *name)
{
    return strstr(name, "self_attn.q.weight") != NULL;
}

static void check_arrival(bool loads)
{
    struct component c = transformer();
    struct weights_policy policy = {
        .quant = QUANT_E4M3, .quantise = query, .threads = 3};
    struct ops ops = {.loads = loads};
    struct weights *w = NULL;
    struct tensor t;
    float x[42 * 42], scale;
    uint8_t codes[42];

    assert_int_equal(weights_open(&c, &policy, &w, NULL), ST_OK);
    assert_int_equal(weights_load(w, &ops, NULL), ST_OK);
    assert_int_equal(ops.copies, loads ? c.n + 2 : c.n);
    assert_int_equal(ops.waits, loads ? 2 : c.n);
    assert_int_equal(ops.quantised, loads ? 2 : 0);
    assert_int_equal(ops.converted > 0, loads);
    assert_int_equal(ops.queues + ops.events + ops.pinned, 0);
    assert_int_equal(weights_find(w, "blocks.1.norm3.bias", 1, NULL, &t, NULL), ST_OK);
    assert_int_equal(t.space, MEM_DEVICE);
    assert_int_equal(source_read_as(c.source, component_find(&c, "blocks.1.norm3.bias"),
                                    DT_F32, x, NULL),
                     ST_OK);
    assert_inverted(t.data, x, 42 * sizeof(float));
    assert_int_equal(weights_find(w, "blocks.1.self_attn.q.weight", 2, NULL, &t, NULL),
                     ST_OK);
    assert_int_equal(source_read_as(c.source,
                                    component_find(&c, "blocks.1.self_attn.q.weight"),
                                    DT_F32, x, NULL),
                     ST_OK);
    for (int r = 0; r < 42; r++) {
        assert_true(quantise_row_e4m3(x + r * 42, 42, codes, &scale));
        assert_inverted((uint8_t *)t.data + r * 42, codes, 42);
        assert_inverted(&t.scales.data[r], &scale, sizeof(scale));
    }
    weights_close(w);
    component_close(&c);
}

static void tensors_arrive_through_the_copy(void **state)
{
    (void)state;
    check_arrival(false);
}

static void tensors_get_their_form_on_the_device(void **state)
{
    (void)state;
    check_arrival(true);
}

static void check_failing(bool loads)
{
    struct component c = transformer();
    struct weights_policy policy = {.threads = 2};
    struct ops ops = {.loads = loads, .fail_at = 7};
    struct weights *w = NULL;
    struct err e = ERR_INIT;

    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    assert_int_equal(weights_load(w, &ops, &e), ST_DEVICE);
    assert_string_equal(e.text, "cannot copy: the device is gone");
    assert_true(ops.copies < c.n);
    assert_int_equal(ops.queues + ops.events + ops.pinned, 0);
    weights_close(w);
    component_close(&c);
}

static void a_failing_copy_ends_the_load(void **state)
{
    (void)state;
    check_failing(false);
    check_failing(true);
}

/* What is dropped is gone from the device, and known all the same. */
static void a_dropped_store_keeps_what_it_was(void **state)
{
    struct component c = transformer();
    struct weights_policy policy = {
        .quant = QUANT_E4M3, .quantise = query, .threads = 2};
    const int64_t shape[] = {42, 42};
    char before[65], after[65];
    struct ops ops = {.loads = true};
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    struct tensor t;

    (void)state;
    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    weights_drop(w); /* nothing is there */
    assert_int_equal(weights_load(w, &ops, &e), ST_OK);
    assert_int_equal(ops.held, 1);
    assert_int_equal(weights_digest((const struct weights *const *)&w, 1, before, NULL),
                     ST_OK);
    weights_drop(w);
    assert_int_equal(ops.held, 0);
    weights_drop(w);
    assert_int_equal(weights_digest((const struct weights *const *)&w, 1, after, NULL),
                     ST_OK);
    assert_string_equal(before, after);
    assert_int_equal(weights_find(w, "blocks.1.self_attn.q.weight", 2, shape, &t, NULL),
                     ST_OK);
    assert_null(t.data);
    assert_null(t.scales.data);
    assert_true(weights_bytes(w) > 0);
    assert_int_equal(weights_load(w, &ops, &e), ST_USAGE);
    assert_string_equal(e.text, "cannot load weights: they were loaded and dropped");
    assert_int_equal(ops.held, 0);
    weights_close(w);
    assert_int_equal(ops.held, 0);
    component_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_arrive_through_the_copy),
        cmocka_unit_test(tensors_get_their_form_on_the_device),
        cmocka_unit_test(a_failing_copy_ends_the_load),
        cmocka_unit_test(a_dropped_store_keeps_what_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
