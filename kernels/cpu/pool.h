/* pool.h - a few threads that work through numbered items
 *
 *     struct pool *p;
 *     TRY(pool_create(0, &p, e));                 0: as many as this process may use
 *     pool_run(p, n_items, work, ctx);            returns when all items are done
 *     pool_destroy(p);
 *
 * Which thread takes which item is left to chance, so an item's result must not depend
 * on it: items write to places of their own, and `worker` (0 <= worker < threads) only
 * picks scratch memory. The calling thread is a worker too. Calls from several threads
 * at once take turns; an item must not call pool_run.
 */
#ifndef KERNELS_CPU_POOL_H
#define KERNELS_CPU_POOL_H

#include <stdint.h>

#include "kernels/base/err.h"

struct pool;

typedef void pool_fn(void *ctx, int64_t item, int worker);

/* ST_RESOURCE when a thread cannot be started; nothing is left behind then. */
enum status pool_create(int threads, struct pool **out, struct err *e);
void pool_destroy(struct pool *p);

int pool_threads(const struct pool *p);
void pool_run(struct pool *p, int64_t items, pool_fn *fn, void *ctx);

#endif
