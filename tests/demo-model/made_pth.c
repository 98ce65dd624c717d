/* made_pth.c - writes tensors as a PyTorch file
 *
 * A zip of uncompressed entries under one folder: data.pkl, a pickle of protocol 2 that
 * rebuilds an OrderedDict of tensors from storages; data/0, data/1 …, the storages;
 * version and byteorder. One storage per tensor. No memo is needed: everything that
 * occurs twice is short enough to be said twice.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "kernels/base/buf.h"
#include "tests/demo-model/made.h"

enum {
    P_PROTO = 0x80,
    P_GLOBAL = 'c',
    P_EMPTY_TUPLE = ')',
    P_MARK = '(',
    P_TUPLE = 't',
    P_UNICODE = 'X',
    P_INT = 'J',
    P_FALSE = 0x89,
    P_PERSID = 'Q',
    P_REDUCE = 'R',
    P_SETITEMS = 'u',
    P_STOP = '.'
};

static void op(struct buf *b, int code)
{
    const char byte = (char)code;

    buf_add(b, &byte, 1);
}

static void u32(struct buf *b, int64_t v)
{
    for (int i = 0; i < 4; i++)
        op(b, (int)(v >> (8 * i)) & 0xff);
}

static void integer(struct buf *b, int64_t v)
{
    op(b, P_INT);
    u32(b, v);
}

static void text(struct buf *b, const char *s)
{
    op(b, P_UNICODE);
    u32(b, (int64_t)strlen(s));
    buf_adds(b, s);
}

static void global(struct buf *b, const char *module, const char *name)
{
    op(b, P_GLOBAL);
    buf_addf(b, "%s\n%s\n", module, name);
}

/* OrderedDict() */
static void empty_dict(struct buf *b)
{
    global(b, "collections", "OrderedDict");
    op(b, P_EMPTY_TUPLE);
    op(b, P_REDUCE);
}

static void dims_tuple(struct buf *b, int rank, const int64_t *dims, bool strides)
{
    op(b, P_MARK);
    for (int k = 0; k < rank; k++) {
        int64_t stride = 1;

        for (int i = k + 1; i < rank; i++)
            stride *= dims[i];
        integer(b, strides ? stride : dims[k]);
    }
    op(b, P_TUPLE);
}

/* _rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()) */
static void tensor(struct buf *b, enum dtype dt, const struct made_tensor *t, int key)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", key);
    global(b, "torch._utils", "_rebuild_tensor_v2");
    op(b, P_MARK);
    op(b, P_MARK);
    text(b, "storage");
    global(b, "torch", dt == DT_BF16 ? "BFloat16Storage" : "FloatStorage");
    text(b, name);
    text(b, "cpu");
    integer(b, t->count);
    op(b, P_TUPLE);
    op(b, P_PERSID);
    integer(b, 0);
    dims_tuple(b, t->rank, t->dims, false);
    dims_tuple(b, t->rank, t->dims, true);
    op(b, P_FALSE);
    empty_dict(b);
    op(b, P_TUPLE);
    op(b, P_REDUCE);
}

static void state_dict(struct buf *b, const struct made *m)
{
    op(b, P_PROTO);
    op(b, 2);
    empty_dict(b);
    op(b, P_MARK);
    for (int i = 0; i < m->n; i++) {
        text(b, m->list[i].name);
        tensor(b, m->dtype, &m->list[i], i);
    }
    op(b, P_SETITEMS);
    op(b, P_STOP);
}

/* The bytes must live until the archive is closed. The date is a fixed one. */
static bool entry(zip_t *z, const char *name, const void *data, size_t bytes)
{
    zip_source_t *s = zip_source_buffer(z, data, bytes, 0);
    zip_int64_t i = s ? zip_file_add(z, name, s, 0) : -1;

    return i >= 0 &&
           zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_dostime(z, (zip_uint64_t)i, 0, 33, 0) == 0;
}

static bool entries(zip_t *z, const struct made *m, const struct buf *pickle)
{
    bool ok = entry(z, "archive/data.pkl", pickle->data, pickle->len) &&
              entry(z, "archive/byteorder", "little", 6);

    for (int i = 0; ok && i < m->n; i++) {
        char name[32];

        snprintf(name, sizeof(name), "archive/data/%d", i);
        ok = entry(z, name, m->list[i].data,
                   (size_t)m->list[i].count * dtype_bytes(m->dtype));
    }
    return ok && entry(z, "archive/version", "3\n", 2);
}

enum status made_pth(const struct made *m, const char *path, struct err *e)
{
    struct buf pickle = BUF_INIT;
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    bool ok;

    state_dict(&pickle, m);
    ok = z && !pickle.failed && entries(z, m, &pickle);
    if (z && (!ok || zip_close(z) < 0)) {
        zip_discard(z);
        ok = false;
    }
    buf_release(&pickle);
    return ok ? ST_OK : err_set(e, ST_RESOURCE, "cannot write '%s'", path);
}
