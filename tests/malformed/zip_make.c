/* zip_make.c - makes zip files of stored entries, right ones that cases then spoil */
#include <string.h>

#include "tests/malformed/harness.h"

const char good_pickle[] = "\x80\x02}X\x01\0\0\0"
                           "actorch._utils\n_rebuild_tensor_v2\n"
                           "((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
                           "0X\x03\0\0\0cpuK\x06tQ"
                           "K\0K\x02K\x03\x86K\x03K\x01\x86\x89"
                           "ccollections\nOrderedDict\n)RtRs.";
const size_t good_pickle_bytes = sizeof(good_pickle) - 1;

static void put(struct buf *b, int width, unsigned long long value)
{
    for (int i = 0; i < width; i++) {
        char c = (char)(value >> (8 * i));

        buf_add(b, &c, 1);
    }
}

/* Version to checksum: the part that local and central records share. */
static void put_common(struct buf *b, const struct zip_part *p)
{
    put(b, 2, 20);
    put(b, 2, 0);  /* flags */
    put(b, 2, 0);  /* stored */
    put(b, 2, 0);  /* time */
    put(b, 2, 33); /* 1 January 1980 */
    put(b, 4, 0);  /* checksum; nobody reads it */
    put(b, 4, p->bytes);
    put(b, 4, p->bytes);
    put(b, 2, strlen(p->name));
    put(b, 2, 0); /* extra */
}

void zip_make(struct zip_made *z, const struct zip_part *parts, int n)
{
    struct buf *b = &z->bytes;

    memset(z, 0, sizeof(*z));
    for (int i = 0; i < n; i++) {
        z->local[i] = b->len;
        put(b, 4, 0x04034b50);
        put_common(b, &parts[i]);
        buf_adds(b, parts[i].name);
        buf_add(b, parts[i].data, parts[i].bytes);
    }
    for (int i = 0; i < n; i++) {
        z->central[i] = b->len;
        put(b, 4, 0x02014b50);
        put(b, 2, 20);
        put_common(b, &parts[i]);
        put(b, 2, 0); /* comment */
        put(b, 2, 0); /* disk */
        put(b, 2, 0);
        put(b, 4, 0);
        put(b, 4, z->local[i]);
        buf_adds(b, parts[i].name);
    }
    z->end = b->len;
    z->central_bytes = z->end - (n ? z->central[0] : z->end);
    put(b, 4, 0x06054b50);
    put(b, 2, 0);
    put(b, 2, 0);
    put(b, 2, (unsigned long long)n);
    put(b, 2, (unsigned long long)n);
    put(b, 4, z->central_bytes);
    put(b, 4, z->end - z->central_bytes);
    put(b, 2, 0);
}

void zip_field(struct zip_made *z, size_t record, int field, int width,
               unsigned long long value)
{
    for (int i = 0; i < width; i++)
        z->bytes.data[record + (size_t)field + (size_t)i] = (char)(value >> (8 * i));
}

void pth_make(struct zip_made *z, const void *pickle, size_t bytes)
{
    static const char storage[24] = "24 bytes of six floats.";
    const struct zip_part parts[] = {
        {"m/data.pkl", pickle, bytes},
        {"m/byteorder", "little", 6},
        {"m/data/0", storage, sizeof(storage)},
        {"m/version", "3\n", 2},
    };

    zip_make(z, parts, 4);
}
