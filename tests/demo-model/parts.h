/* parts.h - the three parts of the demonstration model, with the sizes of each
 *
 * Names and shapes are those of the published Wan2.1 text-to-video folders; only the
 * sizes are small. Gains are chosen so that the variance of what flows through stays
 * near one and the decoded video is neither constant nor clipped.
 */
#ifndef TESTS_DEMO_MODEL_PARTS_H
#define TESTS_DEMO_MODEL_PARTS_H

#include "tests/demo-model/made.h"

enum {
    DIT_DIM = 256,
    DIT_HEADS = 2,
    DIT_FFN = 512,
    DIT_LAYERS = 2,
    DIT_FREQ = 256,
    TEXT_LEN = 512,
    TEXT_VOCAB = 1500, /* rows of spiece.model */
    TEXT_DIM = 128,
    TEXT_HEADS = 2,
    TEXT_FFN = 256,
    TEXT_LAYERS = 2,
    VAE_BASE = 8,
    VAE_Z = 16
};

void made_dit(struct made *m);
void made_text(struct made *m);
void made_vae(struct made *m);

#endif
