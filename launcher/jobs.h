/* jobs.h - the jobs of one launch: flags alone, a JSON job file, or JSON lines
 *
 * A file whose first line is a whole value, with more behind it, holds a job on every
 * line that is not blank; any other file is one job. Rank 0 reads the file, the others
 * get its text. Each job has the flags laid over it. What belongs to the launch (model,
 * backend, precision …) must be the same in all.
 */
#ifndef LAUNCHER_JOBS_H
#define LAUNCHER_JOBS_H

#include "dist/world.h"
#include "launcher/settings.h"

enum { JOBS_MAX = 10000 };

struct jobs {
    struct settings_doc *doc;
    int n;
    const char **rest; /* arguments that are not flags, in order; borrowed from argv */
    int n_rest;
};

/* Read flags and the job file that they name. On ST_OK there is at least one job; the
 * caller releases. Collective. */
enum status jobs_read(struct jobs *jobs, struct world *w, int argc,
                      const char *const *argv, struct err *e);

/* The same with the job file named; NULL: flags alone. */
enum status jobs_read_file(struct jobs *jobs, struct world *w, const char *path,
                           int argc, const char *const *argv, struct err *e);

/* The same for one job whose JSON is there already, on every rank; `name` is what
 * errors call it. Not collective. */
enum status jobs_from_text(struct jobs *jobs, int argc, const char *const *argv,
                           const char *name, const struct buf *text, struct err *e);
void jobs_release(struct jobs *jobs);

/* The jobs that are to be run (values.skip), in order, for pipeline_expect: the list is
 * the caller's, with what it points to the jobs'. Not collective. */
enum status jobs_list(const struct jobs *jobs, const struct job ***out, int *n,
                      struct err *e);

#endif
