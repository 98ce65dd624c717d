/* denoise.c - steps a segment row by row */
#include "engine/pipeline/denoise.h"
#include "kernels/base/clock.h"

#include <stdlib.h>
#include <string.h>

/* Everything that lives for one segment. */
struct denoise {
    const struct denoise_args *a;
    struct matrix matrix;
    struct state state;
    struct dit_forward *forward;
    struct span tokens;
    float *rows;         /* own tokens on the host */
    float *prefix_noise; /* [C,P,H,W], when prefix frames are noised */
};

static struct state_shape state_shape_of(const struct denoise_args *a,
                                         struct span tokens)
{
    struct state_shape shape = {
        .frames = (int)a->size.frames,
        .tokens_per_frame = a->size.height / 2 * (a->size.width / 2),
        .columns = 4 * a->size.channels,
        .tokens = tokens,
    };

    return shape;
}

size_t denoise_state_bytes(struct ops *ops, const struct denoise_args *a)
{
    struct span tokens = seqpar_tokens(&a->shape.group, ops,
                                       a->size.frames * (a->size.height / 2) *
                                           (a->size.width / 2));
    struct state_shape shape = state_shape_of(a, tokens);
    struct arena counting;
    struct state s;

    arena_init(&counting, NULL, 0);
    state_cut(&s, ops, &shape, &counting);
    return counting.peak;
}

static void denoise_release(struct denoise *d)
{
    free(d->rows);
    free(d->prefix_noise);
    state_release(&d->state);
    dit_forward_destroy(d->forward);
    matrix_release(&d->matrix);
}

static size_t prefix_elements(const struct denoise_args *a)
{
    return (size_t)(a->size.channels * a->prefix * a->size.height * a->size.width);
}

static enum status denoise_init(struct denoise *d, const struct denoise_args *a,
                                struct arena *arena, struct err *e)
{
    struct matrix_args m = {(int)a->size.frames, (int)a->size.frames, a->ar_step,
                            a->prefix, a->causal_block_size};
    struct state_shape shape;
    size_t rows;

    memset(d, 0, sizeof(*d));
    d->a = a;
    TRY(matrix_init(&d->matrix, a->schedule, &m, e));
    TRY(dit_forward_create(a->dit, &a->shape, arena, a->queue, &d->forward, e));
    d->tokens = dit_forward_tokens(d->forward);
    shape = state_shape_of(a, d->tokens);
    state_cut(&d->state, a->ops, &shape, arena);
    TRY(state_init(&d->state, e));
    rows = (size_t)(d->tokens.count * shape.columns);
    d->rows = malloc((rows + 1) * sizeof(float));
    d->prefix_noise = malloc((prefix_elements(a) + 1) * sizeof(float));
    if (!d->rows || !d->prefix_noise)
        return err_set(e, ST_RESOURCE, "out of memory: latents of %zu bytes",
                       rows * sizeof(float));
    return ST_OK;
}

/* Copy between host rows and a tensor of own tokens, first `n` rows. */
static enum status host_copy(struct denoise *d, struct tensor *t, float *rows,
                             int64_t n, bool in, struct err *e)
{
    struct tensor part = tensor_slice(t, 0, 0, n);
    struct tensor host = tensor_make2(rows, DT_F32, MEM_HOST, n, t->shape[1]);

    TRY(ops_copy(d->a->ops, d->a->queue, in ? &part : &host, in ? &host : &part, e));
    return ops_queue_wait(d->a->ops, d->a->queue, e);
}

static enum status rows_copy(struct denoise *d, struct tensor *t, int64_t n, bool in,
                             struct err *e)
{
    return host_copy(d, t, d->rows, n, in, e);
}

/* This row's noise of the prefix frames, into the rows that this rank owns of them. */
static enum status prefix_noise_put(struct denoise *d, int row, struct err *e)
{
    const struct denoise_args *a = d->a;
    struct latent_size size = a->size;
    struct span own = d->tokens;
    int64_t end = a->prefix * (size.height / 2) * (size.width / 2);

