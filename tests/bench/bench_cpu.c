/* bench_cpu.c - how much of the processor's sgemm rate a transformer forward reaches
 *
 *     ff_bench_cpu [--threads N] [--layers N] [--repeats N] [--precision P]
 *
 * A Wan-shaped transformer (d 1536, 12 heads, ffn 8960) with made-up weights predicts
 * one velocity for 2,000 tokens and 512 rows of text. Each repeat measures, right after
 * one another so that a busy machine hits all alike:
 *
 *     forward    one pass of the model, its own floating point operations counted
 *     openblas   one large sgemm on OpenBLAS's own threads, the ceiling of the goal
 *     split      the same sgemm cut by rows, one single-threaded call per thread
 *
 * and the table at the end gives medians, lowest and highest, and the forward as a
 * share of the better of the other two. On a machine that does other work too, the
 * rates per second of processor time are the fairer comparison: threads that wait do
 * not count there (OpenBLAS's own threads spin while they wait, so it has no such
 * rate).
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/dit/forward.h"
#include "engine/dit/plan.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/pool.h"
#include "tests/bench/model.h"

enum { FRAMES = 5, GRID = 20, TEXT_ROWS = 512, REPEATS_MAX = 99 };
enum { GEMM_M = 2048, GEMM_N = 4096, GEMM_K = 4096 };

struct settings {
    int threads, layers, repeats;
    const char *precision;
};

struct rates {
    double forward[REPEATS_MAX], openblas[REPEATS_MAX], split[REPEATS_MAX];
    double forward_core[REPEATS_MAX], split_core[REPEATS_MAX];
};

static double seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* Processor time of all threads of this process. */
static double core_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- sgemm -------------------------------------------------------------------- */

struct gemm {
    float *a, *b, *c;
    struct pool *pool;
    int threads;
};

static const double gemm_flops = 2.0 * GEMM_M * GEMM_N * GEMM_K;

static enum status gemm_init(struct gemm *g, int threads, struct err *e)
{
    memset(g, 0, sizeof(*g));
    TRY(pool_create(threads, &g->pool, e));
    g->threads = pool_threads(g->pool);
    g->a = bench_numbers((int64_t)GEMM_M * GEMM_K, 1.0f);
    g->b = bench_numbers((int64_t)GEMM_N * GEMM_K, 1.0f);
    g->c = bench_numbers((int64_t)GEMM_M * GEMM_N, 0.0f);
    if (!g->a || !g->b || !g->c)
        return err_set(e, ST_RESOURCE, "no memory for the sgemm");
    return ST_OK;
}

static void gemm_release(struct gemm *g)
{
    pool_destroy(g->pool);
    free(g->a);
    free(g->b);
    free(g->c);
}

static double gemm_openblas(const struct gemm *g)
{
    double begin;

    blas_threads(g->threads);
    begin = seconds();
    blas_nt(GEMM_M, GEMM_N, GEMM_K, g->a, GEMM_K, g->b, GEMM_K, false, g->c, GEMM_N);
    begin = gemm_flops / (seconds() - begin);
    blas_threads(1);
    return begin;
}

static void gemm_part(void *ctx, int64_t item, int worker)
{
    const struct gemm *g = ctx;
    int64_t begin = GEMM_M * item / g->threads;
    int64_t rows = GEMM_M * (item + 1) / g->threads - begin;

    (void)worker;
    blas_nt(rows, GEMM_N, GEMM_K, g->a + begin * GEMM_K, GEMM_K, g->b, GEMM_K, false,
            g->c + begin * GEMM_N, GEMM_N);
}

static void gemm_split(const struct gemm *g, double *rate, double *core_rate)
{
    double begin = seconds(), core_begin = core_seconds();

    pool_run(g->pool, g->threads, gemm_part, (void *)g);
    *rate = gemm_flops / (seconds() - begin);
    *core_rate = gemm_flops / (core_seconds() - core_begin);
}

/* ---- forward ------------------------------------------------------------------ */

struct bench {
    struct ops *ops;
    struct queue *q;
    struct bench_model model;
    struct dit_plan plan;
    struct arena arena;
    struct dit_context *context;
    struct dit_forward *forward;
    struct tensor latent, t, velocity;
    void *memory, *workspace;
};

