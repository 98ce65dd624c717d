/* test_ways_gpu.c - algorithms of products: listed, taken, proven, refused
 *
 * For a backend that chooses. What the library knows is printed, one line for each way
 * whose rows depend on their number: those are what settling is for. */
#include <stdio.h>
#include <string.h>

#include "kernels/settle.h"
#include "tests/gpu/gpu_rig.h"
#include "tests/tolerance.h"

enum { WAYS = 32, D = 512, K = 1024 };

static const struct row_cut cuts[] = {{0, 1},      {128, 5},     {256, 640},
                                      {384, 1000}, {1280, 1720}, {0, SETTLE_ROWS}};

/* How many of them have rows that depend on their number. */
static int ways_bad(struct rig *r, const struct op_linear *a,
                    const struct tensor *again, const struct linear_way *way, int n)
{
    struct err e = ERR_INIT;
    int64_t differ;
    int bad = 0;

    for (int i = 0; i < n; i++) {
        must(ops_linear_take(r->gpu, a, &way[i], &e), &e, "ops_linear_take");
        must(linear_rows_differ(r->gpu, r->gpu_q, a, again, cuts,
                                sizeof(cuts) / sizeof(cuts[0]), &differ, &e),
             &e, "linear_rows_differ");
        if (differ == 0)
            continue;
        printf("way with rows that depend on their number: %s\n", way[i].about);
        bad++;
    }
    return bad;
}

/* Rows of the table for another product, another library, another algorithm. */
static void refusals(struct rig *r, const struct op_linear *a,
                     const struct linear_way *way)
{
    struct linear_way other = *way;
    struct err e = ERR_INIT;
    int taken = 0;

    snprintf(other.text, sizeof(other.text), "nonsense");
    taken += ops_linear_take(r->gpu, a, &other, &e) == ST_OK;
    other = *way;
    other.text[0] ^= 1;
    taken += ops_linear_take(r->gpu, a, &other, &e) == ST_OK;
    other = *way;
    memset(strrchr(other.text, ' ') - 7 * 17 + 1, 'f', 16);
    taken += ops_linear_take(r->gpu, a, &other, &e) == ST_OK;
    table_row("ways that must be refused and are taken", taken, 0.0);
}

static void ways_of(struct rig *r, enum dtype dt, enum dtype y_type, double limit)
{
    struct pair x = random2(r, dt, 3000, K), w = random2(r, dt, D, K);
    struct pair y = pair2(r, y_type, 3000, D), again = pair2(r, y_type, 3000, D);
    struct op_linear host = {&y.host, &x.host, &w.host, NULL, true};
    struct op_linear dev = {&y.dev, &x.dev, &w.dev, NULL, true};
    struct linear_way way[WAYS];
    char note[SETTLE_NOTE_BYTES], name[96];
    struct err e = ERR_INIT;
    int64_t differ;
    int n;

    must(ops_linear_ways(r->gpu, &dev, way, WAYS, &n, &e), &e, "ops_linear_ways");
    snprintf(name, sizeof(name), "ways of %s, %d: is there one?", dtype_name(dt), n);
    table_row(name, n == 0, 0.0);
    if (n == 0)
        return;
    printf("%s: %d ways, rows of %d depend on their number\n", dtype_name(dt), n,
           ways_bad(r, &dev, &again.dev, way, n));
    refusals(r, &dev, &way[0]);
    must(ops_linear_take(r->gpu, &dev, &way[0], &e), &e, "ops_linear_take");
    must(linear_settle(r->gpu, r->gpu_q, &dev, &again.dev, note, &e), &e, "settle");
    if (note[0])
        printf("%s\n", note);
    must(linear_rows_differ(r->gpu, r->gpu_q, &dev, &again.dev, cuts,
                            sizeof(cuts) / sizeof(cuts[0]), &differ, &e),
         &e, "linear_rows_differ");
    snprintf(name, sizeof(name), "linear %s, settled: rows that depend on their number",
             dtype_name(dt));
    table_row(name, (double)differ, 0.0);
    BOTH(r, linear, &host, &dev);
    snprintf(name, sizeof(name), "linear %s, settled", dtype_name(dt));
    table_compare(r, name, &y, limit);
}

void ways_all(struct rig *r)
{
    ways_of(r, DT_E4M3, DT_BF16, TOL_GEMM_FP8);
    ways_of(r, DT_BF16, DT_BF16, TOL_OP_BF16);
    ways_of(r, DT_F32, DT_F32, TOL_OP_F32);
    pairs_clear(r);
}
