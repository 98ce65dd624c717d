/* test_dit.c - the transformer equals the references, on every backend */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/dit/rope.h"
#include "tests/tolerance.h"
#include "tests/unit/dit_rig.h"

/* ---- golden --------------------------------------------------------------------- */

static void check_model(const char *backend, const char *model, bool diffusers)
{
    struct dit_rig_options o = {backend, 2, model, &dit_fp32, diffusers};
    struct dit_rig r;
    struct dit_case c;
    int k;

    rig_open(&r, &o);
    for (k = 0; case_read(model, k, &c); k++) {
        double error = rig_error(&r, &c);

        print_message("%s %s case %d: relative error %.2e\n", backend, model, k, error);
        assert_true(error < TOL_DIT_FORWARD);
        case_release(&c);
    }
    assert_true(k >= 4);
    rig_close(&r);
}

static void golden_on(const char *backend)
{
    check_model(backend, "wan_a", false);
    check_model(backend, "wan_a", true);
    check_model(backend, "wan_b", false);
    check_model(backend, "sky_fps", false);
    check_model(backend, "sky_fps", true);
}

static void ref_equals_references(void **state)
{
    (void)state;
    golden_on("ref");
}

static void cpu_equals_references(void **state)
{
    (void)state;
    golden_on("cpu");
}

static void nothing_is_read_unwritten(void **state)
{
    (void)state;
    golden_on("check:cpu");
}

/* ---- layout, angles, names ------------------------------------------------------ */

static void patches_go_there_and_back(void **state)
{
    struct latent_size n = {3, 2, 4, 6};
    float latent[3 * 2 * 4 * 6], back[3 * 2 * 4 * 6] = {0}, rows[12 * 12];
    struct span first = {0, 5}, rest = {5, 7};

    (void)state;
    for (int i = 0; i < 144; i++)
        latent[i] = (float)i;
    patch_from_latent(rows, latent, &n, (struct span){0, 12});
    /* token (f, h, w) = (1, 0, 2), channel 2, i = 1, j = 0 */
    assert_true(rows[8 * 12 + (2 * 2 + 1) * 2 + 0] ==
                latent[((2 * 2 + 1) * 4 + 1) * 6 + 4]);
    latent_from_patch(back, rows, &n, first);
    latent_from_patch(back, rows + 5 * 12, &n, rest);
    assert_memory_equal(latent, back, sizeof(latent));
}

static void rope_angles_are_those_of_the_paper(void **state)
{
    /* positions (3, 2, 5), head size 128: dit-and-sampling 11 */
    static const struct {
        int axis, position, pair;
        double angle;
    } want[] = {
        {ROPE_F, 3, 0, 3}, {ROPE_F, 3, 1, 1.973799674}, {ROPE_F, 3, 21, 0.000455973},
        {ROPE_H, 2, 0, 2}, {ROPE_H, 2, 1, 1.289893354}, {ROPE_H, 2, 20, 0.000310103},
        {ROPE_W, 5, 0, 5}, {ROPE_W, 5, 1, 3.224733386}, {ROPE_W, 5, 20, 0.000775258},
    };
    int64_t pairs[ROPE_AXES];
    float table[6 * 22 * 2];

    (void)state;
    rope_split(128, pairs);
    assert_int_equal(pairs[ROPE_F], 22);
    assert_int_equal(pairs[ROPE_W], 21);
    for (int i = 0; i < 9; i++) {
        const float *at;

        rope_fill(table, 6, pairs[want[i].axis]);
        at = table + (want[i].position * pairs[want[i].axis] + want[i].pair) * 2;
        assert_true(fabs(at[0] - cos(want[i].angle)) < 1e-7);
        assert_true(fabs(at[1] - sin(want[i].angle)) < 1e-7);
    }
}

/* The product of two turned vectors depends on the distance of their positions only. */
static void rope_is_relative(void **state)
{
    enum { PAIRS = 22, POSITIONS = 40 };
    float table[POSITIONS * PAIRS * 2];
    double first = 0;

    (void)state;
    rope_fill(table, POSITIONS, PAIRS);
    for (int p = 0; p + 7 < POSITIONS; p++) {
        double dot = 0;

        for (int i = 0; i < PAIRS; i++) {
            const float *a = table + (p * PAIRS + i) * 2;
            const float *b = table + ((p + 7) * PAIRS + i) * 2;
            double qa = i + 1, qb = 0.5 * i, ka = 2 - i, kb = 1;
            double q0 = qa * a[0] - qb * a[1], q1 = qa * a[1] + qb * a[0];
            double k0 = ka * b[0] - kb * b[1], k1 = ka * b[1] + kb * b[0];

            dot += q0 * k0 + q1 * k1;
        }
        first = p == 0 ? dot : first;
        assert_true(fabs(dot - first) < 1e-3);
    }
}

