/* clock.h - seconds of a clock that never goes back, for durations */
#ifndef KERNELS_BASE_CLOCK_H
#define KERNELS_BASE_CLOCK_H

/* Seconds since some fixed moment. */
double clock_seconds(void);

#endif
