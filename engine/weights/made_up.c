/* made_up.c - plans a store of a list of tensors, and fills it with normals */
#include "engine/weights/made_up.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/safetensors.h"
#include "engine/weights/store.h"
#include "kernels/base/memory.h"
#include "kernels/base/rng.h"

/* Elements that are made at once as floats, before they become codes. */
enum { TILE_ELEMENTS = 16 << 20 };

/* ---- what the numbers are -------------------------------------------------------- */

struct spread_of {
    float mean, std;
};

static bool has(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static struct spread_of spread_of(const char *name, int rank, int64_t count,
                                  int64_t outputs)
{
    if (has(name, "gamma") || (rank == 1 && has(name, "norm") && has(name, ".weight")))
        return (struct spread_of){1.0f, 0.1f};
    if (has(name, "token_embedding"))
        return (struct spread_of){0.0f, 1.0f};
    if (has(name, "pos_embedding"))
        return (struct spread_of){0.0f, 0.5f};
    if (has(name, "modulation"))
        return (struct spread_of){0.0f, 0.3f};
    if (rank == 1)
        return (struct spread_of){0.0f, 0.02f};
    return (struct spread_of){0.0f, 1.0f / sqrtf((float)count / (float)outputs)};
}

/* ---- the plan -------------------------------------------------------------------- */

/* A component of entries that no file holds. */
static enum status list_plan(const struct expect_list *list, const char *label,
                             const struct weights_policy *policy, enum dtype stored,
                             struct weights **out, struct err *e)
{
    size_t n = (size_t)list->n;
    struct stored *entries = calloc(n + 1, sizeof(*entries));
    struct component_tensor *names = calloc(n + 1, sizeof(*names));
    struct component c = {.label = label, .list = names, .n = list->n};
    enum status st;

    if (!entries || !names || list->failed) {
        st = err_set(e, ST_RESOURCE, "out of memory: %zu made-up tensors", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        struct expected *x = &list->items[i];

        entries[i] = (struct stored){.name = x->name, .dtype = stored, .rank = x->rank};
        memcpy(entries[i].dims, x->dims, (size_t)x->rank * sizeof(x->dims[0]));
        names[i] = (struct component_tensor){x->name, &entries[i]};
    }
    st = weights_open(&c, policy, out, e);
out:
    free(entries);
    free(names);
    return st;
}

/* "blocks.7.norm3.bias" to "blocks.0.norm3.bias"; false for block 0 and all others. */
static bool first_block_name(const char *name, char *out, size_t bytes)
{
    static const char prefix[] = "blocks.";
    const char *number = name + sizeof(prefix) - 1;
    const char *rest;

    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return false;
    rest = strchr(number, '.');
    if (!rest || strncmp(number, "0.", 2) == 0)
        return false;
    snprintf(out, bytes, "%s0%s", prefix, rest);
    return true;
}

static const struct slot *slot_named(const struct weights *w, const char *name)
{
    for (int i = 0; i < w->n; i++) {
        if (strcmp(w->slots[i].name, name) == 0)
            return &w->slots[i];
    }
    return NULL;
}

/* Places again, with the tensors of later blocks where those of block 0 are. Block 0
 * comes first among the sorted names. */
static void blocks_share(struct weights *w)
{
    char first[sizeof(((struct expected *)0)->name)];

    w->bytes = 0;
    for (int i = 0; i < w->n; i++) {
        struct slot *s = &w->slots[i];
        size_t scales = s->scales_at - s->data_at;
        const struct slot *from = NULL;

        if (first_block_name(s->name, first, sizeof(first)))
            from = slot_named(w, first);
        s->data_at = from ? from->data_at : w->bytes;
        s->scales_at = s->data_at + scales;
        w->bytes += from ? 0 : s->bytes;
    }
}

/* ---- numbers --------------------------------------------------------------------- */

struct fill {
    const struct weights *w;
    struct ops *ops;
    struct queue *q;
    uint64_t seed;
    struct tensor tile; /* f32 [TILE_ELEMENTS] */
};

/* Rows of codes, a tile at a time. */
static enum status codes_fill(struct fill *f, const struct tensor *t,
                              struct op_normal a, struct err *e)
{
    int64_t cols = t->shape[1], rows = tensor_count(&f->tile) / cols;

    for (int64_t at = 0; at < t->shape[0]; at += rows) {
        int64_t n = t->shape[0] - at < rows ? t->shape[0] - at : rows;
        struct tensor to = tensor_slice(t, 0, at, n);
        struct tensor from = tensor_make2(f->tile.data, DT_F32, f->tile.space, n, cols);

        a.out = &from;
        a.first = (uint64_t)(at * cols);
        TRY(ops_normal(f->ops, f->q, &a, e));
        TRY(ops_convert(f->ops, f->q, &(struct op_convert){&to, &from}, e));
    }
    return ST_OK;
}

static enum status slot_fill(struct fill *f, int i, struct err *e)
{
    const struct slot *s = &f->w->slots[i];
    struct tensor t = s->t;
    struct spread_of spread = spread_of(s->name, s->stored_rank, tensor_count(&t),
                                        t.shape[0]);
    struct op_normal a = {.out = &t,
                          .mean = spread.mean,
                          .std = spread.std,
                          .seed = f->seed,
                          .stream = (uint64_t)i};

    if (s->transform == TRANSFORM_QUANTISE)
        return codes_fill(f, &t, a, e);
    return ops_normal(f->ops, f->q, &a, e);
}

/* Every place once: shared ones are those of block 0. */
static enum status slots_fill(struct fill *f, bool share, struct err *e)
{
    char first[sizeof(((struct expected *)0)->name)];

    for (int i = 0; i < f->w->n; i++) {
        if (!share || !first_block_name(f->w->slots[i].name, first, sizeof(first)))
            TRY(slot_fill(f, i, e));
    }
    return ops_queue_wait(f->ops, f->q, e);
}

static enum status store_fill(struct weights *w, const struct made_up *how,
                              struct err *e)
{
    struct fill f = {.w = w, .ops = w->ops, .seed = how->seed};
    size_t bytes = w->policy.quant == QUANT_NONE ? 1 : TILE_ELEMENTS * sizeof(float);
    enum status st;
    void *tile;

    TRY(ops_mem_alloc(w->ops, bytes, &tile, e));
    f.tile = tensor_make1(tile, DT_F32, ops_facts(w->ops)->space, TILE_ELEMENTS);
    st = ops_queue_open(w->ops, NULL, 0, &f.q, e);
    if (st == ST_OK)
        st = slots_fill(&f, how->share_blocks, e);
    ops_queue_close(w->ops, f.q);
    ops_mem_free(w->ops, tile);
    return st;
}

static enum status memory_get(struct weights *w, struct ops *ops, struct err *e)
{
    size_t left = memory_available();

    if (ops_facts(ops)->space == MEM_HOST && w->bytes > left)
        return err_set(e, ST_RESOURCE,
                       "made-up weights of the %s need %.1f GiB, %.1f GiB are free",
                       w->label, (double)w->bytes / (1 << 30),
                       (double)left / (1 << 30));
    w->ops = ops;
    return ops_mem_alloc(ops, w->bytes ? w->bytes : 1, &w->memory, e);
}

enum status weights_make_up(const struct expect_list *list, const char *label,
                            const struct weights_policy *policy,
                            const struct made_up *how, struct ops *ops,
                            struct weights **out, struct err *e)
{
    struct weights *w;
    enum status st;

    TRY(list_plan(list, label, policy, how->stored, &w, e));
    if (how->share_blocks)
        blocks_share(w);
    TRY_GOTO(st, memory_get(w, ops, e), err_close);
    weights_views_settle(w);
    TRY_GOTO(st, store_fill(w, how, e), err_close);
    *out = w;
    return ST_OK;

err_close:
    weights_close(w);
    return st;
}

/* ---- files ----------------------------------------------------------------------- */

static int64_t count_of(const struct expected *x)
{
    int64_t n = 1;

    for (int i = 0; i < x->rank; i++)
        n *= x->dims[i];
    return n;
}

/* The first n numbers of a tensor's stream. */
static void numbers_draw(const struct made_up *how, int i,
                         const struct spread_of *spread, char *data, int64_t n)
{
    float v[1024];

    for (int64_t at = 0; at < n; at += 1024) {
        size_t count = (size_t)(n - at < 1024 ? n - at : 1024);

        noise_philox(how->seed, (uint64_t)i, (uint64_t)at, count, v);
        for (size_t k = 0; k < count; k++)
            v[k] = spread->mean + spread->std * v[k];
        dtype_convert(data + (size_t)at * dtype_bytes(how->stored), how->stored, v,
                      DT_F32, count);
    }
}

static enum status item_make(const struct expected *x, const struct made_up *how, int i,
                             struct safetensors_item *out, struct err *e)
{
    int64_t n = count_of(x);
    struct spread_of spread = spread_of(x->name, x->rank, n, x->dims[0]);
    int64_t drawn = how->drawn > 0 && how->drawn < n ? how->drawn : n, count;
    size_t width = dtype_bytes(how->stored);
    char *data = malloc((size_t)n * width + 1);

    if (!data)
        return err_set(e, ST_RESOURCE, "out of memory: %lld made-up numbers",
                       (long long)n);
    numbers_draw(how, i, &spread, data, drawn);
    for (int64_t at = drawn; at < n; at += count) {
        count = n - at < drawn ? n - at : drawn;
        memcpy(data + (size_t)at * width, data, (size_t)count * width);
    }
    *out = (struct safetensors_item){x->name, how->stored, x->rank, x->dims, data};
    return ST_OK;
}

enum status made_up_write(const struct expect_list *list, const struct made_up *how,
                          const char *path, struct err *e)
{
    struct safetensors_item *items = calloc((size_t)list->n + 1, sizeof(*items));
    enum status st = ST_OK;
    int n = 0;

    if (!items || list->failed) {
        free(items);
        return err_set(e, ST_RESOURCE, "out of memory: %d made-up tensors", list->n);
    }
    for (; n < list->n && st == ST_OK; n++)
        st = item_make(&list->items[n], how, n, &items[n], e);
    if (st == ST_OK)
        st = safetensors_write(path, items, n, NULL, e);
    for (int i = 0; i < n; i++)
        free((void *)(uintptr_t)items[i].data);
    free(items);
    return st;
}
