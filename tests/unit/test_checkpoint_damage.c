/* test_checkpoint_damage.c - no damaged checkpoint is accepted, no hostile one hurts
 *
 * Damage to a file that its block vouches for is found before HDF5 sees a byte. A
 * stranger who also repairs the block gets as far as the child process and the laws of
 * the schema; what is asked then is that nothing crashes, hangs, or reads another file.
 *
 * With --long every byte is tried where the normal run takes samples.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/checkpoint/block.h"
#include "engine/h5/h5.h"
#include "tests/unit/checkpoint_rig.h"

#define NEWEST "ck/ck-0001-0002-i1.h5"

enum { TRUNCATIONS = 200, FLIPS = 500, SECTORS = 100, TAILS = 100, PAGES = 100 };
enum { SECTOR_BYTES = 512, PAGE_BYTES = 4096 };

static bool long_run;
static unsigned char *good; /* the newest generation */
static size_t good_bytes;
static uint64_t seed = 42;

static int damage_enter(void **state)
{
    struct checkpoint_store *s;
    struct err e = ERR_INIT;

    if (rig_enter(state) < 0)
        return -1;
    s = rig_store("ck", NULL);
    if (rig_save(s, 1, 1, &e) != ST_OK || rig_save(s, 1, 2, &e) != ST_OK)
        return -1;
    checkpoint_store_close(s);
    good = rig_read(NEWEST, &good_bytes);
    return 0;
}

static int damage_leave(void **state)
{
    free(good);
    return rig_leave(state);
}

static size_t random_below(size_t n)
{
    return (size_t)(rig_random(&seed) % n);
}

/* With these bytes in its place the newest must be rejected. */
static void rejected(const unsigned char *data, size_t bytes, const char *what,
                     size_t at)
{
    struct checkpoint ck = {0};
    struct err e = ERR_INIT;

    rig_write(NEWEST, data, bytes);
    if (checkpoint_read(NEWEST, &ck, &e) != ST_INPUT)
        fail_msg("%s at %zu is accepted", what, at);
    assert_non_null(strstr(e.text, "rejected: "));
}

/* A copy of the good file, to be damaged; the caller frees it. */
static unsigned char *copy(void)
{
    unsigned char *data = malloc(good_bytes);

    memcpy(data, good, good_bytes);
    return data;
}

static void the_undamaged_file_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(rig_expect("ck", 1, 2), 0);
}

static void truncated_files_are_rejected(void **state)
{
    (void)state;
    for (int i = 0; i < TRUNCATIONS; i++) {
        size_t n = i < 2    ? (size_t)i
                   : i == 2 ? good_bytes - 1
                            : random_below(good_bytes);

        rejected(good, n, "an end", n);
    }
}

static void longer_files_are_rejected(void **state)
{
    unsigned char *data = calloc(1, good_bytes + 1);

    (void)state;
    memcpy(data, good, good_bytes);
    rejected(data, good_bytes + 1, "an end", good_bytes + 1);
    free(data);
}

static void flipped_bits_are_rejected(void **state)
{
    unsigned char *data = copy();

    (void)state;
    for (int i = 0; i < FLIPS; i++) {
        size_t at = random_below(good_bytes);
        unsigned char bit = (unsigned char)(1u << random_below(8));

        data[at] ^= bit;
        rejected(data, good_bytes, "a flipped bit", at);
        data[at] ^= bit;
    }
    free(data);
}

/* Every byte of the block, and of all else every one or every 17th. */
static void a_flip_in_any_byte_is_rejected(void **state)
{
    unsigned char *data = copy();
    size_t at = 0;

    (void)state;
    while (at < good_bytes) {
        unsigned char bit = (unsigned char)(1u << at % 8);

        data[at] ^= bit;
        rejected(data, good_bytes, "a flipped bit", at);
        data[at] ^= bit;
        at += at < BLOCK_BYTES || long_run ? 1 : 17;
    }
    free(data);
}

/* Put `fill` into [at, at + n), cut at the end; false when that changes nothing. */
static bool spoil(unsigned char *data, size_t at, size_t n, int fill)
{
    for (size_t i = at; i < at + n && i < good_bytes; i++)
        data[i] = fill < 0 ? (unsigned char)rig_random(&seed) : (unsigned char)fill;
    return memcmp(data, good, good_bytes) != 0;
}

