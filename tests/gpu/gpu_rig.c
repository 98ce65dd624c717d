/* gpu_rig.c - tensors on the host and on the GPU, and a table of comparisons */
#include "tests/gpu/gpu_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/base/rng.h"

enum { POOL_MAX = 4096, ROWS_MAX = 2048 };

static struct {
    void *host[POOL_MAX], *dev[POOL_MAX];
    int n_host, n_dev;
    uint64_t draws;
} pool;

static struct {
    char name[ROWS_MAX][64];
    double value[ROWS_MAX], limit[ROWS_MAX];
    int n;
} table;

/* ---- backends ------------------------------------------------------------------ */

void must(enum status st, const struct err *e, const char *what)
{
    if (st == ST_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, e->text);
    exit(1);
}

static void *host_alloc(size_t bytes)
{
    size_t padded = (bytes + ARENA_ALIGN) / ARENA_ALIGN * ARENA_ALIGN;
    void *p = aligned_alloc(ARENA_ALIGN, padded);

    if (!p || pool.n_host == POOL_MAX) {
        fprintf(stderr, "no memory for a tensor\n");
        exit(1);
    }
    memset(p, 0, padded);
    pool.host[pool.n_host++] = p;
    return p;
}

static void *dev_alloc(struct rig *r, size_t bytes)
{
    struct err e = ERR_INIT;
    void *p;

    must(ops_mem_alloc(r->gpu, bytes, &p, &e), &e, "memory");
    if (pool.n_dev == POOL_MAX)
        exit(1);
    pool.dev[pool.n_dev++] = p;
    return p;
}

const char *rig_backend(void)
{
    const char *name = getenv("BACKEND");

    return name ? name : "cuda";
}

static void gpu_open(struct rig *r, size_t workspace, const struct ops_options *o)
{
    struct err e = ERR_INIT;

    *r = (struct rig){0};
    must(ops_open(rig_backend(), o, &r->gpu, &e), &e, rig_backend());
    r->space = ops_facts(r->gpu)->space;
    must(ops_mem_alloc(r->gpu, workspace, &r->gpu_ws, &e), &e, "workspace");
    must(ops_queue_open(r->gpu, r->gpu_ws, workspace, &r->gpu_q, &e), &e, "queue");
}

static void ref_open_beside(struct rig *r, size_t workspace)
{
    struct err e = ERR_INIT;

    must(ops_open("ref", NULL, &r->ref, &e), &e, "ref");
    must(ops_mem_alloc(r->ref, workspace, &r->ref_ws, &e), &e, "workspace");
    must(ops_queue_open(r->ref, r->ref_ws, workspace, &r->ref_q, &e), &e, "queue");
}

void rig_open_alone(struct rig *r, size_t workspace, enum ops_kernels kernels)
{
    gpu_open(r, workspace, &(struct ops_options){.kernels = kernels});
}

void rig_open(struct rig *r, size_t workspace, enum ops_kernels kernels)
{
    rig_open_alone(r, workspace, kernels);
    ref_open_beside(r, workspace);
}

void rig_open_fast(struct rig *r, size_t workspace)
{
    gpu_open(r, workspace, &(struct ops_options){.fast_sums = true});
    ref_open_beside(r, workspace);
}

void rig_close(struct rig *r)
{
    ops_queue_close(r->gpu, r->gpu_q);
    ops_mem_free(r->gpu, r->gpu_ws);
    ops_close(r->gpu);
    if (!r->ref)
        return;
    ops_queue_close(r->ref, r->ref_q);
    ops_mem_free(r->ref, r->ref_ws);
    ops_close(r->ref);
}

void rig_wait(struct rig *r)
{
    struct err e = ERR_INIT;

    must(ops_queue_wait(r->gpu, r->gpu_q, &e), &e, "wait");
}

void pairs_clear(struct rig *r)
{
    rig_wait(r);
    while (pool.n_host > 0)
        free(pool.host[--pool.n_host]);
    while (pool.n_dev > 0)
        ops_mem_free(r->gpu, pool.dev[--pool.n_dev]);
}

/* ---- tensors ------------------------------------------------------------------- */

static bool is_code(enum dtype dt)
{
    return dtype_bytes(dt) == 1;
}

static int64_t scale_count(const struct tensor *t)
{
    int64_t slices = t->rank > 2 ? t->shape[0] : 1;

    return t->scales.kind == SCALE_NONE ? 0 : slices * t->scales.stride[0];
}

