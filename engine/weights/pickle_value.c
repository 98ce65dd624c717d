/* pickle_value.c - builds the values of a weights pickle, and checks tensors */
#include "engine/weights/pickle_value.h"

#include <stdlib.h>
#include <string.h>

enum { POOL_BYTES = 24 << 20, CHUNK_BYTES = 64 << 10 };

static const int64_t count_max = INT64_C(1) << 48;

static const struct global globals[] = {
    {"collections.OrderedDict", G_DICT, NULL, -1, 0},
    {"torch.Size", G_SIZE, NULL, -1, 0},
    {"torch._utils._rebuild_tensor", G_TENSOR, NULL, -1, 0},
    {"torch._utils._rebuild_tensor_v2", G_TENSOR_V2, NULL, -1, 0},
    {"torch._utils._rebuild_tensor_v3", G_TENSOR_V3, NULL, -1, 0},
    {"torch._utils._rebuild_parameter", G_PARAMETER, NULL, -1, 0},
    {"torch.FloatStorage", G_STORAGE, "F32", DT_F32, 4},
    {"torch.HalfStorage", G_STORAGE, "F16", DT_F16, 2},
    {"torch.BFloat16Storage", G_STORAGE, "BF16", DT_BF16, 2},
    {"torch.DoubleStorage", G_STORAGE, "F64", DT_F64, 8},
    {"torch.LongStorage", G_STORAGE, "I64", DT_I64, 8},
    {"torch.IntStorage", G_STORAGE, "I32", DT_I32, 4},
    {"torch.ShortStorage", G_STORAGE, "I16", -1, 2},
    {"torch.CharStorage", G_STORAGE, "I8", DT_I8, 1},
    {"torch.ByteStorage", G_STORAGE, "U8", DT_U8, 1},
    {"torch.BoolStorage", G_STORAGE, "BOOL", -1, 1},
    {"torch.storage.UntypedStorage", G_STORAGE, NULL, -1, 1},
    {"torch.float8_e4m3fn", G_DTYPE, "F8_E4M3", DT_E4M3, 1},
    {"torch.float8_e5m2", G_DTYPE, "F8_E5M2", DT_E5M2, 1},
};

const struct global *global_find(const char *name)
{
    for (size_t i = 0; i < sizeof(globals) / sizeof(globals[0]); i++)
        if (strcmp(globals[i].name, name) == 0)
            return &globals[i];
    return NULL;
}

/* ---- pool ----------------------------------------------------------------------- */

struct chunk {
    struct chunk *next;
    size_t bytes;
    _Alignas(16) char data[];
};

static void *pool_cut(struct pool *pool, size_t bytes)
{
    size_t need = (bytes + 15) / 16 * 16;
    struct chunk *c = pool->chunks;

    if (!c || need > c->bytes - pool->used) {
        size_t size = need > CHUNK_BYTES ? need : CHUNK_BYTES;

        if (need > POOL_BYTES || size > POOL_BYTES - pool->total)
            return NULL;
        c = malloc(sizeof(*c) + size);
        if (!c)
            return NULL;
        c->next = pool->chunks;
        c->bytes = size;
        pool->chunks = c;
        pool->used = 0;
        pool->total += size;
    }
    pool->used += need;
    return c->data + pool->used - need;
}

void pool_release(struct pool *pool)
{
    while (pool->chunks) {
        struct chunk *c = pool->chunks;

        pool->chunks = c->next;
        free(c);
    }
}

/* ---- values --------------------------------------------------------------------- */

struct value *value_create(struct pool *pool, enum value_kind kind)
{
    struct value *v = pool_cut(pool, sizeof(*v));

    if (!v)
        return NULL;
    *v = (struct value){.kind = kind};
    return v;
}

struct value *value_string(struct pool *pool, const char *text, size_t bytes)
{
    struct value *v = value_create(pool, V_STRING);
    char *copy = pool_cut(pool, bytes + 1);

    if (!v || !copy)
        return NULL;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    v->string = copy;
    return v;
}

bool value_extend(struct pool *pool, struct value *v, struct value **items, int n)
{
    if (n == 0)
        return true;
    if (n > v->cap - v->n) {
        int cap = v->n + n + (v->kind == V_TUPLE ? 0 : v->n);
        struct value **grown = pool_cut(pool, (size_t)cap * sizeof(*grown));

        if (!grown)
            return false;
        if (v->n)
            memcpy(grown, v->items, (size_t)v->n * sizeof(*grown));
        v->items = grown;
        v->cap = cap;
    }
    memcpy(v->items + v->n, items, (size_t)n * sizeof(*items));
    v->n += n;
    return true;
}

static bool key_ok(const char *key)
{
    size_t n = strlen(key);

    return n > 0 && n <= 20 && strspn(key, "0123456789") == n;
}

struct value *value_storage(struct pool *pool, const struct value *id, const char **why)
{
    struct value *const *a = id->items;
    struct value *v;

    if (id->n != 5 || a[0]->kind != V_STRING || strcmp(a[0]->string, "storage") != 0 ||
        a[1]->kind != V_GLOBAL || a[1]->global->kind != G_STORAGE ||
        a[2]->kind != V_STRING || a[3]->kind != V_STRING || a[4]->kind != V_INT) {
        *why = "a storage with a strange description";
        return NULL;
    }
    if (!key_ok(a[2]->string)) {
        *why = "a storage whose key is not a number";
        return NULL;
    }
    if (a[4]->number < 0 || a[4]->number > count_max) {
        *why = "a storage of impossible size";
        return NULL;
    }
    v = value_create(pool, V_STORAGE);
    if (!v)
        return NULL;
    v->global = a[1]->global;
    v->string = a[2]->string;
    v->number = a[4]->number;
    return v;
}

