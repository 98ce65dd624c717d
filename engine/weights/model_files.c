/* model_files.c - tables of file names, and looking for them */
#include "engine/weights/model_files.h"

#include <stdlib.h>
#include <string.h>

static const struct place transformer_places[] = {
    {"transformer", "diffusion_pytorch_model.safetensors.index.json", 0},
    {"transformer", "diffusion_pytorch_model.safetensors", 0},
    {"", "diffusion_pytorch_model.safetensors.index.json", 1},
    {"", "diffusion_pytorch_model.safetensors", 1},
    {"", "model.safetensors.index.json", 2},
    {"", "model.safetensors", 2},
    {NULL, NULL, 0},
};

static const struct place text_places[] = {
    {"text_encoder", "model.safetensors.index.json", 0},
    {"text_encoder", "model.safetensors", 0},
    {"", "models_t5_umt5-xxl-enc-bf16.pth", 1},
    {"", "models_t5_umt5-xxl-enc-bf16.safetensors", 2},
    {NULL, NULL, 0},
};

static const struct place vae_places[] = {
    {"vae", "diffusion_pytorch_model.safetensors.index.json", 0},
    {"vae", "diffusion_pytorch_model.safetensors", 0},
    {"", "Wan2.1_VAE.pth", 1},
    {"", "Wan2.1_VAE.safetensors.index.json", 2},
    {"", "Wan2.1_VAE.safetensors", 2},
    {NULL, NULL, 0},
};

static const struct place tokenizer_places[] = {
    {"tokenizer", "spiece.model", 0},
    {"google/umt5-xxl", "spiece.model", 1},
    {NULL, NULL, 0},
};

static const struct {
    const char *what;
    const struct place *places;
} parts[] = {
    [MODEL_DIT] = {"transformer", transformer_places},
    [MODEL_TEXT] = {"text encoder", text_places},
    [MODEL_VAE] = {"VAE", vae_places},
    [MODEL_TOKENIZER] = {"tokenizer", tokenizer_places},
};

enum status place_open(const struct folder *root, const char *sub, struct folder *out,
                       struct err *e)
{
    struct folder at = {-1, NULL}, next;
    char name[64];
    const char *from = sub;
    enum status st = ST_OK;

    if (!*sub)
        return folder_open_at(root, ".", out, e);
    while (st == ST_OK && *from) {
        size_t n = strcspn(from, "/");

        memcpy(name, from, n);
        name[n] = '\0';
        from += n + (from[n] == '/');
        st = folder_open_at(at.path ? &at : root, name, &next, e);
        folder_close(&at);
        if (st == ST_OK)
            at = next;
    }
    if (st == ST_OK)
        *out = at;
    return st;
}

static bool place_exists(const struct folder *root, const struct place *p)
{
    struct folder dir;
    bool there;

    if (place_open(root, p->sub, &dir, NULL) != ST_OK)
        return false;
    there = file_exists_at(&dir, p->file);
    folder_close(&dir);
    return there;
}

enum status part_find(const struct folder *root, enum model_part part,
                      const struct place **out, struct err *e)
{
    const struct place *found = NULL;

    for (const struct place *p = parts[part].places; p->file; p++) {
        if ((found && found->stem == p->stem) || !place_exists(root, p))
            continue;
        if (found)
            return err_set(
                e, ST_INPUT, "two %ss in '%s': '%s%s%s' and '%s%s%s'; leave one there",
                parts[part].what, root->path, found->sub, *found->sub ? "/" : "",
                found->file, p->sub, *p->sub ? "/" : "", p->file);
        found = p;
    }
    *out = found;
    return ST_OK;
}

enum status part_missing(const struct folder *root, enum model_part part, struct err *e)
{
    struct buf tried = BUF_INIT;
    enum status st;

    for (const struct place *p = parts[part].places; p->file; p++)
        buf_addf(&tried, "%s%s%s%s", tried.len ? ", " : "", p->sub, *p->sub ? "/" : "",
                 p->file);
    st = err_set(e, ST_INPUT, "no %s in '%s': tried %s", parts[part].what, root->path,
                 buf_text(&tried));
    buf_release(&tried);
    return st;
}
