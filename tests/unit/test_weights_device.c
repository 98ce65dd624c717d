/* test_weights_device.c - weights reach memory that the host cannot write
 *
 * The operations table is replaced by a small one whose memory holds every byte
 * inverted, so that only what goes through its copy arrives as it should. */
#include <setjmp.h>
#include <stdarg.h>
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
    int copies, waits, queues, fail_at;
};

struct queue {
    struct ops *ops;
};

const struct ops_facts *ops_facts(const struct ops *ops)
{
    static const struct ops_facts facts = {.name = "inverted", .space = MEM_DEVICE};

    (void)ops;
    return &facts;
}

enum status ops_mem_alloc(struct ops *ops, size_t bytes, void **out, struct err *e)
{
    (void)ops;
    (void)e;
    *out = calloc(1, bytes);
    return *out ? ST_OK : ST_RESOURCE;
}

void ops_mem_free(struct ops *ops, void *p)
{
    (void)ops;
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

enum status ops_copy(struct ops *ops, struct queue *q, const struct tensor *dst,
                     const struct tensor *src, struct err *e)
{
    const uint8_t *from = src->data;
    uint8_t *to = dst->data;

    (void)q;
    assert_int_equal(dst->space, MEM_DEVICE);
    assert_int_equal(src->space, MEM_HOST);
    assert_int_equal(tensor_count(dst), tensor_count(src));
    if (++ops->copies == ops->fail_at)
        return err_set(e, ST_DEVICE, "cannot copy: the device is gone");
    for (int64_t i = 0; i < tensor_count(src); i++)
        to[i] = (uint8_t)~from[i];
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

static void tensors_arrive_through_the_copy(void **state)
{
    struct component c = transformer();
    struct weights_policy policy = {
        .quant = QUANT_E4M3, .quantise = query, .threads = 3};
    struct ops ops = {0};
    struct weights *w = NULL;
    struct tensor t;
    float x[42 * 42], scale;
    uint8_t codes[42];

    (void)state;
    assert_int_equal(weights_open(&c, &policy, &w, NULL), ST_OK);
    assert_int_equal(weights_load(w, &ops, NULL), ST_OK);
    assert_int_equal(ops.copies, c.n);
    assert_int_equal(ops.waits, c.n);
    assert_int_equal(ops.queues, 0);
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

static void a_failing_copy_ends_the_load(void **state)
{
    struct component c = transformer();
    struct weights_policy policy = {.threads = 2};
    struct ops ops = {.fail_at = 7};
    struct weights *w = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(weights_open(&c, &policy, &w, &e), ST_OK);
    assert_int_equal(weights_load(w, &ops, &e), ST_DEVICE);
    assert_string_equal(e.text, "cannot copy: the device is gone");
    assert_true(ops.copies < c.n);
    assert_int_equal(ops.queues, 0);
    weights_close(w);
    component_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_arrive_through_the_copy),
        cmocka_unit_test(a_failing_copy_ends_the_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