    if (!a->prefix || !a->addnoise)
        return ST_OK;
    size.frames = a->prefix;
    if (own.begin + own.count > end)
        own.count = end > own.begin ? end - own.begin : 0;
    TRY(noise_source_prefix(
        a->noise, a->segment, row,
        (int64_t[]){size.channels, size.frames, size.height, size.width},
        d->prefix_noise, e));
    patch_from_latent(d->rows, d->prefix_noise, &size, own);
    return rows_copy(d, &d->state.noise, own.count, true, e);
}

/* Both velocities of the own tokens, of which another rank may have made one. */
static enum status velocities(struct denoise *d, const struct tensor *t, struct err *e)
{
    const struct denoise_args *a = d->a;
    struct tensor *const v[BRANCHES] = {&d->state.v_cond, &d->state.v_uncond};
    int branches = a->guidance > 1.0 ? BRANCHES : 1;
    struct dit_input in = {.latent = {&d->state.input}, .n_latent = 1, .t = t};

    for (int b = 0; b < branches; b++) {
        if (branches > 1 && !spread_owns(a->spread, (enum branch)b))
            continue;
        in.context[0] = a->context[b];
        TRY(dit_forward_run(d->forward, a->queue, &in, v[b], e));
    }
    return spread_velocities(a->spread, a->queue,
                             (const struct tensor *const[]){v[0], v[1]}, e);
}

static enum status row_step(struct denoise *d, int row, struct err *e)
{
    const struct denoise_args *a = d->a;
    struct state_row r = {.schedule = a->schedule,
                          .matrix = &d->matrix,
                          .row = row,
                          .prefix = a->prefix,
                          .addnoise = a->addnoise,
                          .guidance = a->guidance};
    struct tensor t;

    TRY(state_prepare(&d->state, a->queue, &r, &t, e));
    TRY(velocities(d, &t, e));
    TRY(state_update(&d->state, a->queue, &r, e));
    return ops_queue_wait(a->ops, a->queue, e);
}

/* ---- checkpoints ----------------------------------------------------------------- */

enum { STATES = 4 };

/* The solver's arrays, own tokens of them, and where the whole ones are kept. */
static void states_of(struct denoise *d, struct checkpoint *ck,
                      struct tensor *own[STATES],
                      struct checkpoint_floats *whole[STATES])
{
    struct tensor *const tensors[STATES] = {&d->state.m1, &d->state.m0,
                                            &d->state.x_last, &d->state.x};
    struct checkpoint_floats *const arrays[STATES] = {&ck->m1, &ck->m0, &ck->x_last,
                                                      &ck->x};

    memcpy(own, tensors, sizeof(tensors));
    memcpy(whole, arrays, sizeof(arrays));
}

/* All of the state, before row `row`, into a snapshot on the leader: rows of tokens as
 * they are, straight to their places. */
static enum status state_keep(struct denoise *d, int row, enum keep_what what,
                              struct err *e)
{
    const struct denoise_args *a = d->a;
    struct keep_place place = {a->segment,  row,     d->matrix.rows, a->prefix,
                               a->finished, a->size, a->schedule,    &d->matrix};
    struct checkpoint none = {0}, *ck = &none;
    struct checkpoint_floats *whole[STATES];
    struct tensor *own[STATES];
    double start = clock_seconds();

    if (spread_leads(a->spread))
        TRY(keep_begin(a->keep, &place, &ck, e));
    states_of(d, ck, own, whole);
    for (int i = 0; i < STATES && row > 0; i++) {
        float *rows = spread_leads(a->spread) ? whole[i]->data : d->rows;

        TRY(host_copy(d, own[i], rows, d->tokens.count, false, e));
        TRY(spread_rows(a->spread, a->ops, &a->size, rows, whole[i]->data, e));
    }
    if (!spread_leads(a->spread))
        return ST_OK;
    return keep_end(a->keep, clock_seconds() - start, what, e);
}

/* The leader's whole arrays to everybody's own tokens; `latent` is room for one. */
static enum status state_restore(struct denoise *d, float *latent, struct err *e)
{
    const struct denoise_args *a = d->a;
    struct checkpoint_identity id = {0};
    struct checkpoint_floats *whole[STATES];
    struct tensor *own[STATES];
    size_t bytes = (size_t)(a->size.channels * a->size.frames * a->size.height *
                            a->size.width) *
                   sizeof(float);

