/* identity.c - digests, and the difference between two configurations */
#include "engine/checkpoint/identity.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/base/json.h"

static const struct json_limits limits = {
    .text_bytes = CHECKPOINT_CONFIG_MAX + 1, .memory_bytes = 32 << 20, .depth = 16};

enum { SHOWN_BYTES = 40, DIFFERENCES_BYTES = 320 };

/* ---- digests --------------------------------------------------------------------- */

enum status identity_config(const char *json, char **out, char hex[DIGEST_HEX],
                            struct err *e)
{
    struct buf text = BUF_INIT;
    struct json *doc;

    TRY(json_parse("configuration", json, strlen(json), &limits, &doc, e));
    json_canonical(json_root(doc), &text);
    json_close(doc);
    if (text.failed) {
        buf_release(&text);
        return err_set(e, ST_RESOURCE, "no memory for a configuration");
    }
    digest_of(text.data, text.len, hex);
    *out = text.data;
    return ST_OK;
}

static void floats_add(struct digest *d, const struct checkpoint_floats *f)
{
    digest_add(d, f->dims, sizeof(f->dims));
    if (f->dims[0])
        digest_add(d, f->data, checkpoint_floats_count(f) * sizeof(float));
}

enum status identity_conditioning(const struct checkpoint_floats *cond,
                                  const struct checkpoint_floats *uncond,
                                  char hex[DIGEST_HEX], struct err *e)
{
    struct digest *d;

    TRY(digest_create(&d, e));
    floats_add(d, cond);
    floats_add(d, uncond);
    digest_hex(d, hex);
    digest_destroy(d);
    return ST_OK;
}

enum status identity_schedule(const struct schedule *s, const struct matrix *m,
                              char hex[DIGEST_HEX], struct err *e)
{
    size_t cells = (size_t)m->rows * (size_t)m->frames;
    int32_t shape[4] = {(int32_t)s->solver, s->n, m->rows, m->frames};
    struct digest *d;

    TRY(digest_create(&d, e));
    digest_add(d, shape, sizeof(shape));
    digest_add(d, s->sigma, ((size_t)s->n + 1) * sizeof(s->sigma[0]));
    digest_add(d, m->timestep, cells * sizeof(m->timestep[0]));
    digest_add(d, m->step, cells * sizeof(m->step[0]));
    digest_hex(d, hex);
    digest_destroy(d);
    return ST_OK;
}

/* ---- differences ----------------------------------------------------------------- */

/* A word of a list with `mark` between the words. */
static bool list_has(const char *list, char mark, const char *word, size_t len)
{
    while (list && *list) {
        const char *end = strchrnul(list, mark);

        if ((size_t)(end - list) == len && memcmp(list, word, len) == 0)
            return true;
        list = *end ? end + 1 : end;
    }
    return false;
}

enum status identity_accept_check(const char *keys, struct err *e)
{
    while (keys && *keys) {
        size_t len = strcspn(keys, ",");

        if (!list_has(IDENTITY_ACCEPTABLE, ' ', keys, len))
            return err_set(e, ST_USAGE,
                           "impossible accept_change '%.*s': with another value it "
                           "would be another video; possible are " IDENTITY_ACCEPTABLE,
                           (int)len, keys);
        keys += len + (keys[len] == ',');
    }
    return ST_OK;
}

bool identity_accepts(const char *keys, const char *key)
{
    return list_has(keys, ',', key, strlen(key));
}

/* A value in few characters. */
static void value_show(struct json_value v, struct buf *out)
{
    struct buf text = BUF_INIT;
    int shown = SHOWN_BYTES;

    if (!json_exists(v)) {
        buf_adds(out, "not set");
        return;
    }
    json_canonical(v, &text);
    if (text.len <= SHOWN_BYTES) {
        buf_adds(out, buf_text(&text));
    } else {
        while (shown > 0 && ((unsigned char)text.data[shown] & 0xc0) == 0x80)
            shown--; /* not within a character */
        buf_addf(out, "%.*s…", shown, buf_text(&text));
    }
    buf_release(&text);
}

static bool value_same(struct json_value a, struct json_value b)
{
    struct buf one = BUF_INIT, two = BUF_INIT;
    bool same;

    if (json_exists(a))
        json_canonical(a, &one);
    if (json_exists(b))
        json_canonical(b, &two);
    same = strcmp(buf_text(&one), buf_text(&two)) == 0;
    buf_release(&one);
    buf_release(&two);
    return same;
}

