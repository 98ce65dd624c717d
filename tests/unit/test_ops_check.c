/* test_ops_check.c - wrong arguments are refused; the checking backend finds faults */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "tests/unit/ops_cases.h"

/* ---- opening --------------------------------------------------------------------- */

static void names(void **state)
{
    static const struct {
        const char *name;
        enum status st;
    } cases[] = {
        {"ref", ST_OK},        {"cpu", ST_OK},         {"check:ref", ST_OK},
        {"check:cpu", ST_OK},  {"gpu", ST_USAGE},      {"", ST_USAGE},
        {"check:", ST_USAGE},  {"check:no", ST_USAGE}, {"check:check:ref", ST_USAGE},
        {"ref:", ST_USAGE},    {"ref:some", ST_USAGE}, {"reference", ST_USAGE},
        {"ref:all", ST_USAGE}, {"cuda:all", ST_USAGE}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        struct ops *ops = NULL;

        assert_int_equal(ops_open(cases[i].name, NULL, &ops, &e), cases[i].st);
        if (cases[i].st == ST_OK)
            assert_string_equal(ops_facts(ops)->name, cases[i].name);
        else
            assert_null(ops);
        ops_close(ops);
    }
    ops_close(NULL);
}

static void kernels_are_named(void **state)
{
    static const char *const names[] = {"ref:simple", "cpu:portable",
                                        "check:ref:simple"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct err e = ERR_INIT;
        struct ops *ops = NULL;

        assert_int_equal(ops_open(names[i], NULL, &ops, &e), ST_OK);
        ops_close(ops);
    }
}

/* Where CUDA is compiled in, a machine without a GPU is a device error. */
static void cuda_is_named(void **state)
{
    struct err e = ERR_INIT;
    struct ops *ops = NULL;
    enum status st = ops_open("cuda", NULL, &ops, &e);

    (void)state;
    if (st == ST_UNBUILT)
        assert_string_equal(e.text, "backend 'cuda' is not built into this program");
    else
        assert_true(st == ST_OK || st == ST_DEVICE);
    ops_close(ops);
}

static void memory_and_copies(void **state)
{
    static const char *const backends[] = {"ref", "cpu", "check:cpu"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct ops *o = backend_open(backends[i]);
        struct err e = ERR_INIT;
        struct queue *q;
        struct event *ev;
        float from[5] = {1, 2, 3, 4, 5};
        void *p;
        struct tensor src = tensor_make1(from, DT_F32, MEM_HOST, 5), dst;

        assert_int_equal(ops_mem_alloc(o, 20, &p, &e), ST_OK);
        assert_int_equal((uintptr_t)p % 256, 0);
        dst = tensor_make1(p, DT_F32, MEM_HOST, 5);
        assert_int_equal(ops_queue_open(o, NULL, 0, &q, &e), ST_OK);
        assert_int_equal(ops_event_open(o, &ev, &e), ST_OK);
        assert_int_equal(ops_copy(o, q, &dst, &src, &e), ST_OK);
        assert_int_equal(ops_event_record(o, q, ev, &e), ST_OK);
        assert_int_equal(ops_event_await(o, q, ev, &e), ST_OK);
        assert_int_equal(ops_queue_wait(o, q, &e), ST_OK);
        expect_same(&dst, &src, "copy");
        dst.shape[0] = 4;
        assert_int_equal(ops_copy(o, q, &dst, &src, &e), ST_USAGE);
        ops_event_close(o, ev);
        ops_queue_close(o, q);
        ops_mem_free(o, p);
        ops_close(o);
    }
}

/* ---- arguments ------------------------------------------------------------------- */

static void refused(enum status st, const struct err *e, const char *text)
{
    assert_int_equal(st, ST_USAGE);
    assert_string_equal(e->text, text);
}

