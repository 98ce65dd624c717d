/* test_model.c - model folders of both layouts: recognised, checked, described */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/weights/model.h"
#include "engine/weights/safetensors.h"
#include "kernels/base/buf.h"
#include "tests/scratch.h"

#define DATA FF_GOLDEN_DIR

static void original_folder(struct scratch *s, const char *dit)
{
    char from[512];

    scratch_create(s);
    snprintf(from, sizeof(from), DATA "/dit/%s/original", dit);
    scratch_copy_all(s, "m", from);
    scratch_copy(s, "m/Wan2.1_VAE.pth", DATA "/vae/Wan2.1_VAE.pth");
    scratch_copy(s, "m/models_t5_umt5-xxl-enc-bf16.pth",
                 DATA "/umt5/models_t5_umt5-xxl-enc-bf16.pth");
    scratch_copy(s, "m/google/umt5-xxl/spiece.model", DATA "/tokenizer/spiece.model");
}

static void diffusers_folder(struct scratch *s, const char *dit)
{
    char from[512];

    scratch_create(s);
    snprintf(from, sizeof(from), DATA "/dit/%s/transformer", dit);
    scratch_copy_all(s, "m/transformer", from);
    scratch_copy_all(s, "m/vae", DATA "/vae/vae");
    scratch_copy_all(s, "m/text_encoder", DATA "/umt5/text_encoder");
    scratch_copy(s, "m/tokenizer/spiece.model", DATA "/tokenizer/spiece.model");
    scratch_copy(s, "m/model_index.json", DATA "/model/model_index.json");
    scratch_copy_all(s, "m/scheduler", DATA "/model/scheduler");
}

static struct model *opened(const char *path, enum model_kind kind)
{
    struct model_options opt = {.kind = kind};
    struct err e = ERR_INIT;
    struct model *m = NULL;

    if (model_open(path, &opt, &m, &e) != ST_OK)
        fail_msg("%s", e.text);
    return m;
}

static void assert_refused(const char *path, enum status wanted, const char *reason)
{
    struct model_options opt = {.kind = MODEL_KIND_AUTO};
    struct err e = ERR_INIT;
    struct model *m = NULL;
    enum status st = model_open(path, &opt, &m, &e);

    assert_null(m);
    if (st != wanted || !strstr(e.text, reason))
        fail_msg("status %d, '%s' lacks '%s'", st, e.text, reason);
}

static void original_layout_opens(void **state)
{
    struct scratch s;
    struct model *m;

    (void)state;
    original_folder(&s, "wan_a");
    m = opened(scratch_path(&s, "m"), MODEL_KIND_AUTO);
    assert_int_equal(model_layout(m), MODEL_ORIGINAL);
    assert_int_equal(model_dit(m)->family, FAMILY_WAN);
    assert_false(model_dit(m)->diffusion_forcing);
    assert_int_equal(model_dit(m)->dim, 80);
    assert_int_equal(model_dit(m)->heads, 4);
    assert_int_equal(model_dit(m)->layers, 2);
    assert_int_equal(model_dit(m)->ffn_dim, 150);
    assert_int_equal(model_dit(m)->text_dim, 48);
    assert_int_equal(model_dit(m)->text_len, 512);
    assert_int_equal(model_dit(m)->freq_dim, 256);
    assert_int_equal(model_text(m)->dim, 48);
    assert_int_equal(model_text(m)->vocab, 2304);
    assert_int_equal(model_text(m)->max_distance, 128);
    assert_int_equal(model_vae(m)->base_dim, 3);
    assert_int_equal(model_vae(m)->dim_mult[2], 4);
    assert_false(model_vae(m)->temporal_down[0]);
    assert_true(model_vae(m)->temporal_down[2]);
    assert_true(fabsf(model_vae(m)->std[15] - 1.9160f) < 1e-6f);
    assert_int_equal(model_component(m, MODEL_VAE)->n, 194);
    assert_non_null(strstr(model_tokenizer(m), "google/umt5-xxl/spiece.model"));
    assert_string_equal(model_describe(m),
                        "Wan2.1 T2V of custom size (240924 parameters) "
                        "(original layout, bf16+fp32)");
    model_close(m);
    scratch_remove(&s);
}