static const struct dit_config sizes = {
    .family = FAMILY_WAN,
    .dim = 1536,
    .ffn_dim = 8960,
    .heads = 12,
    .in_channels = 16,
    .out_channels = 16,
    .freq_dim = 256,
    .text_dim = 4096,
    .text_len = TEXT_ROWS,
    .eps = 1e-6f,
};

static const struct dit_shape shape = {
    .frames = FRAMES,
    .grid_h = GRID,
    .grid_w = GRID,
    .group = SEQPAR_ALONE,
    .contexts = 1,
    .context_rows = TEXT_ROWS,
};

static const struct dit_precision *precision_named(const char *name)
{
    const struct {
        const char *name;
        const struct dit_precision *p;
    } all[] = {{"fp32", &dit_fp32},
               {"bf16", &dit_bf16},
               {"fp8", &dit_fp8},
               {"int8", &dit_int8}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i].name, name) == 0)
            return all[i].p;
    }
    return NULL;
}

/* Memory: the pass, the context and its making, side by side, then inputs. */
static enum status bench_memory(struct bench *b, struct err *e)
{
    size_t bytes = b->plan.forward_bytes + b->plan.context_bytes +
                   b->plan.context_scratch_bytes;

    TRY(ops_mem_alloc(b->ops, bytes, &b->memory, e));
    TRY(ops_mem_alloc(b->ops, b->plan.workspace_bytes, &b->workspace, e));
    arena_init(&b->arena, b->memory, bytes);
    return ops_queue_open(b->ops, b->workspace, b->plan.workspace_bytes, &b->q, e);
}

static enum status bench_inputs(struct bench *b, struct err *e)
{
    int64_t tokens = FRAMES * GRID * GRID;
    struct tensor text = tensor_make2(bench_numbers(TEXT_ROWS * sizes.text_dim, 1.0f),
                                      DT_F32, MEM_HOST, TEXT_ROWS, sizes.text_dim);
    enum status st = ST_RESOURCE;

    b->latent = tensor_make2(bench_numbers(tokens * 64, 1.0f), DT_F32, MEM_HOST, tokens,
                             64);
    b->velocity = tensor_make2(bench_numbers(tokens * 64, 0.0f), DT_F32, MEM_HOST,
                               tokens, 64);
    b->t = tensor_make1(bench_numbers(FRAMES, 900.0f), DT_F32, MEM_HOST, FRAMES);
    if (text.data && b->latent.data && b->velocity.data && b->t.data)
        st = dit_context_create(b->model.dit, b->q, &text, &b->arena, &b->arena,
                                &b->context, e);
    else
        err_set(e, st, "no memory for inputs");
    free(text.data);
    return st;
}

static enum status bench_init(struct bench *b, const struct settings *s, struct err *e)
{
    const struct dit_precision *precision = precision_named(s->precision);
    struct dit_config config = sizes;

    if (!precision)
        return err_set(e, ST_USAGE, "unknown precision '%s': fp32, bf16, fp8 or int8",
                       s->precision);
    config.layers = s->layers;
    TRY(ops_open("cpu", &(struct ops_options){.threads = s->threads}, &b->ops, e));
    TRY(bench_model_init(&b->model, &config, precision, b->ops, e));
    TRY(dit_plan(&config, precision, &shape, b->ops, &b->plan, e));
    TRY(bench_memory(b, e));
    TRY(bench_inputs(b, e));
    return dit_forward_create(b->model.dit, &shape, &b->arena, b->q, &b->forward, e);
}

static void bench_release(struct bench *b)
{
    dit_forward_destroy(b->forward);
    dit_context_destroy(b->context);
    bench_model_release(&b->model);
    if (b->q)
        ops_queue_close(b->ops, b->q);
    if (b->ops) {
        ops_mem_free(b->ops, b->memory);
        ops_mem_free(b->ops, b->workspace);
    }
    free(b->latent.data);
    free(b->velocity.data);
    free(b->t.data);
    ops_close(b->ops);
}

static enum status forward_rate(struct bench *b, double *rate, double *core_rate,
                                struct err *e)
{
    struct dit_input in = {
        .latent = {&b->latent}, .n_latent = 1, .t = &b->t, .context = {b->context}};
    double flops = b->plan.linear_flops + b->plan.self_flops + b->plan.cross_flops;
    double begin = seconds(), core_begin = core_seconds();

