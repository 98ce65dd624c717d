/* fuzz_config.c - config.json of the three parts, beside tensors that are fixed */
#include <stdlib.h>
#include <string.h>

#include "engine/weights/read_config.h"
#include "tests/fuzz/fuzz.h"

static struct component parts[3];

static struct component part_open(const char *path, const struct name_map *map)
{
    struct component c;
    struct source *s;

    if (source_open(path, &s, NULL) || component_open(s, "part", map, &c, NULL))
        abort();
    return c;
}

static void cleanup(void)
{
    for (int i = 0; i < 3; i++)
        component_close(&parts[i]);
}

static void prepare(void)
{
    parts[0] = part_open(FF_GOLDEN_DIR
                         "/dit/wan_b/original/diffusion_pytorch_model.safetensors",
                         &names_dit);
    parts[1] = part_open(FF_GOLDEN_DIR "/umt5/models_t5_umt5-xxl-enc-bf16.pth",
                         &names_text);
    parts[2] = part_open(FF_GOLDEN_DIR "/vae/Wan2.1_VAE.pth", &names_vae);
    atexit(cleanup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct err e = ERR_INIT;
    struct dit_config dit = {0};
    struct text_config text;
    struct vae_config vae;
    struct dit_kind kind;
    struct json *d;
    enum status st;

    if (!parts[0].source)
        prepare();
    st = json_parse("config.json", (const char *)data, bytes, &JSON_LIMITS_CONFIG, &d,
                    &e);
    fuzz_check(st, &e);
    if (st != ST_OK)
        return 0;
    fuzz_check(read_dit_kind(&parts[0], json_root(d), &kind, &e), &e);
    st = read_dit(&parts[0], json_root(d), &dit, &e);
    fuzz_check(st, &e);
    if (st == ST_OK && (dit.heads < 1 || dit.dim % dit.heads || dit.text_len < 1))
        abort();
    fuzz_check(read_text(&parts[1], json_root(d), &text, &e), &e);
    fuzz_check(read_vae(&parts[2], json_root(d), &vae, &e), &e);
    json_close(d);
    return 0;
}
