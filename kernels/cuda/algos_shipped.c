/* algos_shipped.c - the rows that the program knows by itself
 *
 * What `framefleet bench --tune` has found on a machine and written to its file, line
 * by line. A product without a row is worked out by the library's first proposal for
 * 4096 rows that needs no split of K (linear.c); so are all, until some are measured.
 */
#include "kernels/cuda/algos.h"

const char algo_shipped[] = "";
