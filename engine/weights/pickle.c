/* pickle.c - the operations of the pickle interpreter
 *
 * One table maps an opcode to its handler. Handlers read their argument from the text,
 * take values from the stack and push one; a handler that finds something unexpected
 * fails with the byte offset of the operation.
 */
#include "engine/weights/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "engine/weights/pickle_value.h"
#include "kernels/base/utf8.h"

enum { STACK_MAX = 262144, STRING_MAX = 4096, GLOBAL_MAX = 128 };

struct machine {
    const char *path;
    const unsigned char *begin, *p, *end;
    const unsigned char *op; /* of the operation that runs */
    struct pool pool;
    struct value **stack;
    int depth, stack_cap;
    struct value **memo;
    int memo_cap;
    bool stopped;
    struct err *e;
};

static enum status fail(const struct machine *m, const char *what)
{
    return err_set(m->e, ST_INPUT, "'%s': data.pkl: %s at byte %zu", m->path, what,
                   (size_t)(m->op - m->begin));
}

/* ---- text, stack, values -------------------------------------------------------- */

static enum status take(struct machine *m, size_t n, const unsigned char **out)
{
    if ((size_t)(m->end - m->p) < n)
        return fail(m, "the pickle ends inside an operation");
    *out = m->p;
    m->p += n;
    return ST_OK;
}

static enum status take_u32(struct machine *m, uint32_t *out)
{
    const unsigned char *b;

    TRY(take(m, 4, &b));
    *out = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
           (uint32_t)b[3] << 24;
    return ST_OK;
}

/* Make room for index `need` in an array of value pointers, zeroing the new part. */
static enum status grow(struct machine *m, struct value ***array, int *cap, int need)
{
    int wanted = *cap ? *cap : 256;
    struct value **a;

    if (need >= STACK_MAX)
        return fail(m, "more than 262144 stack or memo entries");
    if (need < *cap)
        return ST_OK;
    while (wanted <= need)
        wanted *= 2;
    a = realloc(*array, (size_t)wanted * sizeof(*a));
    if (!a)
        return err_set(m->e, ST_RESOURCE, "cannot read '%s': out of memory", m->path);
    memset(a + *cap, 0, (size_t)(wanted - *cap) * sizeof(*a));
    *array = a;
    *cap = wanted;
    return ST_OK;
}

static enum status push(struct machine *m, struct value *v)
{
    if (!v)
        return fail(m, "the values need more than 24 MiB of memory");
    TRY(grow(m, &m->stack, &m->stack_cap, m->depth));
    m->stack[m->depth++] = v;
    return ST_OK;
}

/* The top value, which must not be a mark. */
static enum status pop(struct machine *m, struct value **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == V_MARK)
        return fail(m, "the stack is empty");
    *out = m->stack[--m->depth];
    return ST_OK;
}

static enum status pop_kind(struct machine *m, enum value_kind kind, const char *what,
                            struct value **out)
{
    TRY(pop(m, out));
    return (*out)->kind == kind ? ST_OK : fail(m, what);
}

/* The values above the last mark; the mark goes too. They stay valid until a push. */
static enum status pop_mark(struct machine *m, struct value ***items, int *n)
{
    int at = m->depth;

    while (at > 0 && m->stack[at - 1]->kind != V_MARK)
        at--;
    if (at == 0)
        return fail(m, "no mark on the stack");
    *items = m->stack + at;
    *n = m->depth - at;
    m->depth = at - 1;
    return ST_OK;
}

static enum status push_int(struct machine *m, int64_t n)
{
    struct value *v = value_create(&m->pool, V_INT);

    if (v)
        v->number = n;
    return push(m, v);
}

/* ---- operations ----------------------------------------------------------------- */

static enum status op_proto(struct machine *m)
{
    const unsigned char *b;

    TRY(take(m, 1, &b));
    if (m->op != m->begin || *b != 2)
        return fail(m, "only protocol 2 is read");
    return ST_OK;
}

static enum status op_stop(struct machine *m)
{
    m->stopped = true;
    return m->p == m->end ? ST_OK : fail(m, "bytes after STOP");
}

static enum status op_mark(struct machine *m)
{
    return push(m, value_create(&m->pool, V_MARK));
}

static enum status op_none(struct machine *m)
{
    return push(m, value_create(&m->pool, V_NONE));
}

static enum status op_bool(struct machine *m)
{
    struct value *v = value_create(&m->pool, V_BOOL);

    if (v)
        v->number = *m->op == 0x88;
    return push(m, v);
}

static enum status op_int(struct machine *m)
{
    const unsigned char *b;
    uint32_t u;

    switch (*m->op) {
    case 'K':
        TRY(take(m, 1, &b));
        return push_int(m, b[0]);
    case 'M':
        TRY(take(m, 2, &b));
        return push_int(m, b[0] | b[1] << 8);
    default:
        TRY(take_u32(m, &u));
        return push_int(m, (int32_t)u);
    }
}

