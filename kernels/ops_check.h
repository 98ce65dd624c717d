/* ops_check.h - what ops.c verifies about the arguments of every op
 *
 * Private to ops.c. Each function returns ST_OK, or ST_USAGE with one line that names
 * op, argument and what is wrong: "norm: 'out' has shape [3,5], must be [3,4]".
 */
#ifndef KERNELS_OPS_CHECK_H
#define KERNELS_OPS_CHECK_H

#include "kernels/backend.h"

#define CHECK_PROTO(op)                                                            \
    enum status op##_check(const struct ops_facts *facts, const struct op_##op *a, \
                           struct err *e);
OPS_LIST(CHECK_PROTO)
#undef CHECK_PROTO

enum status copy_check(const struct tensor *dst, const struct tensor *src,
                       struct err *e);

#endif
