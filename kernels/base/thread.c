/* thread.c - a new thread inherits the mask of the one that makes it */
#include "kernels/base/thread.h"

#include <signal.h>

int thread_start_quiet(pthread_t *thread, void *(*run)(void *), void *ctx)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(thread, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
