/* test_vae_golden.c - the autoencoder against diffusers' in fp64, on a tiny model
 *
 * tests/golden/make_vae.py made the data: latents and videos of several lengths and
 * shapes, and the model twice: as a .pth under the original names, and as a folder in
 * the layout of diffusers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/weights/model.h"
#include "engine/weights/source.h"
#include "tests/tolerance.h"
#include "tests/unit/vae_rig.h"

enum { CASES = 4, TENSORS = 194 };

static const struct vae_config CONFIG = {
    .base_dim = 3,
    .z_dim = 16,
    .dim_mult = {1, 2, 4, 4},
    .res_blocks = 2,
    .temporal_down = {false, true, true},
    .mean = {-0.7571f, -0.7089f, -0.9113f, 0.1075f, -0.1745f, 0.9653f, -0.1517f,
             1.5508f, 0.4134f, -0.0715f, 0.5517f, -0.3632f, -0.1922f, -0.9497f, 0.2503f,
             -0.2921f},
    .std = {2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f, 2.6052f, 2.0743f,
            3.2687f, 2.1526f, 2.8652f, 1.5579f, 1.6382f, 1.1253f, 2.8251f, 1.9160f},
};

static struct source *golden_open(const char *name)
{
    struct err e = ERR_INIT;
    struct source *s;
    char path[512];

    snprintf(path, sizeof(path), "%s/vae/%s", FF_GOLDEN_DIR, name);
    if (source_open(path, &s, &e) != ST_OK)
        fail_msg("%s", e.text);
    return s;
}

static float *golden_read(const struct source *s, const struct stored *t)
{
    struct err e = ERR_INIT;
    float *p = rig_zeros(stored_elements(t));

    if (source_read_as(s, t, DT_F32, p, &e) != ST_OK)
        fail_msg("%s", e.text);
    return p;
}

static struct weights *weights_read(const struct component *c, struct ops *ops)
{
    struct weights_policy policy = {.conv_channels_last = true, .threads = 1};
    struct err e = ERR_INIT;
    struct weights *w;

    if (weights_open(c, &policy, &w, &e) != ST_OK || weights_load(w, ops, &e) != ST_OK)
        fail_msg("%s", e.text);
    return w;
}

/* The .pth carries the canonical names, so each tensor is its own component entry. */
static void rig_original(struct rig *r, struct ops *ops)
{
    struct source *s = golden_open("Wan2.1_VAE.pth");
    struct component_tensor list[TENSORS];
    struct component c = {"vae", s, list, TENSORS, false};

    assert_int_equal(source_count(s), TENSORS);
    for (int i = 0; i < TENSORS; i++) {
        list[i].stored = source_at(s, i);
        list[i].name = list[i].stored->name;
    }
    rig_take(r, &CONFIG, ops, weights_read(&c, ops));
    source_close(s);
}

