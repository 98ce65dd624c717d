/* dit.h - the Wan diffusion transformer: precision, weights, model
 *
 * One model for every size and variant, written against the table of operations. What
 * belongs together:
 *
 *     dit.h       the model: weights found and checked, precision chosen
 *     plan.h      bytes and work of a shape, before anything is allocated
 *     context.h   what cross attention looks at: keys and values of one prompt
 *     forward.h   one velocity prediction in flight, stepped by block and phase
 *     patch.h     latents [C,F,H,W] on the host to and from rows of tokens
 *
 * Life:
 *
 *     struct weights_policy policy = {QUANT_E4M3, dit_quantised};
 *     … open and load a store with it …
 *     TRY(dit_create(&config, &dit_fp8, weights, ops, &model, e));
 *     TRY(dit_context_create(model, q, &text, &kept, &scratch, &ctx, e));
 *     TRY(dit_forward_create(model, &shape, &arena, q, &fw, e));
 *     TRY(dit_forward_run(fw, q, &input, &velocity, e));      every step of a sampler
 *     dit_forward_destroy(fw);
 *     dit_context_destroy(ctx);
 *     dit_destroy(model);
 *
 * The network (dit-and-sampling 3): patches of 1x2x2 to tokens; per block self
 * attention and feed-forward, both modulated per latent frame, and cross attention to
 * the text; a modulated head. The residual stream, the time path, all norms and the
 * head are fp32 in every precision.
 */
#ifndef ENGINE_DIT_DIT_H
#define ENGINE_DIT_DIT_H

#include "dist/seqpar.h"
#include "engine/config.h"
#include "engine/weights/weights.h"
#include "kernels/ops.h"
#include "kernels/settle.h"

struct dit_precision {
    enum dtype operand; /* inputs of the block products: F32, BF16, E4M3 or I8 */
    enum dtype real;    /* raw products, cross attention, patch and text embedding:
                         * F32 or BF16 */
    struct seqpar_formats attention; /* self attention */
};

extern const struct dit_precision dit_fp32; /* everything fp32 */
extern const struct dit_precision dit_bf16; /* bf16 products and attention */
extern const struct dit_precision dit_fp8;  /* e4m3 products, 8-bit attention */
extern const struct dit_precision dit_int8; /* int8 products, 8-bit attention */

/* Is this canonical name a matrix that an 8-bit precision wants quantised? The linears
 * of the blocks' attention and feed-forward are; for weights_policy. */
bool dit_quantised(const char *name);

struct dit;

/* Find and check every tensor of the model. `weights` and `ops` are borrowed for the
 * model's life. A tensor that is missing or misshapen is ST_INPUT; a precision that the
 * backend does not run, or that the stored dtypes do not fit, is ST_USAGE. */
enum status dit_create(const struct dit_config *config,
                       const struct dit_precision *precision, struct weights *weights,
                       struct ops *ops, struct dit **out, struct err *e);
void dit_destroy(struct dit *m);

/* Settle how the products of blocks are worked out, and prove that no row of them
 * depends on how many there are (kernels/settle.h). *proven: how many products were;
 * 0 on a backend without a choice. `note`: "", or one line to be shown. Set-up code:
 * allocates for a moment, and waits. The weights must be loaded. */
enum status dit_settle(const struct dit *m, int *proven, char note[SETTLE_NOTE_BYTES],
                       struct err *e);

#endif
