/* interrupt.h - Ctrl-C, TERM, HUP and USR1 as a flag that the run looks at between
 * steps
 *
 * The first signal sets the flag, so that outputs are cleaned up; a second one ends the
 * process at once. interrupt_die gives the signal back its own meaning and raises it,
 * so that whoever started us sees how we ended.
 */
#ifndef LAUNCHER_INTERRUPT_H
#define LAUNCHER_INTERRUPT_H

#include <signal.h>

/* Catch SIGINT, SIGTERM, SIGHUP and SIGUSR1, and ignore SIGPIPE, as whoever reads our
 * stderr may leave, and SIGXFSZ, as a write that fails is enough. The flag lives as
 * long as the process. */
const volatile sig_atomic_t *interrupt_watch(void);

/* End by the signal that was caught; returns if there was none, or USR1: that one asks
 * for a checkpoint and exit code 75. */
void interrupt_die(void);

#endif