static void file_copy(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char block[4096];
    size_t n;

    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(block, 1, sizeof(block), in)) > 0)
        assert_int_equal(fwrite(block, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Read the folder vae/ alone: a model with two autoencoders is refused. */
static struct model *model_alone(void)
{
    static const char *const names[] = {"config.json",
                                        "diffusion_pytorch_model.safetensors"};
    struct model_options opt = {.without = 1u << MODEL_DIT | 1u << MODEL_TEXT |
                                           1u << MODEL_TOKENIZER};
    char root[] = "/tmp/framefleet-vae-XXXXXX", from[512], to[2][128];
    struct err e = ERR_INIT;
    struct model *m = NULL;

    assert_non_null(mkdtemp(root));
    snprintf(to[0], sizeof(to[0]), "%s/vae", root);
    assert_int_equal(mkdir(to[0], 0700), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof(from), "%s/vae/vae/%s", FF_GOLDEN_DIR, names[i]);
        snprintf(to[i], sizeof(to[i]), "%s/vae/%s", root, names[i]);
        file_copy(from, to[i]);
    }
    if (model_open(root, &opt, &m, &e) != ST_OK)
        print_message("%s\n", e.text);
    for (int i = 0; i < 2; i++)
        unlink(to[i]);
    snprintf(to[0], sizeof(to[0]), "%s/vae", root);
    rmdir(to[0]);
    rmdir(root);
    assert_non_null(m);
    return m;
}

/* The folder says what it is itself. */
static void rig_diffusers(struct rig *r, struct ops *ops)
{
    struct model *m = model_alone();
    const struct component *c = model_component(m, MODEL_VAE);

    assert_true(c->renamed);
    rig_take(r, model_vae(m), ops, weights_read(c, ops));
    model_close(m);
}

/* A tensor of a case, its dims in *t. */
static float *case_read(const struct source *s, const char *name,
                        const struct stored **t)
{
    *t = source_find(s, name);
    assert_non_null(*t);
    return golden_read(s, *t);
}

static void decode_case(const struct rig *r, int i, int64_t step)
{
    char name[64];
    const struct stored *zt, *xt;
    struct source *s;
    float *z, *x, *want, *got;
    int64_t n;

    snprintf(name, sizeof(name), "decode.case%d.safetensors", i);
    s = golden_open(name);
    z = case_read(s, "latent", &zt);
    x = case_read(s, "video", &xt);
    n = stored_elements(xt);
    want = rig_zeros(n);
    got = rig_zeros(n);
    rig_channels_last(want, x, 3, xt->dims[1], xt->dims[2], xt->dims[3]);
    rig_decode(r, z, zt->dims[1], zt->dims[2], zt->dims[3], DT_F32,
               (int64_t[]){step, 0}, DT_F32, got);
    assert_true(rig_distance(got, want, n) <= TOL_VAE);
    free(z);
    free(x);
    free(want);
    free(got);
    source_close(s);
}

static void encode_case(const struct rig *r, int i, int64_t step)
{
    char name[64];
    const struct stored *zt, *xt;
    struct source *s;
    float *z, *x, *last, *got;
    int64_t n;

    snprintf(name, sizeof(name), "encode.case%d.safetensors", i);
    s = golden_open(name);
    z = case_read(s, "latent", &zt);
    x = case_read(s, "video", &xt);
    n = stored_elements(zt);
    last = rig_zeros(stored_elements(xt));
    got = rig_zeros(n);
    rig_channels_last(last, x, 3, xt->dims[1], xt->dims[2], xt->dims[3]);
    rig_encode(r, last, zt->dims[1], zt->dims[2], zt->dims[3], DT_F32,
               (int64_t[]){step, 0}, got);
    assert_true(rig_distance(got, z, n) <= TOL_VAE);
    free(z);
    free(x);
    free(last);
    free(got);
    source_close(s);
}

/* Every case in steps of 1, 2, … `longest` latent frames. */
static void cases_on(const char *backend, void (*make)(struct rig *r, struct ops *ops),
                     int64_t longest)
{
    struct err e = ERR_INIT;
    struct ops *ops;
    struct rig r;

    if (ops_open(backend, &(struct ops_options){.threads = 2}, &ops, &e) != ST_OK)
        fail_msg("%s", e.text);
    make(&r, ops);
    for (int i = 0; i < CASES; i++) {
        for (int64_t step = 1; step <= longest; step *= 2) {
            decode_case(&r, i, step);
            encode_case(&r, i, step);
        }
    }
    rig_release(&r);
}

static void original_layout_on_cpu(void **state)
{
    (void)state;
    cases_on("cpu", rig_original, 4);
}

static void diffusers_layout_on_cpu(void **state)
{
    (void)state;
    cases_on("cpu", rig_diffusers, 2);
}

/* Outputs that nobody writes are NaN there, and inputs that change are noticed. */
static void original_layout_on_check(void **state)
{
    (void)state;
    cases_on("check:cpu", rig_original, 1);
}

static void original_layout_on_ref(void **state)
{
    (void)state;
    cases_on("ref", rig_original, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(original_layout_on_cpu),
        cmocka_unit_test(diffusers_layout_on_cpu),
        cmocka_unit_test(original_layout_on_ref),
        cmocka_unit_test(original_layout_on_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
