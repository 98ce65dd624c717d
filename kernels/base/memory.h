/* memory.h - how much host memory is left
 *
 * What the system says can be handed out without swapping (MemAvailable), and at most
 * the limit of the control group that a container or a batch job runs in. A fact to
 * refuse a plan by, not a reservation.
 */
#ifndef KERNELS_BASE_MEMORY_H
#define KERNELS_BASE_MEMORY_H

#include <stddef.h>

/* Bytes; SIZE_MAX when nobody says. */
size_t memory_available(void);

#endif
