/* interrupt.h - Ctrl-C, TERM, HUP and USR1 as a flag that the run looks at between
 * steps
 *
 * The first signal sets the flag, so that a checkpoint is written and outputs are
 * cleaned up; the exit code is 75 then. A second one of its kind ends the process at
 * once.
 */
#ifndef LAUNCHER_INTERRUPT_H
#define LAUNCHER_INTERRUPT_H

#include <signal.h>

/* Catch SIGINT, SIGTERM, SIGHUP and SIGUSR1, and ignore SIGPIPE, as whoever reads our
 * stderr may leave, and SIGXFSZ, as a write that fails is enough. The flag lives as
 * long as the process. */
const volatile sig_atomic_t *interrupt_watch(void);

#endif