static void assert_same_component(const struct component *a, const struct component *b)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        assert_string_equal(a->list[i].name, b->list[i].name);
        assert_int_equal(stored_elements(a->list[i].stored),
                         stored_elements(b->list[i].stored));
    }
}

static void both_layouts_give_the_same_names(void **state)
{
    struct scratch a, b;
    struct model *x, *y;

    (void)state;
    original_folder(&a, "sky_fps");
    diffusers_folder(&b, "sky_fps");
    x = opened(scratch_path(&a, "m"), MODEL_KIND_AUTO);
    y = opened(scratch_path(&b, "m"), MODEL_KIND_AUTO);
    assert_int_equal(model_layout(y), MODEL_DIFFUSERS);
    assert_true(model_component(y, MODEL_DIT)->renamed);
    assert_same_component(model_component(x, MODEL_DIT), model_component(y, MODEL_DIT));
    assert_same_component(model_component(x, MODEL_TEXT),
                          model_component(y, MODEL_TEXT));
    assert_same_component(model_component(x, MODEL_VAE), model_component(y, MODEL_VAE));
    assert_memory_equal(model_dit(x), model_dit(y), sizeof(struct dit_config));
    assert_memory_equal(model_vae(x), model_vae(y), sizeof(struct vae_config));
    assert_true(model_dit(x)->has_fps && model_dit(x)->diffusion_forcing);
    assert_int_equal(model_dit(x)->family, FAMILY_SKYREELS);
    assert_true(model_scheduler(y)->there);
    assert_true(model_scheduler(y)->flow_shift == 3.0);
    assert_string_equal(model_scheduler(y)->class_name, "UniPCMultistepScheduler");
    model_close(x);
    model_close(y);
    scratch_remove(&a);
    scratch_remove(&b);
}

static void forcing_comes_from_names_or_the_override(void **state)
{
    struct scratch s;
    struct model *m;

    (void)state;
    original_folder(&s, "wan_a");
    assert_int_equal(
        rename(scratch_path(&s, "m"), scratch_path(&s, "SkyReels-V2-DF-tiny")), 0);
    m = opened(scratch_path(&s, "SkyReels-V2-DF-tiny"), MODEL_KIND_AUTO);
    assert_true(model_dit(m)->diffusion_forcing);
    assert_int_equal(model_dit(m)->family, FAMILY_SKYREELS);
    assert_non_null(strstr(model_describe(m), "SkyReels-V2 DF"));
    model_close(m);
    m = opened(scratch_path(&s, "SkyReels-V2-DF-tiny/"), MODEL_KIND_PLAIN);
    assert_false(model_dit(m)->diffusion_forcing);
    model_close(m);
    scratch_remove(&s);
}

/* A hub cache calls the folder by a hash; the repository's name stands above it. */
static void snapshots_are_named_by_their_repository(void **state)
{
    static const char parent[] = "models--Skywork--SkyReels-V2-DF-14B-540P/snapshots";
    struct scratch s;
    struct model *m;
    char to[256];

    (void)state;
    original_folder(&s, "wan_a");
    scratch_text(&s, "models--Skywork--SkyReels-V2-DF-14B-540P/snapshots/seen", "");
    snprintf(to, sizeof(to), "%s/0123abcd", scratch_path(&s, parent));
    assert_int_equal(rename(scratch_path(&s, "m"), to), 0);
    m = opened(to, MODEL_KIND_AUTO);
    assert_true(model_dit(m)->diffusion_forcing);
    assert_string_equal(model_path(m), to);
    model_close(m);
    scratch_remove(&s);
}

