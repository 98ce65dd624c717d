/* test_umt5.c - the text encoder equals the reference, and its parts their tables */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/clean.h"
#include "engine/text/tokenizer.h"
#include "engine/text/umt5.h"
#include "engine/weights/model.h"
#include "tests/scratch.h"
#include "tests/tolerance.h"

enum { N_MAX = 512, DIM = 48, LAYERS = 3 };

static const struct text_config config = {.vocab = 2304,
                                          .dim = DIM,
                                          .head_dim = 10,
                                          .heads = 4,
                                          .ffn_dim = 70,
                                          .layers = LAYERS,
                                          .buckets = 32,
                                          .max_distance = 128,
                                          .eps = 1e-6f};

/* umt5-xxl */
static const struct text_config published = {.vocab = 256384,
                                             .dim = 4096,
                                             .head_dim = 64,
                                             .heads = 64,
                                             .ffn_dim = 10240,
                                             .layers = 24,
                                             .buckets = 32,
                                             .max_distance = 128,
                                             .eps = 1e-6f};

static void must(enum status st, const struct err *e)
{
    if (st != ST_OK)
        fail_msg("%s", e->text);
}

/* ---- rig ---------------------------------------------------------------------- */

/* A loaded model with memory for prompts of up to N_MAX tokens. */
struct rig {
    struct ops *ops;
    struct queue *q;
    struct source *source;
    struct weights *w;
    struct umt5 *m;
    enum dtype act;
    struct arena arena;
    void *memory, *workspace;
};

static void load_weights(struct rig *r)
{
    const char *path = FF_GOLDEN_DIR "/umt5/models_t5_umt5-xxl-enc-bf16.pth";
    struct weights_policy policy = {.quant = QUANT_NONE, .threads = 1};
    struct component c = {.label = "text encoder"};
    struct err e = ERR_INIT;

    must(source_open(path, &r->source, &e), &e);
    c.source = r->source;
    c.n = source_count(r->source);
    c.list = calloc((size_t)c.n, sizeof(*c.list));
    assert_non_null(c.list);
    for (int i = 0; i < c.n; i++) {
        c.list[i].stored = source_at(r->source, i);
        c.list[i].name = c.list[i].stored->name;
    }
    must(weights_open(&c, &policy, &r->w, &e), &e);
    must(weights_load(r->w, r->ops, &e), &e);
    free(c.list);
}

static void open_model(struct rig *r)
{
    struct err e = ERR_INIT;

    must(umt5_create(&config, r->act, r->w, r->ops, r->q, &r->m, &e), &e);
}

static void rig_open(struct rig *r, const char *backend, int threads, enum dtype act)
{
    struct umt5_plan plan;
    struct err e = ERR_INIT;

    memset(r, 0, sizeof(*r));
    r->act = act;
    must(ops_open(backend, &(struct ops_options){.threads = threads}, &r->ops, &e), &e);
    must(umt5_plan(&config, act, N_MAX, r->ops, &plan, &e), &e);
    must(ops_mem_alloc(r->ops, plan.arena_bytes, &r->memory, &e), &e);
    must(ops_mem_alloc(r->ops, plan.workspace_bytes + 1, &r->workspace, &e), &e);
    memset(r->memory, 0xFF, plan.arena_bytes); /* NaN */
    arena_init(&r->arena, r->memory, plan.arena_bytes);
    must(ops_queue_open(r->ops, r->workspace, plan.workspace_bytes, &r->q, &e), &e);
    load_weights(r);
    open_model(r);
}

static void rig_close(struct rig *r)
{
    umt5_destroy(r->m);
    weights_close(r->w);
    source_close(r->source);
    ops_queue_close(r->ops, r->q);
    ops_mem_free(r->ops, r->workspace);
    ops_mem_free(r->ops, r->memory);
    ops_close(r->ops);
}

static void encode(struct rig *r, const int32_t *ids, int64_t n, float *rows)
{
    struct tensor out = tensor_make2(rows, DT_F32, MEM_HOST, n, DIM);
    size_t before = r->arena.used;
    struct err e = ERR_INIT;

    must(umt5_encode(r->m, r->q, &r->arena, ids, n, &out, &e), &e);
    assert_int_equal(r->arena.used, before);
}

