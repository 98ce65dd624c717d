/* dit_rig.c - weights, memory and cases of the transformer tests */
#include "tests/unit/dit_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/weights/safetensors.h"

static const struct {
    const char *name;
    struct dit_config config;
} models[] = {
    {"wan_a", {FAMILY_WAN, false, 80, 150, 4, 2, 16, 16, 256, 48, 512, 1e-6f, false}},
    {"wan_b", {FAMILY_WAN, false, 42, 101, 3, 2, 16, 16, 256, 48, 12, 1e-6f, false}},
    {"sky_fps",
     {FAMILY_SKYREELS, true, 40, 91, 5, 2, 16, 16, 256, 48, 512, 1e-6f, true}},
};

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

/* Rows to 8-bit codes with one scale per output channel. */
static struct tensor quantised(struct dit_rig *r, const float *x, int64_t rows,
                               int64_t cols, enum dtype dt)
{
    float top = dt == DT_I8 ? 127.0f : 448.0f;
    uint8_t *codes = malloc((size_t)(rows * cols));
    float *scale = malloc((size_t)rows * sizeof(*scale));
    struct tensor t = tensor_make2(codes, dt, MEM_HOST, rows, cols);

    assert_true(codes && scale);
    r->blobs[r->n_blobs++] = codes;
    r->blobs[r->n_blobs++] = scale;
    for (int64_t i = 0; i < rows; i++) {
        float big = 1e-5f;

        for (int64_t j = 0; j < cols; j++)
            big = fmaxf(big, fabsf(x[i * cols + j]));
        scale[i] = big / top;
        for (int64_t j = 0; j < cols; j++) {
            float v = x[i * cols + j] / scale[i];

            codes[i * cols + j] = dt == DT_I8 ? (uint8_t)f32_to_i8(v) : f32_to_e4m3(v);
        }
    }
    t.scales.kind = SCALE_ROW;
    t.scales.data = scale;
    return t;
}

static struct tensor load(struct dit_rig *r, struct source *s, const struct stored *t,
                          const struct dit_rig_options *o)
{
    bool vector = t->rank == 1 || strstr(t->name, "modulation");
    bool quant = dtype_bytes(o->precision->operand) == 1 && dit_quantised(t->name);
    bool scaled = o->value_scale != 0 && strstr(t->name, "cross_attn.v.");
    enum dtype dt = vector || quant || scaled ? DT_F32 : t->dtype;
    const struct stored *same;
    float *data = read_array(s, t->name, dt, &same);

    r->blobs[r->n_blobs++] = data;
    for (int64_t i = 0; scaled && i < stored_elements(t); i++)
        data[i] *= o->value_scale;
    if (quant)
        return quantised(r, data, t->dims[0], t->dims[1], o->precision->operand);
    return tensor_make(data, dt, MEM_HOST, t->rank, t->dims);
}

static void load_weights(struct dit_rig *r, const struct dit_rig_options *o)
{
    struct err e = ERR_INIT;
    struct weights_entry *entries;
    struct source *s;
    char path[512];
    int n;

    snprintf(path, sizeof(path),
             "%s/dit/%s/original/diffusion_pytorch_model.safetensors", FF_GOLDEN_DIR,
             o->model);
    must(safetensors_open(path, &s, &e), &e);
    n = source_count(s);
    entries = calloc((size_t)n, sizeof(*entries));
    r->blobs = calloc((size_t)n * 3, sizeof(*r->blobs));
    assert_true(entries && r->blobs);
    for (int i = 0; i < n; i++) {
        entries[i].name = source_at(s, i)->name;
        entries[i].t = load(r, s, source_at(s, i), o);
    }
    must(weights_from_entries(entries, n, &r->weights, &e), &e);
    free(entries);
    source_close(s);
}

void rig_open(struct dit_rig *r, const struct dit_rig_options *o)
{
    struct ops_options oo = {.threads = o->threads};
    struct err e = ERR_INIT;

    *r = (struct dit_rig){.precision = *o->precision};
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        if (strcmp(models[i].name, o->model) == 0)
            r->config = models[i].config;
    }
    must(ops_open(o->backend, &oo, &r->ops, &e), &e);
    load_weights(r, o);
    must(dit_create(&r->config, o->precision, r->weights, r->ops, &r->m, &e), &e);
}

void rig_close(struct dit_rig *r)
{
    dit_destroy(r->m);
    weights_close(r->weights);
    for (int i = 0; i < r->n_blobs; i++)
        free(r->blobs[i]);
    free(r->blobs);
    ops_close(r->ops);
}

/* ---- memory --------------------------------------------------------------------- */

void stand_open(struct dit_stand *s, struct dit_rig *r, const struct dit_case *c,
                int passes, int contexts)
{
    struct err e = ERR_INIT;
    size_t rows, bytes;

    *s = (struct dit_stand){0};
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
                 2 * ARENA_ALIGN);
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

struct tensor stand_latent(struct dit_stand *s, const struct dit_case *c)
{
    struct span all = {0, s->plan.tokens};
    struct tensor t = tensor_cut(&s->arena, DT_F32, MEM_HOST, 2,
                                 (int64_t[]){all.count, 4 * c->size.channels});

    patch_from_latent(t.data, c->latent, &c->size, all);
    return t;
}

struct tensor stand_velocity(struct dit_stand *s, const struct dit_rig *r)
{
    return tensor_cut(&s->arena, DT_F32, MEM_HOST, 2,
                      (int64_t[]){s->plan.tokens, 4 * r->config.out_channels});
}

struct dit_context *stand_context(struct dit_stand *s, struct dit_rig *r,
                                  const struct dit_case *c)
{
    struct tensor text = tensor_make2(c->context, DT_F32, MEM_HOST, c->text_rows,
                                      r->config.text_dim);
    struct dit_context *ctx = NULL;
    struct err e = ERR_INIT;

    must(dit_context_create(r->m, s->q, &text, &s->arena, &s->arena, &ctx, &e), &e);
    return ctx;
}

void rig_run(struct dit_rig *r, const struct dit_case *c, float *out)
{
    struct err e = ERR_INIT;
    struct dit_stand s;
    struct dit_context *ctx;
    struct dit_forward *fw = NULL;
    struct tensor latent, velocity;
    struct tensor t = tensor_make1(c->timestep, DT_F32, MEM_HOST, c->times);
    struct latent_size size = c->size;
    struct dit_input in = {.n_latent = 1, .t = &t};

    stand_open(&s, r, c, 1, 1);
    latent = stand_latent(&s, c);
    velocity = stand_velocity(&s, r);
    ctx = stand_context(&s, r, c);
    in.latent[0] = &latent;
    in.context[0] = ctx;
    must(dit_forward_create(r->m, &s.shape, &s.arena, s.q, &fw, &e), &e);
    must(dit_forward_run(fw, s.q, &in, &velocity, &e), &e);
    must(ops_queue_wait(r->ops, s.q, &e), &e);
    size.channels = r->config.out_channels;
    latent_from_patch(out, velocity.data, &size, dit_forward_tokens(fw));
    dit_forward_destroy(fw);
    dit_context_destroy(ctx);
    stand_close(&s, r);
}
