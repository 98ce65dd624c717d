/* interrupt.c - one flag, set by the first signal */
#include "launcher/interrupt.h"

#include <string.h>

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    caught = sig;
}

const volatile sig_atomic_t *interrupt_watch(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &caught;
}

void interrupt_die(void)
{
    int sig = caught;

    if (!sig)
        return;
    signal(sig, SIG_DFL);
    raise(sig);
}
