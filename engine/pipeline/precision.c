/* precision.c - the table of precisions, and the stores' policies that follow */
#include "engine/pipeline/precision.h"

const struct precision_choice *precision_choice(enum precision precision)
{
    static const struct precision_choice fp32 = {&dit_fp32, QUANT_NONE, DT_F32, "fp32"};
    static const struct precision_choice bf16 = {&dit_bf16, QUANT_NONE, DT_BF16,
                                                 "bf16"};
    static const struct precision_choice fp8 = {&dit_fp8, QUANT_E4M3, DT_BF16, "fp8"};
    static const struct precision_choice int8 = {&dit_int8, QUANT_I8, DT_BF16, "int8"};

    switch (precision) {
    case PRECISION_BF16:
        return &bf16;
    case PRECISION_FP8:
        return &fp8;
    case PRECISION_INT8:
        return &int8;
    default:
        return &fp32;
    }
}

struct weights_policy precision_policy(const struct precision_choice *choice,
                                       enum model_part part)
{
    struct weights_policy policy = {.quant = QUANT_NONE};

    if (part == MODEL_DIT) {
        policy.quant = choice->quant;
        policy.quantise = dit_quantised;
    }
    policy.conv_channels_last = part == MODEL_VAE;
    policy.conv_dtype = choice->act;
    return policy;
}
