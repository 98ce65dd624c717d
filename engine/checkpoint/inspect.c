/* inspect.c - a checkpoint as lines of name and value, or as one JSON object */
#include "engine/checkpoint/inspect.h"

#include <stdio.h>
#include <string.h>

#include "engine/checkpoint/store.h"
#include "kernels/base/json.h"

/* ---- text ------------------------------------------------------------------------ */

/* How many bytes the character at `p` has; 0: it is not UTF-8. */
static int rune_bytes(const unsigned char *p)
{
    int n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return p[0] > 0xf4 ? 0 : n;
}

/* The code point at `p` and its bytes; 0 for a byte that is not UTF-8. */
static unsigned rune_at(const unsigned char *p, int *n)
{
    *n = rune_bytes(p);
    if (*n == 0) {
        *n = 1;
        return 0;
    }
    switch (*n) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    default:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 |
               (p[3] & 0x3fu);
    }
}

/* Characters that do something to a terminal, or to the text around them. */
static bool is_control(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           c == 0x061c || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void text_put(struct buf *b, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    int n;

    for (; *p; p += n) {
        unsigned c = rune_at(p, &n);

        if (!is_control(c))
            buf_add(b, p, (size_t)n);
        else if (c < 0x100)
            buf_addf(b, "\\x%02x", c ? c : p[0]);
        else
            buf_addf(b, "\\u%04x", c);
    }
}

static void line_put(struct buf *b, const char *name, const char *text)
{
    if (!text || !text[0])
        return;
    buf_addf(b, "  %-16s ", name);
    text_put(b, text);
    buf_adds(b, "\n");
}

/* A value of the configuration as text: as it stands in JSON, strings without quotes.
 */
static void config_put(struct buf *b, struct json_value config, const char *key,
                       const char *name)
{
    struct json_value v = json_find(config, key);
    const char *text;
    char number[40];
    double d;

    if (json_string(v, &text, NULL) == ST_OK) {
        line_put(b, name, text);
    } else if (json_double(v, -1e300, 1e300, &d, NULL) == ST_OK) {
        snprintf(number, sizeof(number), "%.10g", d);
        line_put(b, name, number);
    }
}

/* ---- what a checkpoint holds ----------------------------------------------------- */

static const struct {
    const char *key, *name;
} keys[] = {
    {"sampler", "sampler"},
    {"inference_steps", "steps"},
    {"shift", "shift"},
    {"guidance_scale", "guidance"},
    {"seed", "seed"},
    {"rng", "noise"},
    {"size", "size"},
    {"num_frames", "frames"},
    {"fps", "fps"},
    {"prompt", "prompt"},
    {"negative_prompt", "negative prompt"},
};
enum { KEYS = sizeof(keys) / sizeof(keys[0]), TEXT_BYTES = 160 };

/* Texts of a checkpoint beside its configuration. */
struct fact {
    const char *name, *key, *text;
};
enum { FACTS = 10 };

static void facts_of(const struct checkpoint *ck, struct fact out[FACTS])
{
    const struct fact all[FACTS] = {
        {"precision", "precision", ck->precision},
        {"backend", "backend", ck->backend},
        {"mesh written", "mesh", ck->mesh},
        {"program", "program", ck->program},
        {"created", "created", ck->created},
        {"config", "config_digest", ck->config_digest},
        {"model", "model_digest", ck->model_digest},
        {"with its text", "whole_digest", ck->whole_digest},
        {"text rows", "conditioning_digest", ck->conditioning_digest},
        {"schedule", "schedule_digest", ck->schedule_digest},
    };

    memcpy(out, all, sizeof(all));
}

static void shape_print(const struct checkpoint_floats *f, char out[TEXT_BYTES])
{
    if (f->dims[0])
        snprintf(out, TEXT_BYTES, "%lldx%lldx%lldx%lld", (long long)f->dims[0],
                 (long long)f->dims[1], (long long)f->dims[2], (long long)f->dims[3]);
    else
        snprintf(out, TEXT_BYTES, "none");
}

static void place_print(const struct checkpoint *ck, char out[TEXT_BYTES])
{
    snprintf(out, TEXT_BYTES, "row %lld of %lld, segment %lld of %lld",
             (long long)ck->rows_done, (long long)ck->rows_total,
             (long long)ck->segment + 1, (long long)ck->segments_total);
}

static void numbers_text(struct buf *b, const struct checkpoint *ck, int64_t bytes)
{
    char text[TEXT_BYTES];

    place_print(ck, text);
    line_put(b, "where", text);
    shape_print(&ck->x, text);
    line_put(b, "latents", text);
    shape_print(&ck->finished, text);
    line_put(b, "finished", text);
    snprintf(text, sizeof(text), "%lld and %lld", (long long)ck->cond.dims[0],
             (long long)ck->uncond.dims[0]);
    line_put(b, "text rows", text);
    snprintf(text, sizeof(text), "%lld bytes, arrays %lld", (long long)bytes,
             (long long)checkpoint_bytes(ck));
    line_put(b, "size", text);
    snprintf(text, sizeof(text), "%.1f s, %lld restarts", ck->seconds,
             (long long)ck->restarts);
    line_put(b, "run so far", text);
}

static void details_text(struct buf *b, const struct checkpoint *ck, int64_t bytes)
{
    struct json_value root = {NULL, NULL};
    struct fact facts[FACTS];
    struct json *doc = NULL;

    numbers_text(b, ck, bytes);
    if (json_parse("", ck->config, strlen(ck->config), &JSON_LIMITS_CONFIG, &doc,
                   NULL) == ST_OK)
        root = json_root(doc);
    for (int i = 0; i < KEYS; i++)
        config_put(b, root, keys[i].key, keys[i].name);
    json_close(doc);
    facts_of(ck, facts);
    for (int i = 0; i < FACTS; i++)
        line_put(b, facts[i].name, facts[i].text);
}

static void shape_json(struct json_out *o, const char *key,
                       const struct checkpoint_floats *f)
{
    json_out_array(o, key);
    for (int i = 0; i < 4 && f->dims[0]; i++)
        json_out_int(o, NULL, f->dims[i]);
    json_out_end(o);
}

/* Members of the object of a valid checkpoint. */
static void details_json(struct json_out *o, const struct checkpoint *ck, int64_t bytes)
{
    struct fact facts[FACTS];

    json_out_bool(o, "valid", true);
    json_out_string(o, "kind", checkpoint_kind_name(ck->kind));
    json_out_int(o, "segment", ck->segment);
    json_out_int(o, "segments_total", ck->segments_total);
    json_out_int(o, "rows_done", ck->rows_done);
    json_out_int(o, "rows_total", ck->rows_total);
    shape_json(o, "latents", &ck->x);
    shape_json(o, "finished", &ck->finished);
    json_out_int(o, "prefix_frames", ck->prefix_frames);
    json_out_int(o, "text_rows", ck->cond.dims[0]);
    json_out_int(o, "negative_text_rows", ck->uncond.dims[0]);
    json_out_int(o, "bytes", bytes);
    json_out_int(o, "array_bytes", checkpoint_bytes(ck));
    json_out_double(o, "seconds", ck->seconds);
    json_out_int(o, "restarts", ck->restarts);
    facts_of(ck, facts);
    for (int i = 0; i < FACTS; i++)
        json_out_string(o, facts[i].key, facts[i].text);
    json_out_string(o, "config", ck->config);
    json_out_string(o, "launch", ck->launch);
}

/* ---- a file ---------------------------------------------------------------------- */

enum status checkpoint_inspect(const char *path, bool json, struct buf *out,
                               struct err *e)
{
    int64_t bytes = checkpoint_file_bytes(path);
    struct checkpoint ck = {0};
    struct json_out o;

    TRY(checkpoint_read(path, &ck, e));
    if (json) {
        json_out_init(&o, out, JSON_INDENTED);
        json_out_object(&o, NULL);
        json_out_string(&o, "path", path);
        details_json(&o, &ck, bytes);
        json_out_end(&o);
    } else {
        text_put(out, path);
        buf_addf(out, ": a valid checkpoint, %s\n", checkpoint_kind_name(ck.kind));
        details_text(out, &ck, bytes);
    }
    checkpoint_release(&ck);
    return ST_OK;
}

/* ---- a folder -------------------------------------------------------------------- */

struct listing {
    struct buf *out, details; /* of the newest valid one */
    struct json_out json;
    bool as_json;
    int n, valid;
};

static void generation_json(struct listing *l, const char *name, int64_t bytes,
                            const struct checkpoint *ck, const char *why)
{
    json_out_object(&l->json, NULL);
    json_out_string(&l->json, "name", name);
    if (ck) {
        details_json(&l->json, ck, bytes);
    } else {
        json_out_bool(&l->json, "valid", false);
        json_out_int(&l->json, "bytes", bytes);
        json_out_string(&l->json, "reason", why);
    }
    json_out_end(&l->json);
}

static void generation_text(struct listing *l, const char *name, int64_t bytes,
                            const struct checkpoint *ck, const char *why)
{
    char place[TEXT_BYTES];

    if (!ck) {
        buf_addf(l->out, "  %s  rejected: ", name);
        text_put(l->out, why);
        buf_adds(l->out, "\n");
        return;
    }
    place_print(ck, place);
    buf_addf(l->out, "  %s  valid, %s, %s, %lld bytes, ", name,
             checkpoint_kind_name(ck->kind), place, (long long)bytes);
    text_put(l->out, ck->created);
    buf_adds(l->out, "\n");
    if (l->valid == 0) {
        buf_addf(&l->details, "%s\n", name);
        details_text(&l->details, ck, bytes);
    }
}

static enum status generation_show(void *ctx, const char *name, int64_t bytes,
                                   const struct checkpoint *ck, const char *why,
                                   struct err *e)
{
    struct listing *l = ctx;

    (void)e;
    if (l->as_json)
        generation_json(l, name, bytes, ck, why);
    else
        generation_text(l, name, bytes, ck, why);
    l->n++;
    l->valid += ck != NULL;
    return ST_OK;
}

static enum status folder_show(struct listing *l, struct checkpoint_store *s,
                               const char *path, struct err *e)
{
    if (l->as_json) {
        json_out_init(&l->json, l->out, JSON_INDENTED);
        json_out_object(&l->json, NULL);
        json_out_string(&l->json, "path", path);
        json_out_array(&l->json, "checkpoints");
    } else {
        text_put(l->out, path);
        buf_adds(l->out, ": checkpoints, newest first\n");
    }
    TRY(checkpoint_each(s, generation_show, l, e));
    if (l->as_json) {
        json_out_end(&l->json);
        json_out_end(&l->json);
    } else {
        buf_add(l->out, l->details.data, l->details.len);
    }
    if (l->n == 0)
        return err_set(e, ST_INPUT, "no checkpoint in '%s'", path);
    return ST_OK;
}

enum status checkpoint_inspect_folder(const char *path, bool json, struct buf *out,
                                      struct err *e)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct listing l = {.out = out, .details = BUF_INIT, .as_json = json};
    struct checkpoint_store *s;
    enum status st;

    TRY(checkpoint_store_open(path, false, &o, &s, e));
    st = folder_show(&l, s, path, e);
    checkpoint_store_close(s);
    buf_release(&l.details);
    return st;
}
