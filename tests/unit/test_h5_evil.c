/* test_h5_evil.c - HDF5 files from strangers: each bad one is one line and ST_INPUT
 *
 * The files are made here with the library itself. A maker puts the object "x" (and
 * attributes of the root) into an open file; the request always asks for `x`, f32
 * [4,6], and in some cases for an attribute.
 */
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/h5/h5.h"

enum { ROWS = 4, COLS = 6, COUNT = ROWS * COLS };

static char folder[] = "/tmp/ff-evil-XXXXXX";
static float values[COUNT];

static int enter(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)i - 5.0f;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
    static const char *const names[] = {"t.h5",    "secret", "other.h5",
                                        "link.h5", "fifo",   "folder"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(names[i]);
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

/* ---- makers ---------------------------------------------------------------------- */

static hid_t space2(void)
{
    return H5Screate_simple(2, (hsize_t[]){ROWS, COLS}, NULL);
}

/* Make dataset `name` of `type` over `space` with creation list `plist` and write the
 * values when `write` is set; closes everything given. */
static void dataset(hid_t at, const char *name, hid_t type, hid_t space, hid_t plist,
                    bool write)
{
    hid_t d = H5Dcreate2(at, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);

    assert_true(d >= 0);
    if (write)
        assert_true(
            H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    if (plist != H5P_DEFAULT)
        H5Pclose(plist);
}

static hid_t chunked(hsize_t rows, hsize_t cols)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_chunk(p, 2, (hsize_t[]){rows, cols});
    return p;
}

static void good_plain(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, space2(), H5P_DEFAULT, true);
}

static void good_double_be(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F64BE, space2(), H5P_DEFAULT, true);
}

static void good_half(hid_t f)
{
    hid_t t = H5Tcopy(H5T_IEEE_F32LE);

    H5Tset_fields(t, 15, 10, 5, 0, 10);
    H5Tset_size(t, 2);
    H5Tset_ebias(t, 15);
    dataset(f, "x", t, space2(), H5P_DEFAULT, true);
    H5Tclose(t);
}

static void good_packed(hid_t f)
{
    hid_t p = chunked(3, 4);

    H5Pset_shuffle(p);
    H5Pset_deflate(p, 6);
    H5Pset_fletcher32(p);
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, true);
}

static void good_compact(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_layout(p, H5D_COMPACT);
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, true);
}

static void external_storage(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    FILE *secret = fopen("secret", "w");

    fputs("a file of the user that nobody asked for, long enough to be read whole by "
          "a dataset of four times six floats ...........",
          secret);
    fclose(secret);
    H5Pset_external(p, "secret", 0, COUNT * sizeof(float));
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, false);
}

static void external_absolute(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_external(p, "/etc/passwd", 0, COUNT * sizeof(float));
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, false);
}

static void external_link(hid_t f)
{
    hid_t other = H5Fcreate("other.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    good_plain(other);
    H5Fclose(other);
    H5Lcreate_external("other.h5", "/x", f, "x", H5P_DEFAULT, H5P_DEFAULT);
}

static void soft_link(hid_t f)
{
    dataset(f, "y", H5T_IEEE_F32LE, space2(), H5P_DEFAULT, true);
    H5Lcreate_soft("/y", f, "x", H5P_DEFAULT, H5P_DEFAULT);
}

static void soft_loop(hid_t f)
{
    H5Lcreate_soft("/x", f, "x", H5P_DEFAULT, H5P_DEFAULT);
}

static void virtual_dataset(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    hid_t s = space2();
    hid_t other = H5Fcreate("other.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    good_plain(other);
    H5Fclose(other);
    H5Pset_virtual(p, s, "other.h5", "/x", s);
    dataset(f, "x", H5T_IEEE_F32LE, s, p, false);
}

static void vlen_type(hid_t f)
{
    hid_t t = H5Tvlen_create(H5T_IEEE_F32LE);

    dataset(f, "x", t, space2(), H5P_DEFAULT, false);
    H5Tclose(t);
}

static void compound_type(hid_t f)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, 8);

    H5Tinsert(t, "a", 0, H5T_IEEE_F32LE);
    dataset(f, "x", t, space2(), H5P_DEFAULT, false);
    H5Tclose(t);
}

