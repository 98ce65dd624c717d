/* algos_shipped.c - the rows that the program knows by itself
 *
 * What `framefleet bench --tune` has found on a machine and written to its file, line
 * by line. A product without a row is worked out by the library's first proposal for
 * 4096 rows that needs no split of K (linear.c); so are all but those of a 14B block in
 * fp8 on an H200.
 */
#include "kernels/cuda/algos.h"

const char algo_shipped[] =
    "90 130100 F8_E4M3 BF16 5120 5120 0000001d00000042 0000000100000024 "
    "0000000000000000 0003000000000005 0001fc3400000001 0000001c0000001c "
    "00000044000e000e 0000000000000000\n"
    "90 130100 F8_E4M3 BF16 13824 5120 0000001d00000042 0000000100000024 "
    "0000000000000000 0003000000000005 0001fc3400000001 0000001c0000001c "
    "00000044000e000e 0000000000000000\n"
    "90 130100 F8_E4M3 BF16 5120 13824 0000001d00000042 0000000100000024 "
    "0000000000000000 0003000000000005 0001fc3400000001 0000001c0000001c "
    "00000044000e000e 0000000000000000\n";
