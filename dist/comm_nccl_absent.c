/* comm_nccl_absent.c - stands in for the transport between GPUs where it is not built
 */
#include "dist/comm_transport.h"

static enum status absent_over(struct comm *host, struct ops *ops, struct comm **out,
                               struct err *e)
{
    (void)host;
    (void)ops;
    (void)out;
    return err_set(e, ST_UNBUILT, "exchanges among gpus (nccl) are not built in");
}

const struct comm_transport comm_nccl = {.name = "nccl", .over = absent_over};
