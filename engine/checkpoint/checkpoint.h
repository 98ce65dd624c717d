/* checkpoint.h - what a run must remember to go on to the same bytes
 *
 * A checkpoint holds whole logical arrays: the number of ranks appears nowhere in it,
 * so any number of them can go on. As a file it is HDF5 behind a block of 512 bytes
 * (block.h), written and read by the protocols of store.h; h5dump, h5py and MATLAB show
 * it. C channels, N latent frames of the segment, T finished ones, h and w the latent
 * height and width, L text rows:
 *
 *     /               format, version, program, created, kind, segment, rows_done,
 *                     rows_total, segments_total
 *     /job            config (canonical JSON), launch (JSON), config_digest,
 *                     model_digest, whole_digest, conditioning_digest, schedule_digest,
 *                     precision, backend, mesh
 *     /latents/x      f32 [C,N,h,w]   current sample
 *     /sampler/x_last f32 [C,N,h,w]   corrected sample at the solver's last point
 *     /sampler/m0,m1  f32 [C,N,h,w]   the two newest data predictions
 *     /sampler/counter  i64 [N]       solver steps that each latent frame has done
 *     /text/cond, /text/uncond  f32 [L,width], attribute length
 *     /segment        finished_frames, prefix_frames
 *     /segment/finished f32 [C,T,h,w] latents of the segments before this one
 *     /report         seconds, restarts: of all incarnations so far
 *
 * Latents and sampler arrays are there while a segment is running and only then. Texts
 * are f32 as the encoder gives them: as bf16 they would be other bytes. Generators have
 * no state here: Philox is a function of seed and index, and torch-cpu is replayed.
 *
 * Which kind is where in a run:
 *
 *     encoded   the text is encoded, no row is done
 *     running   rows_done of rows_total rows of this segment are done
 *     segment   this segment is finished, others follow
 *     final     all segments are finished, decoding may be left
 */
#ifndef ENGINE_CHECKPOINT_CHECKPOINT_H
#define ENGINE_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/digest.h"
#include "kernels/base/err.h"

enum checkpoint_kind {
    CHECKPOINT_ENCODED,
    CHECKPOINT_RUNNING,
    CHECKPOINT_SEGMENT,
    CHECKPOINT_FINAL,
};

enum { CHECKPOINT_NOTE_BYTES = 64, CHECKPOINT_CONFIG_MAX = 65536 };

/* An array; not there when dims[0] is 0. Memory is kept and used again. */
struct checkpoint_floats {
    int64_t dims[4]; /* text: [L, width, 1, 1] */
    float *data;     /* owned */
    size_t room;     /* floats that `data` can hold */
};

struct checkpoint_ints {
    int64_t n;
    int64_t *data; /* owned */
    size_t room;
};

struct checkpoint {
    int64_t kind; /* enum checkpoint_kind */
    int64_t segment, rows_done, rows_total, segments_total;
    char *config; /* all that changes the bytes; owned */
    char *launch; /* all that the launch was told, to start it again; owned */
    char config_digest[DIGEST_HEX], model_digest[DIGEST_HEX];
    char whole_digest[DIGEST_HEX]; /* of the model with its text encoder */
    char conditioning_digest[DIGEST_HEX], schedule_digest[DIGEST_HEX];
    char precision[CHECKPOINT_NOTE_BYTES], backend[CHECKPOINT_NOTE_BYTES];
    char mesh[CHECKPOINT_NOTE_BYTES]; /* that wrote it: information only */
    char program[CHECKPOINT_NOTE_BYTES], created[CHECKPOINT_NOTE_BYTES];
    struct checkpoint_floats x, x_last, m0, m1;
    struct checkpoint_ints counter;
    struct checkpoint_floats cond, uncond;
    int64_t finished_frames, prefix_frames;
    struct checkpoint_floats finished;
    double seconds;
    int64_t restarts;
};

/* Memory that a checkpoint will need, in floats: each of the four arrays of the
 * solver's state, texts, finished segments. */
struct checkpoint_room {
    size_t state, cond, uncond, finished;
};

/* Zeroed memory is an empty checkpoint. Releasing makes it one again. */
void checkpoint_release(struct checkpoint *ck);

const char *checkpoint_kind_name(int64_t kind);

/* Give an array its dims (and memory; values are left to the caller); dims NULL: it is
 * not there. checkpoint_config copies both texts; `launch` NULL is "". */
enum status checkpoint_floats_size(struct checkpoint_floats *f, const int64_t dims[4],
                                   struct err *e);
enum status checkpoint_ints_size(struct checkpoint_ints *f, int64_t n, struct err *e);
enum status checkpoint_config(struct checkpoint *ck, const char *config,
                              const char *launch, struct err *e);

/* Get the memory and touch every page of it, for arrays that are not there; those that
 * are keep what they hold. Without memory some are left for checkpoint_floats_size. */
void checkpoint_reserve(struct checkpoint *ck, const struct checkpoint_room *room);

size_t checkpoint_floats_count(const struct checkpoint_floats *f);

/* To the bit, shape and values. */
bool checkpoint_floats_same(const struct checkpoint_floats *a,
                            const struct checkpoint_floats *b);

/* Bytes of all arrays. */
int64_t checkpoint_bytes(const struct checkpoint *ck);

/* Do kind, counts and shapes belong together? ST_INPUT names what does not. */
enum status checkpoint_check(const struct checkpoint *ck, struct err *e);

/* The first thing in which two differ to the bit, or NULL. */
const char *checkpoint_difference(const struct checkpoint *a,
                                  const struct checkpoint *b);

#endif
