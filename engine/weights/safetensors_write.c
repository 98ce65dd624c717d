/* safetensors_write.c - writes a safetensors file from tensors in memory */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/safetensors.h"
#include "kernels/base/buf.h"

static int layout_order(const void *a, const void *b)
{
    const struct safetensors_item *x = *(const struct safetensors_item *const *)a;
    const struct safetensors_item *y = *(const struct safetensors_item *const *)b;
    size_t bx = dtype_bytes(x->dtype), by = dtype_bytes(y->dtype);

    if (bx != by)
        return bx > by ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int64_t item_bytes(const struct safetensors_item *it)
{
    int64_t elements = 0, bytes = 0;

    (void)stored_size(it->dtype, it->rank, it->dims, &elements, &bytes);
    return bytes;
}

/* The header text, padded with spaces so that 8 + its length is a multiple of 8. */
static void header_text(const struct safetensors_item *const *sorted, int n,
                        const char *const *metadata, struct buf *b)
{
    struct json_out o;
    int64_t at = 0;

    json_out_init(&o, b, JSON_COMPACT);
    json_out_object(&o, NULL);
    if (metadata) {
        json_out_object(&o, "__metadata__");
        for (; metadata[0]; metadata += 2)
            json_out_string(&o, metadata[0], metadata[1]);
        json_out_end(&o);
    }
    for (int i = 0; i < n; i++) {
        const struct safetensors_item *it = sorted[i];

        json_out_object(&o, it->name);
        json_out_string(&o, "dtype", dtype_name(it->dtype));
        json_out_array(&o, "shape");
        for (int k = 0; k < it->rank; k++)
            json_out_int(&o, NULL, it->dims[k]);
        json_out_end(&o);
        json_out_array(&o, "data_offsets");
        json_out_int(&o, NULL, at);
        at += item_bytes(it);
        json_out_int(&o, NULL, at);
        json_out_end(&o);
        json_out_end(&o);
    }
    json_out_end(&o);
    while (b->len % 8 && !b->failed)
        buf_adds(b, " ");
}

static enum status items_write(FILE *f, const char *path, const struct buf *header,
                               const struct safetensors_item *const *sorted, int n,
                               struct err *e)
{
    unsigned char len[8];
    bool ok;

    for (int i = 0; i < 8; i++)
        len[i] = (unsigned char)((uint64_t)header->len >> (8 * i));
    ok = fwrite(len, 1, 8, f) == 8 &&
         fwrite(header->data, 1, header->len, f) == header->len;
    for (int i = 0; ok && i < n; i++) {
        size_t bytes = (size_t)item_bytes(sorted[i]);

        ok = bytes == 0 || fwrite(sorted[i]->data, 1, bytes, f) == bytes;
    }
    if (!ok)
        return err_set(e, ST_RESOURCE, "cannot write '%s': %s", path, strerror(errno));
    return ST_OK;
}

enum status safetensors_write(const char *path, const struct safetensors_item *items,
                              int n, const char *const *metadata, struct err *e)
{
    const struct safetensors_item **sorted = malloc(((size_t)n + 1) * sizeof(*sorted));
    struct buf header = BUF_INIT;
    enum status st = ST_OK;
    FILE *f = NULL;

    if (!sorted)
        return err_set(e, ST_RESOURCE, "cannot write '%s': out of memory", path);
    for (int i = 0; i < n; i++)
        sorted[i] = &items[i];
    qsort(sorted, (size_t)n, sizeof(*sorted), layout_order);
    header_text(sorted, n, metadata, &header);
    if (header.failed)
        st = err_set(e, ST_RESOURCE, "cannot write '%s': out of memory", path);
    if (st == ST_OK && !(f = fopen(path, "wbe")))
        st = err_set(e, ST_RESOURCE, "cannot create '%s': %s", path, strerror(errno));
    if (st == ST_OK)
        st = items_write(f, path, &header, sorted, n, e);
    if (f && fclose(f) != 0 && st == ST_OK)
        st = err_set(e, ST_RESOURCE, "cannot write '%s': %s", path, strerror(errno));
    buf_release(&header);
    free(sorted);
    return st;
}