/* LONG1: a count, then that many bytes of a little-endian two's complement number. */
static enum status op_long(struct machine *m)
{
    const unsigned char *b;
    uint64_t u = 0;
    size_t n;

    TRY(take(m, 1, &b));
    n = *b;
    if (n > 8)
        return fail(m, "an integer of more than 64 bits");
    TRY(take(m, n, &b));
    for (size_t i = 0; i < 8; i++) {
        unsigned char fill = n && (b[n - 1] & 0x80) ? 0xff : 0;

        u |= (uint64_t)(i < n ? b[i] : fill) << (8 * i);
    }
    return push_int(m, (int64_t)u);
}

static enum status op_float(struct machine *m)
{
    const unsigned char *b;

    TRY(take(m, 8, &b));
    return push(m, value_create(&m->pool, V_FLOAT));
}

static enum status op_string(struct machine *m)
{
    const unsigned char *b;
    uint32_t n;

    if (*m->op == 'U') {
        TRY(take(m, 1, &b));
        n = *b;
    } else {
        TRY(take_u32(m, &n));
    }
    if (n > STRING_MAX)
        return fail(m, "a string of more than 4096 bytes");
    TRY(take(m, n, &b));
    if (utf8_valid_bytes((const char *)b, n) < n || memchr(b, 0, n))
        return fail(m, "a string that is not text");
    return push(m, value_string(&m->pool, (const char *)b, n));
}

static enum status take_line(struct machine *m, char *out, size_t *used)
{
    while (m->p < m->end && *m->p != '\n') {
        if (*used + 1 >= GLOBAL_MAX)
            return fail(m, "a name of more than 128 bytes");
        out[(*used)++] = (char)*m->p++;
    }
    if (m->p == m->end)
        return fail(m, "the pickle ends inside an operation");
    m->p++;
    out[*used] = '\0';
    return ST_OK;
}

/* GLOBAL: "module\nname\n", on the list or refused by its name. */
static enum status op_global(struct machine *m)
{
    char name[GLOBAL_MAX + 1];
    size_t used = 0, module;
    const struct global *g;
    struct value *v;

    TRY(take_line(m, name, &used));
    module = used;
    name[used++] = '.';
    TRY(take_line(m, name, &used));
    g = strchr(name + module + 1, '.') ? NULL : global_find(name);
    if (!g)
        return err_set(
            m->e, ST_INPUT,
            "'%s': data.pkl wants '%s', which is not on the list of what may "
            "be in a file of weights",
            m->path, name);
    v = value_create(&m->pool, V_GLOBAL);
    if (v)
        v->global = g;
    return push(m, v);
}

static enum status op_empty(struct machine *m)
{
    enum value_kind kind = *m->op == '}' ? V_DICT : *m->op == ']' ? V_LIST : V_TUPLE;

    return push(m, value_create(&m->pool, kind));
}

static enum status push_tuple(struct machine *m, struct value **items, int n)
{
    struct value *v = value_create(&m->pool, V_TUPLE);

    if (v && !value_extend(&m->pool, v, items, n))
        v = NULL;
    return push(m, v);
}

static enum status op_tuple(struct machine *m)
{
    struct value **items;
    int n;

    TRY(pop_mark(m, &items, &n));
    return push_tuple(m, items, n);
}

static enum status op_tuple_n(struct machine *m)
{
    struct value *items[3];
    int n = *m->op - 0x84;

    for (int i = n - 1; i >= 0; i--)
        TRY(pop(m, &items[i]));
    return push_tuple(m, items, n);
}

static enum status op_put(struct machine *m)
{
    const unsigned char *b;
    uint32_t i;

    if (*m->op == 'q') {
        TRY(take(m, 1, &b));
        i = *b;
    } else {
        TRY(take_u32(m, &i));
    }
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == V_MARK)
        return fail(m, "the stack is empty");
    TRY(grow(m, &m->memo, &m->memo_cap, i < STACK_MAX ? (int)i : STACK_MAX));
    m->memo[i] = m->stack[m->depth - 1];
    return ST_OK;
}

static enum status op_get(struct machine *m)
{
    const unsigned char *b;
    uint32_t i;

    if (*m->op == 'h') {
        TRY(take(m, 1, &b));
        i = *b;
    } else {
        TRY(take_u32(m, &i));
    }
    if (i >= (uint32_t)m->memo_cap || !m->memo[i])
        return fail(m, "a memo entry that was never written");
    return push(m, m->memo[i]);
}

static enum status op_persid(struct machine *m)
{
    struct value *id, *v;
    const char *why = NULL;

    TRY(pop_kind(m, V_TUPLE, "a storage that is not described by a tuple", &id));
    v = value_storage(&m->pool, id, &why);
    return why ? fail(m, why) : push(m, v);
}

