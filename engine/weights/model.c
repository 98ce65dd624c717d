/* model.c - opens the parts of a model folder */
#include "engine/weights/model.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/model_files.h"
#include "engine/weights/read_config.h"

struct model {
    char *path;
    enum model_layout layout;
    char description[256];
    const char *unbuilt;
    struct component component[MODEL_PARTS]; /* source NULL: not open */
    struct dit_config dit;
    struct text_config text;
    struct vae_config vae;
    char *tokenizer;
    struct scheduler_hints scheduler;
};

struct opening {
    struct model *m;
    const struct model_options *options;
    struct folder root;
    char class_name[80]; /* of model_index.json, or "" */
    struct err *e;
};

/* ---- parts ---------------------------------------------------------------------- */

/* The config.json beside a part; *out is NULL when there is none. */
static enum status config_read(struct opening *o, const struct folder *dir,
                               struct json **out)
{
    *out = NULL;
    if (!file_exists_at(dir, "config.json"))
        return ST_OK;
    TRY(file_json_at(dir, "config.json", &JSON_LIMITS_CONFIG, out, o->e));
    if (json_kind(json_root(*out)) == JSON_OBJECT)
        return ST_OK;
    err_set(o->e, ST_INPUT, "'%s': not an object", json_name(*out));
    json_close(*out);
    *out = NULL;
    return ST_INPUT;
}

static struct json_value config_root(const struct json *doc)
{
    return doc ? json_root(doc) : (struct json_value){NULL, NULL};
}

static enum status transformer_finish(struct opening *o, struct json_value config)
{
    struct model *m = o->m;
    struct dit_kind kind;

    TRY(read_dit_kind(&m->component[MODEL_DIT], config, &kind, o->e));
    if (!m->unbuilt)
        m->unbuilt = kind.unbuilt;
    m->dit.has_fps = kind.has_fps;
    m->dit.dim = kind.dim;
    m->dit.layers = kind.layers;
    m->dit.in_channels = kind.in_channels;
    if (!m->unbuilt)
        return read_dit(&m->component[MODEL_DIT], config, &m->dit, o->e);
    if (o->options->look)
        return ST_OK;
    return err_set(o->e, ST_UNBUILT, "'%s' is %s, which is not built yet", m->path,
                   m->unbuilt);
}

static enum status part_finish(struct opening *o, enum model_part part,
                               struct json_value config)
{
    struct model *m = o->m;

    if (part == MODEL_DIT)
        return transformer_finish(o, config);
    if (part == MODEL_TEXT)
        return read_text(&m->component[MODEL_TEXT], config, &m->text, o->e);
    return read_vae(&m->component[MODEL_VAE], config, &m->vae, o->e);
}

/* A text encoder or VAE in the model's own folder stands beside the transformer's
 * config.json, which is not theirs. */
static bool config_belongs(enum model_part part, const struct place *place)
{
    return part == MODEL_DIT || *place->sub;
}

static enum status part_open(struct opening *o, enum model_part part,
                             const struct place *place)
{
    static const struct name_map *const maps[] = {&names_dit, &names_text, &names_vae};
    static const char *const labels[] = {"transformer", "text encoder", "vae"};
    struct json *config = NULL;
    struct source *source;
    struct folder dir;
    enum status st;

    TRY(place_open(&o->root, place->sub, &dir, o->e));
    st = source_open_at(&dir, place->file, &source, o->e);
    if (st == ST_OK)
        st = component_open(source, labels[part], maps[part], &o->m->component[part],
                            o->e);
    if (st == ST_OK && config_belongs(part, place))
        st = config_read(o, &dir, &config);
    if (st == ST_OK)
        st = part_finish(o, part, config_root(config));
    json_close(config);
    folder_close(&dir);
    return st;
}

static enum status tokenizer_set(struct opening *o, const struct place *place)
{
    struct file f;
    struct folder dir;
    enum status st;

    TRY(place_open(&o->root, place->sub, &dir, o->e));
    st = file_open_at(&dir, place->file, &f, o->e);
    folder_close(&dir);
    if (st != ST_OK)
        return st;
    o->m->tokenizer = strdup(f.path);
    file_close(&f);
    if (!o->m->tokenizer)
        return err_set(o->e, ST_RESOURCE, "cannot open '%s': out of memory",
                       o->m->path);
    return ST_OK;
}

static enum status parts_open(struct opening *o)
{
    for (int i = MODEL_DIT; i <= MODEL_TOKENIZER; i++) {
        enum model_part part = (enum model_part)i;
        const struct place *place;

        if (o->options->without & 1u << part)
            continue;
        TRY(part_find(&o->root, part, &place, o->e));
        if (!place && !o->options->look)
            return part_missing(&o->root, part, o->e);
        if (!place)
            continue;
        if (*place->sub && part != MODEL_TOKENIZER)
            o->m->layout = MODEL_DIFFUSERS;
        TRY(part == MODEL_TOKENIZER ? tokenizer_set(o, place)
                                    : part_open(o, part, place));
    }
    return ST_OK;
}

