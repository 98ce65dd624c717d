/* fuzz_h5_walk.c - our walk through HDF5 files and our end of the pipe, fuzzed
 *
 * The first byte chooses. Even: the rest is a recipe for a file, built with the library
 * in memory, so that every kind of object, type, shape, layout, filter and link comes
 * in any combination; then it is walked. (Raw bytes would test HDF5's own parser, which
 * is not instrumented and lives in a child process for good reason.) Odd: the rest is
 * what the parent reads from the pipe.
 */
#include <hdf5.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/h5/ids.h"
#include "engine/h5/stream.h"
#include "engine/h5/walk.h"
#include "tests/fuzz/fuzz.h"

enum { ROWS = 4, COLS = 6, COUNT = ROWS * COLS };

struct recipe {
    const uint8_t *at;
    size_t left;
};

static unsigned pick(struct recipe *r, unsigned n)
{
    if (r->left == 0)
        return 0;
    r->left--;
    return *r->at++ % n;
}

/* ---- a file from a recipe -------------------------------------------------------- */

static hid_t some_type(struct recipe *r, struct h5_ids *ids)
{
    hid_t t;

    switch (pick(r, 10)) {
    case 0:
        return H5T_IEEE_F64BE;
    case 1:
        return H5T_STD_I32LE;
    case 2:
        return h5_keep(ids, H5Tvlen_create(H5T_IEEE_F32LE));
    case 3:
        return H5T_STD_REF_OBJ;
    case 4:
        return h5_keep(ids, H5Tarray_create2(H5T_IEEE_F32LE, 1, (hsize_t[]){3}));
    case 5:
        t = h5_keep(ids, H5Tcopy(H5T_C_S1));
        H5Tset_size(t, pick(r, 2) ? H5T_VARIABLE : 1 + pick(r, 40));
        return t;
    case 6:
        t = h5_keep(ids, H5Tcopy(H5T_IEEE_F32LE));
        H5Tset_ebias(t, pick(r, 256));
        H5Tset_precision(t, 16 + pick(r, 17));
        return t;
    default:
        return H5T_IEEE_F32LE;
    }
}

static hid_t some_space(struct recipe *r, struct h5_ids *ids)
{
    hsize_t dims[3] = {ROWS, COLS, 1 + pick(r, 3)};
    hsize_t most[3] = {H5S_UNLIMITED, H5S_UNLIMITED, H5S_UNLIMITED};
    int rank = 2;

    switch (pick(r, 10)) {
    case 0:
        return h5_keep(ids, H5Screate(H5S_SCALAR));
    case 1:
        return h5_keep(ids, H5Screate(H5S_NULL));
    case 2:
        rank = 1 + (int)pick(r, 3);
        break;
    case 3:
        dims[pick(r, 2)] = (hsize_t)pick(r, 64) << pick(r, 58);
        break;
    default:
        break;
    }
    return h5_keep(ids, H5Screate_simple(rank, dims, pick(r, 2) ? most : NULL));
}

static hid_t some_plist(struct recipe *r, struct h5_ids *ids, hid_t space)
{
    hid_t p = h5_keep(ids, H5Pcreate(H5P_DATASET_CREATE));
    hsize_t chunk[3] = {1 + pick(r, 6), 1 + pick(r, 8), 1 + pick(r, 3)};
    int rank = H5Sget_simple_extent_ndims(space);

    if (pick(r, 8) == 0)
        chunk[pick(r, 2)] = (hsize_t)1 << pick(r, 24);
    switch (pick(r, 8)) {
    case 0:
        H5Pset_layout(p, H5D_COMPACT);
        return p;
    case 1:
        H5Pset_external(p, "/dev/null", 0, H5F_UNLIMITED);
        return p;
    case 2:
        H5Pset_virtual(p, space, "other.h5", "/x", space);
        return p;
    case 3:
    case 4:
        return p;
    default:
        break;
    }
    if (rank > 0)
        H5Pset_chunk(p, rank, chunk);
    for (unsigned n = pick(r, 5); n > 0; n--) {
        switch (pick(r, 5)) {
        case 0:
            H5Pset_shuffle(p);
            break;
        case 1:
            H5Pset_deflate(p, pick(r, 10));
            break;
        case 2:
            H5Pset_fletcher32(p);
            break;
        case 3:
            H5Pset_scaleoffset(p, H5Z_SO_FLOAT_DSCALE, 2);
            break;
        default:
            H5Pset_filter(p, 32000 + (int)pick(r, 4), H5Z_FLAG_OPTIONAL, 0, NULL);
            break;
        }
    }
    return p;
}

/* Small datasets of plain floats only are written, the others stay declared: the
 * library's own conversions are not what is tested here. */