static void block_matrices_are_quantised(void **state)
{
    (void)state;
    assert_true(dit_quantised("blocks.0.self_attn.q.weight"));
    assert_true(dit_quantised("blocks.39.cross_attn.o.weight"));
    assert_true(dit_quantised("blocks.7.ffn.2.weight"));
    assert_false(dit_quantised("blocks.7.ffn.2.bias"));
    assert_false(dit_quantised("blocks.0.self_attn.norm_q.weight"));
    assert_false(dit_quantised("blocks.0.norm3.weight"));
    assert_false(dit_quantised("blocks.0.modulation"));
    assert_false(dit_quantised("head.head.weight"));
    assert_false(dit_quantised("patch_embedding.weight"));
    assert_false(dit_quantised("blocks."));
    assert_false(dit_quantised(""));
}

/* ---- plan ----------------------------------------------------------------------- */

static bool near(double got, double want)
{
    return fabs(got - want) <= 0.005 * want;
}

/* dit-and-sampling 7.2, 14B at 544x960, 97 frames: 51,000 tokens. */
static void plan_counts_the_published_work(void **state)
{
    struct dit_config c = {FAMILY_WAN, false, 5120, 13824, 40,    40,   16,
                           16,         256,   4096, 512,   1e-6f, false};
    struct dit_shape shape = {25, 34, 60, SEQPAR_ALONE, 1, 512, 24};
    struct err e = ERR_INIT;
    struct dit_plan p;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("ref", &(struct ops_options){0}, &ops, &e), ST_OK);
    assert_int_equal(dit_plan(&c, &dit_bf16, &shape, ops, &p, &e), ST_OK);
    assert_int_equal(p.tokens, 51000);
    assert_true(near(p.linear_flops + p.context_flops, 1221e12));
    assert_true(near(p.self_flops, 2131e12));
    assert_true(near(p.cross_flops, 21.4e12));
    /* 40 blocks x k and v x 512 rows x 5120 x 2 bytes */
    assert_true(near((double)p.context_bytes, 40.0 * 2 * 512 * 5120 * 2));
    for (int i = 0; i < DIT_STAGES; i++)
        assert_true(p.kept_bytes + p.stage[i].bytes <= p.forward_bytes);
    ops_close(ops);
}

/* At its largest a pass of 8 bits holds nine bytes per value of the stream: four of x,
 * one of queries, two each of results and of keys with values. What scales, tables and
 * the head add is less than a twentieth. */
static void plan_shares_memory(void **state)
{
    struct dit_config c = {FAMILY_WAN, false, 5120, 13824, 40,    40,   16,
                           16,         256,   4096, 512,   1e-6f, false};
    struct dit_shape shape = {25, 34, 60, SEQPAR_ALONE, 1, 512, 24};
    const double value = 51000.0 * 5120;
    struct err e = ERR_INIT;
    struct dit_plan p;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("ref", &(struct ops_options){0}, &ops, &e), ST_OK);
    assert_int_equal(dit_plan(&c, &dit_fp8, &shape, ops, &p, &e), ST_OK);
    assert_true((double)p.forward_bytes >= 9 * value);
    assert_true((double)p.forward_bytes <= 9 * 1.05 * value);
    assert_true(p.feed_rows >= 128 && p.feed_rows % 128 == 0);
    assert_true(p.feed_rows < p.tokens);
    ops_close(ops);
}

/* Tokens, products and attention of all ranks are those of one; memory is not much more
 * than a share of it: twice, and a ring has running results in fp32. */
static void plans_of_ranks_add_up(void **state)
{
    struct dit_config c = {FAMILY_WAN, false, 5120, 13824, 40,    40,   16,
                           16,         256,   4096, 512,   1e-6f, false};
    static const struct mesh meshes[] = {{1, 8, 1}, {1, 3, 1}, {1, 2, 2}, {2, 1, 4}};
    struct dit_shape shape = {25, 34, 60, SEQPAR_ALONE, 1, 512, 24};
    struct dit_plan whole, p;
    struct err e = ERR_INIT;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("ref", &(struct ops_options){0}, &ops, &e), ST_OK);
    assert_int_equal(dit_plan(&c, &dit_fp8, &shape, ops, &whole, &e), ST_OK);
    for (size_t i = 0; i < sizeof(meshes) / sizeof(meshes[0]); i++) {
        int size = meshes[i].ulysses * meshes[i].ring;
        double self = 0, tokens = 0;

        for (int r = 0; r < size; r++) {
            shape.group = seqpar_group_planned(&meshes[i], r);
            assert_int_equal(dit_plan(&c, &dit_fp8, &shape, ops, &p, &e), ST_OK);
            self += p.self_flops;
            tokens += (double)p.tokens;
            assert_true((double)p.forward_bytes < (meshes[i].ring > 1 ? 2.5 : 2.0) *
                                                      (double)whole.forward_bytes /
                                                      size);
        }
        assert_true(tokens == 51000);
        assert_true(fabs(self / whole.self_flops - 1) < 1e-12);
    }
    ops_close(ops);
}