static void array_type(hid_t f)
{
    hid_t t = H5Tarray_create2(H5T_IEEE_F32LE, 1, (hsize_t[]){1 << 20});

    dataset(f, "x", t, space2(), chunked(1, 1), false);
    H5Tclose(t);
}

static void reference_type(hid_t f)
{
    dataset(f, "x", H5T_STD_REF_OBJ, space2(), H5P_DEFAULT, false);
}

static void integer_type(hid_t f)
{
    dataset(f, "x", H5T_STD_I32LE, space2(), H5P_DEFAULT, true);
}

static void odd_float(hid_t f)
{
    hid_t t = H5Tcopy(H5T_IEEE_F32LE);

    H5Tset_ebias(t, 100);
    dataset(f, "x", t, space2(), H5P_DEFAULT, true);
    H5Tclose(t);
}

static void huge_dims(hid_t f)
{
    hid_t s = H5Screate_simple(2, (hsize_t[]){1ull << 40, 1ull << 20}, NULL);

    dataset(f, "x", H5T_IEEE_F32LE, s, chunked(1, 1024), false);
}

static void overflowing_dims(hid_t f)
{
    hid_t s = H5Screate_simple(2, (hsize_t[]){1ull << 61, 4}, NULL);

    dataset(f, "x", H5T_IEEE_F32LE, s, chunked(1, 1), false);
}

static void other_dims(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, H5Screate_simple(2, (hsize_t[]){COLS, ROWS}, NULL),
            H5P_DEFAULT, true);
}

static void other_rank(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, H5Screate_simple(1, (hsize_t[]){COUNT}, NULL),
            H5P_DEFAULT, true);
}

static void scalar_space(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, H5Screate(H5S_SCALAR), H5P_DEFAULT, true);
}

static void null_space(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, H5Screate(H5S_NULL), H5P_DEFAULT, false);
}

static void never_written(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, space2(), H5P_DEFAULT, false);
}

static void missing_chunks(hid_t f)
{
    dataset(f, "x", H5T_IEEE_F32LE, space2(), chunked(2, 3), false);
}

static void one_chunk_missing(hid_t f)
{
    hid_t s = space2();
    hid_t d = H5Dcreate2(f, "x", H5T_IEEE_F32LE, s, H5P_DEFAULT, chunked(2, 6),
                         H5P_DEFAULT);

    H5Sselect_hyperslab(s, H5S_SELECT_SET, (hsize_t[]){0, 0}, NULL,
                        (hsize_t[]){2, COLS}, NULL);
    H5Dwrite(d, H5T_NATIVE_FLOAT, s, s, H5P_DEFAULT, values);
    H5Dclose(d);
    H5Sclose(s);
}

static void large_chunk(hid_t f)
{
    hid_t s = H5Screate_simple(2, (hsize_t[]){ROWS, COLS},
                               (hsize_t[]){H5S_UNLIMITED, H5S_UNLIMITED});

    dataset(f, "x", H5T_IEEE_F32LE, s, chunked(2048, 2048), true);
}

static void unknown_filter(hid_t f)
{
    hid_t p = chunked(2, 3);

    H5Pset_filter(p, 32000, H5Z_FLAG_OPTIONAL, 0, NULL);
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, true);
}

static void scale_filter(hid_t f)
{
    hid_t p = chunked(2, 3);

    H5Pset_scaleoffset(p, H5Z_SO_FLOAT_DSCALE, 2);
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, true);
}

