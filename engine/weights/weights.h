/* weights.h - the tensors of one component, under canonical names
 *
 * A store reads its tensors from files of a model folder, renames them to the names
 * of the original Wan checkpoints ("blocks.3.self_attn.q.weight",
 * "encoder.downsamples.0.residual.0.gamma", "blocks.0.attn.q.weight" …), converts them
 * while they are read, and lends views. There are no globals; several stores live in
 * one process.
 *
 * Per tensor the pipeline is read -> rename -> convert or quantise -> place:
 *  - matrices (rank 2) that `quantise` names become e4m3 or i8 with SCALE_ROW scales,
 * by the weight rule of quantization-and-attention 1.3.1: scale = max(absmax of the
 * row, 1e-5) / 448 (i8: / 127), code = round(w / scale);
 *  - other matrices keep their stored dtype (f32, bf16, f16) and are converted per tile
 *    by the op that reads them; f64 becomes f32, plain-cast 8-bit floats become bf16,
 *    which holds them exactly;
 *  - with `conv_channels_last`, weights of rank 4 and 5 become [O,kt,kh,kw,C] of
 * `conv_dtype`
 *    (rank 4: kt = 1), as ops_conv wants them;
 *  - a weight of rank 5 without that flag (the patch embedding) counts as a matrix;
 *  - everything else (vectors, modulation, gamma, position tables) becomes f32 and
 * keeps its shape.
 *
 *     TRY(weights_open(&component, &policy, &w, e));   headers only: a plan
 *     … weights_bytes(w) …                             what it will take
 *     TRY(weights_load(w, ops, e));                    data
 *     TRY(weights_find(w, "head.head.weight", 2, (int64_t[]){64, 1536}, &t, e));
 *     …
 *     weights_drop(w);                                 the memory, where others need it
 *     weights_close(w);
 *
 * On a backend with memory of its own the bytes that files hold can be sent as they are
 * and get their form there; several ranks can read a part each. Neither changes a byte.
 *
 * weights_find checks rank and shape (-1: any) and answers ST_INPUT with the name, the
 * shape that is there and the one that is wanted. Views stay valid until weights_close.
 * Before weights_load and after weights_drop they have shape and dtype but no data.
 */
#ifndef ENGINE_WEIGHTS_WEIGHTS_H
#define ENGINE_WEIGHTS_WEIGHTS_H

#include "kernels/ops.h"

struct component;

enum weight_quant { QUANT_NONE, QUANT_E4M3, QUANT_I8 };

/* Where the ranks of one machine keep one copy of a store, which one of them reads.
 * Every rank makes the same calls; only memory of the host is shared. */
struct weights_share {
    void *self;
    /* Memory that all of them see, and whether this one fills it. */
    enum status (*open)(void *self, size_t bytes, void **memory, bool *reads,
                        struct err *e);
    /* The memory is filled, or filling failed with `st`: all learn how it went, and the
     * bytes at `data` become those of the rank that read. */
    enum status (*settle)(void *self, enum status st, void *data, size_t bytes,
                          struct err *e);
    void (*close)(void *self, void *memory);
};

/* Ranks that fill a store each, of the same tensors under the same policy, and read a
 * part of the files each: of every round of the memory this rank fills piece [rank] and
 * has the others' from them. All ranks of the launch make the same calls, also those of
 * other teams, and one that fails by itself meets the others in `agree`. */
struct weights_piece {
    void *data;
    size_t bytes;
};

struct weights_team {
    void *self;
    int rank, size;     /* size 0: this one reads nothing */
    size_t round_bytes; /* of files in a round, about; 0: 1 GiB */
    enum status (*open)(void *self, struct ops *ops, struct err *e);
    /* all go on, or all learn of the first that failed */
    enum status (*agree)(void *self, enum status st, struct err *e);
    /* the pieces [size] begin to travel when the work on `q` so far is done */
    enum status (*pass)(void *self, struct queue *q, const struct weights_piece *pieces,
                        struct err *e);
    enum status (*finish)(void *self, struct err *e); /* all that was passed is there */
    enum status (*sum)(void *self, int64_t *values, int64_t n, struct err *e);
    void (*close)(void *self);
};

/* Where tensors get their final form while they arrive. */
enum weights_way {
    WEIGHTS_AUTO,    /* where the backend says (ops_facts: loads) */
    WEIGHTS_ON_HOST, /* by this module's own threads */
    WEIGHTS_BY_OPS,  /* by the backend; the same bytes */
};

struct weights_policy {
    enum weight_quant quant;
    /* is this canonical name a matrix to quantise? NULL: none */
    bool (*quantise)(const char *name);
    bool conv_channels_last;
    enum dtype conv_dtype; /* of those: DT_F32 (0) or DT_BF16 */
    int threads; /* that read and convert, at most 16; 0: one per core, at most 8 */
    enum weights_way way;
    const struct weights_share *share; /* borrowed until weights_close; NULL: none */
    const struct weights_team *team;   /* likewise; with `share` too, a team of those
                                        * that fill the memory which others see */
    /* called now and then while loading, never by two threads at once; may be NULL */
    void (*progress)(void *self, int64_t bytes_done, int64_t bytes_total);
    void *progress_self;
};

struct weights;

/* Plan a store of this component's tensors. The component is borrowed until
 * weights_load has returned; names are copied. */
enum status weights_open(const struct component *c, const struct weights_policy *policy,
                         struct weights **out, struct err *e);

/* Bytes of the one allocation that weights_load makes, or shares. */
size_t weights_bytes(const struct weights *w);

/* Read everything into memory of the backend's space. `ops` is borrowed until
 * weights_close. A file that ends early, or rows to quantise that are not finite, are
 * ST_INPUT; not enough memory is ST_RESOURCE. */
enum status weights_load(struct weights *w, struct ops *ops, struct err *e);

/* Give the memory back; names, shapes and checksums stay, so the store still counts in
 * weights_digest. Work that reads the tensors has been waited for; views found before
 * are not used any more. A dropped store is not loaded again (ST_USAGE): open another.
 * Dropping twice, or what was never loaded, does nothing. Memory of
 * weights_from_entries is the caller's and stays. */
void weights_drop(struct weights *w);

/* SHA-256 over the lines "label/name dtype [dims] checksum" of stores that are or were
 * loaded, sorted, as hex: dtype, dims and checksum are those of the stored bytes, so
 * the same model gives the same digest in both layouts and under every policy. */
enum status weights_digest(const struct weights *const *stores, int n, char hex[65],
                           struct err *e);

enum status weights_find(const struct weights *w, const char *name, int rank,
                         const int64_t *shape, struct tensor *out, struct err *e);

/* Is there a tensor of this name? */
bool weights_has(const struct weights *w, const char *name);

/* The model borrows block i before it uses its tensors and gives it back after; a store
 * that keeps everything in memory has nothing to do. Views found before stay valid. */
enum status weights_borrow_block(struct weights *w, int64_t block, struct err *e);
void weights_return_block(struct weights *w, int64_t block);

void weights_close(struct weights *w);

/* A store over tensors that the caller owns, for tests and made-up models: copies the
 * table of names and views, not the data. */
struct weights_entry {
    const char *name;
    struct tensor t;
};
enum status weights_from_entries(const struct weights_entry *entries, int n,
                                 struct weights **out, struct err *e);

#endif
