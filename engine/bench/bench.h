/* bench.h - how fast a model of a published size runs here, with made-up weights
 *
 *     struct bench_options o = {.engine = {.backend = "cuda", .world = w}, …};
 *     struct bench_result *r;
 *     TRY(bench_run(&o, &r, e));
 *     … rank 0 prints …
 *     bench_destroy(r);
 *
 * Weights are random (engine/weights/made_up.h): speed depends on sizes, not on what
 * was learnt. Parts:
 *
 *     forward   one pass of the transformer, on all ranks; with guidance ranks each
 *               branch runs one at the same time
 *     vae       decoding the whole video to 8-bit frames in rank 0's host memory, on as
 *               many ranks as `vae_ranks` says
 *     text      encoding one prompt, on rank 0
 *     load      reading, quantising and placing a file of some blocks that was written
 *               just before, so it comes from the page cache; all ranks have it then
 *
 * Times are those of the slowest rank. The table of a part comes from one more pass
 * that waits after every op.
 */
#ifndef ENGINE_BENCH_BENCH_H
#define ENGINE_BENCH_BENCH_H

#include "engine/bench/watch.h"
#include "engine/pipeline/job.h"
#include "kernels/settle.h"

enum bench_part {
    BENCH_FORWARD,
    BENCH_VAE,
    BENCH_TEXT,
    BENCH_LOAD,
    BENCH_ACCURACY,
    BENCH_PARTS
};

/* tiny: everything small enough for tests. */
enum bench_shape { BENCH_14B, BENCH_1_3B, BENCH_TINY };

enum { BENCH_REPEATS_MAX = 1000 };

struct bench_options {
    struct engine_options engine; /* `model` is not looked at */
    int shape;                    /* enum bench_shape */
    int64_t layers;               /* transformer blocks; 0: as many as the shape has */
    struct option_size size;
    int64_t num_frames, steps, text_rows, repeats, seed;
    int64_t load_blocks; /* in the file of `load` */
    bool guided;         /* two forwards per step */
    bool share_blocks;   /* all blocks have the weights of one */
    bool ceilings;       /* measure what the machine can do */
    bool end_to_end;     /* run all steps for real */
    bool tune;           /* look for the fastest way of each product of a block */
    bool part[BENCH_PARTS];
    const char *scratch; /* folder for the file of `load` */
};

struct bench_times {
    int n;
    double median, min, max; /* seconds */
};

struct bench_part_result {
    bool ran;
    struct bench_times seconds;
    double flop;         /* of this rank's pass */
    size_t weight_bytes; /* of this rank */
    size_t peak_bytes;   /* weights, activations and workspace of this rank */
    struct watch watch;
};

/* Of one rank. */
struct bench_rank {
    int64_t peak_bytes;
    int64_t device_bytes;  /* what the device has less than before, at the end of the
                            * forward, libraries' own buffers too; 0 on a host */
    int64_t sent_bytes;    /* per forward */
    double waited_seconds; /* for other ranks, per forward: what was not hidden */
};

/* How far apart two results are; the exact one is the measure (engine/compare/sums.h).
 */
struct bench_distance {
    double relative_l2, cosine;
};

/* Of one block, over at most BENCH_SAMPLE_ROWS rows of tokens from all over the video.
 * `own`: what the block adds to the residual stream, when it gets the measure's stream;
 * `so_far`: the stream behind it, when all blocks before had this precision too. */
struct bench_block_accuracy {
    struct bench_distance own, so_far;
};

enum { BENCH_SAMPLE_ROWS = 512 };

struct bench_accuracy {
    const char *measure;                /* "bf16" */
    int64_t layers, worst;              /* worst: of the largest own.relative_l2 */
    struct bench_block_accuracy *block; /* [layers] */
    struct bench_distance velocity;     /* the whole result, over all tokens */
};

/* A way of a product; of those that were not proven because a faster one was, `differ`
 * is -1, else how many values depended on the number of rows. */
struct bench_way {
    struct linear_way way;
    double seconds; /* of one product */
    bool first;     /* what the backend takes by itself */
    int64_t differ;
};

enum { BENCH_WAYS_MAX = 32, BENCH_TUNED = 3 };

/* y[rows,d] = x[rows,k] w[d,k]^T, fastest way first. */
struct bench_tuned {
    int64_t rows, d, k;
    int n, taken;
    struct bench_way way[BENCH_WAYS_MAX];
};

enum bench_whole { BENCH_UNKNOWN, BENCH_ESTIMATED, BENCH_MEASURED };

struct bench_result {
    char describe[160]; /* "14B shape (…), fp8 on cuda" */
    char mesh[40];
    int ranks, forwards_at_once;
    int64_t tokens, latent_frames;
    struct bench_part_result part[BENCH_PARTS];
    struct bench_rank *rank; /* [ranks] */
    double load_file_bytes, load_model_bytes;
    double load_send_rate; /* bytes per second of each rank, all at once: to where
                            * weights lie, from memory that they could be read into */
    double load_read_rate; /* likewise: the file by one thread, from the page cache */
    struct bench_accuracy accuracy;
    struct bench_tuned *tuned; /* [BENCH_TUNED]; NULL: not asked for */
    double settle_seconds; /* of proving products, as a run does before its first pass;
                            * 0: the backend has no choice */
    char settle_note[SETTLE_NOTE_BYTES];
    double copy_rate, product_rate; /* bytes and FLOP per second; 0: not measured */
    enum bench_whole whole;
    double whole_seconds;   /* text, all steps and VAE; without loading and writing */
    double denoise_seconds; /* BENCH_MEASURED: of all steps */
};

/* Impossible sizes are ST_USAGE, too little memory ST_RESOURCE. Collective. */
enum status bench_run(const struct bench_options *o, struct bench_result **out,
                      struct err *e);
void bench_destroy(struct bench_result *r);

const char *bench_part_name(enum bench_part part);

#endif
