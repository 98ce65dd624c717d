/* algos.h - which algorithm of cuBLASLt a product is worked out by: rows of text
 *
 * The bytes of a product depend on its algorithm, so that is chosen by what the product
 * is, never by the number of its rows or by a clock at run time: a table says which.
 * One row per line, fields apart by blanks, `#` begins a comment:
 *
 *     arch  version  x        y     n      k     eight words of 16 hex digits  [fast]
 *     90    130100   F8_E4M3  BF16  13824  5120  0123456789abcdef …
 *
 *     arch     compute capability, major * 10 + minor
 *     version  of the library, cublasLtGetVersion(): the words mean nothing to another
 *     x, y     types of the factors and of the sums
 *     n, k     y [s,n] = x [s,k] w [n,k]^T
 *     words    cublasLtMatmulAlgo_t, which the library's header allows to be kept
 *     fast     of a product with fast_sums (ops.h)
 *
 * Tables are the one that is compiled in (algos_shipped.c) and a file that `bench
 * --tune` has written. A row is a proposal: whoever uses it asks the library whether it
 * may (linear.c), and set-up proves that rows do not depend on their number (settle.h).
 *
 *     struct algo_table t = {0};
 *     TRY(algo_table_add(&t, algo_shipped, "the table of the program", e));
 *     TRY(algo_table_read(&t, "tuned.txt", e));         its rows take precedence
 *     row = algo_table_find(&t, &key);
 *     algo_table_release(&t);
 *
 * Plain C: no CUDA here.
 */
#ifndef KERNELS_CUDA_ALGOS_H
#define KERNELS_CUDA_ALGOS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/dtype.h"
#include "kernels/base/err.h"

enum { ALGO_WORDS = 8, ALGO_TEXT_BYTES = 256, ALGO_ROWS_MAX = 4096 };

struct algo_row {
    int64_t arch, version;
    enum dtype x, y;
    int64_t n, k;
    uint64_t word[ALGO_WORDS];
    bool fast;
};

struct algo_table {
    struct algo_row *row; /* no two for the same product */
    int count;
};

extern const char algo_shipped[];

/* One line without its end. ST_INPUT with what is wrong in it. */
enum status algo_row_parse(const char *line, struct algo_row *out, struct err *e);
void algo_row_print(const struct algo_row *row, char out[ALGO_TEXT_BYTES]);

/* Are they about the same product on the same machine? */
bool algo_row_same(const struct algo_row *a, const struct algo_row *b);

/* All lines of `text`; a row takes the place of an earlier one for the same product.
 * Errors are ST_INPUT with `name` and the line's number, and leave the table as it was
 * up to that line. */
enum status algo_table_add(struct algo_table *t, const char *text, const char *name,
                           struct err *e);

/* The same for a file, of at most 1 MiB. */
enum status algo_table_read(struct algo_table *t, const char *path, struct err *e);

/* The row for the product of `key`, whose words are not looked at; NULL: none. Valid
 * until the table changes. */
const struct algo_row *algo_table_find(const struct algo_table *t,
                                       const struct algo_row *key);

/* A number for what the table says: the same for the same rows in whatever order. */
uint64_t algo_table_digest(const struct algo_table *t);

void algo_table_release(struct algo_table *t);

#endif
