/* subject.h - what a command is to go on with: an output, a checkpoint, or a job file
 *
 *     video.mp4                      the output of a job; its checkpoints are beside it
 *     video.mp4.checkpoints          the same by the folder of checkpoints
 *     …/ck-0000-0017-i1.h5           one checkpoint, under any name
 *     job.json                       a job file, as `generate --job` takes it
 *
 * A file is looked at: checkpoints and JSON objects begin as nothing else does, but
 * what has the name of a video is never a job. What is not there is taken by its name.
 */
#ifndef LAUNCHER_SUBJECT_H
#define LAUNCHER_SUBJECT_H

#include "dist/world.h"
#include "engine/checkpoint/store.h"

enum subject_kind { SUBJECT_OUTPUT, SUBJECT_CHECKPOINT, SUBJECT_JOB };

struct subject {
    enum subject_kind kind;
    const char *path; /* as it was given; borrowed */
    char *output;     /* SUBJECT_OUTPUT: its name; owned */
};

/* Rank 0 looks, for all; `w` NULL: the caller looks for itself. The caller releases.
 * Collective. */
enum status subject_init(struct subject *s, struct world *w, const char *path,
                         struct err *e);
void subject_release(struct subject *s);

/* The newest valid checkpoint of an output. When there is none, the reasons go to
 * stderr. */
enum status subject_newest(const char *output, struct checkpoint *ck, struct err *e);

#endif