/* ---- tensors -------------------------------------------------------------------- */

/* Row-major without gaps; axes of one element may have any stride. */
static bool strides_dense(const struct pickle_tensor *t, const struct value *stride)
{
    int64_t expected = 1;

    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dims[i] != 1 && stride->items[i]->number != expected)
            return false;
        expected *= t->dims[i];
    }
    return true;
}

static const char *tensor_shape(struct pickle_tensor *t, const struct value *size,
                                const struct value *stride)
{
    int64_t count = 1;

    if (size->kind != V_TUPLE || stride->kind != V_TUPLE || size->n != stride->n)
        return "a tensor whose size and stride do not match";
    if (size->n > STORED_RANK_MAX)
        return "a tensor of more than 8 axes";
    t->rank = size->n;
    for (int i = 0; i < t->rank; i++) {
        if (size->items[i]->kind != V_INT || stride->items[i]->kind != V_INT ||
            size->items[i]->number < 0 || size->items[i]->number > count_max)
            return "a tensor of impossible size";
        t->dims[i] = size->items[i]->number;
        if (__builtin_mul_overflow(count, t->dims[i], &count) || count > count_max)
            return "a tensor of impossible size";
    }
    if (count > 0 && !strides_dense(t, stride))
        return "a tensor with strides that are not dense";
    t->bytes = count * t->item_bytes;
    return NULL;
}

/* (storage, offset, size, stride …), elements as `type` says. */
static const char *tensor_fill(struct pickle_tensor *t, const struct value *args,
                               const struct global *type)
{
    const struct value *storage = args->items[0], *offset = args->items[1];
    const char *why;

    *t = (struct pickle_tensor){.storage = storage->string,
                                .type = type->type,
                                .dtype = type->dtype,
                                .item_bytes = type->item_bytes,
                                .storage_bytes = storage->number *
                                                 storage->global->item_bytes};
    if (!type->type)
        return "a tensor without an element type";
    if (offset->kind != V_INT || offset->number < 0 || offset->number > count_max)
        return "a tensor with an impossible offset";
    t->offset_bytes = offset->number * t->item_bytes;
    why = tensor_shape(t, args->items[2], args->items[3]);
    if (why)
        return why;
    if (t->offset_bytes > t->storage_bytes ||
        t->bytes > t->storage_bytes - t->offset_bytes)
        return "a tensor larger than its storage";
    return NULL;
}

static struct value *make_tensor(struct pool *pool, const struct global *callee,
                                 struct value *args, const char **why)
{
    bool v3 = callee->kind == G_TENSOR_V3;
    int least = callee->kind == G_TENSOR ? 4 : v3 ? 7 : 6;
    const struct global *type;
    struct value *v;

    if (args->n < least || args->n > (least == 4 ? 4 : least + 1) ||
        args->items[0]->kind != V_STORAGE) {
        *why = "a tensor with strange arguments";
        return NULL;
    }
    if (least > 4 && (args->items[4]->kind != V_BOOL ||
                      args->items[5]->kind != V_DICT || args->items[5]->n != 0)) {
        *why = "a tensor with hooks";
        return NULL;
    }
    type = args->items[0]->global;
    if (v3) {
        if (args->items[6]->kind != V_GLOBAL ||
            args->items[6]->global->kind != G_DTYPE) {
            *why = "a tensor without an element type";
            return NULL;
        }
        type = args->items[6]->global;
    }
    v = value_create(pool, V_TENSOR);
    if (!v)
        return NULL;
    v->tensor = pool_cut(pool, sizeof(*v->tensor));
    if (!v->tensor)
        return NULL;
    *why = tensor_fill(v->tensor, args, type);
    return v;
}

struct value *value_reduce(struct pool *pool, const struct global *callee,
                           struct value *args, const char **why)
{
    switch (callee->kind) {
    case G_DICT:
        if (args->n == 0)
            return value_create(pool, V_DICT);
        *why = "an OrderedDict with arguments";
        return NULL;
    case G_SIZE:
        if (args->n == 1 && args->items[0]->kind == V_TUPLE)
            return args->items[0];
        *why = "a torch.Size with strange arguments";
        return NULL;
    case G_TENSOR:
    case G_TENSOR_V2:
    case G_TENSOR_V3:
        return make_tensor(pool, callee, args, why);
    case G_PARAMETER:
        if (args->n == 3 && args->items[0]->kind == V_TENSOR &&
            args->items[2]->kind == V_DICT && args->items[2]->n == 0)
            return args->items[0];
        *why = "a parameter with strange arguments";
        return NULL;
    default:
        *why = "REDUCE of something that cannot be made";
        return NULL;
    }
}

enum status value_tensor(const struct value *key, const struct value *v,
                         const char *path, struct pickle_tensor *out, struct err *e)
{
    if (key->kind != V_STRING || !key->string[0] ||
        strlen(key->string) > STORED_NAME_BYTES)
        return err_set(e, ST_INPUT,
                       "'%s': data.pkl: a tensor name is not a text of 1 to %d bytes",
                       path, (int)STORED_NAME_BYTES);
    if (v->kind != V_TENSOR)
        return err_set(
            e, ST_INPUT,
            "'%s': data.pkl: '%s' is not a tensor (only flat state dicts are "
            "read)",
            path, key->string);
    if (v->tensor->dtype < 0)
        return err_set(e, ST_INPUT,
                       "'%s': tensor '%s' has elements of type %s, which is not read",
                       path, key->string, v->tensor->type);
    *out = *v->tensor;
    out->name = key->string;
    return ST_OK;
}
