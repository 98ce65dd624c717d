/* calls.h - system calls that fail, or kill the process, when a test says so
 *
 * The functions of the C library through which this program touches files are defined
 * again in calls.c and pass through, until a fault is due. Linked into a test, the test
 * counts:
 *
 *     calls_arm(n, EIO);                  the n-th call of this thread from now on
 *     st = checkpoint_save(…);
 *     met = calls_disarm();               NULL: it made fewer than n
 *
 * As a shared library put before others (LD_PRELOAD) the environment decides, for any
 * program:
 *
 *     FF_FAULT="CALL PATTERN N ACTION"    the N-th CALL on a file whose last name
 *                                         matches PATTERN (fnmatch)
 *     FF_FAULT="fsync .ck-*.tmp 2 EIO"    the second checkpoint cannot be synced
 *     FF_FAULT="renameat .ck-* 1 kill"    killed just before the first gets its name
 *
 * ACTION is the name of an error, `short` (half of the bytes are taken), `kill`
 * (SIGKILL), `stop` (SIGSTOP), each with a + behind for this and all later ones.
 */
#ifndef TESTS_FAULTS_CALLS_H
#define TESTS_FAULTS_CALLS_H

/* What happens instead of a call, beside values of errno. */
enum { CALLS_SHORT = -1, CALLS_KILL = -2, CALLS_STOP = -3 };

void calls_arm(long n, int action);

/* The name of the call that met the fault, or NULL. */
const char *calls_disarm(void);

#endif
