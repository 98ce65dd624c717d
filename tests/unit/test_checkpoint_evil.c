/* test_checkpoint_evil.c - checkpoints from strangers whose block vouches for them
 *
 * Length and digest prove that a file is as it was written, not by whom. Here a good
 * checkpoint is changed through the HDF5 library itself and gets a block that is right
 * again. Each must be rejected in one line, with the older generation in its place and
 * without a look at any other file: those that it could reach are watched by inotify.
 */
#include <hdf5.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/checkpoint/block.h"
#include "engine/h5/h5.h"
#include "tests/unit/checkpoint_rig.h"

#define NEWEST "ck/ck-0001-0002-i1.h5"

enum { C = 4, N = 3, H = 4, W = 6, COUNT = C * N * H * W };

static unsigned char *good;
static size_t good_bytes;
static float values[COUNT];
static int watch;

/* ---- makers: an open checkpoint, to be spoilt ------------------------------------ */

static hid_t space4(hsize_t frames)
{
    return H5Screate_simple(4, (hsize_t[]){C, frames, H, W}, NULL);
}

/* Put another dataset in the place of `name`. */
static void replace(hid_t f, const char *name, hid_t type, hid_t space, hid_t plist,
                    bool write)
{
    hid_t d;

    H5Ldelete(f, name, H5P_DEFAULT);
    d = H5Dcreate2(f, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    assert_true(d >= 0);
    if (write)
        assert_true(
            H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    if (plist != H5P_DEFAULT)
        H5Pclose(plist);
}

static void external_at(hid_t f, const char *path)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_external(p, path, 0, COUNT * sizeof(float));
    replace(f, "latents/x", H5T_IEEE_F32LE, space4(N), p, false);
}

static void external_storage(hid_t f)
{
    external_at(f, "secret");
}

static void external_absolute(hid_t f)
{
    external_at(f, "/etc/passwd");
}

static void external_link(hid_t f)
{
    H5Ldelete(f, "latents/x", H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/x", f, "latents/x", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_group(hid_t f)
{
    H5Ldelete(f, "sampler", H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/", f, "sampler", H5P_DEFAULT, H5P_DEFAULT);
}

static void soft_link(hid_t f)
{
    H5Ldelete(f, "latents/x", H5P_DEFAULT);
    H5Lcreate_soft("/sampler/m0", f, "latents/x", H5P_DEFAULT, H5P_DEFAULT);
}

static void soft_loop(hid_t f)
{
    H5Ldelete(f, "latents", H5P_DEFAULT);
    H5Lcreate_soft("/latents", f, "latents", H5P_DEFAULT, H5P_DEFAULT);
}

static void group_loop(hid_t f)
{
    H5Ldelete(f, "latents", H5P_DEFAULT);
    H5Lcreate_hard(f, "/", f, "latents", H5P_DEFAULT, H5P_DEFAULT);
}

static void virtual_dataset(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), s = space4(N);

    H5Pset_virtual(p, s, "other.h5", "/x", s);
    replace(f, "latents/x", H5T_IEEE_F32LE, s, p, false);
}

static void virtual_self(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), s = space4(N);

    H5Pset_virtual(p, s, ".", "/sampler/m0", s);
    replace(f, "latents/x", H5T_IEEE_F32LE, s, p, false);
}

static void vlen_elements(hid_t f)
{
    hid_t t = H5Tvlen_create(H5T_IEEE_F32LE);

    replace(f, "latents/x", t, space4(N), H5P_DEFAULT, false);
    H5Tclose(t);
}

static void integer_elements(hid_t f)
{
    replace(f, "latents/x", H5T_STD_I32LE, space4(N), H5P_DEFAULT, true);
}

static void other_frames(hid_t f)
{
    replace(f, "latents/x", H5T_IEEE_F32LE, space4(N - 1), H5P_DEFAULT, true);
}

static void other_rank(hid_t f)
{
    replace(f, "latents/x", H5T_IEEE_F32LE,
            H5Screate_simple(1, (hsize_t[]){COUNT}, NULL), H5P_DEFAULT, true);
}

static void huge_dims(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t n = 1ull << 40;

    H5Pset_chunk(p, 4, (hsize_t[]){1, 1, 64, 64});
    replace(f, "latents/x", H5T_IEEE_F32LE,
            H5Screate_simple(4, (hsize_t[]){n, N, 64, 64}, NULL), p, false);
}

static void no_dims(hid_t f)
{
    replace(f, "latents/x", H5T_IEEE_F32LE, space4(0), H5P_DEFAULT, false);
}

static void not_a_number(hid_t f)
{
    values[50] = NAN;
    replace(f, "latents/x", H5T_IEEE_F32LE, space4(N), H5P_DEFAULT, true);
    values[50] = 1.0f;
}

static void never_written(hid_t f)
{
    replace(f, "latents/x", H5T_IEEE_F32LE, space4(N), H5P_DEFAULT, false);
}

static void no_history(hid_t f)
{
    H5Ldelete(f, "sampler/m1", H5P_DEFAULT);
}

static void no_text(hid_t f)
{
    H5Ldelete(f, "text/cond", H5P_DEFAULT);
}

static void counter_of(hid_t f, hsize_t n, const int64_t *v)
{
    hid_t s = H5Screate_simple(1, &n, NULL);
    hid_t d;

    H5Ldelete(f, "sampler/counter", H5P_DEFAULT);
    d = H5Dcreate2(f, "sampler/counter", H5T_STD_I64LE, s, H5P_DEFAULT, H5P_DEFAULT,
                   H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
    H5Dclose(d);
    H5Sclose(s);
}

static void counter_long(hid_t f)
{
    counter_of(f, 5, (const int64_t[]){1, 1, 1, 1, 1});
}

static void counter_negative(hid_t f)
{
    counter_of(f, N, (const int64_t[]){1, -1, 1});
}

static void counter_large(hid_t f)
{
    counter_of(f, N, (const int64_t[]){1, INT64_MAX, 1});
}

/* ---- attributes ------------------------------------------------------------------ */

static void attribute(hid_t f, const char *object, const char *name, hid_t type,
                      hid_t space, const void *value)
{
    hid_t o = H5Oopen(f, object, H5P_DEFAULT), a;

    H5Adelete(o, name);
    a = H5Acreate2(o, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a >= 0);
    assert_true(H5Awrite(a, type, value) >= 0);
    H5Aclose(a);
    H5Oclose(o);
    H5Sclose(space);
}

static void number(hid_t f, const char *object, const char *name, int64_t v)
{
    attribute(f, object, name, H5T_NATIVE_INT64, H5Screate(H5S_SCALAR), &v);
}

static void text(hid_t f, const char *object, const char *name, size_t bytes)
{
    hid_t t = H5Tcopy(H5T_C_S1);
    char *v = malloc(bytes);

    memset(v, 'x', bytes);
    H5Tset_size(t, bytes);
    attribute(f, object, name, t, H5Screate(H5S_SCALAR), v);
    H5Tclose(t);
    free(v);
}

/* More than the child may hold, unless a sanitizer lifts that limit. */
static void huge_config(hid_t f)
{
    text(f, "job", "config", 64 << 20);
}

static void long_config(hid_t f)
{
    text(f, "job", "config", CHECKPOINT_CONFIG_MAX + 1);
}

static void long_digest(hid_t f)
{
    text(f, "job", "model_digest", DIGEST_HEX + 1);
}

static void odd_kind(hid_t f)
{
    text(f, "/", "kind", 7);
}

static void odd_format(hid_t f)
{
    text(f, "/", "format", 7);
}

static void vlen_config(hid_t f)
{
    const char *v = "{}";
    hid_t t = H5Tcopy(H5T_C_S1);

    H5Tset_size(t, H5T_VARIABLE);
    attribute(f, "job", "config", t, H5Screate(H5S_SCALAR), &v);
    H5Tclose(t);
}

static void many_rows(hid_t f)
{
    static const int64_t v[2] = {2, 2};

    attribute(f, "/", "rows_done", H5T_NATIVE_INT64,
              H5Screate_simple(1, (hsize_t[]){2}, NULL), v);
}

static void row_below(hid_t f)
{
    number(f, "/", "rows_done", -1);
}

static void row_beyond(hid_t f)
{
    number(f, "/", "rows_done", 51);
}

static void row_other(hid_t f)
{
    number(f, "/", "rows_done", 3);
}

static void segment_beyond(hid_t f)
{
    number(f, "/", "segment", 8);
}

static void segment_huge(hid_t f)
{
    number(f, "/", "segment", INT64_MAX);
}

static void frames_beyond(hid_t f)
{
    number(f, "segment", "finished_frames", INT64_MAX);
}

static void prefix_beyond(hid_t f)
{
    number(f, "segment", "prefix_frames", 3);
}

static void version_next(hid_t f)
{
    number(f, "/", "version", 2);
}

static void seconds_nan(hid_t f)
{
    const double v = NAN;

    attribute(f, "report", "seconds", H5T_NATIVE_DOUBLE, H5Screate(H5S_SCALAR), &v);
}

static void no_job(hid_t f)
{
    H5Ldelete(f, "job", H5P_DEFAULT);
}

static void unchanged(hid_t f)
{
    (void)f;
}

/* ---- the table ------------------------------------------------------------------- */

static const struct evil {
    void (*spoil)(hid_t file);
    const char *says; /* NULL: it is accepted */
} table[] = {
    {unchanged, NULL},
    {external_storage, "'latents/x' is stored in another file"},
    {external_absolute, "'latents/x' is stored in another file"},
    {external_link, "'latents/x' is reached through a soft or external link"},
    {external_group, "is reached through a soft or external link"},
    {soft_link, "'latents/x' is reached through a soft or external link"},
    {soft_loop, "is reached through a soft or external link"},
    {group_loop, "'latents/x' is missing"},
    {virtual_dataset, "'latents/x' is virtual"},
    {virtual_self, "'latents/x' is virtual"},
    {vlen_elements, "'latents/x' does not hold floats"},
    {integer_elements, "'latents/x' does not hold floats"},
    {other_frames, "has another shape than 'latents/x'"},
    {other_rank, "'latents/x' does not have 4 dimensions"},
    {huge_dims, "'latents/x'"},
    {no_dims, "'latents/x'"},
    {not_a_number, "'latents/x' is not finite at element 50"},
    {never_written, "'latents/x' is not stored whole"},
    {no_history, "'sampler/m1' is missing"},
    {no_text, "text rows are missing"},
    {counter_long, "counts 5 frames"},
    {counter_negative, "'sampler/counter' is -1 at frame 1"},
    {counter_large, "'sampler/counter' is 9223372036854775807 at frame 1"},
    {huge_config, "cannot read '"},
    {long_config, "'config' has 65537 bytes"},
    {long_digest, "'model_digest'"},
    {odd_kind, "without kind"},
    {odd_format, "its format is 'xxxxxxx'"},
    {vlen_config, "is not a text of fixed length"},
    {many_rows, "is not a single value"},
    {row_below, "row -1 of 50"},
    {row_beyond, "row 51 of 50"},
    {row_other, "its block is of another row"},
    {segment_beyond, "segment 8 of 8"},
    {segment_huge, "segment 9223372036854775807 of 8"},
    {frames_beyond, "9223372036854775807 latent frames are finished"},
    {prefix_beyond, "3 of 3 latent frames are given"},
    {version_next, "it is of version 2"},
    {seconds_nan, "'seconds'"},
    {no_job, "no "},
};

enum { CASES = sizeof(table) / sizeof(table[0]) };

/* ---- the trial ------------------------------------------------------------------- */

static int evil_enter(void **state)
{
    static const float zeros[4 * COUNT];
    struct checkpoint_store *s;
    struct err e = ERR_INIT;
    hid_t f, d, space;

    if (rig_enter(state) < 0)
        return -1;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    s = rig_store("ck", NULL);
    if (rig_save(s, 1, 1, &e) != ST_OK || rig_save(s, 1, 2, &e) != ST_OK)
        return -1;
    checkpoint_store_close(s);
    good = rig_read(NEWEST, &good_bytes);
    rig_write("ck/secret", (const unsigned char *)zeros, sizeof(zeros));
    f = H5Fcreate("ck/other.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    space = space4(N);
    d = H5Dcreate2(f, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT,
                   H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(d);
    H5Sclose(space);
    H5Fclose(f);
    rig_write("secret", (const unsigned char *)zeros, sizeof(zeros));
    assert_int_equal(link("ck/other.h5", "other.h5"), 0);
    watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return watch >= 0 ? 0 : -1;
}

static int evil_leave(void **state)
{
    close(watch);
    free(good);
    return rig_leave(state);
}

/* Watch, or stop watching, the files that nobody may open. */
static void strangers_watch(bool on)
{
    static const char *const names[] = {"secret", "other.h5", "ck/secret"};
    static int id[3];

    for (int i = 0; i < 3; i++) {
        if (on)
            id[i] = inotify_add_watch(watch, names[i], IN_OPEN);
        else
            inotify_rm_watch(watch, id[i]);
    }
}

static bool strangers_opened(void)
{
    char events[4096];
    ssize_t n = read(watch, events, sizeof(events));
    bool opened = false;

    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const void *)(events + at);

        opened = opened || (event->mask & IN_OPEN);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
    return opened;
}

static void block_repair(unsigned char *data, size_t bytes)
{
    struct err e = ERR_INIT;
    struct block b;

    assert_int_equal(block_decode(good, &b, &e), ST_OK);
    b.file_bytes = (int64_t)bytes;
    digest_of(data + BLOCK_BYTES, bytes - BLOCK_BYTES, b.digest);
    block_encode(&b, data);
}

/* The good checkpoint, spoilt, under a block that is right. */
static void evil_make(const struct evil *c)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), f;
    unsigned char *data;
    size_t bytes;

    rig_write(NEWEST, good, good_bytes);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    f = H5Fopen(NEWEST, H5F_ACC_RDWR, access);
    assert_true(f >= 0);
    c->spoil(f);
    H5Fclose(f);
    H5Pclose(access);
    data = rig_read(NEWEST, &bytes);
    block_repair(data, bytes);
    rig_write(NEWEST, data, bytes);
    free(data);
}

static void evil_check(int i)
{
    const struct evil *c = &table[i];
    struct checkpoint ck = {0};
    struct err e = ERR_INIT;
    enum status st;

    evil_make(c);
    strangers_watch(true);
    st = checkpoint_read(NEWEST, &ck, &e);
    checkpoint_release(&ck);
    if (c->says ? st != ST_INPUT || !strstr(e.text, c->says) || strchr(e.text, '\n')
                : st != ST_OK)
        fail_msg("case %d, '%s': status %d, '%s'", i, c->says ? c->says : "", (int)st,
                 e.text);
    assert_int_equal(rig_expect("ck", 1, c->says ? 1 : 2), c->says ? 1 : 0);
    if (strangers_opened())
        fail_msg("case %d, '%s': another file was opened", i, c->says);
    strangers_watch(false);
    strangers_opened(); /* what is left of the events */
}

static void each_is_one_line_and_the_older_is_used(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++)
        evil_check(i);
}

/* A name whose successor would be no name any more: we could not find our own files. */
static void the_last_incarnation_has_no_successor(void **state)
{
    static const char owner[] = "{\"incarnation\":999999999}";
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    struct checkpoint_store *s;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(checkpoint_store_open("last", true, &o, &s, &e), ST_OK);
    rig_write("last/ck-0000-0001-i999999999.h5", good, good_bytes);
    assert_int_equal(checkpoint_claim(s, &e), ST_INPUT);
    assert_non_null(strstr(e.text, "999999999"));
    unlink("last/ck-0000-0001-i999999999.h5");
    rig_write("last/owner", (const unsigned char *)owner, sizeof(owner) - 1);
    assert_int_equal(checkpoint_claim(s, &e), ST_INPUT);
    unlink("last/owner");
    assert_int_equal(checkpoint_claim(s, &e), ST_OK);
    checkpoint_store_close(s);
    rig_remove("last");
}

/* The watch sees what it is there for. */
static void an_open_would_be_seen(void **state)
{
    size_t bytes;

    (void)state;
    strangers_watch(true);
    assert_false(strangers_opened());
    free(rig_read("ck/secret", &bytes));
    assert_true(strangers_opened());
    strangers_watch(false);
    strangers_opened();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_open_would_be_seen),
        cmocka_unit_test(the_last_incarnation_has_no_successor),
        cmocka_unit_test(each_is_one_line_and_the_older_is_used),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    return cmocka_run_group_tests(tests, evil_enter, evil_leave);
}
