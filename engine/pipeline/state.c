/* state.c - fills the coefficient tables and puts the sums of a step on the queue */
#include "engine/pipeline/state.h"

#include <stdlib.h>

enum { INPUT_TERMS = 2, M_TERMS = 2, KEEP_TERMS = 2, GUIDE_TERMS = 2 };
enum { CORR_KEEP = 0, PRED_KEEP = 3 }; /* the old x_last and the old x */
enum {
    PER_FRAME = 1 + INPUT_TERMS + M_TERMS + SOLVER_CORR + SOLVER_PRED + KEEP_TERMS,
};

/* Where each table begins, in floats, for `frames` frames. */
struct offsets {
    int64_t t, input, m, corr, pred, keep, guide, end;
};

static struct offsets offsets_of(int64_t frames)
{
    struct offsets o;

    o.t = 0;
    o.input = o.t + frames;
    o.m = o.input + frames * INPUT_TERMS;
    o.corr = o.m + frames * M_TERMS;
    o.pred = o.corr + frames * SOLVER_CORR;
    o.keep = o.pred + frames * SOLVER_PRED;
    o.guide = o.keep + frames * KEEP_TERMS;
    o.end = o.guide + GUIDE_TERMS;
    return o;
}

void state_cut(struct state *s, struct ops *ops, const struct state_shape *shape,
               struct arena *a)
{
    struct tensor *const rows[] = {&s->x,     &s->x_last, &s->m,        &s->m0,
                                   &s->m1,    &s->v_cond, &s->v_uncond, &s->v,
                                   &s->input, &s->noise};
    enum mem_space space = ops_facts(ops)->space;
    int64_t dims[2] = {shape->tokens.count, shape->columns};
    int64_t table = offsets_of(shape->frames).end;

    s->ops = ops;
    s->shape = *shape;
    s->host_tables = NULL;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        *rows[i] = tensor_cut(a, DT_F32, space, 2, dims);
    s->tables = tensor_cut(a, DT_F32, space, 1, &table);
}

enum status state_init(struct state *s, struct err *e)
{
    size_t floats = (size_t)offsets_of(s->shape.frames).end;

    s->host_tables = calloc(floats, sizeof(float));
    if (!s->host_tables)
        return err_set(e, ST_RESOURCE, "out of memory: solver tables of %zu bytes",
                       floats * sizeof(float));
    return ST_OK;
}

void state_release(struct state *s)
{
    free(s->host_tables);
    s->host_tables = NULL;
}

/* ---- tables ---------------------------------------------------------------------- */

/* Timestep and input weights of frame f. */
static void input_fill(float *t, const struct offsets *o, const struct state_row *r,
                       int f)
{
    float level = (float)r->addnoise / 1000.0f;
    float *input = t + o->input + f * INPUT_TERMS;
    int cell = r->row * r->matrix->frames + f;
    int noised = f < r->prefix && r->addnoise > 0;

    t[o->t + f] = noised ? (float)r->addnoise : (float)r->matrix->timestep[cell];
    input[0] = noised ? 1.0f - level : 1.0f;
    input[1] = noised ? level : 0.0f;
}

/* Solver weights of frame f; a frame that rests keeps what it has. */
static void solver_fill(float *t, const struct offsets *o, const struct state_row *r,
                        int f)
{
    int k = r->matrix->step[r->row * r->matrix->frames + f];
    struct solver_step step = {.sigma = 0.0};
    float *m = t + o->m + f * M_TERMS;
    float *keep = t + o->keep + f * KEEP_TERMS;

    if (k >= 0) {
        step = solver_step_at(r->schedule, k);
    } else {
        step.corr[CORR_KEEP] = 1.0;
        step.pred[PRED_KEEP] = 1.0;
    }
    m[0] = k >= 0 ? 1.0f : 0.0f;
    m[1] = (float)-step.sigma;
    keep[0] = k >= 0 ? 1.0f : 0.0f;
    keep[1] = k >= 0 ? 0.0f : 1.0f;
    for (int i = 0; i < SOLVER_CORR; i++)
        t[o->corr + f * SOLVER_CORR + i] = (float)step.corr[i];
    for (int i = 0; i < SOLVER_PRED; i++)
        t[o->pred + f * SOLVER_PRED + i] = (float)step.pred[i];
}

