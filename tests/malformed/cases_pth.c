/* cases_pth.c - zip files that lie: directories, names, methods, overlaps */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/malformed/harness.h"

/* Offsets of fields in the records of a zip file. */
enum {
    L_FLAGS = 6,
    L_METHOD = 8,
    L_PACKED = 18,
    L_SIZE = 22,
    L_NAME = 26,
    L_EXTRA = 28
};
enum {
    C_FLAGS = 8,
    C_METHOD = 10,
    C_CHECKSUM = 16,
    C_PACKED = 20,
    C_SIZE = 24,
    C_NAME = 28,
    C_EXTRA = 30,
    C_COMMENT = 32,
    C_OFFSET = 42
};
enum {
    E_DISK = 4,
    E_FIRST_DISK = 6,
    E_HERE = 8,
    E_ALL = 10,
    E_SIZE = 12,
    E_OFFSET = 16,
    E_COMMENT = 20
};

static const struct {
    const char *name;
    char record; /* L, C: of entry `entry`; B: both of them; E */
    int entry, field, width;
    unsigned long long value;
    const char *reason;
} fields[] = {
    {"local signature", 'L', 0, 0, 4, 0, "must"},
    {"local signature of the second", 'L', 1, 0, 4, 0, "as a zip file"},
    {"central signature", 'C', 0, 0, 4, 0, "as a zip file"},
    {"central signature of the last", 'C', 3, 0, 4, 0, "as a zip file"},
    {"end signature", 'E', 0, 0, 4, 0, "as a zip file"},
    {"deflated by the directory", 'C', 2, C_METHOD, 2, 8, NULL},
    {"unknown method", 'C', 2, C_METHOD, 2, 77, NULL},
    {"flag of encryption", 'C', 0, C_FLAGS, 2, 1, NULL},
    {"flag of strong encryption", 'C', 0, C_FLAGS, 2, 0x41, NULL},
    {"size too large", 'C', 2, C_SIZE, 4, 25, NULL},
    {"packed size too large", 'C', 2, C_PACKED, 4, 25, NULL},
    {"size 2^32-1", 'C', 2, C_SIZE, 4, 0xffffffff, "as a zip file"},
    {"packed size 2^32-1", 'C', 2, C_PACKED, 4, 0xffffffff, "as a zip file"},
    {"offset 2^32-1", 'C', 2, C_OFFSET, 4, 0xffffffff, "as a zip file"},
    {"offset past the end", 'C', 2, C_OFFSET, 4, 0x7fffffff, "as a zip file"},
    {"offset of another entry", 'C', 2, C_OFFSET, 4, 0, "as a zip file"},
    {"offset one off", 'C', 0, C_OFFSET, 4, 1, "as a zip file"},
    {"offset into the directory", 'C', 2, C_OFFSET, 4, 500, "as a zip file"},
    {"name too long", 'C', 3, C_NAME, 2, 0xffff, "as a zip file"},
    {"name of nothing", 'C', 0, C_NAME, 2, 0, NULL},
    {"extra too long", 'C', 3, C_EXTRA, 2, 0xffff, "as a zip file"},
    {"extra of one byte", 'C', 0, C_EXTRA, 2, 1, "as a zip file"},
    {"comment too long", 'C', 3, C_COMMENT, 2, 0xffff, "as a zip file"},
    {"local extra past the end", 'L', 3, L_EXTRA, 2, 0xffff, NULL},
    {"local extra over the next", 'L', 2, L_EXTRA, 2, 40, NULL},
    {"local name too long", 'L', 0, L_NAME, 2, 200, "as a zip file"},
    {"local method", 'L', 2, L_METHOD, 2, 8, "as a zip file"},
    {"local size", 'L', 2, L_SIZE, 4, 23, "as a zip file"},
    {"local packed size", 'L', 2, L_PACKED, 4, 23, "as a zip file"},
    {"deflated", 'B', 2, -1, 2, 8, "is compressed, must be stored"},
    {"bzip2", 'B', 2, -1, 2, 12, "is compressed, must be stored"},
    {"lzma", 'B', 2, -1, 2, 14, "is compressed, must be stored"},
    {"zstd", 'B', 2, -1, 2, 93, "is compressed, must be stored"},
    {"deflated pickle", 'B', 0, -1, 2, 8, "is compressed, must be stored"},
    {"encrypted", 'B', 2, -2, 2, 1, "is encrypted"},
    {"encrypted pickle", 'B', 0, -2, 2, 1, "is encrypted"},
    {"end: disk", 'E', 0, E_DISK, 2, 1, "as a zip file"},
    {"end: first disk", 'E', 0, E_FIRST_DISK, 2, 1, "as a zip file"},
    {"end: no entries", 'E', 0, E_HERE, 4, 0, NULL},
    {"end: an entry less", 'E', 0, E_HERE, 4, 0x00030003, "as a zip file"},
    {"end: an entry more", 'E', 0, E_HERE, 4, 0x00050005, "as a zip file"},
    {"end: two counts", 'E', 0, E_ALL, 2, 5, "as a zip file"},
    {"end: 65535 entries", 'E', 0, E_HERE, 4, 0xffffffff, "as a zip file"},
    {"end: directory too large", 'E', 0, E_SIZE, 4, 0x7fffffff, "as a zip file"},
    {"end: directory 2^32-1", 'E', 0, E_SIZE, 4, 0xffffffff, "as a zip file"},
    {"end: directory of nothing", 'E', 0, E_SIZE, 4, 0, "as a zip file"},
    {"end: directory one short", 'E', 0, E_SIZE, 4, 1, "as a zip file"},
    {"end: offset past the end", 'E', 0, E_OFFSET, 4, 0x7fffffff, "as a zip file"},
    {"end: offset 2^32-1", 'E', 0, E_OFFSET, 4, 0xffffffff, "as a zip file"},
    {"end: offset 0", 'E', 0, E_OFFSET, 4, 0, "as a zip file"},
    {"end: comment too long", 'E', 0, E_COMMENT, 2, 100, "as a zip file"},
};