static void missing_parts_say_what_was_tried(void **state)
{
    struct model_options opt = {.without = 1u << MODEL_VAE | 1u << MODEL_TOKENIZER};
    struct err e = ERR_INIT;
    struct model *m = NULL;
    struct scratch s;

    (void)state;
    original_folder(&s, "wan_a");
    unlink(scratch_path(&s, "m/Wan2.1_VAE.pth"));
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "no VAE in '");
    assert_refused(scratch_path(&s, "m"), ST_INPUT,
                   "Wan2.1_VAE.pth, Wan2.1_VAE.safetensors");
    assert_int_equal(model_open(scratch_path(&s, "m"), &opt, &m, &e), ST_OK);
    assert_null(model_vae(m));
    assert_non_null(model_text(m));
    assert_null(model_tokenizer(m));
    model_close(m);
    assert_refused(scratch_path(&s, "none"), ST_INPUT, "No such file");
    assert_refused(scratch_path(&s, "m/config.json"), ST_INPUT, "not a folder");
    scratch_remove(&s);
}

static void contradictions_are_refused(void **state)
{
    static const struct {
        const char *config, *reason;
    } cases[] = {
        {"{\"num_heads\": 4, \"dim\": 1536}", "'dim' is 1536, the tensors say 80"},
        {"{\"num_heads\": 3}", "3 heads do not divide width 80"},
        {"{}", "must say num_heads"},
        {"[]", "not an object"},
        {"{\"num_heads\": 4, \"patch_size\": [1,4,4]}", "'patch_size' is not the one"},
        {"{\"num_heads\": 4, \"qk_norm\": \"layer\"}", "'qk_norm' is 'layer'"},
        {"{\"num_heads\": 4, \"qk_norm\": false}", "'qk_norm' is false"},
        {"{\"num_heads\": 4, \"cross_attn_norm\": false}",
         "'cross_attn_norm' is false"},
        {"{\"num_heads\": 4, \"window_size\": [4, 4]}", "'window_size' is not the one"},
        {"{\"num_heads\": 4, \"eps\": -1}", "'eps' is -1"},
        {"{\"num_heads\": 4, \"text_len\": 0}", "'text_len' is 0"},
        {"{\"num_heads\": 4, \"model_type\": \"x2v\"}", "'model_type' is 'x2v'"},
        {"{\"num_heads\": 4, \"num_layers\": 3}",
         "'num_layers' is 3, the tensors say 2"},
    };
    struct scratch s;

    (void)state;
    original_folder(&s, "wan_a");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        scratch_text(&s, "m/config.json", cases[i].config);
        assert_refused(scratch_path(&s, "m"), ST_INPUT, cases[i].reason);
    }
    scratch_remove(&s);
}

static void other_models_are_recognised(void **state)
{
    struct model_options look = {.look = true};
    struct err e = ERR_INIT;
    struct model *m = NULL;
    struct scratch s;

    (void)state;
    original_folder(&s, "wan_a");
    scratch_text(&s, "m/config.json", "{\"num_heads\": 4, \"model_type\": \"i2v\"}");
    assert_refused(scratch_path(&s, "m"), ST_UNBUILT,
                   "an image-to-video model, which is not built yet");
    assert_int_equal(model_open(scratch_path(&s, "m"), &look, &m, &e), ST_OK);
    assert_string_equal(model_unbuilt(m), "an image-to-video model");
    assert_non_null(strstr(model_describe(m), "an image-to-video model"));
    model_close(m);
    scratch_text(&s, "m/config.json", "{\"num_heads\": 4, \"model_type\": \"flf2v\"}");
    assert_refused(scratch_path(&s, "m"), ST_UNBUILT, "first-and-last-frame");
    scratch_text(&s, "m/Wan2.2_VAE.pth", "");
    assert_refused(scratch_path(&s, "m"), ST_UNBUILT, "Wan2.2 TI2V");
    scratch_text(&s, "m/high_noise_model/config.json", "{}");
    assert_refused(scratch_path(&s, "m"), ST_UNBUILT, "Wan2.2 model of two experts");
    scratch_remove(&s);
    diffusers_folder(&s, "wan_a");
    scratch_text(&s, "m/model_index.json", "{\"boundary_ratio\": 0.875}");
    assert_refused(scratch_path(&s, "m"), ST_UNBUILT, "Wan2.2 model of two experts");
    scratch_text(&s, "m/model_index.json", "{\"boundary_ratio\": \"x\"}");
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "'boundary_ratio' is \"x\"");
    scratch_text(&s, "m/model_index.json",
                 "{\"_class_name\": \"SkyReelsV2DiffusionForcingPipeline\"}");
    m = opened(scratch_path(&s, "m"), MODEL_KIND_AUTO);
    assert_true(model_dit(m)->diffusion_forcing);
    assert_int_equal(model_dit(m)->family, FAMILY_SKYREELS);
    model_close(m);
    scratch_remove(&s);
}

