/* stand.h - a transformer with made-up weights, ready to run a pass
 *
 *     struct bench_stand s = {0};
 *     TRY_GOTO(st, bench_stand_open(&s, b, choice, DT_BF16, e), out_close);
 *     TRY_GOTO(st, bench_stand_pass(&s, e), out_close);
 *  out_close:
 *     bench_stand_close(&s);
 *
 * Memory is planned as in a run (engine/pipeline/plan.c): an arena that the pass and
 * the solver's state share, one that keeps the contexts, and the queue's workspace.
 * Stands of one benchmark have the same weights, inputs and texts, each in its own
 * precision. Private to engine/bench.
 */
#ifndef ENGINE_BENCH_STAND_H
#define ENGINE_BENCH_STAND_H

#include "engine/bench/inside.h"
#include "engine/pipeline/denoise.h"

enum bench_memory { STAND_SCRATCH, STAND_KEPT, STAND_WORKSPACE, STAND_MEMORIES };

struct bench_stand {
    struct bench *b;
    const struct precision_choice *choice;
    struct mesh mesh;
    struct spread spread;
    struct weights *weights;
    struct dit *dit;
    struct dit_shape shape;
    struct dit_plan plan;
    struct latent_size size;
    void *memory[STAND_MEMORIES];
    size_t bytes[STAND_MEMORIES];
    struct arena scratch, kept;
    struct queue *queue;
    struct dit_context *context[BRANCHES];
    struct dit_forward *forward;
    struct tensor latent, velocity, t;
};

/* Zeroed before; closed by the caller also after an error. `stored` is what files of
 * the weights would hold. Collective. */
enum status bench_stand_open(struct bench_stand *s, struct bench *b,
                             const struct precision_choice *choice, enum dtype stored,
                             struct err *e);

/* A torn world gives back no memory that a lost exchange may still use. */
void bench_stand_close(struct bench_stand *s);

/* What a pass of this rank's branch looks at. */
struct dit_input bench_stand_input(const struct bench_stand *s);

/* One pass, and a wait for it: a bench_pass. A rank that fails tears the world, since
 * it cannot meet the others, which wait for it in an exchange. Collective. */
enum status bench_stand_pass(void *stand, struct err *e);

/* All of a video's steps but the schedule. */
struct denoise_args bench_stand_denoising(struct bench_stand *s);

#endif
