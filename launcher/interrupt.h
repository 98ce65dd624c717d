/* interrupt.h - Ctrl-C, TERM, HUP, USR1 and USR2 as a flag that the run looks at
 *
 * The first signal sets the flag and wakes whoever waits for it. A rank other than 0
 * passes it on to rank 0 when both are on one machine, as rank 0 is the one that can do
 * something about it in the middle of a row.
 *
 * A second signal ends the process at once, by the signal's own meaning, with two
 * exceptions. TERM, INT or HUP after USR1 or USR2 takes the place of the first, as a
 * batch system that has asked politely says next; and within a second of the first any
 * signal is taken for its echo, as mpirun, srun and Slurm may each pass on the same
 * one.
 */
#ifndef LAUNCHER_INTERRUPT_H
#define LAUNCHER_INTERRUPT_H

#include <signal.h>

#include "dist/world.h"

struct interrupt {
    const volatile sig_atomic_t *signal; /* the one that counts, or 0 */
    int fd;                              /* an eventfd that is readable once for each */
    bool far;                            /* this rank cannot tell rank 0 */
};

/* Catch them from now on, as long as the process lives; those that were ignored when it
 * started stay ignored (nohup, jobs in the background). SIGPIPE is ignored, as whoever
 * reads our stderr may leave, and SIGXFSZ, as a write that fails is enough. Not
 * collective. */
const volatile sig_atomic_t *interrupt_watch(void);

/* The same on all ranks, which tell each other. Collective. */
enum status interrupt_watch_all(struct world *w, struct interrupt *out, struct err *e);

#endif
