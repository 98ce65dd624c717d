/* test_seqpar.c - shared attention of one rank equals attention worked out in doubles
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dist/seqpar.h"
#include "tests/tolerance.h"

enum { HEADS = 3, DIM = 16, WIDTH = HEADS * DIM, GRID_F = 3, GRID_H = 7, GRID_W = 9 };
enum { TOKENS = GRID_F * GRID_H * GRID_W, PAIRS_F = 4, PAIRS_S = 2 };

struct scene {
    struct ops *ops;
    struct queue *q;
    void *memory, *workspace;
    struct arena arena;
    struct seqpar *sp;
    float v[TOKENS * WIDTH], k[TOKENS * WIDTH], qr[TOKENS * WIDTH], bias[WIDTH];
    float weight_q[WIDTH], weight_k[WIDTH];
    float table_f[GRID_F * PAIRS_F * 2], table_h[GRID_H * PAIRS_S * 2];
    float table_w[GRID_W * PAIRS_S * 2];
    float out[TOKENS * WIDTH];
    double want[TOKENS * WIDTH];
};

static double noise(unsigned *state)
{
    double x = -6;

    for (int k = 0; k < 12; k++) {
        *state = *state * 1664525u + 1013904223u;
        x += (double)(*state >> 8) * 0x1p-24;
    }
    return x;
}

static void fill(float *x, int n, double mean, double spread, unsigned *state)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)(mean + spread * noise(state));
}

static void fill_table(float *t, int positions, int pairs)
{
    for (int p = 0; p < positions; p++) {
        for (int i = 0; i < pairs; i++, t += 2) {
            t[0] = (float)cos(p * pow(100.0, -(double)i / pairs));
            t[1] = (float)sin(p * pow(100.0, -(double)i / pairs));
        }
    }
}

static void scene_fill(struct scene *s)
{
    unsigned state = 17;

    fill(s->v, TOKENS * WIDTH, 0.3, 1, &state);
    fill(s->k, TOKENS * WIDTH, 0.5, 1, &state);
    fill(s->qr, TOKENS * WIDTH, 0, 1, &state);
    fill(s->bias, WIDTH, 0, 0.5, &state);
    fill(s->weight_q, WIDTH, 1, 0.2, &state);
    fill(s->weight_k, WIDTH, 1, 0.2, &state);
    fill_table(s->table_f, GRID_F, PAIRS_F);
    fill_table(s->table_h, GRID_H, PAIRS_S);
    fill_table(s->table_w, GRID_W, PAIRS_S);
}

/* ---- the same in doubles -------------------------------------------------------- */

static void turn(double *x, const float *cs)
{
    double a = x[0], b = x[1];

    x[0] = a * cs[0] - b * cs[1];
    x[1] = a * cs[1] + b * cs[0];
}

/* Norm over the row, rope per head. */
static void oracle_heads(const struct scene *s, const float *rows, const float *weight,
                         int token, double *x)
{
    int f = token / (GRID_H * GRID_W), h = token / GRID_W % GRID_H, w = token % GRID_W;
    double sum = 0;

    for (int c = 0; c < WIDTH; c++) {
        x[c] = rows[token * WIDTH + c] + s->bias[c];
        sum += x[c] * x[c];
    }
    for (int c = 0; c < WIDTH; c++)
        x[c] *= weight[c] / sqrt(sum / WIDTH + 1e-6);
    for (int head = 0; head < HEADS; head++) {
        double *at = x + head * DIM;

        for (int i = 0; i < PAIRS_F; i++)
            turn(at + 2 * i, s->table_f + (f * PAIRS_F + i) * 2);
        for (int i = 0; i < PAIRS_S; i++) {
            turn(at + 2 * (PAIRS_F + i), s->table_h + (h * PAIRS_S + i) * 2);
            turn(at + 2 * (PAIRS_F + PAIRS_S + i), s->table_w + (w * PAIRS_S + i) * 2);
        }
    }
}

