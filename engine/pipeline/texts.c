/* texts.c - prompts to tokens, tokens to rows, and the encoder's memory back */
#include "engine/pipeline/texts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/pipeline/inside.h"
#include "engine/text/clean.h"
#include "kernels/base/clock.h"

enum { PROMPTS = 2 }; /* of a job at most */

/* ---- what is expected ------------------------------------------------------------ */

/* The texts of a job; as many as it has. */
static int prompts_of(const struct job *job, const char *out[PROMPTS])
{
    if (!job_encodes(job))
        return 0;
    out[0] = job->prompt ? job->prompt : "";
    out[1] = job->negative_prompt ? job->negative_prompt : "";
    return job_guided(job) ? 2 : 1;
}

/* Does a job before this one have the same text? */
static bool said_before(const struct texts *t, int job, const char *text)
{
    const char *other[PROMPTS];

    for (int i = 0; i < job; i++) {
        int n = prompts_of(t->jobs[i], other);

        for (int k = 0; k < n; k++)
            if (strcmp(other[k], text) == 0)
                return true;
    }
    return false;
}

void texts_expect(struct texts *t, const struct job *const *jobs, int n)
{
    const char *mine[PROMPTS];
    int encoding = 0;

    t->jobs = jobs;
    t->n_jobs = n;
    t->prompts = 0;
    for (int i = 0; i < n; i++)
        encoding += job_encodes(jobs[i]);
    t->stays = encoding > TEXTS_AHEAD;
    for (int i = 0; i < n && !t->stays; i++) {
        int k = prompts_of(jobs[i], mine);

        while (k-- > 0)
            t->prompts += !said_before(t, i, mine[k]);
    }
}

void texts_release(struct texts *t)
{
    for (int i = 0; i < t->n; i++) {
        free(t->list[i].ids);
        free(t->list[i].rows.rows);
    }
    free(t->list);
    t->list = NULL;
    t->n = 0;
}

/* ---- memory ---------------------------------------------------------------------- */

enum status texts_plan(const struct pipeline *p, int64_t n, struct texts_memory *out,
                       struct err *e)
{
    size_t rows = (size_t)(n * model_dit(p->model)->text_dim) * sizeof(float);
    struct umt5_plan plan;

    TRY(umt5_plan(model_text(p->model), p->act, n, p->ops, &plan, e));
    out->arena = plan.arena_bytes + rows + ARENA_ALIGN;
    out->workspace = plan.workspace_bytes;
    return ST_OK;
}

/* And those of the run at hand, which has its own. */
size_t texts_kept(const struct pipeline *p)
{
    const struct dit_config *dit = model_dit(p->model);
    int kept = p->texts.prompts > PROMPTS ? p->texts.prompts : PROMPTS;

    return (size_t)((kept + PROMPTS) * dit->text_len * dit->text_dim) * sizeof(float);
}

/* ---- tokens ---------------------------------------------------------------------- */

static enum status tokenize(struct pipeline *p, const char *prompt, struct text *out,
                            struct err *e)
{
    int text_len = (int)model_dit(p->model)->text_len, n = 0;
    char *clean;
    enum status st;

    if (!p->tokenizer)
        TRY(tokenizer_open(model_tokenizer(p->model), &TOKENIZER_DEFAULT, &p->tokenizer,
                           e));
    TRY(text_clean(prompt, strlen(prompt), &clean, e));
    out->ids = calloc((size_t)text_len, sizeof(*out->ids));
    st = out->ids ? tokenizer_encode(p->tokenizer, clean, strlen(clean), out->ids,
                                     text_len, &n, e)
                  : err_set(e, ST_RESOURCE, "out of memory: %d tokens", text_len);
    out->rows.n = n;
    free(clean);
    return st;
}

static bool alike(const struct text *a, const struct text *b)
{
    return a->rows.n == b->rows.n &&
           memcmp(a->ids, b->ids, (size_t)a->rows.n * sizeof(*a->ids)) == 0;
}

/* Takes the ids over. */
static enum status list_add(struct texts *t, const struct text *x, int *at,
                            struct err *e)
{
    struct text *list;