static void plan_is_what_is_used(void **state)
{
    struct dit_rig_options o = {"ref", 1, "sky_fps", &dit_fp8, false};
    struct dit_rig r;
    struct dit_case c;
    struct dit_stand s;
    struct dit_forward *fw;
    struct err e = ERR_INIT;
    size_t mark;

    (void)state;
    rig_open(&r, &o);
    case_random(&c, (struct latent_size){16, 3, 6, 10}, 1, 9, 48, 1);
    stand_open(&s, &r, &c, 1, 1);
    mark = arena_mark(&s.arena);
    assert_int_equal(dit_forward_create(r.m, &s.shape, &s.arena, s.q, &fw, &e), ST_OK);
    assert_int_equal(arena_mark(&s.arena) - mark, s.plan.forward_bytes);
    dit_forward_destroy(fw);
    stand_close(&s, &r);
    case_release(&c);
    rig_close(&r);
}

/* ---- refusals ------------------------------------------------------------------- */

static void missing_tensors_are_named(void **state)
{
    struct dit_rig_options o = {"ref", 1, "wan_a", &dit_fp32, false};
    struct err e = ERR_INIT;
    struct dit_rig r;
    struct dit_config c;
    struct dit *m = NULL;

    (void)state;
    rig_open(&r, &o);
    c = r.config;
    c.layers = 3;
    assert_int_equal(dit_create(&c, &dit_fp32, r.weights, r.ops, &m, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "blocks.2."));
    c = r.config;
    c.ffn_dim = 151;
    assert_int_equal(dit_create(&c, &dit_fp32, r.weights, r.ops, &m, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "blocks.0.ffn.0.weight"));
    assert_int_equal(dit_create(&r.config, &dit_fp8, r.weights, r.ops, &m, &e),
                     ST_USAGE);
    assert_non_null(strstr(e.text, "F8_E4M3"));
    assert_null(m);
    rig_close(&r);
}

static void long_prompts_are_refused(void **state)
{
    struct dit_rig_options o = {"ref", 1, "wan_b", &dit_fp32, false};
    struct err e = ERR_INIT;
    struct dit_rig r;
    struct dit_case c;
    struct dit_stand s;
    struct dit_context *ctx = NULL;
    struct tensor text;

    (void)state;
    rig_open(&r, &o);
    case_random(&c, (struct latent_size){16, 1, 2, 2}, 1, 13, 48, 1);
    stand_open(&s, &r, &c, 1, 1);
    text = tensor_make2(c.context, DT_F32, MEM_HOST, 13, 48);
    assert_int_equal(dit_context_create(r.m, s.q, &text, &s.arena, &s.arena, &ctx, &e),
                     ST_USAGE);
    assert_null(ctx);
    stand_close(&s, &r);
    case_release(&c);
    rig_close(&r);
}

/* 320 tokens go through the feed-forward in parts of 128, and the last 64 rows, which
 * are padded in scratch, need more of it than whole tiles do. */
static void plan_counts_the_last_part(void **state)
{
    struct dit_config c = {FAMILY_WAN, false, 256, 1024, 2,     8,    16,
                           16,         256,   192, 512,  1e-6f, false};
    struct dit_shape shape = {5, 8, 8, SEQPAR_ALONE, 1, 512, 24};
    struct tensor x = tensor_make2(NULL, DT_F32, MEM_HOST, 64, 1024);
    struct tensor y = tensor_make2(NULL, DT_F32, MEM_HOST, 64, 256);
    struct tensor w = tensor_make2(NULL, DT_BF16, MEM_HOST, 256, 1024);
    struct op_linear last = {.y = &y, .x = &x, .w = &w, .pending = true};
    struct err e = ERR_INIT;
    struct dit_plan p;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("cpu", &(struct ops_options){.threads = 2}, &ops, &e),
                     ST_OK);
    assert_int_equal(dit_plan(&c, &dit_fp32, &shape, ops, &p, &e), ST_OK);
    assert_int_equal(p.tokens, 320);
    assert_int_equal(p.feed_rows, 128);
    assert_true(p.workspace_bytes >= ops_linear_workspace(ops, &last));
    ops_close(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_go_there_and_back),
        cmocka_unit_test(rope_angles_are_those_of_the_paper),
        cmocka_unit_test(rope_is_relative),
        cmocka_unit_test(block_matrices_are_quantised),
        cmocka_unit_test(ref_equals_references),
        cmocka_unit_test(cpu_equals_references),
        cmocka_unit_test(nothing_is_read_unwritten),
        cmocka_unit_test(plan_counts_the_published_work),
        cmocka_unit_test(plan_shares_memory),
        cmocka_unit_test(plan_counts_the_last_part),
        cmocka_unit_test(plans_of_ranks_add_up),
        cmocka_unit_test(plan_is_what_is_used),
        cmocka_unit_test(missing_tensors_are_named),
        cmocka_unit_test(long_prompts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
