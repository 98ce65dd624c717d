/* tolerance.h - every tolerance of the test suite, each with its reason */
#ifndef TESTS_TOLERANCE_H
#define TESTS_TOLERANCE_H

/* Relative L2 of fp32 results against references that ran in fp64. */
#define TOL_DIT_FORWARD 1e-5    /* two blocks of fp32 sums over a few hundred terms */
#define TOL_TEXT_ENCODER 1e-5   /* the same, without modulation */
#define TOL_VAE 1e-4            /* 30 convolutions deep */
#define TOL_SAMPLED_LATENT 1e-4 /* ten guided steps amplify one forward's 1e-5 */

/* Largest difference of a colour byte after a way through 8-bit YUV. */
#define TOL_YUV444_BYTE 2 /* three roundings of at most one half, times up to 2.02 */
#define TOL_MP4_BYTE 20   /* x264 at crf 10 on smooth 4:2:0 pictures */

#endif