    for (*at = 0; *at < t->n; ++*at) {
        if (!alike(&t->list[*at], x))
            continue;
        free(x->ids);
        return ST_OK;
    }
    list = realloc(t->list, ((size_t)t->n + 1) * sizeof(*list));
    if (!list) {
        free(x->ids);
        return err_set(e, ST_RESOURCE, "out of memory: %d prompts", t->n + 1);
    }
    t->list = list;
    t->list[t->n++] = *x;
    return ST_OK;
}

/* Where the texts of a job are in the list; as many as it has. */
static enum status job_find(struct pipeline *p, const struct job *job, int at[PROMPTS],
                            int *n, struct err *e)
{
    const char *prompts[PROMPTS];
    int count = prompts_of(job, prompts);

    for (int k = 0; k < count; k++) {
        struct text x = {.ids = NULL};
        enum status st = tokenize(p, prompts[k], &x, e);

        if (st != ST_OK) {
            free(x.ids);
            return st;
        }
        TRY(list_add(&p->texts, &x, &at[k], e));
    }
    *n = count;
    return ST_OK;
}

/* Those of all jobs, once: what is listed stays. */
static void expected_find(struct pipeline *p)
{
    const struct texts *t = &p->texts;
    int at[PROMPTS], n, jobs = t->stays || t->n ? 0 : t->n_jobs;

    for (int i = 0; i < jobs; i++) {
        struct err ignored = ERR_INIT;

        job_find(p, t->jobs[i], at, &n, &ignored);
    }
}

/* ---- the encoder ----------------------------------------------------------------- */

struct encoder {
    struct pipeline *p;
    const struct pipeline_events *events;
    void *memory, *workspace;
    struct arena arena;
    struct queue *queue;
    struct umt5 *model;
    int done, all;
    double since;
};

static enum status weights_get(struct pipeline *p, const struct pipeline_events *events,
                               struct err *e)
{
    const struct component *c = model_component(p->model, MODEL_TEXT);

    if (p->loaded[MODEL_TEXT])
        return ST_OK;
    if (p->summed[MODEL_TEXT]) { /* and dropped */
        p->summed[MODEL_TEXT] = false;
        weights_close(p->store[MODEL_TEXT]);
        p->store[MODEL_TEXT] = NULL;
        TRY(weights_open(c, &p->texts.policy, &p->store[MODEL_TEXT], e));
    }
    return pipeline_part(p, MODEL_TEXT, events, e);
}

static void weights_leave(struct pipeline *p)
{
    if (p->texts.stays)
        return;
    weights_drop(p->store[MODEL_TEXT]);
    p->loaded[MODEL_TEXT] = false;
}

/* For prompts of at most n tokens. encoder_close after a failure is fine. */
static enum status encoder_open(struct encoder *c, int64_t n, struct err *e)
{
    struct pipeline *p = c->p;
    struct texts_memory m;

    c->since = clock_seconds();
    TRY(texts_plan(p, n, &m, e));
    TRY(ops_mem_alloc(p->ops, m.arena, &c->memory, e));
    TRY(ops_mem_alloc(p->ops, m.workspace, &c->workspace, e));
    arena_init(&c->arena, c->memory, m.arena);
    TRY(ops_queue_open(p->ops, c->workspace, m.workspace, &c->queue, e));
    return umt5_create(model_text(p->model), p->act, p->store[MODEL_TEXT], p->ops,
                       c->queue, &c->model, e);
}

static void encoder_close(struct encoder *c)
{
    struct ops *ops = c->p->ops;

    umt5_destroy(c->model);
    if (c->queue)
        ops_queue_close(ops, c->queue);
    ops_mem_free(ops, c->workspace);
    ops_mem_free(ops, c->memory);
}

/* Waits for the queue. */
static enum status rows_make(struct encoder *c, const struct text *t, float *out,
                             struct err *e)
{
    int64_t dims[2] = {t->rows.n, model_dit(c->p->model)->text_dim};
    struct ops *ops = c->p->ops;
    size_t mark = arena_mark(&c->arena);
    struct tensor rows = tensor_cut(&c->arena, DT_F32, ops_facts(ops)->space, 2, dims);
    struct tensor host = tensor_make(out, DT_F32, MEM_HOST, 2, dims);
    enum status st;

