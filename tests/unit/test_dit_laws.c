/* test_dit_laws.c - what must hold for any weights: bytes, shortcuts, no allocation */
#include <errno.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "tests/tolerance.h"
#include "tests/unit/dit_rig.h"

/* ---- counting allocations ----------------------------------------------------------
 *
 * Every allocation of the process, but those that OpenBLAS makes for itself: its
 * kernels for matrices of less than about 10^6 multiplications pack into a malloc'd
 * buffer.
 */
static atomic_long allocations;
static struct {
    uintptr_t begin, end;
} blas;

static int note_blas(struct dl_phdr_info *info, size_t bytes, void *unused)
{
    (void)bytes;
    (void)unused;
    if (!strstr(info->dlpi_name, "openblas"))
        return 0;
    blas.begin = blas.end = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
                        info->dlpi_phdr[i].p_memsz;

        blas.end = end > blas.end ? end : blas.end;
    }
    return 1;
}

#ifndef __SANITIZE_ADDRESS__
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static void count(void *from)
{
    uintptr_t at = (uintptr_t)from;

    if (at < blas.begin || at >= blas.end)
        atomic_fetch_add(&allocations, 1);
}

void *malloc(size_t n)
{
    count(__builtin_return_address(0));
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count(__builtin_return_address(0));
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count(__builtin_return_address(0));
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    count(__builtin_return_address(0));
    return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    count(__builtin_return_address(0));
    *p = __libc_memalign(align, n);
    return *p ? 0 : ENOMEM;
}
#endif

/* ---- cases: 297 tokens cross tiles of 128 and groups of 16 ---------------------- */

static const struct latent_size size = {16, 3, 18, 22};
enum { LATENT = 16 * 3 * 18 * 22 };

static float *run(struct dit_rig *r, const struct dit_case *c)
{
    float *out = malloc(LATENT * sizeof(*out));

    assert_non_null(out);
    rig_run(r, c, out);
    return out;
}

static float *run_model(const char *backend, int threads, const char *model,
                        const struct dit_precision *p, const struct dit_case *c)
{
    struct dit_rig_options o = {backend, threads, model, p, false};
    struct dit_rig r;
    float *out;

    rig_open(&r, &o);
    out = run(&r, c);
    rig_close(&r);
    return out;
}

static void same_bytes(float *a, float *b)
{
    assert_memory_equal(a, b, LATENT * sizeof(*a));
    free(a);
    free(b);
}

static const struct dit_precision *const precisions[] = {&dit_fp32, &dit_bf16, &dit_fp8,
                                                         &dit_int8};

static void bytes_do_not_depend_on_threads(void **state)
{
    struct dit_case c;

    (void)state;
    case_random(&c, size, 3, 9, 48, 7);
    for (int i = 0; i < 4; i++)
        same_bytes(run_model("cpu", 1, "wan_a", precisions[i], &c),
                   run_model("cpu", 3, "wan_a", precisions[i], &c));
    case_release(&c);
}

/* The feed-forward of 297 tokens in parts of 128, and all at once. */
static void bytes_do_not_depend_on_parts_of_feed(void **state)
{
    struct dit_rig_options o = {"cpu", 2, "wan_a", NULL, false};
    const struct backend *narrow;
    struct dit_stand s;
    struct dit_rig r;
    struct dit_case c;
    float *parts, *whole;

    (void)state;
    case_random(&c, size, 3, 9, 48, 17);
    for (int i = 0; i < 4; i++) {
        struct backend wide;

        o.precision = precisions[i];
        rig_open(&r, &o);
        stand_open(&s, &r, &c, 1, 1);
        assert_int_equal(s.plan.feed_rows, 128);
        stand_close(&s, &r);
        parts = run(&r, &c);
        narrow = r.ops->backend;
        wide = *narrow;
        wide.facts.busy_tokens = 1024;
        r.ops->backend = &wide;
        whole = run(&r, &c);
        r.ops->backend = narrow;
        same_bytes(parts, whole);
        rig_close(&r);
    }
    case_release(&c);
}

static void equal_timesteps_are_one_timestep(void **state)
{
    float t[3] = {637, 637, 637};
    struct dit_case c, one;

    (void)state;
    case_random(&c, size, 3, 9, 48, 8);
    memcpy(c.timestep, t, sizeof(t));
    one = c;
    one.times = 1;
    same_bytes(run_model("cpu", 2, "wan_a", &dit_fp32, &c),
               run_model("cpu", 2, "wan_a", &dit_fp32, &one));
    same_bytes(run_model("cpu", 2, "sky_fps", &dit_fp8, &c),
               run_model("cpu", 2, "sky_fps", &dit_fp8, &one));
    case_release(&c);
}

