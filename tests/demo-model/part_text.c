/* part_text.c - the text encoder's tensors; nothing in it has a bias */
#include <math.h>
#include <stdio.h>

#include "tests/demo-model/parts.h"

enum { D = TEXT_DIM, HEAD = TEXT_DIM / TEXT_HEADS, BUCKETS = 32 };

/* [rows, cols] named blocks.<i>.<name>. */
static void matrix(struct made *m, int i, const char *name, float std, int64_t rows,
                   int64_t cols)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "blocks.%d.%s", i, name);
    made_normal(m, full, std, 2, (int64_t[]){rows, cols});
}

static void norm(struct made *m, int i, const char *name)
{
    char full[MADE_NAME_MAX];

    snprintf(full, sizeof(full), "blocks.%d.%s", i, name);
    made_const(m, full, 1.0f, 1, (int64_t[]){D});
}

/* Attention is not scaled by the head size, so q makes up for it. */
static void block(struct made *m, int i)
{
    const float in = 1.0f / sqrtf((float)D);

    norm(m, i, "norm1.weight");
    matrix(m, i, "attn.q.weight", in / sqrtf((float)HEAD), D, D);
    matrix(m, i, "attn.k.weight", in, D, D);
    matrix(m, i, "attn.v.weight", in, D, D);
    matrix(m, i, "attn.o.weight", in, D, D);
    matrix(m, i, "pos_embedding.embedding.weight", 0.5f, BUCKETS, TEXT_HEADS);
    norm(m, i, "norm2.weight");
    matrix(m, i, "ffn.gate.0.weight", in, TEXT_FFN, D);
    matrix(m, i, "ffn.fc1.weight", in, TEXT_FFN, D);
    matrix(m, i, "ffn.fc2.weight", 1.0f / sqrtf((float)TEXT_FFN), D, TEXT_FFN);
}

void made_text(struct made *m)
{
    made_normal(m, "token_embedding.weight", 1.0f, 2, (int64_t[]){TEXT_VOCAB, D});
    for (int i = 0; i < TEXT_LAYERS; i++)
        block(m, i);
    made_const(m, "norm.weight", 1.0f, 1, (int64_t[]){D});
}
