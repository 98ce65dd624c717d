/* settle.h - how a product is worked out, proven before it is used
 *
 * A backend may know several ways to work out a product (ops_linear_ways), whose sums
 * round otherwise. Which one is taken must not depend on how many rows there are, and
 * with it a row's bytes must not either (ops.h): the library that does the work gives
 * no such promise, so set-up proves it on rows of random numbers, with the shapes and
 * weights that follow.
 *
 *     struct op_linear a = {.y = &y, .x = &x, .w = &w, .pending = true};
 *     TRY(linear_settle(ops, q, &a, &again, note, e));
 *     TRY(ops_linear(ops, q, &a, e));                     any number of rows
 *
 * Set-up code: these calls wait for the queue and allocate.
 */
#ifndef KERNELS_SETTLE_H
#define KERNELS_SETTLE_H

#include "kernels/ops.h"

enum { SETTLE_NOTE_BYTES = 200 };

/* Rows [begin, begin + count) on their own. */
struct row_cut {
    int64_t begin, count;
};

/* *differ: values of y that are others when these rows of a->x are worked out on their
 * own. a->x has numbers; a->y and `again`, of the same shape and type, dense, are
 * written to. Cuts that end behind the last row are left out. */
enum status linear_rows_differ(struct ops *ops, struct queue *q,
                               const struct op_linear *a, const struct tensor *again,
                               const struct row_cut *cuts, int n, int64_t *differ,
                               struct err *e);

/* Leave the product with the first way for which no row depends on their number.
 * `note`:
 * "", or one line that says that it is not the first one. None is ST_DEVICE. Backends
 * with one way of their own are not looked at. */
enum status linear_settle(struct ops *ops, struct queue *q, const struct op_linear *a,
                          const struct tensor *again, char note[SETTLE_NOTE_BYTES],
                          struct err *e);

/* Rows of x that linear_settle wants to have. */
enum { SETTLE_ROWS = 1160 };

#endif