static void many_filters(hid_t f)
{
    hid_t p = chunked(2, 3);

    for (int i = 0; i < 8; i++)
        H5Pset_deflate(p, 9);
    dataset(f, "x", H5T_IEEE_F32LE, space2(), p, true);
}

static void damaged_chunk(hid_t f)
{
    static const char junk[] = "this is not what deflate writes";
    hid_t p = chunked(ROWS, COLS);
    hid_t s = space2();
    hid_t d;

    H5Pset_deflate(p, 6);
    d = H5Dcreate2(f, "x", H5T_IEEE_F32LE, s, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Dwrite_chunk(d, H5P_DEFAULT, 0, (hsize_t[]){0, 0}, sizeof(junk), junk);
    H5Dclose(d);
    H5Sclose(s);
    H5Pclose(p);
}

static void nan_inside(hid_t f)
{
    values[7] = NAN;
    good_plain(f);
    values[7] = 2.0f;
}

static void infinity_inside(hid_t f)
{
    values[9] = -INFINITY;
    good_packed(f);
    values[9] = 4.0f;
}

static void beyond_float(hid_t f)
{
    double wide[COUNT] = {[3] = 1e300};
    hid_t s = space2();
    hid_t d = H5Dcreate2(f, "x", H5T_IEEE_F64LE, s, H5P_DEFAULT, H5P_DEFAULT,
                         H5P_DEFAULT);

    H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, wide);
    H5Dclose(d);
    H5Sclose(s);
}