static void some_values(struct recipe *r, hid_t dset, hid_t type, hid_t space)
{
    float values[COUNT * 3];

    if ((type != H5T_IEEE_F32LE && type != H5T_IEEE_F64BE) ||
        H5Sget_simple_extent_npoints(space) > COUNT * 3 || pick(r, 4) == 0)
        return;
    for (int i = 0; i < COUNT * 3; i++)
        values[i] = (float)i;
    if (pick(r, 8) == 0)
        values[pick(r, COUNT)] = pick(r, 2) ? NAN : INFINITY;
    H5Dwrite(dset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
}

static void some_dataset(struct recipe *r, hid_t at, const char *name)
{
    struct h5_ids ids = {{0}, 0};
    hid_t type = some_type(r, &ids);
    hid_t space = some_space(r, &ids);
    hid_t dset = -1;

    if (space >= 0)
        dset = h5_keep(&ids, H5Dcreate2(at, name, type, space, H5P_DEFAULT,
                                        some_plist(r, &ids, space), H5P_DEFAULT));
    if (dset >= 0)
        some_values(r, dset, type, space);
    h5_close(&ids);
}

static void some_attribute(struct recipe *r, hid_t at, const char *name)
{
    static const char zeros[4096];
    struct h5_ids ids = {{0}, 0};
    hid_t type = pick(r, 2) ? H5T_STD_I64LE : some_type(r, &ids);
    hid_t space = some_space(r, &ids);
    hid_t attr = -1;

    if (space >= 0 && H5Sget_simple_extent_npoints(space) < 64)
        attr = h5_keep(&ids,
                       H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
    if (attr >= 0 && H5Tis_variable_str(type) <= 0 && H5Tget_class(type) != H5T_VLEN &&
        H5Aget_storage_size(attr) < sizeof(zeros))
        H5Awrite(attr, type, zeros);
    h5_close(&ids);
}

static void some_object(struct recipe *r, hid_t file, const char *name)
{
    hid_t g;

    switch (pick(r, 8)) {
    case 0:
        H5Lcreate_soft(pick(r, 2) ? "/x" : "/g/y", file, name, H5P_DEFAULT,
                       H5P_DEFAULT);
        break;
    case 1:
        H5Lcreate_external("other.h5", "/x", file, name, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case 2:
        g = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        some_dataset(r, g, "y");
        if (pick(r, 2))
            H5Lcreate_hard(file, "/", g, "up", H5P_DEFAULT, H5P_DEFAULT);
        H5Gclose(g);
        break;
    case 3:
        break;
    default:
        some_dataset(r, file, name);
        break;
    }
}

static enum status sink_check(void *self, enum wire_tag tag, const void *bytes,
                              size_t n, struct err *e)
{
    volatile char last = n ? ((const char *)bytes)[n - 1] : 0;

    (void)self;
    (void)tag;
    (void)e;
    (void)last;
    if (n > WIRE_PIECE)
        abort();
    return ST_OK;
}

static void walk(struct recipe *r)
{
    static float wanted;
    struct wire_request rq = {
        .arrays = {{.path = "x", .rank = 2, .dims = {ROWS, COLS}, .max_count = COUNT},
                   {.path = "g/y", .rank = 2, .dims = {-1, -1}, .max_count = 1 << 20}},
        .attrs = {{.object = "", .name = "i", .kind = H5_ATTR_INT},
                  {.object = "x", .name = "f", .kind = H5_ATTR_REAL},
                  {.object = "", .name = "t", .kind = H5_ATTR_TEXT, .text_bytes = 32}},
    };
    struct h5_sink sink = {sink_check, NULL};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t file;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Pset_fapl_core(access, 1 << 16, 0);
    if (pick(r, 2))
        H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    file = H5Fcreate("fuzz", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    some_object(r, file, "x");
    some_object(r, file, "g");
    some_attribute(r, file, "i");
    some_attribute(r, file, "t");
    rq.arrays[0].data = &wanted;
    rq.arrays[1].data = pick(r, 2) ? &wanted : NULL;
    for (int i = 0; i < 5; i++) {
        struct wire_request one = rq;
        struct err e = ERR_INIT;

        one.n_arrays = i < 2;
        one.n_attrs = i >= 2;
        if (i < 2)
            one.arrays[0] = rq.arrays[i];
        else
            one.attrs[0] = rq.attrs[i - 2];
        h5_walk(file, &one, &sink, &e);
    }
    H5Fclose(file);
    H5Pclose(access);
    H5garbage_collect();
}

/* ---- the parent's end of the pipe ------------------------------------------------ */

static void listen_to(const uint8_t *data, size_t n)
{
    float *room = malloc(COUNT * sizeof(*room));
    char *text = malloc(16);
    struct h5_array arrays[] = {
        {.path = "x",
         .rank = 2,
         .dims = {ROWS, COLS},
         .max_count = COUNT,
         .data = room},
        {.path = "y", .rank = 1, .dims = {-1}, .max_count = 99, .optional = true},
    };
    struct h5_attr attrs[] = {
        {.object = "", .name = "i", .kind = H5_ATTR_INT, .optional = true},
        {.object = "", .name = "f", .kind = H5_ATTR_REAL},
        {.object = "",
         .name = "t",
         .kind = H5_ATTR_TEXT,
         .text = text,
         .text_bytes = 16},
    };
    struct err e = ERR_INIT;
    int fd = memfd_create("stream", MFD_CLOEXEC);

    if (fd >= 0 && write(fd, data, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0)
        stream_read(fd, 0, arrays, 2, attrs, 3, &e);
    close(fd);
    free(room);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct recipe r = {data + 1, n ? n - 1 : 0};

    if (n == 0)
        return 0;
    if (data[0] % 2)
        listen_to(data + 1, n - 1);
    else
        walk(&r);
    return 0;
}
