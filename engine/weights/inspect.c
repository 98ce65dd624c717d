/* inspect.c - collects what is in a folder or file, and writes it as text or JSON */
#include "engine/weights/inspect.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/weights/model.h"
#include "kernels/base/json.h"

enum { PARTS_MAX = MODEL_PARTS };

/* What is shown, whether it came from a folder or a file. */
struct report {
    const char *path, *description;
    const struct model *model; /* NULL: a file */
    const struct component *parts[PARTS_MAX];
    int n;
    bool tensors;
};

/* ---- text ------------------------------------------------------------------------ */

/* 1418996800 as "1,418,996,800". */
static const char *grouped(int64_t n, char *out, size_t bytes)
{
    char digits[24];
    size_t used = 0;
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)n);

    for (int i = 0; i < len && used + 2 < bytes; i++) {
        if (i && (len - i) % 3 == 0)
            out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

static void text_name(struct buf *b, const char *name)
{
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;

        if (c < 0x20 || c == 0x7f)
            buf_addf(b, "\\x%02x", c);
        else
            buf_add(b, name, 1);
    }
}

static void text_part(struct buf *b, const struct component *c)
{
    char parameters[32], bytes[32], dtypes[64];

    buf_addf(b, "%-13s %5d %7d %16s  %-10s %16s\n", c->label, source_files(c->source),
             c->n, grouped(component_parameters(c), parameters, sizeof(parameters)),
             component_dtypes(c, dtypes, sizeof(dtypes)),
             grouped(component_bytes(c), bytes, sizeof(bytes)));
}

static void text_tensors(struct buf *b, const struct component *c)
{
    char shape[160];

    buf_addf(b, "\n%s: ", c->label);
    text_name(b, source_path(c->source));
    buf_adds(b, "\n");
    for (int i = 0; i < c->n; i++) {
        const struct stored *t = c->list[i].stored;

        buf_addf(b, "  %-8s %-24s ", dtype_name(t->dtype),
                 stored_shape(t->rank, t->dims, shape, sizeof(shape)));
        text_name(b, c->list[i].name);
        if (strcmp(c->list[i].name, t->name) != 0) {
            buf_adds(b, "  (");
            text_name(b, t->name);
            buf_adds(b, ")");
        }
        buf_adds(b, "\n");
    }
}

static void text_write(struct buf *b, const struct report *r)
{
    int64_t parameters = 0, bytes = 0;
    char number[32], total[32];

    text_name(b, r->path);
    buf_addf(b, ": %s\n", r->description);
    if (r->model && model_unbuilt(r->model))
        buf_adds(b, "this program cannot run it yet\n");
    buf_addf(b, "\n%-13s %5s %7s %16s  %-10s %16s\n", "part", "files", "tensors",
             "parameters", "types", "bytes");
    for (int i = 0; i < r->n; i++) {
        text_part(b, r->parts[i]);
        parameters += component_parameters(r->parts[i]);
        bytes += component_bytes(r->parts[i]);
    }
    if (r->n > 1)
        buf_addf(b, "%-13s %5s %7s %16s  %-10s %16s\n", "together", "", "",
                 grouped(parameters, number, sizeof(number)), "",
                 grouped(bytes, total, sizeof(total)));
    if (r->model) {
        buf_adds(b, "tokenizer     ");
        text_name(b, model_tokenizer(r->model) ? model_tokenizer(r->model) : "none");
        buf_adds(b, "\n");
    }
    for (int i = 0; r->tensors && i < r->n; i++)
        text_tensors(b, r->parts[i]);
}

/* ---- JSON ------------------------------------------------------------------------ */

static void json_tensors(struct json_out *o, const struct component *c)
{
    json_out_array(o, "tensors");
    for (int i = 0; i < c->n; i++) {
        const struct stored *t = c->list[i].stored;

        json_out_object(o, NULL);
        json_out_string(o, "name", c->list[i].name);
        json_out_string(o, "stored_name", t->name);
        json_out_string(o, "file", source_file(c->source, t->file)->path);
        json_out_string(o, "dtype", dtype_name(t->dtype));
        json_out_array(o, "shape");
        for (int k = 0; k < t->rank; k++)
            json_out_int(o, NULL, t->dims[k]);
        json_out_end(o);
        json_out_int(o, "bytes", t->bytes);
        json_out_end(o);
    }
    json_out_end(o);
}

static void json_dtypes(struct json_out *o, const struct component *c)
{
    int64_t sums[DT_COUNT] = {0};

    for (int i = 0; i < c->n; i++)
        sums[c->list[i].stored->dtype] += c->list[i].stored->bytes;
    json_out_object(o, "bytes_by_dtype");
    for (int i = 0; i < DT_COUNT; i++)
        if (sums[i])
            json_out_int(o, dtype_name((enum dtype)i), sums[i]);
    json_out_end(o);
}

static void json_part(struct json_out *o, const struct component *c, bool tensors)
{
    json_out_object(o, NULL);
    json_out_string(o, "part", c->label);
    json_out_string(o, "path", source_path(c->source));
    json_out_string(o, "names", c->renamed ? "diffusers" : "original");
    json_out_int(o, "files", source_files(c->source));
    json_out_int(o, "count", c->n);
    json_out_int(o, "parameters", component_parameters(c));
    json_out_int(o, "bytes", component_bytes(c));
    json_dtypes(o, c);
    if (tensors)
        json_tensors(o, c);
    json_out_end(o);
}