    st = umt5_encode(c->model, c->queue, &c->arena, t->ids, t->rows.n, &rows, e);
    if (st == ST_OK)
        st = ops_copy(ops, c->queue, &host, &rows, e);
    if (st == ST_OK)
        st = ops_queue_wait(ops, c->queue, e);
    arena_reset(&c->arena, mark);
    return st;
}

static void done_tell(struct encoder *c)
{
    double now = clock_seconds();
    struct pipeline_progress at = {.stage = STAGE_ENCODE,
                                   .segments = 1,
                                   .step = ++c->done,
                                   .steps = c->all,
                                   .step_seconds = now - c->since};

    c->since = now;
    if (c->events->progress)
        c->events->progress(c->events->ctx, &at);
}

static enum status text_encode(struct encoder *c, struct text *t, struct err *e)
{
    int64_t n = t->rows.n;
    float *rows;
    enum status st;

    if (t->rows.rows)
        return ST_OK;
    rows = malloc((size_t)(n * model_dit(c->p->model)->text_dim) * sizeof(*rows));
    if (!rows)
        return err_set(e, ST_RESOURCE, "out of memory: %lld text rows", (long long)n);
    st = rows_make(c, t, rows, e);
    if (st != ST_OK) {
        free(rows);
        return st;
    }
    t->rows.rows = rows;
    done_tell(c);
    return ST_OK;
}

/* ---- all of them ----------------------------------------------------------------- */

static bool ends_soon(const struct pipeline_events *events)
{
    const struct limit_times none = {.rows = 0};

    return (events->stop && *events->stop) ||
           limit_reached(events->limits, &none, clock_seconds());
}

/* The own ones first. */
static enum status list_encode(struct encoder *c, const int *own, int n, struct err *e)
{
    struct texts *t = &c->p->texts;

    for (int k = 0; k < n; k++)
        TRY(text_encode(c, &t->list[own[k]], e));
    for (int i = 0; i < t->n && !ends_soon(c->events); i++)
        TRY(text_encode(c, &t->list[i], e));
    return ST_OK;
}

/* How many texts have no rows, and the tokens of the longest. */
static int waiting(const struct texts *t, int64_t *longest)
{
    int n = 0;

    *longest = 0;
    for (int i = 0; i < t->n; i++) {
        if (t->list[i].rows.rows)
            continue;
        n++;
        *longest = t->list[i].rows.n > *longest ? t->list[i].rows.n : *longest;
    }
    return n;
}

static enum status waiting_encode(struct pipeline *p, const int *own, int n,
                                  const struct pipeline_events *events, struct err *e)
{
    struct encoder c = {.p = p, .events = events};
    int64_t longest;
    enum status st;

    c.all = waiting(&p->texts, &longest);
    if (!c.all)
        return ST_OK;
    TRY(weights_get(p, events, e));
    st = encoder_open(&c, longest, e);
    if (st == ST_OK)
        st = list_encode(&c, own, n, e);
    encoder_close(&c);
    weights_leave(p);
    return st;
}

static enum status rows_copy(const struct embeds_rows *from, int64_t width,
                             struct embeds_rows *out, struct err *e)
{
    size_t bytes = (size_t)(from->n * width) * sizeof(float);

    out->rows = malloc(bytes);
    if (!out->rows)
        return err_set(e, ST_RESOURCE, "out of memory: %lld text rows",
                       (long long)from->n);
    out->n = from->n;
    memcpy(out->rows, from->rows, bytes);
    return ST_OK;
}

enum status texts_get(struct pipeline *p, const struct job *job,
                      const struct pipeline_events *events, struct embeds *out,
                      struct err *e)
{
    struct texts *t = &p->texts;
    int own[PROMPTS], n;

    if (t->stays)
        texts_release(t);
    expected_find(p);
    TRY(job_find(p, job, own, &n, e));
    TRY(waiting_encode(p, own, n, events, e));
    if (!n)
        return ST_OK;
    out->width = model_dit(p->model)->text_dim;
    TRY(rows_copy(&t->list[own[0]].rows, out->width, &out->cond, e));
    return n > 1 ? rows_copy(&t->list[own[1]].rows, out->width, &out->uncond, e)
                 : ST_OK;
}