static void oracle_row(struct scene *s, const double *k, int token)
{
    double q[WIDTH];

    oracle_heads(s, s->qr, s->weight_q, token, q);
    for (int head = 0; head < HEADS; head++) {
        double sum = 0;
        double *o = s->want + token * WIDTH + head * DIM;

        memset(o, 0, DIM * sizeof(*o));
        for (int j = 0; j < TOKENS; j++) {
            double dot = 0, p;

            for (int c = head * DIM; c < head * DIM + DIM; c++)
                dot += q[c] * k[j * WIDTH + c];
            p = exp(dot / sqrt(DIM));
            sum += p;
            for (int c = 0; c < DIM; c++)
                o[c] += p *
                        (s->v[j * WIDTH + head * DIM + c] + s->bias[head * DIM + c]);
        }
        for (int c = 0; c < DIM; c++)
            o[c] /= sum;
    }
}

static void oracle(struct scene *s)
{
    static double k[TOKENS * WIDTH];

    for (int t = 0; t < TOKENS; t++)
        oracle_heads(s, s->k, s->weight_k, t, k + t * WIDTH);
    for (int t = 0; t < TOKENS; t++)
        oracle_row(s, k, t);
}

/* ---- the thing itself ----------------------------------------------------------- */

static void scene_open(struct scene *s, const char *backend,
                       const struct seqpar_formats *formats)
{
    struct seqpar_layout layout = {SEQPAR_ALONE, TOKENS, HEADS, DIM, *formats};
    struct err e = ERR_INIT;
    struct arena count;

    assert_int_equal(
        ops_open(backend, &(struct ops_options){.threads = 2}, &s->ops, &e), ST_OK);
    assert_int_equal(seqpar_create(&layout, s->ops, &s->sp, &e), ST_OK);
    arena_init(&count, NULL, 0);
    seqpar_cut_kept(s->sp, &count);
    seqpar_cut(s->sp, &count);
    assert_int_equal(ops_mem_alloc(s->ops, count.peak + 1, &s->memory, &e), ST_OK);
    arena_init(&s->arena, s->memory, count.peak);
    seqpar_cut_kept(s->sp, &s->arena);
    seqpar_cut(s->sp, &s->arena);
    assert_int_equal(
        ops_mem_alloc(s->ops, seqpar_workspace(s->sp) + 1, &s->workspace, &e), ST_OK);
    assert_int_equal(
        ops_queue_open(s->ops, s->workspace, seqpar_workspace(s->sp), &s->q, &e),
        ST_OK);
    assert_int_equal(seqpar_start(s->sp, s->q, &e), ST_OK);
}

static void scene_close(struct scene *s)
{
    ops_queue_close(s->ops, s->q);
    ops_mem_free(s->ops, s->workspace);
    ops_mem_free(s->ops, s->memory);
    seqpar_destroy(s->sp);
    ops_close(s->ops);
}

static struct tensor raw(struct scene *s, float *rows)
{
    struct tensor t = tensor_make2(rows, DT_F32, MEM_HOST, TOKENS, WIDTH);

    t.pending.bias = s->bias;
    return t;
}

static void attend(struct scene *s)
{
    struct tensor weight_q = tensor_make1(s->weight_q, DT_F32, MEM_HOST, WIDTH);
    struct tensor weight_k = tensor_make1(s->weight_k, DT_F32, MEM_HOST, WIDTH);
    struct rope rope = {
        tensor_make3(s->table_f, DT_F32, MEM_HOST, GRID_F, PAIRS_F, 2),
        tensor_make3(s->table_h, DT_F32, MEM_HOST, GRID_H, PAIRS_S, 2),
        tensor_make3(s->table_w, DT_F32, MEM_HOST, GRID_W, PAIRS_S, 2),
        GRID_H,
        GRID_W,
    };
    struct seqpar_norm norm_q = {&weight_q, &rope, 1e-6f};
    struct seqpar_norm norm_k = {&weight_k, &rope, 1e-6f};
    struct tensor v = raw(s, s->v), k = raw(s, s->k), q = raw(s, s->qr);
    struct tensor out = tensor_make2(s->out, DT_F32, MEM_HOST, TOKENS, WIDTH);
    struct err e = ERR_INIT;

    assert_int_equal(seqpar_put_v(s->sp, s->q, &v, &e), ST_OK);
    assert_int_equal(seqpar_put_k(s->sp, s->q, &k, &norm_k, &e), ST_OK);
    assert_int_equal(seqpar_put_q(s->sp, s->q, &q, &norm_q, &e), ST_OK);
    assert_int_equal(seqpar_attend(s->sp, s->q, &e), ST_OK);
    assert_int_equal(seqpar_get_o(s->sp, s->q, &out, &e), ST_OK);
    assert_int_equal(ops_queue_wait(s->ops, s->q, &e), ST_OK);
}

