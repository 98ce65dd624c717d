/* interrupt.c - one flag, set by the first signal */
#include "launcher/interrupt.h"

#include <string.h>

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    caught = sig;
}

/* What was ignored when we started stays so: nohup, jobs in the background. */
static void catch_signal(int sig)
{
    struct sigaction action;

    if (sigaction(sig, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(sig, &action, NULL);
}

const volatile sig_atomic_t *interrupt_watch(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
    catch_signal(SIGUSR1);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return &caught;
}
