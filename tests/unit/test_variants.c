/* test_variants.c - the published models, by their shapes alone
 *
 * Sparse files with the real headers and no data: names and shapes are listed here once
 * more, and the sums must be the published ones (dit-and-sampling 1.2,
 * encoders-vae-formats 1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/weights/model.h"
#include "tests/scratch.h"

/* Header under construction. */
struct header {
    struct json_out o;
    struct buf text;
    const char *dtype;
    int64_t width, at;
};

static void tensor(struct header *h, int rank, const int64_t *dims, const char *name)
{
    int64_t bytes = h->width;

    json_out_object(&h->o, name);
    json_out_string(&h->o, "dtype", h->dtype);
    json_out_array(&h->o, "shape");
    for (int i = 0; i < rank; i++) {
        json_out_int(&h->o, NULL, dims[i]);
        bytes *= dims[i];
    }
    json_out_end(&h->o);
    json_out_array(&h->o, "data_offsets");
    json_out_int(&h->o, NULL, h->at);
    h->at += bytes;
    json_out_int(&h->o, NULL, h->at);
    json_out_end(&h->o);
    json_out_end(&h->o);
}

static void linear(struct header *h, int64_t n_out, int64_t n_in, const char *name)
{
    char full[128];

    snprintf(full, sizeof(full), "%s.weight", name);
    tensor(h, 2, (int64_t[]){n_out, n_in}, full);
    snprintf(full, sizeof(full), "%s.bias", name);
    tensor(h, 1, &n_out, full);
}

static void vector(struct header *h, int64_t n, const char *name)
{
    tensor(h, 1, &n, name);
}

static void begin(struct header *h, const char *dtype, int64_t width)
{
    memset(h, 0, sizeof(*h));
    h->dtype = dtype;
    h->width = width;
    json_out_init(&h->o, &h->text, JSON_COMPACT);
    json_out_object(&h->o, NULL);
}

/* Write the header and make the file as long as its data would be. */
static void finish(struct header *h, const struct scratch *s, const char *rel)
{
    struct buf file = BUF_INIT;

    json_out_end(&h->o);
    for (int i = 0; i < 8; i++) {
        char c = (char)((uint64_t)h->text.len >> (8 * i));

        buf_add(&file, &c, 1);
    }
    buf_add(&file, h->text.data, h->text.len);
    scratch_write(s, rel, file.data, file.len);
    assert_int_equal(truncate(scratch_path(s, rel), (off_t)file.len + h->at), 0);
    buf_release(&file);
    buf_release(&h->text);
}

struct shape {
    int64_t d, ffn, layers, in;
    bool fps, image, ends;
};

static void attention(struct header *h, int64_t d, const char *block, const char *kind,
                      bool image)
{
    static const char *const parts[] = {"q", "k", "v", "o", "k_img", "v_img"};
    char name[128];

    for (int i = 0; i < (image ? 6 : 4); i++) {
        snprintf(name, sizeof(name), "%s.%s.%s", block, kind, parts[i]);
        linear(h, d, d, name);
    }
    snprintf(name, sizeof(name), "%s.%s.norm_q.weight", block, kind);
    vector(h, d, name);
    snprintf(name, sizeof(name), "%s.%s.norm_k.weight", block, kind);
    vector(h, d, name);
    snprintf(name, sizeof(name), "%s.%s.norm_k_img.weight", block, kind);
    if (image)
        vector(h, d, name);
}

static void block(struct header *h, const struct shape *m, int64_t i)
{
    char base[32], name[64];

    snprintf(base, sizeof(base), "blocks.%lld", (long long)i);
    snprintf(name, sizeof(name), "%s.modulation", base);
    tensor(h, 3, (int64_t[]){1, 6, m->d}, name);
    attention(h, m->d, base, "self_attn", false);
    attention(h, m->d, base, "cross_attn", m->image);
    snprintf(name, sizeof(name), "%s.norm3.weight", base);
    vector(h, m->d, name);
    snprintf(name, sizeof(name), "%s.norm3.bias", base);
    vector(h, m->d, name);
    snprintf(name, sizeof(name), "%s.ffn.0", base);
    linear(h, m->ffn, m->d, name);
    snprintf(name, sizeof(name), "%s.ffn.2", base);
    linear(h, m->d, m->ffn, name);
}