    TRY(identity_schedule(a->schedule, &d->matrix, id.schedule_digest, e));
    if (spread_leads(a->spread)) {
        TRY(identity_match(&a->keep->from, a->keep->folder, &id, e));
        if (checkpoint_floats_count(&a->keep->from.x) * sizeof(float) != bytes)
            return err_set(e, ST_INPUT, "the checkpoint in '%s' has another size",
                           a->keep->folder);
    }
    states_of(d, &a->keep->from, own, whole);
    for (int i = 0; i < STATES; i++) {
        if (spread_leads(a->spread))
            memcpy(latent, whole[i]->data, bytes);
        TRY(spread_bytes(a->spread, latent, bytes, e));
        patch_from_latent(d->rows, latent, &a->size, d->tokens);
        TRY(rows_copy(d, own[i], d->tokens.count, true, e));
    }
    return ST_OK;
}

static enum status stopped(const struct denoise *d, int row, struct err *e)
{
    if (d->a->keep)
        return keep_stopped(d->a->keep, row, d->matrix.rows, e);
    return err_set(e, ST_STOPPED, "stopped on request at row %d of %d", row,
                   d->matrix.rows);
}

/* The last agreement before ranks wait for each other inside the model. */
static enum status row_begin(struct denoise *d, int row, struct err *e)
{
    const struct denoise_args *a = d->a;
    enum status st = ST_OK;
    enum keep_what what = KEEP_NOTHING_NOW;
    int why = 0;

    if (a->keep)
        TRY(keep_ask(a->keep, row, &what, &why, e));
    else
        why = a->stop ? *a->stop : 0;
    if (what != KEEP_NOTHING_NOW)
        st = state_keep(d, row, what, e);
    if (st == ST_OK && why)
        st = stopped(d, row, e);
    return a->keep && what == KEEP_NOTHING_NOW ? st
                                               : world_agree(a->spread->world, st, e);
}

static enum status row_run(struct denoise *d, int row, struct err *e)
{
    const struct denoise_args *a = d->a;
    double start = clock_seconds();
    enum status st;

    TRY(prefix_noise_put(d, row, e));
    TRY(row_begin(d, row, e));
    st = row_step(d, row, e);
    if (st != ST_OK) {
        world_tear(a->spread->world);
        spread_abort(a->spread);
        return st;
    }
    if (a->keep)
        keep_row(a->keep, clock_seconds() - start);
    return a->row_done ? a->row_done(a->ctx, clock_seconds() - start, e) : ST_OK;
}

/* The solver's history begins as zeros: frames that rest are carried along as they are.
 */
static enum status history_clear(struct denoise *d, struct err *e)
{
    struct tensor *const history[] = {&d->state.x_last, &d->state.m0, &d->state.m1};

    memset(d->rows, 0,
           (size_t)(d->tokens.count * d->state.shape.columns) * sizeof(float));
    for (int i = 0; i < 3; i++)
        TRY(rows_copy(d, history[i], d->tokens.count, true, e));
    return ST_OK;
}

/* From noise. */
static enum status state_begin(struct denoise *d, const float *latent, struct err *e)
{
    TRY(history_clear(d, e));
    patch_from_latent(d->rows, latent, &d->a->size, d->tokens);
    return rows_copy(d, &d->state.x, d->tokens.count, true, e);
}

static enum status rows_run(struct denoise *d, float *latent, struct err *e)
{
    const struct denoise_args *a = d->a;
    int first = 0;

    if (a->keep && keep_continues(a->keep, a->segment)) {
        first = (int)a->keep->row;
        TRY(state_restore(d, latent, e));
    } else {
        TRY(state_begin(d, latent, e));
    }
    for (int row = first; row < d->matrix.rows; row++)
        TRY(row_run(d, row, e));
    TRY(rows_copy(d, &d->state.x, d->tokens.count, false, e));
    return spread_gather(a->spread, a->ops, &a->size, d->rows, latent, e);
}

enum status denoise_segment(const struct denoise_args *a, struct arena *arena,
                            float *latent, struct err *e)
{
    size_t mark = arena_mark(arena);
    struct denoise d;
    enum status st;

    st = denoise_init(&d, a, arena, e);
    if (st == ST_OK)
        st = rows_run(&d, latent, e);
    denoise_release(&d);
    arena_reset(arena, mark);
    return st;
}