static void group_instead(hid_t f)
{
    H5Gclose(H5Gcreate2(f, "x", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void type_instead(hid_t f)
{
    hid_t t = H5Tcopy(H5T_IEEE_F32LE);

    H5Tcommit2(f, "x", t, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Tclose(t);
}

static void nothing(hid_t f)
{
    (void)f;
}

/* ---- attributes of the root ------------------------------------------------------ */

static void attribute(hid_t f, hid_t type, hid_t space, const void *value)
{
    hid_t a;

    good_plain(f);
    a = H5Acreate2(f, "seed", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a >= 0);
    H5Awrite(a, type, value);
    H5Aclose(a);
    H5Sclose(space);
}

static void attr_float(hid_t f)
{
    const double v = 2.5;

    attribute(f, H5T_NATIVE_DOUBLE, H5Screate(H5S_SCALAR), &v);
}

static void attr_many(hid_t f)
{
    static const int64_t v[3] = {1, 2, 3};

    attribute(f, H5T_NATIVE_INT64, H5Screate_simple(1, (hsize_t[]){3}, NULL), v);
}

static void attr_vlen_text(hid_t f)
{
    const char *text = "seven";
    hid_t t = H5Tcopy(H5T_C_S1);

    H5Tset_size(t, H5T_VARIABLE);
    attribute(f, t, H5Screate(H5S_SCALAR), &text);
    H5Tclose(t);
}

static void attr_unsigned(hid_t f)
{
    const uint64_t v = UINT64_MAX;

    attribute(f, H5T_NATIVE_UINT64, H5Screate(H5S_SCALAR), &v);
}

static void attr_null(hid_t f)
{
    attribute(f, H5T_NATIVE_INT64, H5Screate(H5S_NULL), NULL);
}

static void attr_good(hid_t f)
{
    const uint8_t v = 200;

    attribute(f, H5T_NATIVE_UINT8, H5Screate_simple(1, (hsize_t[]){1}, NULL), &v);
}

/* ---- the table ------------------------------------------------------------------- */

static const struct evil {
    const char *name;
    void (*make)(hid_t file);
    const char *says; /* NULL: the file is good */
} table[] = {
    {"plain", good_plain, NULL},
    {"big-endian doubles", good_double_be, NULL},
    {"halves", good_half, NULL},
    {"shuffle, deflate, fletcher32", good_packed, NULL},
    {"compact", good_compact, NULL},
    {"one small unsigned seed", attr_good, NULL},
    {"external storage", external_storage, "'x' is stored in another file"},
    {"external storage, absolute", external_absolute, "'x' is stored in another file"},
    {"external link", external_link, "'x' is reached through a soft or external link"},
    {"soft link", soft_link, "'x' is reached through a soft or external link"},
    {"soft link loop", soft_loop, "'x' is reached through a soft or external link"},
    {"virtual", virtual_dataset, "'x' is virtual"},
    {"variable length", vlen_type, "'x' does not hold floats"},
    {"compound", compound_type, "'x' does not hold floats"},
    {"array elements", array_type, "'x' does not hold floats"},
    {"references", reference_type, "'x' does not hold floats"},
    {"integers", integer_type, "'x' does not hold floats"},
    {"odd exponent bias", odd_float, "'x' does not hold floats"},
    {"2^60 elements", huge_dims, "'x' has 1099511627776, not 4, along axis 0"},
    {"2^63 elements", overflowing_dims, "'x' has 2305843009213693952, not 4"},
    {"other dims", other_dims, "'x' has 6, not 4, along axis 0"},
    {"other rank", other_rank, "'x' does not have 2 dimensions"},
    {"scalar", scalar_space, "'x' does not have 2 dimensions"},
    {"null space", null_space, "'x' does not have 2 dimensions"},
    {"never written", never_written, "'x' is not stored whole"},
    {"no chunks", missing_chunks, "'x' has missing or large chunks"},
    {"a chunk missing", one_chunk_missing, "'x' has missing or large chunks"},
    {"16 MiB chunk", large_chunk, "'x' has missing or large chunks"},
    {"unknown filter", unknown_filter, "or unknown filters"},
    {"scale-offset filter", scale_filter, "or unknown filters"},
    {"eight deflates", many_filters, "or unknown filters"},
    {"junk in a chunk", damaged_chunk, "the values of dataset 'x' are damaged"},
    {"NaN", nan_inside, "'x' is not finite at element 7"},
    {"infinity", infinity_inside, "'x' is not finite at element 9"},
    {"1e300 as double", beyond_float, "'x' is not finite at element 3"},
    {"a group", group_instead, "'x' is not a dataset"},
    {"a committed type", type_instead, "'x' is not a dataset"},
    {"nothing", nothing, "no dataset 'x'"},
    {"seed is a float", attr_float, "attribute 'seed' is not an integer"},
    {"three seeds", attr_many, "attribute 'seed' is not a single value"},
    {"seed is a text", attr_vlen_text, "attribute 'seed' is not an integer"},
    {"seed above 2^63", attr_unsigned, "attribute 'seed' is above 2^63 - 1"},
    {"seed of nothing", attr_null, "attribute 'seed' is not a single value"},
};

enum { CASES = sizeof(table) / sizeof(table[0]) };

static enum status request(const char *path, float *room, struct err *e)
{
    struct h5_array a = {
        .path = "x", .rank = 2, .dims = {ROWS, COLS}, .max_count = COUNT, .data = room};
    struct h5_attr t = {
        .object = "", .name = "seed", .kind = H5_ATTR_INT, .optional = true};

    return h5_read(path, &a, 1, &t, 1, e);
}

static void file_make(const struct evil *c, bool newest)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t f;

    if (newest)
        H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    f = H5Fcreate("t.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    assert_true(f >= 0);
    c->make(f);
    H5Fclose(f);
    H5Pclose(access);
}

static void case_check(const struct evil *c)
{
    float room[COUNT];
    struct err e = ERR_INIT;
    enum status st = request("t.h5", room, &e);

    if (!c->says && st == ST_OK && memcmp(room, values, sizeof(room)) == 0)
        return;
    if (c->says && st == ST_INPUT && strstr(e.text, c->says) &&
        strncmp(e.text, "cannot read 't.h5': ", 20) == 0)
        return;
    fail_msg("%s: status %d, '%s'", c->name, (int)st, e.text);
}

static void each_evil_file_is_one_line(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int newest = 0; newest < 2; newest++) {
            file_make(&table[i], newest);
            case_check(&table[i]);
        }
    }
}

static void text_attributes_are_checked(void **state)
{
    char text[4];
    struct h5_attr t = {.object = "",
                        .name = "seed",
                        .kind = H5_ATTR_TEXT,
                        .text = text,
                        .text_bytes = sizeof(text)};
    struct err e = ERR_INIT;
    hid_t type = H5Tcopy(H5T_C_S1);
    hid_t f;

    (void)state;
    file_make(&(struct evil){"", attr_vlen_text, NULL}, true);
    assert_int_equal(h5_read("t.h5", NULL, 0, &t, 1, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "is not a text of fixed length"));
    H5Tset_size(type, 4);
    f = H5Fcreate("t.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    attribute(f, type, H5Screate(H5S_SCALAR), "abcd");
    H5Fclose(f);
    H5Tclose(type);
    assert_int_equal(h5_read("t.h5", NULL, 0, &t, 1, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "attribute 'seed' has 4 bytes, 3 at most"));
}

static void a_part_of_a_path_may_be_anything(void **state)
{
    struct h5_array a = {.path = "x/y", .rank = 1, .dims = {-1}, .max_count = 10};
    struct err e = ERR_INIT;

    (void)state;
    file_make(&table[0], true);
    assert_int_equal(h5_read("t.h5", &a, 1, NULL, 0, &e), ST_INPUT);
    assert_string_equal(e.text, "cannot read 't.h5': a part of 'x/y' is not a group");
}

static void any_dimension_has_a_cap(void **state)
{
    struct h5_array a = {.path = "x", .rank = 2, .dims = {-1, -1}, .max_count = 23};
    struct err e = ERR_INIT;

    (void)state;
    file_make(&table[0], true);
    assert_int_equal(h5_read("t.h5", &a, 1, NULL, 0, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "more than 23 elements"));
}

/* ---- not HDF5 at all ------------------------------------------------------------- */

static void what_is_no_file_is_refused(void **state)
{
    static const char *const names[] = {"folder", "link.h5", "fifo", "missing"};
    static const char *const says[] = {"not a regular file", "a symbolic link",
                                       "not a regular file", "No such file"};
    float room[COUNT];

    (void)state;
    file_make(&table[0], true);
    assert_int_equal(mkdir("folder", 0700), 0);
    assert_int_equal(symlink("t.h5", "link.h5"), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    for (int i = 0; i < 4; i++) {
        struct err e = ERR_INIT;

        assert_int_equal(request(names[i], room, &e), ST_INPUT);
        assert_non_null(strstr(e.text, says[i]));
    }
}

/* ---- damage ---------------------------------------------------------------------- */

static size_t file_load(char *data, size_t room)
{
    int fd = open("t.h5", O_RDONLY);
    ssize_t n = read(fd, data, room);

    close(fd);
    assert_true(n > 0 && (size_t)n < room);
    return (size_t)n;
}

static void file_store(const char *data, size_t n)
{
    int fd = open("t.h5", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, data, n), n);
    close(fd);
}

/* Processor time of all children so far, in seconds. */
static double children_time(void)
{
    struct rusage use;

    getrusage(RUSAGE_CHILDREN, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

/* The damaged file must be refused, or (`may_pass`: damage that no checksum covers, or
 * in bytes that mean nothing) be read. Either way the child stays within the two
 * seconds that it has. */
static void damage_check(bool may_pass)
{
    double begin = children_time();
    float room[COUNT];
    struct err e = ERR_INIT;
    enum status st = request("t.h5", room, &e);

    assert_true(children_time() - begin < 3.5);
    if (may_pass && st == ST_OK)
        return;
    assert_int_equal(st, ST_INPUT);
    assert_int_equal(strncmp(e.text, "cannot read 't.h5': ", 20), 0);
    assert_null(strstr(e.text, "exit code"));
}

static void truncated_files_are_refused(void **state)
{
    static char data[65536];

    (void)state;
    for (int newest = 0; newest < 2; newest++) {
        size_t n;

        file_make(&table[3], newest);
        n = file_load(data, sizeof(data));
        for (int i = 0; i < 40; i++) {
            file_store(data, n * (size_t)i / 40);
            damage_check(false);
        }
        file_store(data, n - 1);
        damage_check(false);
    }
}

/* Our own format has a checksum on everything: a flipped bit is refused, or lies in
 * bytes that mean nothing, and never changes a value. */
static void flipped_bits_never_change_values(void **state)
{
    static char data[65536];
    const int64_t dims[] = {ROWS, COLS};
    struct h5_writer *w = NULL;
    uint32_t r = 12345;
    size_t n;

    (void)state;
    unlink("t.h5");
    assert_int_equal(h5_create("t.h5", true, &w, NULL), ST_OK);
    assert_int_equal(h5_put(w, "x", 2, dims, values, NULL), ST_OK);
    assert_int_equal(h5_put_int(w, "", "seed", 7, NULL), ST_OK);
    assert_int_equal(h5_commit(w, NULL), ST_OK);
    n = file_load(data, sizeof(data));
    for (int i = 0; i < 150; i++) {
        float room[COUNT];
        size_t at;

        r = r * 1664525u + 1013904223u;
        at = (r >> 8) % n;
        data[at] ^= (char)(1 << (r & 7));
        file_store(data, n);
        damage_check(true);
        if (request("t.h5", room, NULL) == ST_OK)
            assert_memory_equal(room, values, sizeof(room));
        data[at] ^= (char)(1 << (r & 7));
    }
}

/* Files of the old format have no checksums, and the library crashes on some. */
static void old_files_may_crash_only_the_child(void **state)
{
    static char data[65536];
    uint32_t r = 777;
    size_t n;

    (void)state;
    file_make(&table[3], false);
    n = file_load(data, sizeof(data));
    for (int i = 0; i < 150; i++) {
        char saved[8];
        size_t at;

        r = r * 1664525u + 1013904223u;
        at = (r >> 8) % (n - 8);
        memcpy(saved, data + at, 8);
        for (int k = 0; k < 8; k++)
            data[at + (size_t)k] = (char)(r >> (k & 3) * 8);
        file_store(data, n);
        damage_check(true);
        memcpy(data + at, saved, 8);
    }
}

static void a_main_without_the_child_is_told(void **state)
{
    float room[COUNT];
    struct err e = ERR_INIT;

    (void)state;
    setenv("FRAMEFLEET_H5_CHILD", "1", 1);
    assert_int_equal(request("t.h5", room, &e), ST_DEVICE);
    unsetenv("FRAMEFLEET_H5_CHILD");
}

/* Promise 27: 64 MiB above what a child needs anyway, here about 20 MiB. */
static void no_file_took_much_memory(void **state)
{
    struct rusage use;

    (void)state;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &use), 0);
#if !defined(__SANITIZE_ADDRESS__)
    assert_in_range(use.ru_maxrss, 1, 84 * 1024);
#endif
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_evil_file_is_one_line),
        cmocka_unit_test(text_attributes_are_checked),
        cmocka_unit_test(a_part_of_a_path_may_be_anything),
        cmocka_unit_test(any_dimension_has_a_cap),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(flipped_bits_never_change_values),
        cmocka_unit_test(old_files_may_crash_only_the_child),
        cmocka_unit_test(a_main_without_the_child_is_told),
        cmocka_unit_test(no_file_took_much_memory),
    };
    int code = h5_child_main(argc, argv);

    if (code >= 0)
        return code;
    return cmocka_run_group_tests(tests, enter, leave);
}
