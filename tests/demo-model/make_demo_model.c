/* make_demo_model.c - writes the demonstration model: small, random, whole
 *
 * usage: make_demo_model FOLDER
 *
 * The folder is laid out as the published Wan2.1 text-to-video models are:
 *
 *     config.json
 *     diffusion_pytorch_model.safetensors
 *     models_t5_umt5-xxl-enc-bf16.pth
 *     Wan2.1_VAE.pth
 *     google/umt5-xxl/spiece.model
 *
 * Every stage of a real model is there and takes its real path through the program;
 * only nothing has been learnt, so the videos show colours in motion. The same program
 * makes the same bytes every time.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/demo-model/parts.h"

enum { SEED = 2026, PATH_BYTES = 4096, TENSORS_PER_PART = 10000 };

struct part {
    const char *file;
    enum dtype dtype;
    void (*make)(struct made *m);
    enum status (*write)(const struct made *m, const char *path, struct err *e);
};

static const struct part parts[] = {
    {"diffusion_pytorch_model.safetensors", DT_BF16, made_dit, made_safetensors},
    {"models_t5_umt5-xxl-enc-bf16.pth", DT_BF16, made_text, made_pth},
    {"Wan2.1_VAE.pth", DT_F32, made_vae, made_pth},
};

static enum status path_in(const char *folder, const char *name, char *out,
                           struct err *e)
{
    if (snprintf(out, PATH_BYTES, "%s/%s", folder, name) >= PATH_BYTES)
        return err_set(e, ST_USAGE, "the name of folder '%s' is too long", folder);
    return ST_OK;
}

static enum status folders_make(const char *folder, struct err *e)
{
    static const char *const names[] = {".", "google", "google/umt5-xxl"};
    char path[PATH_BYTES];

    for (int i = 0; i < 3; i++) {
        TRY(path_in(folder, names[i], path, e));
        if (mkdir(i ? path : folder, 0777) < 0 && errno != EEXIST)
            return err_set(e, ST_USAGE, "cannot make folder '%s': %s", path,
                           strerror(errno));
    }
    return ST_OK;
}

static enum status file_write(const char *path, const void *data, size_t n,
                              struct err *e)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(data, 1, n, f) == n;

    if (f)
        ok = fclose(f) == 0 && ok;
    return ok ? ST_OK : err_set(e, ST_RESOURCE, "cannot write '%s'", path);
}

static enum status config_write(const char *folder, struct err *e)
{
    char path[PATH_BYTES];
    char text[1024];
    int n;

    TRY(path_in(folder, "config.json", path, e));
    n = snprintf(text, sizeof(text),
                 "{\n  \"_class_name\": \"WanModel\",\n"
                 "  \"_diffusers_version\": \"0.30.0\",\n  \"dim\": %d,\n"
                 "  \"eps\": 1e-06,\n  \"ffn_dim\": %d,\n  \"freq_dim\": %d,\n"
                 "  \"in_dim\": %d,\n  \"model_type\": \"t2v\",\n"
                 "  \"num_heads\": %d,\n  \"num_layers\": %d,\n  \"out_dim\": %d,\n"
                 "  \"text_len\": %d\n}\n",
                 DIT_DIM, DIT_FFN, DIT_FREQ, VAE_Z, DIT_HEADS, DIT_LAYERS, VAE_Z,
                 TEXT_LEN);
    return file_write(path, text, (size_t)n, e);
}

static enum status part_write(const char *folder, int i, struct err *e)
{
    struct made m = {.seed = SEED,
                     .stream = (uint64_t)i * TENSORS_PER_PART,
                     .dtype = parts[i].dtype};
    char path[PATH_BYTES];
    enum status st;

    TRY(path_in(folder, parts[i].file, path, e));
    parts[i].make(&m);
    st = parts[i].write(&m, path, e);
    if (st == ST_OK)
        printf("%s: %d tensors\n", path, m.n);
    made_release(&m);
    return st;
}

static enum status tokenizer_copy(const char *folder, struct err *e)
{
    static const char from[] = FF_SOURCE_DIR "/tests/demo-model/spiece.model";
    static char data[4 << 20];
    char path[PATH_BYTES];
    FILE *f = fopen(from, "rb");
    size_t n = f ? fread(data, 1, sizeof(data), f) : 0;

    if (f)
        fclose(f);
    if (n == 0 || n == sizeof(data))
        return err_set(e, ST_INPUT, "cannot read '%s'", from);
    TRY(path_in(folder, "google/umt5-xxl/spiece.model", path, e));
    return file_write(path, data, n, e);
}

static enum status model_make(const char *folder, struct err *e)
{
    TRY(folders_make(folder, e));
    for (int i = 0; i < 3; i++)
        TRY(part_write(folder, i, e));
    TRY(tokenizer_copy(folder, e));
    return config_write(folder, e);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;

    if (argc != 2) {
        fprintf(stderr, "usage: make_demo_model FOLDER\n");
        return 2;
    }
    if (model_make(argv[1], &e) != ST_OK)
        fprintf(stderr, "make_demo_model: %s\n", e.text);
    return status_exit_code(e.status);
}
