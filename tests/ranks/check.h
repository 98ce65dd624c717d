/* check.h - assertions for programs that run on several ranks
 *
 * A rank whose check fails says where and aborts, and mpirun ends its peers: a test
 * framework that went on to the next test would leave them waiting.
 */
#ifndef TESTS_RANKS_CHECK_H
#define TESTS_RANKS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* An enum status call with a struct err `e` in scope. */
#define CHECK_OK(call)                                                    \
    do {                                                                  \
        if ((call) != ST_OK) {                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, (e).text); \
            abort();                                                      \
        }                                                                 \
    } while (0)

#endif
