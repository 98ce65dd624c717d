/* model.h - a transformer of given sizes with made-up weights, for benchmarks */
#ifndef TESTS_BENCH_MODEL_H
#define TESTS_BENCH_MODEL_H

#include "engine/dit/dit.h"

struct bench_model {
    struct dit_config config;
    struct weights *weights;
    struct dit *dit;
    struct tensor *data; /* what the store lends; owned */
    int n;
};

/* Weights of std 1/sqrt(fan in), in the dtype that `precision` multiplies; block
 * matrices as e4m3 or i8 with row scales when it says so. */
enum status bench_model_init(struct bench_model *m, const struct dit_config *config,
                             const struct dit_precision *precision, struct ops *ops,
                             struct err *e);
void bench_model_release(struct bench_model *m);

/* n floats, uniform in -amplitude … amplitude; NULL when out of memory. */
float *bench_numbers(int64_t n, float amplitude);

#endif