static void image_branch(struct header *h, const struct shape *m)
{
    linear(h, 1280, 1280, "img_emb.proj.1");
    linear(h, m->d, 1280, "img_emb.proj.3");
    vector(h, 1280, "img_emb.proj.0.weight");
    vector(h, 1280, "img_emb.proj.0.bias");
    vector(h, m->d, "img_emb.proj.4.weight");
    vector(h, m->d, "img_emb.proj.4.bias");
    if (m->ends)
        tensor(h, 3, (int64_t[]){1, 514, 1280}, "img_emb.emb_pos");
}

static void transformer(const struct scratch *s, const char *rel, const struct shape *m,
                        const char *dtype, int64_t width)
{
    struct header h;

    begin(&h, dtype, width);
    tensor(&h, 5, (int64_t[]){m->d, m->in, 1, 2, 2}, "patch_embedding.weight");
    vector(&h, m->d, "patch_embedding.bias");
    linear(&h, m->d, 4096, "text_embedding.0");
    linear(&h, m->d, m->d, "text_embedding.2");
    linear(&h, m->d, 256, "time_embedding.0");
    linear(&h, m->d, m->d, "time_embedding.2");
    linear(&h, 6 * m->d, m->d, "time_projection.1");
    for (int64_t i = 0; i < m->layers; i++)
        block(&h, m, i);
    tensor(&h, 3, (int64_t[]){1, 2, m->d}, "head.modulation");
    linear(&h, 64, m->d, "head.head");
    if (m->fps) {
        tensor(&h, 2, (int64_t[]){2, m->d}, "fps_embedding.weight");
        linear(&h, m->d, m->d, "fps_projection.0");
        linear(&h, 6 * m->d, m->d, "fps_projection.2");
    }
    if (m->image)
        image_branch(&h, m);
    finish(&h, s, rel);
}

static void published_transformers_are_recognised(void **state)
{
    static const struct {
        const char *folder;
        struct shape shape;
        const char *dtype;
        int64_t width;
        int tensors;
        int64_t parameters;
        const char *description;
    } models[] = {
        {"Wan2.1-T2V-1.3B",
         {1536, 8960, 30, 16, 0, 0, 0},
         "F32",
         4,
         825,
         1418996800,
         "Wan2.1 T2V 1.3B (original layout, fp32)"},
        {"Wan2.1-T2V-14B",
         {5120, 13824, 40, 16, 0, 0, 0},
         "BF16",
         2,
         1095,
         14288491584,
         "Wan2.1 T2V 14B (original layout, bf16)"},
        {"SkyReels-V2-DF-1.3B-540P",
         {1536, 8960, 30, 16, 1, 0, 0},
         "F32",
         4,
         830,
         1435525696,
         "SkyReels-V2 DF 1.3B (original layout, fp32)"},
        {"SkyReels-V2-DF-14B-720P",
         {5120, 13824, 40, 16, 0, 0, 0},
         "F16",
         2,
         1095,
         14288491584,
         "SkyReels-V2 DF 14B (original layout, fp16)"},
        {"SkyReels-V2-T2V-14B-540P",
         {5120, 13824, 40, 16, 0, 0, 0},
         "F32",
         4,
         1095,
         14288491584,
         "SkyReels-V2 T2V 14B (original layout, fp32)"},
        {"SkyReels-V2-I2V-1.3B-540P",
         {1536, 8960, 30, 36, 0, 1, 0},
         "F32",
         4,
         983,
         1564428608,
         "an image-to-video model, 1.3B (original layout, fp32)"},
        {"Wan2.1-I2V-14B-480P",
         {5120, 13824, 40, 36, 0, 1, 0},
         "F32",
         4,
         1303,
         16394878784,
         "an image-to-video model, 14B (original layout, fp32)"},
        {"Wan2.1-FLF2V-14B-720P",
         {5120, 13824, 40, 36, 0, 1, 1},
         "BF16",
         2,
         1304,
         16395536704,
         "a first-and-last-frame model, 14B (original layout, bf16)"},
    };
    struct model_options look = {.look = true};
    struct scratch s;

    (void)state;
    scratch_create(&s);
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        struct err e = ERR_INIT;
        struct model *m = NULL;
        char rel[128];

        snprintf(rel, sizeof(rel), "%s/diffusion_pytorch_model.safetensors",
                 models[i].folder);
        transformer(&s, rel, &models[i].shape, models[i].dtype, models[i].width);
        if (model_open(scratch_path(&s, models[i].folder), &look, &m, &e) != ST_OK)
            fail_msg("%s", e.text);
        assert_string_equal(model_describe(m), models[i].description);
        assert_int_equal(model_component(m, MODEL_DIT)->n, models[i].tensors);
        assert_true(component_parameters(model_component(m, MODEL_DIT)) ==
                    models[i].parameters);
        assert_true(models[i].shape.image == (model_unbuilt(m) != NULL));
        if (!models[i].shape.image)
            assert_int_equal(model_dit(m)->heads, models[i].shape.d / 128);
        model_close(m);
        unlink(scratch_path(&s, rel));
    }
    scratch_remove(&s);
}

