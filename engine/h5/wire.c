/* wire.c - a request as arguments, and back */
#include "engine/h5/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t wire_item_bytes(const struct h5_array *a)
{
    return a->integers ? sizeof(int64_t) : sizeof(float);
}

bool wire_values_wanted(const struct h5_array *a)
{
    return a->integers ? a->ints != NULL : a->data != NULL;
}

static void pack_text(struct buf *out, const char *text, int *n)
{
    buf_add(out, text, strlen(text) + 1);
    *n += 1;
}

static void pack_int(struct buf *out, int64_t value, int *n)
{
    buf_addf(out, "%lld", (long long)value);
    buf_add(out, "", 1);
    *n += 1;
}

int wire_pack(const struct h5_array *arrays, int n_arrays, const struct h5_attr *attrs,
              int n_attrs, struct buf *out)
{
    int n = 0;

    for (int i = 0; i < n_arrays; i++) {
        pack_text(out, "a", &n);
        pack_int(out,
                 (wire_values_wanted(&arrays[i]) ? WIRE_VALUES : 0) |
                     (arrays[i].integers ? WIRE_INTEGERS : 0),
                 &n);
        pack_int(out, arrays[i].rank, &n);
        for (int k = 0; k < arrays[i].rank; k++)
            pack_int(out, arrays[i].dims[k], &n);
        pack_int(out, arrays[i].max_count, &n);
        pack_text(out, arrays[i].path, &n);
    }
    for (int i = 0; i < n_attrs; i++) {
        pack_text(out, "t", &n);
        pack_int(out, attrs[i].kind, &n);
        pack_int(out, (int64_t)attrs[i].text_bytes, &n);
        pack_text(out, attrs[i].object, &n);
        pack_text(out, attrs[i].name, &n);
    }
    return n;
}

/* The arguments that are left; `bad` is set once and stays. */
struct cursor {
    char **at, **end;
    bool bad;
};

static char *take_text(struct cursor *c)
{
    static char nothing[] = "";

    if (c->at == c->end || strlen(*c->at) >= H5_NAME_MAX) {
        c->bad = true;
        return nothing;
    }
    return *c->at++;
}

static int64_t take_int(struct cursor *c, int64_t lo, int64_t hi)
{
    char *text = take_text(c);
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < lo || v > hi) {
        c->bad = true;
        return lo;
    }
    return v;
}

static void take_array(struct cursor *c, struct h5_array *a)
{
    static float wanted;
    static int64_t wanted_ints;
    int64_t what = take_int(c, 0, WIRE_VALUES | WIRE_INTEGERS);

    memset(a, 0, sizeof(*a));
    a->integers = (what & WIRE_INTEGERS) != 0;
    if (what & WIRE_VALUES) {
        a->data = a->integers ? NULL : &wanted;
        a->ints = a->integers ? &wanted_ints : NULL;
    }
    a->rank = (int)take_int(c, 1, H5_RANK_MAX);
    for (int k = 0; k < a->rank; k++)
        a->dims[k] = take_int(c, -1, INT64_MAX);
    a->max_count = take_int(c, 1, INT64_MAX);
    a->path = take_text(c);
}

static void take_attr(struct cursor *c, struct h5_attr *t)
{
    memset(t, 0, sizeof(*t));
    t->kind = (enum h5_attr_kind)take_int(c, H5_ATTR_INT, H5_ATTR_TEXT);
    t->text_bytes = (size_t)take_int(c, 0, H5_TEXT_MAX + 1);
    t->object = take_text(c);
    t->name = take_text(c);
}

bool wire_unpack(int argc, char **argv, struct wire_request *rq)
{
    struct cursor c = {argv, argv + argc, false};

    rq->n_arrays = 0;
    rq->n_attrs = 0;
    while (c.at < c.end && !c.bad) {
        const char *what = take_text(&c);

        if (strcmp(what, "a") == 0 && rq->n_arrays < WIRE_WANTS_MAX)
            take_array(&c, &rq->arrays[rq->n_arrays++]);
        else if (strcmp(what, "t") == 0 && rq->n_attrs < WIRE_WANTS_MAX)
            take_attr(&c, &rq->attrs[rq->n_attrs++]);
        else
            return false;
    }
    return !c.bad;
}