static double error_of(const struct scene *s)
{
    double diff = 0, norm = 0;

    for (int i = 0; i < TOKENS * WIDTH; i++) {
        diff += (s->out[i] - s->want[i]) * (s->out[i] - s->want[i]);
        norm += s->want[i] * s->want[i];
    }
    return sqrt(diff / norm);
}

static void check_format(const char *backend, struct seqpar_formats f, double limit)
{
    static struct scene s;
    float *first = malloc(sizeof(s.out));

    assert_non_null(first);
    scene_fill(&s);
    oracle(&s);
    scene_open(&s, backend, &f);
    attend(&s);
    print_message("%s %s %s to %s: relative error %.2e\n", backend, dtype_name(f.qk),
                  dtype_name(f.v), dtype_name(f.o), error_of(&s));
    assert_true(error_of(&s) < limit);
    memcpy(first, s.out, sizeof(s.out));
    attend(&s); /* what one use leaves behind does not touch the next */
    assert_memory_equal(first, s.out, sizeof(s.out));
    scene_close(&s);
    free(first);
}

static void check_backend(const char *name)
{
    check_format(name, (struct seqpar_formats){DT_F32, DT_F32, DT_F32}, TOL_ATTN_FP32);
    check_format(name, (struct seqpar_formats){DT_BF16, DT_BF16, DT_BF16},
                 TOL_ATTN_BF16);
    check_format(name, (struct seqpar_formats){DT_I8, DT_E4M3, DT_F32}, TOL_ATTN_8BIT);
    check_format(name, (struct seqpar_formats){DT_I8, DT_E4M3, DT_BF16}, TOL_ATTN_8BIT);
    check_format(name, (struct seqpar_formats){DT_I8, DT_E4M3, DT_E4M3}, TOL_ATTN_8BIT);
}

static void ref_equals_doubles(void **state)
{
    (void)state;
    check_backend("ref");
}

static void cpu_equals_doubles(void **state)
{
    (void)state;
    check_backend("cpu");
}

static void check_finds_nothing(void **state)
{
    (void)state;
    check_backend("check:cpu");
}

static void what_cannot_be_is_refused(void **state)
{
    struct seqpar_layout layout = {
        {2, 1, 0, NULL}, TOKENS, HEADS, DIM, {DT_F32, DT_F32, DT_F32}};
    struct err e = ERR_INIT;
    struct seqpar *sp = NULL;
    struct ops *ops;

    (void)state;
    assert_int_equal(ops_open("ref", &(struct ops_options){0}, &ops, &e), ST_OK);
    assert_int_equal(seqpar_create(&layout, ops, &sp, &e), ST_OK);
    assert_int_equal(seqpar_start(sp, NULL, &e), ST_USAGE);
    seqpar_destroy(sp);
    sp = NULL;
    layout.formats.v = DT_E4M3;
    assert_int_equal(seqpar_create(&layout, ops, &sp, &e), ST_USAGE);
    assert_null(sp);
    ops_close(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_equals_doubles),
        cmocka_unit_test(cpu_equals_doubles),
        cmocka_unit_test(check_finds_nothing),
        cmocka_unit_test(what_cannot_be_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
