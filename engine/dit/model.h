/* model.h - inside of the transformer: its tensors, found once, and its products
 *
 * Only engine/dit includes this.
 */
#ifndef ENGINE_DIT_MODEL_H
#define ENGINE_DIT_MODEL_H

#include "engine/dit/dit.h"

struct dit_linear {
    struct tensor w; /* [out, in] */
    struct tensor b; /* f32 [out] */
};

struct dit_attention {
    struct dit_linear q, k, v, o;
    struct tensor norm_q, norm_k; /* f32 [d] */
};

struct dit_block {
    struct tensor modulation; /* f32 [6d]: shift, scale, gate; shift, scale, gate */
    struct tensor norm3_w, norm3_b; /* f32 [d]: norm before cross attention */
    struct dit_attention self, cross;
    struct dit_linear ffn_in, ffn_out;
};

struct dit {
    struct dit_config config;
    struct dit_precision precision;
    struct weights *weights;
    struct ops *ops;
    struct dit_linear patch;
    struct dit_linear text_in, text_out;
    struct dit_linear time_in, time_out, time_proj;
    struct tensor fps_table; /* [2, d], when config.has_fps */
    struct dit_linear fps_in, fps_out;
    struct dit_linear head;
    struct tensor head_modulation; /* f32 [2, d]: shift, scale */
    struct dit_block *blocks;
};

/* Columns of a token's patch with `channels` channels: 1 x 2 x 2 of each. */
static inline int64_t patch_columns(int64_t channels)
{
    return 4 * channels;
}

/* y = x w^T + b, or raw sums with scales and bias pending on y. */
enum status dit_product(const struct dit *m, struct queue *q, struct tensor *y,
                        const struct tensor *x, const struct dit_linear *l,
                        bool pending, struct err *e);

/* out = act(x), x with `bias` (f32 [columns], may be NULL) added first. */
enum status dit_act(const struct dit *m, struct queue *q, struct tensor *out,
                    const struct tensor *x, const struct tensor *bias,
                    enum act_kind act, struct err *e);

#endif