static enum status op_reduce(struct machine *m)
{
    struct value *args, *callee, *v;
    const char *why = NULL;

    TRY(pop_kind(m, V_TUPLE, "REDUCE without a tuple of arguments", &args));
    TRY(pop_kind(m, V_GLOBAL, "REDUCE of something that is not a name", &callee));
    v = value_reduce(&m->pool, callee->global, args, &why);
    return why ? fail(m, why) : push(m, v);
}

/* The container under the popped values. */
static enum status top_kind(struct machine *m, enum value_kind kind, const char *what,
                            struct value **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind != kind)
        return fail(m, what);
    *out = m->stack[m->depth - 1];
    return ST_OK;
}

static enum status extend_top(struct machine *m, enum value_kind kind,
                              struct value **items, int n)
{
    struct value *v;

    TRY(top_kind(m, kind,
                 kind == V_DICT ? "items for something that is not a dict"
                                : "items for something that is not a list",
                 &v));
    if (kind == V_DICT && n % 2)
        return fail(m, "a key without a value");
    return value_extend(&m->pool, v, items, n)
               ? ST_OK
               : fail(m, "the values need more than 24 MiB of memory");
}

static enum status op_setitem(struct machine *m)
{
    struct value *items[2];

    TRY(pop(m, &items[1]));
    TRY(pop(m, &items[0]));
    return extend_top(m, V_DICT, items, 2);
}

static enum status op_append(struct machine *m)
{
    struct value *item;

    TRY(pop(m, &item));
    return extend_top(m, V_LIST, &item, 1);
}

static enum status op_items(struct machine *m)
{
    struct value **items;
    int n;

    TRY(pop_mark(m, &items, &n));
    return extend_top(m, *m->op == 'u' ? V_DICT : V_LIST, items, n);
}

/* BUILD: attributes of the dict ("_metadata"); nothing in them matters. */
static enum status op_build(struct machine *m)
{
    struct value *state, *v;

    TRY(pop_kind(m, V_DICT, "BUILD with something that is not a dict", &state));
    return top_kind(m, V_DICT, "BUILD of something that is not a dict", &v);
}

/* ---- running -------------------------------------------------------------------- */

static const struct operation {
    unsigned char code;
    enum status (*run)(struct machine *m);
} operations[] = {
    {0x80, op_proto},   {'c', op_global},   {'}', op_empty},   {')', op_empty},
    {']', op_empty},    {'(', op_mark},     {'t', op_tuple},   {0x85, op_tuple_n},
    {0x86, op_tuple_n}, {0x87, op_tuple_n}, {'X', op_string},  {'U', op_string},
    {'J', op_int},      {'K', op_int},      {'M', op_int},     {0x8a, op_long},
    {'G', op_float},    {0x88, op_bool},    {0x89, op_bool},   {'N', op_none},
    {'q', op_put},      {'r', op_put},      {'h', op_get},     {'j', op_get},
    {'Q', op_persid},   {'R', op_reduce},   {'s', op_setitem}, {'u', op_items},
    {'a', op_append},   {'e', op_items},    {'b', op_build},   {'.', op_stop},
};

static enum status step(struct machine *m)
{
    m->op = m->p++;
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (operations[i].code == *m->op)
            return operations[i].run(m);
    return err_set(m->e, ST_INPUT,
                   "'%s': data.pkl: operation 0x%02x at byte %zu is not allowed in a "
                   "file of weights",
                   m->path, *m->op, (size_t)(m->op - m->begin));
}

static enum status run(struct machine *m)
{
    if (m->p == m->end || *m->p != 0x80)
        return err_set(m->e, ST_INPUT, "'%s': data.pkl is not a pickle of protocol 2",
                       m->path);
    while (!m->stopped) {
        if (m->p == m->end)
            return err_set(m->e, ST_INPUT, "'%s': data.pkl ends without STOP", m->path);
        TRY(step(m));
    }
    if (m->depth != 1 || m->stack[0]->kind != V_DICT)
        return err_set(m->e, ST_INPUT, "'%s': data.pkl is not one dict of tensors",
                       m->path);
    return ST_OK;
}

enum status pickle_run(const char *path, const void *text, size_t bytes,
                       enum status (*visit)(void *self, const struct pickle_tensor *t,
                                            struct err *e),
                       void *self, struct err *e)
{
    struct machine m = {.path = path,
                        .begin = text,
                        .p = text,
                        .end = (const unsigned char *)text + bytes,
                        .e = e};
    enum status st = run(&m);

    for (int i = 0; st == ST_OK && i < m.stack[0]->n; i += 2) {
        struct pickle_tensor t;

        st = value_tensor(m.stack[0]->items[i], m.stack[0]->items[i + 1], path, &t, e);
        if (st == ST_OK)
            st = visit(self, &t, e);
    }
    pool_release(&m.pool);
    free(m.stack);
    free(m.memo);
    return st;
}
