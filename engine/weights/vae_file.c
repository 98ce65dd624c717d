/* vae_file.c - finds the file, and the configuration beside it */
#include "engine/weights/vae_file.h"

#include <string.h>
#include <sys/stat.h>

#include "engine/weights/model_files.h"
#include "engine/weights/read_config.h"

/* Take over `source`; `doc` (may be NULL) is its configuration. */
static enum status source_take(struct source *source, const struct json *doc,
                               struct component *out, struct vae_config *config,
                               struct err *e)
{
    struct json_value root = doc ? json_root(doc) : (struct json_value){NULL, NULL};
    struct component c;
    enum status st;

    TRY(component_open(source, "vae", &names_vae, &c, e));
    st = read_vae(&c, root, config, e);
    if (st != ST_OK) {
        component_close(&c);
        return st;
    }
    *out = c;
    return ST_OK;
}

/* `file` in `dir`; a config.json beside it belongs to it when `owns` is set. */
static enum status place_take(const struct folder *dir, const char *file, bool owns,
                              struct component *out, struct vae_config *config,
                              struct err *e)
{
    struct json *doc = NULL;
    struct source *source;
    enum status st = ST_OK;

    if (owns && file_exists_at(dir, "config.json"))
        st = file_json_at(dir, "config.json", &JSON_LIMITS_CONFIG, &doc, e);
    if (st == ST_OK && doc && json_kind(json_root(doc)) != JSON_OBJECT)
        st = err_set(e, ST_INPUT, "'%s': not an object", json_name(doc));
    if (st == ST_OK)
        st = source_open_at(dir, file, &source, e);
    if (st == ST_OK)
        st = source_take(source, doc, out, config, e);
    json_close(doc);
    return st;
}

/* Diffusers' folder of the part alone: its class says so. */
static bool is_part(const struct folder *dir)
{
    const char *name = "";
    struct json *doc;
    bool part;

    if (!file_exists_at(dir, "config.json") ||
        file_json_at(dir, "config.json", &JSON_LIMITS_CONFIG, &doc, NULL) != ST_OK)
        return false;
    part = json_opt_string(json_root(doc), "_class_name", &name, NULL) == ST_OK &&
           strncmp(name, "Autoencoder", strlen("Autoencoder")) == 0;
    json_close(doc);
    return part;
}

static enum status folder_take(const struct folder *root, struct component *out,
                               struct vae_config *config, struct err *e)
{
    const struct place *place;
    struct folder dir;
    enum status st;

    if (is_part(root))
        return place_take(root, "diffusion_pytorch_model.safetensors", true, out,
                          config, e);
    TRY(part_find(root, MODEL_VAE, &place, e));
    if (!place)
        return part_missing(root, MODEL_VAE, e);
    TRY(place_open(root, place->sub, &dir, e));
    st = place_take(&dir, place->file, *place->sub, out, config, e);
    folder_close(&dir);
    return st;
}

enum status vae_file_open(const char *path, struct component *out,
                          struct vae_config *config, struct err *e)
{
    struct source *source;
    struct folder root;
    struct stat sb;
    enum status st;

    if (stat(path, &sb) != 0 || !S_ISDIR(sb.st_mode)) {
        TRY(source_open(path, &source, e));
        return source_take(source, NULL, out, config, e);
    }
    TRY(folder_open(path, &root, e));
    st = folder_take(&root, out, config, e);
    folder_close(&root);
    return st;
}