/* ---- what the folder says as a whole -------------------------------------------- */

static enum status index_read(struct opening *o)
{
    struct json *doc;
    const char *name = "";
    double boundary = 0;
    enum status st;

    if (file_exists_at(&o->root, "high_noise_model") ||
        file_exists_at(&o->root, "transformer_2"))
        o->m->unbuilt = "a Wan2.2 model of two experts";
    else if (file_exists_at(&o->root, "Wan2.2_VAE.pth"))
        o->m->unbuilt = "Wan2.2 TI2V";
    if (!file_exists_at(&o->root, "model_index.json"))
        return ST_OK;
    o->m->layout = MODEL_DIFFUSERS;
    TRY(file_json_at(&o->root, "model_index.json", &JSON_LIMITS_CONFIG, &doc, o->e));
    st = json_opt_string(json_root(doc), "_class_name", &name, o->e);
    if (st == ST_OK)
        st = json_opt_double(json_root(doc), "boundary_ratio", 0, 1, &boundary, o->e);
    if (st == ST_OK && boundary > 0)
        o->m->unbuilt = "a Wan2.2 model of two experts";
    snprintf(o->class_name, sizeof(o->class_name), "%.79s", name);
    json_close(doc);
    return st;
}

static enum status scheduler_read(struct opening *o)
{
    struct scheduler_hints *h = &o->m->scheduler;
    const char *name = "";
    struct folder dir;
    struct json *doc;
    enum status st;

    if (!file_exists_at(&o->root, "scheduler"))
        return ST_OK;
    TRY(place_open(&o->root, "scheduler", &dir, o->e));
    if (!file_exists_at(&dir, "scheduler_config.json")) {
        folder_close(&dir);
        return ST_OK;
    }
    st = file_json_at(&dir, "scheduler_config.json", &JSON_LIMITS_CONFIG, &doc, o->e);
    folder_close(&dir);
    if (st != ST_OK)
        return st;
    st = json_opt_string(json_root(doc), "_class_name", &name, o->e);
    if (st == ST_OK)
        st = json_opt_double(json_root(doc), "flow_shift", 0, 1000, &h->flow_shift,
                             o->e);
    snprintf(h->class_name, sizeof(h->class_name), "%.63s", name);
    h->there = st == ST_OK;
    json_close(doc);
    return st;
}