static void finish(struct zip_made *z, const char *name, const char *reason)
{
    bad(BAD_PTH, name, z->bytes.data, z->bytes.len, reason);
    buf_release(&z->bytes);
}

static void cases_fields(void)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        int f = fields[i].field, w = fields[i].width, k = fields[i].entry;
        struct zip_made z;

        pth_make(&z, good_pickle, good_pickle_bytes);
        switch (fields[i].record) {
        case 'L':
            zip_field(&z, z.local[k], f, w, fields[i].value);
            break;
        case 'C':
            zip_field(&z, z.central[k], f, w, fields[i].value);
            break;
        case 'E':
            zip_field(&z, z.end, f, w, fields[i].value);
            break;
        default: /* both; -1: method, -2: flags */
            zip_field(&z, z.local[k], f == -1 ? L_METHOD : L_FLAGS, w, fields[i].value);
            zip_field(&z, z.central[k], f == -1 ? C_METHOD : C_FLAGS, w,
                      fields[i].value);
        }
        finish(&z, fields[i].name,
               i == 0 ? NULL /* no zip any more: another reader's words */
                      : fields[i].reason);
    }
}

/* The pickle and its storage under other names. */
static const struct {
    const char *name, *pickle, *storage, *reason;
} layouts[] = {
    {"pickle at the top", "data.pkl", "data/0", "without data.pkl"},
    {"pickle too deep", "m/n/data.pkl", "m/n/data/0", "without data.pkl"},
    {"pickle in capitals", "m/DATA.PKL", "m/data/0", "without data.pkl"},
    {"storage elsewhere", "m/data.pkl", "n/data/0", "'m/data/0', which is missing"},
    {"storage at the top", "m/data.pkl", "data/0", "'m/data/0', which is missing"},
    {"name above", "../data.pkl", "../data/0", "'../data.pkl' is not allowed"},
    {"name absolute", "/m/data.pkl", "/m/data/0", "'/m/data.pkl' is not allowed"},
    {"name there and back", "m/../data.pkl", "m/data/0", "is not allowed"},
    {"name with backslash", "m\\data.pkl", "m/data/0", "is not allowed"},
    {"name with a drive", "C:/data.pkl", "m/data/0", "is not allowed"},
    {"name with escape", "\x1b[2J/data.pkl", "m/data/0", "is not allowed"},
    {"storage above", "m/data.pkl", "m/data/../../0", "is not allowed"},
    {"two pickles", "m/data.pkl", "n/data.pkl", "two pickles"},
    {"equal names", "m/data.pkl", "m/data.pkl", NULL},
};

static void cases_layout(void)
{
    static const char data[24] = "24 bytes of six floats.";
    struct zip_made z;

    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        const struct zip_part parts[] = {
            {layouts[i].pickle, good_pickle, good_pickle_bytes},
            {layouts[i].storage, data, sizeof(data)},
        };

        zip_make(&z, parts, 2);
        finish(&z, layouts[i].name, layouts[i].reason);
    }
    for (int size = 23; size <= 23; size++) {
        const struct zip_part parts[] = {
            {"m/data.pkl", good_pickle, good_pickle_bytes},
            {"m/data/0", data, (size_t)size},
        };

        zip_make(&z, parts, 2);
        finish(&z, "storage of 23 bytes", "has 23 bytes, data.pkl says 24");
    }
}

static void cases_byteorder(void)
{
    static const char *const orders[] = {"big", "", "little\n", "Little",
                                         "littlelittlelittle"};
    static const char data[24] = "24 bytes of six floats.";

    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        const struct zip_part parts[] = {
            {"m/data.pkl", good_pickle, good_pickle_bytes},
            {"m/byteorder", orders[i], strlen(orders[i])},
            {"m/data/0", data, sizeof(data)},
        };
        struct zip_made z;
        char name[64];

        zip_make(&z, parts, 3);
        snprintf(name, sizeof(name), "byteorder %zu", i);
        finish(&z, name, "must be 'little'");
    }
}

