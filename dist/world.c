/* world.c - starts MPI when a launcher has started us, and finds out where we are
 *
 * The local rank is the rank among those that share memory: environment variables
 * answer wrongly under some launchers (SLURM_LOCALID is 0 for every rank that mpirun
 * starts inside a job).
 */
#include "dist/world.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dist/world_mpi.h"

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

/* Cores over the ranks of the node that may run on any of them. */
static enum status threads_find(struct world *w, struct err *e)
{
    struct world_facts *f = &w->facts;
    cpu_set_t *sets = calloc((size_t)f->node_size, sizeof(*sets));
    cpu_set_t mine, both;
    int cores = cores_of(&mine), sharing = 0;
    enum status st = ST_OK;

    if (!sets)
        return err_set(e, ST_RESOURCE, "out of memory: %d ranks", f->node_size);
    if (w->mpi)
        st = world_check(w,
                         MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, sets,
                                       sizeof(mine), MPI_BYTE, w->node),
                         "gather", e);
    else
        sets[0] = mine;
    for (int i = 0; i < f->node_size; i++) {
        CPU_AND(&both, &mine, &sets[i]);
        sharing += CPU_COUNT(&both) > 0;
    }
    f->threads = cores > sharing && sharing > 0 ? cores / sharing : 1;
    free(sets);
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
    st = world_check(w, MPI_Bcast(&first, 1, MPI_INT, 0, w->node), "broadcast", e);
    if (st == ST_OK)
        st = world_check(w,
                         MPI_Allgather(&first, 1, MPI_INT, firsts, 1, MPI_INT, w->comm),
                         "gather", e);
    for (int i = 0; i < f->size && st == ST_OK; i++) {
        f->nodes += firsts[i] == i;
        f->node += firsts[i] == i && i < first;
    }
    free(firsts);
    return st;
}

static enum status mpi_start(struct world *w, struct err *e)
{
    struct world_facts *f = &w->facts;
    int level;

    TRY(world_check(w, MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level),
                    "start MPI", e));
    w->mpi = true;
    TRY(world_check(w, MPI_Comm_dup(MPI_COMM_WORLD, &w->comm), "copy the world", e));
    TRY(world_check(w, MPI_Comm_set_errhandler(w->comm, MPI_ERRORS_RETURN),
                    "handle errors", e));
    MPI_Comm_rank(w->comm, &f->rank);
    MPI_Comm_size(w->comm, &f->size);
    TRY(world_check(w,
                    MPI_Comm_split_type(w->comm, MPI_COMM_TYPE_SHARED, f->rank,
                                        MPI_INFO_NULL, &w->node),
                    "find the ranks of this node", e));
    MPI_Comm_rank(w->node, &f->node_rank);
    MPI_Comm_size(w->node, &f->node_size);
    return nodes_count(w, e);
}

static enum status world_find(struct world *w, struct err *e)
{
    enum world_start start;

    w->facts = (struct world_facts){.size = 1, .node_size = 1};
    if (gethostname(w->facts.host, sizeof(w->facts.host) - 1) != 0)
        snprintf(w->facts.host, sizeof(w->facts.host), "unknown");
    TRY(world_start_of(environment, &start, e));
    if (start == WORLD_START_MPI)
        TRY(mpi_start(w, e));
    else
        w->facts.nodes = 1;
    return threads_find(w, e);
}

enum status world_open(struct world **out, struct err *e)
{
    struct world *w = calloc(1, sizeof(*w));
    enum status st;

    if (!w)
        return err_set(e, ST_RESOURCE, "out of memory: world");
    w->comm = w->node = MPI_COMM_NULL;
    st = world_find(w, e);
    if (st != ST_OK) {
        free(w);
        return st;
    }
    *out = w;
    return ST_OK;
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
    if (w->mpi && !w->torn) {
        world_windows_free(w);
        MPI_Comm_free(&w->node);
        MPI_Comm_free(&w->comm);
        MPI_Finalize();
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
    if (w->mpi)
        MPI_Abort(w->comm, code);
    _exit(code);
}
