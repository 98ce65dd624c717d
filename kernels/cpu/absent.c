/* absent.c - stands in for the CPU backend where OpenBLAS is not at hand */
#include "kernels/backend.h"

enum status cpu_open(const struct ops_options *opt, struct ops *out, struct err *e)
{
    (void)opt;
    (void)out;
    return err_set(e, ST_UNBUILT, "backend 'cpu' is not built into this program");
}