static void scales_shape(struct tensor *t, int64_t group_rows, int64_t group_cols)
{
    struct scales *s = &t->scales;
    int64_t rows, cols;

    if (!is_code(t->dtype))
        return;
    rows = t->shape[t->rank - 2];
    cols = t->shape[t->rank - 1];
    s->kind = group_rows ? SCALE_GROUP : SCALE_ROW;
    s->rows = group_rows;
    s->cols = group_cols;
    s->stride[0] = rows;
    if (!group_rows)
        return;
    s->stride[1] = (cols + group_cols - 1) / group_cols;
    s->stride[0] = (rows + group_rows - 1) / group_rows * s->stride[1];
}

static void bytes_move(struct rig *r, void *dst, enum mem_space to, const void *src,
                       enum mem_space from, size_t bytes)
{
    struct tensor d = tensor_make1(dst, DT_U8, to, (int64_t)bytes);
    struct tensor s = tensor_make1((void *)src, DT_U8, from, (int64_t)bytes);
    struct err e = ERR_INIT;

    if (bytes)
        must(ops_copy(r->gpu, r->gpu_q, &d, &s, &e), &e, "copy");
}

static size_t data_bytes(const struct tensor *t)
{
    return (size_t)tensor_count(t) * dtype_bytes(t->dtype);
}

void pair_send(struct rig *r, const struct pair *p)
{
    bytes_move(r, p->dev.data, r->space, p->host.data, MEM_HOST, data_bytes(&p->host));
    bytes_move(r, p->dev.scales.data, r->space, p->host.scales.data, MEM_HOST,
               (size_t)scale_count(&p->host) * sizeof(float));
}

struct pair pair_make(struct rig *r, enum dtype dt, int rank, const int64_t *shape,
                      int64_t group_rows, int64_t group_cols)
{
    struct pair p;
    size_t scale_bytes;

    p.host = tensor_make(NULL, dt, MEM_HOST, rank, shape);
    scales_shape(&p.host, group_rows, group_cols);
    p.dev = p.host;
    p.dev.space = r->space;
    scale_bytes = (size_t)scale_count(&p.host) * sizeof(float);
    p.host.data = host_alloc(data_bytes(&p.host));
    p.dev.data = dev_alloc(r, data_bytes(&p.host));
    if (scale_bytes) {
        p.host.scales.data = host_alloc(scale_bytes);
        p.dev.scales.data = dev_alloc(r, scale_bytes);
    }
    pair_send(r, &p);
    return p;
}

static float *random_floats(int64_t n)
{
    float *v = host_alloc((size_t)n * sizeof(float));

    noise_philox(2026, 9, pool.draws, (size_t)n, v);
    pool.draws += (uint64_t)n;
    return v;
}

struct pair pair_random(struct rig *r, enum dtype dt, int rank, const int64_t *shape,
                        int64_t group_rows, int64_t group_cols)
{
    struct pair p = pair_make(r, dt, rank, shape, group_rows, group_cols);
    int64_t n = tensor_count(&p.host), n_scales = scale_count(&p.host);
    float *v = random_floats(n), *s = random_floats(n_scales);
    float unit = dt == DT_I8 ? 30.0f : is_code(dt) ? 100.0f : 1.0f;

    for (int64_t i = 0; i < n; i++)
        v[i] *= unit;
    dtype_convert(p.host.data, dt, v, DT_F32, (size_t)n);
    for (int64_t i = 0; i < n_scales; i++)
        p.host.scales.data[i] = (0.5f + fabsf(s[i])) / unit;
    pair_send(r, &p);
    return p;
}

struct pair pair2(struct rig *r, enum dtype dt, int64_t rows, int64_t cols)
{
    return pair_make(r, dt, 2, SHAPE(rows, cols), 0, 0);
}

struct pair random2(struct rig *r, enum dtype dt, int64_t rows, int64_t cols)
{
    return pair_random(r, dt, 2, SHAPE(rows, cols), 0, 0);
}

void pair_pending(struct rig *r, struct pair *p)
{
    struct pair row = random2(r, DT_F32, 1, p->host.shape[0]);
    struct pair col = random2(r, DT_F32, 1, p->host.shape[1]);
    struct pair bias = random2(r, DT_F32, 1, p->host.shape[1]);

    p->host.pending = (struct pending){row.host.data, col.host.data, bias.host.data};
    p->dev.pending = (struct pending){row.dev.data, col.dev.data, bias.dev.data};
}

struct tensor pair_fetch(struct rig *r, const struct pair *p)
{
    struct tensor t = p->host;
    size_t scale_bytes = (size_t)scale_count(&t) * sizeof(float);

