/* world.c - starts MPI when a launcher has started us, and finds out where we are
 *
 * The local rank is the rank among those that share memory: environment variables
 * answer wrongly under some launchers (SLURM_LOCALID is 0 for every rank that mpirun
 * starts inside a job).
 */
#include "dist/world.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dist/comm_mpi.h"
#include "dist/world_inside.h"

/* ---- how we were started --------------------------------------------------------- */

/* A count from the environment, or -1 when it is not there or not a count. */
static long count_of(const char *text)
{
    char *end;
    long n;

    if (!text || !*text)
        return -1;
    errno = 0;
    n = strtol(text, &end, 10);
    return errno || *end || n < 0 ? -1 : n;
}

enum status world_start_of(const char *(*get)(const char *name), enum world_start *out,
                           struct err *e)
{
    /* Open MPI and every PMIx launcher; MPICH and its relatives. */
    static const char *const marks[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                        "PMI_FD"};
    bool marked = false;

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        marked = marked || get(marks[i]);
    if (get("SLURM_STEP_ID") && count_of(get("SLURM_STEP_NUM_TASKS")) > 1 &&
        !get("PMIX_RANK") && !get("OMPI_COMM_WORLD_SIZE")) {
        if (count_of(get("SLURM_PROCID")) > 0)
            return err_set(e, ST_USAGE, "%s", "");
        return err_set(e, ST_USAGE, "started by srun without PMIx: add --mpi=pmix");
    }
    *out = marked ? WORLD_START_MPI : WORLD_START_ALONE;
    return ST_OK;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* ---- where we are ---------------------------------------------------------------- */

static int cores_of(cpu_set_t *set)
{
    CPU_ZERO(set);
    if (sched_getaffinity(0, sizeof(*set), set) != 0 || CPU_COUNT(set) == 0)
        CPU_SET(0, set);
    return CPU_COUNT(set);
}

/* Cores over the ranks of the node that may run on any of them. Bytes of all ranks,
 * since the gathering is of the whole world. */
static enum status threads_find(struct world *w, struct err *e)
{
    struct world_facts *f = &w->facts;
    struct where {
        int node;
        cpu_set_t cores;
    } mine = {.node = f->node}, *all = calloc((size_t)f->size, sizeof(*all));
    int cores = cores_of(&mine.cores), sharing = 0;
    cpu_set_t both;
    enum status st;

    if (!all)
        return err_set(e, ST_RESOURCE, "out of memory: %d ranks", f->size);
    st = world_gather(w, &mine, sizeof(mine), all, e);
    for (int i = 0; i < f->size && st == ST_OK; i++) {
        CPU_AND(&both, &mine.cores, &all[i].cores);
        sharing += all[i].node == f->node && CPU_COUNT(&both) > 0;
    }
    f->threads = sharing > 0 && cores > sharing ? cores / sharing : 1;
    free(all);
    return st;
}

/* Number the nodes by their first ranks. */
static enum status nodes_count(struct world *w, struct err *e)
{
    struct world_facts *f = &w->facts;
    int first = f->rank;
    int *firsts = calloc((size_t)f->size, sizeof(*firsts));
    enum status st;

    if (!firsts)
        return err_set(e, ST_RESOURCE, "out of memory: %d ranks", f->size);
    st = world_node_bcast(w, &first, sizeof(first), e);
    if (st == ST_OK)
        st = world_gather(w, &first, sizeof(first), firsts, e);
    for (int i = 0; i < f->size && st == ST_OK; i++) {
        f->nodes += firsts[i] == i;
        f->node += firsts[i] == i && i < first;
    }
    free(firsts);
    return st;
}

static enum status world_find(struct world *w, struct err *e)
{
    enum world_start start;

    if (gethostname(w->facts.host, sizeof(w->facts.host) - 1) != 0)
        snprintf(w->facts.host, sizeof(w->facts.host), "unknown");
    TRY(world_start_of(environment, &start, e));
    TRY(comm_open(start == WORLD_START_MPI ? "mpi" : "self", &w->all, e));
    TRY(comm_split_node(w->all, &w->node, e));
    w->facts.rank = comm_rank(w->all);
    w->facts.size = comm_size(w->all);
    w->facts.node_rank = comm_rank(w->node);
    w->facts.node_size = comm_size(w->node);
    TRY(nodes_count(w, e));
    return threads_find(w, e);
}

enum status world_open(struct world **out, struct err *e)
{
    struct world *w = calloc(1, sizeof(*w));
    enum status st;

    if (!w)
        return err_set(e, ST_RESOURCE, "out of memory: world");
    st = world_find(w, e);
    if (st != ST_OK) {
        free(w);
        return st;
    }
    *out = w;
    return ST_OK;
}

struct comm *world_comm(struct world *w)
{
    return w->all;
}

const struct world_facts *world_facts(const struct world *w)
{
    return &w->facts;
}

/* ---- the way out ----------------------------------------------------------------- */

void world_close(struct world *w)
{
    if (!w)
        return;
    if (!w->torn) {
        world_windows_free(w);
        comm_close(w->node);
        comm_close(w->all);
    }
    free(w);
}

void world_tear(struct world *w)
{
    if (w->facts.size > 1)
        w->torn = true;
}

bool world_torn(const struct world *w)
{
    return w->torn;
}

void world_abort(struct world *w, int code)
{
    if (comm_mpi_handle(w->all) != MPI_COMM_NULL)
        MPI_Abort(comm_mpi_handle(w->all), code);
    _exit(code);
}
