/* precision.h - what a precision means for each model
 *
 *     name       operands of the blocks   attention       text encoder, VAE
 *     fp32       f32                      f32             f32
 *     bf16       bf16                     bf16            bf16
 *     fp8        e4m3                     i8 and e4m3     bf16
 *     int8       i8                       i8 and e4m3     bf16
 *     fp8_fast   as fp8, with fast_sums of ops.h: other bytes where a GPU has these
 *
 * The result of attention is e4m3 in fp8, else bf16 or f32.
 */
#ifndef ENGINE_PIPELINE_PRECISION_H
#define ENGINE_PIPELINE_PRECISION_H

#include "engine/dit/dit.h"
#include "engine/pipeline/job.h"
#include "engine/weights/model.h"
#include "engine/weights/weights.h"

struct precision_choice {
    const struct dit_precision *dit;
    enum weight_quant quant;
    enum dtype act; /* of the text encoder and the VAE */
    const char *name;
    const char *kept; /* its name in checkpoints */
    bool fast_sums;   /* ops_options */
};

/* Automatic is the exact one, fp32. */
const struct precision_choice *precision_choice(enum precision precision);

/* How the store of a part is filled. */
struct weights_policy precision_policy(const struct precision_choice *choice,
                                       enum model_part part);

#endif