/* Is `word` in `text`, whatever the case, with '_' equal to '-'? */
static bool mentions(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (; *text; text++) {
        size_t i = 0;

        while (i < n && text[i] &&
               (tolower((unsigned char)text[i]) == tolower((unsigned char)word[i]) ||
                (text[i] == '_' && word[i] == '-')))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* The folder's own name; for a snapshot of a hub cache that of the repository. */
static void folder_name(const char *path, char *out, size_t bytes)
{
    char *real = realpath(path, NULL);
    char *name = real ? strrchr(real, '/') : NULL;

    if (name && name > real) {
        char *parent;

        *name = '\0';
        parent = strrchr(real, '/');
        if (parent && strcmp(parent, "/snapshots") == 0 && parent > real) {
            *parent = '\0';
            parent = strrchr(real, '/');
            snprintf(out, bytes, "%s", parent ? parent + 1 : real);
            free(real);
            return;
        }
        snprintf(out, bytes, "%s", name + 1);
    } else {
        snprintf(out, bytes, "%s", path);
    }
    free(real);
}

static void family_set(struct opening *o)
{
    struct dit_config *d = &o->m->dit;
    char name[256];
    bool forcing;

    folder_name(o->m->path, name, sizeof(name));
    d->family = d->has_fps || mentions(name, "skyreels") ||
                        mentions(o->class_name, "skyreels")
                    ? FAMILY_SKYREELS
                    : FAMILY_WAN;
    forcing = d->has_fps || mentions(o->class_name, "diffusionforcing") ||
              (d->family == FAMILY_SKYREELS && mentions(name, "-df-"));
    if (o->options->kind != MODEL_KIND_AUTO)
        forcing = o->options->kind == MODEL_KIND_FORCING;
    d->diffusion_forcing = forcing;
}

/* ---- description ---------------------------------------------------------------- */

static const char *size_name(const struct model *m, char *out, size_t bytes)
{
    static const struct {
        int64_t dim, layers;
        const char *name;
    } known[] = {{1536, 30, "1.3B"}, {5120, 40, "14B"}, {3072, 30, "5B"}};
    int64_t n = component_parameters(&m->component[MODEL_DIT]);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (m->dit.dim == known[i].dim && m->dit.layers == known[i].layers)
            return known[i].name;
    if (n < 1000000)
        snprintf(out, bytes, "of custom size (%lld parameters)", (long long)n);
    else
        snprintf(out, bytes, "of custom size (%.1f million parameters)",
                 (double)n / 1e6);
    return out;
}

static void describe(struct model *m)
{
    char size[64], dtypes[64];
    const char *family = m->dit.family == FAMILY_SKYREELS ? "SkyReels-V2" : "Wan2.1";
    const char *layout = m->layout == MODEL_DIFFUSERS ? "diffusers" : "original";

    if (!m->component[MODEL_DIT].source) {
        snprintf(m->description, sizeof(m->description), "no transformer (%s layout)",
                 layout);
        return;
    }
    component_dtypes(&m->component[MODEL_DIT], dtypes, sizeof(dtypes));
    if (m->unbuilt)
        snprintf(m->description, sizeof(m->description), "%s, %s (%s layout, %s)",
                 m->unbuilt, size_name(m, size, sizeof(size)), layout, dtypes);
    else
        snprintf(m->description, sizeof(m->description), "%s %s %s (%s layout, %s)",
                 family, m->dit.diffusion_forcing ? "DF" : "T2V",
                 size_name(m, size, sizeof(size)), layout, dtypes);
}

/* ---- the whole ------------------------------------------------------------------ */

/* Parts that are right by themselves must fit each other. */
static enum status parts_fit(const struct model *m, struct err *e)
{
    bool dit = m->component[MODEL_DIT].source && !m->unbuilt;

    if (dit && m->component[MODEL_TEXT].source && m->dit.text_dim != m->text.dim)
        return err_set(
            e, ST_INPUT,
            "'%s': the transformer takes text of width %lld, the text encoder "
            "gives %lld",
            m->path, (long long)m->dit.text_dim, (long long)m->text.dim);
    if (dit && m->component[MODEL_VAE].source && m->dit.out_channels != m->vae.z_dim)
        return err_set(e, ST_INPUT,
                       "'%s': the transformer makes %lld latent channels, the VAE has "
                       "%lld",
                       m->path, (long long)m->dit.out_channels,
                       (long long)m->vae.z_dim);
    return ST_OK;
}

static enum status opening_run(struct opening *o)
{
    TRY(index_read(o));
    if (o->m->unbuilt && !o->options->look)
        return err_set(o->e, ST_UNBUILT, "'%s' is %s, which is not built yet",
                       o->m->path, o->m->unbuilt);
    TRY(scheduler_read(o));
    TRY(parts_open(o));
    TRY(parts_fit(o->m, o->e));
    family_set(o);
    describe(o->m);
    return ST_OK;
}

enum status model_open(const char *path, const struct model_options *options,
                       struct model **out, struct err *e)
{
    struct opening o = {.options = options, .root = {-1, NULL}, .e = e};
    enum status st;

    o.m = calloc(1, sizeof(*o.m));
    if (o.m)
        o.m->path = strdup(path);
    if (!o.m || !o.m->path) {
        st = err_set(e, ST_RESOURCE, "cannot open '%s': out of memory", path);
        goto err_close;
    }
    TRY_GOTO(st, folder_open(path, &o.root, e), err_close);
    TRY_GOTO(st, opening_run(&o), err_close);
    folder_close(&o.root);
    *out = o.m;
    return ST_OK;

err_close:
    folder_close(&o.root);
    model_close(o.m);
    return st;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    for (int part = 0; part < MODEL_PARTS; part++)
        component_close(&m->component[part]);
    free(m->tokenizer);
    free(m->path);
    free(m);
}

/* ---- asking --------------------------------------------------------------------- */

const char *model_describe(const struct model *m)
{
    return m->description;
}

const char *model_path(const struct model *m)
{
    return m->path;
}

enum model_layout model_layout(const struct model *m)
{
    return m->layout;
}

const char *model_unbuilt(const struct model *m)
{
    return m->unbuilt;
}

const struct component *model_component(const struct model *m, enum model_part part)
{
    return part < MODEL_PARTS && m->component[part].source ? &m->component[part] : NULL;
}

const struct dit_config *model_dit(const struct model *m)
{
    return model_component(m, MODEL_DIT) ? &m->dit : NULL;
}

const struct text_config *model_text(const struct model *m)
{
    return model_component(m, MODEL_TEXT) ? &m->text : NULL;
}

const struct vae_config *model_vae(const struct model *m)
{
    return model_component(m, MODEL_VAE) ? &m->vae : NULL;
}

const char *model_tokenizer(const struct model *m)
{
    return m->tokenizer;
}

const struct scheduler_hints *model_scheduler(const struct model *m)
{
    return &m->scheduler;
}