/* A table of the row as a tensor [rows, terms]. */
static struct tensor table_at(const struct state *s, int64_t begin, int64_t rows,
                              int64_t terms)
{
    struct tensor whole = tensor_slice(&s->tables, 0, begin, rows * terms);

    return tensor_reshape(&whole, 2, (int64_t[]){rows, terms});
}

static enum status sum(struct state *s, struct queue *q, struct tensor *out,
                       const struct tensor *const *in, const struct tensor *coef,
                       struct err *e)
{
    struct op_combine a = {.out = out,
                           .n = (int)coef->shape[1],
                           .coef = coef,
                           .first_token = s->shape.tokens.begin,
                           .tokens_per_frame = s->shape.tokens_per_frame};

    for (int i = 0; i < a.n; i++)
        a.in[i] = in[i];
    return ops_combine(s->ops, q, &a, e);
}

enum status state_prepare(struct state *s, struct queue *q, const struct state_row *r,
                          struct tensor *t, struct err *e)
{
    int frames = r->matrix->frames;
    struct offsets o = offsets_of(frames);
    struct tensor host = tensor_make1(s->host_tables, DT_F32, MEM_HOST, o.end);
    struct tensor device = tensor_slice(&s->tables, 0, 0, o.end);
    struct tensor coef = table_at(s, o.input, frames, INPUT_TERMS);

    for (int f = 0; f < frames; f++) {
        input_fill(s->host_tables, &o, r, f);
        solver_fill(s->host_tables, &o, r, f);
    }
    s->host_tables[o.guide] = (float)(1.0 - r->guidance);
    s->host_tables[o.guide + 1] = (float)r->guidance;
    TRY(ops_copy(s->ops, q, &device, &host, e));
    *t = tensor_slice(&s->tables, 0, o.t, frames);
    return sum(s, q, &s->input, (const struct tensor *[]){&s->x, &s->noise}, &coef, e);
}

/* v = (1 - g) v_uncond + g v_cond, or v_cond alone. */
static enum status guide(struct state *s, struct queue *q, const struct state_row *r,
                         const struct tensor **v, struct err *e)
{
    int frames = r->matrix->frames;
    struct tensor coef = table_at(s, offsets_of(frames).guide, 1, GUIDE_TERMS);

    *v = &s->v_cond;
    if (r->guidance <= 1.0)
        return ST_OK;
    *v = &s->v;
    return sum(s, q, &s->v, (const struct tensor *[]){&s->v_uncond, &s->v_cond}, &coef,
               e);
}

enum status state_update(struct state *s, struct queue *q, const struct state_row *r,
                         struct err *e)
{
    int frames = r->matrix->frames;
    struct offsets o = offsets_of(frames);
    struct tensor m = table_at(s, o.m, frames, M_TERMS);
    struct tensor corr = table_at(s, o.corr, frames, SOLVER_CORR);
    struct tensor pred = table_at(s, o.pred, frames, SOLVER_PRED);
    struct tensor keep = table_at(s, o.keep, frames, KEEP_TERMS);
    const struct tensor *v;

    TRY(guide(s, q, r, &v, e));
    TRY(sum(s, q, &s->m, (const struct tensor *[]){&s->x, v}, &m, e));
    TRY(sum(s, q, &s->x_last,
            (const struct tensor *[]){&s->x_last, &s->m0, &s->m1, &s->m, &s->x}, &corr,
            e));
    TRY(sum(s, q, &s->x, (const struct tensor *[]){&s->x_last, &s->m, &s->m0, &s->x, v},
            &pred, e));
    TRY(sum(s, q, &s->m1, (const struct tensor *[]){&s->m0, &s->m1}, &keep, e));
    return sum(s, q, &s->m0, (const struct tensor *[]){&s->m, &s->m0}, &keep, e);
}
