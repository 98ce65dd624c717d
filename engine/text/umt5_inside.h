/* umt5_inside.h - what the files of the text encoder share */
#ifndef ENGINE_TEXT_UMT5_INSIDE_H
#define ENGINE_TEXT_UMT5_INSIDE_H

#include "engine/text/umt5.h"

struct umt5_block {
    struct tensor norm1, q, k, v, o;
    struct tensor norm2, gate, up, down;
    struct tensor table; /* [buckets, heads] */
};

struct umt5 {
    struct text_config config;
    enum dtype act;
    struct weights *weights;
    struct ops *ops;
    struct tensor table, norm;
    struct umt5_block *blocks;
    float *bias; /* host, [layers * heads, umt5_bias_width] */
};

/* Memory of one prompt. Attention and feed-forward take turns. */
struct umt5_buffers {
    struct tensor ids;      /* i32 [n] */
    struct tensor bias;     /* f32 [layers * heads, width] */
    struct tensor x;        /* f32 [n, dim], residual stream */
    struct tensor y;        /* f32 [n, dim], what is added to it */
    struct tensor u;        /* act [n, dim], normalised */
    struct tensor raw;      /* act [n, heads * head_dim] */
    struct tensor q, k, v;  /* act [heads, n, head_dim] */
    struct tensor mixed;    /* act [n, heads, head_dim] */
    struct tensor gate, up; /* f32 [n, ffn_dim] */
    struct tensor inner;    /* act [n, ffn_dim] */
};

void umt5_buffers_cut(const struct text_config *c, enum dtype act, enum mem_space space,
                      int64_t n, struct arena *a, struct umt5_buffers *b);

enum status umt5_config_check(const struct text_config *c, enum dtype act,
                              const struct ops *ops, struct err *e);

/* Distances from -reach to reach have biases of their own; beyond, the outermost hold.
 * A bias row has 2 * reach + 1 entries. */
int64_t umt5_reach(const struct text_config *c);
int64_t umt5_bias_width(const struct text_config *c);

/* Fill m->bias from the blocks' tables. */
enum status umt5_bias_read(struct umt5 *m, struct queue *q, struct err *e);

#endif