/* Write the transformer again with one tensor more, fewer, renamed or reshaped. */
static void rewrite(const struct scratch *s, const char *drop, const char *add,
                    const char *prefix)
{
    struct err e = ERR_INIT;
    struct source *src = NULL;
    static const int64_t none[] = {0};
    struct safetensors_item items[256];
    char names[256][160];
    int n = 0;

    assert_int_equal(safetensors_open(DATA "/dit/wan_a/original/"
                                           "diffusion_pytorch_model.safetensors",
                                      &src, &e),
                     ST_OK);
    for (int i = 0; i < source_count(src); i++) {
        const struct stored *t = source_at(src, i);
        void *data;

        if (drop && strcmp(t->name, drop) == 0)
            continue;
        data = malloc((size_t)t->bytes);
        assert_int_equal(source_read(src, t, 0, data, (size_t)t->bytes, &e), ST_OK);
        snprintf(names[n], sizeof(names[n]), "%s%s", prefix, t->name);
        items[n] = (struct safetensors_item){names[n], t->dtype, t->rank, t->dims,
                                             data};
        n++;
    }
    if (add)
        items[n++] = (struct safetensors_item){add, DT_F32, 1, none, NULL};
    assert_int_equal(
        safetensors_write(scratch_path(s, "m/diffusion_pytorch_model.safetensors"),
                          items, n, NULL, &e),
        ST_OK);
    for (int i = 0; i < n; i++)
        free((void *)(uintptr_t)items[i].data);
    source_close(src);
}

static void tensors_are_compared_both_ways(void **state)
{
    struct scratch s;
    struct model *m;

    (void)state;
    original_folder(&s, "wan_a");
    rewrite(&s, "blocks.1.norm3.bias", NULL, "");
    assert_refused(scratch_path(&s, "m"), ST_INPUT,
                   "tensor 'blocks.1.norm3.bias' of the transformer is missing");
    rewrite(&s, NULL, "blocks.1.norm4.bias", "");
    assert_refused(scratch_path(&s, "m"), ST_INPUT,
                   "tensor 'blocks.1.norm4.bias' does not belong to a transformer");
    rewrite(&s, "blocks.1.norm3.bias", "blocks.1.norm3.bias", "");
    assert_refused(scratch_path(&s, "m"), ST_INPUT,
                   "'blocks.1.norm3.bias' is [0], must be [80]");
    rewrite(&s, NULL, "blocks.1.ffn.0.weight_scale", "");
    assert_refused(scratch_path(&s, "m"), ST_UNBUILT, "quantised already");
    rewrite(&s, NULL, "model_type.t2v", "model.diffusion_model.");
    m = opened(scratch_path(&s, "m"), MODEL_KIND_AUTO);
    assert_non_null(
        component_find(model_component(m, MODEL_DIT), "blocks.1.norm3.bias"));
    model_close(m);
    scratch_copy(&s, "m/model.safetensors",
                 DATA "/dit/wan_a/original/"
                      "diffusion_pytorch_model.safetensors");
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "two transformers in '");
    scratch_remove(&s);
}