static void arguments(void **state)
{
    struct ops *o = backend_open("ref");
    struct tensor x = make2(DT_F32, 3, 8), w = make2(DT_F32, 5, 8);
    struct tensor y = make2(DT_F32, 3, 5), narrow = make2(DT_F32, 3, 4);
    struct tensor i8 = make2(DT_I8, 3, 8), bare = i8, ids = make(DT_I32, 1, SHAPE(3));
    struct tensor tall = make2(DT_F32, 2, 8), device = x, half = x;
    struct err e = ERR_INIT;
    struct queue *q;

    (void)state;
    assert_int_equal(ops_queue_open(o, NULL, 0, &q, &e), ST_OK);
    refused(ops_linear(o, q, &(struct op_linear){&narrow, &x, &w, NULL, false}, &e), &e,
            "linear: 'y' has shape [3,4], must be [3,5]");
    refused(ops_linear(o, q, &(struct op_linear){&y, &i8, &w, NULL, false}, &e), &e,
            "linear: 'x' is I8 and 'w' is F32, must be equal");
    refused(ops_linear(o, q, &(struct op_linear){&y, &x, NULL, NULL, false}, &e), &e,
            "linear: 'w' is missing");
    bare.scales.data = NULL;
    refused(ops_norm(o, q, &(struct op_norm){&bare, &x, {.kind = NORM_RMS}}, &e), &e,
            "norm: 'out' has no memory for its scales");
    refused(ops_norm(o, q, &(struct op_norm){&i8, &ids, {.kind = NORM_RMS}}, &e), &e,
            "norm: 'x' is I32, must be F32 or BF16");
    refused(
        ops_norm(o, q,
                 &(struct op_norm){&i8, &x, {.scale = &tall, .tokens_per_frame = 1}},
                 &e),
        &e, "norm: 'scale' has fewer rows than the tokens have frames");
    device.space = MEM_DEVICE;
    refused(ops_act(o, q, &(struct op_act){&i8, &device, NULL, ACT_NONE}, &e), &e,
            "act: 'x' lies in another memory space than the backend's");
    half.pending.bias = x.data;
    refused(ops_norm(o, q, &(struct op_norm){&i8, &half, {.kind = NORM_RMS}}, &e), &e,
            "norm: 'x' has pending scales, which this op does not apply");
    refused(ops_heads(o, q, &(struct op_heads){.y = &x, .head_dim = 3}, &e), &e,
            "heads: 'y' is not a whole number of heads wide");
    refused(ops_gather(o, q, &(struct op_gather){&x, NULL, 0, NULL, 0}, &e), &e,
            "gather: 'parts' do not cover every head once");
    ops_queue_close(o, q);
    ops_close(o);
    pool_clear();
}

/* A tensor without rows is nothing to do. */
static void empty(void **state)
{
    static const char *const backends[] = {"ref", "cpu", "check:cpu"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct ops *o = backend_open(backends[i]);
        struct tensor x = make2(DT_F32, 0, 8), w = make2(DT_F32, 5, 8);
        struct tensor y = make2(DT_F32, 0, 5), codes = make2(DT_E4M3, 0, 8);

        run_linear(o, &(struct op_linear){&y, &x, &w, NULL, false});
        run_norm(o, &(struct op_norm){&codes, &x, {.kind = NORM_LAYER}});
        run_act(o, &(struct op_act){&codes, &x, NULL, ACT_SILU});
        ops_close(o);
    }
    pool_clear();
}

/* ---- faults ---------------------------------------------------------------------- */

enum fault { SKIPS, MAKES_NAN, CHANGES_INPUT, WRITES_BETWEEN, WRITES_PAST, FAULTS };

static enum fault fault;

static enum status faulty_norm(void *self, struct queue *q, const struct op_norm *a,
                               struct err *e)
{
    float *out = a->out->data;

    (void)self;
    (void)q;
    (void)e;
    for (int64_t r = 0; r < a->out->shape[0]; r++) {
        for (int64_t c = 0; c < a->out->shape[1]; c++) {
            if (fault != SKIPS || r != 1 || c != 2)
                out[r * a->out->stride[0] + c] = 1.0f;
        }
    }
    if (fault == MAKES_NAN)
        out[3] = NAN;
    if (fault == CHANGES_INPUT)
        ((float *)a->x->data)[5] += 1.0f;
    if (fault == WRITES_BETWEEN)
        out[a->out->stride[0] - 1] = 1.0f;
    if (fault == WRITES_PAST)
        out[2 * a->out->stride[0]] = 1.0f;
    return ST_OK;
}

