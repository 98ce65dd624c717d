/* dit_rig.c - weights, memory and cases of the transformer tests */
#include "tests/unit/dit_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/weights/model.h"
#include "engine/weights/safetensors.h"

static void must(enum status st, const struct err *e)
{
    if (st != ST_OK)
        fail_msg("%s", e->text);
}

double rel_l2(const float *a, const double *b, int64_t n)
{
    double diff = 0, norm = 0;

    for (int64_t i = 0; i < n; i++) {
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(diff / norm);
}

double rel_l2f(const float *a, const float *b, int64_t n)
{
    double diff = 0, norm = 0;

    for (int64_t i = 0; i < n; i++) {
        diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(diff / norm);
}

/* ---- cases ---------------------------------------------------------------------- */

static void *read_array(struct source *s, const char *name, enum dtype as,
                        const struct stored **where)
{
    struct err e = ERR_INIT;
    void *data;

    must(source_get(s, name, -1, NULL, where, &e), &e);
    data = malloc((size_t)stored_elements(*where) * dtype_bytes(as));
    assert_non_null(data);
    must(source_read_as(s, *where, as, data, &e), &e);
    return data;
}

bool case_read(const char *model, int k, struct dit_case *c)
{
    struct err e = ERR_INIT;
    struct source *s;
    const struct stored *t;
    char path[512];
    double *fps;

    snprintf(path, sizeof(path), "%s/dit/%s.case%d.safetensors", FF_GOLDEN_DIR, model,
             k);
    if (safetensors_open(path, &s, &e) != ST_OK)
        return false;
    *c = (struct dit_case){.fps = 24};
    c->latent = read_array(s, "latent", DT_F32, &t);
    c->size = (struct latent_size){t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
    c->timestep = read_array(s, "timestep", DT_F32, &t);
    c->times = t->dims[0];
    c->context = read_array(s, "context", DT_F32, &t);
    c->text_rows = t->dims[0];
    c->velocity = read_array(s, "velocity", DT_F64, &t);
    if (source_find(s, "fps")) {
        fps = read_array(s, "fps", DT_F64, &t);
        c->fps = (int)fps[0];
        free(fps);
    }
    source_close(s);
    return true;
}

/* Sum of uniforms: close enough to a normal for tests. */
static float *random_array(int64_t n, unsigned *state)
{
    float *x = malloc((size_t)n * sizeof(*x));

    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = -6.0f;
        for (int k = 0; k < 12; k++) {
            *state = *state * 1664525u + 1013904223u;
            x[i] += (float)(*state >> 8) * 0x1p-24f;
        }
    }
    return x;
}

void case_random(struct dit_case *c, struct latent_size size, int64_t times,
                 int64_t text_rows, int64_t text_dim, unsigned seed)
{
    *c = (struct dit_case){
        .size = size, .times = times, .text_rows = text_rows, .fps = 24};
    c->latent = random_array(size.channels * size.frames * size.height * size.width,
                             &seed);
    c->context = random_array(text_rows * text_dim, &seed);
    c->timestep = random_array(times, &seed);
    for (int64_t i = 0; i < times; i++)
        c->timestep[i] = (float)((int)(fabsf(c->timestep[i]) * 300) % 1000);
}

void case_release(struct dit_case *c)
{
    free(c->latent);
    free(c->timestep);
    free(c->context);
    free(c->velocity);
}

/* ---- weights -------------------------------------------------------------------- */

static enum weight_quant quant_of(const struct dit_precision *p)
{
    if (p->operand == DT_E4M3)
        return QUANT_E4M3;
    return p->operand == DT_I8 ? QUANT_I8 : QUANT_NONE;
}

static void load_weights(struct dit_rig *r, const struct dit_rig_options *o)
{
    struct model_options mo = {.without = 1u << MODEL_TEXT | 1u << MODEL_VAE |
                                          1u << MODEL_TOKENIZER};
    struct weights_policy policy = {.quant = quant_of(o->precision),
                                    .quantise = dit_quantised};
    struct err e = ERR_INIT;
    struct model *model;
    char path[512];

    snprintf(path, sizeof(path), "%s/dit/%s%s", FF_GOLDEN_DIR, o->model,
             o->diffusers ? "" : "/original");
    must(model_open(path, &mo, &model, &e), &e);
    r->config = *model_dit(model);
    must(weights_open(model_component(model, MODEL_DIT), &policy, &r->weights, &e), &e);
    must(weights_load(r->weights, r->ops, &e), &e);
    model_close(model);
}

static void double_tensor(const struct dit_rig *r, const char *name, int rank)
{
    struct err e = ERR_INIT;
    int64_t any[2] = {-1, -1};
    struct tensor t;

    must(weights_find(r->weights, name, rank, any, &t, &e), &e);
    for (int64_t i = 0; i < tensor_count(&t); i++) {
        if (t.dtype == DT_F32)
            ((float *)t.data)[i] *= 2;
        else
            ((uint16_t *)t.data)[i] = f32_to_bf16(2 *
                                                  bf16_to_f32(((uint16_t *)t.data)[i]));
    }
}

void rig_double_values(struct dit_rig *r)
{
    char name[64];

    for (int64_t i = 0; i < r->config.layers; i++) {
        snprintf(name, sizeof(name), "blocks.%d.cross_attn.v.weight", (int)i);
        double_tensor(r, name, 2);
        snprintf(name, sizeof(name), "blocks.%d.cross_attn.v.bias", (int)i);
        double_tensor(r, name, 1);
    }
}

void rig_open(struct dit_rig *r, const struct dit_rig_options *o)
{
    struct ops_options oo = {.threads = o->threads};
    struct err e = ERR_INIT;

    *r = (struct dit_rig){.precision = *o->precision};
    must(ops_open(o->backend, &oo, &r->ops, &e), &e);
    load_weights(r, o);
    must(dit_create(&r->config, o->precision, r->weights, r->ops, &r->m, &e), &e);
}

void rig_close(struct dit_rig *r)
{
    dit_destroy(r->m);
    weights_close(r->weights);
    ops_close(r->ops);
}

/* ---- memory --------------------------------------------------------------------- */

void stand_open(struct dit_stand *s, struct dit_rig *r, const struct dit_case *c,
                int passes, int contexts)
{
    struct err e = ERR_INIT;
    size_t rows, bytes;

    *s = (struct dit_stand){.ops = r->ops};
    s->shape = (struct dit_shape){
        .frames = c->size.frames,
        .grid_h = c->size.height / 2,
        .grid_w = c->size.width / 2,
        .group = SEQPAR_ALONE,
        .contexts = contexts,
        .context_rows = dit_context_rows(&r->config, c->text_rows),
        .fps = c->fps,
    };
    must(dit_plan(&r->config, &r->precision, &s->shape, r->ops, &s->plan, &e), &e);
    rows = (size_t)s->plan.tokens * 4 * sizeof(float);
    bytes = s->plan.forward_bytes * (size_t)passes + s->plan.context_scratch_bytes +
            s->plan.context_bytes * (size_t)(contexts + passes) +
            (size_t)passes *
                (rows * (size_t)(r->config.in_channels + r->config.out_channels) +
                 (size_t)(c->times + c->text_rows * r->config.text_dim) *
                     sizeof(float) +
                 4 * ARENA_ALIGN);
    must(ops_mem_alloc(r->ops, bytes, &s->memory, &e), &e);
    must(ops_mem_alloc(r->ops, s->plan.workspace_bytes + 1, &s->workspace, &e), &e);
    arena_init(&s->arena, s->memory, bytes);
    must(ops_queue_open(r->ops, s->workspace, s->plan.workspace_bytes, &s->q, &e), &e);
}

void stand_close(struct dit_stand *s, struct dit_rig *r)
{
    ops_queue_close(r->ops, s->q);
    ops_mem_free(r->ops, s->workspace);
    ops_mem_free(r->ops, s->memory);
}

/* Host values in the backend's space. */
static struct tensor put(struct dit_stand *s, float *values, int rank,
                         const int64_t *shape)
{
    struct tensor t = tensor_cut(&s->arena, DT_F32, ops_facts(s->ops)->space, rank,
                                 shape);
    struct tensor host = tensor_make(values, DT_F32, MEM_HOST, rank, shape);
    struct err e = ERR_INIT;

    must(ops_copy(s->ops, s->q, &t, &host, &e), &e);
    must(ops_queue_wait(s->ops, s->q, &e), &e);
    return t;
}

struct tensor stand_latent(struct dit_stand *s, const struct dit_case *c)
{
    struct span all = {0, s->plan.tokens};
    const int64_t shape[2] = {all.count, 4 * c->size.channels};
    float *rows = malloc((size_t)(shape[0] * shape[1]) * sizeof(*rows));
    struct tensor t;

    assert_non_null(rows);
    patch_from_latent(rows, c->latent, &c->size, all);
    t = put(s, rows, 2, shape);
    free(rows);
    return t;
}

struct tensor stand_timestep(struct dit_stand *s, const struct dit_case *c)
{
    return put(s, c->timestep, 1, &c->times);
}

struct tensor stand_velocity(struct dit_stand *s, const struct dit_rig *r)
{
    return tensor_cut(&s->arena, DT_F32, ops_facts(s->ops)->space, 2,
                      (int64_t[]){s->plan.tokens, 4 * r->config.out_channels});
}

struct dit_context *stand_context(struct dit_stand *s, struct dit_rig *r,
                                  const struct dit_case *c)
{
    const int64_t shape[2] = {c->text_rows, r->config.text_dim};
    struct tensor text = put(s, c->context, 2, shape);
    struct dit_context *ctx = NULL;
    struct err e = ERR_INIT;

    must(dit_context_create(r->m, s->q, &text, &s->arena, &s->arena, &ctx, &e), &e);
    return ctx;
}

/* The velocity rows on the host, to be freed. */
static float *velocity_fetch(struct dit_stand *s, const struct tensor *velocity)
{
    struct tensor host = *velocity;
    struct err e = ERR_INIT;

    host.space = MEM_HOST;
    host.data = malloc((size_t)tensor_count(velocity) * sizeof(float));
    assert_non_null(host.data);
    must(ops_copy(s->ops, s->q, &host, velocity, &e), &e);
    must(ops_queue_wait(s->ops, s->q, &e), &e);
    return host.data;
}

void rig_run(struct dit_rig *r, const struct dit_case *c, float *out)
{
    struct err e = ERR_INIT;
    struct dit_stand s;
    struct dit_context *ctx;
    struct dit_forward *fw = NULL;
    struct tensor latent, velocity;
    struct tensor t;
    struct latent_size size = c->size;
    struct dit_input in = {.n_latent = 1, .t = &t};
    float *rows;

    stand_open(&s, r, c, 1, 1);
    t = stand_timestep(&s, c);
    latent = stand_latent(&s, c);
    velocity = stand_velocity(&s, r);
    ctx = stand_context(&s, r, c);
    in.latent[0] = &latent;
    in.context[0] = ctx;
    must(dit_forward_create(r->m, &s.shape, &s.arena, s.q, &fw, &e), &e);
    must(dit_forward_run(fw, s.q, &in, &velocity, &e), &e);
    rows = velocity_fetch(&s, &velocity);
    size.channels = r->config.out_channels;
    latent_from_patch(out, rows, &size, dit_forward_tokens(fw));
    free(rows);
    dit_forward_destroy(fw);
    dit_context_destroy(ctx);
    stand_close(&s, r);
}

double rig_error(struct dit_rig *r, const struct dit_case *c)
{
    int64_t n = r->config.out_channels * c->size.frames * c->size.height *
                c->size.width;
    float *out = malloc((size_t)n * sizeof(*out));
    double error;

    assert_non_null(out);
    rig_run(r, c, out);
    error = rel_l2(out, c->velocity, n);
    free(out);
    return error;
}