/* A whole encoder of width 4: one block, two heads of two. */
static void text_encoder_of_another_width(const struct scratch *s)
{
    static const float zeros[64];
    static const int64_t d4[] = {4}, d44[] = {4, 4}, d42[] = {4, 2}, d94[] = {9, 4},
                         d64[] = {6, 4}, d46[] = {4, 6};
    const struct safetensors_item items[] = {
        {"token_embedding.weight", DT_F32, 2, d94, zeros},
        {"norm.weight", DT_F32, 1, d4, zeros},
        {"blocks.0.norm1.weight", DT_F32, 1, d4, zeros},
        {"blocks.0.norm2.weight", DT_F32, 1, d4, zeros},
        {"blocks.0.attn.q.weight", DT_F32, 2, d44, zeros},
        {"blocks.0.attn.k.weight", DT_F32, 2, d44, zeros},
        {"blocks.0.attn.v.weight", DT_F32, 2, d44, zeros},
        {"blocks.0.attn.o.weight", DT_F32, 2, d44, zeros},
        {"blocks.0.pos_embedding.embedding.weight", DT_F32, 2, d42, zeros},
        {"blocks.0.ffn.gate.0.weight", DT_F32, 2, d64, zeros},
        {"blocks.0.ffn.fc1.weight", DT_F32, 2, d64, zeros},
        {"blocks.0.ffn.fc2.weight", DT_F32, 2, d46, zeros},
    };
    struct err e = ERR_INIT;

    unlink(scratch_path(s, "m/text_encoder/model.safetensors.index.json"));
    unlink(scratch_path(s, "m/text_encoder/config.json"));
    assert_int_equal(
        safetensors_write(scratch_path(s, "m/text_encoder/model.safetensors"), items,
                          12, NULL, &e),
        ST_OK);
}

static void parts_must_fit(void **state)
{
    struct scratch s;

    (void)state;
    diffusers_folder(&s, "wan_a");
    scratch_text(&s, "m/vae/config.json", "{\"z_dim\": 12}");
    assert_refused(scratch_path(&s, "m"), ST_INPUT,
                   "'z_dim' is 12, the tensors say 16");
    scratch_text(&s, "m/vae/config.json",
                 "{\"temperal_downsample\": [true,true,true]}");
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "'temperal_downsample' does not");
    scratch_text(&s, "m/vae/config.json", "{\"latents_mean\": [1]}");
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "'latents_std' is missing");
    scratch_copy(&s, "m/vae/config.json", DATA "/vae/vae/config.json");
    scratch_text(&s, "m/scheduler/scheduler_config.json", "{\"flow_shift\": -1}");
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "'flow_shift' is -1");
    unlink(scratch_path(&s, "m/scheduler/scheduler_config.json"));
    text_encoder_of_another_width(&s);
    assert_refused(scratch_path(&s, "m"), ST_INPUT,
                   "takes text of width 48, the text encoder gives 4");
    scratch_text(&s, "m/text_encoder/config.json", "{\"model_type\": \"t5\"}");
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "'model_type' is 't5', must be");
    scratch_remove(&s);
}

/* ---- a VAE in shards ------------------------------------------------------------- */

/* A component's tensors `begin` to `end` as one file of the model folder. */
static void shard_write(const struct scratch *s, const struct component *c, int begin,
                        int end, const char *rel)
{
    struct safetensors_item items[256] = {{0}};
    struct err e = ERR_INIT;

    assert_true(end - begin <= 256);
    for (int i = begin; i < end; i++) {
        const struct stored *t = c->list[i].stored;
        void *data = malloc(t->bytes);

        assert_non_null(data);
        assert_int_equal(source_read(c->source, t, 0, data, t->bytes, &e), ST_OK);
        items[i - begin] = (struct safetensors_item){t->name, t->dtype, t->rank,
                                                     t->dims, data};
    }
    assert_int_equal(
        safetensors_write(scratch_path(s, rel), items, end - begin, NULL, &e), ST_OK);
    for (int i = begin; i < end; i++)
        free((void *)items[i - begin].data);
}

/* The index names the file of every tensor: the first `cut` are in shard 1. */
static void index_write(const struct scratch *s, const struct component *c, int cut)
{
    struct buf text = BUF_INIT;

    buf_addf(&text, "{\"metadata\": {\"total_size\": %lld}, \"weight_map\": {",
             (long long)component_bytes(c));
    for (int i = 0; i < c->n; i++)
        buf_addf(&text, "%s\"%s\": \"Wan2.1_VAE-0000%d-of-00002.safetensors\"",
                 i ? ", " : "", c->list[i].stored->name, i < cut ? 1 : 2);
    buf_addf(&text, "}}");
    scratch_text(s, "m/Wan2.1_VAE.safetensors.index.json", buf_text(&text));
    buf_release(&text);
}

