/* dit_rig.h - a tiny transformer on a backend, ready to run, for tests
 *
 * Weights come from tests/golden/data/dit, stored as the file has them (or quantised on
 * the way in); everything lives in one arena that the plan has counted. Failures
 * assert.
 */
#ifndef TESTS_UNIT_DIT_RIG_H
#define TESTS_UNIT_DIT_RIG_H

#include "engine/dit/forward.h"
#include "engine/dit/patch.h"
#include "engine/dit/plan.h"

/* What a run looks at; arrays are owned by whoever made them. */
struct dit_case {
    struct latent_size size;
    int64_t times; /* 1 or frames */
    int64_t text_rows;
    int fps;
    float *latent;    /* [C,F,H,W] */
    float *timestep;  /* [times] */
    float *context;   /* [text_rows, text_dim] */
    double *velocity; /* [C,F,H,W], NULL: not known */
};

/* Read case `k` of a model; false when there is none. */
bool case_read(const char *model, int k, struct dit_case *c);
/* Seeded numbers in the shape of a case: latent N(0,1), timesteps and context. */
void case_random(struct dit_case *c, struct latent_size size, int64_t times,
                 int64_t text_rows, int64_t text_dim, unsigned seed);
void case_release(struct dit_case *c);

struct dit_rig_options {
    const char *backend;
    int threads;
    const char *model; /* "wan_a", "wan_b" or "sky_fps" */
    const struct dit_precision *precision;
    bool diffusers; /* the folder with diffusers' names */
};

struct dit_rig {
    struct dit_config config;
    struct dit_precision precision;
    struct ops *ops;
    struct weights *weights;
    struct dit *m;
};

void rig_open(struct dit_rig *r, const struct dit_rig_options *o);
void rig_close(struct dit_rig *r);

/* Twice the values of every cross attention. */
void rig_double_values(struct dit_rig *r);

/* Memory for `passes` forwards and `contexts` contexts of a case. */
struct dit_stand {
    struct ops *ops; /* of the rig */
    struct dit_plan plan;
    struct queue *q;
    void *memory, *workspace;
    struct arena arena;
    struct dit_shape shape;
};

void stand_open(struct dit_stand *s, struct dit_rig *r, const struct dit_case *c,
                int passes, int contexts);
void stand_close(struct dit_stand *s, struct dit_rig *r);

/* Tensors of a case in the backend's space, made in the stand's arena. */
struct tensor stand_latent(struct dit_stand *s, const struct dit_case *c);
struct tensor stand_timestep(struct dit_stand *s, const struct dit_case *c);
struct tensor stand_velocity(struct dit_stand *s, const struct dit_rig *r);
struct dit_context *stand_context(struct dit_stand *s, struct dit_rig *r,
                                  const struct dit_case *c);

/* One forward of a case on its own; velocity [C,F,H,W] into `out`. */
void rig_run(struct dit_rig *r, const struct dit_case *c, float *out);

/* The same against the case's velocity: relative L2. */
double rig_error(struct dit_rig *r, const struct dit_case *c);

/* |a - b| / |b| over n numbers. */
double rel_l2(const float *a, const double *b, int64_t n);
double rel_l2f(const float *a, const float *b, int64_t n);

#endif
