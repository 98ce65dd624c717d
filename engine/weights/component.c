/* component.c - canonical names over a source */
#include "engine/weights/component.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ignored(const struct name_map *map, const struct source *s,
                    const char *name)
{
    for (const char *const *p = map->ignored; *p; p++)
        if (name_matches(*p, name))
            return true;
    return map->spare && strcmp(name, map->spare) == 0 &&
           source_find(s, map->spare_beside);
}

/* Scales, markers and packed formats of quantised checkpoints (7.5, 7.6). */
static bool quantised(const char *name)
{
    static const char *const ends[] = {".weight_scale",        ".scale_weight",
                                       ".comfy_quant",         ".weight_scale_2",
                                       ".weight_global_scale", ".weight_fp8"};
    size_t n = strlen(name);

    if (strcmp(name, "scaled_fp8") == 0)
        return true;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t k = strlen(ends[i]);

        if (n >= k && strcmp(name + n - k, ends[i]) == 0)
            return true;
    }
    return false;
}

static int tensor_order(const void *a, const void *b)
{
    const struct component_tensor *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static enum status tensor_name(struct component *c, const struct name_map *map,
                               const struct stored *t, struct err *e)
{
    const char *name = name_strip(t->name);
    char canonical[STORED_NAME_BYTES + 64];

    if (ignored(map, c->source, name))
        return ST_OK;
    if (!map->anything && quantised(name))
        return err_set(e, ST_UNBUILT,
                       "'%s': tensor '%s': checkpoints that are quantised already are "
                       "not built; use the 16- or 32-bit files (they can be quantised "
                       "while they are read)",
                       source_path(c->source), t->name);
    if (c->renamed && name_translate(map, name, canonical, sizeof(canonical)))
        name = canonical;
    c->list[c->n].name = strdup(name);
    if (!c->list[c->n].name)
        return err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                       source_path(c->source));
    c->list[c->n++].stored = t;
    return ST_OK;
}

/* Does the source hold this name, with or without a prefix? */
static bool holds(const struct source *s, const char *name)
{
    for (int i = 0; i < source_count(s); i++)
        if (strcmp(name_strip(source_at(s, i)->name), name) == 0)
            return true;
    return false;
}

enum status component_open(struct source *source, const char *label,
                           const struct name_map *map, struct component *out,
                           struct err *e)
{
    struct component c = {.label = label, .source = source};
    enum status st = ST_OK;

    c.renamed = !holds(source, map->original);
    c.list = calloc((size_t)source_count(source) + 1, sizeof(*c.list));
    if (!c.list)
        st = err_set(e, ST_RESOURCE, "cannot read '%s': out of memory",
                     source_path(source));
    for (int i = 0; st == ST_OK && i < source_count(source); i++)
        st = tensor_name(&c, map, source_at(source, i), e);
    if (st == ST_OK)
        qsort(c.list, (size_t)c.n, sizeof(*c.list), tensor_order);
    for (int i = 1; st == ST_OK && i < c.n; i++)
        if (strcmp(c.list[i - 1].name, c.list[i].name) == 0)
            st = err_set(e, ST_INPUT, "'%s': tensors '%s' and '%s' are the same one",
                         source_path(source), c.list[i - 1].stored->name,
                         c.list[i].stored->name);
    if (st != ST_OK) {
        component_close(&c);
        return st;
    }
    *out = c;
    return ST_OK;
}

bool component_quantised(const struct source *s)
{
    for (int i = 0; i < source_count(s); i++)
        if (quantised(name_strip(source_at(s, i)->name)))
            return true;
    return false;
}

void component_close(struct component *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->list[i].name);
    free(c->list);
    source_close(c->source);
    *c = (struct component){.source = NULL};
}

static int name_compare(const void *key, const void *item)
{
    const struct component_tensor *t = item;

    return strcmp(key, t->name);
}

const struct stored *component_find(const struct component *c, const char *name)
{
    const struct component_tensor *t = NULL;

    if (c->n)
        t = bsearch(name, c->list, (size_t)c->n, sizeof(*c->list), name_compare);
    return t ? t->stored : NULL;
}

enum status component_get(const struct component *c, const char *name, int rank,
                          const struct stored **out, struct err *e)
{
    const struct stored *t = component_find(c, name);

    if (!t)
        return err_set(e, ST_INPUT, "'%s': not a %s: tensor '%s' is missing",
                       source_path(c->source), c->label, name);
    if (t->rank != rank)
        return err_set(e, ST_INPUT, "'%s': tensor '%s' has %d axes, must have %d",
                       source_path(c->source), t->name, t->rank, rank);
    *out = t;
    return ST_OK;
}

int64_t component_layers(const struct component *c, const char *prefix)
{
    size_t n = strlen(prefix);
    long layers = 0;

    for (int i = 0; i < c->n; i++) {
        char *end;
        long number;

        if (strncmp(c->list[i].name, prefix, n) != 0)
            continue;
        number = strtol(c->list[i].name + n, &end, 10);
        if (*end == '.' && number >= layers && number < STORED_COUNT_MAX)
            layers = number + 1;
    }
    return layers;
}

int64_t component_parameters(const struct component *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->n; i++)
        n += stored_elements(c->list[i].stored);
    return n;
}

int64_t component_bytes(const struct component *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->n; i++)
        n += c->list[i].stored->bytes;
    return n;
}

const char *component_dtypes(const struct component *c, char *out, size_t bytes)
{
    static const char *const names[DT_COUNT] = {
        [DT_F32] = "fp32",  [DT_BF16] = "bf16", [DT_F16] = "fp16", [DT_F64] = "fp64",
        [DT_E4M3] = "e4m3", [DT_E5M2] = "e5m2", [DT_I8] = "int8",  [DT_U8] = "uint8",
        [DT_I32] = "int32", [DT_I64] = "int64",
    };
    int64_t sums[DT_COUNT] = {0};
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < c->n; i++)
        sums[c->list[i].stored->dtype] += c->list[i].stored->bytes;
    for (;;) {
        int best = 0, n;

        for (int i = 1; i < DT_COUNT; i++)
            if (sums[i] > sums[best])
                best = i;
        if (sums[best] <= 0 || used + 8 > bytes)
            return out;
        n = snprintf(out + used, bytes - used, "%s%s", used ? "+" : "", names[best]);
        used += n > 0 ? (size_t)n : 0;
        sums[best] = 0;
    }
}
