/* interrupt.c - what a handler may do: set a flag, wake a thread, pass it on */
#include "launcher/interrupt.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Of a signal to one process there can be no other place than the process's own. */
static volatile sig_atomic_t caught;
static volatile sig_atomic_t caught_at; /* seconds */
static int wake = -1;
static pid_t leader; /* 0: nobody to pass it on to */

enum { ECHO_SECONDS = 1 };

static bool is_hard(int sig)
{
    return sig != SIGUSR1 && sig != SIGUSR2;
}

/* How one rank tells another. */
static int passed_on(void)
{
    return SIGRTMIN + 5;
}

static sig_atomic_t seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (sig_atomic_t)now.tv_sec;
}

static void take(int sig)
{
    uint64_t one = 1;
    ssize_t rc;

    caught = sig;
    caught_at = seconds_now();
    rc = wake >= 0 ? write(wake, &one, sizeof(one)) : 0;
    (void)rc; /* full: it is readable already */
    if (leader > 0)
        sigqueue(leader, passed_on(), (union sigval){.sival_int = sig});
}

static void on_signal(int sig)
{
    int before = errno;

    if (!caught || (is_hard(sig) && !is_hard(caught))) {
        take(sig);
    } else if (seconds_now() - caught_at > ECHO_SECONDS &&
               is_hard(sig) == is_hard(caught)) {
        signal(sig, SIG_DFL); /* delivered when this handler returns */
        raise(sig);
    }
    errno = before;
}

/* From another rank: never a second one. */
static void on_passed(int sig, siginfo_t *info, void *context)
{
    int before = errno, was = info->si_value.sival_int;

    (void)sig;
    (void)context;
    if (info->si_code == SI_QUEUE &&
        (was == SIGUSR1 || was == SIGUSR2 || was == SIGINT || was == SIGTERM ||
         was == SIGHUP) &&
        (!caught || (is_hard(was) && !is_hard(caught))))
        take(was);
    errno = before;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

static void handlers_set(void)
{
    struct sigaction action, before;

    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&action.sa_mask, signals[i]);
    sigaddset(&action.sa_mask, passed_on());
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_signal;
    for (int i = 0; i < SIGNALS; i++) {
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    action.sa_flags = SA_RESTART | SA_SIGINFO;
    action.sa_sigaction = on_passed;
    sigaction(passed_on(), &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

/* Rank 0, if its number means here what it means there: on this machine, and among the
 * same processes (containers of one machine number them apart). */
static enum status leader_find(struct world *w, struct err *e)
{
    const struct world_facts *f = world_facts(w);
    struct where {
        int64_t node, pid, space;
    } mine = {f->node, getpid(), 0}, *all;
    struct stat names;
    enum status st;

    if (stat("/proc/self/ns/pid", &names) == 0)
        mine.space = (int64_t)names.st_ino;
    all = calloc((size_t)f->size, sizeof(*all));
    if (!all)
        return err_set(e, ST_RESOURCE, "out of memory: %d ranks", f->size);
    st = world_gather(w, &mine, sizeof(mine), all, e);
    if (st == ST_OK && f->rank > 0 && all[0].node == mine.node &&
        all[0].space == mine.space)
        leader = (pid_t)all[0].pid;
    free(all);
    return st;
}

const volatile sig_atomic_t *interrupt_watch(void)
{
    handlers_set();
    return &caught;
}

enum status interrupt_watch_all(struct world *w, struct interrupt *out, struct err *e)
{
    if (wake < 0)
        wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0)
        return err_set(e, ST_RESOURCE, "cannot make an eventfd: %s", strerror(errno));
    handlers_set();
    TRY(leader_find(w, e));
    *out = (struct interrupt){&caught, wake, world_facts(w)->rank > 0 && leader == 0};
    return ST_OK;
}
