/* world.h - the ranks of a launch: who is here, one verdict for all, the way out
 *
 * `mpirun -n P framefleet …` and `srun --mpi=pmix framefleet …` start P ranks; without
 * either the world has one rank, and MPI is not even started. A process that runs the
 * HDF5 child (engine/h5/h5.h) must do that before world_open.
 *
 *     TRY(world_open(&w, e));
 *     …
 *     st = work(w, e);                      every rank, with its own success or failure
 *     if (world_torn(w))
 *         world_abort(w, exit_code);        after printing e; does not come back
 *     st = world_agree(w, st, e);           now all have the same status and text
 *     world_close(w);
 *
 * Agreement. Every collective call here begins with an agreement: when a rank has
 * failed, all of them return the status and the text of the failed rank that is first
 * in rank order, and so does every later call, without talking. A rank that fails on
 * its own therefore just goes up to its caller, and to world_agree at the end: it meets
 * the others at their next call, whatever that is. Texts of ranks other than 0 begin
 * with "rank 3 on host: ".
 *
 * Waiting in these calls sleeps: a rank that has nothing to do leaves its core to those
 * that do.
 *
 * Torn. A failure in the middle of an exchange cannot be met like that: others wait for
 * this rank in another call. Such code calls world_tear; then nothing here talks any
 * more, and the process must end with world_abort, which ends the others too.
 */
#ifndef DIST_WORLD_H
#define DIST_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base/err.h"

enum { WORLD_HOST_BYTES = 64 };

struct world_facts {
    int rank, size;
    int node_rank, node_size; /* among the ranks that share memory with this one */
    int node, nodes;          /* numbered by their first ranks */
    int threads;              /* cores of this process / ranks that share them, >= 1 */
    char host[WORLD_HOST_BYTES];
};

struct world;
struct comm;

enum world_start { WORLD_START_ALONE, WORLD_START_MPI };

/* How was this process started? `get` is getenv or a fixture. A start by srun without
 * PMIx, which MPI would not survive, is ST_USAGE, with a text in the first task only.
 * Not collective. */
enum status world_start_of(const char *(*get)(const char *name), enum world_start *out,
                           struct err *e);

/* Collective. */
enum status world_open(struct world **out, struct err *e);

/* Ends MPI; world_close(NULL) is fine. Collective. */
void world_close(struct world *w);

/* Valid until world_close. Not collective. */
const struct world_facts *world_facts(const struct world *w);

/* The ranks of the world, borrowed; talk on it only after an agreement. Not
 * collective. */
struct comm *world_comm(struct world *w);

/* All ranks leave with the status and text of the first that failed. Collective. */
enum status world_agree(struct world *w, enum status st, struct err *e);

/* Refuse (ST_USAGE) ranks that were given other bytes than rank 0, which are `what`:
 * "arguments". Collective. */
enum status world_same(struct world *w, const char *what, const void *data,
                       size_t bytes, struct err *e);

/* To every rank of the world from rank 0, or to every rank of a node from its first.
 * Collective over the world, both. */
enum status world_bcast(struct world *w, void *data, size_t bytes, struct err *e);
enum status world_node_bcast(struct world *w, void *data, size_t bytes, struct err *e);

/* all[rank * bytes]: what every rank gave, on every rank. Collective. */
enum status world_gather(struct world *w, const void *mine, size_t bytes, void *all,
                         struct err *e);

void world_tear(struct world *w);            /* Not collective. */
bool world_torn(const struct world *w);      /* Not collective. */
void world_abort(struct world *w, int code); /* Not collective. */

/* ---- memory that the ranks of a node share --------------------------------------- */

/* One piece of memory per node, in MPI's shared memory when /dev/shm has room for it,
 * else in a file in TMPDIR (or /tmp) that has no name any more when this returns. A
 * lone rank of a node gets ordinary memory. Page aligned, its contents are undefined.
 * Too little room is ST_RESOURCE, with numbers. */
struct world_window;

/* Collective. */
enum status world_window_open(struct world *w, size_t bytes, struct world_window **out,
                              struct err *e);
void *world_window_data(const struct world_window *win); /* Not collective. */

/* Data is not to be touched any more. MPI gets its memory back in world_close, where
 * all ranks are together again. Not collective. */
void world_window_close(struct world_window *win);

#endif