static void text_encoder(struct header *h)
{
    const int64_t d = 4096;

    tensor(h, 2, (int64_t[]){256384, d}, "shared.weight");
    vector(h, d, "encoder.final_layer_norm.weight");
    for (int i = 0; i < 24; i++) {
        static const struct {
            const char *rest;
            int64_t rows, cols; /* cols 0: a vector */
        } parts[] = {
            {"0.layer_norm.weight", 4096, 0},
            {"0.SelfAttention.q.weight", 4096, 4096},
            {"0.SelfAttention.k.weight", 4096, 4096},
            {"0.SelfAttention.v.weight", 4096, 4096},
            {"0.SelfAttention.o.weight", 4096, 4096},
            {"0.SelfAttention.relative_attention_bias.weight", 32, 64},
            {"1.layer_norm.weight", 4096, 0},
            {"1.DenseReluDense.wi_0.weight", 10240, 4096},
            {"1.DenseReluDense.wi_1.weight", 10240, 4096},
            {"1.DenseReluDense.wo.weight", 4096, 10240},
        };

        for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
            char name[128];

            snprintf(name, sizeof(name), "encoder.block.%d.layer.%s", i, parts[k].rest);
            tensor(h, parts[k].cols ? 2 : 1, (int64_t[]){parts[k].rows, parts[k].cols},
                   name);
        }
    }
}

/* Both embedding names, as some exports have them: the spare one is skipped. */
static void the_published_text_encoder_is_recognised(void **state)
{
    struct model_options look = {.look = true};
    struct err e = ERR_INIT;
    struct model *m = NULL;
    struct scratch s;
    struct header h;

    (void)state;
    scratch_create(&s);
    begin(&h, "BF16", 2);
    text_encoder(&h);
    tensor(&h, 2, (int64_t[]){256384, 4096}, "encoder.embed_tokens.weight");
    finish(&h, &s, "m/text_encoder/model.safetensors");
    if (model_open(scratch_path(&s, "m"), &look, &m, &e) != ST_OK)
        fail_msg("%s", e.text);
    assert_int_equal(model_component(m, MODEL_TEXT)->n, 242);
    assert_true(component_parameters(model_component(m, MODEL_TEXT)) == 5680910336);
    assert_int_equal(model_text(m)->heads, 64);
    assert_int_equal(model_text(m)->head_dim, 64);
    assert_int_equal(model_text(m)->layers, 24);
    model_close(m);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_transformers_are_recognised),
        cmocka_unit_test(the_published_text_encoder_is_recognised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
