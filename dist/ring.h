/* ring.h - keys and values that travel round, and the attention to them
 *
 * A ring rank holds the keys and values of one block of tokens: the shards of its
 * Ulysses group, for its own heads. A block is one stretch of memory, so one message:
 *
 *     k of shard 0 | k of shard 1 | … | v of shard 0 | v of shard 1 | …
 *
 * Blocks are quantised once and passed on as they are. At step i rank r looks at block
 * r - i: two buffers take turns, one in use while the next block arrives in the other.
 * The result of a block is merged into the running one by log-sum-exp:
 *
 *     l = log(exp(l_a) + exp(l_b)),  o = exp(l_a - l) o_a + exp(l_b - l) o_b
 *
 * in fp32, always in the order of the steps: the same bytes from run to run, others for
 * another number of ring ranks. A ring of one rank has one block, and attention writes
 * its result in the wanted format at once.
 */
#ifndef DIST_RING_H
#define DIST_RING_H

#include "dist/parts.h"
#include "kernels/ops.h"

/* What a ring is made for. Shard s of the tokens is block s / shards, shard s % shards
 * of it. */
struct ring_shape {
    int size, rank;
    int shards;            /* of a block: Ulysses ranks */
    int64_t heads;         /* own */
    const int64_t *tokens; /* [size * shards], of every shard; copied */
    struct part_formats formats;
};

struct ring;

/* `ops` is borrowed for the ring's life. Not collective. destroy(NULL) is fine. */
enum status ring_create(const struct ring_shape *shape, struct ops *ops,
                        struct ring **out, struct err *e);
void ring_destroy(struct ring *r);

/* Cut the queries, the results, and the blocks of keys and values. Not collective. */
void ring_cut_queries(struct ring *r, struct arena *a);
void ring_cut_results(struct ring *r, struct arena *a);
void ring_cut_blocks(struct ring *r, struct arena *a);

/* Where shard i of the own block's keys and values goes, its queries come from, and
 * its result lies, after their cuts. Not collective. */
struct part ring_keys(const struct ring *r, int shard);
struct part ring_values(const struct ring *r, int shard);
struct part ring_queries(const struct ring *r, int shard);
struct part ring_result(const struct ring *r, int shard);

/* Scratch memory that the queue must have. Not collective. */
size_t ring_workspace(const struct ring *r);

/* Use `comm` (borrowed; may be NULL for one rank), whose flights must move memory of
 * the ring's space, from now on. Not collective. */
enum status ring_start(struct ring *r, struct comm *comm, struct err *e);

/* Own heads of the own block's queries against all blocks. Collective. */
enum status ring_attend(struct ring *r, struct queue *q, struct err *e);

/* On a ring of one rank: the queries of one shard alone, the same bytes. Not
 * collective. */
enum status ring_attend_shard(struct ring *r, struct queue *q, int shard,
                              struct err *e);

#endif
