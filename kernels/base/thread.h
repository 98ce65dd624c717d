/* thread.h - threads that leave signals to others */
#ifndef KERNELS_BASE_THREAD_H
#define KERNELS_BASE_THREAD_H

#include <pthread.h>

/* As pthread_create; every signal that can be blocked is, in the new thread and in what
 * it starts, so handlers run in the thread that is there to be interrupted. */
int thread_start_quiet(pthread_t *thread, void *(*run)(void *), void *ctx);

#endif
