/* test_devices.c - GPUs of ranks from recorded machines, and what is refused */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dist/devices.h"

struct machine {
    const char *name;
    int visible, node_rank, node_size;
    enum status status;
    int device;
};

/* What ranks see under the launchers of cluster-and-recovery 1.3. */
static const struct machine machines[] = {
    {"a backend on the host", 0, 3, 4, ST_OK, 0},
    {"a workstation", 1, 0, 1, ST_OK, 0},
    {"one rank, four GPUs", 4, 0, 1, ST_OK, 0},
    {"--gpus-per-node=4, four ranks", 4, 3, 4, ST_OK, 3},
    {"eight GPUs, two ranks", 8, 1, 2, ST_OK, 1},
    {"--gpus-per-task=1 with cgroups", 1, 3, 4, ST_OK, 0},
    {"fewer GPUs than ranks", 2, 0, 4, ST_USAGE, 0},
    {"the last rank of them", 3, 3, 4, ST_USAGE, 0},
};

static void gives_each_rank_a_gpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        const struct machine *m = &machines[i];
        struct world_facts f = {.node_rank = m->node_rank, .node_size = m->node_size};
        struct err e = ERR_INIT;
        int device = -1;

        print_message("%s\n", m->name);
        snprintf(f.host, sizeof(f.host), "n1");
        assert_int_equal(device_choose(m->visible, &f, &device, &e), m->status);
        assert_int_equal(device, m->status == ST_OK ? m->device : -1);
        if (m->status != ST_OK && m->node_size == 4 && m->visible == 2)
            assert_string_equal(e.text, "cannot place 4 ranks on the 2 gpus of 'n1': "
                                        "start one rank per gpu");
    }
}

static void refuses_two_ranks_on_one_gpu(void **state)
{
    struct device_claim claims[4] = {{"n1", "GPU-a", 2, ""},
                                     {"n1", "GPU-b", 2, ""},
                                     {"n2", "GPU-c", 2, ""},
                                     {"n2", "GPU-d", 2, ""}};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(devices_distinct(claims, 4, &e), ST_OK);
    claims[3] = claims[2];
    assert_int_equal(devices_distinct(claims, 4, &e), ST_USAGE);
    assert_string_equal(e.text, "cannot place ranks 2 and 3 of 'n2' on one gpu, GPU-c");
    assert_int_equal(devices_distinct(claims, 3, &e), ST_OK);
    claims[3].visible = claims[2].visible = 1;
    assert_int_equal(devices_distinct(claims, 4, &e), ST_USAGE);
    assert_non_null(strstr(e.text, "its peers are hidden"));
}

static void refuses_ranks_that_choose_otherwise(void **state)
{
    struct device_claim claims[3] = {{"n1", "GPU-a", 2, "cublasLt 130100"},
                                     {"n1", "GPU-b", 2, "cublasLt 130100"},
                                     {"n2", "GPU-c", 2, "cublasLt 130100"}};
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(devices_alike(claims, 3, &e), ST_OK);
    snprintf(claims[2].chooses, sizeof(claims[2].chooses), "cublasLt 130200");
    assert_int_equal(devices_alike(claims, 2, &e), ST_OK);
    assert_int_equal(devices_alike(claims, 3, &e), ST_USAGE);
    assert_string_equal(
        e.text, "cannot work out products alike: rank 2 of 'n2' has cublasLt 130200, "
                "rank 0 of 'n1' cublasLt 130100; give all ranks one cuBLAS and one "
                "file of algorithms");
}

static void lets_ranks_share_a_host(void **state)
{
    struct device_claim claims[2] = {{"n1", "", 0, ""}, {"n1", "", 0, ""}};
    struct ops_options opt = {.threads = 1};
    struct ops *ops = NULL;
    struct err e = ERR_INIT;
    struct world *w;
    bool hidden = true;

    (void)state;
    assert_int_equal(devices_distinct(claims, 2, &e), ST_OK);
    assert_int_equal(world_open(&w, &e), ST_OK);
    assert_int_equal(devices_check(w, &(struct ops_facts){.name = "cpu"}, 0, &e),
                     ST_OK);
    assert_int_equal(
        devices_check(
            w, &(struct ops_facts){.name = "cuda", .device = "GPU-a", .chooses = "x"},
            1, &e),
        ST_OK);
    assert_int_equal(devices_open(w, "cpu", &opt, &ops, &hidden, &e), ST_OK);
    assert_false(hidden);
    assert_null(ops_facts(ops)->device);
    ops_close(ops);
    assert_int_equal(devices_open(w, "quantum", &opt, &ops, &hidden, &e), ST_USAGE);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_each_rank_a_gpu),
        cmocka_unit_test(refuses_two_ranks_on_one_gpu),
        cmocka_unit_test(refuses_ranks_that_choose_otherwise),
        cmocka_unit_test(lets_ranks_share_a_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
