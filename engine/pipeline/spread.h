/* spread.h - one run over the ranks of a launch: who does what, and what they exchange
 *
 * Rank 0 leads: it reads files, encodes text and writes. All ranks denoise, each its
 * own tokens (and, when the guidance branches run side by side, its own branch), and
 * decode together (crew.h); while the leader works alone the others wait asleep. What
 * moves:
 *
 *     text rows       from the leader to all, once
 *     prefix latents  from the leader to all, once per segment that has one
 *     attention       inside the model (dist/seqpar.h), every block
 *     velocities      of own tokens between the two branches, once per row
 *     latents         own tokens to the leader, once per segment
 *
 * A run on one rank makes the same calls; they move nothing.
 */
#ifndef ENGINE_PIPELINE_SPREAD_H
#define ENGINE_PIPELINE_SPREAD_H

#include "dist/mesh.h"
#include "dist/seqpar.h"
#include "dist/world.h"
#include "engine/dit/patch.h"
#include "engine/pipeline/embeds.h"

enum branch { BRANCH_COND, BRANCH_UNCOND, BRANCHES };

struct spread {
    struct world *world;
    struct comm *ranks; /* of the world, over the backend's memory */
    struct mesh_comms comms;
    struct comm_flight *velocities; /* NULL: one branch per rank */
    bool open;
};

/* What one rank has sent, received and waited for since the last spread_traffic. */
struct spread_traffic {
    int64_t sent_bytes, received_bytes, messages;
    double wait_seconds;
};

/* Split the world into the mesh, for tensors of `ops`; both are borrowed. GPUs that do
 * not connect tear the world. Collective. */
enum status spread_open(struct spread *s, struct world *world, struct ops *ops,
                        const struct mesh *m, struct err *e);
void spread_close(struct spread *s);

/* The world is torn: end what is under way on devices. Not collective. */
void spread_abort(struct spread *s);

bool spread_leads(const struct spread *s);

/* Does this rank evaluate the branch? */
bool spread_owns(const struct spread *s, enum branch b);

/* The leader's bytes to all, and its text rows: n and rows of both. Collective. */
enum status spread_bytes(struct spread *s, void *data, size_t bytes, struct err *e);
enum status spread_embeds(struct spread *s, struct embeds *m, struct err *e);

/* Velocities of the own tokens, f32 in the backend's memory: each rank has filled that
 * of its branch and has both for what follows on the queue. Without an agreement.
 * Collective. */
enum status spread_velocities(struct spread *s, struct queue *q,
                              const struct tensor *const v[BRANCHES], struct err *e);

/* Own rows of tokens (patch.h) into the leader's whole latent, or, as they are, into
 * `all` of the leader, who may have its own rows there already. Ranks of another branch
 * have the same rows and send nothing. Collective. */
enum status spread_rows(struct spread *s, const struct ops *ops,
                        const struct latent_size *size, float *rows, float *all,
                        struct err *e);
enum status spread_gather(struct spread *s, const struct ops *ops,
                          const struct latent_size *size, float *rows, float *latent,
                          struct err *e);

/* Traffic since the last call, of every rank: out[world size], on all. Collective. */
enum status spread_traffic(struct spread *s, struct spread_traffic *last,
                           struct spread_traffic *out, struct err *e);

#endif
