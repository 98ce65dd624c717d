/* identity.h - which job, model and inputs a checkpoint belongs to
 *
 * A run that goes on with something else would give other bytes without a word, so
 * everything that changes the bytes has a digest in the checkpoint:
 *
 *     configuration  canonical JSON of the job: prompts, sizes, steps, seed, … (sorted
 *                    keys, no spaces, shortest numbers); not in it: ranks and mesh,
 *                    paths, how often checkpoints are written
 *     model          of all weights (engine/weights)
 *     conditioning   the text rows
 *     schedule       noise levels, and what each row of the timestep matrix does
 *
 * A difference is refused, and where the configuration differs the keys are named.
 */
#ifndef ENGINE_CHECKPOINT_IDENTITY_H
#define ENGINE_CHECKPOINT_IDENTITY_H

#include "engine/checkpoint/checkpoint.h"
#include "engine/sample/matrix.h"
#include "kernels/base/buf.h"

struct checkpoint_identity {
    const char *config; /* canonical JSON, borrowed */
    const char *accept; /* keys that may differ: names with commas between; or NULL */
    char config_digest[DIGEST_HEX], model_digest[DIGEST_HEX];
    char conditioning_digest[DIGEST_HEX], schedule_digest[DIGEST_HEX];
};

/* The canonical form of a JSON object; the caller frees *out. */
enum status identity_config(const char *json, char **out, char hex[DIGEST_HEX],
                            struct err *e);

/* Rows f32 [L, width]; `uncond` may be not there. */
enum status identity_conditioning(const struct checkpoint_floats *cond,
                                  const struct checkpoint_floats *uncond,
                                  char hex[DIGEST_HEX], struct err *e);

enum status identity_schedule(const struct schedule *s, const struct matrix *m,
                              char hex[DIGEST_HEX], struct err *e);

/* Keys that a user may accept to be different, because the video stays the same one
 * within rounding, or only its file differs; what the names stand for:
 *
 *     ring backend precision vae_chunk    other bytes, the tolerance of the backend
 *     crf                                 other quality of the .mp4
 *     embeds noise                        the same rows or noise under another path
 */
#define IDENTITY_ACCEPTABLE "ring backend precision vae_chunk crf embeds noise"

/* Are these such keys, with commas between them? ST_USAGE names the first that is not.
 * NULL is none. */
enum status identity_accept_check(const char *keys, struct err *e);

/* Is `key` one of `keys`? */
bool identity_accepts(const char *keys, const char *key);

/* What differs and is accepted, as text; nothing when nothing is. */
enum status identity_accepted(const struct checkpoint *ck,
                              const struct checkpoint_identity *want, struct buf *out,
                              struct err *e);

/* The keys of the JSON object `said` that have another value in `made`, as text;
 * nothing when there are none. What `made` does not have is passed over, and so is what
 * `accept` names (may be NULL). */
enum status identity_contradiction(const char *made, const char *said,
                                   const char *accept, struct buf *out, struct err *e);

/* Does `ck` belong to this job? A digest that `want` leaves empty is not looked at.
 * ST_INPUT names what differs: the keys of the configuration with both values, or the
 * model, the text rows, the schedule. `name` is what the error calls the checkpoint. */
enum status identity_match(const struct checkpoint *ck, const char *name,
                           const struct checkpoint_identity *want, struct err *e);

#endif