static void difference_add(const char *key, struct json_value then,
                           struct json_value now, struct buf *out)
{
    if (value_same(then, now))
        return;
    if (out->len > DIFFERENCES_BYTES) { /* a line has an end */
        if (strcmp(buf_text(out) + out->len - 3, "...") != 0)
            buf_adds(out, " ...");
        return;
    }
    buf_addf(out, "%s'%s' was ", out->len ? "; " : "", key);
    value_show(then, out);
    buf_adds(out, ", is ");
    value_show(now, out);
}

/* The keys of which the values differ: those that `accept` names, or the others. */
struct selection {
    const char *accept;
    bool accepted;
};

static enum status pair_parse(const char *one, const char *two, struct json *out[2],
                              struct err *e)
{
    enum status st;

    TRY(json_parse("configuration", one, strlen(one), &limits, &out[0], e));
    st = json_parse("configuration", two, strlen(two), &limits, &out[1], e);
    if (st != ST_OK)
        json_close(out[0]);
    return st;
}

static void pair_close(struct json *pair[2])
{
    json_close(pair[0]);
    json_close(pair[1]);
}

static enum status differences(const char *then, const char *now,
                               const struct selection *which, struct buf *out,
                               struct err *e)
{
    struct json *pair[2];
    struct json_value a, b;

    TRY(pair_parse(then, now, pair, e));
    a = json_root(pair[0]);
    b = json_root(pair[1]);
    for (struct json_value v = json_first(a); json_exists(v); v = json_next(v)) {
        if (identity_accepts(which->accept, json_key(v)) == which->accepted)
            difference_add(json_key(v), v, json_find(b, json_key(v)), out);
    }
    for (struct json_value v = json_first(b); json_exists(v); v = json_next(v)) {
        if (!json_exists(json_find(a, json_key(v))) &&
            identity_accepts(which->accept, json_key(v)) == which->accepted)
            difference_add(json_key(v), json_find(a, json_key(v)), v, out);
    }
    pair_close(pair);
    return ST_OK;
}

enum status identity_contradiction(const char *made, const char *said,
                                   const char *accept, struct buf *out, struct err *e)
{
    struct json *pair[2];

    TRY(pair_parse(made, said, pair, e));
    for (struct json_value v = json_first(json_root(pair[1])); json_exists(v);
         v = json_next(v)) {
        struct json_value then = json_find(json_root(pair[0]), json_key(v));

        if (json_exists(then) && !identity_accepts(accept, json_key(v)))
            difference_add(json_key(v), then, v, out);
    }
    pair_close(pair);
    return ST_OK;
}

enum status identity_accepted(const struct checkpoint *ck,
                              const struct checkpoint_identity *want, struct buf *out,
                              struct err *e)
{
    struct selection accepted = {want->accept, true};

    return differences(ck->config, want->config, &accepted, out, e);
}

/* The digests of the configurations differ: by what? */
static enum status config_match(const struct checkpoint *ck, const char *name,
                                const struct checkpoint_identity *want, struct err *e)
{
    struct selection refused = {want->accept, false};
    struct buf text = BUF_INIT;
    enum status st = differences(ck->config, want->config, &refused, &text, e);

    if (st != ST_OK)
        err_prefix(e, "checkpoint '%s'", name);
    else if (text.len || !want->accept)
        st = err_set(e, ST_INPUT, "checkpoint '%s' is of another job: %s", name,
                     text.len ? buf_text(&text) : "its configuration was changed");
    buf_release(&text);
    return st;
}

static bool differs(const char *have, const char *want)
{
    return want[0] && strcmp(have, want) != 0;
}

enum status identity_match(const struct checkpoint *ck, const char *name,
                           const struct checkpoint_identity *want, struct err *e)
{
    if (differs(ck->config_digest, want->config_digest))
        TRY(config_match(ck, name, want, e));
    if (differs(ck->model_digest, want->model_digest))
        return err_set(e, ST_INPUT,
                       "checkpoint '%s' is of another model: weights of digest %.12s, "
                       "these have %.12s",
                       name, ck->model_digest, want->model_digest);
    if (differs(ck->conditioning_digest, want->conditioning_digest))
        return err_set(e, ST_INPUT, "checkpoint '%s' has other text rows", name);
    if (differs(ck->schedule_digest, want->schedule_digest))
        return err_set(e, ST_INPUT,
                       "checkpoint '%s' has another schedule of noise levels", name);
    return ST_OK;
}
