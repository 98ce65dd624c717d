/* test_world.c - how a process was started, from recorded environments, and a lone
 * world
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dist/world.h"

enum { VARIABLES_MAX = 6 };

struct start {
    const char *name;
    const char *variables[2 * VARIABLES_MAX]; /* name, value, … */
    enum status status;
    enum world_start start;
    const char *text;
};

/* As seen under Slurm 22.05 and Open MPI 4.1 (cluster-and-recovery 1.2). */
static const struct start starts[] = {
    {"a shell", {NULL}, ST_OK, WORLD_START_ALONE, NULL},
    {"mpirun",
     {"OMPI_COMM_WORLD_SIZE", "4", "PMIX_RANK", "2"},
     ST_OK,
     WORLD_START_MPI,
     NULL},
    {"mpirun inside a Slurm job",
     {"OMPI_COMM_WORLD_SIZE", "4", "PMIX_RANK", "2", "SLURM_PROCID", "1",
      "SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "2"},
     ST_OK,
     WORLD_START_MPI,
     NULL},
    {"srun --mpi=pmix",
     {"PMIX_RANK", "3", "SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "4",
      "SLURM_PROCID", "3"},
     ST_OK,
     WORLD_START_MPI,
     NULL},
    {"batch script", {"SLURM_PROCID", "0"}, ST_OK, WORLD_START_ALONE, NULL},
    {"srun with one task",
     {"SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "1"},
     ST_OK,
     WORLD_START_ALONE,
     NULL},
    {"srun without PMIx",
     {"SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "4", "SLURM_PROCID", "0"},
     ST_USAGE,
     WORLD_START_ALONE,
     "started by srun without PMIx: add --mpi=pmix"},
    {"its other tasks",
     {"SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "4", "SLURM_PROCID", "1"},
     ST_USAGE,
     WORLD_START_ALONE,
     ""},
    {"srun --mpi=pmi2",
     {"PMI_RANK", "0", "SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "2",
      "SLURM_PROCID", "0"},
     ST_USAGE,
     WORLD_START_ALONE,
     "started by srun without PMIx: add --mpi=pmix"},
    {"a number that is none",
     {"SLURM_STEP_ID", "0", "SLURM_STEP_NUM_TASKS", "4x"},
     ST_OK,
     WORLD_START_ALONE,
     NULL},
};
enum { STARTS = sizeof(starts) / sizeof(starts[0]) };

static const struct start *current;

static const char *recorded(const char *name)
{
    for (int i = 0; i < 2 * VARIABLES_MAX && current->variables[i]; i += 2) {
        if (strcmp(current->variables[i], name) == 0)
            return current->variables[i + 1];
    }
    return NULL;
}

static void finds_how_it_was_started(void **state)
{
    (void)state;
    for (int i = 0; i < STARTS; i++) {
        enum world_start got = WORLD_START_ALONE;
        struct err e = ERR_INIT;

        current = &starts[i];
        print_message("%s\n", current->name);
        assert_int_equal(world_start_of(recorded, &got, &e), current->status);
        if (current->status == ST_OK)
            assert_int_equal(got, current->start);
        else
            assert_string_equal(e.text, current->text);
    }
}

static void is_alone_and_agrees(void **state)
{
    const struct world_facts *f;
    struct world *w;
    struct err e = ERR_INIT;
    struct world_window *win;
    int mine = 7, all = 0;

    (void)state;
    assert_int_equal(world_open(&w, &e), ST_OK);
    f = world_facts(w);
    assert_int_equal(f->rank, 0);
    assert_int_equal(f->size, 1);
    assert_int_equal(f->nodes, 1);
    assert_true(f->threads >= 1);
    assert_int_equal(world_gather(w, &mine, sizeof(mine), &all, &e), ST_OK);
    assert_int_equal(all, 7);
    assert_int_equal(world_same(w, "numbers", &mine, sizeof(mine), &e), ST_OK);
    assert_int_equal(world_window_open(w, 100000, &win, &e), ST_OK);
    memset(world_window_data(win), 1, 100000);
    assert_int_equal((uintptr_t)world_window_data(win) % 4096, 0);
    world_window_close(win);
    err_set(&e, ST_INPUT, "what went wrong");
    assert_int_equal(world_agree(w, ST_INPUT, &e), ST_INPUT);
    assert_string_equal(e.text, "what went wrong");
    assert_false(world_torn(w));
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_how_it_was_started),
        cmocka_unit_test(is_alone_and_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
