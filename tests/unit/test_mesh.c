/* test_mesh.c - meshes: defaults, wishes, refusals, places */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dist/mesh.h"

static void chosen(struct mesh_wish w, const char *want)
{
    char text[MESH_TEXT_BYTES];
    struct err e = ERR_INIT;
    struct mesh m;

    if (mesh_choose(&w, &m, &e) != ST_OK)
        fail_msg("%s", e.text);
    mesh_print(&m, text);
    assert_string_equal(text, want);
}

static void refused(struct mesh_wish w, const char *hint)
{
    struct err e = ERR_INIT;
    struct mesh m = {7, 7, 7};

    assert_int_equal(mesh_choose(&w, &m, &e), ST_USAGE);
    assert_int_equal(m.ring, 7);
    if (!strstr(e.text, hint))
        fail_msg("'%s' is not in '%s'", hint, e.text);
}

static void defaults_keep_the_bytes(void **state)
{
    (void)state;
    chosen((struct mesh_wish){.ranks = 1, .heads = 40, .guidance = true}, "g1u1r1");
    chosen((struct mesh_wish){.ranks = 2, .heads = 40, .guidance = true}, "g2u1r1");
    chosen((struct mesh_wish){.ranks = 2, .heads = 40}, "g1u2r1");
    chosen((struct mesh_wish){.ranks = 3, .heads = 40, .guidance = true}, "g1u3r1");
    chosen((struct mesh_wish){.ranks = 6, .heads = 40, .guidance = true}, "g2u3r1");
    chosen((struct mesh_wish){.ranks = 8, .heads = 12, .guidance = true}, "g2u4r1");
    chosen((struct mesh_wish){.ranks = 8, .heads = 12}, "g1u8r1");
}

static void rings_take_what_heads_cannot(void **state)
{
    (void)state;
    chosen((struct mesh_wish){.ranks = 8, .heads = 2}, "g1u2r4");
    chosen((struct mesh_wish){.ranks = 8, .heads = 2, .guidance = true}, "g2u2r2");
    chosen((struct mesh_wish){.ranks = 16, .heads = 12}, "g1u8r2");
    chosen((struct mesh_wish){.ranks = 7, .heads = 3}, "g1u1r7");
}

static void wishes_are_followed(void **state)
{
    struct mesh_wish w = {.ranks = 8, .heads = 40, .guidance = true};

    (void)state;
    w.guidance_degree = 1;
    chosen(w, "g1u8r1");
    w.guidance_degree = 0;
    w.ring_degree = 2;
    chosen(w, "g2u2r2");
    w.ulysses_degree = 4;
    chosen(w, "g1u4r2");
    w.ring_degree = 0;
    w.mesh = "u4";
    chosen(w, "g2u4r1");
    w.mesh = "r2u4g1";
    chosen(w, "g1u4r2");
    /* more Ulysses ranks than heads, on request */
    chosen((struct mesh_wish){.ranks = 8, .heads = 2, .mesh = "g1u8r1"}, "g1u8r1");
    chosen((struct mesh_wish){.ranks = 8, .heads = 2, .ring_degree = 1}, "g1u8r1");
}

static void impossible_meshes_name_possible_ones(void **state)
{
    struct mesh_wish w = {.ranks = 6, .heads = 40, .guidance = true};

    (void)state;
    w.mesh = "g2u4r1";
    refused(w, "6 ranks out as 'g2u4r1'");
    refused(w, "nearest are g2u3r1");
    w.mesh = NULL;
    w.ulysses_degree = 5;
    refused(w, "6 ranks out as 'u5': nearest are g1u6r1");
    w.guidance = false;
    w.ulysses_degree = 0;
    w.guidance_degree = 2;
    refused(w, "guidance off");
    refused(
        (struct mesh_wish){
            .ranks = 3, .heads = 4, .guidance = true, .guidance_degree = 2},
        "g1u3r1");
    refused(
        (struct mesh_wish){.ranks = 4, .heads = 4, .mesh = "u4", .ulysses_degree = 2},
        "contradict");
}

static void bad_text_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "g",
                                      "4",
                                      "g2u",
                                      "g2 u4",
                                      "x2",
                                      "u0",
                                      "g1g1",
                                      "u-1",
                                      "u4r1,",
                                      "U4",
                                      "u70000",
                                      "u99999999999999999999"};
    struct err e = ERR_INIT;
    struct mesh m;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mesh_parse(bad[i], &m, &e), ST_USAGE);
        assert_non_null(strstr(e.text, "g2u4r1"));
    }
    assert_int_equal(mesh_parse("u4", &m, &e), ST_OK);
    assert_int_equal(m.ulysses, 4);
    assert_int_equal(m.guidance, 0);
}

static void places_and_ranks_are_inverse(void **state)
{
    struct mesh m = {2, 3, 4};
    struct mesh_place p;

    (void)state;
    for (int rank = 0; rank < mesh_ranks(&m); rank++) {
        p = mesh_place_of(&m, rank);
        assert_true(p.guidance < 2 && p.ulysses < 3 && p.ring < 4);
        assert_int_equal(p.sequence, p.ring * 3 + p.ulysses);
        assert_int_equal(mesh_rank_of(&m, &p), rank);
    }
    p = mesh_place_of(&m, 17);
    assert_int_equal(p.guidance, 1);
    assert_int_equal(p.ring, 1);
    assert_int_equal(p.ulysses, 2);
}

static void a_rank_alone_has_communicators(void **state)
{
    struct mesh m = MESH_ALONE, two = {1, 2, 1};
    struct mesh_comms c = {0};
    struct err e = ERR_INIT;
    struct comm *world;

    (void)state;
    assert_int_equal(comm_open("self", &world, &e), ST_OK);
    assert_int_equal(mesh_comms_open(&two, world, &c, &e), ST_USAGE);
    assert_int_equal(mesh_comms_open(&m, world, &c, &e), ST_OK);
    assert_int_equal(comm_size(c.guidance) * comm_size(c.sequence) *
                         comm_size(c.ulysses) * comm_size(c.ring),
                     1);
    mesh_comms_close(&c);
    comm_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_keep_the_bytes),
        cmocka_unit_test(rings_take_what_heads_cannot),
        cmocka_unit_test(wishes_are_followed),
        cmocka_unit_test(impossible_meshes_name_possible_ones),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(places_and_ranks_are_inverse),
        cmocka_unit_test(a_rank_alone_has_communicators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
