/* tolerance.h - every tolerance of the test suite, each with its reason */
#ifndef TESTS_TOLERANCE_H
#define TESTS_TOLERANCE_H

/* Relative L2 of fp32 results against references that ran in fp64. */
#define TOL_DIT_FORWARD 1e-5    /* two blocks of fp32 sums over a few hundred terms */
#define TOL_TEXT_ENCODER 1e-5   /* the same, without modulation */
#define TOL_VAE 1e-4            /* 30 convolutions deep */
#define TOL_VAE_STEPS 1e-5      /* fp32 against fp32 or double, shallower models */
#define TOL_VAE_BF16 0.03       /* bf16 pictures between 20 convolutions; 0.013 seen */
#define TOL_SAMPLED_LATENT 1e-4 /* ten guided steps amplify one forward's 1e-5 */

/* Relative L2 of one attention with normed q and k against doubles. */
#define TOL_ATTN_FP32 2e-6 /* fp32 sums over 200 keys */
#define TOL_ATTN_BF16 1e-2 /* inputs and output rounded to 8 bits of mantissa */
#define TOL_ATTN_8BIT 4e-2 /* e4m3 values, probabilities, result: up to 2 % each */

/* Relative L2 of a two-block forward in a narrow precision against fp32. The random
 * weights make every sub-layer as large as the stream, so nothing hides an error;
 * measured 2e-3, 2e-2 and 7e-3. */
#define TOL_DIT_BF16 5e-3
#define TOL_DIT_FP8 5e-2
#define TOL_DIT_INT8 2e-2

/* Golden cases, forwards and whole jobs, in a narrow precision against fp64: relative
 * L2 of the worst, and the largest difference of a colour byte. Twice what the cpu
 * backend has (5e-3 and 23, 8e-2 and 49, 2e-2 and 41): another backend's roundings fall
 * otherwise. */
#define TOL_GOLDEN_BF16 1e-2
#define TOL_GOLDEN_FP8 1.5e-1
#define TOL_GOLDEN_INT8 4.5e-2
#define TOL_GOLDEN_BF16_BYTE 46
#define TOL_GOLDEN_FP8_BYTE 98
#define TOL_GOLDEN_INT8_BYTE 82

/* Largest difference of a colour byte after a way through 8-bit YUV. */
#define TOL_YUV444_BYTE 2 /* three roundings of at most one half, times up to 2.02 */
#define TOL_MP4_BYTE 20   /* x264 at crf 10 on smooth 4:2:0 pictures */

/* Operands of 8 significant bits, through the three layers of a text encoder. */
#define TOL_TEXT_ENCODER_BF16 2e-2

/* One op against the reference, relative L2. */
#define TOL_OP_F32 2e-6  /* fp32 sums of up to a few thousand terms in another order */
#define TOL_OP_BF16 5e-4 /* a few elements land on the other side of a tie */

/* 8-bit attention against fp32 attention on the same codes, relative L1, values of
 * zero mean: rounding P to e4m3 moves every term by up to 6 %; 1.2 % seen in the sum.
 */
#define TOL_ATTENTION_CODES 2e-2

/* Its log-sum-exp, relative L2, of the kernel whose sum is that of the codes of P, so
 * that it fits what the result was divided by: a code is off by 2.5 % on average and
 * 6 % at most, and of n keys that count that leaves 2.5 % / sqrt(n). Computed for these
 * inputs: 4e-4 and 6e-4. */
#define TOL_ATTENTION_CODES_LSE 2e-3

/* bf16 attention on tensor cores against fp32 sums on the same inputs, relative L2:
 * every probability is rounded to 8 bits of mantissa, as all such kernels do. */
#define TOL_ATTENTION_BF16 4e-3

/* FP8 products of tensor cores, relative L2 (quantization-and-attention 9.4): Hopper
 * keeps about 13 fraction bits of a partial sum; bf16 results are rounded once. */
#define TOL_GEMM_FP8 2e-3
#define TOL_GEMM_BF16 1e-5 /* fp32 sums that tensor cores truncate */
#define TOL_CONV_BF16 5e-5 /* the same over up to 10,368 terms in one chain */

/* The end of a chain of FP8 ops, relative L1: it rounds to 8 bits seven times, and each
 * time turns a small difference into a whole code of some elements. Noise of 1.3e-4 in
 * the products alone, which is what tensor cores show, makes 0.033 on the CPU. */
#define TOL_CHAIN_FP8 5e-2

/* A ring of ranks against one rank, a rank's velocities in fp32, relative L2: partial
 * results are merged by their sums of exponentials, each rounded to fp32. */
#define TOL_RING 1e-5

#endif
