/* crew.h - ranks that decode the same frames, led by rank 0
 *
 * Rank 0 alone knows what is to be decoded, when to stop, and where frames go. So it
 * says every step to the others, with the latents of the step, and they follow until
 * they are let go:
 *
 *     rank 0                                the others
 *     TRY(crew_say(&c, &order, e));         TRY(crew_hear(&c, &order, e));
 *     begin the step                        begin the step
 *     TRY(crew_gather(&c, …, e));           TRY(crew_gather(&c, …, e));
 *
 * What is gathered are the frames of the step before, while devices work on this one.
 * An order is an agreement of the world: a rank that fails returns, and the others
 * learn of it with the next order. Latents and frames go through host memory, on every
 * backend.
 */
#ifndef ENGINE_PIPELINE_CREW_H
#define ENGINE_PIPELINE_CREW_H

#include "dist/comm.h"
#include "dist/world.h"
#include "kernels/tensor.h"

enum crew_deed {
    CREW_STEP,  /* decode the latents of the order */
    CREW_CLOSE, /* the clip of this round is over */
    CREW_LEAVE, /* the segment is over: go on with what comes behind it */
};

struct crew_order {
    enum crew_deed deed;
    int round;
    struct tensor latents; /* of a step: [C,n,h,w], host */
};

struct crew {
    struct world *world;    /* NULL: rank 0 is alone */
    struct crew_page *page; /* what is said */
    size_t page_bytes;
    struct comm_piece *pieces; /* to and from every rank */
    int64_t shape[4];          /* of the latents of the largest step */
};

/* How many ranks decode: `text` is "auto", all of them, or a number, of which no more
 * are taken than there are. NULL is "auto". ST_USAGE for another text. */
enum status crew_parse(const char *text, int ranks, int *out, struct err *e);

/* `world` is borrowed; NULL: nothing is said or gathered, and on one rank that is
 * right. `shape`: [C,n,h,w] of the largest step. Not collective; release of zeros is
 * fine. */
enum status crew_init(struct crew *c, struct world *world, const int64_t shape[4],
                      struct err *e);
void crew_release(struct crew *c);

/* Memory that crew_init takes for latents. */
size_t crew_bytes(const int64_t shape[4]);

/* On rank 0, and on the others: *order of rank 0, with latents that stay until the
 * next. Collective. */
enum status crew_say(struct crew *c, const struct crew_order *order, struct err *e);
enum status crew_hear(struct crew *c, struct crew_order *order, struct err *e);

/* `bytes[r]` of rank r, which lie at `data` there, go to rank 0: one behind the other,
 * its own first, to the `data` of rank 0. Without an agreement. Collective. */
enum status crew_gather(struct crew *c, void *data, const size_t *bytes, struct err *e);

#endif
