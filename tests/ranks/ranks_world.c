/* ranks_world.c - what a world of several ranks does, or its end by force
 *
 *     ranks_world          verdicts, data and shared memory
 *     ranks_world torn     rank 1 fails where the others cannot hear of it: exit code 5
 */
#include <string.h>
#include <unistd.h>

#include "dist/comm.h"
#include "dist/devices.h"
#include "dist/world.h"
#include "tests/ranks/check.h"

enum { WINDOW_BYTES = 3 << 20, RANKS_MAX = 64 };

static void data_moves(struct world *w)
{
    const struct world_facts *f = world_facts(w);
    struct err e = ERR_INIT;
    int mine = 10 * f->rank, all[RANKS_MAX], word = f->rank == 0 ? 99 : 0;

    CHECK(f->size <= RANKS_MAX && f->nodes >= 1 && f->threads >= 1);
    CHECK_OK(world_gather(w, &mine, sizeof(mine), all, &e));
    for (int i = 0; i < f->size; i++)
        CHECK(all[i] == 10 * i);
    CHECK_OK(world_bcast(w, &word, sizeof(word), &e));
    CHECK(word == 99);
    CHECK_OK(world_same(w, "words", &word, sizeof(word), &e));
}

/* As if the last rank's library were another one; all ranks hear of it. */
static void choices_are_alike(struct world *w)
{
    const struct world_facts *f = world_facts(w);
    struct err e = ERR_INIT;
    struct ops_facts facts = {.name = "cuda", .chooses = "cublasLt 130100"};

    CHECK_OK(devices_check(w, &facts, 0, &e));
    if (f->size == 1)
        return;
    if (f->rank == f->size - 1)
        facts.chooses = "cublasLt 130200";
    CHECK(devices_check(w, &facts, 0, &e) == ST_USAGE);
    CHECK(strstr(e.text, "has cublasLt 130200, rank 0 of "));
}

/* Every rank of a node sees what its first one writes. */
static void memory_is_shared(struct world *w)
{
    const struct world_facts *f = world_facts(w);
    struct world_window *win;
    struct err e = ERR_INIT;
    unsigned char *data;

    CHECK_OK(world_window_open(w, WINDOW_BYTES, &win, &e));
    data = world_window_data(win);
    if (f->node_rank == 0)
        memset(data, 0xa5, WINDOW_BYTES);
    CHECK_OK(world_agree(w, ST_OK, &e));
    for (int i = 0; i < WINDOW_BYTES; i += 4097)
        CHECK(data[i] == 0xa5);
    CHECK_OK(world_agree(w, ST_OK, &e));
    world_window_close(win);
}

/* Ranks fail at different calls; all leave with the text of the first. */
static void verdict_is_one(struct world *w)
{
    const struct world_facts *f = world_facts(w);
    struct err e = ERR_INIT;
    enum status st;
    int word = 0;

    if (f->rank == f->size - 1)
        st = world_agree(w, err_set(&e, ST_INPUT, "rank that is last"), &e);
    else
        st = world_bcast(w, &word, sizeof(word), &e);
    CHECK(st == ST_INPUT && strstr(e.text, "rank that is last"));
    CHECK(f->size == 1 || strncmp(e.text, "rank ", 5) == 0);
    CHECK(world_agree(w, st, &e) == ST_INPUT);
}

/* The others stand in a barrier that rank 1 never comes to. */
static int end_by_force(struct world *w)
{
    struct err e = ERR_INIT;

    if (world_facts(w)->rank == 1) {
        world_tear(w);
        CHECK(world_torn(w));
        CHECK(world_agree(w, ST_DEVICE, &e) == ST_DEVICE);
        world_abort(w, status_exit_code(ST_DEVICE));
    }
    comm_barrier(world_comm(w), &e);
    sleep(60);
    return 0;
}

int main(int argc, char **argv)
{
    struct world *w;
    struct err e = ERR_INIT;

    CHECK_OK(world_open(&w, &e));
    if (argc > 1 && strcmp(argv[1], "torn") == 0)
        return end_by_force(w);
    data_moves(w);
    memory_is_shared(w);
    choices_are_alike(w);
    if (world_facts(w)->size > 1)
        verdict_is_one(w);
    world_close(w);
    return 0;
}