static void regions_spoiled(size_t unit, bool to_the_end, int fill, int times)
{
    unsigned char *data = copy();

    for (int i = 0; i < times; i++) {
        size_t at = random_below(good_bytes / unit + 1) * unit;

        if (at < good_bytes &&
            spoil(data, at, to_the_end ? good_bytes - at : unit, fill))
            rejected(data, good_bytes, "a spoilt region", at);
        memcpy(data, good, good_bytes);
    }
    free(data);
}

static void zeroed_sectors_are_rejected(void **state)
{
    (void)state;
    regions_spoiled(SECTOR_BYTES, false, 0, SECTORS);
}

static void zeroed_tails_are_rejected(void **state)
{
    (void)state;
    regions_spoiled(1, true, 0, TAILS);
}

static void random_pages_are_rejected(void **state)
{
    (void)state;
    regions_spoiled(PAGE_BYTES, false, -1, PAGES);
}

static void swapped_pages_are_rejected(void **state)
{
    unsigned char *data = copy();
    size_t pages = good_bytes / PAGE_BYTES;

    (void)state;
    for (int i = 0; i < PAGES; i++) {
        size_t a = random_below(pages) * PAGE_BYTES,
               b = random_below(pages) * PAGE_BYTES;

        memcpy(data + a, good + b, PAGE_BYTES);
        memcpy(data + b, good + a, PAGE_BYTES);
        if (memcmp(data, good, good_bytes) != 0)
            rejected(data, good_bytes, "swapped pages", a);
        memcpy(data, good, good_bytes);
    }
    free(data);
}

/* ---- the older generation -------------------------------------------------------- */

static void the_older_generation_is_used_and_said_so(void **state)
{
    unsigned char *data = copy();

    (void)state;
    data[good_bytes / 2] ^= 1;
    rig_write(NEWEST, data, good_bytes);
    assert_int_equal(rig_expect("ck", 1, 1), 1);
    rig_write(NEWEST, good, good_bytes);
    rig_write("ck/ck-0003-0001-i1.h5", good,
              good_bytes); /* whole, under a wrong name */
    assert_int_equal(rig_expect("ck", 1, 2), 1);
    rig_write("ck/ck-0003-0001-i1.h5", data, good_bytes);
    rig_write(NEWEST, data, good_bytes);
    assert_int_equal(rig_expect("ck", 1, 1), 2);
    assert_int_equal(rename("ck/ck-0001-0001-i1.h5", "kept"), 0);
    rig_write("ck/ck-0001-0001-i1.h5", data, good_bytes);
    assert_int_equal(rig_expect("ck", 0, -1), 3);
    unlink("ck/ck-0003-0001-i1.h5");
    assert_int_equal(rename("kept", "ck/ck-0001-0001-i1.h5"), 0);
    rig_write(NEWEST, good, good_bytes);
    assert_int_equal(rig_expect("ck", 1, 2), 0);
    free(data);
}

/* A new run must not throw the only valid one away because damaged ones are newer. */
static void damaged_ones_do_not_count_as_generations(void **state)
{
    struct checkpoint_options o = CHECKPOINT_OPTIONS_DEFAULT;
    char name[CHECKPOINT_NAME_BYTES];
    struct checkpoint ck = {0};
    struct checkpoint_store *s;
    struct err e = ERR_INIT;
    bool found;

    (void)state;
    assert_int_equal(mkdir("two", 0700), 0);
    s = rig_store("two", NULL);
    assert_int_equal(rig_save(s, 1, 1, &e), ST_OK);
    checkpoint_store_close(s);
    rig_write("two/ck-0001-0008-i1.h5", good, good_bytes / 2);
    rig_write("two/ck-0001-0009-i1.h5", good, good_bytes / 2);
    assert_int_equal(checkpoint_store_open("two", false, &o, &s, &e), ST_OK);
    assert_int_equal(checkpoint_newest(s, NULL, NULL, &ck, name, &found, &e), ST_OK);
    assert_string_equal(name, "ck-0001-0001-i1.h5");
    assert_int_equal(checkpoint_claim(s, &e), ST_OK);
    assert_int_equal(rig_save(s, 1, 2, &e), ST_OK);
    assert_int_equal(rig_files("two", false), 2);
    assert_int_equal(rig_expect("two", 1, 2), 0);
    unlink("two/ck-0001-0002-i2.h5");
    assert_int_equal(rig_expect("two", 1, 1), 0);
    checkpoint_release(&ck);
    checkpoint_store_close(s);
    rig_remove("two");
}

