/* precision.c - the table of precisions, and the stores' policies that follow */
#include "engine/pipeline/precision.h"

const struct precision_choice *precision_choice(enum precision precision)
{
    static const struct precision_choice choices[] = {
        [PRECISION_AUTO] = {&dit_fp32, QUANT_NONE, DT_F32, "fp32", "F32", false},
        [PRECISION_FP32] = {&dit_fp32, QUANT_NONE, DT_F32, "fp32", "F32", false},
        [PRECISION_BF16] = {&dit_bf16, QUANT_NONE, DT_BF16, "bf16", "BF16", false},
        [PRECISION_FP8] = {&dit_fp8, QUANT_E4M3, DT_BF16, "fp8", "F8_E4M3", false},
        [PRECISION_INT8] = {&dit_int8, QUANT_I8, DT_BF16, "int8", "I8", false},
        [PRECISION_FP8_FAST] = {&dit_fp8, QUANT_E4M3, DT_BF16, "fp8_fast",
                                "F8_E4M3, fast sums", true},
    };

    return &choices[precision];
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