static size_t planned(const void *self, const struct op_linear *a)
{
    (void)self;
    (void)a;
    return 100;
}

static enum status faulty_linear(void *self, struct queue *q, const struct op_linear *a,
                                 struct err *e)
{
    struct workspace {
        char *p;
        size_t bytes;
    } ws;

    (void)self;
    (void)e;
    memcpy(&ws, q, sizeof(ws)); /* the queue is the reference's: memory and size */
    assert_int_equal(ws.bytes, 100);
    ws.p[100] = 0;
    fill(a->y, 1.0f);
    return ST_OK;
}

/* The reference with two ops that misbehave, wrapped. */
static struct ops *faulty_open(struct backend *table, struct ops *wrapped)
{
    struct err e = ERR_INIT;
    struct ops inner;

    assert_int_equal(ref_open(NULL, &inner, &e), ST_OK);
    *table = *inner.backend;
    table->norm = faulty_norm;
    table->linear = faulty_linear;
    table->linear_workspace = planned;
    inner.backend = table;
    ops_watch(wrapped, NULL);
    assert_int_equal(check_open(&inner, wrapped, &e), ST_OK);
    return wrapped;
}

static void faults_are_found(void **state)
{
    static const char *const texts[FAULTS] = {
        "norm: 'out' was not written at element 6",
        "norm: 'out' is NaN at element 3",
        "norm: input 'x' was changed",
        "norm: bytes between elements of 'out' were written",
        "norm: bytes outside an allocation of 48 bytes were written",
    };
    struct backend table;
    struct ops wrapped, *o = faulty_open(&table, &wrapped);
    struct tensor x = make2(DT_F32, 2, 4);
    struct err e = ERR_INIT;
    struct queue *q;
    void *memory;

    (void)state;
    assert_int_equal(ops_queue_open(o, NULL, 0, &q, &e), ST_OK);
    for (int i = 0; i < FAULTS; i++) {
        struct tensor wide, out;

        assert_int_equal(ops_mem_alloc(o, 48, &memory, &e), ST_OK);
        wide = tensor_make2(memory, DT_F32, MEM_HOST, 2, 6);
        out = tensor_slice(&wide, 1, 0, 4);
        fault = (enum fault)i;
        assert_int_equal(
            ops_norm(o, q, &(struct op_norm){&out, &x, {.kind = NORM_RMS}}, &e),
            ST_DEVICE);
        assert_string_equal(e.text, texts[i]);
        ops_mem_free(o, memory);
    }
    ops_queue_close(o, q);
    o->backend->close(o->self);
    pool_clear();
}

static void workspaces_are_guarded(void **state)
{
    struct backend table;
    struct ops wrapped, *o = faulty_open(&table, &wrapped);
    struct tensor x = make2(DT_F32, 2, 4), w = make2(DT_F32, 3, 4);
    struct tensor y = make2(DT_F32, 2, 3);
    struct op_linear a = {&y, &x, &w, NULL, false};
    struct err e = ERR_INIT;
    struct queue *q;
    char workspace[100];

    (void)state;
    assert_int_equal(ops_queue_open(o, workspace, 100, &q, &e), ST_OK);
    assert_int_equal(ops_linear(o, q, &a, &e), ST_DEVICE);
    assert_string_equal(e.text,
                        "linear: wrote outside its planned workspace of 100 bytes");
    ops_queue_close(o, q);
    assert_int_equal(ops_queue_open(o, workspace, 99, &q, &e), ST_OK);
    assert_int_equal(ops_linear(o, q, &a, &e), ST_USAGE);
    assert_string_equal(e.text,
                        "linear: needs 100 bytes of workspace, the queue has 99");
    ops_queue_close(o, q);
    o->backend->close(o->self);
    pool_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(kernels_are_named),
        cmocka_unit_test(memory_and_copies),
        cmocka_unit_test(cuda_is_named),
        cmocka_unit_test(arguments),
        cmocka_unit_test(empty),
        cmocka_unit_test(faults_are_found),
        cmocka_unit_test(workspaces_are_guarded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
