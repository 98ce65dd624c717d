/* comm_mpi.h - the MPI side of a communicator, for the rest of dist */
#ifndef DIST_COMM_MPI_H
#define DIST_COMM_MPI_H

#include <mpi.h>

#include "dist/comm.h"

/* The handle below an "mpi" communicator, borrowed; MPI_COMM_NULL for other
 * transports. Not collective. */
MPI_Comm comm_mpi_handle(const struct comm *c);

/* ST_OK for MPI_SUCCESS, otherwise ST_DEVICE with `what` ("broadcast") and the text of
 * the library. Not collective. */
enum status comm_mpi_status(int code, const char *what, struct err *e);

#endif