/* Storage 0 holds a whole entry "m/data/1" of its own: both are right by themselves,
 * and the second lies inside the first. */
static void case_nested(void)
{
    static const char floats[24] = "24 bytes of six floats.";
    const struct zip_part inner_part = {"m/data/1", floats, sizeof(floats)};
    struct zip_made inner, outer;
    struct zip_part parts[3] = {{"m/data.pkl", good_pickle, good_pickle_bytes}};

    zip_make(&inner, &inner_part, 1);
    parts[1] = (struct zip_part){"m/data/0", inner.bytes.data, inner.central[0]};
    parts[2] = inner_part;
    zip_make(&outer, parts, 3);
    /* the third entry's local record is the one inside the second's data */
    zip_field(&outer, outer.central[2], C_OFFSET, 4,
              outer.local[1] + 30 + strlen(parts[1].name));
    bad(BAD_PTH, "an entry inside another", outer.bytes.data, outer.bytes.len,
        "overlaps another");
    buf_release(&inner.bytes);
    buf_release(&outer.bytes);
}

static void cases_cut(void)
{
    struct zip_made z;
    char name[32];

    pth_make(&z, good_pickle, good_pickle_bytes);
    bad_status(BAD_PTH, "valid", z.bytes.data, z.bytes.len, ST_OK, NULL);
    for (size_t n = 4; n < z.bytes.len; n += 13) {
        snprintf(name, sizeof(name), "cut to %zu bytes", n);
        bad(BAD_PTH, name, z.bytes.data, n, NULL);
    }
    buf_adds(&z.bytes, "something follows");
    finish(&z, "bytes after the end", "as a zip file");
}

/* A directory of `n` records for the same entry: what libzip would hold in memory. */
static void case_many(const char *name, int n, const char *reason)
{
    struct zip_made z;
    struct buf b = BUF_INIT;
    size_t record;

    pth_make(&z, good_pickle, good_pickle_bytes);
    record = z.central[1] - z.central[0];
    buf_add(&b, z.bytes.data, z.central[0]);
    for (int i = 0; i < n; i++)
        buf_add(&b, z.bytes.data + z.central[0], record);
    buf_add(&b, z.bytes.data + z.end, z.bytes.len - z.end);
    buf_release(&z.bytes);
    z.bytes = b;
    z.end = b.len - 22;
    zip_field(&z, z.end, E_HERE, 2, (unsigned)n & 0xffff);
    zip_field(&z, z.end, E_ALL, 2, (unsigned)n & 0xffff);
    zip_field(&z, z.end, E_SIZE, 4, record * (unsigned)n);
    finish(&z, name, reason);
}

/* A ZIP64 end that declares 2^60 entries in a directory of nothing. */
static void case_zip64(const char *name, unsigned long long entries,
                       unsigned long long size, unsigned long long offset)
{
    struct zip_made z;
    struct buf b = BUF_INIT;
    char end64[56] = "PK\x06\x06\x2c", locator[20] = "PK\x06\x07";
    struct zip_made e = {.bytes = BUF_INIT};

    pth_make(&z, good_pickle, good_pickle_bytes);
    buf_add(&b, z.bytes.data, z.end);
    e.bytes.data = end64;
    zip_field(&e, 0, 24, 8, entries);
    zip_field(&e, 0, 32, 8, entries);
    zip_field(&e, 0, 40, 8, size);
    zip_field(&e, 0, 48, 8, offset);
    buf_add(&b, end64, sizeof(end64));
    e.bytes.data = locator;
    zip_field(&e, 0, 8, 8, z.end);
    zip_field(&e, 0, 16, 4, 1);
    buf_add(&b, locator, sizeof(locator));
    buf_add(&b, z.bytes.data + z.end, 22);
    buf_release(&z.bytes);
    z.bytes = b;
    z.end = b.len - 22;
    zip_field(&z, z.end, E_HERE, 4, 0xffffffff);
    zip_field(&z, z.end, E_SIZE, 4, 0xffffffff);
    zip_field(&z, z.end, E_OFFSET, 4, 0xffffffff);
    finish(&z, name, NULL);
}

void cases_pth(void)
{
    struct zip_made z;

    cases_fields();
    cases_layout();
    cases_byteorder();
    case_nested();
    cases_cut();
    case_many("a directory of 60000", 60000, "as a zip file");
    case_many("a directory of 130000", 130000, "as a zip file");
    case_zip64("zip64: 2^60 entries", 1ULL << 60, 46ULL << 60, 0);
    case_zip64("zip64: 10^9 entries", 1000000000, 46000000000ULL, 0);
    case_zip64("zip64: 10^6 entries of nothing", 1000000, 46000000, 0);
    case_zip64("zip64: offset 2^63", 4, 200, 1ULL << 63);
    case_zip64("zip64: size 2^64-1", 4, ~0ULL, 0);
    zip_make(&z, NULL, 0);
    finish(&z, "a zip of nothing", NULL);
}
