/* test_shared_attention.c - attention cut by tokens and heads keeps its bytes
 *
 * What a group of ranks will do with the ops, done here in one process: every source
 * scatters its tokens to all head owners, every owner attends to the parts of all
 * sources, every source gathers. Exchanges are the same memory seen from both sides.
 * Heads split unevenly, one shard is short, and of 5 ranks one owns no token.
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

enum { HEADS = 5, DIM = 16, WIDTH = HEADS * DIM, TOKENS = 399, RANKS_MAX = 5 };
enum { GRANULE = 128, EVERY = 16, ARENA = 16 << 20 };

struct scene {
    struct ops *ops;
    struct queue *q;
    struct arena arena;
    void *memory, *workspace;
    int ranks;
    struct seqpar_formats formats;
    float *rows[3]; /* q, k, v [TOKENS, WIDTH] */
    struct tensor weight;
    struct rope rope;
    struct tensor acc, count;
    /* [owner of the heads][owner of the tokens] */
    struct tensor part_q[RANKS_MAX][RANKS_MAX], part_k[RANKS_MAX][RANKS_MAX];
    struct tensor part_v[RANKS_MAX][RANKS_MAX], part_o[RANKS_MAX][RANKS_MAX];
};

static struct span tokens_of(const struct scene *s, int r)
{
    return shard_tokens(TOKENS, GRANULE, s->ranks, r);
}

static struct span heads_of(const struct scene *s, int r)
{
    return shard_heads(HEADS, s->ranks, r);
}

static struct tensor numbers(struct scene *s, int rank, const int64_t *shape,
                             unsigned seed)
{
    struct tensor t = tensor_cut(&s->arena, DT_F32, MEM_HOST, rank, shape);
    float *x = t.data;

    for (int64_t i = 0; i < tensor_count(&t); i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * 0x1p-23f - 0.8f;
    }
    return t;
}

/* ---- parts ---------------------------------------------------------------------- */

static struct tensor cut(struct scene *s, enum dtype dt, int64_t a, int64_t b,
                         int64_t c)
{
    return tensor_cut(&s->arena, dt, MEM_HOST, 3, (int64_t[]){a, b, c});
}

static float *cut_scales(struct scene *s, int64_t n)
{
    return arena_cut(&s->arena, (size_t)n * sizeof(float));
}

static void cut_parts(struct scene *s, int owner, int source)
{
    int64_t h = heads_of(s, owner).count, n = tokens_of(s, source).count;
    int64_t fours = (n + 3) / 4, blocks = (n + 127) / 128;
    enum dtype qk = s->formats.qk;
    struct tensor q = cut(s, qk, h, n, DIM), k = cut(s, qk, h, n, DIM);
    struct tensor v, o = cut(s, s->formats.o, n, h, DIM);

    if (qk == DT_I8) {
        q.scales = (struct scales){SCALE_ROW, cut_scales(s, h * n), 1, DIM, {n, 1}};
        k.scales = (struct scales){
            SCALE_GROUP, cut_scales(s, h * fours), 4, DIM, {fours, 1}};
        v = cut(s, DT_E4M3, h, DIM, blocks * 128);
        v.scales = (struct scales){SCALE_GROUP,
                                   cut_scales(s, h * DIM * blocks),
                                   1,
                                   128,
                                   {DIM * blocks, blocks}};
    } else {
        v = cut(s, qk, h, n, DIM);
    }
    if (o.dtype == DT_E4M3)
        o.scales = (struct scales){SCALE_ROW, cut_scales(s, n * h), 0, 0, {h, 0}};
    s->part_q[owner][source] = q;
    s->part_k[owner][source] = k;
    s->part_v[owner][source] = v;
    s->part_o[owner][source] = o;
}

static void scene_open(struct scene *s, const char *backend, int ranks,
                       const struct seqpar_formats *f)
{
    struct err e = ERR_INIT;
    int64_t width = WIDTH, one = 1;

    *s = (struct scene){.ranks = ranks, .formats = *f};
    assert_int_equal(
        ops_open(backend, &(struct ops_options){.threads = 2}, &s->ops, &e), ST_OK);
    assert_int_equal(ops_mem_alloc(s->ops, ARENA, &s->memory, &e), ST_OK);
    assert_int_equal(ops_mem_alloc(s->ops, ARENA, &s->workspace, &e), ST_OK);
    assert_int_equal(ops_queue_open(s->ops, s->workspace, ARENA, &s->q, &e), ST_OK);
    arena_init(&s->arena, s->memory, ARENA);
    for (int i = 0; i < 3; i++)
        s->rows[i] = numbers(s, 2, (int64_t[]){TOKENS, WIDTH}, 5 + (unsigned)i).data;
    s->weight = numbers(s, 1, &width, 9);
    s->rope.f = numbers(s, 3, (int64_t[]){3, 4, 2}, 10);
    s->rope.h = numbers(s, 3, (int64_t[]){7, 2, 2}, 11);
    s->rope.w = numbers(s, 3, (int64_t[]){19, 2, 2}, 12);
    s->rope.grid_h = 7;
    s->rope.grid_w = 19;
    s->acc = tensor_cut(&s->arena, DT_I64, MEM_HOST, 1, &width);
    s->count = tensor_cut(&s->arena, DT_I64, MEM_HOST, 1, &one);
    memset(s->acc.data, 0, WIDTH * sizeof(int64_t));
    memset(s->count.data, 0, sizeof(int64_t));
    for (int d = 0; d < ranks; d++) {
        for (int r = 0; r < ranks; r++)
            cut_parts(s, d, r);
    }
}

static void scene_close(struct scene *s)
{
    ops_queue_close(s->ops, s->q);
    ops_mem_free(s->ops, s->workspace);
    ops_mem_free(s->ops, s->memory);
    ops_close(s->ops);
}