/* One padding row with ln(count) on its logits is all the padding rows. */
static void padding_shortcut_is_exact(void **state)
{
    struct dit_case c, whole;
    float *full = calloc(512 * 48, sizeof(*full));
    float *a, *b;

    (void)state;
    assert_non_null(full);
    case_random(&c, size, 1, 9, 48, 9);
    memcpy(full, c.context, 9 * 48 * sizeof(*full));
    whole = c;
    whole.context = full;
    whole.text_rows = 512;
    a = run_model("cpu", 2, "wan_a", &dit_fp32, &c);
    b = run_model("cpu", 2, "wan_a", &dit_fp32, &whole);
    assert_true(rel_l2f(a, b, LATENT) < TOL_DIT_FORWARD);
    free(a);
    free(b);
    free(full);
    case_release(&c);
}

/* ---- passes by hand ------------------------------------------------------------- */

struct pass {
    struct dit_forward *fw;
    struct dit_context *ctx;
    struct tensor latent, t, velocity;
    struct dit_input in;
};

static void pass_open(struct pass *p, struct dit_stand *s, struct dit_rig *r,
                      const struct dit_case *c)
{
    struct err e = ERR_INIT;

    p->latent = stand_latent(s, c);
    p->velocity = stand_velocity(s, r);
    p->t = stand_timestep(s, c);
    p->ctx = stand_context(s, r, c);
    p->in = (struct dit_input){{&p->latent}, 1, &p->t, {p->ctx, p->ctx}};
    assert_int_equal(dit_forward_create(r->m, &s->shape, &s->arena, s->q, &p->fw, &e),
                     ST_OK);
}

static void pass_close(struct pass *p)
{
    dit_forward_destroy(p->fw);
    dit_context_destroy(p->ctx);
}