static void json_dit(struct json_out *o, const struct dit_config *d)
{
    json_out_object(o, "transformer");
    json_out_string(o, "family",
                    d->family == FAMILY_SKYREELS ? "skyreels-v2" : "wan2.1");
    json_out_bool(o, "diffusion_forcing", d->diffusion_forcing);
    json_out_int(o, "dim", d->dim);
    json_out_int(o, "ffn_dim", d->ffn_dim);
    json_out_int(o, "heads", d->heads);
    json_out_int(o, "layers", d->layers);
    json_out_int(o, "in_channels", d->in_channels);
    json_out_int(o, "out_channels", d->out_channels);
    json_out_int(o, "text_dim", d->text_dim);
    json_out_int(o, "text_len", d->text_len);
    json_out_bool(o, "has_fps", d->has_fps);
    json_out_end(o);
}

static void json_model(struct json_out *o, const struct model *m)
{
    const struct scheduler_hints *s = model_scheduler(m);

    json_out_string(o, "layout",
                    model_layout(m) == MODEL_DIFFUSERS ? "diffusers" : "original");
    json_out_bool(o, "runnable", !model_unbuilt(m) && model_dit(m));
    if (model_tokenizer(m))
        json_out_string(o, "tokenizer", model_tokenizer(m));
    else
        json_out_null(o, "tokenizer");
    if (model_dit(m) && !model_unbuilt(m))
        json_dit(o, model_dit(m));
    if (!s->there)
        return;
    json_out_object(o, "scheduler");
    json_out_string(o, "class", s->class_name);
    json_out_double(o, "flow_shift", s->flow_shift);
    json_out_end(o);
}

static void json_write(struct buf *b, const struct report *r)
{
    struct json_out o;

    json_out_init(&o, b, JSON_INDENTED);
    json_out_object(&o, NULL);
    json_out_string(&o, "path", r->path);
    json_out_string(&o, "description", r->description);
    if (r->model)
        json_model(&o, r->model);
    json_out_array(&o, "parts");
    for (int i = 0; i < r->n; i++)
        json_part(&o, r->parts[i], r->tensors);
    json_out_end(&o);
    json_out_end(&o);
}

/* ---- collecting ------------------------------------------------------------------ */

static enum status report_write(const struct report *r, bool json, struct buf *out,
                                struct err *e)
{
    if (json)
        json_write(out, r);
    else
        text_write(out, r);
    if (out->failed)
        return err_set(e, ST_RESOURCE, "cannot describe '%s': out of memory", r->path);
    return ST_OK;
}

static enum status inspect_folder(const char *path,
                                  const struct inspect_options *options,
                                  struct buf *out, struct err *e)
{
    struct model_options look = {.look = true};
    struct report r = {.path = path, .tensors = options->tensors};
    struct model *m;
    enum status st;

    TRY(model_open(path, &look, &m, e));
    r.model = m;
    r.description = model_describe(m);
    for (int i = 0; i < MODEL_PARTS; i++) {
        const struct component *c = model_component(m, (enum model_part)i);

        if (c)
            r.parts[r.n++] = c;
    }
    if (r.n == 0 && !model_tokenizer(m))
        st = err_set(e, ST_INPUT, "'%s': no part of a model in this folder", path);
    else
        st = report_write(&r, options->json, out, e);
    model_close(m);
    return st;
}

/* Names that stay as they are, for files of other things. */
static const char *const nothing[] = {NULL};
static const struct name_rule no_rules[] = {{NULL, NULL}};
static const struct name_map names_as_stored = {
    .original = "", .rules = no_rules, .ignored = nothing, .anything = true};

static const struct {
    const struct name_map *map;
    const char *label, *description;
} kinds[] = {
    {&names_dit, "transformer", "a transformer"},
    {&names_text, "text encoder", "a text encoder"},
    {&names_vae, "vae", "a VAE"},
    {&names_as_stored, "tensors", "tensors"},
};

/* Which of the kinds: the first with a name that only it has. */
static int kind_of(const struct source *s)
{
    int last = (int)(sizeof(kinds) / sizeof(kinds[0])) - 1;

    for (int k = 0; k < last; k++)
        for (int i = 0; i < source_count(s); i++) {
            const char *name = name_strip(source_at(s, i)->name);

            if (strcmp(name, kinds[k].map->original) == 0 ||
                strcmp(name, kinds[k].map->other) == 0)
                return k;
        }
    return last;
}

static enum status inspect_file(const char *path, const struct inspect_options *options,
                                struct buf *out, struct err *e)
{
    struct report r = {.path = path, .tensors = options->tensors, .n = 1};
    struct source *s;
    struct component c;
    enum status st;
    int kind;

    TRY(source_open(path, &s, e));
    kind = kind_of(s);
    if (component_quantised(s))
        kind = (int)(sizeof(kinds) / sizeof(kinds[0])) - 1;
    TRY(component_open(s, kinds[kind].label, kinds[kind].map, &c, e));
    r.description = component_quantised(s)
                        ? "tensors of a checkpoint that is quantised "
                          "already, which this program cannot run yet"
                        : kinds[kind].description;
    r.parts[0] = &c;
    st = report_write(&r, options->json, out, e);
    component_close(&c);
    return st;
}

enum status inspect_path(const char *path, const struct inspect_options *options,
                         struct buf *out, struct err *e)
{
    struct stat s;

    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode))
        return inspect_folder(path, options, out, e);
    return inspect_file(path, options, out, e);
}
