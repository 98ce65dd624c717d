/* part_dit.c - the transformer's tensors */
#include <math.h>
#include <stdio.h>

#include "tests/demo-model/parts.h"

enum { D = DIT_DIM };

static void block_attention(struct made *m, int block, const char *which)
{
    static const char *const projections[] = {"q", "k", "v", "o"};
    static const char *const norms[] = {"norm_q", "norm_k"};
    char name[MADE_NAME_MAX];

    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "blocks.%d.%s.%s", block, which, projections[i]);
        made_linear(m, name, D, D, 1.0f);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "blocks.%d.%s.%s.weight", block, which, norms[i]);
        made_const(m, name, 1.0f, 1, (int64_t[]){D});
    }
}

static void block(struct made *m, int i)
{
    char name[MADE_NAME_MAX];

    snprintf(name, sizeof(name), "blocks.%d.modulation", i);
    made_normal(m, name, 0.3f, 3, (int64_t[]){1, 6, D});
    block_attention(m, i, "self_attn");
    snprintf(name, sizeof(name), "blocks.%d.norm3.weight", i);
    made_const(m, name, 1.0f, 1, (int64_t[]){D});
    snprintf(name, sizeof(name), "blocks.%d.norm3.bias", i);
    made_const(m, name, 0.0f, 1, (int64_t[]){D});
    block_attention(m, i, "cross_attn");
    snprintf(name, sizeof(name), "blocks.%d.ffn.0", i);
    made_linear(m, name, DIT_FFN, D, 1.0f);
    snprintf(name, sizeof(name), "blocks.%d.ffn.2", i);
    made_linear(m, name, D, DIT_FFN, 1.0f);
}

void made_dit(struct made *m)
{
    made_normal(m, "patch_embedding.weight", 1.0f / sqrtf(4.0f * VAE_Z), 5,
                (int64_t[]){D, VAE_Z, 1, 2, 2});
    made_const(m, "patch_embedding.bias", 0.0f, 1, (int64_t[]){D});
    made_linear(m, "text_embedding.0", D, TEXT_DIM, 1.0f);
    made_linear(m, "text_embedding.2", D, D, 1.0f);
    made_linear(m, "time_embedding.0", D, DIT_FREQ, 1.0f);
    made_linear(m, "time_embedding.2", D, D, 1.0f);
    made_linear(m, "time_projection.1", 6 * D, D, 0.5f);
    for (int i = 0; i < DIT_LAYERS; i++)
        block(m, i);
    made_normal(m, "head.modulation", 0.3f, 3, (int64_t[]){1, 2, D});
    made_linear(m, "head.head", 4 * VAE_Z, D, 0.7f);
}
