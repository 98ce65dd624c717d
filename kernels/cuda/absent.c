/* absent.c - stands in for the CUDA backend where it is not compiled in */
#include "kernels/backend.h"

enum status cuda_open(const struct ops_options *opt, struct ops *out, struct err *e)
{
    (void)opt;
    (void)out;
    return err_set(e, ST_UNBUILT, "backend 'cuda' is not built into this program");
}

enum status cuda_devices(int *out, struct err *e)
{
    (void)out;
    return err_set(e, ST_UNBUILT, "backend 'cuda' is not built into this program");
}