/* ---- files that vouch for themselves --------------------------------------------- */

static void block_repair(unsigned char *data, size_t bytes)
{
    struct block b;
    struct err e = ERR_INIT;

    assert_int_equal(block_decode(good, &b, &e), ST_OK);
    b.file_bytes = (int64_t)bytes;
    digest_of(data + BLOCK_BYTES, bytes - BLOCK_BYTES, b.digest);
    block_encode(&b, data);
}

/* Read it; a crash of ours ends the test, and what is accepted must hold what the good
 * file holds. */
static bool accepted(const unsigned char *data, size_t bytes)
{
    struct checkpoint ck = {0};
    struct err e = ERR_INIT;
    enum status st;

    rig_write(NEWEST, data, bytes);
    st = checkpoint_read(NEWEST, &ck, &e);
    assert_true(st == ST_OK || st == ST_INPUT);
    if (st == ST_OK) {
        struct checkpoint want = {0};

        rig_fill(&want, 1, 2, 1);
        assert_null(checkpoint_difference(&ck, &want));
        checkpoint_release(&want);
    }
    checkpoint_release(&ck);
    return st == ST_OK;
}

static void flips_behind_a_repaired_block_change_nothing(void **state)
{
    unsigned char *data = copy();
    size_t step = long_run ? 1 : good_bytes / 150;
    long taken = 0, tried = 0;

    (void)state;
    for (size_t at = BLOCK_BYTES; at < good_bytes; at += step) {
        data[at] ^= (unsigned char)(1u << at % 8);
        block_repair(data, good_bytes);
        taken += accepted(data, good_bytes);
        tried++;
        memcpy(data, good, good_bytes);
    }
    print_message("%ld flips: %ld in bytes that hold nothing, the rest rejected\n",
                  tried, taken);
    block_repair(data, good_bytes);
    assert_true(accepted(data, good_bytes));
    free(data);
}

/* An HDF5 file of somebody's making with a block that vouches for it. */
static bool made_accepted(const char *format, int64_t version, int64_t frames,
                          const char *config)
{
    const int64_t dims[2] = {2, 2}, latents[4] = {1, frames, 2, 2};
    const float rows[64] = {0};
    struct h5_writer *w;
    struct err e = ERR_INIT;
    void *data;
    size_t bytes;
    bool fine;

    assert_int_equal(h5_build("made", BLOCK_BYTES, &w, &e), ST_OK);
    h5_put(w, "text/cond", 2, dims, rows, &e);
    h5_put(w, "latents/x", 4, latents, rows, &e);
    h5_group(w, "job", &e);
    h5_put_text(w, "", "format", format, &e);
    h5_put_int(w, "", "version", version, &e);
    h5_put_text(w, "job", "config", config, &e);
    assert_int_equal(h5_take(w, &data, &bytes, &e), ST_OK);
    block_repair(data, bytes);
    fine = accepted(data, bytes);
    free(data);
    return fine;
}

static void files_that_lack_parts_are_rejected(void **state)
{
    (void)state;
    assert_false(made_accepted("framefleet-checkpoint", 1, 3, "{}"));
    assert_false(made_accepted("framefleet-checkpoint", 2, 3, "{}"));
    assert_false(made_accepted("something else", 1, 1, "{}"));
    assert_false(made_accepted("framefleet-checkpoint", 1, 1, "not json"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_file_is_accepted),
        cmocka_unit_test(truncated_files_are_rejected),
        cmocka_unit_test(longer_files_are_rejected),
        cmocka_unit_test(flipped_bits_are_rejected),
        cmocka_unit_test(a_flip_in_any_byte_is_rejected),
        cmocka_unit_test(zeroed_sectors_are_rejected),
        cmocka_unit_test(zeroed_tails_are_rejected),
        cmocka_unit_test(random_pages_are_rejected),
        cmocka_unit_test(swapped_pages_are_rejected),
        cmocka_unit_test(the_older_generation_is_used_and_said_so),
        cmocka_unit_test(damaged_ones_do_not_count_as_generations),
        cmocka_unit_test(flips_behind_a_repaired_block_change_nothing),
        cmocka_unit_test(files_that_lack_parts_are_rejected),
    };
    int child = h5_child_main(argc, argv);

    if (child >= 0)
        return child;
    long_run = argc > 1 && strcmp(argv[1], "--long") == 0;
    return cmocka_run_group_tests(tests, damage_enter, damage_leave);
}