    t.data = host_alloc(data_bytes(&t));
    bytes_move(r, t.data, MEM_HOST, p->dev.data, r->space, data_bytes(&t));
    if (scale_bytes) {
        t.scales.data = host_alloc(scale_bytes);
        bytes_move(r, t.scales.data, MEM_HOST, p->dev.scales.data, r->space,
                   scale_bytes);
    }
    rig_wait(r);
    return t;
}

/* ---- comparing ----------------------------------------------------------------- */

/* Value of element i of a dense tensor; scales applied. */
static double value_of(const struct tensor *t, int64_t i)
{
    const struct scales *s = &t->scales;
    int64_t cols = t->shape[t->rank - 1], rows = t->shape[t->rank - 2];
    int64_t slice = i / cols / rows, row = i / cols % rows, col = i % cols;
    double v;

    dtype_convert(&v, DT_F64, (const char *)t->data + (size_t)i * dtype_bytes(t->dtype),
                  t->dtype, 1);
    if (s->kind == SCALE_ROW)
        v *= (double)s->data[slice * s->stride[0] + row];
    if (s->kind == SCALE_GROUP)
        v *= (double)s->data[slice * s->stride[0] + row / s->rows * s->stride[1] +
                             col / s->cols];
    return v;
}

static double relative(const struct tensor *a, const struct tensor *b, double power)
{
    double off = 0.0, all = 0.0;

    for (int64_t i = 0; i < tensor_count(a); i++) {
        off += pow(fabs(value_of(a, i) - value_of(b, i)), power);
        all += pow(fabs(value_of(b, i)), power);
    }
    return pow(off / all, 1.0 / power);
}

/* The share of codes and scales that are not equal. */
static double share_differing(const struct tensor *a, const struct tensor *b)
{
    int64_t n = tensor_count(a), n_scales = scale_count(a);
    int64_t differ = 0;

    for (int64_t i = 0; i < n; i++)
        differ += ((const uint8_t *)a->data)[i] != ((const uint8_t *)b->data)[i];
    for (int64_t i = 0; i < n_scales; i++)
        differ += a->scales.data[i] != b->scales.data[i];
    return (double)differ / (double)(n + n_scales);
}

/* ---- the table ----------------------------------------------------------------- */

void table_row(const char *name, double value, double limit)
{
    if (table.n == ROWS_MAX)
        return;
    snprintf(table.name[table.n], sizeof(table.name[0]), "%s", name);
    table.value[table.n] = value;
    table.limit[table.n++] = limit;
}

/* Without a reference: values that are no numbers. */
static void table_alone(const char *name, const struct tensor *got)
{
    int64_t n = 0;

    for (int64_t i = 0; i < tensor_count(got); i++)
        n += isnan(value_of(got, i)) != 0;
    table_row(name, (double)n, 0.0);
}

void table_compare(struct rig *r, const char *name, const struct pair *p, double limit)
{
    struct tensor got = pair_fetch(r, p);

    if (!r->ref) {
        table_alone(name, &got);
        return;
    }
    table_row(name,
              is_code(got.dtype) ? share_differing(&got, &p->host)
                                 : relative(&got, &p->host, 2.0),
              limit);
}

void table_compare_l1(struct rig *r, const char *name, const struct pair *p,
                      double limit)
{
    struct tensor got = pair_fetch(r, p);

    if (r->ref)
        table_row(name, relative(&got, &p->host, 1.0), limit);
    else
        table_alone(name, &got);
}

int table_print(void)
{
    int failed = 0;

    printf("%-58s %12s %12s\n", "what", "found", "at most");
    for (int i = 0; i < table.n; i++) {
        bool ok = table.value[i] <= table.limit[i];

        printf("%-58s %12.3g %12.3g  %s\n", table.name[i], table.value[i],
               table.limit[i], ok ? "ok" : "FAILED");
        failed += !ok;
    }
    printf("%d of %d rows failed\n", failed, table.n);
    return failed;
}

enum { SMALL_WORKSPACE = 64 << 20 };

int small_main(const struct small_part *parts, int n, const char *name)
{
    struct rig r;
    int met = 0;

    for (int i = 0; i < n; i++) {
        if (name && strcmp(parts[i].name, name) != 0)
            continue;
        rig_open_alone(&r, SMALL_WORKSPACE, parts[i].kernels);
        parts[i].run(&r);
        pairs_clear(&r);
        rig_close(&r);
        met++;
    }
    if (met == 0)
        fprintf(stderr, "no part '%s'\n", name);
    return table_print() || met == 0 ? 1 : 0;
}

double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