    TRY(dit_forward_run(b->forward, b->q, &in, &b->velocity, e));
    TRY(ops_queue_wait(b->ops, b->q, e));
    *rate = flops / (seconds() - begin);
    *core_rate = flops / (core_seconds() - core_begin);
    return ST_OK;
}

/* ---- report ------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double report(const char *what, double *rate, int n)
{
    qsort(rate, (size_t)n, sizeof(*rate), ascending);
    printf("%-10s %10.1f %10.1f %10.1f\n", what, rate[n / 2] * 1e-9, rate[0] * 1e-9,
           rate[n - 1] * 1e-9);
    return rate[n / 2];
}

static void report_all(const struct settings *s, struct rates *r, int threads,
                       double flops)
{
    double forward, blas, split, forward_core, split_core;

    printf("d %d, %d heads, ffn %d, %d layers, %d tokens, %d text rows, %s: %.1f "
           "GFLOP per pass\n",
           (int)sizes.dim, (int)sizes.heads, (int)sizes.ffn_dim, s->layers,
           FRAMES * GRID * GRID, TEXT_ROWS, s->precision, flops * 1e-9);
    printf("%d threads, %d repeats, GFLOP/s\n", threads, s->repeats);
    printf("%-10s %10s %10s %10s\n", "", "median", "lowest", "highest");
    forward = report("forward", r->forward, s->repeats);
    blas = report("openblas", r->openblas, s->repeats);
    split = report("split", r->split, s->repeats);
    printf("GFLOP per second of processor time\n");
    forward_core = report("forward", r->forward_core, s->repeats);
    split_core = report("split", r->split_core, s->repeats);
    printf("forward is %.1f %% of the better sgemm; %.1f %% by processor time\n",
           100.0 * forward / (blas > split ? blas : split),
           100.0 * forward_core / split_core);
}

static enum status run(const struct settings *s, struct err *e)
{
    static struct rates r;
    struct bench b = {0};
    struct gemm g = {0};
    double warm[2];
    enum status st;

    TRY_GOTO(st, gemm_init(&g, s->threads, e), out_release);
    TRY_GOTO(st, bench_init(&b, s, e), out_release);
    TRY_GOTO(st, forward_rate(&b, &warm[0], &warm[1], e), out_release);
    for (int i = 0; i < s->repeats; i++) {
        TRY_GOTO(st, forward_rate(&b, &r.forward[i], &r.forward_core[i], e),
                 out_release);
        r.openblas[i] = gemm_openblas(&g);
        gemm_split(&g, &r.split[i], &r.split_core[i]);
    }
    report_all(s, &r, g.threads,
               b.plan.linear_flops + b.plan.self_flops + b.plan.cross_flops);

out_release:
    bench_release(&b);
    if (g.pool)
        gemm_release(&g);
    return st;
}

/* ---- arguments ---------------------------------------------------------------- */

static bool count_read(const char *text, int *out)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (end == text || *end || v < 0 || v > 1000)
        return false;
    *out = (int)v;
    return true;
}

static bool settings_read(struct settings *s, int argc, char **argv)
{
    struct {
        const char *name;
        int *to;
    } numbers[] = {{"--threads", &s->threads},
                   {"--layers", &s->layers},
                   {"--repeats", &s->repeats}};

    for (int i = 1; i + 1 < argc; i += 2) {
        bool known = strcmp(argv[i], "--precision") == 0;

        if (known)
            s->precision = argv[i + 1];
        for (int j = 0; j < 3; j++) {
            if (strcmp(argv[i], numbers[j].name) == 0)
                known = count_read(argv[i + 1], numbers[j].to);
        }
        if (!known)
            return false;
    }
    return argc % 2 == 1 && s->layers > 0 && s->repeats > 0 &&
           s->repeats <= REPEATS_MAX;
}

int main(int argc, char **argv)
{
    struct settings s = {0, 2, 5, "fp32"};
    struct err e = ERR_INIT;
    enum status st;

    if (!settings_read(&s, argc, argv)) {
        fprintf(stderr, "usage: ff_bench_cpu [--threads N] [--layers N] [--repeats N] "
                        "[--precision fp32|bf16|fp8|int8]\n");
        return 2;
    }
    st = run(&s, &e);
    if (st != ST_OK)
        fprintf(stderr, "ff_bench_cpu: %s\n", e.text);
    return status_exit_code(st);
}