/* ---- what the ranks do ---------------------------------------------------------- */

static struct tensor own_rows(struct scene *s, int what, int r)
{
    struct tensor t = tensor_make2(s->rows[what], DT_F32, MEM_HOST, TOKENS, WIDTH);

    return tensor_slice(&t, 0, tokens_of(s, r).begin, tokens_of(s, r).count);
}

/* The parts of source r for every owner, in one of the tables. */
static void parts_of(struct scene *s, struct tensor table[RANKS_MAX][RANKS_MAX], int r,
                     struct head_part *parts)
{
    for (int d = 0; d < s->ranks; d++) {
        struct span h = heads_of(s, d);

        parts[d] = (struct head_part){(int)h.begin, (int)h.count, table[d][r]};
    }
}

static void sum_keys(struct scene *s, int r)
{
    struct tensor y = own_rows(s, 1, r);
    struct op_key_sum a = {&s->acc,  &s->count, &y,  &s->weight,
                           &s->rope, 1e-6f,     DIM, tokens_of(s, r).begin,
                           EVERY};
    struct err e = ERR_INIT;

    assert_int_equal(ops_key_sum(s->ops, s->q, &a, &e), ST_OK);
}

static void scatter(struct scene *s, int r)
{
    struct head_part parts[RANKS_MAX];
    struct tensor y = own_rows(s, 0, r);
    struct op_heads a = {.parts = parts,
                         .n_parts = s->ranks,
                         .y = &y,
                         .weight = &s->weight,
                         .rope = &s->rope,
                         .eps = 1e-6f,
                         .head_dim = DIM,
                         .first_token = tokens_of(s, r).begin};
    struct op_values v = {
        .parts = parts, .n_parts = s->ranks, .y = &y, .head_dim = DIM};
    struct err e = ERR_INIT;

    parts_of(s, s->part_q, r, parts);
    assert_int_equal(ops_heads(s->ops, s->q, &a, &e), ST_OK);
    y = own_rows(s, 1, r);
    parts_of(s, s->part_k, r, parts);
    if (s->formats.qk == DT_I8) {
        a.mean_acc = &s->acc;
        a.mean_count = &s->count;
    }
    assert_int_equal(ops_heads(s->ops, s->q, &a, &e), ST_OK);
    y = own_rows(s, 2, r);
    parts_of(s, s->part_v, r, parts);
    assert_int_equal(ops_values(s->ops, s->q, &v, &e), ST_OK);
}

static void attend(struct scene *s, int d)
{
    struct attn_queries queries[RANKS_MAX];
    struct attn_keys keys[RANKS_MAX];
    struct op_attention a = {.queries = queries,
                             .n_queries = s->ranks,
                             .keys = keys,
                             .n_keys = s->ranks,
                             .scale = 1.0f / sqrtf(DIM)};
    struct err e = ERR_INIT;

    for (int r = 0; r < s->ranks; r++) {
        queries[r] = (struct attn_queries){s->part_q[d][r], s->part_o[d][r], NULL};
        keys[r] = (struct attn_keys){s->part_k[d][r], s->part_v[d][r],
                                     tokens_of(s, r).count};
    }
    assert_int_equal(ops_attention(s->ops, s->q, &a, &e), ST_OK);
}

static void gather(struct scene *s, int r, float *out)
{
    struct head_part parts[RANKS_MAX];
    struct span t = tokens_of(s, r);
    struct tensor rows = tensor_make2(out + t.begin * WIDTH, DT_F32, MEM_HOST, t.count,
                                      WIDTH);
    struct op_gather a = {.out = &rows, .parts = parts, .n_parts = s->ranks};
    struct err e = ERR_INIT;

    parts_of(s, s->part_o, r, parts);
    assert_int_equal(ops_gather(s->ops, s->q, &a, &e), ST_OK);
}

static float *run(const char *backend, int ranks, const struct seqpar_formats *f)
{
    float *out = calloc(TOKENS * WIDTH, sizeof(*out));
    struct err e = ERR_INIT;
    struct scene s;

    assert_non_null(out);
    scene_open(&s, backend, ranks, f);
    for (int r = 0; r < ranks && f->qk == DT_I8; r++)
        sum_keys(&s, r);
    for (int r = 0; r < ranks; r++)
        scatter(&s, r);
    for (int d = 0; d < ranks; d++)
        attend(&s, d);
    for (int r = 0; r < ranks; r++)
        gather(&s, r, out);
    assert_int_equal(ops_queue_wait(s.ops, s.q, &e), ST_OK);
    scene_close(&s);
    return out;
}

static void check_formats(const char *backend, int step)
{
    static const struct seqpar_formats formats[] = {
        {DT_F32, DT_F32, DT_F32},  {DT_BF16, DT_BF16, DT_BF16},
        {DT_I8, DT_E4M3, DT_F32},  {DT_I8, DT_E4M3, DT_BF16},
        {DT_I8, DT_E4M3, DT_E4M3},
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        float *whole = run(backend, 1, &formats[i]);

        for (int ranks = 2; ranks <= RANKS_MAX; ranks += step) {
            float *cut_up = run(backend, ranks, &formats[i]);

            assert_memory_equal(whole, cut_up, TOKENS * WIDTH * sizeof(float));
            free(cut_up);
        }
        free(whole);
    }
}

static void any_cut_gives_the_bytes_on_ref(void **state)
{
    (void)state;
    check_formats("ref", 3);
}

static void any_cut_gives_the_bytes_on_cpu(void **state)
{
    (void)state;
    check_formats("cpu", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_gives_the_bytes_on_ref),
        cmocka_unit_test(any_cut_gives_the_bytes_on_cpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
