/* inside.h - what the files of this folder share: a benchmark at work
 *
 * Private to engine/bench. */
#ifndef ENGINE_BENCH_INSIDE_H
#define ENGINE_BENCH_INSIDE_H

#include "engine/bench/bench.h"
#include "engine/dit/plan.h"
#include "engine/pipeline/precision.h"
#include "engine/pipeline/spread.h"
#include "engine/weights/made_up.h"

struct bench_models {
    const char *name;
    struct dit_config dit;
    struct text_config text;
    struct vae_config vae;
};

struct bench {
    const struct bench_options *o;
    struct bench_result *r;
    struct world *world;
    struct ops *ops;
    const struct precision_choice *choice;
    struct bench_models models;
    int vae_ranks; /* that decode together */
    size_t bytes;  /* that the part at work holds */
    size_t left;   /* in the backend's space before the first part */
};

/* shapes.c: the three models of a shape. */
struct bench_models bench_models_of(enum bench_shape shape, int64_t layers);

/* ---- timing.c ------------------------------------------------------------------- */

/* Memory of the part at work; a host that does not have it is ST_RESOURCE. */
enum status bench_room(struct bench *b, size_t bytes, void **out, struct err *e);
void bench_release(struct bench *b, void *p, size_t bytes);

/* One pass, which ends with a wait for its queue. */
typedef enum status bench_pass(void *ctx, struct err *e);

/* Warm up, then time o->repeats passes. `together`: all ranks run the pass at the same
 * time (then collective), else this one alone. */
enum status bench_repeat(struct bench *b, bench_pass *pass, void *ctx, bool together,
                         struct bench_times *out, struct err *e);

/* One pass that fills out->watch; notes the memory that the part holds. */
enum status bench_watched(struct bench *b, bench_pass *pass, void *ctx, bool together,
                          struct bench_part_result *out, struct err *e);

/* ---- parts ---------------------------------------------------------------------- */

enum status bench_forward(struct bench *b, struct bench_part_result *out,
                          struct err *e);
enum status bench_vae(struct bench *b, struct bench_part_result *out, struct err *e);
enum status bench_text(struct bench *b, struct bench_part_result *out, struct err *e);
enum status bench_load(struct bench *b, struct bench_part_result *out, struct err *e);
enum status bench_accuracy(struct bench *b, struct bench_part_result *out,
                           struct err *e);

/* ceilings.c: what copies and one large product reach. */
enum status bench_ceilings(struct bench *b, struct err *e);

/* tune.c: fills r->tuned; what it finds is in use afterwards. */
enum status bench_tune(struct bench *b, struct err *e);

#endif
