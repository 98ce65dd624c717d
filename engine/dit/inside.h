/* inside.h - memory of the transformer: what is cut, and how long it is used
 *
 * Only engine/dit includes this. The same functions cut from an arena that only counts
 * (the plan) and from one with memory. A forward has buffers that live through it and
 * stages that take turns on one stretch of memory; `|` is memory that several share:
 *
 *     kept    x [s,d] f32, codes of u | of a | queries of self attention,
 *             scales of u, scales of a, tables per frame, rope, constants
 *     attend  y | results of self attention, then keys and values
 *     cross   y | o, then q
 *     feed    y, hidden, act: of some rows at a time
 *     time, patch, head
 *
 * u is what a norm writes for the products that follow, a what attention hands to its
 * output product; both are operands [s,d]. By the time that a is written u has been
 * used, and the other way round. Their scales are two, because the op that adds the raw
 * product of a (whose row scales are pending) writes u. Queries are made from the last
 * product of u and used before a is written; y, a raw product, is read before attention
 * writes results.
 *
 * The feed-forward is the widest part and knows no other rows, so it is done for as
 * many rows at a time as fit into what the stages before it need anyway: a multiple of
 * the rows that keep all processors busy (ops_facts), one at least.
 */
#ifndef ENGINE_DIT_INSIDE_H
#define ENGINE_DIT_INSIDE_H

#include "engine/dit/forward.h"
#include "engine/dit/model.h"
#include "engine/dit/rope.h"

/* The numbers that buffers depend on. */
struct dit_dims {
    const struct dit_config *config;
    const struct dit_precision *precision;
    enum mem_space space;
    int64_t tokens;      /* own */
    int64_t busy_tokens; /* ops_facts */
    int64_t frames, grid_h, grid_w;
    int contexts;
};

/* Keys and values per block, [heads, rows, head_dim]. */
struct dit_context {
    int64_t rows;
    struct tensor key_bias; /* f32 [rows] */
    struct tensor *k, *v;
};

struct context_scratch {
    struct tensor text;     /* [rows, text_dim] */
    struct tensor raw;      /* [rows, d] */
    struct tensor hidden;   /* [rows, d] */
    struct tensor embedded; /* f32 [rows, d] */
    struct tensor operand;  /* [rows, d] */
};

enum status context_make(const struct dit_config *config, struct dit_context **out,
                         struct err *e);
void context_cut(const struct dit_dims *n, int64_t rows, struct arena *a,
                 struct dit_context *c);
void context_scratch_cut(const struct dit_dims *n, int64_t rows, struct arena *a,
                         struct context_scratch *s);

enum dit_stage {
    STAGE_TIME,
    STAGE_PATCH,
    STAGE_ATTEND,
    STAGE_CROSS,
    STAGE_FEED,
    STAGE_HEAD,
    STAGE_COUNT
};

struct dit_buffers {
    /* kept */
    struct tensor x, u, a;
    struct tensor e;         /* f32 [F,d] */
    struct tensor e0;        /* f32 [F,6d] */
    struct tensor table[2];  /* f32 [F,6d]: modulation of even and odd blocks */
    struct tensor time_bias; /* f32 [1,6d], fps models only */
    struct rope rope;
    /* shared */
    struct tensor sinus;         /* f32 [F,freq_dim] */
    struct tensor time1, time2;  /* f32 [F,d] */
    struct tensor patch;         /* [s,4*in_channels] */
    struct tensor y;             /* [s,d], raw */
    struct tensor q;             /* [heads,s,head_dim] */
    struct tensor o;             /* [s,heads,head_dim] */
    int64_t feed_rows;           /* n: of the feed-forward at a time */
    struct tensor feed_y;        /* [n,d], raw */
    struct tensor hidden;        /* [n,ffn], raw */
    struct tensor act;           /* [n,ffn], operand */
    struct tensor shift, scale;  /* f32 [F,d] */
    struct tensor head, outcome; /* f32 [s,d], [s,4*out_channels] */
};

/* Cut everything; what is attended to is cut by `sp`. Sizes go to *kept_bytes and
 * stage_bytes when they are not NULL. */
void buffers_cut(const struct dit_dims *n, struct seqpar *sp, struct arena *a,
                 struct dit_buffers *b, size_t *kept_bytes,
                 size_t stage_bytes[STAGE_COUNT]);

/* The numbers of `shape` on this rank. */
struct dit_dims dims_of(const struct dit_config *config,
                        const struct dit_precision *precision,
                        const struct dit_shape *shape, const struct ops *ops);

struct seqpar_layout seqpar_layout_of(const struct dit_config *config,
                                      const struct dit_precision *precision,
                                      const struct dit_shape *shape);

/* Modulation that depends on the timesteps (time.c). `rows` counts the values of t. */
struct time_path {
    int64_t rows;
    struct tensor e, e0;      /* f32 [rows,d], [rows,6d] */
    struct tensor table[2];   /* f32 [rows,6d] */
    struct tensor part[2][6]; /* f32 [rows,d], views of the tables */
};

enum { PART_SHIFT, PART_SCALE, PART_GATE, PART_SHIFT2, PART_SCALE2, PART_GATE2 };

/* Set the views of `rows` timesteps. */
void time_views(const struct dit_buffers *b, int64_t rows, struct time_path *tp);

/* e and e0 of t f32 [rows]. */
enum status time_embed(const struct dit *m, struct queue *q,
                       const struct dit_buffers *b, const struct time_path *tp,
                       const struct tensor *t, struct err *e);

/* The table of block i. */
enum status time_table(const struct dit *m, struct queue *q, struct time_path *tp,
                       int64_t i, struct err *e);

/* Shift and scale of the head, f32 [rows,d]. */
enum status time_head(const struct dit *m, struct queue *q, const struct time_path *tp,
                      struct tensor *shift, struct tensor *scale, struct err *e);

/* The bias of the time projection with the fps embedding in it. */
enum status time_fps(const struct dit *m, struct queue *q, const struct dit_buffers *b,
                     int fps, struct err *e);

#endif
