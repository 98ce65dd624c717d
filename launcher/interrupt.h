/* interrupt.h - Ctrl-C, TERM and HUP as a flag that the run looks at between steps
 *
 * The first signal sets the flag, so that outputs are cleaned up; a second one ends the
 * process at once. interrupt_die gives the signal back its own meaning and raises it,
 * so that whoever started us sees how we ended.
 */
#ifndef LAUNCHER_INTERRUPT_H
#define LAUNCHER_INTERRUPT_H

#include <signal.h>

/* Catch SIGINT, SIGTERM and SIGHUP, and ignore SIGPIPE: whoever reads our stderr may
 * leave. The flag lives as long as the process. */
const volatile sig_atomic_t *interrupt_watch(void);

/* End by the signal that was caught; returns if there was none. */
void interrupt_die(void);

#endif