static void check_interleaved(struct dit_rig *r, struct dit_stand *s, struct pass p[2])
{
    struct err e = ERR_INIT;

    for (int i = 0; i < 2; i++)
        assert_int_equal(dit_forward_begin(p[i].fw, s->q, &p[i].in, &e), ST_OK);
    while (dit_forward_left(p[0].fw) > 0) {
        for (int i = 0; i < 2; i++)
            assert_int_equal(dit_forward_step(p[i].fw, s->q, &e), ST_OK);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(dit_forward_end(p[i].fw, s->q, &p[i].velocity, &e), ST_OK);
    assert_int_equal(ops_queue_wait(r->ops, s->q, &e), ST_OK);
}

static void branches_may_interleave(void **state)
{
    struct dit_rig_options o = {"cpu", 2, "wan_a", &dit_fp8, false};
    struct dit_rig r;
    struct dit_case c[2];
    struct dit_stand s;
    struct pass p[2];
    float got[LATENT];
    float *want;

    (void)state;
    rig_open(&r, &o);
    case_random(&c[0], size, 1, 9, 48, 10);
    case_random(&c[1], size, 3, 9, 48, 11);
    stand_open(&s, &r, &c[0], 2, 1);
    for (int i = 0; i < 2; i++)
        pass_open(&p[i], &s, &r, &c[i]);
    check_interleaved(&r, &s, p);
    for (int i = 0; i < 2; i++) {
        want = run(&r, &c[i]);
        latent_from_patch(got, p[i].velocity.data, &size, dit_forward_tokens(p[i].fw));
        assert_memory_equal(got, want, sizeof(got));
        free(want);
        pass_close(&p[i]);
        case_release(&c[i]);
    }
    stand_close(&s, &r);
    rig_close(&r);
}

static void forward_allocates_nothing(void **state)
{
    struct dit_rig_options o = {"cpu", 2, "sky_fps", NULL, false};
    struct err e = ERR_INIT;
    struct dit_rig r;
    struct dit_case c;
    struct dit_stand s;
    struct pass p;
    long before;

    (void)state;
    dl_iterate_phdr(note_blas, NULL);
    case_random(&c, size, 3, 9, 48, 12);
    if (atomic_load(&allocations) == 0) { /* a sanitizer has malloc */
        case_release(&c);
        skip();
    }
    for (int i = 0; i < 4; i++) {
        o.precision = precisions[i];
        rig_open(&r, &o);
        stand_open(&s, &r, &c, 1, 1);
        pass_open(&p, &s, &r, &c);
        before = atomic_load(&allocations);
        for (int k = 0; k < 3; k++)
            assert_int_equal(dit_forward_run(p.fw, s.q, &p.in, &p.velocity, &e), ST_OK);
        assert_int_equal(ops_queue_wait(r.ops, s.q, &e), ST_OK);
        assert_int_equal(atomic_load(&allocations) - before, 0);
        pass_close(&p);
        stand_close(&s, &r);
        rig_close(&r);
    }
    case_release(&c);
}

/* ---- seams ---------------------------------------------------------------------- */

/* Channels handed over in groups, as noise and condition are, make the same input. */
static void channel_groups_lie_side_by_side(void **state)
{
    struct dit_rig_options o = {"cpu", 2, "wan_a", &dit_bf16, false};
    struct err e = ERR_INIT;
    struct dit_rig r;
    struct dit_case c;
    struct dit_stand s;
    struct pass p;
    struct tensor a, b;
    float *want = malloc(LATENT * sizeof(*want));

    (void)state;
    rig_open(&r, &o);
    case_random(&c, size, 1, 9, 48, 13);
    stand_open(&s, &r, &c, 1, 1);
    pass_open(&p, &s, &r, &c);
    assert_int_equal(dit_forward_run(p.fw, s.q, &p.in, &p.velocity, &e), ST_OK);
    memcpy(want, p.velocity.data, LATENT * sizeof(*want));
    a = tensor_slice(&p.latent, 1, 0, 40);
    b = tensor_slice(&p.latent, 1, 40, 24);
    p.in.latent[0] = &a;
    p.in.latent[1] = &b;
    p.in.n_latent = 2;
    assert_int_equal(dit_forward_run(p.fw, s.q, &p.in, &p.velocity, &e), ST_OK);
    assert_memory_equal(p.velocity.data, want, LATENT * sizeof(*want));
    pass_close(&p);
    stand_close(&s, &r);
    case_release(&c);
    rig_close(&r);
    free(want);
}

/* Results of a list of contexts add up: one context twice is twice its values. */
static void run_contexts(int contexts, bool doubled, const struct dit_case *c,
                         float *out)
{
    struct dit_rig_options o = {"cpu", 2, "wan_a", &dit_fp32, false};
    struct err e = ERR_INIT;
    struct dit_rig r;
    struct dit_stand s;
    struct pass p;

    rig_open(&r, &o);
    if (doubled)
        rig_double_values(&r);
    stand_open(&s, &r, c, 1, contexts);
    pass_open(&p, &s, &r, c);
    assert_int_equal(dit_forward_run(p.fw, s.q, &p.in, &p.velocity, &e), ST_OK);
    memcpy(out, p.velocity.data, LATENT * sizeof(*out));
    pass_close(&p);
    stand_close(&s, &r);
    rig_close(&r);
}

static void contexts_add_up(void **state)
{
    float *two = malloc(LATENT * sizeof(*two)), *twice = malloc(LATENT * sizeof(*two));
    struct dit_case c;

    (void)state;
    case_random(&c, size, 1, 9, 48, 14);
    run_contexts(2, false, &c, two);
    run_contexts(1, true, &c, twice);
    assert_true(rel_l2f(two, twice, LATENT) < TOL_DIT_FORWARD);
    case_release(&c);
    free(two);
    free(twice);
}

/* ---- precisions ----------------------------------------------------------------- */

static void narrow_precisions_stay_close(void **state)
{
    static const double limit[] = {0, TOL_DIT_BF16, TOL_DIT_FP8, TOL_DIT_INT8};
    float *want[4], *got;
    struct dit_case c;
    double error, between;

    (void)state;
    case_random(&c, size, 3, 9, 48, 15);
    for (int i = 0; i < 4; i++)
        want[i] = run_model("ref", 1, "wan_a", precisions[i], &c);
    for (int i = 0; i < 4; i++) {
        got = run_model("cpu", 2, "wan_a", precisions[i], &c);
        error = rel_l2f(want[i], want[0], LATENT);
        between = rel_l2f(got, want[i], LATENT);
        print_message("precision %d: %.2e from fp32, cpu %.2e from ref\n", i, error,
                      between);
        assert_true(error <= limit[i]);
        assert_true(between <= (i == 0 ? TOL_DIT_FORWARD : limit[i] / 2));
        free(got);
    }
    for (int i = 0; i < 4; i++)
        free(want[i]);
    case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_do_not_depend_on_threads),
        cmocka_unit_test(bytes_do_not_depend_on_parts_of_feed),
        cmocka_unit_test(equal_timesteps_are_one_timestep),
        cmocka_unit_test(padding_shortcut_is_exact),
        cmocka_unit_test(branches_may_interleave),
        cmocka_unit_test(forward_allocates_nothing),
        cmocka_unit_test(channel_groups_lie_side_by_side),
        cmocka_unit_test(contexts_add_up),
        cmocka_unit_test(narrow_precisions_stay_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
