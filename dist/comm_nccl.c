/* comm_nccl.c - the transport for device memory, where NCCL is not compiled in */
#include "dist/comm_transport.h"

static enum status nccl_open(struct comm **out, struct err *e)
{
    (void)out;
    return err_set(e, ST_UNBUILT, "transport 'nccl' is not built in");
}

const struct comm_transport comm_nccl = {.name = "nccl", .open = nccl_open};