static void assert_same_bytes(const struct component *a, const struct component *b)
{
    struct err e = ERR_INIT;

    assert_same_component(a, b);
    for (int i = 0; i < a->n; i++) {
        size_t n = a->list[i].stored->bytes;
        char *x = malloc(2 * n + 1);

        assert_non_null(x);
        assert_int_equal(n, b->list[i].stored->bytes);
        assert_int_equal(source_read(a->source, a->list[i].stored, 0, x, n, &e), ST_OK);
        assert_int_equal(source_read(b->source, b->list[i].stored, 0, x + n, n, &e),
                         ST_OK);
        assert_memory_equal(x, x + n, n);
        free(x);
    }
}

/* The original layout with its VAE in two shards, as small models are shipped. */
static void vae_comes_in_shards(void **state)
{
    struct model *whole, *cut;
    const struct component *c;
    struct scratch a, b;

    (void)state;
    original_folder(&a, "wan_a");
    original_folder(&b, "wan_a");
    whole = opened(scratch_path(&a, "m"), MODEL_KIND_AUTO);
    c = model_component(whole, MODEL_VAE);
    shard_write(&b, c, 0, 100, "m/Wan2.1_VAE-00001-of-00002.safetensors");
    shard_write(&b, c, 100, c->n, "m/Wan2.1_VAE-00002-of-00002.safetensors");
    index_write(&b, c, 100);
    assert_refused(scratch_path(&b, "m"), ST_INPUT, "two VAEs in '");
    unlink(scratch_path(&b, "m/Wan2.1_VAE.pth"));
    cut = opened(scratch_path(&b, "m"), MODEL_KIND_AUTO);
    assert_int_equal(model_layout(cut), MODEL_ORIGINAL);
    assert_int_equal(source_files(model_component(cut, MODEL_VAE)->source), 2);
    assert_same_bytes(c, model_component(cut, MODEL_VAE));
    assert_memory_equal(model_vae(whole), model_vae(cut), sizeof(struct vae_config));
    model_close(cut);
    unlink(scratch_path(&b, "m/Wan2.1_VAE-00002-of-00002.safetensors"));
    assert_refused(scratch_path(&b, "m"), ST_INPUT, "Wan2.1_VAE-00002-of-00002");
    model_close(whole);
    scratch_remove(&a);
    scratch_remove(&b);
}

/* Promise 29: links and paths inside a model folder lead nowhere else. */
static void links_are_not_followed(void **state)
{
    struct scratch s;

    (void)state;
    original_folder(&s, "wan_a");
    assert_int_equal(
        rename(scratch_path(&s, "m/Wan2.1_VAE.pth"), scratch_path(&s, "vae.pth")), 0);
    assert_int_equal(symlink("../vae.pth", scratch_path(&s, "m/Wan2.1_VAE.pth")), 0);
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "symbolic link");
    unlink(scratch_path(&s, "m/Wan2.1_VAE.pth"));
    assert_int_equal(mkdir(scratch_path(&s, "m/Wan2.1_VAE.pth"), 0777), 0);
    assert_refused(scratch_path(&s, "m"), ST_INPUT, "not a regular file");
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(original_layout_opens),
        cmocka_unit_test(both_layouts_give_the_same_names),
        cmocka_unit_test(forcing_comes_from_names_or_the_override),
        cmocka_unit_test(snapshots_are_named_by_their_repository),
        cmocka_unit_test(missing_parts_say_what_was_tried),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(other_models_are_recognised),
        cmocka_unit_test(tensors_are_compared_both_ways),
        cmocka_unit_test(parts_must_fit),
        cmocka_unit_test(vae_comes_in_shards),
        cmocka_unit_test(links_are_not_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