static double rel_l2(const float *a, const double *b, int64_t n)
{
    double diff = 0, norm = 0;

    for (int64_t i = 0; i < n; i++) {
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(diff / norm);
}

/* ---- golden ------------------------------------------------------------------- */

struct golden {
    int32_t ids[N_MAX];
    int64_t n, rows, every; /* row i of the output is row i * every of the prompt */
    double output[N_MAX * DIM];
};

static void golden_read(int k, struct golden *g)
{
    const struct stored *ids, *output;
    struct err e = ERR_INIT;
    struct source *s;
    char path[512];

    snprintf(path, sizeof(path), "%s/umt5/case%d.safetensors", FF_GOLDEN_DIR, k);
    must(source_open(path, &s, &e), &e);
    must(source_get(s, "ids", 1, NULL, &ids, &e), &e);
    must(source_get(s, "output", 2, (int64_t[]){-1, DIM}, &output, &e), &e);
    g->n = ids->dims[0];
    g->rows = output->dims[0];
    assert_true(g->n <= N_MAX && g->rows <= g->n);
    g->every = g->n / g->rows;
    must(source_read_as(s, ids, DT_I32, g->ids, &e), &e);
    must(source_read_as(s, output, DT_F64, g->output, &e), &e);
    source_close(s);
}

static double worst_error(struct rig *r)
{
    static struct golden g;
    static float rows[N_MAX * DIM];
    double worst = 0;

    for (int k = 0; k < 5; k++) {
        double error;

        golden_read(k, &g);
        encode(r, g.ids, g.n, rows);
        for (int64_t i = 0; i < g.rows; i++)
            memmove(rows + i * DIM, rows + i * g.every * DIM, DIM * sizeof(*rows));
        error = rel_l2(rows, g.output, g.rows * DIM);
        worst = error > worst ? error : worst;
    }
    return worst;
}

static void equal_on(const char *backend, enum dtype act, double tolerance)
{
    struct rig r;
    double error;

    rig_open(&r, backend, 2, act);
    error = worst_error(&r);
    print_message("%s %s: relative error %.2e\n", backend, dtype_name(act), error);
    assert_true(error < tolerance);
    rig_close(&r);
}

static void ref_equals_the_reference(void **state)
{
    (void)state;
    equal_on("ref", DT_F32, TOL_TEXT_ENCODER);
    equal_on("ref", DT_BF16, TOL_TEXT_ENCODER_BF16);
}

static void cpu_equals_the_reference(void **state)
{
    (void)state;
    equal_on("cpu", DT_F32, TOL_TEXT_ENCODER);
    equal_on("cpu", DT_BF16, TOL_TEXT_ENCODER_BF16);
}

static void nothing_is_read_unwritten(void **state)
{
    struct ops *ops;

    (void)state;
    if (ops_open("check:cpu", &(struct ops_options){0}, &ops, NULL) == ST_UNBUILT)
        skip();
    ops_close(ops);
    equal_on("check:cpu", DT_F32, TOL_TEXT_ENCODER);
}

/* The same weights under the names of transformers, in shards, found by their folder.
 */
static void other_names_give_the_same_bytes(void **state)
{
    struct model_options options = {.without = ~(1u << MODEL_TEXT)};
    struct weights_policy policy = {.quant = QUANT_NONE, .threads = 1};
    static struct golden g;
    static float first[N_MAX * DIM], second[N_MAX * DIM];
    struct model *folder;
    struct scratch dir;
    struct err e = ERR_INIT;
    struct rig r;

    (void)state;
    golden_read(2, &g);
    rig_open(&r, "cpu", 1, DT_F32);
    encode(&r, g.ids, g.n, first);
    umt5_destroy(r.m);
    weights_close(r.w);
    scratch_create(&dir);
    scratch_copy_all(&dir, "m/text_encoder", FF_GOLDEN_DIR "/umt5/text_encoder");
    must(model_open(scratch_path(&dir, "m"), &options, &folder, &e), &e);
    assert_true(model_component(folder, MODEL_TEXT)->renamed);
    must(weights_open(model_component(folder, MODEL_TEXT), &policy, &r.w, &e), &e);
    must(weights_load(r.w, r.ops, &e), &e);
    must(umt5_create(model_text(folder), DT_F32, r.w, r.ops, r.q, &r.m, &e), &e);
    model_close(folder);
    scratch_remove(&dir);
    encode(&r, g.ids, g.n, second);
    assert_memory_equal(first, second, (size_t)(g.n * DIM) * sizeof(float));
    rig_close(&r);
}

/* Typed text, with what people paste around it, through all three steps. */
static void typed_text_becomes_the_rows_of_the_pipeline(void **state)
{
    const char *typed = " A&nbsp;cat\r\nsits on\xE3\x80\x80the table.\x1b[0m ";
    static double want[10 * DIM];
    float rows[10 * DIM];
    int32_t ids[N_MAX];
    const struct stored *cond;
    struct tokenizer *t;
    struct source *s;
    struct err e = ERR_INIT;
    struct rig r;
    char *text;
    int n;

    (void)state;
    must(source_open(FF_GOLDEN_DIR "/e2e/pipeline.safetensors", &s, &e), &e);
    must(source_get(s, "cond", 2, (int64_t[]){10, DIM}, &cond, &e), &e);
    must(source_read_as(s, cond, DT_F64, want, &e), &e);
    source_close(s);
    must(text_clean(typed, strlen(typed), &text, &e), &e);
    assert_string_equal(text, "A cat sits on the table.");
    must(tokenizer_open(FF_GOLDEN_DIR "/tokenizer/spiece.model", &TOKENIZER_DEFAULT, &t,
                        &e),
         &e);
    must(tokenizer_encode(t, text, strlen(text), ids, N_MAX, &n, &e), &e);
    assert_int_equal(n, 10);
    rig_open(&r, "cpu", 2, DT_F32);
    encode(&r, ids, n, rows);
    assert_true(rel_l2(rows, want, 10 * DIM) < TOL_TEXT_ENCODER);
    rig_close(&r);
    tokenizer_close(t);
    free(text);
}

/* ---- laws --------------------------------------------------------------------- */

/* Neither what was in memory before (a longer prompt) nor the threads matter. */
static void rows_depend_on_the_prompt_alone(void **state)
{
    static struct golden longer, g;
    static float first[N_MAX * DIM], again[N_MAX * DIM], other[N_MAX * DIM];
    struct rig r;

    (void)state;
    golden_read(4, &longer);
    golden_read(2, &g);
    rig_open(&r, "cpu", 2, DT_F32);
    encode(&r, g.ids, g.n, first);
    encode(&r, longer.ids, longer.n, other);
    encode(&r, g.ids, g.n, again);
    assert_memory_equal(first, again, (size_t)(g.n * DIM) * sizeof(float));
    rig_close(&r);
    rig_open(&r, "cpu", 1, DT_F32);
    encode(&r, g.ids, g.n, again);
    assert_memory_equal(first, again, (size_t)(g.n * DIM) * sizeof(float));
    rig_close(&r);
}

static struct tensor table_of(const struct rig *r, int layer)
{
    struct err e = ERR_INIT;
    struct tensor t;
    char name[64];

    snprintf(name, sizeof(name), "blocks.%d.pos_embedding.embedding.weight", layer);
    must(weights_find(r->w, name, 2, (int64_t[]){32, 4}, &t, &e), &e);
    return t;
}

/* Two layers that trade tables give another result: each one reads its own. */
static void every_layer_has_its_own_bias(void **state)
{
    static struct golden g;
    static float before[N_MAX * DIM], after[N_MAX * DIM];
    char keep[32 * 4 * sizeof(float)];
    double diff = 0;
    struct rig r;
    size_t bytes;
    struct tensor first, third;

    (void)state;
    golden_read(2, &g);
    rig_open(&r, "cpu", 1, DT_F32);
    encode(&r, g.ids, g.n, before);
    first = table_of(&r, 0);
    third = table_of(&r, 2);
    assert_int_equal(first.dtype, third.dtype);
    bytes = (size_t)tensor_count(&first) * dtype_bytes(first.dtype);
    memcpy(keep, first.data, bytes);
    memcpy(first.data, third.data, bytes);
    memcpy(third.data, keep, bytes);
    umt5_destroy(r.m);
    open_model(&r);
    encode(&r, g.ids, g.n, after);
    for (int64_t i = 0; i < g.n * DIM; i++)
        diff = fmax(diff, fabs((double)after[i] - before[i]));
    assert_true(diff > 1e-2);
    rig_close(&r);
}

/* encoders-vae-formats 2.4 */
static void buckets_are_those_of_the_table(void **state)
{
    static const int first[16] = {0, 1,  2,  3,  4,  5,  6,  7,
                                  8, 12, 16, 23, 32, 46, 64, 91};

    (void)state;
    for (int m = 0; m < 2000; m++) {
        int want = 15;

        while (first[want] > m)
            want--;
        assert_int_equal(umt5_bucket(-m, 32, 128), want);
        if (m > 0)
            assert_int_equal(umt5_bucket(m, 32, 128), 16 + want);
    }
}

static void plan_counts_the_published_model(void **state)
{
    struct umt5_plan full, one;
    struct err e = ERR_INIT;
    struct ops *ops;

    (void)state;
    must(ops_open("cpu", &(struct ops_options){.threads = 1}, &ops, &e), &e);
    must(umt5_plan(&published, DT_BF16, 512, ops, &full, &e), &e);
    must(umt5_plan(&published, DT_BF16, 1, ops, &one, &e), &e);
    assert_true(fabs(full.flops / 4.84e12 - 1) < 0.005);
    /* two fp32 rows of 4096, two of 10240, a bf16 row of each: 143,360 bytes a token */
    assert_true(full.arena_bytes > 512 * 143360u &&
                full.arena_bytes < 512 * 143360u + (2u << 20));
    assert_true(one.arena_bytes < (2u << 20));
    ops_close(ops);
}

/* ---- refusals ----------------------------------------------------------------- */

static void strange_ids_are_refused(void **state)
{
    float rows[2 * DIM];
    struct tensor out = tensor_make2(rows, DT_F32, MEM_HOST, 2, DIM);
    struct err e = ERR_INIT;
    struct rig r;

    (void)state;
    rig_open(&r, "cpu", 1, DT_F32);
    assert_int_equal(umt5_encode(r.m, r.q, &r.arena, (int32_t[]){5, 2304}, 2, &out, &e),
                     ST_INPUT);
    assert_string_equal(e.text, "token 2304 is outside the text encoder's 2304 rows: "
                                "tokenizer and weights do not belong together");
    assert_int_equal(umt5_encode(r.m, r.q, &r.arena, (int32_t[]){-1, 1}, 2, &out, &e),
                     ST_INPUT);
    rig_close(&r);
}

static void strange_configurations_are_refused(void **state)
{
    struct text_config c = config;
    struct umt5 *m = NULL;
    struct err e = ERR_INIT;
    struct rig r;

    (void)state;
    rig_open(&r, "cpu", 1, DT_F32);
    c.buckets = 30;
    assert_int_equal(umt5_create(&c, DT_F32, r.w, r.ops, r.q, &m, &e), ST_INPUT);
    c = config;
    c.max_distance = 8;
    assert_int_equal(umt5_create(&c, DT_F32, r.w, r.ops, r.q, &m, &e), ST_INPUT);
    c = config;
    c.ffn_dim = 71;
    assert_int_equal(umt5_create(&c, DT_F32, r.w, r.ops, r.q, &m, &e), ST_INPUT);
    c = config;
    c.layers = LAYERS + 1;
    assert_int_equal(umt5_create(&c, DT_F32, r.w, r.ops, r.q, &m, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "blocks.3.norm1.weight"));
    assert_int_equal(umt5_create(&config, DT_F16, r.w, r.ops, r.q, &m, &e), ST_USAGE);
    assert_null(m);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_equals_the_reference),
        cmocka_unit_test(cpu_equals_the_reference),
        cmocka_unit_test(nothing_is_read_unwritten),
        cmocka_unit_test(other_names_give_the_same_bytes),
        cmocka_unit_test(typed_text_becomes_the_rows_of_the_pipeline),
        cmocka_unit_test(rows_depend_on_the_prompt_alone),
        cmocka_unit_test(every_layer_has_its_own_bias),
        cmocka_unit_test(buckets_are_those_of_the_table),
        cmocka_unit_test(plan_counts_the_published_model),
        cmocka_unit_test(strange_ids_are_refused),
        cmocka_unit_test(strange_configurations_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
