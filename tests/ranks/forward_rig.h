/* forward_rig.h - the real transformer with made-up weights, on a group of ranks
 *
 * Every rank makes the same weights and inputs from the case alone; latents and
 * velocities are those of the own tokens, and lie where the backend works: `have` is
 * the host's copy of the velocity. Failures abort (check.h).
 */
#ifndef TESTS_RANKS_FORWARD_RIG_H
#define TESTS_RANKS_FORWARD_RIG_H

#include "engine/dit/forward.h"
#include "engine/dit/plan.h"

enum { RIG_COLUMNS = 64 }; /* of a token's latent and velocity */

struct forward_case {
    int64_t heads, head_dim, layers;
    int64_t frames, grid_h, grid_w;
    const struct dit_precision *precision;
    bool per_frame; /* one timestep per frame, otherwise one for all */
};

struct forward_rig {
    struct forward_case c;
    struct dit_config config;
    struct ops *ops;
    struct weights *weights;
    struct dit *dit;
};

/* One forward with its memory and inputs. */
struct forward_pass {
    struct forward_rig *rig;
    struct dit_shape shape;
    struct dit_plan plan;
    struct queue *q;
    struct arena arena;
    void *memory, *workspace;
    struct dit_context *context;
    struct dit_forward *forward;
    struct span tokens;
    struct tensor latent, t, velocity;
    float *have; /* velocity of the last run */
    struct dit_input input;
};

int64_t case_tokens(const struct forward_case *c);

/* `ops` is borrowed. */
void forward_rig_open(struct forward_rig *r, const struct forward_case *c,
                      struct ops *ops);
void forward_rig_close(struct forward_rig *r);

/* Inputs differ by `variant`. */
void forward_pass_open(struct forward_pass *p, struct forward_rig *r,
                       const struct seqpar_group *group, int variant);
void forward_pass_run(struct forward_pass *p);

/* The velocity to the host, where forward_pass_run has not done it. */
void forward_pass_fetch(struct forward_pass *p);
void forward_pass_close(struct forward_pass *p);

/* The layout of its attention. */
struct seqpar_layout forward_pass_layout(const struct forward_pass *p);

#endif
